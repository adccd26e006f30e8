"""Cells of the atlas with other states: delayed outputs, complex units, Fourier sums; and singular values clipped."""

import math
from functools import partial

import numpy as np
import pytest
import test_atlas as atlas
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_atlas import check_split, random_cell, sigmoid
from test_certificates import ratio, withstand
from torch.testing import assert_close

from stablernn.models.cells.dilated import DilatedRNNCell
from stablernn.models.cells.fru import FRUCell
from stablernn.models.cells.gru import GRUCell
from stablernn.models.cells.mist import MISTCell
from stablernn.models.cells.narx import NARXCell
from stablernn.models.cells.rnn import RNNCell
from stablernn.models.cells.state import RNNState, map_state
from stablernn.models.cells.unitary import UnitaryCell
from stablernn.models.feed_forward import FeedForward, truncated_states
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_language_model
from stablernn.stability import certify
from stablernn.stability.constraints.base import spectral_norm
from stablernn.stability.constraints.delayed import DelayedBall, MISTRows
from stablernn.stability.constraints.singular_values import GRUSingularValues, RNNSingularBand
from stablernn.stability.proofs.gates import Box
from stablernn.stability.proofs.prove import prove
from stablernn.utils.errors import ConfigurationError

NARX = partial(NARXCell, delays=(1, 3))
DILATED = partial(DilatedRNNCell, dilation=3)
MIST = partial(MISTCell, delays=(1, 2, 4))
FRU = partial(FRUCell, length=7, frequencies=(0, 1.5, 3), statistics=2, summary=3)
DELAYED = [NARX, DILATED, MIST]
CELLS = [*DELAYED, UnitaryCell, FRU]
UNITS = 4


# ---- each cell is its equations


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def relu(x):
    return np.maximum(0, x)


def by_equations(cell, w, xs, past, u, t):
    """The outputs for inputs xs (T, E), in numpy, as the papers write them.

    Args:
        w: the parameters by name.
        past: outputs so far, the oldest first; extended in place.
        u, t: sums and clock of an FRU.
    """
    d = cell.hidden_size
    for x in xs:
        h = past[-1]
        match cell:
            case NARXCell():
                a = w["weight_ih"] @ x + w["bias_ih"] + w["bias_hh"]
                for number, delay in enumerate(cell.delays):
                    a = a + w["weight_hh"][:, number * d : (number + 1) * d] @ past[-delay]
                past.append(np.tanh(a))
            case MISTCell():
                p = w["weight_ih"] @ x + w["bias_ih"] + w["bias_hh"]
                a = softmax(p[2 * d :] + w["weight_hh"][2 * d :] @ h)
                r = sigmoid(p[:d] + w["weight_hh"][:d] @ h)
                mixed = sum(share * past[-delay] for share, delay in zip(a, cell.delays, strict=True))
                past.append(np.tanh(p[d : 2 * d] + w["weight_hh"][d : 2 * d] @ (r * mixed)))
            case UnitaryCell():
                n = d // 2
                diagonals = np.exp(1j * w["phases"])
                across = w["reflections"][:, 0] + 1j * w["reflections"][:, 1]
                reflections = [np.eye(n) - 2 * np.outer(v, v.conj()) / np.vdot(v, v) for v in across]
                fourier = np.exp(-2j * np.pi * np.outer(range(n), range(n)) / n) / np.sqrt(n)
                permutation = np.eye(n)[cell.order.numpy()]
                unitary = np.diag(diagonals[0])
                for factor in (fourier, reflections[0], permutation, np.diag(diagonals[1]), fourier.conj().T):
                    unitary = factor @ unitary
                unitary = np.diag(diagonals[2]) @ reflections[1] @ unitary
                v = w["weight_ih"] @ x
                z = unitary @ (h[:n] + 1j * h[n:]) + v[:n] + 1j * v[n:]
                z = relu(abs(z) + w["threshold"]) * z / abs(z)
                past.append(np.concatenate([z.real, z.imag]))
            case FRUCell():
                g = relu(w["weight_g"] @ u + w["bias_g"])
                s = relu(w["weight_hh"] @ g + w["weight_ih"] @ x + w["bias_ih"])
                t += 1
                u = u + np.concatenate([
                    np.cos(2 * np.pi * f * (t % cell.length) / cell.length + phase) * s / cell.length
                    for f, phase in zip((0, 1.5, 3), w["phases"], strict=True)
                ])  # fmt: skip
                past.append(relu(w["weight_h"] @ u + w["bias_h"]))


