"""The state of every run in a folder, read from its files alone: no connection to the processes that train."""

import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stablernn.monitoring.states import DONE, FAILED, RUNNING, STOPPED, TO_DO, RunState, kind
from stablernn.records import schemas
from stablernn.records.record import DIVERGED, HISTORY_FILE, RECORD_FILE, Record, read_run
from stablernn.training.checkpoint import LAST
from stablernn.training.lock import holder
from stablernn.training.progress import INTERRUPTED, PROGRESS_FILE
from stablernn.utils.errors import DamagedFileError, RecordError
from stablernn.utils.files import parse_json, read_bytes, read_json
from stablernn.utils.metrics import METRICS, PERPLEXITY

_MARKS = (RECORD_FILE, PROGRESS_FILE, LAST, HISTORY_FILE)
_DEPTHS = ("*", "*/*", "*/*/*")  # runs/<id>, results/records/<profile>/<study>/<id>
_SECONDS_BEFORE_A_PROCESS_COUNTS_AS_GONE = 15.0


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
    age = time.time() - max((written for path in _files(folder) if (written := _written(path))), default=0.0)
    try:
        progress = _read_json(folder / PROGRESS_FILE)
    except RecordError:
        progress = {}
    if progress.get("ended"):
        return False
    if progress.get("host") == socket.gethostname() and isinstance(progress.get("process"), int):
        # Containers may share a name, so a file that was written just now outweighs a process that is not found.
        return _exists(progress["process"]) or age < _SECONDS_BEFORE_A_PROCESS_COUNTS_AS_GONE
    return age < dead_after


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

    def look(self) -> list[RunState]:
        """The state of every run now, sorted by id; of a sweep also of those that have no folder yet."""
        folders = {path.name: path for path in self._folders()}
        if self.planned is None:
            return [self._state(folders[name]) for name in sorted(folders)]
        return [
            self._state(folders[name]) if name in folders else RunState(name, TO_DO, kind=kind_)
            for name, kind_ in sorted(self.planned.items())
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
        notes = []
        try:
            progress = _read_json(folder / PROGRESS_FILE)
        except RecordError as error:
            progress = {}
            notes.append(str(error))
        try:
            history = _read_history(folder / HISTORY_FILE)
        except RecordError as error:
            history = []
            notes.append(str(error))
        valid = [row["valid"] for row in history if _number(row.get("valid"))]
        metric = METRICS.get(str(progress.get("metric")), PERPLEXITY)
        ended = progress.get("ended")
        if ended and ended != INTERRUPTED:
            state, notes = FAILED, [f"failed: {ended}", *notes]
        else:
            state = RUNNING if is_alive(folder, self.dead_after) else STOPPED
        return RunState(
            folder.name,
            state,
            update=_number(progress.get("update")) or _number(history[-1].get("update") if history else None),  # type: ignore[arg-type]
            total=_number(progress.get("total")),  # type: ignore[arg-type]
            valid=_number(progress.get("valid")) or (valid[-1] if valid else None),
            best=_number(progress.get("best")) or min(valid, key=metric.cost, default=None),
            metric=metric,
            speed=_number(progress.get("tokens_per_second")) if state == RUNNING else None,
            seconds=_number(progress.get("seconds")),
            left=_number(progress.get("seconds_left")),
            kind=(self.planned or {}).get(folder.name),
            fingerprint=str(progress.get("fingerprint") or ""),
            note=_brief(folder, "; ".join(notes)),
        )


def _finished(folder: Path) -> RunState:
    try:
        record = read_run(folder)
        return RunState(folder.name, DIVERGED if record.status == DIVERGED else DONE, **_of_record(record))
    except RecordError as error:
        return RunState(folder.name, FAILED, note=_brief(folder, str(error)))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        why = f"{RECORD_FILE} is not a readable run record ({error!r}); delete its folder to run it again"
        return RunState(folder.name, FAILED, note=why)


def _brief(folder: Path, text: str) -> str:
    """The run is named beside the text already."""
    return text.replace(f"{folder}{os.sep}", "")


def _of_record(record: Record) -> dict[str, Any]:
    best = _number((record.metrics.get("valid") or {}).get("value"))
    scores = [row["valid"] for row in record.history if _number(row.get("valid"))]
    updates = int(record.progress["updates"])
    return {
        "update": updates,
        "total": updates,
        "valid": scores[-1] if scores else best,
        "best": best,
        "metric": record.metric,
        "speed": _number(record.speed["train_tokens_per_second"]),
        "seconds": _number(record.speed["seconds"]),
        "left": 0.0,
        "kind": kind(record.config),
        "fingerprint": str(record.data["fingerprint"]),
    }


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a file, {} if there is no file.

    Raises:
        RecordError: it is not readable.
    """
    try:
        return read_json(path, lambda values: schemas.check(values, schemas.PROGRESS), unsealed=True)
    except FileNotFoundError:
        return {}
    except DamagedFileError as error:
        raise RecordError(str(error)) from None


def _read_history(path: Path) -> list[dict[str, Any]]:
    try:
        rows = [parse_json(line) for line in read_bytes(path).decode().splitlines()]
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} is not readable ({error})") from None
    return [row for row in rows if isinstance(row, dict)]


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _files(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


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
