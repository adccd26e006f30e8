"""Score against context: which series there are, what each is held against, and what is said of them."""

import math
from dataclasses import replace

import numpy as np
import pytest
from test_report import record

from stablernn.report.section import Block
from stablernn.report.sections.context import context_figure, context_table, drawn
from stablernn.report.sections.context_answer import headline, sentences
from stablernn.report.sections.context_series import BUILT, COUNTED, TRAINED, TRUNCATED, series_of
from stablernn.report.sections.sweep import pairs
from stablernn.report.sections.synthetic import synthetic_table, verdict
from stablernn.report.slices import Slice
from stablernn.report.table import Column, Value
from stablernn.report.write import markdown_of
from stablernn.tasks.published import PUBLISHED
from stablernn.utils.metrics import METRICS

KS = (1, 2, 4, 8, 16)
LENGTHS = [30, 50, 40, 60, 20, 80, 45, 55, 35, 70]


def music(loss, seed=0, parameters=1000, experiment="table1_jsb", valid=None, **changes):
    """A run on chorales with this loss in nats a frame, the same on valid unless that is given."""
    entry = record(1.0, seed=seed, **changes)
    total, count = loss * sum(LENGTHS), sum(LENGTHS)
    entry.data |= {"name": "jsb", "metric": "NLL"}
    entry.metrics["test"] = {"total": total, "count": count, "value": loss}
    entry.metrics["valid"] = {"value": loss if valid is None else valid}
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
        "loss_change": list(changes),
        "recurrent": {"value": 8.0, "total": 8.0, "count": 1},
        "error": {"blocks": blocks, "length": 1024, "loss_change": [error] * len(KS)},
        "largest": [largest] * len(KS),
        "options": {"split": "test"},
    }


def of_text(name, metric, value, count=3, **changes):
    """Runs on Penn Treebank, its n-gram models known."""
    made = []
    for seed in range(count):
        run = record(1.0, data=name, seed=seed, **changes)
        (tokens,) = PUBLISHED[name].baseline
        score = value + 0.001 * (seed - 1)
        nats = math.log(score) if metric == "perplexity" else score * math.log(2)
        run.metrics["test"] = {"total": nats * tokens, "count": tokens, "value": score}
        run.metrics["valid"] = {"value": score}
        run.data |= {"metric": metric, "tokens": {"train": 1, "valid": 1, "test": tokens}}
        made.append(replace(run, id=f"{run.id}-{seed}"))
    return made


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


def test_networks_without_a_constraint_are_also_held_against_the_best_recurrent_model_without_one():
    stable = seeds(8.0, stability="stable")
    peers = seeds(8.2, model="tcn", approximation="feedforward", truncation__k=9)
    peers += seeds(9.9, model="wavenet", approximation="feedforward", truncation__k=8)  # worse than the baseline
    data = task(RECURRENT, stable, peers)
    every = series_of(data, [(run, curve(FALLING)) for run in RECURRENT])
    when = sentences(data, every)[0]
    assert "none of 1 model up to k = 9, 1 with a loss of 0.20 nats, of 1 more nothing can be said yet; " in when
    assert "against the best recurrent model without a constraint (LSTM), 1 of 1" in when


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
    assert "truncated after training, of 1 model nothing can be said yet" in sentences(data, [series])[0]


def test_a_truncated_model_stands_beside_the_recurrent_runs_of_its_own_seeds():
    data = task(RECURRENT)
    (series,) = series_of(data, [(run, curve(FALLING)) for run in RECURRENT[:2]])
    own = sum(run.metrics["test"]["value"] for run in RECURRENT[:2]) / 2
    table = context_table(data, [series])
    (line,) = table.rows
    named = dict(zip([column.head for column in table.columns], line, strict=True))
    score, recurrent = named[data.metric.name], named["recurrent"]
    assert (recurrent.value, recurrent.seeds) == (pytest.approx(own), 2)
    assert score.value - recurrent.value == pytest.approx(named["loss"].value), "one difference, one number"


