"""Table 1 in a fixed time: every phase is a process with a time limit, and what is finished is archived all along.

A large GPU is often to be had for minutes only, and keeps nothing. So the speed is measured first and the number of
epochs follows from it; the longest runs begin first, and seed 0 of a model before its other seeds; the records of all
runs go into one archive every 15 seconds; and the certificates, which need no GPU, are found beside what still trains.
"""

import dataclasses
import multiprocessing
import os
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from stablernn.config.instantiate import make
from stablernn.experiments.sweep import expand, run_all
from stablernn.records.record import RECORD_FILE
from stablernn.report.sections.lease import per_second
from stablernn.report.text import rate
from stablernn.stability.certificates import summarise
from stablernn.tasks.windows import Windows
from stablernn.training.build import pick_device
from stablernn.training.estimate import bare_trainer
from stablernn.training.streams import updates_per_second
from stablernn.training.trained import find_runs
from stablernn.utils.console import configure_logging, log
from stablernn.utils.errors import DamagedFileError, StableRNNError
from stablernn.utils.files import read_json, replacing, write_json
from stablernn.utils.wording import counted

EXPERIMENTS = {"lease": "table1_lease", "smoke": "table1_lease_smoke"}
SPEED_FILE = "speed.json"
_ARCHIVE_EVERY = 15.0
_SPEED_LIMIT = 60.0
# Shares of the time for training that go to scores of valid and test, to building and to what was measured wrongly.
# On an H200 fifteen runs at once made 780 updates a second where each kind alone, without the loop, let expect 1,275;
# that was with one host thread for all of them.
_TRAINING_SHARE = 0.6
_CERTIFICATES_AT_ONCE = 5
_SCORING = 3.0  # seconds a run, between its deadline and the end, for the score of test


@dataclasses.dataclass(frozen=True)
class Options:
    """What a lease is asked for.

    Attributes:
        out: folder of ``speed.json`` and ``records.tar.gz``.
        runs: folder of the runs.
        profile: ``lease`` or ``smoke``.
        device: auto, cpu or cuda.
        deadline: Unix time at which everything has ended.
        certify: seconds kept for the certificates of seed 0.
        at_once: runs that share the device. Twelve keep a large GPU busy: eight LSTMs made 1,106 updates a second on
            an H200, and counted bytes allow some 1,100 on an H100. Were all runs at once, all would end at the
            deadline, and a time that was underestimated would cut all of them short.
    """

    out: Path
    runs: Path
    profile: str = "lease"
    device: str = "auto"
    deadline: float = 0.0
    certify: float = 0.0
    at_once: int = 12

    def __post_init__(self) -> None:
        if self.profile not in EXPERIMENTS:
            raise StableRNNError(f"profile={self.profile} is unknown: choose {' or '.join(EXPERIMENTS)}")
        if self.at_once < 1:
            raise StableRNNError(f"at_once={self.at_once} must be a whole number >= 1")
        for name, folder in (("out", self.out), ("runs", self.runs)):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StableRNNError(
                    f"{name}={folder}: no folder can be there ({error.strerror}): name another"
                ) from None


def configurations(options: Options) -> list[DictConfig]:
    """The runs of the table, as the experiment has them, in the order in which they are trained: longest first.

    What decides is the number of updates (an epoch has as many for each): runs that share a GPU make about as many a
    second, whatever their model. Of equal ones the first seeds come first, so that what is cut off has seed 0 of all.
    """
    experiment, where = f"experiment={EXPERIMENTS[options.profile]}", f"runs={options.runs}"
    configs = expand([experiment, f"device={options.device}", where, "tracking=none"])
    return sorted(configs, key=lambda config: (-config.training.epochs, config.seed))


def read_speed(options: Options) -> dict[str, Any]:
    """What was measured with this profile on a device of this name; empty if nothing was."""
    path = options.out / SPEED_FILE
    try:
        known = read_json(path) if path.is_file() else {}
    except DamagedFileError as error:
        raise StableRNNError(f"{error}: delete it, and all are measured again") from None
    here = {"profile": options.profile, "device": _device(options)}
    return known if here.items() <= known.items() else {}


def _device(options: Options) -> str:
    device = pick_device(options.device)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def write_speed(options: Options, section: str, values: dict[str, Any]) -> None:
    """Put what was measured beside what is there of this device."""
    known = read_speed(options) or {"device": _device(options), "profile": options.profile}
    write_json(options.out / SPEED_FILE, known | {section: values})


def measure_speed(options: Options, seconds: float = 3.0) -> dict[str, float]:
    """Updates a second of several runs together, for each kind of run if the device had nothing else to do."""
    configs = configurations(options)
    device = pick_device(options.device)
    corpus = make(configs[0].dataset).load()
    rates: dict[str, float] = {}
    for config in configs:
        kind = f"{config.model.name} {config.stability.name}"
        if kind not in rates and config.stability.name in ("unstable", "stable"):
            count = 8 if device.type == "cuda" else 1
            rates[kind] = updates_per_second([partial(bare_trainer, config, corpus)] * count, device, seconds)
            log.info(f"{kind}: {per_second(rates[kind])} updates/s, {count} at once")
    write_speed(options, "updates_per_second", rates)
    return rates


