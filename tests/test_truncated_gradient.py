"""Truncated gradients: as autograd has them, their bound, a known law; the analysis with its chapter."""

import copy
import math
import shutil
from dataclasses import replace

import pytest
import torch

from stablernn.analysis.runner import analyse
from stablernn.analysis.truncated_gradient import TruncatedGradient, _norm, gradient_bias
from stablernn.config.compose import compose
from stablernn.config.instantiate import make
from stablernn.models.cells.gru import GRUCell
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.cells.lstm_fixed import FixedForgetLSTMCell
from stablernn.models.cells.rnn import RNNCell
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_language_model
from stablernn.models.state import detach
from stablernn.report.contents import chapters
from stablernn.report.evidence import gather
from stablernn.report.sections.truncated_gradient import (
    _first,
    _proven,
    truncated_gradient_figures,
    truncated_gradient_table,
)
from stablernn.stability.certificates import certify
from stablernn.training.run import run
from stablernn.training.trained import find_runs
from stablernn.utils.errors import ConfigurationError

HORIZON, LEAD, STREAMS, SIZE = 9, 4, 5, 6


def network(cell, types, layers=1, scale=1.0):
    torch.manual_seed(0)
    model = build_language_model(types, cell, Recurrent, 5, SIZE, num_layers=layers, dropout=0.4).double()
    with torch.no_grad():
        model.inputs.weight.mul_(10)
        model.objective.weight.mul_(10)
        for each in model.cells:
            each.weight_hh.mul_(scale)
    return model


def plain(model, split, k, from_zero):
    """The gradient by the cells' weights that autograd gives if the state before the last k inputs is detached."""
    pieces = split.ending(STREAMS, HORIZON, LEAD)
    model = copy.deepcopy(model).eval()
    x, state = model.inputs(pieces.x).detach(), model.initial_state(STREAMS)
    if not from_zero:
        _, state = model.backbone(x[: len(x) - k], state)
        state = detach(state)
    features, _ = model.backbone(x[len(x) - k :], state)
    loss = model.objective.losses(features[-1], pieces.y[-1]).mean()
    return torch.autograd.grad(loss, list(model.backbone.parameters()))


def distance(a, b):
    return float(torch.cat([(x - y).flatten() for x, y in zip(a, b, strict=True)]).norm())


@pytest.mark.parametrize(
    ("cell", "layers"), [(RNNCell, 1), (LSTMCell, 1), (FixedForgetLSTMCell, 1), (GRUCell, 1), (LSTMCell, 2)]
)
def test_a_bias_is_that_of_a_detached_state_and_of_a_window_from_zero(cell, layers, corpus):
    model, split = network(cell, corpus.types, layers), corpus.splits["valid"].first(400)
    found = gradient_bias(model, split, HORIZON, STREAMS, LEAD, [1, 3, HORIZON])
    full = plain(model, split, HORIZON + 1, from_zero=False)
    assert found.full == pytest.approx(distance(full, [0 * part for part in full]), rel=1e-10)
    for k in range(1, HORIZON + 1):
        expected = distance(full, plain(model, split, k, from_zero=False)) / found.full
        assert found.cut[k] == pytest.approx(expected, rel=1e-8, abs=1e-12)
    for k in (1, 3, HORIZON):
        expected = distance(full, plain(model, split, k, from_zero=True)) / found.full
        assert found.feedforward[k] == pytest.approx(expected, rel=1e-8, abs=1e-12)
    assert found.cut[0] == pytest.approx(1)
    assert all(parameter.requires_grad for parameter in model.parameters()), "the model is left as it is"


@pytest.mark.parametrize(("cell", "scale"), [(RNNCell, 0.5), (RNNCell, 0.9), (LSTMCell, 0.1), (LSTMCell, 0.0)])
def test_no_cut_gradient_is_farther_than_its_bound_where_a_certificate_holds(cell, scale, corpus):
    model = network(cell, corpus.types, scale=scale)
    with torch.no_grad():
        if cell is LSTMCell:
            model.cells[0].weight_ih.mul_(0.05)
    assert certify(model, search_units=0).holds
    found = gradient_bias(model, corpus.splits["valid"], 12, 64, LEAD, [1])
    assert found.rate < 1
    assert all(cut <= bound for cut, bound in zip(found.cut, found.bound, strict=True))
    assert found.bound[5] == pytest.approx(found.bound[0] * found.rate**5)


def test_the_bound_falls_as_the_cut_gradient_does_where_every_step_shrinks_by_the_same(corpus):
    """W = I/2 near the state 0, where tanh has slope 1, and one input for ever: all terms of the sum are parallel.

    Only the norm of the proof (here the ∞-norm, the dual of which is the sum) is between the two.
    """
    model = network(RNNCell, corpus.types)
    with torch.no_grad():
        cell = model.cells[0]
        cell.weight_hh.copy_(0.5 * torch.eye(SIZE))
        cell.weight_ih.mul_(1e-9)
        cell.bias_ih.zero_()
        cell.bias_hh.zero_()
        model.inputs.weight.copy_(model.inputs.weight[0].expand_as(model.inputs.weight))
    found = gradient_bias(model, corpus.splits["valid"], 60, 1, LEAD, [1])
    ratios = [bound / cut for bound, cut in zip(found.bound, found.cut, strict=True)]
    assert min(ratios) >= 1
    assert max(ratios[:40]) <= SIZE**0.5
    assert ratios[:40] == pytest.approx([ratios[0]] * 40, rel=1e-3)
    assert found.cut[60] == pytest.approx(0.5**60 / 2, rel=1e-6), "below what g - g_k could resolve"


