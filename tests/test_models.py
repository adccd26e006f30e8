"""Cells, unrolling, the truncated network, the softmax."""

import itertools
from functools import partial
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from stablernn.benchmarks.plain import PlainModel
from stablernn.models.cells.base import Cell
from stablernn.models.cells.gru import GRUCell
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.cells.rnn import RNNCell
from stablernn.models.cells.state import LSTMState, RNNState
from stablernn.models.feed_forward import FeedForward
from stablernn.models.heads import softmax
from stablernn.models.heads.softmax import FullSoftmax
from stablernn.models.parallel.iterations import newton
from stablernn.models.precision import Precision
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_language_model
from stablernn.models.state import detach, rebuild, tensors
from stablernn.stability import certify
from stablernn.stability.constraints.lstm import LSTMStated
from stablernn.stability.constraints.spectral import SpectralNormBall
from stablernn.utils.errors import ConfigurationError

CELLS = [RNNCell, LSTMCell, GRUCell]
shapes = st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(1, 4), st.integers(1, 5))


def random_state(cell: Cell, *axes: int):
    zeros = cell.zeros(*axes)
    return type(zeros)(*(torch.randn_like(part).tanh() for part in zeros))


@pytest.mark.parametrize("kind", CELLS)
@settings(max_examples=20, deadline=None)
@given(shape=shapes, seed=st.integers(0, 1000))
def test_the_fused_sequence_is_the_plain_loop(kind, shape, seed):
    torch.manual_seed(seed)
    time, batch, inputs, hidden = shape
    cell = kind(inputs, hidden).double()
    x = torch.randn(time, batch, inputs, dtype=torch.float64, requires_grad=True)
    state = random_state(cell, batch)
    fused, loop = cell.sequence(x, state), Cell.sequence(cell, x, state)
    assert_close(fused, loop)
    weight = torch.randn_like(loop[0])
    wanted = torch.autograd.grad((loop[0] * weight).sum(), [x, *cell.parameters()])
    assert_close(torch.autograd.grad((fused[0] * weight).sum(), [x, *cell.parameters()]), wanted)


