"""The state of every run in a folder, read from its files alone: no connection to the processes that train."""

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stablernn.records import schemas
from stablernn.records.record import DIVERGED, HISTORY_FILE, RECORD_FILE, read_run
from stablernn.training.checkpoint import LAST
from stablernn.training.lock import holder
from stablernn.training.progress import INTERRUPTED, PROGRESS_FILE
from stablernn.utils.errors import DamagedFileError, RecordError
from stablernn.utils.files import read_json

RUNNING, FAILED, STOPPED, TO_DO, DONE = "running", "failed", "stopped", "to do", "done"
STATES = (RUNNING, FAILED, STOPPED, DIVERGED, TO_DO, DONE)  # in the order of what asks for attention
_MARKS = (RECORD_FILE, PROGRESS_FILE, LAST, HISTORY_FILE)
_DEPTHS = ("*", "*/*", "*/*/*")  # runs/<id>, results/records/<profile>/<study>/<id>


@dataclass(frozen=True)
class RunState:
    """One run as its folder shows it; None is what the folder does not say.

    Attributes:
        id: of the run, the name of its folder.
        state: one of ``STATES``.
        update, total: updates done, and at most to do.
        best: best validation score.
        speed: training tokens a second.
        seconds, left: of the run so far, and to its end at most.
        kind: runs of one kind take about the same time.
        note: what is wrong.
    """

    id: str
    state: str
    update: float | None = None
    total: float | None = None
    best: float | None = None
    speed: float | None = None
    seconds: float | None = None
    left: float | None = None
    kind: str | None = None
    note: str = ""

    @property
    def share(self) -> float:
        """Of its updates that are done, in [0, 1]."""
        if self.state in (DONE, DIVERGED):
            return 1.0
        return min(1.0, (self.update or 0.0) / self.total) if self.total else 0.0


def kind(config: Mapping[str, Any]) -> str:
    """Equal for configurations (as in a record) whose runs take about the same time."""
    return json.dumps({key: value for key, value in config.items() if key not in ("seed", "stability")}, sort_keys=True)


def time_left(states: Sequence[RunState]) -> float | None:
    """Seconds until all is done, if as many runs train at once as now; None where the time of a run is not known."""
    known: dict[str | None, list[float]] = {}
    for run in states:
        if run.state in (DONE, RUNNING, STOPPED) and run.seconds is not None and run.left is not None:
            known.setdefault(run.kind, []).append(run.seconds + run.left)
    every = [seconds for value in known.values() for seconds in value]
    left = []
    for run in states:
        if run.state in (DONE, DIVERGED, FAILED):
            continue
        alike = known.get(run.kind) or every
        if run.left is None and not alike:
            return None
        left.append(run.left if run.left is not None else sum(alike) / len(alike) * (1 - run.share))
    at_once = sum(run.state == RUNNING for run in states)
    slowest = max((run.left or 0.0 for run in states if run.state == RUNNING), default=0.0)
    return max(sum(left) / max(1, at_once), slowest)


def is_alive(folder: Path, dead_after: float) -> bool:
    """Whether a process is at work on a run that has no record.

    One that holds the lock is. Where locks do not reach, a process on this machine is looked up; of one elsewhere (a
    cluster) only the age of its files is known.

    Args:
        folder: of the run.
        dead_after: seconds without a written file after which a process elsewhere counts as gone.
    """
    if holder(folder) is not None:
        return True
    try:
        progress = _read_progress(folder)
    except RecordError:
        progress = {}
    if progress.get("ended"):
        return False
    if progress.get("host") == socket.gethostname() and isinstance(progress.get("process"), int):
        return _exists(progress["process"])
    written = [_written(folder / name) or 0.0 for name in os.listdir(folder)] if folder.is_dir() else []
    return time.time() - max(written, default=0.0) < dead_after


class Runs:
    """The runs below a folder.

    Args:
        folder: of runs, or of published records.
        planned: id and kind of the runs of a sweep; None: whatever lies in the folder.
        dead_after: as in ``is_alive``.
    """

    def __init__(self, folder: Path, planned: Mapping[str, str] | None, dead_after: float) -> None:
        self.folder = folder
        self.planned = planned
        self.dead_after = dead_after
        self._finished: dict[Path, tuple[float, RunState]] = {}

    def states(self) -> list[RunState]:
        """The state of every run now, sorted by id; of a sweep also of those that have no folder yet."""
        folders = {path.name: path for path in self._folders()}
        planned = dict.fromkeys(folders) if self.planned is None else self.planned
        return [
            self._state(folders[name]) if name in folders else RunState(name, TO_DO, kind=kind_)
            for name, kind_ in sorted(planned.items())
        ]

    def _folders(self) -> Iterator[Path]:
        for depth in _DEPTHS:
            folders = {path.parent for mark in _MARKS for path in self.folder.glob(f"{depth}/{mark}")}
            if folders:
                yield from folders
                return

    def _state(self, folder: Path) -> RunState:
        if folder.is_symlink():
            return _finished(folder)  # which refuses it
        written = _written(folder / RECORD_FILE)
        if written is None:
            return self._unfinished(folder)
        known = self._finished.get(folder)
        if known is None or known[0] != written:
            known = self._finished[folder] = written, _finished(folder)
        return known[1]

    def _unfinished(self, folder: Path) -> RunState:
        note = ""
        try:
            progress = _read_progress(folder)
        except RecordError as error:
            progress, note = {}, _brief(folder, error)
        ended = progress.get("ended")
        if ended and ended != INTERRUPTED:
            state, note = FAILED, f"failed: {ended}"
        else:
            state = RUNNING if is_alive(folder, self.dead_after) else STOPPED
        return RunState(
            folder.name,
            state,
            update=_number(progress.get("update")),
            total=_number(progress.get("total")),
            best=_number(progress.get("best")),
            speed=_number(progress.get("tokens_per_second")) if state == RUNNING else None,
            seconds=_number(progress.get("seconds")),
            left=_number(progress.get("seconds_left")),
            kind=(self.planned or {}).get(folder.name),
            note=note,
        )


def _finished(folder: Path) -> RunState:
    try:
        record = read_run(folder)
        updates = int(record.progress["updates"])
        return RunState(
            folder.name,
            DIVERGED if record.status == DIVERGED else DONE,
            update=updates,
            total=updates,
            best=_number(record.metrics.get("valid", {}).get("value")),
            speed=_number(record.speed["train_tokens_per_second"]),
            seconds=_number(record.speed["seconds"]),
            left=0.0,
            kind=kind(record.config),
        )
    except RecordError as error:
        return RunState(folder.name, FAILED, note=_brief(folder, error))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        why = f"{RECORD_FILE} is not a readable run record ({error!r}); run it again"
        return RunState(folder.name, FAILED, note=why)


def _brief(folder: Path, error: Exception) -> str:
    """The run is named beside the text already."""
    return str(error).replace(f"{folder}{os.sep}", "")


def _read_progress(folder: Path) -> dict[str, Any]:
    """What the progress file says, {} if there is none.

    Raises:
        RecordError: it is not readable.
    """
    try:
        return read_json(folder / PROGRESS_FILE, lambda values: schemas.check(values, schemas.PROGRESS))
    except FileNotFoundError:
        return {}
    except DamagedFileError as error:
        raise RecordError(str(error)) from None


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _written(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True
