"""Score against context: which series there are, what each is held against, and what is said of them."""

import math
from dataclasses import replace

import numpy as np
import pytest
from test_report import record

from stablernn.report.sections.context import context_figure, context_table, drawn, sentences
from stablernn.report.sections.context_series import BUILT, COUNTED, TRAINED, TRUNCATED, series_of
from stablernn.report.slices import Slice

KS = (1, 2, 4, 8, 16)
LENGTHS = [30, 50, 40, 60, 20, 80, 45, 55, 35, 70]


def music(loss, seed=0, parameters=1000, experiment="table1_jsb", cut=False, **changes):
    """A run on chorales with this loss in nats a frame."""
    entry = record(1.0, seed=seed, **changes)
    total, count = loss * sum(LENGTHS), sum(LENGTHS)
    entry.data |= {"name": "jsb", "metric": "NLL"}
    entry.metrics["test"] = {"total": total, "count": count, "value": loss}
    blocks = {"counts": LENGTHS, "totals": [loss * length for length in LENGTHS]}
    made = replace(entry, id=f"{entry.id}-{experiment}-{seed}", blocks=blocks, experiment=experiment)
    made.model["parameters"] = parameters
    return made


def seeds(loss, count=4, spread=0.01, **changes):
    return [music(loss + spread * (seed - (count - 1) / 2), seed, **changes) for seed in range(count)]


def curve(changes, error=0.001, blocks=20, largest=0.5):
    """A truncation curve with these changes in nats at KS."""
    return {
        "k": list(KS),
        "value": [8.0 + change for change in changes],
        "log_perplexity": list(changes),
        "recurrent": {"value": 8.0, "total": 8.0, "count": 1},
        "error": {"blocks": blocks, "length": 1024, "log_perplexity": [error] * len(KS)},
        "largest": [largest] * len(KS),
        "options": {"split": "test"},
    }


def task(*records):
    return Slice("cpu", "jsb", "f", tuple(run for some in records for run in some))


RECURRENT = seeds(8.2)
FALLING = (0.9, 0.3, 0.06, 0.02, 0.0)


def test_a_truncated_model_has_the_scores_of_its_runs_and_what_was_measured_to_change():
    data = task(RECURRENT)
    (series,) = series_of(data, [(run, curve(FALLING)) for run in RECURRENT])
    assert series.how == TRUNCATED
    assert [point.k for point in series.points] == list(KS)
    for point, change in zip(series.points, FALLING, strict=True):
        assert point.mean == pytest.approx(8.2 + change)
        assert point.loss.mean == pytest.approx(change)
    assert series.enough.k == 4  # 0.06 with its interval is below the margin of 0.1
    assert series.verdict == "no loss"
    assert series.says(series.points[0]).startswith("loss")


def test_there_is_no_loss_from_k_on_only_where_there_is_none_at_any_larger_k():
    data = task(RECURRENT)
    (series,) = series_of(data, [(run, curve((0.0, 0.0, 0.5, 0.0, 0.0))) for run in RECURRENT])
    assert series.enough.k == 8
    (series,) = series_of(data, [(run, curve((0.0, 0.0, 0.0, 0.0, 0.5))) for run in RECURRENT])
    assert series.enough is None
    assert series.verdict == "loss"


def test_what_is_trained_with_k_is_held_against_the_recurrent_model_of_its_name_and_constraint():
    stable = seeds(8.5, stability="stable")
    cut = seeds(8.51, stability="stable", approximation="feedforward", truncation__k=5)
    data = task(RECURRENT, stable, cut)
    (series,) = series_of(data, [])
    assert series.how == TRAINED
    assert set(series.base.ids) == {run.id for run in stable}
    assert series.enough.k == 5
    assert series.points[0].loss.mean == pytest.approx(0.01)


def test_a_network_without_recurrence_is_held_against_the_best_recurrent_model_by_k_of_its_record():
    worse = seeds(8.5, model="rnn")
    peers = [
        *seeds(8.1, model="tcn", approximation="feedforward", truncation__k=25, parameters=1090),
        *seeds(8.6, model="tcn", approximation="feedforward", truncation__k=9, parameters=700),
    ]
    data = task(worse, RECURRENT, peers)
    (series,) = series_of(data, [])
    assert series.how == BUILT
    assert series.name == "TCN"
    assert set(series.base.ids) == {run.id for run in RECURRENT}
    assert [point.k for point in series.points] == [9, 25]
    assert series.enough.k == 25
    table = context_table(data, [series])
    lines = {line[table.heads.index("k")]: line for line in table.lines}
    assert lines["25"][table.heads.index("matched")] == "yes"
    assert lines["9"][table.heads.index("matched")] == "0.7 times"
    assert lines["25"][table.heads.index("verdict")].startswith("gain")