@pytest.mark.parametrize("make", CELLS)
def test_a_step_is_its_equations_and_a_sequence_is_its_steps(make):
    cell = random_cell(make, units=UNITS)
    w = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    x = torch.randn(23, 1, 3, dtype=torch.float64)
    state = map_state(torch.rand_like, cell.zeros(1))
    u = t = None
    if isinstance(cell, FRUCell):
        state = state._replace(t=torch.full((1, 1), 4.0).double())
        u, t = state.u[0].numpy(), 4
    past = [part[0].numpy() for part in torch.cat(state[:2], -1).split(UNITS, -1)][::-1]
    start = len(past)
    by_equations(cell, w, x[:, 0].numpy(), past, u, t)
    with torch.no_grad():
        y, final = cell.sequence(x, state)
        for t in range(len(x)):
            state = cell(x[t], state)
            assert state.h[0].numpy() == pytest.approx(past[start + t], rel=1e-9, abs=1e-12)
            assert_close(y[t], state.h)
    for part, expected in zip(final, state, strict=True):
        assert_close(part, expected)


@pytest.mark.parametrize(
    ("make", "view"),
    [(make, Recurrent) for make in CELLS]
    + [(make, lambda cells: FeedForward(cells, k=5)) for make in CELLS if make is not FRU],
)
def test_a_split_window_gives_what_the_whole_gives(make, view):
    check_split(view([random_cell(make, units=UNITS), random_cell(make, 1, inputs=UNITS, units=UNITS)]))


@pytest.mark.parametrize("make", CELLS)
def test_a_truncated_state_is_the_one_that_is_reached_from_zero(make):
    cell = random_cell(make, units=UNITS)
    x = torch.randn(9, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        first = cell.starts(4, 1, 2)  # before the fifth input of the nine
        expected = cell.sequence(x[-5:], type(first)(*(part[0] for part in first)))[0][-1]
        assert_close(truncated_states([cell], x, 5)[0].h[-1], expected)


def test_the_truncated_fourier_unit_has_the_true_time_and_is_no_feed_forward_model():
    cell = random_cell(FRU, units=UNITS)
    assert cell.starts(12, 3, 2).t[:, 1, 0].tolist() == [5, 6, 0], "of periods of T = 7 inputs"
    x = torch.randn(9, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        afresh = cell.sequence(x[-5:], cell.zeros(2))[0][-1]
        assert not torch.allclose(truncated_states([cell], x, 5)[0].h[-1], afresh)
    with pytest.raises(ConfigurationError, match="has no feed-forward model"):
        FeedForward([cell], k=5)


@pytest.mark.parametrize("make", CELLS)
def test_one_position_of_a_state_stands_for_all(make):
    cell = random_cell(make, units=UNITS)
    projected = cell.project_inputs(torch.randn(7, 2, 3, dtype=torch.float64))
    for part, expected in zip(
        cell.step(projected, cell.zeros(1, 1)), cell.step(projected, cell.zeros(7, 2)), strict=True
    ):
        assert_close(part, expected)


@pytest.mark.parametrize("make", CELLS)
def test_gradients_are_those_of_finite_differences(make):
    atlas.test_gradients_are_those_of_finite_differences(partial(_of_four_units, make))


def _of_four_units(make, inputs, units):
    return make(inputs, UNITS)


@pytest.mark.parametrize("make", CELLS)
def test_silence_at_the_start_has_finite_gradients(make):
    """z = 0 has no phase: its gradient is 0 and not NaN."""
    cell = make(3, UNITS)
    cell.sequence(torch.zeros(3, 2, 3), cell.zeros(2))[0].sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in cell.parameters() if p.grad is not None)


def test_a_unitary_matrix_keeps_every_length_whatever_its_parameters():
    cell = random_cell(UnitaryCell, scale=3.0, units=10)
    matrix = cell.rotate(torch.eye(5, dtype=torch.complex128))
    assert_close(matrix @ matrix.mH, torch.eye(5, dtype=torch.complex128))


@given(seed=st.integers(0, 2**31), units=st.integers(1, 40), inputs=st.integers(1, 9))
@settings(max_examples=20)
def test_the_first_weights_of_a_unitary_rnn_are_within_the_ranges_of_its_authors(seed, units, inputs):
    torch.manual_seed(seed)
    cell = UnitaryCell(inputs, 2 * units)
    ends = {"phases": 6 / (3 + units), "reflections": 6 / (2 + 2 * units), "weight_ih": 6 / (inputs + units)}
    for name, square in ends.items():
        assert float(getattr(cell, name).detach().abs().max()) <= math.sqrt(square)
    assert float(cell.threshold.detach().abs().max()) <= 0.01
    matrix = cell.rotate(torch.eye(units, dtype=torch.complex64)).detach()
    assert_close(matrix @ matrix.mH, torch.eye(units, dtype=torch.complex64), rtol=0, atol=1e-4)


@pytest.mark.parametrize("count", [1, 4])
def test_the_first_weights_of_a_narx_rnn_are_smaller_the_more_delays_it_has(count):
    torch.manual_seed(0)
    cell = NARXCell(3, 50, delays=range(1, count + 1))
    largest = float(cell.weight_hh.detach().abs().max())
    assert 0.98 / math.sqrt(count * 50) < largest <= 1 / math.sqrt(count * 50)
    assert float(cell.weight_ih.detach().abs().max()) <= 1 / math.sqrt(50)


def test_dilations_grow_from_layer_to_layer():
    model = build_language_model(9, partial(DilatedRNNCell, dilation=2, growth=3), Recurrent, 4, 6, num_layers=3)
    assert [cell.delays for cell in model.cells] == [(2,), (6,), (18,)]


def test_a_dilated_layer_is_interleaved_rnns():
    torch.manual_seed(0)
    dilated, rnn = DilatedRNNCell(3, 4, dilation=3), RNNCell(3, 4)
    rnn.load_state_dict(dilated.state_dict())
    x = torch.randn(12, 2, 3)
    y = dilated.sequence(x, dilated.zeros(2))[0]
    for phase in range(3):
        assert_close(y[phase::3], rnn.sequence(x[phase::3], rnn.zeros(2))[0])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: NARXCell(3, 4, delays=(1, 1)), "distinct whole numbers"),
        (lambda: MISTCell(3, 4, delays=(0, 2)), "distinct whole numbers"),
        (lambda: DilatedRNNCell(3, 4, dilation=0), "model.cell.dilation=0"),
        (lambda: UnitaryCell(3, 5), "model.hidden_size=5 must be even"),
        (lambda: FRUCell(3, 4, length=0), "model.cell.length=0"),
        (lambda: FRUCell(3, 4, frequencies=(-1,)), "numbers >= 0"),
        (lambda: RNNSingularBand(1.0), "margin=1.0"),
        (lambda: GRUSingularValues(2.0), "limit=2.0"),
    ],
)
def test_options_that_make_no_sense_are_refused(make, said):
    with pytest.raises(ConfigurationError, match=said):
        make()


