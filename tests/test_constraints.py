"""Constraints: feasible, idempotent, nearest, and the identity on what is feasible already."""

import copy
import math
from unittest import mock

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from stablernn.models.cells.gru import GRUCell
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.cells.rnn import RNNCell
from stablernn.models.cells.state import RNNState
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_language_model
from stablernn.stability import certify
from stablernn.stability.constraints import forget_caps
from stablernn.stability.constraints.base import Unconstrained, infinity_norm, project, spectral_norm
from stablernn.stability.constraints.cascade import LSTMCascade
from stablernn.stability.constraints.forget_caps import cap_forget_gates
from stablernn.stability.constraints.gru import GRUGatedLinear, GRURowwise
from stablernn.stability.constraints.lstm import LSTMAsCoded, LSTMStated
from stablernn.stability.constraints.output_gate import LSTMOutputGate
from stablernn.stability.constraints.small_gain import (
    LSTMComparison,
    LSTMCoupled,
    LSTMGatedLinear,
    LSTMRowwise,
    LSTMSpectral,
    loop_weights,
    project_rows,
)
from stablernn.stability.constraints.spectral import (
    RNNAsCoded,
    RNNDiagonal,
    SpectralNormBall,
    clip_singular_values,
    largest_eigenvalue,
)
from stablernn.stability.proofs.gates import open_gates
from stablernn.utils.errors import ConfigurationError

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


def random_gru(seed, size, scale):
    torch.manual_seed(seed)
    return scaled(GRUCell(3, size), scale), torch.randn(11, 3) * scale


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


@settings(max_examples=20, deadline=None)
@given(seed=seeds, size=st.integers(1, 16), scale=st.floats(0.01, 20))
def test_the_coded_rnn_has_its_singular_values_clipped_at_one_which_proves_nothing(seed, size, scale):
    model = build_language_model(5, RNNCell, Recurrent, 3, size)
    torch.manual_seed(seed)
    cell = model.cells[0]
    with torch.no_grad():
        cell.weight_hh.copy_(torch.randn(size, size) * scale)
        model.inputs.weight.zero_()  # tanh has slope 1 at the state zero
        cell.bias_ih.zero_()
        cell.bias_hh.zero_()
    before = cell.weight_hh.detach().double()
    u, s, vt = torch.linalg.svd(before)
    constraint = RNNAsCoded()
    constraint.project(cell, None)
    assert_close(cell.weight_hh.double(), (u * s.clamp_max(1)) @ vt, rtol=1e-5, atol=1e-6)
    assert constraint.rate is None
    if s[0] <= 1:
        assert_close(cell.weight_hh.double(), before, rtol=0, atol=0)
    elif s[-1] >= 1:  # W is a rotation: no norm can see it contract
        assert certify(model).rate > 1 - 1e-5


def test_a_constraint_for_another_cell_is_refused():
    with pytest.raises(ConfigurationError, match="is for RNNCell, and"):
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
    assert forget_bound(model.cells[0], model.inputs.weight) < 0.64
    assert forget_bound(model.cells[1], None) < 0.64
    assert set(LSTMStated().norms(model.cells[0])) >= {"‖W_f‖_∞", "‖U_f‖_∞", "max b_f"}


LOOP_GAINS = [LSTMComparison, LSTMRowwise, LSTMSpectral, LSTMGatedLinear, LSTMCoupled, LSTMOutputGate, LSTMCascade]


@settings(max_examples=30, deadline=None)
@given(seed=seeds, size=st.integers(1, 24), scale=st.floats(0.5, 20))
def test_the_spectral_projection_meets_the_condition_of_the_nearest_point(seed, size, scale):
    """P is nearest to W just if <W - P, Z - P> <= 0 for all Z of the ball, and <W - P, Z> reaches a nuclear norm."""
    cell = random_rnn(seed, size, scale)
    before = cell.weight_hh.detach().double()
    SpectralNormBall(0.9).project(cell, None)
    projected = cell.weight_hh.detach().double()
    moved = before - projected
    greatest = 0.9 * float(torch.linalg.matrix_norm(moved, ord="nuc"))
    assert greatest - float((moved * projected).sum()) <= 1e-4 * (1e-3 + greatest)


