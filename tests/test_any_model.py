"""A certificate of anything finite ends in a value or a reason: random models, ordinary, extreme and degenerate."""

import json
import math
import warnings

import numpy as np
import pytest
import torch
from test_certificates import pairs, ratio
from torch import nn

from stablernn.models.cells.gru import GRUCell
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.cells.rnn import RNNCell
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_language_model
from stablernn.stability import certify
from stablernn.stability.certificates import summarise
from stablernn.stability.constraints.base import Unconstrained, project
from stablernn.stability.constraints.cascade import LSTMCascade
from stablernn.stability.constraints.gru import GRUGatedLinear, GRURowwise
from stablernn.stability.constraints.lstm import LSTMAsCoded, LSTMStated
from stablernn.stability.constraints.output_gate import LSTMOutputGate
from stablernn.stability.constraints.small_gain import (
    LSTMComparison,
    LSTMCoupled,
    LSTMGatedLinear,
    LSTMRowwise,
    LSTMSpectral,
)
from stablernn.stability.constraints.spectral import RNNDiagonal, SpectralNormBall
from stablernn.stability.diameter import diameter
from stablernn.stability.proofs.gates import GateBounds, coupled
from stablernn.stability.proofs.rates import MOST_PLACES, levels
from stablernn.utils.errors import ConfigurationError

LIMITED = {
    RNNCell: [SpectralNormBall, RNNDiagonal],
    LSTMCell: [
        LSTMComparison,
        LSTMRowwise,
        LSTMSpectral,
        LSTMGatedLinear,
        LSTMCoupled,
        LSTMOutputGate,
        LSTMCascade,
    ],
    GRUCell: [GRURowwise, GRUGatedLinear],
}
OTHERS = {RNNCell: [Unconstrained], LSTMCell: [Unconstrained, LSTMStated, LSTMAsCoded], GRUCell: [Unconstrained]}


def draw(seed):
    """A model whose sizes, scales, zeros, ties, stack, dropout and constraint follow from the seed."""
    chance = np.random.default_rng(seed)
    torch.manual_seed(seed)
    kind = (RNNCell, LSTMCell, LSTMCell, GRUCell)[chance.integers(4)]
    size = int(chance.integers(1, 25 if chance.random() < 0.1 else 9))
    tied = bool(chance.random() < 0.2)
    model = build_language_model(
        int(chance.integers(1, 12)),
        kind,
        Recurrent,
        size if tied else int(chance.integers(1, 7)),
        size,
        num_layers=int(chance.integers(1, 4)),
        dropout=float(chance.choice([0.0, 0.0, 0.2, 0.9])),
        tied=tied,
    )
    widest = chance.choice([1, 3, 12, 36])  # decades
    with torch.no_grad():
        for parameter in model.parameters():
            what = chance.random()
            if what < 0.6:
                parameter.mul_(10 ** chance.uniform(-widest, widest))
            if what < 0.2:
                parameter.mul_((torch.rand_like(parameter) < chance.random()).float())
            elif what < 0.3:
                parameter.fill_(float(parameter.flatten()[0]))  # ties
            elif what < 0.35:
                parameter.zero_()
            elif what < 0.4 and parameter.dim() == 2 and len(parameter) > 1:
                parameter[1:] = -parameter[:1].clone()  # rows on both sides of their mean
            parameter.nan_to_num_()
        if kind is LSTMCell and chance.random() < 0.15:  # coupled gates
            for cell in model.cells:
                for part in cell.parameters():
                    part[:size] = -part[size : 2 * size].clone()
    chosen = OTHERS[kind] + LIMITED[kind] * 2
    constraint = chosen[chance.integers(len(chosen))]
    if constraint in LIMITED[kind]:
        constraint = constraint(float(chance.choice([0.5, 0.9, 0.99, 0.999])))
    else:
        constraint = constraint()
    if chance.random() < 0.6:
        project(constraint, model)
    return model


def check(model):
    """A value or a reason, and no NaN; says whether it was certified."""
    summary = summarise(model)
    json.dumps(summary, allow_nan=False)
    if not summary["certified"]:
        assert summary["reason"]
        return False
    assert 0 <= summary["rate"] < 1
    assert summary["radius"] >= 0
    assert summary["decoder"] >= 0
    known = [value for value in summary["gap"].values() if value is not None]
    assert known
    assert all(value >= 0 for value in known)
    return True


def many(seeds):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return sum(check(draw(seed)) for seed in seeds)


def test_random_models_end_in_a_value_or_a_reason():
    certified = many(range(60))
    assert 20 < certified < 50  # neither branch is empty


@pytest.mark.slow
def test_twenty_thousand_random_models_end_in_a_value_or_a_reason():
    certified = many(range(20_000))
    assert 5000 < certified < 15_000


def saturated(embedding, weights):
    """An LSTM with one word that shuts i and opens f as far as float64 knows."""
    torch.manual_seed(0)
    model = build_language_model(8, LSTMCell, Recurrent, 3, 4)
    with torch.no_grad():
        model.inputs.weight.mul_(embedding)
        model.cells[0].weight_ih.mul_(weights)
    return model


def test_a_word_that_shuts_the_input_gate_and_opens_the_forget_gate_is_a_reason():
    assert "never forgets" in certify(saturated(1000, 20)).summary()["reason"]
    assert certify(saturated(1, 1)).proofs[0].bounds["f_∞"] < 1
    assert not check(saturated(1000, 20))


