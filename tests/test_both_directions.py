"""Both directions: the network as PyTorch has it, padding that changes nothing, truncation, and what it refuses."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.testing import assert_close

from stablernn.models.both_directions import BothDirections, both_directions
from stablernn.models.cells.clockwork import ClockworkCell
from stablernn.models.cells.gru import GRUCell
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.cells.rnn import RNNCell
from stablernn.models.feed_forward import truncated_states
from stablernn.models.sequence_model import SequenceModel, build_model
from stablernn.stability.constraints.base import Unconstrained
from stablernn.tasks.base import Inputs, Interface, Outputs
from stablernn.tasks.sequences import SequenceBatches, Sequences
from stablernn.training.evaluate import score
from stablernn.training.step import Step
from stablernn.utils.errors import ConfigurationError, NotApplicableError

SLOTS = Interface(Inputs("finite", 11), Outputs("categorical", 7))
LENGTHS = torch.tensor([9, 1, 4, 9, 6])


def model_of(cell=LSTMCell, layers=1, k=None, dropout=0.0, size=4) -> SequenceModel:
    return build_model(SLOTS, both_directions(cell, k), 3, size, layers, dropout).double()


def sentences(lengths=LENGTHS) -> list[torch.Tensor]:
    return [torch.randint(11, (length,)) for length in lengths.tolist()]


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize(("cell", "layer"), [(LSTMCell, nn.LSTM), (GRUCell, nn.GRU), (RNNCell, nn.RNN)])
def test_it_is_the_network_of_pytorch_on_packed_sequences(cell, layer, layers):
    theirs = layer(3, 4, layers, bidirectional=True, dtype=torch.float64)
    ours = both_directions(cell)(3, 4, layers, 0.0).double()
    with torch.no_grad():
        for number, pair in enumerate(ours.cells_by_layer):
            for one, end in zip(pair, ("", "_reverse"), strict=True):
                for name, parameter in one.named_parameters():
                    parameter.copy_(getattr(theirs, f"{name}_l{number}{end}"))
    x = torch.randn(9, 5, 3, dtype=torch.float64, requires_grad=True)
    packed = pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
    expected, _ = pad_packed_sequence(theirs(packed)[0])
    found, state = ours(x, ours.begin(5, LENGTHS))
    inside = torch.arange(9)[:, None] < LENGTHS
    assert_close(found[inside], expected[inside], atol=1e-12, rtol=0)
    weights = torch.randn_like(expected[inside])
    gradients = [torch.autograd.grad((y[inside] * weights).sum(), x)[0] for y in (found, expected)]
    assert_close(*gradients, atol=1e-12, rtol=0)
    assert state.shape == (5, 0)


@pytest.mark.parametrize("k", [None, 1, 3])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_an_update_on_padded_sequences_is_that_on_each_alone(layers, k, accumulate):
    words = sentences()
    split = Sequences(tuple(w.numpy() for w in words), tuple((w % 7).numpy() for w in words))
    batch = SequenceBatches(split, len(words)).batch(0)
    padded = model_of(layers=layers, k=k)
    apart = copy.deepcopy(padded)
    step = Step(padded, Unconstrained(), torch.optim.SGD(padded.parameters(), lr=1.0), 1e9, accumulate=accumulate)
    step(batch.x, batch.y, padded.initial_state(len(words), batch.lengths), batch.mask)
    total = sum(apart.loss(x[:, None], (x % 7)[:, None], apart.initial_state(1))[0] for x in words)
    total.backward()
    nats = float(total.detach())
    assert step.collect()[0] == pytest.approx(nats, rel=1e-12)
    assert score(apart, split).total == pytest.approx(nats, rel=1e-12)
    items = int(LENGTHS.sum())
    for after, before in zip(padded.parameters(), apart.parameters(), strict=True):
        assert_close(after, before - before.grad / items, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("layers", "k"), [(1, 1), (1, 3), (2, 1), (2, 3), (2, 9)])
def test_a_truncated_network_is_itself_on_the_inputs_around_a_position(layers, k):
    whole, cut = model_of(layers=layers), model_of(layers=layers, k=k)
    cut.load_state_dict(whole.state_dict())
    assert cut.backbone.receptive_field == 2 * k - 1
    words = sentences()
    padded = pad_sequence(words, padding_value=1)
    found, _ = cut(padded, cut.initial_state(len(words), LENGTHS))
    for stream, sentence in enumerate(words):
        for t in range(len(sentence)):
            begin = max(0, t - k + 1)
            around = sentence[begin : t + k, None]
            expected, _ = whole(around, whole.initial_state(1))
            assert_close(found[t, stream], expected[t - begin, 0], atol=1e-12, rtol=0)


def test_one_truncated_layer_has_the_truncated_states_of_each_direction():
    model = model_of(GRUCell, k=3)
    x = model.inputs(torch.randint(11, (8, 2)))
    found, _ = model.backbone(x, model.backbone.initial_state(2))
    ((forwards, backwards),) = model.backbone.cells_by_layer
    ahead = truncated_states([forwards], x, 3)[-1].h
    behind = truncated_states([backwards], x.flip(0), 3)[-1].h.flip(0)
    assert_close(found, torch.cat([ahead, behind], -1), atol=1e-12, rtol=0)


def test_what_a_sequence_left_is_no_state_to_go_on_from():
    model = model_of()
    x = torch.zeros(4, 2, dtype=torch.int64)
    _, after = model(x, model.initial_state(2))
    with pytest.raises(ConfigurationError, match="reads a sequence whole"):
        model(x, after)
    with pytest.raises(ConfigurationError, match=r"\(time, batch, ...\)"):
        model(x, model.initial_state(3))
    with pytest.raises(NotApplicableError, match="reads later inputs too"):
        _ = model.cells


def test_dropout_lies_between_the_layers_alone():
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    for layers, alike in ((1, True), (2, False)):
        backbone = both_directions(LSTMCell)(3, 4, layers, 0.5).double()
        first, second = (backbone(x, backbone.initial_state(2))[0] for _ in range(2))
        assert torch.equal(first, second) is alike


def test_a_cell_that_depends_on_the_time_is_not_truncated():
    cell = partial(ClockworkCell, periods=[1, 2])
    assert isinstance(both_directions(cell)(3, 4, 1, 0.0), BothDirections)
    with pytest.raises(ConfigurationError, match="depends on the time"):
        both_directions(cell, 3)(3, 4, 1, 0.0)
    with pytest.raises(ConfigurationError, match=r"truncation\.k=0"):
        both_directions(LSTMCell, 0)(3, 4, 1, 0.0)
