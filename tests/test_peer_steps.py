"""Feed-forward peers on the path of a GPU: a step that waits for nothing, in fixed memory, is the ordinary step."""

import copy
from functools import partial

import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stablernn.models.heads import softmax
from stablernn.models.peers.gated_conv import GatedConv
from stablernn.models.peers.tcn import TCN
from stablernn.models.peers.transformer import Transformer
from stablernn.models.peers.wavenet import WaveNet
from stablernn.models.sequence_model import build_model
from stablernn.models.state import tensors
from stablernn.stability.constraints.base import Unconstrained
from stablernn.tasks.base import Interface
from stablernn.training.checkpoint import load_optimizer, optimizer_state
from stablernn.training.graph import GraphedStep
from stablernn.training.step import Step

TYPES, BATCH, WINDOW = 13, 3, 9
NETWORKS = {
    "gated_conv": (GatedConv, None, {"k": 7, "kernel_size": 3}),
    "tcn": (TCN, None, {"k": 7, "kernel_size": 2}),
    "wavenet": (WaveNet, None, {"k": 8, "kernel_size": 2, "cycle": 10}),
    "transformer": (Transformer, 2, {"k": 5, "heads": 2, "expansion": 2}),  # attends in blocks
}
OPTIMIZERS = {"adam": partial(torch.optim.Adam, lr=0.01), "sgd": partial(torch.optim.SGD, lr=1.0)}
aten = torch.ops.aten
WAITING = {aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default, aten.equal.default}


def network(name, dropout=0.3):
    kind, layers, options = NETWORKS[name]
    torch.manual_seed(1)
    model = build_model(
        Interface.of_words(TYPES), lambda size, hidden, _, rate: kind(size, hidden, layers, rate, **options), 6, 8
    )
    for part in model.modules():
        if hasattr(part, "p"):
            part.p = dropout
    return model.train()


class Tape(TorchDispatchMode):
    """What a CUDA graph is: operations with their memory, to be done again without Python. None may wait."""

    def __init__(self):
        super().__init__()
        self.done = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        assert operation not in WAITING, f"{operation} waits for the device"
        result = operation(*args, **(kwargs or {}))
        self.done.append((operation, args, kwargs or {}, result))
        return result

    @torch.no_grad()
    def replay(self):
        for operation, args, kwargs, result in self.done:
            again = operation(*args, **kwargs)
            for memory, value in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(memory, torch.Tensor) and memory.data_ptr() != value.data_ptr():
                    memory.copy_(value)


def taped(step, work):
    """``record`` of a ``GraphedStep``: by recording nothing changes."""

    def everything():
        state = [value for entry in step.optimizer.state.values() for value in entry.values()]
        return [*step.parameters, *filter(torch.is_tensor, state), step.nats, step.done, step.finite, *buffers()]

    def buffers():
        return tensors(step._descend._buffers)

    memory = everything()
    before, luck = [part.detach().clone() for part in memory], torch.get_rng_state()
    with Tape() as tape:
        work()
    with torch.no_grad():
        for part, value in zip(memory, before, strict=True):
            part.copy_(value)
    torch.set_rng_state(luck)
    step.tapes += 1
    return tape.replay


def windows(updates):
    return torch.randint(TYPES, (updates, 2, WINDOW, BATCH), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_that_is_replayed_in_fixed_memory_is_the_ordinary_step(name, optimizer, monkeypatch):
    # The softmax of a GPU waits for nothing; that of a CPU looks whether it may do without a shift.
    monkeypatch.setattr(softmax, "_is_safe", lambda mass: True)
    ours, reference = network(name), network(name)
    captured = GraphedStep(
        ours, Unconstrained(), OPTIMIZERS[optimizer](ours.parameters()), 0.25, record=lambda work: taped(captured, work)
    )
    captured.tapes = 0
    plain = Step(reference, Unconstrained(), OPTIMIZERS[optimizer](reference.parameters()), 0.25)
    results = []
    for step, model in ((captured, ours), (plain, reference)):
        torch.manual_seed(3)
        state, losses = model.initial_state(BATCH), []
        for number, (x, y) in enumerate(windows(9)):
            if number == 5:
                step.optimizer.param_groups[0]["lr"] *= 0.1
            if number == 7:  # the last of a pass
                x, y = x[:4], y[:4]
            state = step(x, y, state)
            losses.append(step.collect())
        results.append(losses)
    assert captured.tapes == 1, "recorded once, and replayed for every other window of the shape"
    assert_close(results[0], results[1], rtol=1e-5, atol=0)
    # Adam divides by the size of a gradient, so the rounding of a tiny one counts as much as a large one.
    assert_close(dict(ours.named_parameters()), dict(reference.named_parameters()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_after_a_step_that_is_not_finite_adam_changes_nothing_without_looking(name):
    model = network(name, dropout=0.0)
    step = Step(model, Unconstrained(), OPTIMIZERS["adam"](model.parameters()), 0.25, waits=False)
    (x, y), state = windows(1)[0], model.initial_state(BATCH)
    state = step(x, y, state)
    weight = model.objective.weight
    good = weight.detach().clone()
    with torch.no_grad():
        weight[0, 0] = torch.nan
    before = copy.deepcopy((dict(model.named_parameters()), step.optimizer.state_dict()))
    step(x, y, state)
    after = (dict(model.named_parameters()), step.optimizer.state_dict())
    assert_close(after, before, rtol=0, atol=0, equal_nan=True)
    with torch.no_grad():
        weight.copy_(good)
    assert step.collect()[1] == 1


def test_adam_goes_on_from_a_checkpoint_of_either_kind_of_step():
    """A checkpoint of a CPU counts steps elsewhere, and has not the flag of the one kernel."""
    reached = {}
    for kinds in ((True, True), (False, False), (True, False), (False, True)):
        model = network("tcn", dropout=0.0)
        saved, state = None, model.initial_state(BATCH)
        for waits in kinds:
            step = Step(model, Unconstrained(), OPTIMIZERS["adam"](model.parameters()), 0.25, waits=waits)
            if saved:
                load_optimizer(step.optimizer, *saved)
            for x, y in windows(3):
                state = step(x, y, state)
            saved = optimizer_state(step.optimizer)
            assert step.optimizer.param_groups[0]["lr"] == 0.01
        reached[kinds] = dict(model.named_parameters())
    for weights in reached.values():
        assert_close(weights, reached[True, True], rtol=1e-4, atol=1e-4)