# ---- constraints

ENFORCED = [(NARX, DelayedBall(0.9)), (DILATED, DelayedBall(0.9)), (MIST, MISTRows(0.9))]


@pytest.mark.parametrize(
    ("make", "constraint"), [*ENFORCED, (RNNCell, RNNSingularBand(0.1)), (GRUCell, GRUSingularValues(0.5))]
)
def test_a_constraint_holds_after_a_hundred_updates_and_leaves_what_it_projected(make, constraint):
    model = atlas.trained_under(make, constraint, lr=2.0, length=6)
    (cell,), words = model.cells, model.inputs.weight
    if constraint.rate is not None:
        assert certify(model).holds
    elif isinstance(constraint, RNNSingularBand):
        singular = torch.linalg.svdvals(cell.weight_hh.detach())
        assert 0.9 - 2e-6 <= float(singular.min()) <= float(singular.max()) <= 1.1 + 2e-6
        assert not certify(model).holds
    else:
        assert spectral_norm(cell.recurrent_blocks()["W_n"]) <= 0.5
    once = atlas.parameters(cell)
    constraint.project(cell, words.data)
    assert_close(atlas.parameters(cell), once, rtol=0, atol=0)


@pytest.mark.parametrize(("make", "constraint"), ENFORCED)
@pytest.mark.parametrize("scale", [0.02, 1.0, 30.0])
def test_a_constraint_proves_what_it_enforces_from_anywhere_and_moves_nothing_inside(make, constraint, scale):
    cell = random_cell(make, scale=scale).float()
    before = cell.weight_hh.detach().clone()
    inside = min(candidate.rate for candidate in prove(cell, None, 0.0).candidates) <= 0.8
    constraint.project(cell, None)
    assert min(candidate.rate for candidate in prove(cell, None, 0.0).candidates) <= constraint.rate
    assert torch.equal(before, cell.weight_hh) == inside


@pytest.mark.parametrize(("make", "constraint"), [(RNNCell, RNNSingularBand(0.1)), (DILATED, DelayedBall(0.9))])
def test_the_projection_of_a_matrix_is_the_nearest_point(make, constraint):
    def projected(seed):
        cell = random_cell(make, seed, 1.0)
        before = cell.weight_hh.detach().clone()
        constraint.project(cell, None)
        return before, cell.weight_hh.detach()

    before, nearest = projected(0)
    for seed in range(1, 20):
        other = projected(seed)[1]
        assert float((other - before).norm()) >= float((nearest - before).norm())