@settings(max_examples=10, deadline=None)
@given(seed=seeds, scale=st.floats(0.1, 10))
def test_rows_go_to_the_nearest_point_of_a_weighted_l1_ball(seed, scale):
    torch.manual_seed(seed)
    rows = torch.randn(3, 5, dtype=torch.float64) * scale
    costs = torch.rand(3, 5, dtype=torch.float64) * 3 + 0.05
    limits = torch.rand(3, dtype=torch.float64) + 0.1
    ours = project_rows(rows, costs, limits)
    assert ((ours.abs() * costs).sum(1) <= limits * (1 + 1e-9)).all()
    for row, cost, limit, mine in zip(rows.numpy(), costs.numpy(), limits.numpy(), ours.numpy(), strict=True):
        # a general solver, on x = p - q with p, q >= 0, where the problem is smooth
        theirs = scipy.optimize.minimize(
            lambda pq, row=row: ((pq[:5] - pq[5:] - row) ** 2).sum(),
            np.concatenate([row.clip(0), (-row).clip(0)]) * 0.1,
            bounds=[(0, None)] * 10,
            constraints=[
                {"type": "ineq", "fun": lambda pq, cost=cost, limit=limit: limit - ((pq[:5] + pq[5:]) * cost).sum()}
            ],
            method="SLSQP",
            options={"ftol": 1e-12, "maxiter": 300},
        )
        found = theirs.x[:5] - theirs.x[5:]
        found *= min(1, limit / (np.abs(found) * cost).sum())  # it may stop a little outside
        assert np.linalg.norm(mine - row) <= np.linalg.norm(found - row) * (1 + 1e-3) + 1e-9


def test_long_rows_reach_the_nearest_point_in_the_fixed_number_of_rounds():
    torch.manual_seed(0)
    rows, costs = torch.randn(50, 2600, dtype=torch.float64), torch.rand(50, 2600, dtype=torch.float64) ** 4 + 1e-3
    for limit in (1e-3, 1.0, 100.0):
        ours = project_rows(rows, costs, torch.full((50,), limit, dtype=torch.float64))
        low, high = torch.zeros(50, 1, dtype=torch.float64), (rows.abs() / costs).amax(1, keepdim=True)
        for _ in range(100):  # bisection for the threshold
            tau = (low + high) / 2
            beyond = ((rows.abs() - tau * costs).clamp_min(0) * costs).sum(1, keepdim=True) > limit
            low, high = torch.where(beyond, tau, low), torch.where(beyond, high, tau)
        exact = rows.sign() * (rows.abs() - high * costs).clamp_min(0)
        assert_close((ours - rows).norm(dim=1), (exact - rows).norm(dim=1), rtol=1e-4, atol=0)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, size=st.integers(1, 24), scale=st.floats(1e-2, 5), limit=st.floats(0.3, 0.999))
def test_clipping_by_products_alone_is_the_clipped_svd(seed, size, scale, limit):
    cell = random_rnn(seed, size, scale)
    weight = cell.weight_hh.detach()
    u, s, vt = torch.linalg.svd(weight.double())
    clip_singular_values(weight, limit, waits=False)
    assert_close(weight.double(), (u * s.clamp_max(limit)) @ vt, rtol=1e-5, atol=4e-5)
    assert spectral_norm(weight) <= limit
    once = weight.clone()
    clip_singular_values(weight, limit, waits=False)
    assert_close(weight, once, rtol=0, atol=0)


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@settings(max_examples=10, deadline=None)
@given(seed=seeds, size=st.integers(1, 40), exponent=st.floats(-3, 37), limit=st.floats(0.05, 0.99999))
@example(seed=0, size=300, exponent=1.0, limit=0.99999)
@example(seed=0, size=300, exponent=9.0, limit=0.99999)
def test_no_matrix_however_far_outside_is_left_beyond_the_limit(waits, weighted, seed, size, exponent, limit):
    torch.manual_seed(seed)
    weight = torch.randn(size, size) * 10**exponent
    rows = torch.logspace(-1, 1, size) if weighted else None
    scale = torch.ones(size) if rows is None else rows
    before = spectral_norm(scale[:, None].double() * weight)
    clip_singular_values(weight, limit, rows, waits=waits)
    after = spectral_norm(scale[:, None].double() * weight.double())
    assert after <= limit
    assert after >= min(before, limit) * (1 - 1e-4)  # neither is it moved to zero
    once = weight.clone()
    clip_singular_values(weight, limit, rows, waits=waits)
    assert_close(weight, once, rtol=0, atol=0)