@pytest.mark.parametrize(("kind", "theirs"), [(RNNCell, nn.RNNCell), (LSTMCell, nn.LSTMCell), (GRUCell, nn.GRUCell)])
def test_one_step_and_its_gradient_are_pytorchs(kind, theirs):
    ours, reference = kind(3, 5), theirs(3, 5)
    reference.load_state_dict(ours.state_dict())
    x, before = torch.randn(4, 3, requires_grad=True), random_state(ours, 4)
    after = reference(x, tuple(before) if len(before) > 1 else before.h)
    after, found = after if len(before) > 1 else (after,), tuple(ours(x, before))
    assert_close(found, after, rtol=0, atol=1e-6)
    weights = [torch.randn_like(part) for part in after]
    gradients = [
        torch.autograd.grad(sum((p * w).sum() for p, w in zip(parts, weights, strict=True)), [x, *cell.parameters()])
        for parts, cell in ((found, ours), (after, reference))
    ]
    assert_close(*gradients, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", CELLS)
def test_the_gradient_of_a_step_is_that_of_finite_differences(kind):
    cell = kind(3, 4).double()
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    state = [part.requires_grad_() for part in random_state(cell, 2)]
    kind_of_state = type(cell.zeros(1))
    assert torch.autograd.gradcheck(lambda x, *parts: tuple(cell(x, kind_of_state(*parts))), (x, *state))


@pytest.mark.parametrize("kind", CELLS)
def test_a_stack_of_cells_is_pytorchs_stack(kind):
    cells = [kind(3, 5), kind(5, 5)]
    reference = kind.torch_layer(3, 5, num_layers=2)
    names = {f"{name}_l{layer}": value for layer, cell in enumerate(cells) for name, value in cell.state_dict().items()}
    reference.load_state_dict(names)
    x = torch.randn(7, 2, 3)
    backbone = Recurrent(cells)
    y, wanted = backbone(x, backbone.initial_state(2))[0], reference(x)[0]
    assert_close(y, wanted, rtol=0, atol=1e-6)
    ours, theirs = (dict(one.named_parameters()) for one in (backbone, reference))
    weight = torch.randn_like(y)
    for tensor, named in ((y, ours), (wanted, theirs)):
        gradients = torch.autograd.grad((tensor * weight).sum(), list(named.values()))
        named |= dict(zip(named, gradients, strict=True))
    for name, gradient in ours.items():
        _, layer, parameter = name.split(".")
        assert_close(gradient, theirs[f"{parameter}_l{layer}"], rtol=1e-5, atol=1e-6)


def cut_windows(cells, x, k):
    """h_t^(k) by its definition: run the cells from zero over x_{t-k+1..t} alone."""
    rows = []
    for t in range(len(x)):
        states = tuple(cell.zeros(x.shape[1]) for cell in cells)
        for step in x[max(0, t - k + 1) : t + 1]:
            after = []
            for cell, state in zip(cells, states, strict=True):
                after.append(cell(step if not after else after[-1].h, state))
            states = tuple(after)
        rows.append(states[-1].h)
    return torch.stack(rows)


@pytest.mark.parametrize("kind", CELLS)
@settings(max_examples=25, deadline=None)
@given(shape=shapes, k=st.integers(1, 12), layers=st.integers(1, 3), seed=st.integers(0, 1000))
def test_the_layered_network_is_every_window_run_from_zero(kind, shape, k, layers, seed):
    torch.manual_seed(seed)
    time, batch, inputs, hidden = shape
    sizes = [inputs] + [hidden] * layers
    cells = [kind(a, b).double() for a, b in itertools.pairwise(sizes)]
    x = torch.randn(time, batch, inputs, dtype=torch.float64, requires_grad=True)
    backbone = FeedForward(cells, k=k).double()
    fast, slow = backbone(x, backbone.initial_state(batch))[0], cut_windows(cells, x, k)
    assert_close(fast, slow)
    weight = torch.randn_like(slow)
    learned = [x, *backbone.parameters()]
    assert_close(
        torch.autograd.grad((fast * weight).sum(), learned),
        torch.autograd.grad((slow * weight).sum(), learned),
    )


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("make", [Recurrent, lambda cells: FeedForward(cells, k=4)], ids=["recurrent", "feedforward"])
@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, 6), min_size=1, max_size=5), seed=st.integers(0, 1000))
def test_split_windows_give_what_the_whole_gives(kind, make, cuts, seed):
    torch.manual_seed(seed)
    backbone = make([kind(3, 4), kind(4, 4)]).double()
    x = torch.randn(sum(cuts), 2, 3, dtype=torch.float64)
    whole, end = backbone(x, backbone.initial_state(2))
    state, parts = backbone.initial_state(2), []
    for part in x.split(cuts):
        y, state = backbone(part, state)
        parts.append(y)
    assert_close(torch.cat(parts), whole)
    assert_close(list(tensors(state)), list(tensors(end)))


@pytest.mark.parametrize("kind", CELLS)
def test_a_context_as_long_as_the_text_is_the_recurrent_model(kind):
    cells = [kind(3, 4)]
    x = torch.randn(9, 2, 3)
    full, cut = Recurrent(cells), FeedForward(cells, k=9)
    assert_close(cut(x, cut.initial_state(2))[0], full(x, full.initial_state(2))[0])


class Leaky(Cell):
    """A cell that declares no more than it must."""

    GATES = ("a", "b")
    state_type = RNNState

    def step(self, projected, state):
        a, b = (projected + state.h @ self.weight_hh.T).chunk(2, dim=-1)
        return RNNState(torch.sigmoid(a) * state.h + torch.tanh(b) / 2)