def test_runs_that_differ_in_the_precision_of_a_softmax_are_said_to():
    words = of_text("ptb", "perplexity", 100.0)
    rounded = [replace(run, hardware=run.hardware | {"precision": "mixed"}) for run in words]
    kinds = [Slice("cpu", "ptb", "f", tuple(runs)) for runs in (words, [*words[:2], rounded[2]])]
    assert "precision" not in kinds[0].devices
    assert kinds[1].devices.endswith("in training: float32 in 2 runs and mixed in 1 run")
    outputs = {"inputs": {}, "outputs": {"kind": "bernoulli", "size": 88}}
    rolls = [replace(run, data=run.data | {"interface": outputs}) for run in kinds[1].records]
    assert "precision" not in Slice("cpu", "jsb", "f", tuple(rolls)).devices, "a head without a softmax has none"


def test_models_worse_than_the_baseline_decide_nothing():
    poor = seeds(8.9)
    data = task(poor)  # the network on the last frame has 8.60
    (series,) = series_of(data, [(run, curve(FALLING)) for run in poor])
    assert series.enough is None
    assert series.says(series.points[-1]) in ("worse than its baseline", "not trained far enough")
    worth = sentences(data, [series])[2]
    assert "no recurrent model beats the baseline (network on the last frame) by the margin" in worth


def test_the_sentences_say_when_why_and_what_it_is_worth():
    peers = seeds(8.4, model="tcn", approximation="feedforward", truncation__k=9)
    data = task(RECURRENT, peers)
    every = series_of(data, [(run, curve(FALLING)) for run in RECURRENT])
    when, why, worth = sentences(data, every)
    assert "truncated after training, 1 of 1 model from k = 4 on;" in when
    assert "feed-forward by construction, none of 1 model up to k = 9, 1 with a loss of 0.20 nats" in when
    assert "by 4 of the 10 seeds" in when
    assert why == "why: no gradients were measured, and there are no counts"
    assert headline(data, every) == "By the last 4 frames alone the loss of 1 of 1 recurrent model is below the margin"
    assert "(network on the last frame), 85 % is left truncated after training (LSTM unstable, k = 4)" in worth
    assert "50 % is left feed-forward by construction (TCN, k = 9)" in worth
    lost = series_of(data, [(run, curve((0.9, 0.9, 0.9, 0.5, 0.5))) for run in RECURRENT])
    assert headline(data, lost) == "The recurrent models make use of more than the last 16 frames"


@pytest.mark.parametrize(
    ("name", "metric", "scores", "said"),
    [
        (
            "ptb",
            "perplexity",
            (100.0, 101.0, 110.0),
            (
                "when, on Penn Treebank, there is no loss: truncated after training, 1 of 1 model from k = 16 on; "
                "trained truncated, 1 of 1 model at k = 12; feed-forward by construction, none of 1 model up to k = 25,"
                " 1 with a loss of 0.10 nats",
                "down to a thousandth 9 words back; n-gram models still gain by more context (+0.049 nats from k = 2 "
                "to 4, margin 0.02)",
                "over the baseline (Kneser-Ney trigram), 100 % is left truncated after training (LSTM unstable, k = "
                "16),"
                " 98 % is left trained truncated (LSTM unstable, k = 12), 77 % is left feed-forward by construction "
                "(gated convolution, k = 25)",
            ),
        ),
        (
            "ptb_char",
            "bits",
            (1.40, 1.41, 1.45),
            (
                "feed-forward by construction, none of 1 model up to k = 25, 1 with a loss of 0.05 bits",
                "down to a thousandth 9 characters back; n-gram models still gain by more context (+0.134 bits from k "
                "= 4 to 5, margin 0.02)",
                "over the baseline (Kneser-Ney 6-gram), 100 % is left truncated after training (LSTM unstable, k = 16),"
                " 93 % is left trained truncated (LSTM unstable, k = 12), 67 % is left feed-forward",
            ),
        ),
    ],
)
def test_words_and_characters_have_all_kinds_on_one_axis_and_sentences_in_their_own_unit(name, metric, scores, said):
    recurrent, cut, built = scores
    runs = of_text(name, metric, recurrent)
    peers = {"approximation": "feedforward", "truncation__k": 25, "model": "gated_conv"}
    trained = of_text(name, metric, cut, approximation="feedforward", truncation__k=12)
    data = Slice("cpu", name, "f", (*runs, *trained, *of_text(name, metric, built, **peers)))
    curves = [(run, curve(FALLING, error=0.0001)) for run in runs]
    every = series_of(data, curves)
    assert {series.how for series in every} == {TRUNCATED, TRAINED, BUILT, COUNTED}
    truncated = next(series for series in every if series.how == TRUNCATED)
    for point, nats in zip(truncated.points, FALLING, strict=True):
        assert point.change == pytest.approx(nats * METRICS[metric].scale), "on the natural scale"
    gradients = [(run, {"stages": {"best": {"fallen": 9}}, "options": {"horizon": 40}}) for run in runs]
    for sentence, part in zip(sentences(data, every, gradients), said, strict=True):
        assert part in sentence
    figure = context_figure(data, every)
    seen = {at: {point["x"] for point in panel.points} for at, panel in enumerate(figure.panels)}
    orders = {order - 1 for order in data.baseline if order > 1}
    assert seen == {0: {*KS, 12} | orders, 1: {25} | orders}
    assert {panel.y.title for panel in figure.panels} == {f"test {metric}"}
    assert len(context_table(data, every).rows) == 4