def test_a_coupled_unit_that_hears_nothing_does_not_stand_in_the_way_of_the_others():
    torch.manual_seed(0)
    model = build_language_model(8, LSTMCell, Recurrent, 3, 4)
    cell = model.cells[0]
    with torch.no_grad():
        for part in cell.parameters():
            part[8] = 0  # z of the first unit
        cell.weight_hh.mul_(0.1)
    project(LSTMCoupled(0.99), model)
    with torch.no_grad():
        for part in cell.parameters():
            part[8] = 0
    certificate = certify(model)
    assert certificate.holds
    assert certificate.rate <= 0.99 * (1 + 1e-6)
    assert float(certificate.proofs[0].box.c[0]) < 1e-6
    assert math.isfinite(certificate.gap(35))


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_rows_on_opposite_sides_of_their_mean_have_a_diameter(p):
    for seed in range(200):
        torch.manual_seed(seed)
        rows = torch.randn(1, 3, dtype=torch.float64) * torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
        rows = rows + torch.randn(3, dtype=torch.float64)
        assert diameter(rows, p) >= float((rows[0] - rows[1]).norm(p=p)) * (1 - 1e-15)


@pytest.mark.parametrize("module", [nn.LSTM(3, 4), nn.Linear(2, 2), LSTMCell(3, 4)])
def test_a_module_that_is_no_model_is_refused_with_a_way_to_make_one(module):
    with pytest.raises(ConfigurationError, match=f"certify takes a SequenceModel, not {type(module).__name__}: make"):
        certify(module)


@pytest.mark.parametrize("kind", [RNNCell, LSTMCell, GRUCell])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_a_reason(kind, value):
    model = build_language_model(5, kind, Recurrent, 2, 3, num_layers=2)
    with torch.no_grad():
        model.cells[1].weight_hh[0, 0] = value
    assert not check(model)
    assert "finite" in certify(model).summary()["reason"]


def test_bounds_that_overflow_are_a_reason_and_no_infinity():
    torch.manual_seed(0)
    model = build_language_model(5, RNNCell, Recurrent, 2, 3, num_layers=10)
    with torch.no_grad():
        for cell in model.cells:
            cell.weight_hh.zero_()
            cell.weight_hh.fill_diagonal_(0.5)
            cell.weight_ih.fill_(3e38)
            cell.bias_ih.zero_()
            cell.bias_hh.zero_()
        model.objective.weight.mul_(3e38)
    assert not check(model)
    assert "overflows" in certify(model).summary()["reason"]


def huge(kind, seed):
    """A model with weights of 1e30 to 3e38, some of whose units are saturated for every state and word."""
    chance = np.random.default_rng(seed)
    torch.manual_seed(seed)
    model = build_language_model(5, kind, Recurrent, 3, 4)
    (cell,) = model.backbone.cells
    with torch.no_grad():
        if chance.random() < 0.4:
            cell.weight_hh.mul_(10 ** chance.uniform(30, 37))
        if chance.random() < 0.3:
            cell.weight_ih.mul_(10 ** chance.uniform(30, 38))
        chosen = torch.rand(len(cell.bias_ih)) < chance.choice([0.5, 1.0])
        cell.bias_ih[chosen] = torch.where(torch.rand(int(chosen.sum())) < 0.5, 1.0, -1.0) * 3e38
        if kind is LSTMCell:
            cell.bias_ih[4:8] = -3e38  # else a unit never forgets
    return model, cell


@pytest.mark.parametrize("kind", [RNNCell, LSTMCell])
def test_saturated_units_with_huge_weights_are_refused_or_withstand_an_attack(kind):
    certified = 0
    for seed in range(30):
        model, cell = huge(kind, seed)
        recurrent = bool(cell.weight_hh.any())
        if not check(model):
            continue
        certified += 1
        certificate = certify(model)
        assert not recurrent or certificate.rate > 0, "a slope that float64 rounds to zero is not zero"
        (proven,), inputs = certificate.proofs, model.double().inputs.weight.detach()
        assert all(bool((part > 0).all()) for part in proven.box)
        for proof in proven.candidates:
            if proof.holds:
                pair = pairs(proven.box, 200)
                with torch.no_grad():
                    found = ratio(cell, proof.norm, pair, inputs[torch.randint(5, (200,))])
                assert float(found.nan_to_num().max()) <= proof.rate * (1 + 1e-7)
    assert 5 < certified < 30


@pytest.mark.parametrize("groups", [2, 5])
@pytest.mark.parametrize("limit", [0.9, 0.999])
def test_zeros_inside_the_groups_of_a_cascade_do_not_cost_its_limit(groups, limit):
    many = 0
    for seed in range(4):
        torch.manual_seed(seed)
        model = build_language_model(17, LSTMCell, Recurrent, 5, 24, num_layers=1 + seed % 2)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(10)
            for cell in model.cells:
                cell.weight_hh.mul_((torch.rand_like(cell.weight_hh) < 0.06 + 0.035 * (seed % 3)).float())
        project(LSTMCascade(limit, groups), model)
        many += any(
            int(levels(cell.weight_hh.detach().double().view(4, 24, 24).abs().sum(0)).max()) >= MOST_PLACES
            for cell in model.cells
        )
        certificate = certify(model)
        assert certificate.holds
        assert certificate.rate <= limit * (1 + 1e-6)
    assert many > 2


def test_coupled_bounds_of_a_unit_without_memory_are_numbers():
    """Where nothing is ever written, c is 0 and so is what would be divided by it."""
    nothing, half = torch.zeros(1, dtype=torch.float64), torch.full((1,), 0.5, dtype=torch.float64)
    bounds = GateBounds(nothing, half, nothing, half, nothing, nothing, nothing, nothing, nothing, nothing)
    assert all(bool(torch.as_tensor(part).isfinite().all()) for part in coupled(bounds))
