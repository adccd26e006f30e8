"""Cells of the atlas whose state has parts of its own: see ``test_atlas``, whose properties they share."""

import math

import numpy as np
import pytest
import test_atlas as atlas
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_certificates import withstand
from torch.testing import assert_close

from stablernn.analysis.conversion.network import Unrolled
from stablernn.models.cells.clockwork import ClockworkCell
from stablernn.models.cells.qrnn import QRNNCell
from stablernn.models.cells.scrn import SCRNCell
from stablernn.models.cells.sru import SRUCell
from stablernn.models.cells.state import map_state
from stablernn.models.cells.statistical import StatisticalCell
from stablernn.models.feed_forward import FeedForward, truncations
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_language_model
from stablernn.stability import certify
from stablernn.stability.constraints.averages import ClockworkBlocks, SCRNBall, StatisticalBall
from stablernn.stability.constraints.base import spectral_norm
from stablernn.stability.constraints.gated import QRNNForgetCap, SRUForgetCap
from stablernn.stability.measured import Dynamics, largest_expansion, lyapunov_exponent
from stablernn.stability.proofs.gates import Box
from stablernn.stability.proofs.prove import prove
from stablernn.utils.errors import ConfigurationError

seeds = st.integers(0, 2**31)


def sru_without_peepholes(input_size, hidden_size):
    return SRUCell(input_size, hidden_size, peephole=False, highway_bias=-1.0)


def wide_qrnn(input_size, hidden_size):
    return QRNNCell(input_size, hidden_size, width=4)


def narrow_qrnn(input_size, hidden_size):
    return QRNNCell(input_size, hidden_size, width=1)


def statistical(input_size, hidden_size):
    return StatisticalCell(input_size, hidden_size, alphas=(0, 0.5, 0.8), statistics=4, summary=2)


def scrn(input_size, hidden_size):
    return SCRNCell(input_size, hidden_size, context=2, alpha=0.8)


def clockwork(input_size, hidden_size):
    return ClockworkCell(input_size, hidden_size, periods=(1, 2, 6))


TIMELESS = [SRUCell, sru_without_peepholes, QRNNCell, wide_qrnn, narrow_qrnn, statistical, scrn]
CELLS = [*TIMELESS, clockwork]


def state_of(cell, *axes):
    """Any state; the time is a whole number."""
    state = map_state(torch.rand_like, cell.zeros(*axes))
    return state._replace(clock=torch.full_like(state.clock, 5)) if isinstance(cell, ClockworkCell) else state


# ---- each cell is its equations


def equations(cell, w, x, state):
    """A step in numpy, as the papers write it: w the parameters by name, x (E,), state of (D,)."""
    d, relu, sigmoid = cell.hidden_size, lambda a: np.maximum(0, a), atlas.sigmoid
    driven = w["weight_ih"] @ x
    match cell:
        case SRUCell():
            c, b, v = state[1], w["bias_ih"], w.get("weight_ch", np.zeros(2 * d))
            f = sigmoid(driven[:d] + v[:d] * c + b[:d])
            r = sigmoid(driven[d : 2 * d] + v[d:] * c + b[d:])
            c = f * c + (1 - f) * driven[2 * d :]
            alpha = math.sqrt(1 + 2 * math.exp(cell.highway_bias))
            return r * c + (1 - r) * (alpha * x if len(x) == d else w["weight_xh"] @ x), c
        case QRNNCell():
            inputs = np.concatenate([x, state[2]])
            z, f, o = np.split(np.hstack([w["weight_ih"], w["weight_sh"]]) @ inputs + w["bias_ih"], 3)
            c = sigmoid(f) * state[1] + (1 - sigmoid(f)) * np.tanh(z)
            return sigmoid(o) * c, c, inputs[: len(inputs) - len(x)]
        case StatisticalCell():
            r = relu(w["weight_mr"] @ state[1] + w["bias_r"])
            phi = relu(w["weight_rp"] @ r + driven + w["bias_ih"])
            averages = np.split(state[1], len(cell.alphas))
            mu = np.concatenate([a * mu + (1 - a) * phi for a, mu in zip(cell.alphas, averages, strict=True)])
            return relu(w["weight_mh"] @ mu + w["bias_h"]), mu
        case SCRNCell():
            q, s = np.split(state[0], [d - cell.context])
            s = (1 - cell.alpha) * driven[d - cell.context :] + cell.alpha * s
            q = sigmoid(w["weight_sq"] @ s + driven[: d - cell.context] + w["weight_hh"] @ q)
            return (np.concatenate([q, s]),)
        case ClockworkCell():
            h, (t,) = state[0].copy(), state[1]
            modules = np.split(np.arange(d), np.cumsum(cell.module_sizes())[:-1])
            for i, units in enumerate(modules):
                if t % cell.periods[i] == 0:
                    slower = np.concatenate(modules[i:])
                    heard = w["weight_hh"][np.ix_(units, slower)] @ state[0][slower]
                    h[units] = np.tanh(heard + driven[units] + w["bias_ih"][units])
            return h, np.array([(t + 1) % math.lcm(*cell.periods)])


