"""The speeds of a lease: its runs, so many of them at once, and the loop that everybody writes alone.

TF32 is a switch of the process. So each measurement is a process of its own, with a time limit as the phases of a lease
have, and what it comes to stands in ``speed.json`` beside what the others do.
"""

import time
from collections.abc import Iterator
from functools import partial

import torch
from omegaconf import DictConfig

from stablernn.benchmarks.plain import PlainModel, plain_step
from stablernn.config.instantiate import make
from stablernn.experiments.lease import SPEED_FILE, Options, configurations, measure_speed, phase, write_speed
from stablernn.models.precision import use_tf32
from stablernn.report.sections.lease import per_second, write_lease
from stablernn.tasks.splits import Task
from stablernn.training.build import build_for, pick_device
from stablernn.training.estimate import bare_trainer
from stablernn.training.streams import updates_per_second
from stablernn.utils.console import log

_SECONDS = 150.0  # for all measurements together
_LIMIT = 60.0  # for each
_COUNTS = {"cuda": (1, 8, 12, 16), "cpu": (1, 2)}


def measure(options: Options) -> list[str]:
    """All measurements, and a table of them; the names of those that failed or took too long."""
    works = {"speed": (measure_speed,), "runs at once": (measure_at_once,), "plain loop": (measure_plain, False)}
    if pick_device(options.device).type == "cuda":
        works["plain loop with TF32"] = (measure_plain, True)
    end = time.monotonic() + _SECONDS
    failed = [
        name
        for name, (work, *arguments) in works.items()
        if not phase(work, min(_LIMIT, end - time.monotonic()), options, *arguments)
    ]
    write_lease(options.out / SPEED_FILE)
    return failed


def measure_at_once(options: Options, seconds: float = 3.0) -> None:
    """Updates a second of so many unconstrained runs of a model together, by their number."""
    device, rates = pick_device(options.device), {}
    for name, config, corpus in _models(options):
        rates[name] = {}
        for count in _COUNTS[device.type]:
            makers = [partial(bare_trainer, config, corpus)] * count
            rates[name][str(count)] = updates_per_second(makers, device, seconds)
            log.info(f"{name}: {per_second(rates[name][str(count)])} updates/s, {count} at once")
            write_speed(options, "at_once", rates)


def measure_plain(options: Options, tf32: bool, seconds: float = 3.0) -> None:
    """Updates a second of the plain loop, which has the device to itself."""
    device, rates = pick_device(options.device), {}
    for name, config, corpus in _models(options):
        rates[name] = updates_per_second([partial(PlainRun, config, corpus, tf32)], device, seconds)
        log.info(f"{name}: {per_second(rates[name])} updates/s, plain{' with TF32' * tf32}")
        write_speed(options, "plain_tf32" if tf32 else "plain", rates)


def _models(options: Options) -> Iterator[tuple[str, DictConfig, Task]]:
    """Each model of the table with a run of it and its data, those with the largest vectors first."""
    runs = [config for config in configurations(options) if config.stability.name == "unstable"]
    corpus = make(runs[0].dataset).load()
    by_name = {config.model.name: config for config in sorted(runs, key=lambda config: config.model.hidden_size)}
    for name in reversed(by_name):
        yield name, by_name[name], corpus


class PlainRun:
    """A run by the plain loop, with its batches and a tied decoder where it has one, without its dropout.

    Args:
        tf32: of the products of matrices; recurrences run as PyTorch has them by default.
    """

    def __init__(self, config: DictConfig, corpus: Task, tf32: bool) -> None:
        model, _ = build_for(config, corpus)
        use_tf32(tf32, recurrences=True)  # after ``build_for``, which turns both off
        self.model = PlainModel.like(model)
        if config.model.tied:
            self.model.decoder.weight = self.model.embedding.weight
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=config.optimizer.lr)
        options = config.training
        self.clip = options.clip
        self.batches = corpus.batches("train", options.batch_size, config.approximation.window, model.device)
        self.number, self.state = 0, None

    def step(self) -> None:
        batch = self.batches.batch(self.number)
        before = None if batch.reset else self.state
        _, self.state = plain_step(self.model, self.optimizer, batch.x, batch.y, before, self.clip)
        self.number += 1

    def collect(self) -> None:
        """Nothing: each step waits for its loss."""

    def release(self) -> None:
        """Nothing: what the device holds for it goes with it."""
