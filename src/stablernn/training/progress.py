"""Where a run under way stands, in a small file, for whoever watches its folder from outside (`make status`)."""

import contextlib
import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from stablernn.training.schedule import Counters
from stablernn.utils.errors import StorageError
from stablernn.utils.files import write_json
from stablernn.utils.metrics import PERPLEXITY, Metric

PROGRESS_FILE = "progress.json"
INTERRUPTED = "interrupted"
_SECONDS_BETWEEN_WRITES = 5.0
_SECONDS_BEFORE_A_RATE_MEANS_ANYTHING = 0.5


class Progress:
    """Keeps ``progress.json`` in a run's folder inside its context; no result depends on it.

    After success the file is removed. After an interruption or an error it stays and says so (``ended``); a process
    that is killed leaves it as it was, with the host and the process that wrote it.
    """

    def __init__(self, folder: Path, fingerprint: str, total_updates: int, metric: Metric = PERPLEXITY) -> None:
        self._path = folder / PROGRESS_FILE
        self._values: dict[str, Any] = {
            "fingerprint": fingerprint,
            "total": total_updates,
            "metric": metric.name,
            "host": socket.gethostname(),
            "process": os.getpid(),
            "ended": None,
        }
        self._next = 0.0
        self._last: Counters | None = None

    def update(self, now: Counters) -> None:
        """Write where the run stands, unless that was done within the last seconds."""
        self._last = now
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _SECONDS_BETWEEN_WRITES
        self._write(now)

    def __enter__(self) -> "Progress":
        self._write()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._path.unlink(missing_ok=True)
            return
        self._values["ended"] = f"{error or repr(error)}" if isinstance(error, Exception) else INTERRUPTED
        self._write(self._last)

    def _write(self, now: Counters | None = None) -> None:
        if now is not None:
            self._values |= self._standing(now)
        with contextlib.suppress(StorageError):  # a full disk must not end a run that could continue without this file
            write_json(self._path, self._values)

    def _standing(self, now: Counters) -> dict[str, Any]:
        left = self._values["total"] - now.update
        measured = min(now.seconds, now.training_seconds) > _SECONDS_BEFORE_A_RATE_MEANS_ANYTHING
        scores = (row["valid"] for row in reversed(now.history) if "valid" in row)
        return {
            "update": now.update,
            "valid": next(scores, None),
            "best": now.best["value"] if now.best else None,
            "tokens_per_second": round(now.trained_tokens / now.training_seconds, 1) if measured else None,
            "seconds": round(now.seconds, 2),
            "seconds_left": round(now.seconds / now.update * left, 2) if measured else None,
        }