@pytest.mark.parametrize("inputs", [3, 5], ids=["projected", "as wide"])
@pytest.mark.parametrize("make", CELLS)
def test_a_step_is_its_equations_and_a_sequence_is_its_steps(make, inputs):
    cell = atlas.random_cell(make, inputs=inputs)
    w = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    x = torch.randn(40, 1, inputs, dtype=torch.float64)
    state = state_of(cell, 1)
    expected = tuple(part[0].numpy() for part in state)
    y, final = cell.sequence(x, state)
    for t in range(len(x)):
        expected = equations(cell, w, x[t, 0].numpy(), expected)
        assert y[t, 0].detach().numpy() == pytest.approx(expected[0], rel=1e-9, abs=1e-12)
    for part, last in zip(final, expected, strict=True):
        assert part[0].detach().numpy() == pytest.approx(last, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("make", CELLS)
def test_a_split_window_gives_what_the_whole_gives(make):
    atlas.test_a_split_window_gives_what_the_whole_gives(make, Recurrent)
    if make is not clockwork:
        atlas.test_a_split_window_gives_what_the_whole_gives(make, lambda cells: FeedForward(cells, k=4))


@pytest.mark.parametrize("make", CELLS)
def test_gradients_are_those_of_finite_differences(make):
    cell = atlas.random_cell(make)
    x = torch.randn(18, 1, 3, dtype=torch.float64, requires_grad=True)
    initial = [part.requires_grad_() for part in state_of(cell, 1) if part.shape[-1] > 1]
    names, weights = zip(*cell.named_parameters(), strict=True)

    def outputs(x, *rest):
        parts = [*rest[: len(initial)], *state_of(cell, 1)[len(initial) :]]
        for name, value in zip(names, rest[len(initial) :], strict=True):
            cell._parameters[name] = value
        y, final = cell.sequence(x, cell.state_type(*parts))
        return y[-1], *final[: len(initial)]

    assert torch.autograd.gradcheck(outputs, (x, *initial, *weights), fast_mode=True)


@pytest.mark.parametrize(("make", "exact"), [(sru_without_peepholes, 1), (SRUCell, 25)])
def test_a_simple_recurrent_unit_is_solved_by_newton_steps(make, exact):
    cell = atlas.random_cell(make)
    x, initial = torch.randn(40, 2, 3, dtype=torch.float64), cell.zeros(2)
    guess = cell.zeros(40, 2)
    with torch.no_grad():
        for _ in range(exact):
            before = map_state(lambda part: torch.cat([torch.zeros_like(part[:1]), part[:-1]]), guess)
            guess = cell.newton(cell.project_inputs(x), before, initial)[1]
        assert_close(guess.h, cell.sequence(x, initial)[0])


def test_the_first_weights_are_those_of_the_papers():
    torch.manual_seed(0)
    cell = SRUCell(300, 200, highway_bias=-1.0)
    f, r, z = cell.input_blocks().values()
    for weight, variance in ((z, 1 / 300), (f, 0.5 / 300), (r, 0.5 / 300), (cell.weight_ch, 0.5)):
        assert float(weight.detach().var()) == pytest.approx(variance, rel=0.1)
    assert float(cell.weight_xh.detach().var()) == pytest.approx((1 + 2 * math.exp(-1)) / 300, rel=0.1)
    assert_close(cell.bias_ih.detach(), torch.cat([torch.zeros(200), -torch.ones(200)]))
    assert float(QRNNCell(50, 40).weight_sh.detach().abs().max()) == pytest.approx(0.1, rel=0.01)
    both = torch.cat([StatisticalCell(90, 100).weight_ih, StatisticalCell(90, 100).weight_rp], 1)
    assert float(both.detach().abs().max()) == pytest.approx(math.sqrt(6 / (100 + 90 + 30)), rel=0.01)
    assert float(SCRNCell(50, 80).weight_hh.detach().std()) == pytest.approx(0.05, rel=0.1)
    assert float(ClockworkCell(50, 80).weight_hh.detach().std()) == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: QRNNCell(3, 4, width=0), "model.cell.width=0"),
        (lambda: StatisticalCell(3, 4, alphas=(0.5, 1.0)), "must be numbers in"),
        (lambda: StatisticalCell(3, 4, alphas=()), "at least one"),
        (lambda: StatisticalCell(3, 4, summary=0), "model.cell.summary=0"),
        (lambda: StatisticalCell(3, 4, alphas=(0.5, 0.5)), "and different ones"),
        (lambda: SCRNCell(3, 4, context=4), "model.cell.context=4"),
        (lambda: SCRNCell(3, 1), "model.hidden_size=1 must be 2 or more"),
        (lambda: SCRNCell(3, 4, context=1, alpha=1.0), "model.cell.alpha=1.0"),
        (lambda: ClockworkCell(3, 4, periods=(2, 1)), "must be whole numbers that rise"),
        (lambda: ClockworkCell(3, 4, periods=(1, 2.5)), "must be whole numbers that rise"),
        (lambda: ClockworkCell(3, 4), "are more than the units"),
        (lambda: SRUForgetCap(0.5), "limit=0.5 must lie in"),
        (lambda: QRNNForgetCap(0.9, every=0), "every=0"),
        (lambda: StatisticalBall(0.99).check(StatisticalCell(3, 4)), "above the largest α of the cell, which is 0.99"),
        (lambda: SCRNBall(0.9).check(SCRNCell(3, 4, context=1)), "above the largest α"),
        (lambda: FeedForward([clockwork(3, 4)], k=4), "has no feed-forward model"),
        (lambda: Unrolled(build_language_model(9, clockwork, Recurrent, 4, 6), 4), "has no feed-forward model"),
    ],
)
def test_options_that_make_no_sense_are_refused(make, said):
    with pytest.raises(ConfigurationError, match=said):
        make()