@settings(max_examples=30, deadline=None)
@given(
    seed=seeds,
    size=st.sampled_from([1, 2, 17, 64, 200]),
    decades=st.floats(0, 2),
    uniform=st.booleans(),
    limit=st.sampled_from([0.5, 0.999, 0.99999]),
)
@example(seed=0, size=200, decades=1.0, uniform=True, limit=0.99999)
def test_products_alone_never_overshoot(seed, size, decades, uniform, limit):
    """Norms from the limit to a hundred times it."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(size, size, generator=generator)
    if uniform:
        weight.uniform_(-1, 1, generator=generator)
    weight *= limit * 10**decades / spectral_norm(weight)
    clip_singular_values(weight, limit, waits=False)
    assert limit * (1 - 1e-4) <= float(torch.linalg.svdvals(weight.double())[0]) <= limit


@pytest.mark.parametrize("times", [10, 100])
def test_products_alone_keep_a_wide_matrix_of_uniform_weights_within_the_limit(times):
    torch.manual_seed(0)
    weight = torch.empty(700, 700).uniform_(-1, 1) / 700**0.5 * times
    clip_singular_values(weight, 0.99999, waits=False)
    assert 0.9999 < spectral_norm(weight) <= 0.99999


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("waits", [False, True])
def test_clipping_what_is_not_finite_does_not_raise(value, waits):
    weight = torch.full((3, 3), value)
    clip_singular_values(weight, 0.9, waits=waits)
    assert not weight.isfinite().any()


@settings(max_examples=25, deadline=None)
@given(seed=seeds, size=st.integers(1, 40), scale=st.floats(1e-4, 1e4), decay=st.sampled_from([0.0, 1e-4, 1.0, 5.0]))
def test_squaring_finds_the_largest_eigenvalue(seed, size, scale, decay):
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64, generator=generator)).Q
    spectrum = scale * torch.exp(-decay * torch.arange(size))
    gram = ((basis * spectrum) @ basis.T).float()
    exact = torch.linalg.eigvalsh(gram.double())[-1]
    assert_close(largest_eigenvalue(gram), exact, rtol=1e-5, atol=0)


@pytest.mark.parametrize("outside", [0.0, 1e-4, 1e-2, 0.3, 3.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_of_a_large_matrix_few_singular_values_are_found_and_clipped(outside, weighted, monkeypatch):
    torch.manual_seed(0)
    size, limit = 300, 0.95
    scale = torch.linspace(0.5, 2, size) if weighted else None
    rows = torch.ones(size) if scale is None else scale
    u, s, vt = torch.linalg.svd(torch.randn(size, size, dtype=torch.float64))
    s = limit * torch.linspace(0, 1, size, dtype=torch.float64).flip(0)
    s[:9] = limit * (1 + outside * torch.linspace(1, 0.1, 9))
    s = s * (1 if outside else 0.99)
    start = ((u * s) @ vt).float() / rows[:, None]
    factored = []
    eigh = torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda matrix: (factored.append(len(matrix)), eigh(matrix))[1])
    weight = start.clone()
    clip_singular_values(weight, limit, scale)
    expected = ((u * s.clamp_max(limit)) @ vt).float() / rows[:, None]
    assert_close(weight, expected, rtol=0, atol=1e-5)
    assert spectral_norm(weight * rows[:, None]) <= limit
    assert (size in factored) == (outside == 3.0)  # so far outside that the block finds only the largest
    once = weight.clone()
    clip_singular_values(weight, limit, scale)
    assert_close(weight, once, rtol=0, atol=0)
    if not outside:
        assert_close(weight, start, rtol=0, atol=0)


def test_many_singular_values_beyond_the_limit_take_the_long_way():
    torch.manual_seed(0)
    weight = torch.linalg.qr(torch.randn(300, 300)).Q * 1.01
    clip_singular_values(weight, 0.99)
    assert 0.9899 < spectral_norm(weight) <= 0.99
    assert float(torch.linalg.svdvals(weight.double()).min()) > 0.9899


class NoLooking(TorchDispatchMode):
    """Fails where a number is read from a tensor: on a GPU the host would wait for it."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert function is not torch.ops.aten._local_scalar_dense.default, "the host looks at a number"
        return function(*args, **(kwargs or {}))