def test_trials_and_runs_that_did_not_finish_are_no_models_of_the_task():
    broken = replace(music(9.9, 7), status="diverged")
    data = task(RECURRENT, seeds(7.0, experiment="search_jsb"), [broken])
    (series,) = series_of(data, [(run, curve(FALLING)) for run in data.records])
    assert set(series.base.ids) == {run.id for run in RECURRENT}
    assert series_of(task(seeds(8.0, approximation="feedforward", truncation__k=5)), []) == []


def test_with_few_seeds_the_change_is_shown_and_nothing_is_decided():
    data = task(RECURRENT)
    (series,) = series_of(data, [(RECURRENT[0], curve(FALLING))])
    assert series.enough is None
    assert series.verdict == ""
    (shown,) = series.shown
    assert shown.k == 4
    assert series.says(shown).startswith("undecided (1 of")
    assert "of 1 other nothing can be said yet" in sentences(data, [series])[0]


def test_models_worse_than_the_control_decide_nothing():
    poor = seeds(8.9)
    data = task(poor)  # the network on the last frame has 8.60
    (series,) = series_of(data, [(run, curve(FALLING)) for run in poor])
    assert series.enough is None
    assert series.says(series.points[-1]) in ("worse than its control", "not trained far enough")
    assert "no recurrent model beats the control" in sentences(data, [series])[2]


def test_the_sentences_say_when_why_and_what_it_is_worth():
    peers = seeds(8.4, model="tcn", approximation="feedforward", truncation__k=9)
    data = task(RECURRENT, peers)
    every = series_of(data, [(run, curve(FALLING)) for run in RECURRENT])
    when, why, worth = sentences(data, every)
    assert "without a loss, truncated after training: LSTM unstable (k = 4)" in when
    assert "with a loss at the largest k: TCN" in when
    assert "1 of 1 recurrent model lose less than the margin of 0.1 nats" in why
    assert "once they forget all but the last 4 frames" in why
    assert "(network on the last frame), LSTM unstable, truncated after training has 100 % at k = 16" in worth
    lost = series_of(data, [(run, curve((0.9, 0.9, 0.9, 0.5, 0.5))) for run in RECURRENT])
    assert "make use of more than the last 16 frames" in sentences(data, lost)[1]


def test_n_gram_models_come_from_the_control_of_the_text():
    runs = [record(200.0 + seed, seed=seed) for seed in range(3)]
    tokens = {"train": 1, "valid": 1, "test": 245569}
    runs = [replace(run, id=f"{run.id}-{n}", data=run.data | {"tokens": tokens}) for n, run in enumerate(runs)]
    data = Slice("paper", "wikitext2", "f", tuple(runs))
    assert data.control
    every = series_of(data, [(run, curve(FALLING)) for run in runs])
    counted = next(series for series in every if series.how == COUNTED)
    assert {point.k + 1: point.mean for point in counted.points} == dict(data.control)
    truncated = next(series for series in every if series.how == TRUNCATED)
    mean = np.mean([run.metrics["test"]["value"] for run in runs])
    assert truncated.points[0].mean == pytest.approx(mean * math.exp(0.9))
    figure = context_figure(data, every)
    assert all(point["x"] > 0 for panel in figure.panels for point in panel.points)  # the unigram has no context


def test_a_figure_has_one_of_each_kind_before_others_and_at_most_six():
    peers = [
        run
        for name, loss in (("tcn", 8.3), ("gated_conv", 8.4), ("wavenet", 8.5), ("transformer", 8.45), ("mine", 8.58))
        for run in seeds(loss, model=name, approximation="feedforward", truncation__k=25)
    ]
    many = [run for name in ("rnn", "gru") for run in seeds(8.25, model=name)]
    cut = seeds(8.54, approximation="feedforward", truncation__k=5)
    data = task(RECURRENT, many, cut, peers)
    analyses = [(run, curve(FALLING)) for run in (*RECURRENT, *many)]
    every = series_of(data, analyses)
    assert len(every) == 9
    shown = drawn(every)
    assert len(shown) == 6
    assert [series.how for series in shown].count(TRUNCATED) == 1
    assert [series.how for series in shown].count(TRAINED) == 1
    assert "mine" not in {series.model for series in shown}  # the worst of seven kinds
    figure = context_figure(data, every)
    assert len(figure.curves) == 6
    assert len({curve.colour for curve in figure.curves}) == 6
    assert "3 more in the table" in figure.caption
    assert figure.level == pytest.approx(8.2)
    table = context_table(data, every)
    assert {"LSTM", "TCN", "gated convolution", "WaveNet", "Transformer", "mine"} <= {line[0] for line in table.lines}
    assert len(table.runs) == len(table.rows)


def test_scores_that_a_curve_does_not_have_are_not_drawn_as_if_it_had():
    slots = [replace(run, data=run.data | {"name": "atis", "metric": "F1"}) for run in RECURRENT]
    for run in slots:
        run.metrics["test"]["tally"] = [9, 10, 10]
    data = Slice("cpu", "atis", "f", tuple(slots))
    assert series_of(data, [(run, curve(FALLING)) for run in slots]) == []
