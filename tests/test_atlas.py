"""Cells of the atlas of memory: each is its equations, its constraint holds, and its certificate withstands attack."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_certificates import pairs, withstand
from torch.testing import assert_close

from stablernn.models.cells.base import Cell
from stablernn.models.cells.indrnn import IndRNNCell
from stablernn.models.cells.irnn import IRNNCell
from stablernn.models.cells.lstm_fixed import FixedForgetLSTMCell
from stablernn.models.cells.min_gru import MinGRUCell
from stablernn.models.cells.min_lstm import MinLSTMCell
from stablernn.models.cells.orthogonal import OrthogonalCell
from stablernn.models.cells.rin import RINCell
from stablernn.models.cells.sru import SRUCell
from stablernn.models.cells.state import map_state
from stablernn.models.feed_forward import FeedForward
from stablernn.models.kernels.scan import scan
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_language_model
from stablernn.stability import certify
from stablernn.stability.constraints.base import spectral_norm
from stablernn.stability.constraints.elementwise import IndRNNLong, IndRNNRange, MinGRULeastGate, MinLSTMLeastGate
from stablernn.stability.constraints.lipschitz import OrthogonalBall, OrthogonalPolar, ReluBall
from stablernn.stability.proofs.gates import Box
from stablernn.stability.proofs.prove import prove
from stablernn.utils.errors import ConfigurationError

seeds = st.integers(0, 2**31)


def half_forgetting(input_size, hidden_size):
    return FixedForgetLSTMCell(input_size, hidden_size, forget=0.5)


def np_rnn(input_size, hidden_size):
    return IRNNCell(input_size, hidden_size, initial="np")


CELLS = [
    IndRNNCell, IRNNCell, np_rnn, RINCell, MinGRUCell, MinLSTMCell, OrthogonalCell, FixedForgetLSTMCell, half_forgetting
]  # fmt: skip


def random_cell(make, seed=0, scale=0.5, inputs=3, units=5) -> Cell:
    """A cell in float64 whose weights are anything, not what they are initially."""
    torch.manual_seed(seed)
    cell = make(inputs, units).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape))
    return cell


# ---- each cell is its equations


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def equations(cell, w, x, h, c):
    """A step in numpy, as the papers write it: w the parameters by name, x (E,), h and c (D,)."""

    def rows(gate):
        start = cell.GATES.index(gate) * len(h)
        return slice(start, start + len(h))

    def driven(gate):
        return w["weight_ih"][rows(gate)] @ x + w["bias_ih"][rows(gate)]

    def heard(gate):
        return driven(gate) + w["weight_hh"][rows(gate)] @ h + w["bias_hh"][rows(gate)]

    match cell:
        case IndRNNCell():
            return (np.maximum(0, w["weight_hh"] * h + driven("")),)
        case RINCell():
            return (np.maximum(0, heard("") + h),)
        case IRNNCell():
            return (np.maximum(0, heard("")),)
        case OrthogonalCell():
            a = w["weight_ih"] @ x + w["weight_hh"] @ h
            return (np.sign(a) * np.maximum(0, np.abs(a) + w["threshold"]),)
        case MinGRUCell():
            z = sigmoid(driven("z"))
            return ((1 - z) * h + z * driven("h"),)
        case MinLSTMCell():
            f, i = sigmoid(driven("f")), sigmoid(driven("i"))
            return (f / (f + i) * h + i / (f + i) * driven("h"),)
        case FixedForgetLSTMCell():
            c = cell.forget * c + sigmoid(heard("i")) * np.tanh(heard("z"))
            return sigmoid(heard("o")) * np.tanh(c), c


@pytest.mark.parametrize("make", CELLS)
def test_a_step_is_its_equations_and_a_sequence_is_its_steps(make):
    cell = random_cell(make)
    w = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}
    x = torch.randn(40, 1, 3, dtype=torch.float64)
    state = map_state(lambda part: part + torch.rand_like(part), cell.zeros(1))
    h, c = state.h[0].numpy(), state[-1][0].numpy()
    y, final = cell.sequence(x, state)
    for t in range(len(x)):
        h, c = (*equations(cell, w, x[t, 0].numpy(), h, c), None)[:2]
        assert y[t, 0].detach().numpy() == pytest.approx(h, rel=1e-9, abs=1e-12)
    assert_close(final.h, y[-1])
    assert len(final) == len(cell.state_type._fields)


def test_the_input_gate_of_an_lstm_that_never_forgets_may_begin_nearly_closed():
    drawn, closed = (
        torch.manual_seed(0) and FixedForgetLSTMCell(3, 4, input_bias=bias).state_dict() for bias in (0.0, -3.0)
    )
    assert_close(closed["bias_ih"] - drawn["bias_ih"], torch.tensor([-3.0] * 4 + [0.0] * 8))
    assert all(torch.equal(closed[name], drawn[name]) for name in drawn if name != "bias_ih")


def check_split(backbone):
    """Three windows of inputs (T, B, 3), one after the other, give what one gives."""
    x = torch.randn(21, 2, 3, dtype=torch.float64)
    state, parts = backbone.initial_state(2), []
    if not isinstance(backbone, Recurrent):
        state = state.double()
    whole = backbone(x, state)[0]
    for part in x.split([1, 4, 16]):
        y, state = backbone(part, state)
        parts.append(y)
    assert_close(torch.cat(parts), whole)


@pytest.mark.parametrize("make", CELLS)
@pytest.mark.parametrize("view", [Recurrent, lambda cells: FeedForward(cells, k=4)], ids=["recurrent", "feedforward"])
def test_a_split_window_gives_what_the_whole_gives(make, view):
    check_split(view([random_cell(make), random_cell(make, 1, inputs=5)]))


@pytest.mark.parametrize("make", [SRUCell, IndRNNCell])
@pytest.mark.parametrize(("scale", "steps"), [(1.0, 30), (4.0, 200)], ids=["forgetting", "growing"])
def test_units_that_depend_on_their_own_past_alone_have_the_states_and_gradients_of_the_plain_loop(make, scale, steps):
    cell = random_cell(make, units=5)
    with torch.no_grad():
        (cell.weight_ch if make is SRUCell else cell.weight_hh).mul_(scale)
    x = torch.randn(steps, 2, 3, dtype=torch.float64, requires_grad=True)
    initial = tuple(torch.rand_like(part).requires_grad_() for part in cell.zeros(2))
    weights = [x, *initial, *cell.parameters()]
    found = []
    for sequence in (cell.sequence, lambda x, state: Cell.sequence(cell, x, state)):
        y, final = sequence(x, cell.state_type(*initial))
        read = torch.cos(y).sum() + sum(part.sin().sum() for part in final)
        found.append((y, final, torch.autograd.grad(read, weights, allow_unused=True)))
    (y, final, gradients), (expected, ending, plain) = found
    for part, same in zip((y, *final), (expected, *ending), strict=True):
        assert_close(part, same, rtol=1e-12, atol=1e-12)
    for gradient, other in zip(gradients, plain, strict=True):
        assert (gradient is None) == (other is None)
        if gradient is not None:
            assert_close(gradient, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("make", CELLS)
def test_gradients_are_those_of_finite_differences(make):
    cell = random_cell(make, units=3)
    x = torch.randn(18, 1, 3, dtype=torch.float64, requires_grad=True)
    # A clock, of one entry, is no state that a gradient flows to.
    initial = tuple(torch.rand_like(part).requires_grad_(part.shape[-1] > 1) for part in cell.zeros(1))
    names, weights = zip(*cell.named_parameters(), strict=True)

    def outputs(x, *rest):
        state = cell.state_type(*rest[: len(initial)])
        for name, value in zip(names, rest[len(initial) :], strict=True):
            cell._parameters[name] = value
        y, final = cell.sequence(x, state)
        return y[-1], *final

    assert torch.autograd.gradcheck(outputs, (x, *initial, *weights), fast_mode=True)


@given(seed=seeds, length=st.integers(1, 70))
@settings(max_examples=20)
def test_a_scan_is_the_plain_recurrence_with_its_gradient(seed, length):
    torch.manual_seed(seed)
    given_ = [torch.rand(length, 2), torch.randn(length, 2), torch.randn(2)]
    ours, plain = ([part.double().requires_grad_() for part in given_] for _ in range(2))
    y = scan(*ours)
    expected, before = [], plain[2]
    for a, b in zip(plain[0], plain[1], strict=True):
        before = a * before + b
        expected.append(before)
    weights = torch.randn(length, 2).double()
    (y * weights).sum().backward()
    (torch.stack(expected) * weights).sum().backward()
    assert_close(y, torch.stack(expected))
    for one, other in zip(ours, plain, strict=True):
        assert_close(one.grad, other.grad)


@pytest.mark.parametrize("make", [MinGRUCell, MinLSTMCell])
def test_a_cell_whose_gates_see_the_input_alone_is_solved_by_one_newton_step(make):
    cell = random_cell(make)
    x, initial = torch.randn(40, 2, 3, dtype=torch.float64), cell.zeros(2)
    guess = cell.state_type(torch.randn(40, 2, 5, dtype=torch.float64))
    with torch.no_grad():
        assert_close(cell.newton(cell.project_inputs(x), guess, initial)[1].h, cell.sequence(x, initial)[0])


@given(seed=seeds, units=st.integers(1, 60), scale=st.floats(0.1, 1.0))
@settings(max_examples=20)
def test_the_first_weights_are_those_of_the_papers_at_every_size(seed, units, scale):
    torch.manual_seed(seed)
    irnn, rin, positive = IRNNCell(3, units, scale=scale), RINCell(3, units), np_rnn(3, units)
    assert_close(irnn.weight_hh.detach(), scale * torch.eye(units))
    assert spectral_norm(rin.matrix() - torch.eye(units)) < 1e-3 * (2 * units**0.5 + 6)
    eigenvalues = torch.linalg.eigvalsh(positive.weight_hh.detach().double())
    assert float(eigenvalues.max()) == pytest.approx(1, rel=1e-5)
    assert float(eigenvalues.min()) > 0
    for cell in (irnn, rin, positive):
        assert not cell.bias_ih.any()
        assert not cell.bias_hh.any()
    orthogonal = OrthogonalCell(3, units)
    assert_close(orthogonal.weight_hh @ orthogonal.weight_hh.T, torch.eye(units), rtol=0, atol=1e-5)
    assert float(orthogonal.threshold.detach().abs().max()) <= 0.01
    high = 1 + scale
    u = IndRNNCell(3, units, low=scale, high=high).weight_hh.detach()
    assert bool(((scale <= u) & (u <= high)).all())


def test_random_first_weights_have_the_spread_that_the_papers_name():
    torch.manual_seed(0)
    for cell, deviation in ((IRNNCell(90, 100), 1e-3), (RINCell(90, 100), 1e-3), (np_rnn(90, 100), math.sqrt(2 / 100))):
        assert float(cell.weight_ih.detach().std()) == pytest.approx(deviation, rel=0.05)
    u = IndRNNCell(3, 400, low=0.9, high=1.1).weight_hh.detach()
    assert float(u.min()) < 0.92 < 1.08 < float(u.max()), "all of the range"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: IndRNNCell(3, 4, low=2.0), "model.cell.low=2.0"),
        (lambda: IRNNCell(3, 4, initial="zero"), "choose identity or np"),
        (lambda: FixedForgetLSTMCell(3, 4, forget=1.5), "model.cell.forget=1.5"),
        (lambda: FixedForgetLSTMCell(3, 4, input_bias=math.nan), "model.cell.input_bias=nan"),
        (lambda: IndRNNRange(1.0), "limit=1.0 must lie in"),
        (lambda: IndRNNLong(0), "steps=0"),
        (lambda: IndRNNLong(9, growth=0.5), "growth=0.5"),
        (lambda: MinLSTMLeastGate(0.5), "limit=0.5 must lie in"),
        (lambda: MinGRULeastGate(0.9, every=0), "every=0"),
    ],
)
def test_options_that_make_no_sense_are_refused(make, said):
    with pytest.raises(ConfigurationError, match=said):
        make()


# ---- constraints

CONSTRAINTS = [
    (IndRNNCell, IndRNNRange(0.9)), (IndRNNCell, IndRNNLong(20)), (IRNNCell, ReluBall(0.9)), (np_rnn, ReluBall(0.9)),
    (RINCell, ReluBall(0.9)), (OrthogonalCell, OrthogonalBall(0.9)), (OrthogonalCell, OrthogonalPolar()),
    (MinGRUCell, MinGRULeastGate(0.9)), (MinLSTMCell, MinLSTMLeastGate(0.9)),
]  # fmt: skip


def parameters(cell):
    return {name: parameter.detach().clone() for name, parameter in cell.named_parameters()}


def trained_under(make, constraint, lr=1.0, length=12):
    """A language model after a hundred updates, each projected; its constraint proves what it enforces, if anything."""
    torch.manual_seed(3)
    model = build_language_model(9, make, Recurrent, 4, 6)
    (cell,), words = model.cells, model.inputs.weight
    constraint.check(cell)
    sgd = torch.optim.SGD(model.parameters(), lr=lr)
    x = torch.randint(9, (length, 8))
    for _ in range(100):
        sgd.zero_grad()
        loss, _ = model.loss(x, x.roll(3, 0), model.initial_state(8))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        sgd.step()
        constraint.project(cell, words.data)
    if constraint.rate is not None:
        rate = min(candidate.rate for candidate in prove(cell, words.detach(), 0.0).candidates)
        assert rate <= constraint.rate, "it proves what it enforces"
    return model


@pytest.mark.parametrize(("make", "constraint"), CONSTRAINTS)
def test_a_constraint_holds_after_a_hundred_updates_and_leaves_what_it_projected(make, constraint):
    model = trained_under(make, constraint)
    (cell,), words = model.cells, model.inputs.weight
    if constraint.rate is not None:
        assert certify(model).holds
    elif isinstance(constraint, IndRNNLong):
        assert float(cell.weight_hh.abs().max()) ** 20 <= 2
        assert certify(model).holds == (float(cell.weight_hh.abs().max()) < 1)
    else:
        assert_close(cell.weight_hh @ cell.weight_hh.T, torch.eye(6), rtol=0, atol=1e-5)
        assert not certify(model).holds
    once, read = parameters(cell), words.detach().clone()
    constraint.project(cell, words.data)
    assert_close(parameters(cell), once, rtol=0, atol=0)
    assert_close(words.detach(), read, rtol=0, atol=0)


def outside(make, seed):
    torch.manual_seed(seed)
    cell = make(3, 5)
    with torch.no_grad():
        cell.weight_hh.copy_(1.5 * torch.randn(cell.weight_hh.shape))
    return cell


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("make", "constraint"), CONSTRAINTS[:7])
def test_the_projection_of_recurrent_weights_is_the_nearest_point(make, constraint, seed):
    """No feasible point nearby, or anywhere else, is nearer: to a convex set, and to the orthogonal matrices."""
    cell = outside(make, seed)
    before = cell.weight_hh.detach().double()
    constraint.project(cell, None)
    nearest = cell.weight_hh.detach().double()
    distance = float((nearest - before).norm())
    assert distance > 0.1
    for number in range(30):
        other = outside(make, 100 + number)
        constraint.project(other, None)
        candidate = other.weight_hh.detach().double()
        assert float((candidate - before).norm()) >= distance - 1e-4
        if not isinstance(constraint, OrthogonalPolar):  # the ball is convex: the angle is not acute
            assert float(((before - nearest) * (candidate - nearest)).sum()) <= 1e-3


@pytest.mark.parametrize(("make", "constraint"), [*CONSTRAINTS[7:]])
@pytest.mark.parametrize("inputs", [True, None], ids=["words", "frames"])
def test_a_gate_that_is_open_enough_is_left_alone_and_another_one_is_opened(make, constraint, inputs):
    gate = list(make.GATES).index(constraint.gate)
    for bias, moves in ((3.0, False), (-30.0, True)):
        torch.manual_seed(2)
        cell, words = make(3, 5), torch.randn(7, 3)
        with torch.no_grad():
            cell.bias_ih[gate * 5 : gate * 5 + 5] = bias
        before = parameters(cell)
        constraint.project(cell, words if inputs else None)
        moved = not all(torch.equal(part, before[name]) for name, part in cell.named_parameters())
        assert moved == moves
        proven = prove(cell, words if inputs else None, 0.0)
        assert min(candidate.rate for candidate in proven.candidates) <= constraint.rate


# ---- certificates


STABLE = {IndRNNCell: IndRNNRange(0.95), OrthogonalCell: OrthogonalBall(0.95)} | dict.fromkeys(
    (IRNNCell, np_rnn, RINCell), ReluBall(0.95)
)


def contractive_cell(make, seed, scale):
    """Any gates; recurrent weights within the constraint of the cell, where it has one."""
    cell = random_cell(make, seed, scale)
    if make in STABLE:
        STABLE[make].project(cell, None)
    return cell


@settings(max_examples=24, deadline=None)
@given(seed=seeds, make=st.sampled_from(CELLS[:-2]), scale=st.floats(0.05, 0.8), frames=st.booleans())
def test_no_pair_of_states_contracts_slower_than_certified(seed, make, scale, frames):
    """Random pairs, and pairs that gradient ascent finds, along words or along the corners of a box."""
    cell = contractive_cell(make, seed, scale)
    words = (torch.randint(2, (9, 3)).float() * 2 - 1) if frames else torch.randn(9, 3)
    proven = prove(cell, Box(-1.0, 1.0) if frames else words, 0.0)
    assert proven.candidates[0].holds
    withstand(cell, words, proven, proven.candidates)


def test_no_pair_contracts_slower_than_certified_where_the_forget_gate_is_a_number():
    cell, words = random_cell(half_forgetting, scale=0.1), torch.randn(9, 3)
    proven = prove(cell, words, 0.0)
    assert any(proof.holds for proof in proven.candidates)
    withstand(cell, words, proven, proven.candidates[:2])


@pytest.mark.parametrize("make", CELLS)
def test_no_input_leads_out_of_the_certified_box(make):
    cell, words = contractive_cell(make, 0, 0.2), torch.randn(9, 3)
    proven = prove(cell, words, 0.0)
    if make is FixedForgetLSTMCell:
        assert proven.box is None
        return
    y, final = cell.sequence(words[torch.randint(9, (300, 40))].double(), cell.zeros(40))
    assert proven.box is not None
    assert bool((y.detach().abs() <= proven.box.h).all())
    for proof in proven.candidates:
        if proof.holds:
            assert float(proof.norm(map_state(lambda part: part.detach(), final)).max()) <= proof.radius


def test_rates_that_are_attained():
    """The bounds are no larger than they have to be."""
    cell = random_cell(IndRNNCell)
    with torch.no_grad():
        cell.weight_hh.copy_(torch.tensor([0.1, -0.8, 0.3, 0.0, 0.5]))
        cell.bias_ih.fill_(50.0)  # all units are open
    words = torch.randn(9, 3)
    proven = prove(cell, words, 0.0)
    state = pairs(proven.box, 50)
    after = cell(words[:1].double().expand(50, 3), state).h
    found = (after[0] - after[1])[:, 1].abs() / (state.h[0] - state.h[1])[:, 1].abs()
    assert float(found.max()) == pytest.approx(proven.candidates[0].rate, rel=1e-6)
    gru = random_cell(MinGRUCell)
    stays = gru.mixture(gru.project_inputs(words.double()))[0]
    assert float(stays.max()) == pytest.approx(prove(gru, words, 0.0).candidates[0].rate, rel=1e-6)


def certificate_of(make, layers=1, scale=0.3, seed=5):
    torch.manual_seed(seed)
    model = build_language_model(9, make, Recurrent, 4, 5, num_layers=layers)
    for cell in model.cells:
        for parameter in cell.parameters():
            parameter.data.mul_(scale)
    return model, certify(model)


def test_why_there_is_no_certificate_is_said():
    said = {
        FixedForgetLSTMCell: "never forgotten", OrthogonalCell: "jumps at 0", IRNNCell: "not below 1",
        RINCell: "not below 1",
    }  # fmt: skip
    for make, reason in said.items():
        assert reason in certificate_of(make, scale=1.0)[1].summary()["reason"]


@pytest.mark.parametrize("make", [IndRNNCell, IRNNCell, MinGRUCell, MinLSTMCell, half_forgetting])
@pytest.mark.parametrize("layers", [1, 2])
def test_truncation_moves_no_log_probability_by_more_than_certified(make, layers):
    """An upper layer reads states that are not within [-1, 1]."""
    model, certificate = certificate_of(make, layers)
    assert certificate.holds
    model = model.double().requires_grad_(False)
    x = torch.randint(9, (60, 20))

    def predicted(k):
        features, _ = Recurrent(model.cells)(model.inputs(x[-k:]), tuple(cell.zeros(20) for cell in model.cells))
        return torch.log_softmax(model.objective.logits(features[-1]), -1)

    for k in (1, 2, 5, 10, 20):
        assert float((predicted(k) - predicted(60)).abs().max()) <= certificate.gap(k) + 1e-12
    assert math.isfinite(certificate.gap(1))


def test_an_upper_layer_whose_inputs_have_no_bound_is_refused():
    certificate = certificate_of(IRNNCell, 2, scale=1.0)[1]
    assert not certificate.holds
    assert "no bound is known of its inputs" in certificate.summary()["reason"]