def test_the_sentences_stand_above_their_table_and_not_below_it_again():
    data = task(RECURRENT, seeds(8.4, model="tcn", approximation="feedforward", truncation__k=9))
    every = series_of(data, [])
    said = sentences(data, every)
    written = markdown_of(Block(data.caption, [], [context_table(data, every)], introduction=said))
    assert written.startswith(f"## {data.caption}\n\n- {said[0]}\n- {said[1]}\n- {said[2]}\n\n**Score against context")
    assert written.count("there is no loss") == 1
    assert len(written.splitlines()[-1]) < 600, "notes stay short"


def test_the_recurrent_model_to_beat_is_the_best_on_validation_whatever_test_says():
    lucky = [run for seed in range(4) for run in [music(8.0 + 0.01 * seed, seed, model="gru", valid=9.0)]]
    lucky_k = seeds(8.1, model="tcn", approximation="feedforward", truncation__k=9, valid=8.3)
    good_k = seeds(8.2, model="tcn", approximation="feedforward", truncation__k=25, valid=8.2)
    (series,) = series_of(task(RECURRENT, lucky, lucky_k, good_k), [])
    assert set(series.base.ids) == {run.id for run in RECURRENT}
    assert series.best.k == 25


def test_of_several_settings_the_best_on_validation_counts():
    other = seeds(7.9, truncation__k=20, valid=8.5)
    peers = seeds(8.3, model="tcn", approximation="feedforward", truncation__k=9)
    (series,) = series_of(task(RECURRENT, other, peers), [])
    assert set(series.base.ids) == {run.id for run in RECURRENT}


@pytest.mark.parametrize("count", [2, 14])
def test_the_sentences_stay_short_however_many_models_there_are(count):
    names = [f"m{n}" for n in range(count)]
    many = [run for name in names for run in seeds(8.2, model=name)]
    data = task(many)
    assert len(sentences(data, series_of(data, [(run, curve(FALLING)) for run in many]))[0]) < 160


def test_gradients_and_counts_are_reasons():
    data = task(RECURRENT)
    every = series_of(data, [(run, curve(FALLING)) for run in RECURRENT])
    backs = (7, 3, None, 9)
    gradients = [
        (run, {"stages": {"best": {"fallen": back}}, "options": {"horizon": 40}})
        for run, back in zip(RECURRENT, backs, strict=True)
    ]
    why = sentences(data, every, gradients)[1]
    assert "down to a thousandth 3 to 9 frames back (in 3 of 4 runs; in the others farther than 40)" in why
    text = [
        replace(run, data=run.data | {"tokens": {"test": 245569}}) for run in (record(200.0), record(210.0, seed=1))
    ]
    words = Slice("paper", "wikitext2", "f", tuple(text))
    assert "still gain by more context" in sentences(words, series_of(words, [(text[0], curve(FALLING))]))[1]


def test_of_networks_trained_at_several_k_the_least_without_a_loss_counts_and_worse_ones_do_not_hide_it():
    peers = [
        run
        for k, loss in ((4, 8.5), (10, 8.21), (25, 8.22), (57, 8.7))
        for run in seeds(loss, model="tcn", approximation="feedforward", truncation__k=k)
    ]
    (series,) = series_of(task(RECURRENT, peers), [])
    assert series.enough.k == 10
    assert series.verdict == "no loss"
    worse = [run for run in peers if run.config["truncation"]["k"] in (4, 57)]
    (series,) = series_of(task(RECURRENT, worse), [])
    assert (series.enough, series.verdict) == (None, "loss")


