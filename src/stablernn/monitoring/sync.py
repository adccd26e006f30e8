"""Offline Weights & Biases runs to the server, by W&B's own command, one after the other and never for ever."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from stablernn.monitoring.folder import is_alive
from stablernn.records.record import RECORD_FILE
from stablernn.utils.console import display, log, open_bar
from stablernn.utils.errors import ConfigurationError, TrackingError
from stablernn.utils.wording import counted

WANDB = (sys.executable, "-m", "wandb")
_DEAD_AFTER = 300.0  # seconds, as in conf/status.yaml


def is_synced(folder: Path) -> bool:
    """Whether W&B has marked every log of the folder as sent."""
    return all(path.with_name(f"{path.name}.synced").exists() for path in folder.glob("*.wandb"))


def is_under_way(folder: Path, runs: Path) -> bool:
    """Whether the run still writes its log: sent now, it would be marked as sent and its end never follow."""
    run = runs / _run_id(folder)
    return run.is_dir() and not (run / RECORD_FILE).is_file() and is_alive(run, _DEAD_AFTER)


def to_sync(runs: Path) -> list[Path]:
    """The folders of the offline runs to send, the oldest first: the parts of a resumed run belong in this order.

    What was sent before and what is still training is left out, which is said.

    Raises:
        ConfigurationError: no run was tracked below ``runs``, offline or online.
    """
    if not any((runs / "wandb").glob("*run-*/*.wandb")):
        raise ConfigurationError(
            f"runs={runs}: no tracked runs in {runs / 'wandb'}: name the folder of runs that were trained with "
            "tracking=offline, as in runs=elsewhere"
        )
    offline = sorted({path.parent for path in (runs / "wandb").glob("offline-run-*/*.wandb")})
    unsent = [folder for folder in offline if not is_synced(folder)]
    ended = [folder for folder in unsent if not is_under_way(folder, runs)]
    if sent := len(offline) - len(unsent):
        log.info(f"{counted(sent, 'run')} sent before, skipped")
    if training := len(unsent) - len(ended):
        log.info(f"{counted(training, 'run')} still training, left for later")
    return ended


def sync(
    folders: Sequence[Path],
    run_seconds: float,
    seconds: float,
    options: Sequence[str] = (),
    wandb: Sequence[str] = WANDB,
) -> None:
    """Send the folders one by one; one that fails does not take the others along.

    Args:
        folders: of ``to_sync``.
        run_seconds: after which a run is given up.
        seconds: for all.
        options: of ``wandb sync``.
        wandb: the command.

    Raises:
        TrackingError: some are not sent.
    """
    end, unsent = time.monotonic() + seconds, 0
    with display():
        bar = open_bar("sending runs", len(folders))
        for number, folder in enumerate(folders):
            bar.update(number, _run_id(folder))
            limit = min(run_seconds, end - time.monotonic())
            why = _send([*wandb, "sync", *options, str(folder)], limit) if limit > 0 else "not tried, the time was up"
            if why is not None or not is_synced(folder):
                unsent += 1
                log.error(f"{folder.name}: {why or 'wandb sync did not mark it as sent'}")
        bar.close()
    if unsent < len(folders):
        log.info(f"{counted(len(folders) - unsent, 'run')} sent")
    if unsent:
        raise TrackingError(f"{counted(unsent, 'run')} not sent (see above); the same command sends what is left")


def _send(command: Sequence[str], seconds: float) -> str | None:
    """Run a command that may not ask anything; why it failed, None if it did not."""
    try:
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=seconds,
            check=True,
        )
    except subprocess.TimeoutExpired:
        return f"not done within {counted(f'{seconds:.0f}', 'second')}"
    except subprocess.CalledProcessError as error:
        return next((line for line in reversed(error.stdout.splitlines()) if line.strip()), "wandb sync failed")
    return None


def _run_id(folder: Path) -> str:
    return folder.name.split("-", 3)[-1]  # offline-run-<time>-<id>
