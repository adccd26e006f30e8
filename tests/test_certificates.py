"""Certificates: attacked by random and by gradient-found states, inputs and masks; refused where nothing is proven."""

import itertools
import math
from dataclasses import replace
from functools import partial

import networkx as nx
import numpy as np
import pytest
import scipy.sparse.csgraph
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from stablernn.models.cells.base import Cell
from stablernn.models.cells.gru import GRUCell
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.cells.rnn import RNNCell
from stablernn.models.cells.state import LSTMState, RNNState, State, map_state
from stablernn.models.feed_forward import truncated_states
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_language_model
from stablernn.stability import certify
from stablernn.stability.certificates import _composed, by_norm, summarise
from stablernn.stability.constraints.base import project
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
from stablernn.stability.constraints.spectral import RNNAsCoded, SpectralNormBall, balance
from stablernn.stability.diameter import diameter
from stablernn.stability.proofs.norms import Contraction
from stablernn.stability.proofs.prove import prove
from stablernn.stability.proofs.quadratic import QuadraticNorm, best_weights, full_norms
from stablernn.stability.proofs.rates import levels, order

seeds = st.integers(0, 2**31)
_TOLERANCE = 1 + 1e-7  # the attack computes in float64, and its own differences round


def double(cell: Cell) -> Cell:
    return cell.double().requires_grad_(False)


def random_cell(kind, seed, size, recurrent, bias, strongest=None):
    """A cell whose recurrent part, forget bias and so λ vary over all that can and cannot be certified.

    With ``strongest`` the loop goes through the recurrent weights of one gate alone.
    """
    torch.manual_seed(seed)
    cell = kind(3, size)
    with torch.no_grad():
        cell.weight_hh.mul_(recurrent)
        if kind is not RNNCell:  # the forget gate of an LSTM, the update gate of a GRU
            gates = len(kind.GATES)
            cell.bias_ih[size : 2 * size] += bias
            if strongest is not None:
                factors = torch.full((gates,), 1e-3)
                factors[strongest % gates] = 3.0
                cell.weight_hh.view(gates, size, size).mul_(factors[:, None, None])
    return cell, torch.randn(9, 3)


def pairs(box: State, count: int) -> State:
    """Pairs of states anywhere in the box, half of them near each other: (2, count, D)."""

    def draw(bound):
        first = (2 * torch.rand(count, len(bound), dtype=torch.float64) - 1) * bound
        second = (2 * torch.rand(count, len(bound), dtype=torch.float64) - 1) * bound
        near = (torch.rand(count, 1) < 0.5).double() * 0.999
        return torch.stack([first, near * first + (1 - near) * second])

    return map_state(draw, box)


def ratio(cell, norm, pair: State, x) -> torch.Tensor:
    after = cell(x, pair)
    return norm(map_state(lambda part: part[0] - part[1], after)) / norm(
        map_state(lambda part: part[0] - part[1], pair)
    )


def attack(cell, box: State, proof: Contraction, inputs, steps: int) -> float:
    """The worst one-step ratio that gradient ascent finds in the box."""
    words = inputs.repeat_interleave(12, 0)
    state = pairs(box, len(words))
    parts = [part.clone().requires_grad_() for part in state]
    adam = torch.optim.Adam(parts, lr=0.05)
    worst = 0.0
    for _ in range(steps):
        found = ratio(cell, proof.norm, type(state)(*parts), words)
        worst = max(worst, float(found.detach().max()))
        gradients = torch.autograd.grad(-found.log().sum(), parts)
        for part, gradient in zip(parts, gradients, strict=True):
            part.grad = gradient
        adam.step()
        with torch.no_grad():
            for part, bound in zip(parts, box, strict=True):
                torch.minimum(torch.maximum(part, -bound), bound, out=part)
    return worst


def withstand(cell, inputs, proven, proofs) -> None:
    """No proof that holds falls to the attack."""
    double(cell)
    for proof in proofs:
        if proof.holds:
            assert attack(cell, proven.box, proof, inputs.double(), steps=25) <= proof.rate * _TOLERANCE


@settings(max_examples=40, deadline=None)
@given(
    seed=seeds,
    kind=st.sampled_from([RNNCell, LSTMCell, LSTMCell, GRUCell, GRUCell]),
    size=st.integers(1, 6),
    recurrent=st.floats(0.05, 1.2),
    bias=st.floats(-3, 4),
    strongest=st.sampled_from([None, 0, 1, 2, 3]),
)
def test_no_pair_of_states_contracts_slower_than_certified(seed, kind, size, recurrent, bias, strongest):
    cell, inputs = random_cell(kind, seed, size, recurrent, bias, strongest)
    proven = prove(cell, inputs, 0.0)
    withstand(cell, inputs, proven, proven.candidates)


@settings(max_examples=15, deadline=None)
@given(seed=seeds, size=st.integers(1, 6), recurrent=st.floats(0.05, 1.2), bias=st.floats(-3, 4))
def test_no_pair_of_states_of_coupled_gates_contracts_slower_than_certified(seed, size, recurrent, bias):
    cell, inputs = random_cell(LSTMCell, seed, size, recurrent, bias)
    with torch.no_grad():
        for part in cell.parameters():
            part[:size] = -part[size : 2 * size]
    proven = prove(cell, inputs, 0.0)
    assert float(proven.box.c.max()) <= 1 + 1e-6
    withstand(cell, inputs, proven, proven.candidates)