def test_a_new_cell_needs_its_gates_its_state_and_its_step_alone():
    torch.manual_seed(0)
    model = build_language_model(7, Leaky, Recurrent, 3, 4)
    (cell,) = model.cells
    assert list(cell.recurrent_blocks()) == ["W_a", "W_b"]
    assert [tuple(block.shape) for block in cell.input_blocks().values()] == [(4, 3), (4, 3)]
    x = torch.randn(6, 2, 3)
    expected = cut_windows([cell], x, 3)
    for k in (FeedForward([cell], k=3), FeedForward([cell], k=3, recompute=True)):
        assert_close(k(x, k.initial_state(2))[0], expected)
    projected, before = torch.randn(6, 2, 8), random_state(cell, 6, 2)
    assert_close(newton(cell, projected, before, cell.zeros(2)), (cell.step(projected, before),) * 2)
    assert "no condition is known for Leaky" in certify(model).summary()["reason"]
    with pytest.raises(ConfigurationError, match="Leaky has no plain counterpart"):
        PlainModel.like(model)
    for constraint in (SpectralNormBall(), LSTMStated()):
        with pytest.raises(ConfigurationError, match="the cell of the model is Leaky"):
            constraint.check(cell)


def test_a_word_more_than_k_steps_back_changes_nothing():
    backbone = FeedForward([LSTMCell(3, 4)], k=5)
    x = torch.randn(12, 1, 3)
    other = x.clone()
    other[3] += 1
    same = (backbone(x, backbone.initial_state(1))[0] == backbone(other, backbone.initial_state(1))[0]).all(-1)[:, 0]
    assert same.tolist() == [True] * 3 + [False] * 5 + [True] * 4


def test_a_feedforward_model_without_context_is_refused():
    with pytest.raises(ConfigurationError, match=r"^k=0: a feed-forward model"):
        FeedForward([RNNCell(2, 2)], k=0)


def test_states_are_rebuilt_and_detached():
    state = (LSTMState(torch.ones(2, requires_grad=True), torch.zeros(2)), RNNState(torch.ones(1)))
    again = rebuild(state, iter(list(tensors(state))))
    assert isinstance(again[0], LSTMState)
    assert again[0].h is state[0].h
    assert not detach(state)[0].h.requires_grad


@settings(max_examples=15, deadline=None)
@given(
    positions=st.integers(1, 120),
    types=st.integers(2, 500),
    chunk=st.sampled_from([1, 5000, 2**25]),
    in_cache=st.sampled_from([1, 10_000, 2**22]),
    seed=st.integers(0, 1000),
)
def test_the_softmax_in_chunks_is_cross_entropy(positions, types, chunk, in_cache, seed):
    with mock.patch.multiple(softmax, _LOGITS_A_CHUNK=chunk, _LOGITS_IN_CACHE=in_cache):
        the_softmax_is_cross_entropy(positions, types, seed)