def test_clipping_by_products_never_looks_at_a_number():
    weight = random_rnn(0, 12, 3.0).weight_hh.detach()
    with NoLooking():
        clip_singular_values(weight, 0.9, waits=False)
    with pytest.raises(AssertionError, match="looks at a number"), NoLooking():
        clip_singular_values(weight * 3, 0.9, waits=True)


@pytest.mark.parametrize("constraint", LOOP_GAINS)
@settings(max_examples=15, deadline=None)
@given(seed=seeds, size=st.integers(1, 16), scale=st.floats(1e-2, 5), first=st.booleans())
def test_the_loop_gain_constraints_are_idempotent(constraint, seed, size, scale, first):
    cell, table = random_lstm(seed, size, scale)
    inputs = table if first else None
    constraint(0.95).project(cell, inputs)
    once, table_once = weights(cell), table.clone()
    constraint(0.95).project(cell, inputs)
    assert_close(weights(cell), once, rtol=0, atol=0)
    assert_close(table, table_once, rtol=0, atol=0)


@pytest.mark.parametrize("constraint", LOOP_GAINS)
def test_a_feasible_lstm_is_left_as_it_is(constraint):
    cell, table = random_lstm(1, 6, 1e-3)
    if constraint is LSTMCascade:
        for number, block in enumerate(cell.recurrent_blocks().values()):
            block.detach()[:3, 3 if number == 3 else 0 :].zero_()
            block.detach()[3:, 6 if number == 3 else 3 :].zero_()
    if constraint in (LSTMGatedLinear, LSTMOutputGate):
        cell.weight_hh.detach()[: 24 if constraint is LSTMGatedLinear else 18].zero_()
    cell.bias_ih.detach()[6:12] = -1.0
    if constraint is LSTMCoupled:
        for part in cell.parameters():
            part.detach()[:6] = -part.detach()[6:12]
    before, table_before = weights(cell), table.clone()
    constraint(0.95).project(cell, table)
    assert_close(weights(cell), before, rtol=0, atol=0)
    assert_close(table, table_before, rtol=0, atol=0)


