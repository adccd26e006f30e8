"""Many runs: what a sweep's command line stands for, and carrying it out on one machine."""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from typing import cast

import joblib
import torch
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from stablernn.allocator import keep_freed_memory
from stablernn.compose import compose
from stablernn.config import run_id
from stablernn.console import display, listening, log, open_bar, speak_through
from stablernn.errors import RunInUseError, StableRNNError
from stablernn.record import Record
from stablernn.training.run import run


def expand(arguments: Sequence[str]) -> list[DictConfig]:
    """The configurations that ``scripts/train.py -m *arguments`` runs, in its order.

    As there, the arguments add to the sweep that the experiment itself defines, and win over it.
    """
    fixed = [a for a in arguments if a.startswith(("experiment=", "+experiment="))]
    sweep = compose("train", fixed, with_hydra=True).hydra.sweeper.params or {}
    overrides = OverridesParser.create().parse_overrides(
        [f"{key}={value}" for key, value in sweep.items()] + list(arguments)
    )
    # Hydra's own expansion, so that a plan means what the command line means.
    (batch,) = cast(list, BasicSweeper.split_arguments(overrides, None))
    return [compose("train", list(job)) for job in batch]


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_all(configs: Sequence[DictConfig], jobs: int) -> tuple[list[Record], list[str]]:
    """Run every configuration, ``jobs`` at a time; one that fails does not take the others along.

    Returns:
        The records, and one line for each run that failed. A run that another process is at work on is left to it,
        which is said, and is in neither.
    """
    failures: list[str] = []
    records: list[Record] = []
    with display():
        bar = open_bar("all runs", len(configs))
        for number, (record, failure) in enumerate(_outcomes(configs, min(jobs, len(configs))), start=1):
            if record is not None:
                records.append(record)
            elif failure:
                failures.append(failure)
            bar.update(number)
        bar.close()
    return records, failures


def _outcomes(configs: Sequence[DictConfig], jobs: int) -> Iterator[tuple[Record | None, str]]:
    if jobs <= 1:
        yield from (_attempt(config) for config in configs)
        return
    threads = max(1, cores() // jobs)
    with multiprocessing.Manager() as manager:
        queue = manager.Queue()
        with listening(queue):
            parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
            yield from cast(
                Iterator, parallel(joblib.delayed(_in_worker)(config, queue, threads) for config in configs)
            )


def _in_worker(config: DictConfig, queue, threads: int) -> tuple[Record | None, str]:
    speak_through(queue)
    keep_freed_memory()
    torch.set_num_threads(config.threads or threads)
    return _attempt(config)


def _attempt(config: DictConfig) -> tuple[Record | None, str]:
    try:
        return run(config), ""
    except RunInUseError as error:
        log.warning(f"left out: {error}")
        return None, ""
    except StableRNNError as error:
        log.error(f"{run_id(config)} failed: {error}")
        return None, str(error)
    except Exception as error:  # a bug or a full disk: the other runs have a right to go on
        log.exception(f"{run_id(config)} failed")
        return None, repr(error)
