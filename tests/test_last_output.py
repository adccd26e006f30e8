"""Recurrence from the output alone: what is read, what it can do, and what it cannot."""

import itertools
import math
from collections import Counter
from functools import partial

import numpy as np
import pytest
import torch

from stablernn.config.compose import compose
from stablernn.config.instantiate import make
from stablernn.models.backbone import stack_of
from stablernn.models.cells.gru import GRUCell
from stablernn.models.cells.rnn import RNNCell
from stablernn.models.feed_forward import FeedForward
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_model
from stablernn.tasks.base import Inputs, Interface, Outputs
from stablernn.tasks.copy_memory import FORMS
from stablernn.tasks.last_output import CopyMemoryLastOutput, with_last_output
from stablernn.tasks.sequences import Sequences, SequenceTask
from stablernn.training.run import run
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.metrics import NATS_A_POSITION

LENGTH = 12


def task_of(split, inputs, outputs):
    interface = Interface(Inputs("finite", inputs), Outputs("categorical", outputs))
    return SequenceTask("small", interface, NATS_A_POSITION, dict.fromkeys(("train", "valid", "test"), split))


def parity():
    """Bits, and whether there was an odd number of ones so far: y_t = y_{t-1} xor x_t."""
    bits = np.random.default_rng(0).integers(0, 2, (64, LENGTH))
    return task_of(Sequences(tuple(bits), tuple(bits.cumsum(1) % 2)), 2, 2)


def copying(form, blanks=3):
    """Copy memory of two digits by the last output, and a task with each of its 64 sequences once."""
    sequences = {"train": 1, "valid": 1, "test": 1}
    made = CopyMemoryLastOutput("small", form, blanks, 2, seed=0, sequences=sequences)
    return made, with_last_output(task_of(made._sequences(np.arange(64)), 10, 10))


def learn(task, stack, cell=RNNCell, updates=250, **options):
    """A model after some updates on all sequences, and its loss in nats a sequence."""
    torch.manual_seed(0)
    model = build_model(task.interface, stack_of(cell, partial(stack, **options)), 16, 32)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    batch = task.batches("train", 64, LENGTH).batch(0)
    for _ in range(updates):
        loss, _ = model.loss(batch.x, batch.y, model.initial_state(64))
        optimizer.zero_grad()
        (loss / 64).backward()
        optimizer.step()
    return model, float(loss.detach()) / 64


def test_a_step_reads_its_input_and_the_target_before_it():
    x, y = (np.array([2, 0, 1]), np.array([1, 0, 1]))
    read = with_last_output(task_of(Sequences((x,), (y,)), 3, 2))
    assert read.interface.inputs.size == 9
    (pairs,) = read.splits["test"].inputs
    assert [divmod(int(pair), 3) for pair in pairs] == [(2, 2), (0, 1), (1, 0)], "2: there is none"
    assert read.splits["test"].targets[0] is y


def test_what_the_last_output_says_is_learnt_without_a_hidden_state_and_goes_on_by_itself():
    task = with_last_output(parity())
    model, loss = learn(task, FeedForward, k=1)
    assert loss < 0.1 * LENGTH * math.log(2)
    _, without = learn(parity(), FeedForward, updates=60, k=1)
    assert without > 0.9 * LENGTH * math.log(2) - 1, "the input alone says the first answer, and of the others nothing"
    bits = torch.from_numpy(np.stack(parity().splits["test"].inputs, 1))
    said = [torch.full((64,), 2)]
    for x in bits:
        features, _ = model((3 * x + said[-1])[None], model.initial_state(64))
        said.append(model.objective.logits(features[0]).argmax(-1))
    assert bool((torch.stack(said[1:]) == bits.cumsum(0) % 2).all())


@pytest.mark.parametrize("form", FORMS)
def test_no_digit_is_copied_by_outputs_alone_and_a_hidden_state_copies(form):
    """Of all sequences together, each once, no model of pairs is below the exact loss, and learning comes near it."""
    made, task = copying(form)
    _, loss = learn(task, FeedForward, k=1)
    assert made.from_last_output <= loss / made.length < 1.01 * made.from_last_output
    assert made.from_last_output > made.without_memory == pytest.approx(2 * math.log(8) / 7)
    _, hidden = learn(task, Recurrent, GRUCell, updates=400)
    assert hidden / made.length < 0.2 * made.without_memory


def test_the_exact_loss_is_the_entropy_of_the_targets_given_the_pairs():
    for form, blanks in itertools.product(FORMS, (1, 2, 9)):
        made, task = copying(form, blanks)
        split = task.splits["test"]
        counts = Counter(zip(np.concatenate(split.inputs), np.concatenate(split.targets), strict=True))
        pairs = Counter(pair for pair, _ in counts.elements())
        nats = -sum(number * math.log(number / pairs[pair]) for (pair, _), number in counts.items())
        assert made.from_last_output == pytest.approx(nats / pairs.total())


def test_the_answers_do_not_depend_on_the_digits_before_the_last_output():
    options = {"form": "delimiter", "blanks": 6, "digits": 4, "seed": 0}
    task = CopyMemoryLastOutput("small", **options, sequences={"train": 3, "valid": 2, "test": 2}).load()
    model = build_model(task.interface, stack_of(RNNCell, partial(FeedForward, k=1)), 8, 8)
    x = torch.from_numpy(np.stack(task.splits["train"].inputs, 1))
    other = torch.cat([x[:4].flip(1), x[4:]])
    features, changed = (model(read, model.initial_state(3))[0] for read in (x, other))
    assert bool((features[4:] == changed[4:]).all())
    assert bool((features[:4] != changed[:4]).any())


def test_a_run_is_no_better_than_the_baseline(tmp_path):
    small = ["profile=smoke", "tracking=none", "progress=false", "model=rnn", "optimizer.lr=0.01", f"runs={tmp_path}"]
    sizes = ["dataset.blanks=5", "dataset.digits=5", "dataset.sequences={train: 1500, valid: 40, test: 400}"]
    config = compose("train", [*small, *sizes, "dataset=copy_memory_output", "training.epochs=3"])
    assert (config.approximation.name, config.truncation.k) == ("feedforward", 1)
    record = run(config)
    best, baseline = record.data["baselines"].values()
    assert baseline < record.metrics["test"]["value"] == pytest.approx(best, rel=0.03)
    right, of = record.metrics["test"]["tally"]
    assert right / of < 1 / 8 + 0.03


def test_ids_are_needed_at_every_position():
    few = "dataset.sequences={train: 4, valid: 2, test: 2}"
    adding = make(compose("train", ["dataset=adding", few]).dataset).load()
    with pytest.raises(ConfigurationError, match="every input and output is an id"):
        with_last_output(adding)