@settings(max_examples=15, deadline=None)
@given(
    seed=seeds, size=st.integers(2, 6), groups=st.integers(2, 3), recurrent=st.floats(0.3, 20), bias=st.floats(-3, 3)
)
def test_no_pair_of_states_of_a_cascade_contracts_slower_than_certified(seed, size, groups, recurrent, bias):
    cell, inputs = random_cell(LSTMCell, seed, size, recurrent, bias)
    LSTMCascade(0.99, groups).project(cell, inputs)
    proven = prove(cell, inputs, 0.0)
    assert any(proof.holds and proof.name == "weighted 2-norm" for proof in proven.candidates)
    least = min(proof.rate for proof in proven.candidates)
    # one of each norm that proves it
    withstand(cell, inputs, proven, [proof for proof in proven.candidates if proof.rate == least])


def test_a_cascade_is_certified_whatever_comes_down_and_refused_once_a_loop_is_closed():
    torch.manual_seed(0)
    model = build_language_model(9, LSTMCell, Recurrent, 3, 8)
    cell = model.cells[0]
    with torch.no_grad():
        cell.weight_hh.mul_(30)
    project(LSTMCascade(0.99), model)
    assert certify(model).rate <= 0.99
    with torch.no_grad():
        cell.recurrent_blocks()["W_z"][0, 7] = 5.0
    assert not certify(model).holds


@settings(max_examples=40, deadline=None)
@given(seed=seeds, size=st.integers(1, 12), density=st.floats(0, 0.4))
def test_places_of_a_cascade_follow_who_hears_whom(seed, size, density):
    torch.manual_seed(seed)
    matrix = torch.randn(size, size) * (torch.rand(size, size) < density)
    place = levels(matrix)
    distance = scipy.sparse.csgraph.shortest_path((matrix != 0).double().numpy(), unweighted=True)
    hears = np.isfinite(distance)
    for j, other in itertools.product(range(size), repeat=2):
        if hears[j, other]:
            assert place[j] == place[other] if hears[other, j] else place[j] > place[other]
    assert set(place.tolist()) == set(range(int(place.max()) + 1))


def test_coupled_gates_are_certified_where_others_with_as_long_a_memory_are_not():
    torch.manual_seed(0)
    model = build_language_model(9, LSTMCell, Recurrent, 3, 8)
    cell = model.cells[0]
    with torch.no_grad():
        cell.weight_hh.mul_(0.1)
        cell.bias_ih[8:16] += 5.0
        assert not certify(model).holds
        for part in cell.parameters():
            part[:8] = -part[8:16]
    certificate = certify(model)
    assert certificate.holds
    assert certificate.proofs[0].bounds["f_∞"] > 0.99


def test_the_certified_rate_of_an_rnn_is_attained():
    cell, inputs = random_cell(RNNCell, 0, 5, 0.8, 0)
    with torch.no_grad():
        cell.bias_ih.zero_()
        cell.bias_hh.zero_()
        inputs[0] = 0  # tanh has slope 1 at the state zero
    proven = prove(cell, inputs, 0.0)
    double(cell)
    best = next(proof for proof in proven.candidates if proof.name == "2-norm")
    direction = torch.linalg.svd(cell.weight_hh).Vh[0] * 1e-5
    pair = type(proven.box)(torch.stack([direction, -direction])[:, None])
    assert float(ratio(cell, best.norm, pair, inputs[:1].double())) >= best.rate * (1 - 1e-6)


@settings(max_examples=20, deadline=None)
@given(
    seed=seeds, kind=st.sampled_from([RNNCell, LSTMCell, GRUCell]), recurrent=st.floats(0.05, 3), bias=st.floats(-2, 6)
)
def test_no_input_leads_out_of_the_certified_box_and_radius(seed, kind, recurrent, bias):
    cell, inputs = random_cell(kind, seed, 5, recurrent, bias)
    proven = prove(cell, inputs, 0.0)
    double(cell)
    state = cell.zeros(16)
    for step in range(60):
        # random words, and in half of the streams the word that moves the state farthest
        word = inputs.double()[torch.randint(len(inputs), (16,))]
        if step % 2:
            every = [cell(x.double().expand(16, -1), state) for x in inputs]
            far = torch.stack([torch.cat(list(s), 1).abs().sum(1) for s in every]).argmax(0)
            word[:8] = inputs.double()[far[:8]]
        state = cell(word, state)
        for part, bound in zip(state, proven.box, strict=True):
            assert bool((part.abs() <= bound).all())
        for proof in proven.candidates:
            if proof.holds:
                assert float(proof.norm(state).max()) <= proof.radius


