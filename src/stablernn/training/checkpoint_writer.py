"""Who writes a run's checkpoints: the run itself, or a thread beside it."""

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from torch import Tensor

from stablernn.training import checkpoint


class Writer:
    """Writes checkpoints, one after the other in the order in which they come.

    Args:
        beside: write in a thread. The tensors and values are copied at once, so the run may go on and change them. An
            error is raised by the next call.
    """

    def __init__(self, beside: bool) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoints") if beside else None
        self._pending: deque[Future[None]] = deque()

    def save(self, path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """As ``checkpoint.save``.

        Raises:
            StorageError: this one cannot be written, or one before it could not.
        """
        self._collect()
        content = checkpoint.copied(tensors, values)
        if self._thread is None:
            checkpoint.write(path, *content)
        else:
            self._pending.append(self._thread.submit(checkpoint.write, path, *content))

    def finish(self) -> None:
        """Wait until all is written; raises as ``save``."""
        while self._pending:
            self._pending.popleft().result()

    def _collect(self) -> None:
        while self._pending and self._pending[0].done():
            self._pending.popleft().result()