def test_n_gram_models_come_from_the_baseline_of_the_text():
    runs = [record(200.0 + seed, seed=seed) for seed in range(3)]
    tokens = {"train": 1, "valid": 1, "test": 245569}
    runs = [replace(run, id=f"{run.id}-{n}", data=run.data | {"tokens": tokens}) for n, run in enumerate(runs)]
    data = Slice("paper", "wikitext2", "f", tuple(runs))
    assert data.baseline
    every = series_of(data, [(run, curve(FALLING)) for run in runs])
    counted = next(series for series in every if series.how == COUNTED)
    assert {point.k + 1: point.mean for point in counted.points} == dict(data.baseline)
    truncated = next(series for series in every if series.how == TRUNCATED)
    mean = np.mean([run.metrics["test"]["value"] for run in runs])
    assert truncated.points[0].mean == pytest.approx(mean * math.exp(0.9))
    figure = context_figure(data, every)
    assert all(point["x"] > 0 for panel in figure.panels for point in panel.points)  # the unigram has no context


def test_a_figure_has_recurrent_models_and_networks_without_recurrence_side_by_side_and_at_most_six_of_each():
    names = {"tcn": 8.3, "gated_conv": 8.4, "wavenet": 8.5, "transformer": 8.45, "m1": 8.51, "m2": 8.52, "m3": 8.58}
    peers = [
        run
        for name, loss in names.items()
        for run in seeds(loss, model=name, approximation="feedforward", truncation__k=25)
    ]
    stable = seeds(8.3, stability="stable")
    others = [run for name in ("rnn", "gru") for run in seeds(8.25, model=name)]
    cut = seeds(8.54, approximation="feedforward", truncation__k=5)
    data = task(RECURRENT, stable, others, cut, peers)
    every = series_of(data, [(run, curve(FALLING)) for run in (*RECURRENT, *stable, *others)])
    left, right = drawn(every, built=False), drawn(every, built=True)
    assert [(series.how, series.short) for series in left] == [
        (TRUNCATED, "LSTM unstable"),
        (TRUNCATED, "LSTM stable"),
        (TRAINED, "LSTM unstable"),
    ]
    assert len(right) == 6
    assert "m3" not in {series.model for series in right}, "the worst"
    figure = context_figure(data, every)
    assert [panel.title for panel in figure.panels] == ["Recurrent", "Feed-forward by construction"]
    colours = {curve.label: curve.colour for curve in figure.curves}
    assert colours["LSTM unstable, cut to k"] == colours["LSTM unstable, trained at k"]
    assert len(set(colours.values())) == len(colours) - 1
    levels = {level.name: level for level in figure.levels}
    assert levels["LSTM unstable, recurrent"].value == pytest.approx(8.2)
    assert levels["LSTM stable, recurrent"].colour == colours["LSTM stable, cut to k"]
    assert levels["baseline: network on the last frame"].value == pytest.approx(8.60)
    assert "3 more in the table" in figure.caption
    table = context_table(data, every)
    assert {"LSTM", "TCN", "gated convolution", "WaveNet", "Transformer", "m3"} <= {line[0] for line in table.lines}
    assert len(table.runs) == len(table.rows)


def test_the_best_recurrent_model_is_a_rule_where_it_is_none_of_the_curves():
    peers = seeds(8.3, model="tcn", approximation="feedforward", truncation__k=25)
    data = task(RECURRENT, peers)
    (level, baseline) = context_figure(data, series_of(data, [])).levels
    assert (level.name, baseline.name) == ("LSTM unstable, recurrent (best)", "baseline: network on the last frame")


def test_models_that_the_baseline_beats_have_a_line_each_at_the_end():
    poor = seeds(8.9)
    cut = [run for k in (5, 10, 20) for run in seeds(9 + k / 100, approximation="feedforward", truncation__k=k)]
    data = task(poor, cut)
    every = series_of(data, [])
    lines = context_table(data, every).lines
    assert len(lines) == 1
    assert lines[0][3] == "5–20"
    assert lines[0][6] == "9.05–9.20"
    good = seeds(8.3, model="tcn", approximation="feedforward", truncation__k=25)
    data = task(poor, cut, good, seeds(8.2, model="gru"))
    assert [line[0] for line in context_table(data, series_of(data, [])).lines] == ["TCN", "LSTM"]