# ---- the clock


@pytest.mark.parametrize("time", [0, 7])
def test_the_truncated_clockwork_network_has_the_true_time(time):
    """Every window, run from h = 0 at its own time, step by step."""
    cells = [atlas.random_cell(clockwork), atlas.random_cell(clockwork, 1, inputs=5)]
    x = torch.randn(20, 2, 3, dtype=torch.float64)
    for k, states in truncations(cells, x, [1, 3, 8], time=time):
        for t in range(len(x)):
            inputs = x[max(0, t - k + 1) : t + 1]
            start = time + t + 1 - len(inputs)
            for cell in cells:
                before = cell.zeros(2)
                inputs, after = cell.sequence(inputs, before._replace(clock=before.clock + start % 6))
            assert_close(states[-1].h[t], inputs[-1])
            assert_close(states[-1].clock[t], after.clock)


def test_the_time_is_no_state_that_could_be_forgotten():
    """Measures of contraction and the gradient see h alone: the time is the same for both states of a pair."""
    torch.manual_seed(0)
    model = build_language_model(9, clockwork, Recurrent, 4, 6).double()
    ClockworkBlocks(0.5).project(model.cells[0], None)
    inputs = torch.randint(9, (40, 6))
    assert max(lyapunov_exponent(model, inputs, 10)) < math.log(0.5) / 6 + 0.1
    expansion = largest_expansion(model, inputs, 28, [12], steps=3)
    assert expansion.contracts_from is not None
    step = Dynamics(model)
    state = step(step.zeros(6), step.embed(inputs)[0])
    assert_close(state[:, -1], torch.ones(6, dtype=torch.float64))