@settings(max_examples=15, deadline=None)
@given(
    seed=seeds,
    kind=st.sampled_from([RNNCell, LSTMCell, GRUCell]),
    layers=st.integers(1, 2),
    recurrent=st.floats(0.05, 0.8),
    decoder=st.floats(0.1, 10),
    units=st.sampled_from([0, 8]),
)
def test_truncation_moves_no_log_probability_by_more_than_certified(seed, kind, layers, recurrent, decoder, units):
    torch.manual_seed(seed)
    model = build_language_model(17, kind, Recurrent, 4, 5, num_layers=layers).eval()
    with torch.no_grad():
        model.inputs.weight.mul_(10)
        model.objective.weight.mul_(decoder)
        for cell in model.cells:
            cell.weight_hh.mul_(recurrent)
    certificate = certify(model, search_units=units)
    model.double()
    words = torch.randint(17, (60, 1))
    with torch.no_grad():
        x = model.inputs(words)
        features, _ = model.backbone(x, model.backbone.initial_state(1))
        whole = model.objective.logits(features).log_softmax(-1)
        for k in (1, 2, 3, 5, 8, 13, 21):
            states = truncated_states(list(model.cells), x, k)
            cut = model.objective.logits(states[-1].h).log_softmax(-1)
            assert float((whole - cut).abs().max()) <= certificate.gap(k) + 1e-12


def test_the_output_gate_alone_can_close_the_loop():
    """One unit that forgets at once, whose output gate listens to its own output: λ is that of this path."""
    cell = LSTMCell(1, 1)
    with torch.no_grad():
        for part in cell.parameters():
            part.zero_()
        cell.bias_ih.copy_(torch.tensor([9.0, -9.0, 9.0, 0.0]))  # i open, f shut, z = 1: c stays near 1
        cell.weight_hh[3] = 3.9
    inputs = torch.zeros(1, 1)
    proven = prove(cell, inputs, 0.0)
    double(cell)
    for proof in proven.candidates:
        assert proof.holds
        assert attack(cell, proven.box, proof, inputs.double(), steps=60) <= proof.rate * _TOLERANCE
    least = min(proof.rate for proof in proven.candidates)
    pair = LSTMState(torch.tensor([[[1e-6]], [[-1e-6]]]).double(), torch.ones(2, 1, 1).double())
    h = proven.candidates[0].norm
    assert float(ratio(cell, h, pair, inputs.double())) >= 0.9 * least


@settings(max_examples=5, deadline=None)
@given(seed=seeds, size=st.integers(2, 10), scale=st.sampled_from([1.0, 8.0]))
@pytest.mark.parametrize("constraint", [LSTMRowwise, LSTMSpectral, LSTMCascade, GRURowwise])
def test_norms_that_suit_the_layers_above_prove_no_less_and_hold(constraint, seed, size, scale):
    """Each layer by the norm that suits it alone is what they are held against."""
    torch.manual_seed(seed)
    set_of_cells = constraint(0.9)
    model = build_language_model(23, set_of_cells.cell_type, Recurrent, 5, size, num_layers=2).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    project(set_of_cells, model)
    certificate = certify(model, search_units=0)
    alone = _composed(model, certificate.proofs, through=False)
    chosen = _composed(model, certificate.proofs, through=True)
    assert certificate.context(0.01) <= alone.context(0.01)
    assert all(certificate.gap(k) <= alone.gap(k) for k in (0, 1, 5, 20, 100))
    model.double()
    words = torch.randint(23, (40, 1))
    with torch.no_grad():
        x = model.inputs(words)
        features, _ = model.backbone(x, model.backbone.initial_state(1))
        whole = model.objective.logits(features).log_softmax(-1)
        for k in (1, 3, 8, 21):
            cut = model.objective.logits(truncated_states(list(model.cells), x, k)[-1].h).log_softmax(-1)
            assert float((whole - cut).abs().max()) <= chosen.gap(k) + 1e-12


def test_a_norm_that_suits_a_lower_layer_alone_may_ask_for_several_times_the_inputs():
    torch.manual_seed(0)
    model = build_language_model(23, LSTMCell, Recurrent, 5, 8, num_layers=2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8)
    project(LSTMSpectral(0.9), model)
    certificate = certify(model)
    assert 4 * certificate.context(0.01) < _composed(model, certificate.proofs, through=False).context(0.01)


@pytest.mark.parametrize("kind", [RNNCell, LSTMCell, GRUCell])
def test_what_a_lower_layer_still_remembers_moves_the_upper_one(kind):
    torch.manual_seed(0)
    model = build_language_model(5, kind, Recurrent, 3, 4, num_layers=2).eval()
    below, above = model.cells
    with torch.no_grad():
        above.weight_hh.mul_(1e-4)
        below.weight_hh.mul_(1e-3)
        if kind is RNNCell:
            below.weight_hh.copy_(0.95 * torch.eye(4))
        else:
            below.bias_ih[4:8] = 4.0
            above.bias_ih[4:8] = -4.0
        below.weight_ih.mul_(0.1)
    certificate = certify(model)
    model.double()
    words = torch.randint(5, (120, 1))
    with torch.no_grad():
        x = model.inputs(words)
        features, _ = model.backbone(x, model.backbone.initial_state(1))
        whole = model.objective.logits(features).log_softmax(-1)
        for k in (1, 4, 16, 48):
            cut = model.objective.logits(truncated_states([below, above], x, k)[-1].h).log_softmax(-1)
            gap = float((whole - cut).abs().max())
            assert gap <= certificate.gap(k)
    assert gap > 1e-6  # far more than the upper layer alone could remember


