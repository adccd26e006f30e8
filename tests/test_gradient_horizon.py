"""Gradients of a loss by earlier words: one position at a time, differences, a known law; the n-gram view."""

import json
import math
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from stablernn.analysis.contraction import ContractionAnalysis
from stablernn.analysis.gradient_horizon import GradientHorizon, gradient_norms, summary
from stablernn.analysis.linear.matrix import run_studies
from stablernn.analysis.linear.scalar import ScalarStudy
from stablernn.analysis.runner import analyse, check_applies, is_missing
from stablernn.analysis.truncated_gradient import TruncatedGradient
from stablernn.analysis.truncation import TruncationAnalysis, truncation_curve, truncation_result
from stablernn.config.compose import compose
from stablernn.config.instantiate import make
from stablernn.models.cells.gru import GRUCell
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.cells.rnn import RNNCell
from stablernn.models.feed_forward import FeedForward
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_language_model
from stablernn.report.sections.gradient_horizon import gradient_figures, gradient_horizon_table
from stablernn.report.sections.ngram import ngram_table, reset_values
from stablernn.report.write import write_report
from stablernn.tasks.sequences import Sequences
from stablernn.training.run import run
from stablernn.training.trained import find_runs
from stablernn.utils.console import log
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.metrics import NATS_A_FRAME, PERPLEXITY

CELLS = [RNNCell, LSTMCell, GRUCell]


def network(cell, types, layers=1, backbone=Recurrent):
    torch.manual_seed(0)
    model = build_language_model(types, cell, backbone, 5, 6, num_layers=layers, dropout=0.4)
    with torch.no_grad():
        model.inputs.weight.mul_(10)
        model.objective.weight.mul_(10)
        model.objective.bias.uniform_(-1, 1)
    return model


def loss_at(model, x, target):
    """-log p(target) after the embedded words x (T, E), step by step from zero."""
    states = [cell.zeros(1) for cell in model.cells]
    for t in range(len(x)):
        h = x[t : t + 1]
        for depth, cell in enumerate(model.cells):
            states[depth] = cell(h, states[depth])
            h = states[depth].h
    return torch.nn.functional.cross_entropy(h @ model.objective.weight.T + model.objective.bias, target[None])


@pytest.mark.parametrize(("cell", "layers"), [(RNNCell, 1), (LSTMCell, 1), (LSTMCell, 2)])
def test_every_norm_is_that_of_one_position_at_a_time(cell, layers, corpus):
    split = corpus.splits["valid"].first(90)
    model = network(cell, corpus.types, layers).double()
    horizon, lead = 9, 4
    found = gradient_norms(model, split, horizon, streams=90 - horizon - lead, lead=lead)  # all there are
    ids = torch.as_tensor(split.ids.astype("int64"))
    for number, s in enumerate(range(horizon + lead, 90)):
        for i in (0, 1, 5, horizon):
            x = model.inputs.weight.detach()[ids[s - horizon - lead : s + 1]]
            source = x[len(x) - 1 - i].clone().requires_grad_()
            loss = loss_at(model, torch.cat([x[: len(x) - 1 - i], source[None], x[len(x) - i :]]), ids[s + 1])
            (gradient,) = torch.autograd.grad(loss, [source])
            assert_close(found[i, number], gradient.norm(), rtol=1e-9, atol=0)


@pytest.mark.parametrize("cell", CELLS)
def test_the_norms_are_those_of_finite_differences(cell, corpus):
    split = corpus.splits["valid"].first(40)
    model = network(cell, corpus.types).double()
    found = gradient_norms(model, split, 6, streams=1, lead=3)[:, 0]  # of the first position, s = 9
    ids = torch.as_tensor(split.ids.astype("int64"))
    with torch.no_grad():
        x = model.inputs.weight[ids[:10]]
        for i in range(7):
            slopes = []
            for coordinate in range(5):
                step = torch.zeros_like(x)
                step[9 - i, coordinate] = 1e-5
                ahead, behind = (loss_at(model, x + sign * step, ids[10]) for sign in (1, -1))
                slopes.append((ahead - behind) / 2e-5)
            assert_close(found[i], torch.stack(slopes).norm(), rtol=1e-5, atol=1e-9)