def test_a_clockwork_network_without_slower_modules_is_a_plain_one():
    cell = atlas.random_cell(lambda *sizes: ClockworkCell(*sizes, periods=(1,)))
    x, state = torch.randn(9, 2, 3, dtype=torch.float64), cell.zeros(2)
    plain = torch.nn.RNN(3, 5).double()
    weights = [cell.weight_ih, cell.weight_hh, cell.bias_ih, torch.zeros_like(cell.bias_ih)]
    for parameter, value in zip(plain.parameters(), weights, strict=True):
        parameter.data.copy_(value)
    assert_close(cell.sequence(x, state)[0], plain(x)[0])


# ---- constraints

CONSTRAINTS = [
    (SRUCell, SRUForgetCap(0.9)), (sru_without_peepholes, SRUForgetCap(0.9)), (QRNNCell, QRNNForgetCap(0.9)),
    (wide_qrnn, QRNNForgetCap(0.9)), (statistical, StatisticalBall(0.9)), (scrn, SCRNBall(0.9)),
]  # fmt: skip


@pytest.mark.parametrize(("make", "constraint"), CONSTRAINTS)
def test_a_constraint_holds_after_a_hundred_updates_and_leaves_what_it_projected(make, constraint):
    atlas.test_a_constraint_holds_after_a_hundred_updates_and_leaves_what_it_projected(make, constraint)


@pytest.mark.parametrize(("make", "constraint"), CONSTRAINTS)
@pytest.mark.parametrize("words", [True, False], ids=["words", "frames"])
def test_a_constraint_brings_any_weights_to_what_it_proves(make, constraint, words):
    for seed in range(3):
        cell = atlas.random_cell(make, seed, scale=4.0).float()
        inputs = 2 * torch.randn(9, 3) if words else None
        constraint.project(cell, inputs)
        proven = prove(cell, inputs, 0.0)
        assert min(candidate.rate for candidate in proven.candidates) <= constraint.rate
        before = atlas.parameters(cell)
        constraint.project(cell, inputs)
        assert_close(atlas.parameters(cell), before, rtol=0, atol=0)


def test_the_modules_of_a_clockwork_network_contract_when_they_are_updated():
    cell = atlas.random_cell(clockwork, scale=4.0).float()
    upper = cell.weight_hh[0, 2:].clone()
    ClockworkBlocks(0.9).project(cell, None)
    assert all(0.89 < spectral_norm(block) <= 0.9 for block in cell.recurrent_blocks().values() if block.numel() > 1)
    assert torch.equal(cell.weight_hh[0, 2:], upper), "what a module hears of slower ones is free"
    once = atlas.parameters(cell)
    ClockworkBlocks(0.9).project(cell, None)
    assert_close(atlas.parameters(cell), once, rtol=0, atol=0)


# ---- certificates


def contractive_cell(make, seed, scale):
    cell = atlas.random_cell(make, seed, scale)
    dict(CONSTRAINTS).get(make, QRNNForgetCap(0.9)).project(cell, None)
    return cell


def attacked(seed, make, scale, frames, most):
    cell = contractive_cell(make, seed, scale)
    words = (torch.randint(2, (9, 3)).float() * 2 - 1) if frames else torch.rand(9, 3) * 2 - 1
    proven = prove(cell, Box(-1.0, 1.0) if frames else words, 0.0)
    assert proven.candidates[0].holds
    withstand(cell, words, proven, proven.candidates[:most])


any_cell = given(seed=seeds, make=st.sampled_from(TIMELESS), scale=st.floats(0.05, 1.5), frames=st.booleans())


@settings(max_examples=8, deadline=None)
@any_cell
def test_no_pair_of_states_contracts_slower_than_certified(seed, make, scale, frames):
    attacked(seed, make, scale, frames, most=2)


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@any_cell
def test_no_pair_contracts_slower_than_certified_at_any_rate(seed, make, scale, frames):
    attacked(seed, make, scale, frames, most=14)