@settings(max_examples=10, deadline=None)
@given(seed=seeds, kind=st.sampled_from([RNNCell, LSTMCell, GRUCell]), rate=st.floats(0.1, 0.7))
def test_the_certificate_for_training_holds_under_every_dropout_mask(seed, kind, rate):
    cell, inputs = random_cell(kind, seed, 4, 0.15, 0)
    proven = prove(cell, inputs, rate)
    double(cell)
    masks = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)), dtype=torch.float64) / (1 - rate)
    masked = (inputs.double()[:, None] * masks).flatten(0, 1)
    state = cell.zeros(len(masked))
    for _ in range(30):
        state = cell(masked, state)
        assert all(bool((part.abs() <= bound).all()) for part, bound in zip(state, proven.box, strict=True))
    for proof in proven.candidates:
        if proof.holds:
            assert attack(cell, proven.box, proof, masked, steps=3) <= proof.rate * _TOLERANCE


def as_coded_and_saturated(size=4):
    """An LSTM on the as-coded set whose state zero repels its neighbours."""
    torch.manual_seed(0)
    model = build_language_model(7, LSTMCell, Recurrent, 3, size).eval()
    cell = model.cells[0]
    with torch.no_grad():
        cell.weight_hh.fill_(1e-6)
        cell.weight_hh.view(4, size, size)[2] += torch.eye(size)  # W_z, columns of equal signs
        cell.bias_ih.zero_()
        cell.bias_hh.zero_()
        for gate in (0, 1, 3):
            cell.bias_ih[gate * size : (gate + 1) * size] = 8  # i, f and o open: the biases are free
        model.inputs.weight.mul_(1e-3)
    project(LSTMAsCoded(), model)
    return model


def test_the_as_coded_condition_bounds_columns_and_not_rows():
    cell = LSTMCell(6, 6)
    with torch.no_grad():
        cell.weight_hh.fill_(1e-9)
        cell.weight_hh[0] = 1.0  # all of W_i in one row: each column as long as it may be, the row d times as long
    LSTMAsCoded().project(cell, None)
    rows, columns = (cell.recurrent_blocks()["W_i"].abs().sum(axis) for axis in (1, 0))
    assert_close(columns, torch.full((6,), 0.395))
    assert float(rows.detach().max()) == pytest.approx(6 * 0.395, rel=1e-4)


def test_an_as_coded_lstm_is_refused_and_does_expand():
    model = as_coded_and_saturated()
    certificate = certify(model)
    assert not certificate.holds
    assert certificate.gap(1000) == math.inf
    assert certificate.context(1.0) is None
    assert "loop gain" in certificate.summary()["reason"]

    cell = double(model.cells[0])
    size = cell.hidden_size
    x = torch.zeros(1, 3, dtype=torch.float64)
    start = torch.zeros(1, 2 * size, dtype=torch.float64)

    def step(flat):
        return torch.cat(list(cell(x, LSTMState(*flat.split(size, 1)))), 1)

    jacobian = torch.autograd.functional.jacobian(step, start)[0, :, 0]
    assert float(torch.linalg.eigvals(jacobian).abs().max()) > 1.05  # expands whatever the norm, and however many steps
    near, far = start, start + 1e-6
    for _ in range(400):
        near, far = step(near), step(far)
    assert float((near - far).norm()) > 1  # and never forgets the difference


def test_unstable_models_are_refused_with_the_reason():
    torch.manual_seed(0)
    for kind, scale in ((RNNCell, 3.0), (LSTMCell, 3.0), (GRUCell, 3.0)):
        model = build_language_model(7, kind, Recurrent, 3, 8)
        with torch.no_grad():
            model.cells[0].weight_hh.mul_(scale)
        summary = certify(model).summary()
        assert not summary["certified"]
        assert "below 1" in summary["reason"]


def test_the_certified_rate_of_a_gru_is_attained_where_one_path_alone_leads_back():
    """One unit whose update gate is a constant and whose reset gate is open: λ = z + (1 - z) W_n, at the state zero."""
    cell = GRUCell(3, 1)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        cell.weight_hh[2], cell.bias_ih[0], cell.bias_ih[1] = 0.5, 40.0, 1.0
    proven = prove(cell, torch.zeros(1, 3), 0.0)
    z = 1 / (1 + math.exp(-1))
    least = min(proof.rate for proof in proven.candidates)
    assert least == pytest.approx(z + (1 - z) * 0.5, rel=1e-5)
    double(cell)
    pair = RNNState(torch.tensor([[[1e-6]], [[-1e-6]]], dtype=torch.float64))
    assert float(ratio(cell, proven.candidates[0].norm, pair, torch.zeros(1, 3).double())) >= least * (1 - 1e-5)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_bound_of_a_gru_knows_that_its_reset_gate_may_close(sign):
    """b_hn pulls the candidate towards zero while the gate is open; the one word that closes it frees it."""
    cell = GRUCell(1, 1).requires_grad_(False)
    for parameter in cell.parameters():
        parameter.zero_()
    cell.weight_ih[0], cell.bias_ih[2], cell.bias_hh[2] = 40.0, 2.0 * sign, -1.0 * sign
    words = torch.tensor([[1.0], [-1.0]])
    (bound,) = prove(cell, words, 0.0).box
    double(cell)
    state = cell.zeros(1)
    for _ in range(60):
        state = cell(words[1:].double(), state)
    assert float(state.h.abs()) <= float(bound)
    assert float(bound) == pytest.approx(math.tanh(2), rel=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, size=st.integers(1, 6), scale=st.floats(0.3, 30), limit=st.sampled_from([0.6, 0.9, 0.999]))