def test_positions_are_spread_over_the_split_and_the_model_is_left_as_it_is(corpus):
    split = corpus.splits["valid"].first(500)
    model = network(LSTMCell, corpus.types).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    every = gradient_norms(model, split, 9, streams=486, lead=5)
    some = gradient_norms(model, split, 9, streams=70, lead=5)  # more than go at once
    chosen = [number * 486 // 70 for number in range(70)]
    assert_close(some, every[:, chosen], rtol=1e-9, atol=0)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(value.requires_grad and value.dtype is torch.float32 for value in model.parameters())
    feedforward = network(LSTMCell, corpus.types, backbone=lambda cells, dropout: FeedForward(cells, dropout, k=2))
    assert_close(gradient_norms(feedforward, split, 9, streams=70, lead=5), some, rtol=1e-12, atol=0)


@pytest.mark.parametrize("rate", [0.9, 0.5, 1e-4])
def test_a_linear_recurrence_forgets_at_its_rate_far_below_what_squares_can_hold(rate, corpus):
    model = network(RNNCell, corpus.types).double()
    with torch.no_grad():  # so small a state that tanh is the identity
        cell = model.cells[0]
        cell.weight_hh.copy_(rate * torch.eye(6, dtype=torch.float64))
        cell.weight_ih.mul_(1e-7)
        cell.bias_ih.zero_()
        cell.bias_hh.zero_()
    norms = gradient_norms(model, corpus.splits["valid"], 50, streams=32, lead=20)
    powers = rate ** torch.arange(51, dtype=torch.float64)
    assert_close(norms / norms[:1], powers[:, None].expand(-1, 32), rtol=1e-8, atol=0)
    found = summary(norms)
    for average in ("mean", "geometric"):
        assert found["slope"][average] == pytest.approx(math.log(rate), rel=1e-8)
        assert found["error"][average] < 1e-8
    assert found["fallen"] == {0.9: None, 0.5: 10, 1e-4: 1}[rate]


def test_the_summary_is_of_positions_and_holds_from_there_on():
    norms = torch.tensor([[1.0, 3.0], [1e-4, 1e-4], [0.1, 0.1], [0.0, 1e-5], [0.0, 0.0]], dtype=torch.float64)
    found = summary(norms.repeat(1, 16))
    assert found["mean"] == pytest.approx([2, 1e-4, 0.1, 5e-6, 0])
    assert found["geometric"] == pytest.approx([math.sqrt(3), 1e-4, 0.1, 0, 0])
    assert found["median"][1:3] == pytest.approx([1e-4, 0.1])
    assert (found["low"][0], found["high"][0]) == (1, 3)
    assert found["fallen"] == 3  # i = 1 was a dip
    assert found["slope"]["mean"] == pytest.approx(math.log(5e-6) - math.log(0.1)), "of the farther half"
    assert found["slope"]["geometric"] is None, "of one distance there is no slope"
    assert json.loads(json.dumps(found)) == found
    nothing = summary(torch.zeros(4, 16, dtype=torch.float64))
    assert nothing["slope"] == nothing["error"] == {"mean": None, "geometric": None}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    from conftest import SMALL

    folder = tmp_path_factory.mktemp("runs")
    config = compose("train", [*SMALL, "model=lstm", "truncation.k=4", "training.max_updates=8", f"runs={folder}"])
    run(config)
    (found,) = find_runs("*", folder, None, torch.device("cpu"))
    return found


def test_the_analysis_tells_three_stages_and_is_made_once(trained, tmp_path):
    analysis = GradientHorizon(streams=40, lead=8, horizon=12)
    ((_, result),) = analyse(analysis, [trained])
    for stage in ("initial", "best", "last"):
        expected = gradient_norms(trained.model(stage), trained.corpus.splits["valid"], 12, 40, 8)
        assert result["stages"][stage] == summary(expected)
    assert result["stages"]["initial"] != result["stages"]["best"]
    ((_, again),) = analyse(analysis, [trained])
    assert again["stages"] == result["stages"]
    found = [(trained.record, again)]
    shown = gradient_horizon_table(found)
    assert shown.heads[4:7] == ["i=0", "i=10", "1e-3 at i ="]
    assert all(len(line) == len(shown.heads) for line in shown.lines)
    (figure,) = gradient_figures(found)
    assert [len(panel.points) for panel in figure.panels] == [13 * len(figure.curves)]


def test_a_horizon_that_has_not_been_reached_is_told_as_such(trained):
    values = {"mean": [1.0, 0.5, 0.1], "fallen": None, "slope": {"mean": -0.5, "geometric": None}}
    values["error"] = {"mean": 0.01, "geometric": None}
    stages = dict.fromkeys(("initial", "best", "last"), values)
    result = {"options": {"horizon": 2, "streams": 16, "split": "valid"}, "stages": stages}
    shown = gradient_horizon_table([(trained.record, result)])
    assert shown.lines[0][-3:] == ["> 2", "-0.500 ± 0.01", "–"]


def test_the_report_tells_horizons_ngrams_and_linear_systems(trained, tmp_path):
    source = tmp_path / "records"
    trained.record.write(source / trained.record.id)
    for analysis in (GradientHorizon(streams=40, lead=8, horizon=12), TruncationAnalysis(k_max=6)):
        list(analyse(analysis, [trained]))
        shutil.copy(trained.folder / f"{analysis.name}.json", source / trained.record.id)
    run_studies([ScalarStudy((0.5,), 0.3, 20, 10, -2, 0, 1, 0.01)], source / "linear_systems")
    files = {path.name for path in write_report(source, tmp_path / "results", None)}
    assert files >= {"gradient_horizon.md", "ngram.md", "linear_systems.md"}
    stems = ("gradient_horizon_embedded_smoke", "ngram_embedded_smoke")
    assert files >= {f"{stem}.{kind}" for stem in stems for kind in ("csv", "tex", "svg", "png")}
    assert files >= {"linear_systems_scalar.tex", "linear_scalars.svg"}


@pytest.mark.parametrize("option", [{"streams": 15}, {"lead": 0}, {"horizon": 1}, {"split": "tst"}])
def test_options_that_make_no_sense_are_refused_by_name(option):
    with pytest.raises(ConfigurationError, match=rf"analysis\.{next(iter(option))}"):
        GradientHorizon(**option)


def test_too_short_a_split_says_what_would_do(trained):
    """The largest horizon of the refusal fits, and one more does not; nothing is computed before."""

    def largest(horizon, streams):
        with pytest.raises(ConfigurationError, match=rf"analysis\.horizon={horizon}:") as refused:
            check_applies(GradientHorizon(horizon=horizon, streams=streams), trained)
        return int(re.search(r"choose analysis\.horizon=(\d+)", str(refused.value)).group(1))

    most = largest(500, 100)
    assert largest(most + 1, 100) == most
    check_applies(GradientHorizon(horizon=most, streams=100), trained)
    with pytest.raises(ConfigurationError, match="choose fewer streams"):
        GradientHorizon(streams=500)(trained)


def test_the_largest_horizon_of_sequences_is_the_largest_of_which_there_are_as_many_positions():
    frames = [np.zeros((length, 2), np.float32) for length in (7, 5, 3)]
    split = Sequences(tuple(frames), tuple(frames))
    for streams in (1, 2, 4, 9):
        with pytest.raises(ConfigurationError, match=r"horizon=20") as refused:
            split.ending(streams, 20, 1)
        found = re.search(r"choose analysis\.horizon=(\d+)", str(refused.value))
        fitting = [h for h in range(2, 20) if sum(max(0, length - h) for length in (7, 5, 3)) >= streams]
        assert (int(found.group(1)) if found else None) == max(fitting, default=None)


@pytest.mark.parametrize("length", [9, 30, 60, 300])
def test_what_is_left_open_is_chosen_by_the_lengths_of_the_sequences(length):
    frames = tuple(np.zeros((length + n, 2), np.float32) for n in range(40))
    split = Sequences(frames, frames)
    subject = SimpleNamespace(corpus=SimpleNamespace(splits=dict.fromkeys(("train", "valid"), split)))
    for analysis in (GradientHorizon(streams=20), TruncatedGradient(streams=20)):
        horizon = analysis.fit(subject).horizon
        assert split.ending(20, horizon, 1).x.shape[0] == horizon + 2
        assert split.room(horizon) >= len(split) / 4
        assert horizon == 100 or split.room(horizon + 1) < len(split) / 4
        asked = replace(analysis, horizon=1000)
        assert asked.fit(subject) is asked, "what was asked for is refused, and not changed"
    for given in ({}, {"lead": 3}, {"longest": 4}):
        contraction = ContractionAnalysis(streams=20, **given).fit(subject)
        assert contraction._streams(subject).shape[1] == 20
        assert contraction.options | given == contraction.options
        assert length < 300 or contraction.options | {"lead": 64, "longest": 128} | given == contraction.options


def test_a_result_with_a_chosen_horizon_is_made_once_and_says_it(trained, caplog, monkeypatch):
    monkeypatch.setattr(log, "propagate", True)
    analysis = GradientHorizon(streams=20, lead=8)
    room = len(trained.corpus.splits["valid"])
    with caplog.at_level("INFO"):
        ((_, result),) = analyse(analysis, [trained], fresh=True)
    assert result["options"]["horizon"] == min(100, room - 28)
    assert (f"analysis.horizon={room - 28}" in caplog.text) == (room < 128)
    assert not is_missing(analysis, trained)
    assert is_missing(replace(analysis, horizon=5), trained)


# ---- the n-gram view of a truncation curve


@pytest.mark.parametrize("cell", CELLS)
def test_the_reset_perplexity_is_that_of_a_state_that_is_reset(cell, corpus):
    split = corpus.splits["valid"].first(61)
    model = network(cell, corpus.types).double().eval()
    curve = truncation_curve(model, split, range(1, 8), tolerance=0.0)
    found = reset_values(truncation_result(model, curve), PERPLEXITY)
    ids = torch.as_tensor(split.ids.astype("int64"))
    for n in range(1, 8):
        nats = []
        for offset in range(n):
            state = model.initial_state(1)
            nats.append(0.0)
            for t in range(61):
                if (t + offset) % n == 0:
                    state = model.initial_state(1)
                with torch.no_grad():
                    loss, state = model.loss(ids[t : t + 1, None], ids[t + 1 : t + 2, None], state)
                nats[-1] += float(loss)
        assert found[n - 1] == pytest.approx(math.exp(sum(nats) / n / 61), rel=1e-9)


def test_a_curve_with_a_gap_goes_no_further():
    whole = {"total": 0.0, "count": 1}
    changes = {"recurrent": whole, "loss_change": [math.log(4), math.log(9), 5.0]}
    assert reset_values({"k": [1, 2, 4], **changes}, PERPLEXITY) == pytest.approx([4, 6])
    assert reset_values({"k": [2, 3, 4], **changes}, PERPLEXITY) == []
    assert reset_values({"k": [1, 2, 3], **changes, "loss_change": [4.0, 9.0, 5.0]}, NATS_A_FRAME) == [4, 6.5, 6]


def test_analysis_ngram_is_another_view_of_analysis_truncation(trained, tmp_path):
    options = compose("analyze", ["analysis=ngram", "k_max=6"])
    analysis = make(options.analysis)
    assert analysis == make(compose("analyze", ["analysis=truncation", "k_max=6"]).analysis)
    ((record, result),) = [(one.record, result) for one, result in analyse(analysis, [trained])]
    shown = make(options.table)([(record, result)])
    assert shown == ngram_table([(record, result)])
    assert shown.heads[3:] == ["n=2", "n=3", "n=5", "all"]
    ngram, reset = shown.lines
    assert ngram[3] == f"{result['value'][0]:.1f}"  # a bigram sees one word
    assert reset[3] == f"{math.sqrt(result['value'][0] * result['value'][1]):.1f}"
    (figure,) = make(options.figures)([(record, result)])
    ((panel,), curves) = figure.panels, [curve.label for curve in figure.curves]
    seen = {told: [point["y"] for point in panel.points if point["curve"] == told] for told in curves}
    assert [len(values) for values in seen.values()] == [6, 5]
    assert seen[curves[1]] == result["value"][:5]