@settings(max_examples=15, deadline=None)
@given(seed=seeds, size=st.integers(1, 16), scale=st.floats(0.1, 20), limit=st.sampled_from([0.9, 0.999]))
def test_the_output_gate_keeps_the_nearest_matrix_of_norm_almost_four(seed, size, scale, limit):
    cell, table = random_lstm(seed, size, scale)
    before = cell.recurrent_blocks()["W_o"].detach().double().clone()
    LSTMOutputGate(limit).project(cell, table)
    blocks = cell.recurrent_blocks()
    assert all(not blocks[name].any() for name in ("W_i", "W_f", "W_z"))
    u, s, vt = torch.linalg.svd(before)
    bound = 4 * limit * 0.96**0.5 / math.tanh(1 / (1 - limit))
    assert 3.5 < bound < 4
    assert_close(blocks["W_o"].double(), (u * s.clamp_max(bound)) @ vt, rtol=1e-5, atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(seed=seeds, size=st.integers(1, 16), scale=st.floats(0.1, 20), groups=st.integers(1, 8))
def test_a_cascade_keeps_all_that_comes_from_groups_before(seed, size, scale, groups):
    cell, table = random_lstm(seed, size, scale)
    before = {name: block.detach().clone() for name, block in cell.recurrent_blocks().items()}
    LSTMCascade(0.999, groups).project(cell, table)
    bounds = np.linspace(0, size, min(groups, size) + 1).astype(int)[1:]
    group = torch.tensor(np.searchsorted(bounds, np.arange(size), side="right"))
    earlier, own = group[:, None] > group, group[:, None] == group
    bound = 4 * 0.999 * 0.96**0.5
    for name, block in cell.recurrent_blocks().items():
        assert_close(block[earlier], before[name][earlier], rtol=0, atol=0)
        if name != "W_o":
            assert not block[~earlier].any()
            continue
        assert not block[~earlier & ~own].any()
        for number in range(int(group.max()) + 1):
            units = group == number
            u, s, vt = torch.linalg.svd(before[name][units][:, units].double())
            assert_close(block[units][:, units].double(), (u * s.clamp_max(bound)) @ vt, rtol=1e-5, atol=1e-4)


def test_one_group_is_the_output_gate_alone():
    cells = [random_lstm(3, 7, 4.0) for _ in range(2)]
    for constraint, (cell, table) in zip((LSTMCascade(0.99, 1), LSTMOutputGate(0.99)), cells, strict=True):
        constraint.project(cell, table)
    assert_close(weights(cells[0][0]), weights(cells[1][0]), rtol=0, atol=0)


@pytest.mark.parametrize("groups", [0, 9])
def test_a_number_of_groups_that_cannot_be_is_refused(groups):
    with pytest.raises(ConfigurationError, match=r"stability\.constraint\.groups=\d must lie in \[1, 8\]"):
        LSTMCascade(groups=groups)


@pytest.mark.parametrize("constraint", LOOP_GAINS[:3])
@settings(max_examples=15, deadline=None)
@given(seed=seeds, size=st.integers(1, 16), scale=st.floats(0.1, 10), limit=st.sampled_from([0.9, 0.99]))
def test_the_loop_gain_is_at_the_limit_and_not_far_below(constraint, seed, size, scale, limit):
    cell, table = random_lstm(seed, size, scale)
    before = cell.weight_hh.detach().clone()
    set_of_cells = constraint(limit)
    set_of_cells.project(cell, table)
    costs = loop_weights(open_gates(set_of_cells.caps(size)), limit)
    blocks = cell.weight_hh.detach().double().view(4, size, size) * costs[:, :, None]
    if constraint is LSTMComparison:
        gain = (cell.weight_hh.detach().double().view(4, size, size).abs().sum(2).amax(1) * costs.amax(1)).sum()
    elif constraint is LSTMRowwise:
        gain = blocks.abs().sum((0, 2)).max()
    else:
        gain = sum(torch.linalg.matrix_norm(block, ord=2) for block in blocks)
    assert gain <= limit * (1 + 1e-4)
    if constraint is not LSTMSpectral and not torch.equal(before, cell.weight_hh):  # its shares may lie idle
        assert gain >= limit * (1 - 1e-3)


@pytest.mark.parametrize("on_gpu", [False, True])
@settings(max_examples=25, deadline=None)
@given(
    seed=seeds,
    size=st.integers(1, 16),
    scale=st.floats(0.1, 5),
    first=st.booleans(),
    at_once=st.sampled_from([2, 4096]),
)
def test_no_word_and_no_state_opens_a_forget_gate_beyond_its_cap(on_gpu, seed, size, scale, first, at_once):
    """On a GPU also where more words are beyond it than give way at once."""
    cell, table = random_lstm(seed, size, scale)
    cell.requires_grad_(False)
    cell.recurrent_blocks()["W_f"].mul_(0.01)
    caps = torch.linspace(0.6, 0.95, size)
    with (
        mock.patch.object(torch.Tensor, "is_cuda", property(lambda _: on_gpu), create=True),
        mock.patch.object(forget_caps, "_WORDS_A_CHUNK", at_once),
    ):
        cap_forget_gates(cell, table if first else None, caps)
    d = size
    bias = (cell.bias_ih.double() + cell.bias_hh.double())[d : 2 * d]
    drive = cell.input_blocks()["U_f"].double()
    reach = (table.double() @ drive.T).amax(0) if first else drive.abs().sum(1)
    highest = reach + bias + cell.recurrent_blocks()["W_f"].double().abs().sum(1)
    assert (torch.sigmoid(highest) <= caps).all()


def test_only_the_words_that_open_a_gate_too_far_give_way():
    cell, table = random_lstm(0, 4, 0.1)
    cell.requires_grad_(False)
    drive = cell.input_blocks()["U_f"].clone()
    table[3] = drive[2] * 1e4
    before = table.clone()
    cap_forget_gates(cell, table, torch.full((4,), 0.9))
    kept = torch.arange(len(table)) != 3
    assert_close(table[kept], before[kept], rtol=0, atol=0)
    assert table[3].norm() < 0.5 * before[3].norm()
    assert_close(cell.input_blocks()["U_f"], drive, rtol=0, atol=0)


def test_words_give_way_on_a_gpu_as_they_do_on_a_cpu():
    cell, table = random_lstm(0, 8, 2.0)
    cell.requires_grad_(False)
    caps, there = torch.linspace(0.6, 0.95, 8), (copy.deepcopy(cell), table.clone())
    cap_forget_gates(cell, table, caps)
    with mock.patch.object(torch.Tensor, "is_cuda", property(lambda _: True), create=True):
        cap_forget_gates(*there, caps)
    assert_close(there[1], table, rtol=1e-5, atol=1e-6)


def test_the_caps_run_evenly_in_the_logarithm_of_what_is_forgotten():
    caps = LSTMSpectral(0.99).caps(5)
    assert_close(caps[[0, -1]], torch.tensor([0.7, 0.99**2], dtype=torch.float64))
    assert_close((1 - caps[1:]) / (1 - caps[:-1]), ((1 - caps[-1]) / (1 - caps[0])).pow(0.25).expand(4))


def gru_gains(cell, update):
    """‖W_n,j‖_1 + (‖W_n,j‖_1 + |b_hn,j|) ‖W_r,j‖_1 / 4 + 2 φ ‖W_z,j‖_1, (D,) float64."""
    r, z, n = (block.detach().double().abs().sum(1) for block in cell.recurrent_blocks().values())
    return n + (n + cell.reset_bias.detach().double().abs()) * r / 4 + 2 * update * z


@settings(max_examples=30, deadline=None)
@given(
    seed=seeds,
    size=st.integers(1, 8),
    update=st.floats(0.01, 0.98),
    slack=st.floats(0.001, 1),
    shares=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_the_condition_of_a_gru_as_it_is_stated_implies_the_contraction(seed, size, update, slack, shares):
    """Cells with every row at the boundary, and update gates up to their cap: no pair of states parts faster than λ."""
    assume(sum(shares[:3]) > 0.01)
    limit = update + slack * (1 - update) * 0.999
    cell = GRUCell(1, size).double().requires_grad_(False)
    draw = torch.Generator().manual_seed(seed)
    blocks = cell.weight_hh.view(3, size, size)
    blocks.copy_(torch.randn(3, size, size, generator=draw).double())
    share = torch.tensor(shares[:3]).double()[:, None, None]  # of r, z, n
    blocks.mul_(share / blocks.abs().sum(2, keepdim=True))
    reset_bias = 8 * shares[3] * torch.randn(size, generator=draw).double()
    cell.reset_bias.copy_(reset_bias)
    room = (limit - update) / (1 - update)
    low, high = 0.0, 1e3  # the factor of all rows that meets the condition
    for _ in range(80):
        middle = (low + high) / 2
        r, z, n = (blocks.abs().sum(2) * middle).unbind()
        fits = bool((n + (n + reset_bias.abs()) * r / 4 + 2 * update * z <= room).all())
        low, high = (middle, high) if fits else (low, middle)
    blocks.mul_(low)
    assert bool((gru_gains(cell, update) <= room * (1 + 1e-9)).all())

    near = torch.rand(400, 1, generator=draw).double() < 0.5
    h = 2 * torch.rand(2, 400, size, generator=draw).double() - 1
    corners = torch.rand(2, 400, size, generator=draw) < 0.5
    h = torch.where(corners, h.sign(), h)
    h[1] = torch.where(near, (h[0] + 1e-4 * h[1]).clamp(-1, 1), h[1])
    # Drives of r and n, some where their slopes are greatest; of z the largest that keeps to the cap, or less.
    drive = (4 * torch.randn(400, 3 * size, generator=draw)).double().masked_fill(~corners[0].repeat(1, 3), 0)
    of_r, of_z, of_n = drive.chunk(3, dim=1)
    of_r -= h[0] @ blocks[0].T
    of_n -= torch.sigmoid(of_r + h[0] @ blocks[0].T) * (h[0] @ blocks[2].T + reset_bias)
    of_z.copy_(math.log(update / (1 - update)) - (h @ blocks[1].T).amax(0) - of_z.clamp_min(0))
    after = cell.step(drive, RNNState(h)).h
    before, apart = ((side[0] - side[1]).abs().amax(1) for side in (h, after))
    assert bool((apart <= limit * before * (1 + 1e-9) + 1e-12).all())


@pytest.mark.parametrize("constraint", [GRURowwise, GRUGatedLinear])
@settings(max_examples=25, deadline=None)
@given(
    seed=seeds, size=st.integers(1, 16), scale=scales, first=st.booleans(), limit=st.sampled_from([0.5, 0.95, 0.999])
)
def test_the_conditions_of_a_gru_are_feasible_and_idempotent(constraint, seed, size, scale, first, limit):
    cell, table = random_gru(seed, size, scale)
    inputs, set_of_cells = table if first else None, constraint(limit)
    set_of_cells.project(cell, inputs)
    cap = set_of_cells.update
    assert bool((gru_gains(cell, cap) <= (limit - cap) / (1 - cap) * (1 + 1e-6)).all())
    rows = slice(size, 2 * size)
    drive = cell.input_blocks()["U_z"].detach().double()
    reach = (table.double() @ drive.T).amax(0) if first else drive.abs().sum(1)
    bias = cell.bias_ih.detach().double()[rows] + cell.bias_hh.detach().double()[rows]
    highest = reach + bias + cell.recurrent_blocks()["W_z"].detach().double().abs().sum(1)
    assert bool((torch.sigmoid(highest) <= cap).all())
    once, table_once = weights(cell), table.clone()
    set_of_cells.project(cell, inputs)
    assert_close(weights(cell), once, rtol=0, atol=0)
    assert_close(table, table_once, rtol=0, atol=0)


def test_a_feasible_gru_is_left_as_it_is_and_of_another_only_the_rows_that_are_too_long_are_moved():
    cell, table = random_gru(1, 6, 1e-2)
    cell.requires_grad_(False)
    before, table_before = weights(cell), table.clone()
    GRURowwise(0.95).project(cell, table)
    assert_close(weights(cell), before, rtol=0, atol=0)
    assert_close(table, table_before, rtol=0, atol=0)
    cell.weight_hh.view(3, 6, 6)[:, 2] *= 1e3
    GRURowwise(0.95).project(cell, table)
    moved = (cell.weight_hh != before["weight_hh"]).view(3, 6, 6).any(2).any(0)
    assert moved.tolist() == [number == 2 for number in range(6)]


@settings(max_examples=15, deadline=None)
@given(seed=seeds, scale=st.floats(1, 10), limit=st.sampled_from([0.9, 0.999]))
def test_a_gru_is_moved_half_a_percent_farther_than_to_the_nearest_point_at_most(seed, scale, limit):
    cell, table = random_gru(seed, 4, scale)
    before = cell.weight_hh.detach().double().view(3, 4, 4).clone()
    set_of_cells = GRURowwise(limit)
    room, cap = (limit - set_of_cells.update) / (1 - set_of_cells.update), set_of_cells.update
    bias = cell.reset_bias.detach().double().abs()
    set_of_cells.project(cell, table)
    after = cell.weight_hh.detach().double().view(3, 4, 4)
    for unit in range(4):
        row, offset = before[:, unit].numpy(), float(bias[unit])
        signs, sizes = np.sign(row), np.abs(row).ravel()

        def gain(x, offset=offset):
            r, z, n = x.reshape(3, 4).sum(1)
            return room - (n + (n + offset) * r / 4 + 2 * cap * z)

        if gain(sizes) >= 0:
            continue
        tried = [
            scipy.optimize.minimize(
                lambda x, sizes=sizes: ((x - sizes) ** 2).sum(),
                start,
                bounds=[(0, None)] * 12,
                constraints=[{"type": "ineq", "fun": gain}],
                method="SLSQP",
                options={"ftol": 1e-12, "maxiter": 300},
            )
            for start in (sizes * 0.05, np.abs(after[:, unit].numpy()).ravel())
        ]
        found = min(result.fun for result in tried if gain(result.x) >= -1e-6)
        ours = float(((after[:, unit].numpy() - signs.reshape(3, 4) * sizes.reshape(3, 4)) ** 2).sum())
        assert ours**0.5 <= 1.005 * found**0.5 + 1e-5


@settings(max_examples=20, deadline=None)
@given(seed=seeds, size=st.integers(1, 16), scale=st.floats(1e-2, 30))
def test_the_coded_rescaling_fixes_the_column_sums_also_from_below(seed, size, scale):
    cell, table = random_lstm(seed, size, scale)
    LSTMAsCoded().project(cell, table)
    for name, total in (("W_i", 0.395), ("W_f", 0.155), ("W_z", 0.099), ("W_o", 0.395)):
        assert_close(cell.recurrent_blocks()[name].abs().sum(0), torch.full((size,), total), rtol=1e-5, atol=0)
    assert_close(cell.input_blocks()["U_f"].abs().sum(0), torch.full((3,), 0.25), rtol=1e-5, atol=0)
    assert table.abs().max() <= 1


@pytest.mark.parametrize(
    ("constraint", "options", "name"),
    [
        (LSTMRowwise, {"limit": 1.0}, "limit"),
        (LSTMRowwise, {"forget_high": 0.995}, "forget_high"),
        (LSTMRowwise, {"forget_low": 0.99, "forget_high": 0.9}, "forget_low"),
        (LSTMComparison, {"every": 0}, "every"),
        (LSTMCoupled, {"forget": 0.995}, "forget="),
        (LSTMSpectral, {"shares": {"i": 1.0}}, "shares"),
        (LSTMAsCoded, {"input_bound": 0.0}, "input_bound"),
        (GRURowwise, {"limit": 1.0}, "limit"),
        (GRURowwise, {"update": 0.9995}, "update"),
        (GRURowwise, {"every": 0}, "every"),
    ],
)
def test_options_that_make_no_set_are_refused_by_name(constraint, options, name):
    with pytest.raises(ConfigurationError, match=rf"stability\.constraint\.{name}"):
        constraint(**options)


@settings(max_examples=12, deadline=None)
@given(seed=seeds, size=st.integers(1, 16), scale=st.floats(0.05, 20), units=st.floats(0, 3))
@example(seed=100, size=9, scale=20.0, units=1.9169062251510498)  # saturated units: their slopes change the balance
def test_the_diagonal_constraint_is_feasible_idempotent_and_certified(seed, size, scale, units):
    model = build_language_model(5, RNNCell, Recurrent, 3, size)
    torch.manual_seed(seed)
    cell = model.cells[0]
    with torch.no_grad():
        change = torch.logspace(-units, units, size)
        cell.weight_hh.mul_(scale * change[:, None] / change)
    RNNDiagonal(0.95).project(cell, None)
    once = weights(cell)
    RNNDiagonal(0.95).project(cell, None)
    assert_close(weights(cell), once, rtol=0, atol=0)
    assert certify(model).rate <= 0.95 * (1 + 1e-8)


def test_the_diagonal_constraint_allows_what_the_ball_does_not():
    cell = RNNCell(3, 6).requires_grad_(False)
    cell.weight_hh.copy_(torch.triu(torch.full((6, 6), 0.9)))  # a chain of units, nothing comes back: ‖W‖_2 > 3
    before = weights(cell)
    RNNDiagonal(0.95).project(cell, None)
    assert_close(weights(cell), before, rtol=0, atol=0)