def test_no_pair_of_states_of_a_projected_gru_contracts_slower_than_certified(seed, size, scale, limit):
    cell, inputs = random_cell(GRUCell, seed, size, scale, 2.0)
    with torch.no_grad():
        cell.bias_hh.mul_(scale)
    GRURowwise(limit).project(cell, inputs)
    proven = prove(cell, inputs, 0.0)
    assert min(proof.rate for proof in proven.candidates) <= limit * (1 + 1e-6)
    withstand(cell, inputs, proven, proven.candidates)


def test_a_forget_gate_that_rounds_to_one_is_refused():
    model = build_language_model(7, LSTMCell, Recurrent, 3, 8)
    with torch.no_grad():
        model.cells[0].bias_ih[8:16] = 60
    assert "never forgets" in certify(model).summary()["reason"]


@settings(max_examples=8, deadline=None)
@given(seed=seeds, size=st.integers(1, 12), scale=st.floats(0.1, 30), stack=st.booleans())
@pytest.mark.parametrize(
    "constraint",
    [
        LSTMComparison,
        LSTMRowwise,
        LSTMSpectral,
        LSTMGatedLinear,
        LSTMCoupled,
        LSTMOutputGate,
        LSTMCascade,
        partial(LSTMCascade, groups=5),
        GRURowwise,
        partial(GRURowwise, update=0.5),
        GRUGatedLinear,
    ],
)
@pytest.mark.parametrize("limit", [0.9, 0.999])
def test_what_is_projected_is_certified_at_its_limit(constraint, limit, seed, size, scale, stack):
    torch.manual_seed(seed)
    set_of_cells = constraint(limit)
    model = build_language_model(23, set_of_cells.cell_type, Recurrent, 5, size, num_layers=2 if stack else 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    project(set_of_cells, model)
    certificate = certify(model)
    assert certificate.holds
    assert certificate.rate <= limit * (1 + 1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=seeds, size=st.integers(1, 12), scale=st.floats(0.1, 30))
def test_the_papers_conditions_are_certified(seed, size, scale):
    torch.manual_seed(seed)
    for kind, constraint in ((RNNCell, SpectralNormBall(0.99)), (LSTMCell, LSTMStated())):
        model = build_language_model(23, kind, Recurrent, 5, size)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(scale)
        project(constraint, model)
        certificate = certify(model)
        assert certificate.holds
        if kind is RNNCell:
            assert certificate.rate <= 0.99 * (1 + 1e-8)


def test_k_of_epsilon_is_the_least_k_whose_gap_is_below_it():
    torch.manual_seed(0)
    for layers in (1, 2):
        model = build_language_model(50, RNNCell, Recurrent, 6, 8, num_layers=layers)
        project(SpectralNormBall(0.9), model)
        certificate = certify(model)
        for epsilon in (1.0, 0.1, 1e-3):
            k = certificate.context(epsilon)
            assert certificate.gap(k) <= epsilon
            assert k == 0 or certificate.gap(k - 1) > epsilon


def test_a_k_beyond_ten_million_is_none():
    model = build_language_model(50, RNNCell, Recurrent, 6, 8)
    project(SpectralNormBall(0.9), model)
    certificate = certify(model, search_units=0)
    slow = replace(certificate.layers[0], rate=1 - 1e-6)
    certificate = replace(certificate, layers=(slow,), beside=None)
    scale = certificate.decoder * slow.radius
    assert certificate.context(scale * math.exp(-5)) == pytest.approx(5e6, rel=0.01)
    assert certificate.context(scale * math.exp(-15)) is None


def test_the_summary_says_what_holds_with_dropout():
    model = build_language_model(50, LSTMCell, Recurrent, 6, 8, dropout=0.5)
    project(LSTMStated(), model)
    summary = summarise(model)
    assert summary["training"]["rate"] > summary["rate"]
    assert "training" not in summarise(build_language_model(5, RNNCell, Recurrent, 2, 2))


@settings(max_examples=30, deadline=None)
@given(seed=seeds, count=st.integers(2, 60), size=st.integers(1, 6), p=st.sampled_from([1.0, 2.0]), tail=st.booleans())
def test_the_diameter_is_the_largest_distance(seed, count, size, p, tail):
    torch.manual_seed(seed)
    rows = torch.randn(count, size, dtype=torch.float64)
    if tail:
        rows = rows**3
    truth = float(torch.stack([(rows - row).norm(p=p, dim=1) for row in rows]).max())
    assert diameter(rows, p) == pytest.approx(truth, rel=1e-12)
    assert truth * (1 - 1e-12) <= diameter(rows, p, exact=False) <= 2 * truth + 1e-12


def test_balancing_shrinks_what_a_change_of_units_blew_up():
    torch.manual_seed(0)
    matrix = torch.randn(8, 8, dtype=torch.float64)
    units = torch.logspace(-2, 2, 8, dtype=torch.float64)
    scaled = units[:, None] * matrix / units
    weights = balance(scaled)
    assert (weights[:, None] * scaled / weights).norm() == pytest.approx(float(matrix.norm()), rel=0.1)
    assert scaled.norm() > 100 * matrix.norm()


def random_matrix(seed: int, size: int, shear: float = 0.5) -> torch.Tensor:
    """(D, D), far from normal, its units of different scales."""
    torch.manual_seed(seed)
    units = torch.exp(shear * torch.randn(size, dtype=torch.float64))
    return units[:, None] * torch.randn(size, size, dtype=torch.float64) / units


@settings(max_examples=15, deadline=None)
@given(seed=seeds, size=st.integers(1, 6))
def test_no_slopes_grow_a_difference_beyond_the_rate_of_a_quadratic_norm(seed, size):
    """‖diag(d) A‖ in a norm is convex in d, so some corner is the worst of all d in [0, 1]: every one is tried."""
    matrix = random_matrix(seed, size)
    corners = torch.tensor(list(itertools.product([0.0, 1.0], repeat=size)), dtype=torch.float64)
    found = list(full_norms(matrix))
    assert found
    for rate, norm in found:
        root = torch.linalg.cholesky(norm.matrix).T * norm.weights.h  # ‖s‖ = ‖root h‖_2
        steps = root @ (corners[:, :, None] * matrix) @ torch.linalg.inv(root)
        assert float(torch.linalg.matrix_norm(steps, 2).max()) <= rate * (1 + 1e-8)


@pytest.mark.slow
def test_no_ascent_over_slopes_and_differences_beats_a_quadratic_norm():
    worst = 0.0
    for seed in range(12):
        size = 4 + 3 * seed
        matrix = random_matrix(seed, size, 0.2 * (seed % 4))
        for rate, norm in full_norms(matrix):
            logits = torch.randn(64, size, dtype=torch.float64).requires_grad_()
            delta = torch.randn(64, size, dtype=torch.float64).requires_grad_()
            adam = torch.optim.Adam([logits, delta], lr=0.1)
            for _ in range(150):
                after = RNNState(torch.sigmoid(logits) * (delta @ matrix.T))
                share = norm(after) / norm(RNNState(delta)) / rate
                worst = max(worst, float(share.detach().max()))
                for part, gradient in zip(
                    (logits, delta), torch.autograd.grad(-share.log().sum(), (logits, delta)), strict=True
                ):
                    part.grad = gradient
                adam.step()
    assert 0.9 < worst <= 1 + 1e-8, "some rates are nearly attained, and none is exceeded"


@settings(max_examples=15, deadline=None)
@given(seed=seeds, size=st.integers(1, 6), recurrent=st.floats(0.05, 1.6), bias=st.floats(-1, 1))
def test_no_pair_of_states_contracts_slower_than_in_the_best_norms(seed, size, recurrent, bias):
    cell, inputs = random_cell(RNNCell, seed, size, recurrent, 0)
    proven = prove(cell, inputs, 0.0)
    proofs = proven.searched()
    assert min(proof.rate for proof in proofs) <= min(proof.rate for proof in proven.candidates) * 1.01
    withstand(cell, inputs, proven, proofs[-2:])


@settings(max_examples=15, deadline=None)
@given(seed=seeds, size=st.integers(1, 6))
def test_a_quadratic_norm_bounds_what_it_is_asked_for(seed, size):
    *_, (_, norm) = full_norms(random_matrix(seed, size))
    box = RNNState(torch.rand(size, dtype=torch.float64))
    states = (2 * torch.rand(200, size, dtype=torch.float64) - 1) * box.h
    states[:100] = states[:100].sign() * box.h
    sizes = norm(RNNState(states))
    assert float(sizes.max()) <= norm.over(box)
    rows = torch.randn(7, size, dtype=torch.float64)
    bounds = torch.linalg.vector_norm(norm.readout(rows), ord=norm.dual, dim=1)
    assert bool(((states @ rows.T).abs() <= sizes[:, None] * bounds * (1 + 1e-12)).all())
    assert bool((states.norm(dim=1) <= sizes * norm.hidden * (1 + 1e-12)).all())
    assert bool((states.abs() <= sizes[:, None] / norm.weights.h * (1 + 1e-12)).all())


def rates_of(matrix: torch.Tensor) -> tuple[float, float]:
    """The least rates found in a weighted 2-norm and in a quadratic norm."""
    weights = [float(torch.linalg.matrix_norm(w[:, None] * matrix / w, 2)) for w in best_weights(matrix)]
    return min(weights), min(rate for rate, _ in full_norms(matrix))


def test_where_the_best_rates_are_known_they_are_found():
    torch.manual_seed(0)
    some = torch.randn(6, 6, dtype=torch.float64)
    symmetric = some + some.T
    radius = float(torch.linalg.eigvalsh(symmetric).abs().max())
    assert rates_of(symmetric) == pytest.approx((radius, radius), rel=1e-3)  # none is below the spectral radius
    positive = some.abs()  # the vectors of Perron balance it
    radius = float(torch.linalg.eigvals(positive).abs().max())
    assert rates_of(positive) == pytest.approx((radius, radius), rel=1e-3)
    # Orthogonal, so the 2-norm is 1 under any weights; so is a numerical radius of eigenvalues on the unit circle.
    turn = torch.linalg.qr(some)[0]
    assert rates_of(turn)[1] == pytest.approx(1, rel=1e-3)
    for seed in range(5):
        matrix = random_matrix(seed, 7)
        diagonal, full = rates_of(matrix)
        assert diagonal / 2 <= full <= diagonal * (1 + 5e-3)
        assert full >= float(torch.linalg.eigvals(matrix).abs().max()) * (1 - 1e-9)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("full", [False, True])
def test_a_solver_of_the_matrix_inequality_finds_no_lesser_rate(seed, full):
    cvxpy = pytest.importorskip("cvxpy")
    matrix = random_matrix(seed, 4)
    found = rates_of(matrix)[full]
    a, size = matrix.numpy(), len(matrix)

    def room(rate: float) -> float:
        """The largest t with [[λ²P, -AᵀΛ], [-ΛA, 2Λ - P]] >= t; positive where the inequality can be met."""
        diagonal = cvxpy.Variable(size)
        lam = cvxpy.diag(diagonal)
        p = cvxpy.Variable((size, size), symmetric=True) if full else lam
        t = cvxpy.Variable()
        whole = cvxpy.bmat([[rate**2 * p, -a.T @ lam], [-lam @ a, 2 * lam - p]])
        sizes = [cvxpy.sum(diagonal) == size, diagonal >= 1e-4]
        problem = cvxpy.Problem(cvxpy.Maximize(t), [(whole + whole.T) / 2 >> t * np.eye(2 * size), *sizes])
        return problem.solve(solver=cvxpy.CLARABEL)

    assert room(found) > -1e-7
    assert room(found * 0.995) < -1e-5


def stable_rnn(seed: int, layers: int, recurrent: float, size: int = 6):
    """Random weights, projected onto ‖W‖_2 <= 0.999."""
    torch.manual_seed(seed)
    model = build_language_model(9, RNNCell, Recurrent, 3, size, num_layers=layers).eval()
    with torch.no_grad():
        for cell in model.cells:
            cell.weight_hh.mul_(recurrent)
    project(SpectralNormBall(0.999), model)
    return model


def test_the_as_coded_rnn_has_a_certificate_in_a_quadratic_norm_alone():
    torch.manual_seed(0)
    model = build_language_model(9, RNNCell, Recurrent, 3, 8)
    with torch.no_grad():
        model.cells[0].weight_hh.mul_(4)
    project(RNNAsCoded(), model)
    assert not certify(model, search_units=0).holds
    certificate = certify(model)
    assert certificate.holds
    assert isinstance(certificate.layers[0].norm, QuadraticNorm)
    alone = by_norm(model, certificate)
    assert alone["quadratic norm"].context(0.01) == certificate.context(0.01)
    assert not alone["2-norm"].holds
    assert alone["2-norm"].context(0.01) is None


@settings(max_examples=4, deadline=None)
@given(seed=seeds, layers=st.integers(1, 2), recurrent=st.floats(0.1, 4), epsilon=st.sampled_from([1.0, 0.01, 1e-4]))
def test_the_best_norms_never_prove_less_than_the_plain_ones(seed, layers, recurrent, epsilon):
    model = stable_rnn(seed, layers, recurrent)
    plain, best = certify(model, search_units=0), certify(model)
    assert best.holds
    assert best.rate <= plain.rate
    assert best.context(epsilon) <= plain.context(epsilon)
    for k in (0, 1, 5, 30, 200):
        assert best.gap(k) <= plain.gap(k)
        assert best.state_gap(k) <= plain.state_gap(k)


@pytest.mark.parametrize("layers", [1, 2])
def test_no_state_and_no_words_move_a_log_probability_by_more_than_the_best_norms_prove(layers):
    """A state of the box k words back against the zero state, along the same words, by gradient ascent."""
    model = stable_rnn(0, layers, 4.0, size=8)
    certificate, cells = certify(model), list(model.cells)
    assert certificate.context(0.01) < certify(model, search_units=0).context(0.01) / 3
    model.double().requires_grad_(False)
    words = model.inputs.weight
    boxes = [proofs.box.h for proofs in certificate.proofs]
    tries = 12
    signs = [(torch.rand(tries, len(box), dtype=torch.float64) * 4 - 2).requires_grad_() for box in boxes]
    adam, nearest = torch.optim.Adam(signs, lr=0.2), 0.0
    for k in (1, 3, 8, 20):
        ids = torch.randint(len(words), (k, tries))
        for _ in range(40):
            pair = [RNNState(torch.stack([box * s.clamp(-1, 1), 0 * s])) for box, s in zip(boxes, signs, strict=True)]
            for at in ids:
                below = words[at]
                for number, cell in enumerate(cells):
                    pair[number] = cell(below, pair[number])
                    below = pair[number].h
            one, other = model.objective.logits(pair[-1].h).log_softmax(-1)
            moved = (one - other).abs().amax(1)
            nearest = max(nearest, float(moved.detach().max()) / certificate.gap(k))
            for sign, gradient in zip(signs, torch.autograd.grad(-moved.sum(), signs), strict=True):
                sign.grad = gradient
            adam.step()
    assert 1e-3 < nearest <= _TOLERANCE


def test_a_layer_that_is_too_large_is_not_searched_and_says_so():
    model = build_language_model(9, RNNCell, Recurrent, 3, 8)
    (attempts,) = certify(model, search_units=7).summary()["attempts"]
    assert "not computed: 8 units are more than 7" in [attempt["reason"] for attempt in attempts]


def test_negative_self_feedback_is_no_contraction_of_a_discrete_step():
    """Its log-norm of -3 makes h' = -h + tanh(W h) contract in continuous time; h' = tanh(W h) goes back and forth."""
    model = build_language_model(2, RNNCell, Recurrent, 1, 1)
    with torch.no_grad():
        for part in model.cells[0].parameters():
            part.zero_()
        model.cells[0].weight_hh.fill_(-3.0)
    assert certify(model).rate >= 3
    cell = double(model.cells[0])
    one = other = RNNState(torch.tensor([[0.5]], dtype=torch.float64))
    other = RNNState(-other.h)
    for _ in range(100):
        one, other = (cell(torch.zeros(1, 1, dtype=torch.float64), state) for state in (one, other))
    assert float((one.h - other.h).abs()) > 1.9


@settings(max_examples=15, deadline=None)
@given(seed=seeds, size=st.integers(1, 6), scale=st.floats(0.0, 0.15))
def test_no_pair_of_states_contracts_slower_than_by_the_incremental_stability_of_an_lstm(seed, size, scale):
    cell, inputs = random_cell(LSTMCell, seed, size, 1.0, 0)
    with torch.no_grad():
        for part in cell.parameters():
            part.mul_(scale)
    proven = prove(cell, inputs, 0.0)
    (proof,) = [proof for proof in proven.candidates if proof.name == "2-norm, δISS"]
    assert proof.holds
    withstand(cell, inputs, proven, [proof])


def test_two_biases_that_cancel_leave_the_incremental_stability_of_an_lstm_as_it_is():
    torch.manual_seed(0)
    cell, words = LSTMCell(2, 3), torch.zeros(1, 2)
    cell.weight_hh.data.mul_(0.1)
    rates = []
    for added in (0.0, 3.0):
        with torch.no_grad():
            cell.bias_ih.fill_(added)
            cell.bias_hh.fill_(-added)
        rates += [one.rate for one in prove(cell, words, 0.0).candidates if one.name == "2-norm, δISS"]
    assert rates[0] == pytest.approx(rates[1], rel=1e-12)
    assert rates[0] < 1


@settings(max_examples=30, deadline=None)
@given(seed=seeds, size=st.integers(1, 6), scale=st.floats(0.0, 0.6))
def test_the_incremental_stability_of_an_lstm_is_proven_exactly_where_the_published_condition_holds(seed, size, scale):
    """As ``deltaiss_residuals`` of Bonassi's ssnet has it, for inputs of at most 1: -1 + f + o a + b - f b < 0."""
    torch.manual_seed(seed)
    cell = LSTMCell(3, size).double().requires_grad_(False)
    for part in cell.parameters():
        part.mul_(scale * 3)
    words = torch.cat([torch.eye(3), -torch.ones(1, 3)]).double()
    (proof,) = [proof for proof in prove(cell, words, 0.0).candidates if proof.name == "2-norm, δISS"]
    blocks = torch.cat([cell.weight_ih, cell.weight_hh, (cell.bias_ih + cell.bias_hh)[:, None]], 1).view(4, size, -1)
    reach = torch.linalg.matrix_norm(blocks, math.inf)
    i, f, _, o = torch.sigmoid(reach).tolist()
    z = math.tanh(reach[2])
    w_i, w_f, w_z, w_o = torch.linalg.matrix_norm(cell.weight_hh.view(4, size, size), 2).tolist()
    c = i * z / (1 - f)
    a = w_f * c / 4 + i * w_z + w_i * z / 4
    b = math.tanh(c) * w_o / 4
    residual = -1 + f + o * a + b - f * b
    if abs(residual) > 1e-6:
        assert proof.holds == (residual < 0)


@given(size=st.integers(1, 9), share=st.floats(0, 0.5), seed=seeds)
def test_units_come_after_those_that_they_depend_on_and_else_by_their_numbers(size, share, seed):
    matrix = torch.rand(size, size, generator=torch.Generator().manual_seed(seed)).lt(share).double()
    graph = nx.DiGraph([(int(other), int(unit)) for unit, other in matrix.nonzero()])
    graph.add_nodes_from(range(size))
    parts = nx.condensation(graph)
    members = {part: sorted(parts.nodes[part]["members"]) for part in parts}
    expected = [members[part] for part in nx.lexicographical_topological_sort(parts, key=lambda part: members[part][0])]
    assert order(matrix) == expected
