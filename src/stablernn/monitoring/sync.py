"""Offline Weights & Biases runs to the server, by W&B's own command, one after the other and never for ever."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stablernn.monitoring.folder import is_alive
from stablernn.monitoring.service import run_limited
from stablernn.records.record import RECORD_FILE
from stablernn.utils.console import display, log, open_bar
from stablernn.utils.errors import ConfigurationError, TrackingError
from stablernn.utils.wording import counted

WANDB = (sys.executable, "-m", "wandb")
_DEAD_AFTER = 300.0  # seconds, as in conf/status.yaml


@dataclass
class Outcome:
    """What became of the offline runs below a folder, by the names of their folders."""

    synced: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    under_way: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def offline_runs(runs: Path) -> list[Path]:
    """The folders of the offline runs, the oldest first: the parts of a resumed run belong in this order."""
    return sorted(path for path in (runs / "wandb").glob("offline-run-*") if any(path.glob("*.wandb")))


def is_synced(folder: Path) -> bool:
    """Whether W&B has marked every log of the folder as sent."""
    return all(path.with_name(f"{path.name}.synced").exists() for path in folder.glob("*.wandb"))


def is_under_way(folder: Path, runs: Path) -> bool:
    """Whether the run still writes its log: sent now, it would be marked as sent and its end never follow."""
    run = runs / _run_id(folder)
    return run.is_dir() and not (run / RECORD_FILE).is_file() and is_alive(run, _DEAD_AFTER)


def to_sync(runs: Path) -> tuple[list[Path], Outcome]:
    """The folders to send, and an outcome that names those that are not.

    Raises:
        ConfigurationError: no run was tracked below ``runs``, offline or online.
    """
    if not any((runs / "wandb").glob("*run-*/*.wandb")):
        raise ConfigurationError(
            f"runs={runs}: no tracked runs in {runs / 'wandb'}: name the folder of runs that were trained with "
            "tracking=offline, as in runs=elsewhere"
        )
    outcome, folders = Outcome(), []
    for folder in offline_runs(runs):
        if is_synced(folder):
            outcome.before.append(folder.name)
        elif is_under_way(folder, runs):
            outcome.under_way.append(folder.name)
        else:
            folders.append(folder)
    return folders, outcome


def sync(
    folders: Sequence[Path],
    outcome: Outcome,
    run_seconds: float,
    seconds: float,
    options: Sequence[str] = (),
    wandb: Sequence[str] = WANDB,
) -> Outcome:
    """Send the folders one by one; one that fails does not take the others along.

    Args:
        folders, outcome: of ``to_sync``; the outcome is completed.
        run_seconds: after which a run is given up.
        seconds: for all.
        options: of ``wandb sync``.
        wandb: the command.
    """
    end = time.monotonic() + seconds
    with display():
        bar = open_bar("sending runs", len(folders))
        for number, folder in enumerate(folders):
            left = end - time.monotonic()
            if left <= 0:
                outcome.left.append(folder.name)
                continue
            bar.update(number, _run_id(folder))
            limit = min(run_seconds, left)
            code, output = run_limited([*wandb, "sync", *options, str(folder)], limit)
            if code == 0 and is_synced(folder):
                outcome.synced.append(folder.name)
                continue
            outcome.failed.append(folder.name)
            why = f"not done within {counted(f'{limit:.0f}', 'second')}" if code is None else _last_line(output)
            log.error(f"{folder.name}: {why}")
        bar.close()
    return outcome


def conclude(outcome: Outcome) -> None:
    """Say what became of the runs.

    Raises:
        TrackingError: some are not sent.
    """
    for names, meaning in (
        (outcome.synced, "sent"),
        (outcome.before, "sent before, skipped"),
        (outcome.under_way, "still training, left for later"),
    ):
        if names:
            log.info(f"{counted(len(names), 'run')} {meaning}")
    if outcome.failed or outcome.left:
        parts = [f"{counted(len(outcome.failed), 'run')} failed (see above)"] if outcome.failed else []
        parts += [f"{len(outcome.left)} not tried, as the time was up"] if outcome.left else []
        raise TrackingError(f"{', '.join(parts)}; the same command sends what is left")


def _run_id(folder: Path) -> str:
    return folder.name.split("-", 3)[-1]  # offline-run-<time>-<id>


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "wandb sync failed and said nothing"