def the_softmax_is_cross_entropy(positions, types, seed):
    torch.manual_seed(seed)
    head = FullSoftmax(types, 6).double()
    nn.init.normal_(head.weight, std=3)
    nn.init.normal_(head.bias)
    features = torch.randn(positions, 6, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(types, (positions,))
    wanted = nn.functional.cross_entropy(features @ head.weight.T + head.bias, targets, reduction="sum")
    found = head(features, targets)
    assert_close(found, wanted)
    inputs = [features, head.weight, head.bias]
    assert_close(torch.autograd.grad(found / 7, inputs), torch.autograd.grad(wanted / 7, inputs))
    with torch.no_grad():
        assert_close(head(features, targets), wanted.detach())


@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize("logit", [1e4, 200.0, 95.0, -95.0, -200.0, -1e4])
@pytest.mark.parametrize("in_cache", [16, 2**22])
def test_the_softmax_survives_huge_logits(in_cache, logit, precision, monkeypatch):
    """Where exp(z) overflows, or every one of them vanishes, loss and gradient are still those of cross-entropy."""
    monkeypatch.setattr(softmax, "_LOGITS_IN_CACHE", in_cache)
    head = FullSoftmax(3, 2)
    head.precision = precision
    head.weight.data = torch.tensor([[1.0, 0.0], [1.0, 0.25], [1.0, -0.5]])
    features = torch.tensor([[logit, 1.0], [0.5, 1.0]], requires_grad=True)  # one row far off, one as usual
    exact = features.detach().double().requires_grad_()
    targets = torch.tensor([2, 0])
    wanted = nn.functional.cross_entropy(exact @ head.weight.double().T, targets, reduction="sum")
    found = head(features, targets)
    if precision is Precision.BF16 and abs(logit) > 1000:  # of so large a logit bfloat16 keeps no fraction
        assert torch.isfinite(found)
        return
    tolerance = {Precision.FLOAT32: 1e-3, Precision.MIXED: 1e-2, Precision.BF16: 1.0}[precision]
    assert_close(found, wanted, rtol=tolerance, atol=0)
    gradient = torch.autograd.grad(found, features)[0]
    assert_close(gradient.double(), torch.autograd.grad(wanted, exact)[0], rtol=tolerance, atol=tolerance)
    with torch.no_grad():
        assert_close(head(features, targets), wanted.detach(), rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    ("precision", "loss", "gradient"),
    [(Precision.FLOAT32, 1e-7, 1e-6), (Precision.MIXED, 1e-6, 4e-3), (Precision.BF16, 1e-4, 5e-3)],
)
def test_the_softmax_is_as_exact_as_its_precision_says(precision, loss, gradient):
    torch.manual_seed(0)
    head = FullSoftmax(5000, 64)
    head.precision = precision
    nn.init.normal_(head.weight, std=0.3)
    nn.init.normal_(head.bias)
    features, targets = torch.randn(200, 64, requires_grad=True), torch.randint(5000, (200,))
    learned = [features, head.weight, head.bias]
    exact = [tensor.detach().double().requires_grad_() for tensor in learned]
    wanted = nn.functional.cross_entropy(exact[0] @ exact[1].T + exact[2], targets, reduction="sum")
    found = head(features, targets)
    assert abs(found - wanted) / wanted < loss
    for ours, theirs in zip(torch.autograd.grad(found, learned), torch.autograd.grad(wanted, exact), strict=True):
        assert (ours - theirs).norm() / theirs.norm() < gradient


def test_a_tied_decoder_is_the_embedding_and_gets_both_gradients():
    model = build_language_model(7, LSTMCell, Recurrent, 4, 4, tied=True)
    assert model.objective.weight is model.inputs.weight
    loss, _ = model.loss(torch.tensor([[1]]), torch.tensor([[2]]), model.initial_state(1))
    loss.backward()
    assert (model.inputs.weight.grad != 0).any(1).all()  # every row is a decoder row
    assert model.size() == 7 * 4 + 7 + 2 * 16 * 4 + 2 * 16
    with pytest.raises(ConfigurationError, match=r"model\.tied"):
        build_language_model(7, LSTMCell, Recurrent, 3, 4, tied=True)


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("window", [1, 3, 4, 12])
def test_the_gradient_of_feed_forward_training_is_that_of_plain_windows(kind, layers, window):
    """Every (output, input) pair counts, those across the border of a window as well."""
    torch.manual_seed(0)
    k, steps = 4, 12
    model = build_language_model(9, kind, partial(FeedForward, k=k), 3, 5, num_layers=layers).double()
    words, targets = torch.randint(9, (2, steps, 2))

    state = model.initial_state(2)
    for x, y in zip(words.split(window), targets.split(window), strict=True):
        loss, state = model.loss(x, y, state)
        loss.backward()
        state = detach(state)
    ours = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    model.zero_grad()
    for t in range(steps):
        x = model.inputs(words[max(0, t - k + 1) : t + 1])
        for cell in model.cells:
            state, outputs = cell.zeros(2), []
            for step in x:
                state = cell(step, state)
                outputs.append(state.h)
            x = torch.stack(outputs)
        model.objective(x[-1], targets[t]).backward()
    for name, parameter in model.named_parameters():
        assert_close(ours[name], parameter.grad, rtol=1e-9, atol=1e-12)