def test_no_two_lines_are_labelled_alike():
    poor, other = seeds(8.3, truncation__k=35), seeds(8.2, truncation__k=10)
    cut = seeds(8.25, approximation="feedforward", truncation__k=5)
    data = task(poor, other, cut)
    table = context_table(data, series_of(data, [(run, curve(FALLING)) for run in poor]))
    at = [table.heads.index(head) for head in ("model", "constraint", "context", "k", "against")]
    assert len({tuple(line[n] for n in at) for line in table.lines}) == len(table.lines)
    assert {line[at[-1]] for line in table.lines} == {"the same [k=35]", "the same [k=10]"}


def test_one_quantity_has_one_number_here_and_in_the_sweep():
    cut = seeds(8.3, 3, approximation="feedforward", truncation__k=5)
    data = task(seeds(8.2, 5, spread=0.05, truncation__k=5), cut)
    (series,) = series_of(data, [])
    (pair,) = pairs(data)
    assert pair.change == pytest.approx(series.points[0].loss.mean)


def test_scores_that_a_curve_does_not_have_are_not_drawn_as_if_it_had():
    slots = [replace(run, data=run.data | {"name": "atis", "metric": "F1"}) for run in RECURRENT]
    for run in slots:
        run.metrics["test"]["tally"] = [9, 10, 10]
    data = Slice("cpu", "atis", "f", tuple(slots))
    assert series_of(data, [(run, curve(FALLING)) for run in slots]) == []


def made(target, scores, options, **changes):
    """Runs on a synthetic task."""
    out = []
    for seed, score in enumerate(scores):
        run = music(score, seed, **changes)
        run.data |= {"name": "adding", "metric": "MSE", "baselines": {"the best constant": 0.1666}}
        run.config["dataset"] = {"_target_": f"stablernn.tasks.{target}", **options}
        out.append(run)
    return out


@pytest.mark.parametrize(
    ("format", "value", "spread", "expected"),
    [
        (".4f", 0.000131, 0.00002, "0.00013 ± 0.00002"),
        (".4f", 2.4e-6, 1.1e-6, "0.0000024 ± 0.0000011"),
        (".4f", 0.0945, 0.0003, "0.0945 ± 0.0003"),
        (".2f", 8.5531, 0.0048, "8.553 ± 0.005"),
        (".2f", 8.5531, 0.0, "8.55 ± 0.00"),
        (".2f", 8.5531, math.nan, "8.55 ± nan"),
        (",.0f", 1234.0, 0.2, "1,234 ± 0"),
        ("+.3f", 1e-8, 1e-9, "+0.000 ± 0.000"),
    ],
)
def test_a_score_has_as_many_digits_as_show_its_spread_and_a_difference_those_of_its_margin(
    format, value, spread, expected
):
    assert Value(value, spread).write(Column("score", format)) == expected


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ((0.001, 0.008), "solved"),
        ((0.001, 0.009), "solved in 1 of 2"),
        ((0.162, 0.2), "at chance"),
        ((0.3, 0.2), "worse than chance"),
        ((0.16, 0.1), "better than chance"),
        ((0.001, 0.17), "solved in 1 of 2, at chance in 1 of 2"),
        ((0.001, math.nan), "solved in 1 of 2"),
        ((math.nan,), "diverged"),
    ],
)
def test_a_synthetic_task_is_solved_or_at_chance_by_the_rule(losses, expected):
    assert verdict(losses, 1 / 6, 0.005) == expected


def test_synthetic_tasks_have_a_table_of_their_own_with_exact_baselines():
    adding = {"form": "anywhere", "length": 200, "seed": 1805}
    runs = [
        *made("adding.Adding", (0.0001, 0.0002), adding, experiment="peers_adding"),
        *made("adding.Adding", (0.0003,), adding, model="tcn", approximation="feedforward", truncation__k=3061),
        *made("adding.Adding", (0.164, 0.166), adding, stability="stable"),
    ]
    data = Slice("cpu", "adding", "f", tuple(runs))
    assert data.synthetic
    table = synthetic_table([data])
    shown = [dict(zip(table.heads, line, strict=True)) for line in table.lines]
    assert [line["verdict"] for line in shown] == ["solved", "solved", "at chance"]
    assert [line["sees"] for line in shown] == ["all", "3,061", "all"]
    assert shown[0]["task"] == "adding problem T = 200 (cpu)"
    assert {line["baseline"] for line in shown} == {"0.1666"}, "that of the records"
    assert shown[0]["test"] == "0.00015 ± 0.00007"
    assert not replace(data, records=tuple(made("music.PianoRolls", (8.4,), {}))).synthetic