@pytest.mark.parametrize(("cell", "layers", "scale"), [(RNNCell, 1, 5.0), (GRUCell, 1, 0.1), (RNNCell, 2, 0.1)])
def test_where_nothing_is_proven_there_is_no_bound(cell, layers, scale, corpus):
    found = gradient_bias(
        network(cell, corpus.types, layers, scale), corpus.splits["valid"], HORIZON, STREAMS, LEAD, [1]
    )
    assert found.bound is found.rate is None


def test_a_k_is_looked_for_where_the_full_gradient_goes_far_enough_beyond_it_and_proven_by_the_rate():
    shares = [1.0, 0.5, 0.02, 0.005, 0.02, 0.001, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert _first(shares) == 5
    assert _first([*shares[:4], *[0.02] * 3, 0.0, 0.0, 0.0, 0.0]) is None
    assert _proven({"bound": [2.0, 1.0], "rate": 0.5}) == 8, "2 / 2^8 is the first below 1 %"
    assert _proven({"bound": None, "rate": None}) is None


def test_a_norm_is_right_where_squares_are_zero():
    parts = [torch.full((3,), 1e-200, dtype=torch.float64), torch.full((1,), 1e-200, dtype=torch.float64)]
    assert _norm(parts) == pytest.approx(2e-200)
    assert _norm([torch.zeros(2)]) == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    from conftest import SMALL

    folder = tmp_path_factory.mktemp("runs")
    for stability in ("stable", "unstable"):
        options = [f"stability={stability}", "truncation.k=4", "training.max_updates=8", f"runs={folder}"]
        run(compose("train", [*SMALL, "model=rnn", *options]))
    return find_runs("*", folder, None, torch.device("cpu"))


def test_the_analysis_has_a_table_and_a_figure(trained):
    analysis = make(compose("analyze", ["analysis=truncated_gradient"]).analysis)
    analysis = TruncatedGradient(**(analysis.options | {"streams": 40, "lead": 8, "horizon": 12}))
    found = [(one.record, result) for one, result in analyse(analysis, trained)]
    for one, (_, result) in zip(trained, found, strict=True):
        expected = gradient_bias(one.model("best"), one.corpus.splits["train"], 12, 40, 8, [1, 2, 5, 10])
        assert result["stages"]["best"]["cut"] == expected.cut
        assert result["stages"]["best"]["feedforward"] == {str(k): v for k, v in expected.feedforward.items()}
    assert [one["options"] for _, one in found] == [analysis.options] * 2
    shown = truncated_gradient_table(found)
    assert shown.heads[4:] == [
        *("cut k=1", "cut k=5", "cut k=10", "1 % at k =", "bound: 1 % at k ="),
        *("feed-forward k=1", "feed-forward k=5", "feed-forward k=10"),
    ]
    by_stability = {line[1]: line for line in shown.lines}
    assert len(shown.lines) == 4
    assert all(len(line) == len(shown.heads) for line in shown.lines)
    assert by_stability["unstable"][8] == "–" or trained[1].record.certificate["certified"]
    (figure,) = truncated_gradient_figures(found)
    assert len(figure.panels) == 2
    assert all(math.isfinite(point["y"]) for panel in figure.panels for point in panel.points)
    nearer = replace(analysis, horizon=8, lengths=(2, 5))
    mixed = truncated_gradient_table([found[0], *[(one.record, got) for one, got in analyse(nearer, trained[1:])]])
    assert mixed.heads[4:] == [
        *("cut k=1", "cut k=5", "1 % at k =", "bound: 1 % at k ="),
        "feed-forward k=5",
    ]


def test_the_report_has_a_chapter_of_it(trained, tmp_path):
    for one in trained:
        one.record.write(tmp_path / "records" / one.record.id)
    for one, _ in analyse(TruncatedGradient(streams=40, lead=8, horizon=12), trained):
        shutil.copy(one.folder / "truncated_gradient.json", tmp_path / "records" / one.record.id)
    made = {each.section.anchor: each.blocks for each in chapters(gather(tmp_path / "records", tmp_path))}
    (block,) = made["patterns"]
    assert {table.name for table in block.tables} == {"truncated_gradient"}
    assert len(block.figures) == 1


@pytest.mark.parametrize("option", [{"streams": 0}, {"lead": 0}, {"horizon": 1}, {"split": "tst"}, {"lengths": [0]}])
def test_options_that_make_no_sense_are_refused_by_name(option):
    with pytest.raises(ConfigurationError, match=rf"analysis\.{next(iter(option))}"):
        TruncatedGradient(**option)