def test_a_gru_of_clipped_singular_values_is_stable_at_zero_without_inputs():
    cell = random_cell(GRUCell, scale=3.0)
    with torch.no_grad():
        cell.bias_ih.zero_()
        cell.bias_hh.zero_()
    GRUSingularValues(1.9).project(cell, None)

    def step(h):
        return cell(torch.zeros(3, dtype=torch.float64), RNNState(h)).h

    jacobian = torch.autograd.functional.jacobian(step, torch.zeros(5, dtype=torch.float64))
    assert_close(jacobian, (torch.eye(5) / 2 + cell.recurrent_blocks()["W_n"].detach() / 4).double())
    assert 0.9 < spectral_norm(jacobian) < 1


# ---- certificates


def scaled_cell(make, seed, share):
    """A cell whose least proven rate is anywhere below 0.95."""
    cell = random_cell(make, seed, units=UNITS)
    (DelayedBall if isinstance(cell, NARXCell) else MISTRows)(0.95 * share).project(cell, None)
    return cell


@settings(max_examples=9, deadline=None)
@given(seed=st.integers(0, 2**31), make=st.sampled_from(DELAYED), share=st.floats(0.3, 1), frames=st.booleans())
def test_no_pair_of_states_contracts_slower_than_certified(seed, make, share, frames):
    cell = scaled_cell(make, seed, share)
    words = (torch.randint(2, (9, 3)).float() * 2 - 1) if frames else torch.randn(9, 3)
    proven = prove(cell, Box(-1.0, 1.0) if frames else words, 0.0)
    holding = [proof for proof in proven.candidates if proof.holds]
    assert holding
    withstand(cell, words, proven, holding[:3])
    box = torch.cat(proven.box)
    for age in range(cell.delays[-1]):
        pair = (2 * torch.rand(2, 40, len(box), dtype=torch.float64) - 1) * box
        other = pair[0].clone()  # differs in the output of one age alone
        other[:, age * UNITS : (age + 1) * UNITS] = pair[1, :, age * UNITS : (age + 1) * UNITS]
        pair = cell.state_type(*torch.stack([pair[0], other]).tensor_split([UNITS], -1))
        x = words[:1].double().expand(40, 3)
        for proof in holding:
            assert float(ratio(cell, proof.norm, pair, x).detach().max()) <= proof.rate * (1 + 1e-9)


@pytest.mark.parametrize("make", DELAYED)
def test_rates_that_are_attained(make):
    """Around h = 0, where tanh has slope 1, and all is read from the longest delay n: in n steps the rate is ‖W‖."""
    cell = random_cell(make, units=UNITS)
    n = cell.delays[-1]
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        if make is MIST:
            cell.bias_ih[:UNITS] = cell.bias_ih[-1] = 40.0  # r = 1, and all attention on the last
        (cell.recurrent_blocks()["W"] if make is not NARX else cell.recurrent_blocks()[f"W_{n}"]).copy_(
            0.6 * torch.eye(UNITS).roll(1, 0)
        )
    proof = min(prove(cell, torch.zeros(1, 3), 0.0).candidates, key=lambda candidate: candidate.rate)
    assert proof.rate == pytest.approx(0.6 ** (1 / n), rel=1e-4)
    state = map_state(lambda part: 1e-5 * torch.randn_like(part), cell.zeros(1))
    after = state
    with torch.no_grad():
        for _ in range(2 * n):
            after = cell(torch.zeros(1, 3, dtype=torch.float64), after)
    assert float(proof.norm(after) / proof.norm(state)) == pytest.approx(0.36, rel=1e-3)


@pytest.mark.parametrize("make", DELAYED)
@pytest.mark.parametrize("layers", [1, 2])
def test_truncation_moves_no_log_probability_by_more_than_certified(make, layers):
    torch.manual_seed(5)
    model = build_language_model(9, make, Recurrent, 4, 5, num_layers=layers)
    constraint = (DelayedBall if make is not MIST else MISTRows)(0.7)
    for cell in model.cells:
        cell.weight_hh.data.mul_(5)
        constraint.project(cell, None)
    certificate = certify(model)
    assert certificate.holds
    model = model.double().requires_grad_(False)
    x = torch.randint(9, (60, 20))

    def predicted(k):
        features, _ = Recurrent(model.cells)(model.inputs(x[-k:]), tuple(cell.zeros(20) for cell in model.cells))
        return torch.log_softmax(model.objective.logits(features[-1]), -1)

    moved = {k: float((predicted(k) - predicted(60)).abs().max()) for k in (1, 2, 5, 10, 20)}
    assert all(change <= certificate.gap(k) + 1e-12 for k, change in moved.items())
    assert math.isfinite(certificate.gap(1))


@pytest.mark.parametrize(("make", "reason"), [(UnitaryCell, "W is unitary"), (FRU, "nothing is forgotten")])
def test_why_there_is_no_certificate_is_said(make, reason):
    certificate = certify(build_language_model(9, make, Recurrent, 4, 6))
    assert not certificate.holds
    assert reason in certificate.summary()["reason"]