def choose_epochs(configs: Sequence[DictConfig], rates: dict[str, float], seconds: float) -> float:
    """Cut the epochs of the runs, in place, so that all of them train for at most ``seconds``; the share that is left.

    The annealed epochs at the end stay, the constant ones before them become fewer; one of them is left at least.
    """
    corpus = make(configs[0].dataset).load()
    costs = []  # seconds an epoch
    for config in configs:
        kind = f"{config.model.name} {config.stability.name}"
        per_second = rates.get(kind) or rates.get(f"{config.model.name} unstable")
        if not per_second:
            raise StableRNNError(f"{SPEED_FILE} has no speed of {kind}: delete it, and all are measured again")
        windows = Windows(corpus.splits["train"], config.training.batch_size, config.approximation.window)
        costs.append(len(windows) / per_second)
    planned = [(c.training.epochs, c.training.anneal_from) for c in configs]
    share = 1.0
    while share > 0:
        for config, (epochs, start) in zip(configs, planned, strict=True):
            annealed = epochs - start
            config.training.epochs = max(annealed + 1, int(epochs * share))
            config.training.anneal_from = config.training.epochs - annealed
        total = sum(cost * config.training.epochs for cost, config in zip(costs, configs, strict=True))
        if total <= seconds or share <= 0.05:
            break
        share -= 0.02
    log.info(f"{total:,.0f} s of training expected, {seconds:,.0f} s there: epochs at {share:.0%} of the schedule")
    if total > seconds:
        log.warning("the shortest schedule is too long: give it a longer --deadline, or less of it to certify=")
    return share


def train(options: Options) -> None:
    """Train the runs of the table until the deadline."""
    configs = configurations(options)
    speed = read_speed(options)
    seconds = (options.deadline - options.certify - _SCORING * len(configs) - time.time()) * _TRAINING_SHARE
    choose_epochs(configs, speed["updates_per_second"], seconds)
    for config in configs:
        config.training.deadline = options.deadline - options.certify - _SCORING * len(configs)
        config.progress = False
    run_all(configs, at_once=options.at_once)
    finished = len(list(options.runs.glob(f"*/{RECORD_FILE}")))
    if finished < len(configs):
        log.warning(
            f"{finished} of {len(configs)} runs have a score: called again with the same runs=, the others resume"
        )


def certify(options: Options, name: str) -> None:
    """Prove what can be proven of the best weights of a run, and write it into its record."""
    # Of the many cores beside a GPU each certificate gets some, and training keeps one.
    torch.set_num_threads(max(1, ((os.cpu_count() or 1) - 1) // _CERTIFICATES_AT_ONCE))
    for trained in find_runs(name, options.runs, os.environ.get("STABLERNN_DATA"), torch.device("cpu")):
        record = dataclasses.replace(trained.record, certificate=summarise(trained.model("best"), search_units=0))
        record.write(trained.folder)
        proven = f"λ = {rate(record.certificate['rate'])}" if record.certificate["certified"] else "nothing proven"
        log.info(f"{name}: {proven}")


def archive(options: Options) -> int:
    """All records in one file, which is whole at any moment; how many there are."""
    records = list(options.runs.glob(f"*/{RECORD_FILE}"))
    if not records:  # an archive of an earlier lease stays what it is
        return 0
    with replacing(options.out / "records.tar.gz") as path, tarfile.open(path, "w:gz") as tar:
        for pattern in ("*.json", "*.jsonl"):
            for file in sorted(options.runs.glob(f"*/{pattern}")):
                tar.add(file, file.relative_to(options.runs))
    return len(records)


def table(options: Options) -> None:
    """All phases: speed unless it is known, training, certificates; the archive is renewed meanwhile."""
    if "updates_per_second" not in read_speed(options) and not phase(measure_speed, _SPEED_LIMIT, options):
        raise StableRNNError("the speed was not measured, so no schedule can be chosen: see the error above")
    ended = threading.Event()
    with ThreadPoolExecutor(_CERTIFICATES_AT_ONCE) as pool:
        certified: set[str] = set()

        def certify_new() -> None:
            finished = {path.parent.name for path in options.runs.glob(f"*/{RECORD_FILE}")}
            for name in sorted(name for name in finished - certified if "-s0-" in name and "-unstable-" not in name):
                certified.add(name)
                pool.submit(lambda name=name: phase(certify, options.deadline - time.time(), options, name))

        def keep_archiving() -> None:
            while not ended.wait(_ARCHIVE_EVERY):
                archive(options)
                certify_new()

        archiver = threading.Thread(target=keep_archiving, daemon=True)
        archiver.start()
        try:
            phase(train, options.deadline - time.time(), options)
            archive(options)
        finally:
            ended.set()
            archiver.join()
            certify_new()
    count = archive(options)
    log.info(f"{counted(count, 'record')} in {options.out / 'records.tar.gz'}")
    if not count:
        raise StableRNNError("no run came to its end: give it more time with --deadline, or see the errors above")


def phase(work: Callable[..., object], limit: float, *arguments: object) -> bool:
    """Run a phase in a process of its own; False if it failed or took longer than ``limit`` seconds, which is said."""
    began = time.monotonic()
    named = " ".join([work.__name__, *(argument for argument in arguments if isinstance(argument, str))])
    process = multiprocessing.get_context("spawn").Process(target=_phase, args=(work, *arguments))
    process.start()
    process.join(max(1.0, limit))
    if process.exitcode is None:
        process.kill()
        process.join()
        log.error(f"{named}: stopped after {max(1.0, limit):.0f} s")
        return False
    failed = f", failed with {process.exitcode}" if process.exitcode else ""
    log.info(f"{named}: {time.monotonic() - began:.0f} s{failed}")
    return process.exitcode == 0


def _phase(work: Callable[..., object], *arguments: object) -> None:
    configure_logging()
    try:
        work(*arguments)
    except StableRNNError as error:
        log.error(str(error))
        sys.exit(2)
