"""Recurrence from the output alone: a step reads its input and the output before it (Jordan 1986).

h_t = tanh(U x_t + W y_{t-1} + b), and no hidden state goes from step to step (Goodfellow, Bengio & Courville 2016,
section 10.2.1). Trained by teacher forcing y_{t-1} is the true target, so that the pair (x_t, y_{t-1}) is an input like
any other, and every position is computed by itself: such a model is a feed-forward model of one input on the task of
pairs. A pair of ids is one id here, with an embedding of its own, of which the sum of two is a special case.

Scores read true targets too: Σ_t log p(y_t | x_1 .. x_t, y_1 .. y_{t-1}) is the log-probability of the targets as a
sequence. What a model says when it reads its own answers is another question.
"""

import math
from dataclasses import replace

import numpy as np

from stablernn.tasks.base import Inputs, Interface
from stablernn.tasks.copy_memory import CopyMemory
from stablernn.tasks.sequences import Sequences, SequenceTask
from stablernn.utils.errors import ConfigurationError


def with_last_output(task: SequenceTask) -> SequenceTask:
    """The task of the pairs (x_t, y_{t-1}); before the first target stands an id that is no output.

    Raises:
        ConfigurationError: inputs or outputs are no ids, or some positions have no target.
    """
    inputs, outputs = task.interface.inputs, task.interface.outputs
    kinds = inputs.kind, outputs.kind, *(split.scored for split in task.splits.values())
    if kinds != ("finite", "categorical", *[None] * len(task.splits)):
        raise ConfigurationError(f"{task.name}: the last output can be read where every input and output is an id")
    none = outputs.size
    splits = {name: _pairs(split, none) for name, split in task.splits.items()}
    return replace(task, interface=Interface(Inputs("finite", inputs.size * (none + 1)), outputs), splits=splits)


def _pairs(split: Sequences, none: int) -> Sequences:
    before = (np.concatenate([[none], y[:-1]]) for y in split.targets)
    return replace(split, inputs=tuple(x * (none + 1) + y for x, y in zip(split.inputs, before, strict=True)))


class CopyMemoryLastOutput(CopyMemory):
    """Copy memory by recurrence from the output alone, for the options see ``CopyMemory``.

    The digits are independent, so that the last one says nothing of the next: ln 8 a digit is the least. And the first
    digit is to be said after a blank was, as blanks are, so that even its time is not known.
    """

    @property
    def from_last_output(self) -> float:
        """Loss in nats a position of the best model of pairs: of ``alike`` steps of one pair the last says a digit."""
        alike = 2 if self.form == "markers" else self.blanks
        unknown_time = math.log(alike) + (alike - 1) * math.log(alike / (alike - 1)) if alike > 1 else 0.0
        return self.without_memory + unknown_time / self.length

    def load(self) -> SequenceTask:
        task = with_last_output(super().load())
        return replace(task, baselines={"the last output alone": self.from_last_output, **task.baselines})
