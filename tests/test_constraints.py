"""Constraints: feasible, idempotent, nearest, and the identity on what is feasible already."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from stablernn.errors import ConfigurationError
from stablernn.models.cells import LSTMCell, RNNCell
from stablernn.models.language_model import build_language_model
from stablernn.models.unroll import Recurrent
from stablernn.stability.constraints import (
    LSTMStated,
    SpectralNormBall,
    Unconstrained,
    infinity_norm,
    project,
    spectral_norm,
)

seeds = st.integers(0, 2**31)
scales = st.floats(1e-3, 1e3)


def weights(cell):
    return {name: value.clone() for name, value in cell.state_dict().items()}


def scaled(cell, scale):
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.mul_(scale)
    return cell


def random_rnn(seed, size, scale):
    torch.manual_seed(seed)
    return scaled(RNNCell(3, size), scale)


def random_lstm(seed, size, scale):
    torch.manual_seed(seed)
    return scaled(LSTMCell(3, size), scale), torch.randn(11, 3) * scale


@settings(max_examples=50, deadline=None)
@given(seed=seeds, size=st.integers(1, 24), scale=scales, limit=st.floats(0.05, 0.999))
def test_the_spectral_projection_is_feasible_idempotent_and_the_clipped_svd(seed, size, scale, limit):
    cell = random_rnn(seed, size, scale)
    before = cell.weight_hh.detach().double()
    constraint = SpectralNormBall(limit)
    constraint.project(cell, None)
    assert spectral_norm(cell.weight_hh) <= limit
    u, s, vt = torch.linalg.svd(before)
    assert_close(cell.weight_hh.double(), (u * s.clamp_max(limit)) @ vt, rtol=1e-5, atol=1e-5)
    once = weights(cell)
    constraint.project(cell, None)
    assert_close(weights(cell), once, rtol=0, atol=0)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, size=st.integers(1, 12), scale=scales)
def test_no_feasible_matrix_is_nearer_than_the_spectral_projection(seed, size, scale):
    cell = random_rnn(seed, size, scale)
    before = cell.weight_hh.detach().double()
    SpectralNormBall(0.9).project(cell, None)
    distance = (cell.weight_hh.double() - before).norm()
    for _ in range(20):
        other = torch.randn(size, size, dtype=torch.float64)
        other = other * (0.9 / spectral_norm(other)) * torch.rand(())
        mixed = torch.lerp(cell.weight_hh.double(), other, 0.01)  # near the projection, and feasible by convexity
        assert (mixed.detach() - before).norm() >= distance * (1 - 1e-5)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, size=st.integers(1, 24))
def test_a_feasible_rnn_is_left_as_it_is(seed, size):
    cell = random_rnn(seed, size, 1.0)
    scaled(cell, 0.95 / max(spectral_norm(cell.weight_hh), 0.95))
    before = weights(cell)
    SpectralNormBall(0.951).project(cell, None)
    assert_close(weights(cell), before, rtol=0, atol=0)


def forget_bound(cell, inputs):
    """f_∞ in exact terms, on the weights and inputs as they are stored."""
    d = cell.hidden_size
    bias = (cell.bias_ih.detach().double() + cell.bias_hh.detach().double())[d : 2 * d].max()
    reach = inputs.detach().double().abs().max() if inputs is not None else 1.0
    return float(
        torch.sigmoid(
            infinity_norm(cell.recurrent_blocks()["W_f"]) + infinity_norm(cell.input_blocks()["U_f"]) * reach + bias
        )
    )


@settings(max_examples=50, deadline=None)
@given(seed=seeds, size=st.integers(1, 24), scale=scales, first_layer=st.booleans())
def test_the_stated_lstm_condition_holds_after_projection(seed, size, scale, first_layer):
    cell, table = random_lstm(seed, size, scale)
    inputs = table if first_layer else None
    constraint = LSTMStated()
    constraint.project(cell, inputs)
    f = forget_bound(cell, inputs)
    norms = {name: infinity_norm(block) for name, block in cell.recurrent_blocks().items()}
    assert f < 0.64
    assert f <= constraint.forget_bound + 1e-9
    assert norms["W_i"] < 1 - f
    assert norms["W_o"] < 1 - f
    assert norms["W_z"] <= (1 - f) / 4
    assert norms["W_f"] < (1 - f) ** 2
    once, table_once = weights(cell), table.clone()
    constraint.project(cell, inputs)
    assert_close(weights(cell), once, rtol=0, atol=0)
    assert_close(table, table_once, rtol=0, atol=0)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, size=st.integers(2, 24))
def test_rows_within_the_limits_stay_untouched_and_longer_ones_keep_their_direction(seed, size):
    cell, table = random_lstm(seed, size, 1.0)
    with torch.no_grad():
        cell.weight_hh *= 0.01
        cell.weight_hh[0] *= 1e4
    before = cell.weight_hh.detach().clone()
    LSTMStated().project(cell, table)
    assert_close(cell.weight_hh[1:size], before[1:size], rtol=0, atol=0)
    assert_close(cell.weight_hh[0] / cell.weight_hh[0].norm(), before[0] / before[0].norm())


def test_only_the_forget_gate_of_the_input_matrix_is_bounded():
    cell, table = random_lstm(0, 4, 100.0)
    before = cell.weight_ih.detach().clone()
    LSTMStated().project(cell, table)
    untouched = torch.tensor([0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15])
    assert_close(cell.weight_ih[untouched], before[untouched], rtol=0, atol=0)


@pytest.mark.parametrize(
    "options",
    [{"recurrent_forget": 0.2}, {"recurrent_gates": 0.4}, {"recurrent_update": 0.1}, {"bias_forget": 1.0}],
)
def test_limits_that_break_the_condition_are_refused(options):
    with pytest.raises(ConfigurationError, match=r"stability\.constraint\..* must be below"):
        LSTMStated(**options)


@pytest.mark.parametrize("limit", [0.0, 1.0, -1.0, 2.0])
def test_a_limit_that_is_not_stable_is_refused(limit):
    with pytest.raises(ConfigurationError, match=r"stability\.constraint\.limit"):
        SpectralNormBall(limit)


def test_a_constraint_for_another_cell_is_refused():
    with pytest.raises(ConfigurationError, match="constrains a RNNCell"):
        SpectralNormBall().check(LSTMCell(2, 2))


def test_the_unconstrained_model_is_left_as_it_is():
    cell, table = random_lstm(0, 4, 10.0)
    before = weights(cell)
    Unconstrained().project(cell, table)
    assert_close(weights(cell), before, rtol=0, atol=0)


def test_a_model_is_projected_layer_by_layer():
    model = build_language_model(9, LSTMCell, Recurrent, 4, 5, num_layers=2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(50)
    project(LSTMStated(), model)
    assert model.inputs.weight.abs().max() <= 0.75
    assert forget_bound(model.backbone.cells[0], model.inputs.weight) < 0.64
    assert forget_bound(model.backbone.cells[1], None) < 0.64
    assert set(LSTMStated().norms(model.backbone.cells[0])) >= {"‖W_f‖_∞", "‖U_f‖_∞", "max b_f"}
