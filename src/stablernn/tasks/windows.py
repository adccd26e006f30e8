"""Token streams cut into windows of (x, y), time first."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from stablernn.tasks.base import Batch
from stablernn.tasks.splits import Split
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.wording import counted


class Windows:
    """A split as B contiguous streams, read in windows of T steps.

    With ids ``<eos> a b c d e f`` (N = 6), B = 2 and T = 2 the streams are ``a b c`` and ``d e f``, and the
    windows are, time down and streams across::

        x        y            x        y
        <eos> c  a d          b e      c f
        a     d  b e

    A stream continues from window to window, so a state carried over sees the text as one sequence. Training
    drops the last N mod B tokens; with B = 1 nothing is dropped and every token is a target exactly once.

    Args:
        split: the tokens.
        batch: number of streams B.
        length: steps a window T; the last window of a pass is shorter where T does not divide the stream.
        device: where the windows are wanted; a GPU gets its streams at once, 4 bytes a token and side.
    """

    def __init__(self, split: Split, batch: int, length: int, device: torch.device | str = "cpu") -> None:
        self.steps = len(split) // batch
        self.length = length
        self.items = batch * length
        if self.steps == 0:
            raise ConfigurationError(
                f"training.batch_size={batch} needs a token a stream, got {counted(len(split), 'token')}: "
                "choose fewer streams or more words"
            )
        streams = (side[: self.steps * batch].reshape(batch, self.steps) for side in (split.inputs, split.targets))
        self._inputs, self._targets = (
            ids if torch.device(device).type == "cpu" else torch.tensor(ids.astype(np.int32), device=device)
            for ids in streams
        )

    def __len__(self) -> int:
        """Number of windows in one pass."""
        return -(-self.steps // self.length)

    def window(self, number: int) -> tuple[Tensor, Tensor]:
        """x and y of one window, both (T, B), 64-bit integers."""
        span = slice(number * self.length, (number + 1) * self.length)
        return _time_first(self._inputs[:, span]), _time_first(self._targets[:, span])

    def batch(self, update: int) -> Batch:
        """The window of an update; every pass begins anew, from the initial state."""
        number = update % len(self)
        return Batch(*self.window(number), reset=number == 0)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return map(self.window, range(len(self)))


def _time_first(ids: np.ndarray | Tensor) -> Tensor:
    if isinstance(ids, Tensor):
        return ids.T.long().contiguous()
    return torch.from_numpy(np.ascontiguousarray(ids.T, dtype=np.int64))
