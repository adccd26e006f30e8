"""Many runs: what a sweep's command line stands for, and carrying it out on one machine."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from logging import LogRecord
from logging.handlers import QueueHandler
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast

import joblib
import torch
from omegaconf import DictConfig

from stablernn.config.compose import compose, compose_all
from stablernn.config.identity import run_label
from stablernn.experiments.grids import find_winner, in_grids, product, winner_settings, without_sweeps
from stablernn.experiments.packed import Outcome, run_packed, run_safely
from stablernn.records.record import Record
from stablernn.training.lock import wait_until_free
from stablernn.utils.console import configure_logging, display, log, open_bar
from stablernn.utils.errors import RunInUseError
from stablernn.utils.machine import keep_freed_memory

Settings = Callable[[str], Mapping[str, Any]]  # of each model, by their dotted names


def expand(arguments: Sequence[str], winners: Settings | None = None) -> list[DictConfig]:
    """The configurations that ``scripts/train.py -m *arguments`` runs, in its order (of a search: all trials).

    As there, the arguments add to the sweep that the experiment itself defines, and win over it.

    Args:
        arguments: of the command line.
        winners: settings in the place of the winners' that the sweep starts from.

    Raises:
        ConfigurationError: the arguments do not fit, or the winners that they start from were not searched yet.
    """
    return compose_all("train", jobs_of(master(arguments), arguments, winners))


def master(arguments: Sequence[str]) -> DictConfig:
    """What ``scripts/train.py -m *arguments`` composes before it sweeps, Hydra's own settings included."""
    return compose("train", without_sweeps(arguments), with_hydra=True)


def jobs_of(config: DictConfig, arguments: Sequence[str], winners: Settings | None = None) -> list[list[str]]:
    """The overrides of each run of a sweep."""
    sweeper = config.hydra.sweeper
    if "grids" not in sweeper:
        return product([*(f"{key}={value}" for key, value in (sweeper.params or {}).items()), *arguments])

    def settings(model: str) -> Mapping[str, Any]:
        if not sweeper.get("use_winners"):
            return {}
        if winners is not None:
            return winners(model)
        return winner_settings(
            find_winner(sweeper.winners, config.runs, config.dataset.name, model, config.profile.name)
        )

    return in_grids(sweeper.grids, arguments, settings)


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_machine(config: DictConfig, launcher: DictConfig) -> None:
    """Give a run of a sweep its part of the machine, where Hydra's launcher starts several side by side.

    Args:
        config: of the run; ``threads`` is set unless it was chosen, and the bar is left out, as bars of several
            processes would write over each other.
        launcher: Hydra's configuration of it: joblib's ``n_jobs`` processes divide cores and GPU memory evenly,
            submitit's have ``cpus_per_task``.
    """
    jobs, cpus = launcher.get("n_jobs"), launcher.get("cpus_per_task")
    if jobs is not None:
        jobs = jobs if jobs > 0 else max(1, cores() + 1 + jobs)  # joblib: -1 is all of them
        cpus = max(1, cores() // jobs)
        if jobs > 1 and torch.cuda.is_available() and config.device != "cpu":
            # So that a run which needs more than its share fails itself, and not one of its neighbours.
            torch.cuda.set_per_process_memory_fraction(1 / jobs)
    if cpus is not None:
        config.threads = config.threads or cpus
        config.progress = False


def run_all(configs: Sequence[DictConfig], jobs: int = 1, at_once: int = 1) -> tuple[list[Record], list[str]]:
    """Run every configuration, in ``jobs`` processes or ``at_once`` as threads; one that fails leaves the others alone.

    Returns:
        The records, and one line for each run that failed. A run that another process is at work on comes last, when
        that process has ended: it is finished by then, or resumes here.
    """
    failures: list[str] = []
    records: list[Record] = []
    left = list(configs)
    with display():
        bar = open_bar("all runs", len(configs))
        for pause in pauses():
            in_use: list[Path] = []
            outcomes = run_packed(left, at_once) if at_once > 1 else _outcomes(left, min(jobs, len(left)))
            for record, failure in outcomes:
                if record is not None:
                    records.append(record)
                elif isinstance(failure, RunInUseError):
                    in_use.append(failure.folder)
                else:
                    failures.append(failure)
                bar.update(len(records) + len(failures))
            left = [config for config in left if Path(config.runs) / run_label(config) in in_use]
            if not left:
                break
            wait_until_free(in_use, pause)
        bar.close()
    return records, failures


def pauses() -> Iterator[float]:
    """Seconds to wait at least before a look again, 1 to 64."""
    return (2.0 ** min(number, 6) for number in count())


def _outcomes(configs: Sequence[DictConfig], jobs: int) -> Iterator[Outcome]:
    if jobs <= 1:
        yield from map(run_safely, configs)
        return
    threads = max(1, cores() // jobs)
    parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
    for outcome, said in cast(Iterator, parallel(joblib.delayed(_in_worker)(config, threads) for config in configs)):
        for entry in said:
            log.handle(entry)
        yield outcome


def _in_worker(config: DictConfig, threads: int) -> tuple[Outcome, list[LogRecord]]:
    """The outcome of a run, and what it said: it has no terminal of its own."""
    said: SimpleQueue[LogRecord] = SimpleQueue()
    configure_logging(QueueHandler(said))
    keep_freed_memory()
    torch.set_num_threads(config.threads or threads)
    outcome = run_safely(config)
    return outcome, [said.get() for _ in range(said.qsize())]