@pytest.mark.parametrize("make", TIMELESS)
def test_no_input_leads_out_of_the_certified_box(make):
    cell, words = contractive_cell(make, 0, 0.7), torch.rand(9, 3) * 2 - 1
    proven = prove(cell, words, 0.0)
    states, state = [], cell.zeros(40)
    with torch.no_grad():
        for x in words[torch.randint(9, (100, 40))].double():
            state = cell(x, state)
            states.append(state)
    assert proven.box is not None
    for part, bound in zip(map_state(torch.Tensor.double, state), proven.box, strict=True):
        assert part.shape[-1] == len(bound)
    for state in states:
        assert all(bool((part.abs() <= bound).all()) for part, bound in zip(state, proven.box, strict=True))
    for proof in proven.candidates:
        assert float(max(proof.norm(state).max() for state in states)) <= proof.radius


@pytest.mark.parametrize("make", TIMELESS)
def test_another_input_moves_the_state_no_further_than_certified(make):
    cell = contractive_cell(make, 3, 0.7)
    proven = prove(cell, Box(-1.0, 1.0), 0.0)
    with torch.no_grad():
        x = torch.rand(2, 200, 3, dtype=torch.float64) * 2 - 1
        x[1] = torch.where(torch.rand(200, 1) < 0.5, x[0] + 1e-3 * x[1], x[1]).clamp(-1, 1)
        state = cell.zeros(200)
        for _ in range(6):
            state = cell(torch.rand(200, 3, dtype=torch.float64) * 2 - 1, state)
        one, other = (cell(part, state) for part in x)
    moved = type(one)(*(a - b for a, b in zip(one, other, strict=True)))
    for proof in proven.candidates[:2]:
        bounds = x.new_tensor([proof.input_gain(change) for change in (x[0] - x[1]).abs()])
        assert bool((proof.norm(moved) <= bounds * (1 + 1e-9) + 1e-15).all())


@pytest.mark.parametrize("make", TIMELESS)
@pytest.mark.parametrize("layers", [1, 2])
def test_truncation_moves_no_log_probability_by_more_than_certified(make, layers):
    atlas.test_truncation_moves_no_log_probability_by_more_than_certified(make, layers)


def test_rates_that_are_attained():
    """The largest forget gate, the slowest average, and R where its sigmoid is steepest."""
    words = torch.randn(9, 3)
    cell = atlas.random_cell(sru_without_peepholes)
    f = torch.sigmoid(cell.project_inputs(words.double())[:, :5].detach()).max()
    assert float(f) == pytest.approx(prove(cell, words, 0.0).candidates[0].rate, rel=1e-5)
    cell = atlas.random_cell(SRUCell)
    with torch.no_grad():
        cell.weight_ch.fill_(0.5)
        cell.weight_ih.zero_()
        cell.weight_ih[10:] = torch.randn(5, 3)
    proven = prove(cell, words, 0.0)
    z = cell.input_blocks()["U_z"].detach() @ words.double().T
    kappa = 0.5 * (z.amax(1).clamp_min(0) - z.amin(1).clamp_max(0))
    assert proven.bounds["max |v_f| |c - z|"] == pytest.approx(float(kappa.max()), rel=1e-6)
    cell = atlas.random_cell(scrn, scale=1e-3)
    with torch.no_grad():
        cell.weight_hh.copy_(3.9 * torch.eye(3))
    assert prove(cell, words, 0.0).candidates[0].rate == pytest.approx(3.9 / 4, rel=1e-3)


def test_why_there_is_no_certificate_is_said():
    said = {
        clockwork: "keeps every difference", statistical: "is not below 1: averages", scrn: "is not below 1",
        SRUCell: "v_f is too large", sru_without_peepholes: "need not forget",
    }  # fmt: skip
    for make, reason in said.items():
        torch.manual_seed(0)
        model = build_language_model(9, make, Recurrent, 4, 6)
        (cell,) = model.cells
        with torch.no_grad():
            for parameter in cell.parameters():
                parameter.mul_(100 if make is not SRUCell else 1)
            if make is sru_without_peepholes:
                cell.bias_ih.fill_(50)
            if make is SRUCell:
                cell.weight_ch.fill_(30)
        assert reason in certify(model).summary()["reason"]
    bounds = prove(atlas.random_cell(clockwork), None, 0.0).bounds
    assert list(bounds) == ["‖W_1‖_2^(1/1)", "‖W_2‖_2^(1/2)", "‖W_6‖_2^(1/6)"]
