"""The streams of an update in parts, one after the other."""

import copy
import os
import subprocess
import sys

import pytest
import torch
from torch.testing import assert_close

from stablernn.config.instantiate import make
from stablernn.models.state import join_streams, split_streams
from stablernn.tasks.base import Interface
from stablernn.tasks.windows import Windows
from stablernn.training.build import build
from stablernn.training.step import Step


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(
    "choice",
    [
        ["model=lstm", "stability=stable"],
        ["model=rnn", "approximation=feedforward", "truncation.k=4"],
        ["head=adaptive", "head.softmax.cutoffs=[20,60]"],
    ],
    ids=lambda choice: choice[0],
)
def test_parts_one_after_the_other_make_the_same_update(choice, optimizer, small):
    config = small(*choice, f"optimizer={optimizer}", "model.dropout=0", "precision=float32")
    corpus = make(config.dataset).load()
    model, constraint = build(config, corpus.interface)
    windows = list(Windows(corpus.splits["train"], batch=5, length=6))[:4]
    found = []
    for parts in (1, 2, 5):  # 2 does not divide the streams
        trained = copy.deepcopy(model)
        step = Step(trained, constraint, make(config.optimizer)(trained.parameters()), 0.25, accumulate=parts)
        state = trained.initial_state(5)
        for x, y in windows:
            state = step(x, y, state)
        found.append((step.collect(), state, dict(trained.named_parameters())))
    for other in found[1:]:
        assert_close(other, found[0], rtol=1e-4, atol=1e-6)
    assert not torch.equal(found[0][2]["inputs.weight"], model.inputs.weight)


def test_a_part_holds_only_its_own_streams_in_memory(small, monkeypatch):
    config = small("model.dropout=0")
    corpus = make(config.dataset).load()
    model, constraint = build(config, corpus.interface)
    seen = []
    loss = model.loss
    monkeypatch.setattr(model, "loss", lambda x, *rest: (seen.append(tuple(x.shape)), loss(x, *rest))[1])
    step = Step(model, constraint, torch.optim.SGD(model.parameters(), lr=1.0), 0.25, accumulate=4)
    step(*Windows(corpus.splits["train"], 8, 6).window(0), model.initial_state(8))
    assert seen == [(6, 2)] * 4


@pytest.mark.parametrize("choice", [["model=lstm", "model.num_layers=2"], ["approximation=feedforward"]])
def test_a_state_split_and_joined_is_the_state(choice, small):
    model, _ = build(small(*choice, "truncation.k=3"), Interface.of_words(20))
    _, state = model(torch.randint(20, (4, 6)), model.initial_state(6))
    parts = split_streams(state, 3)
    assert_close(join_streams(parts), state)
    assert type(join_streams(parts)) is type(state)
    assert {tensor.shape[-2] for part in parts for tensor in torch.utils._pytree.tree_leaves(part)} == {2}


@pytest.mark.parametrize("own", [None, "77"])
def test_threads_do_not_wait_by_spinning_for_long_unless_told_to(own):
    """Set before torch is imported, as libgomp reads it then; in a fresh process."""
    code = "import sys, stablernn, os; assert 'torch' not in sys.modules; print(os.environ['GOMP_SPINCOUNT'])"
    others = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    environment = others | ({"GOMP_SPINCOUNT": own} if own else {})
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.split() == [own or "10000"]
