"""Ctrl-C, SIGTERM and a scheduler's signals between two updates instead of in the middle of one."""

import signal
import threading
from types import FrameType

_ALWAYS = (signal.SIGINT, signal.SIGTERM)
_IF_HANDLED = tuple(getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name))


class Interruption:
    """Inside this context the first signal only sets ``requested``; a second one acts at once.

    The signals are SIGINT and SIGTERM, and those by which a scheduler says that the time of a job is nearly over
    (SIGUSR1, SIGUSR2) where somebody has set a handler for them: submitit's sends the job to the queue again.

    Attributes:
        requested: whether a run is to write its checkpoint and end.
        abandoned: whether a run in another thread is to end without it.
    """

    def __init__(self) -> None:
        self.requested = False
        self.abandoned = False
        self._last: tuple[int, FrameType | None] | None = None

    def act(self) -> None:
        """Do, now that the checkpoint is written, what the signal does otherwise; that may be to continue.

        Raises:
            KeyboardInterrupt: where it ends the process.
            SystemExit: where its handler does.
        """
        self.pass_on()

    def pass_on(self) -> None:
        """``act`` for the whole process."""
        self.requested = False
        number, frame = self._last or (None, None)
        before = self._previous.get(number)
        if number is None or not callable(before):
            raise KeyboardInterrupt
        before(number, frame)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        again, self.requested, self._last = self.requested, True, (number, frame)
        if again:
            self.pass_on()

    def __enter__(self) -> "Interruption":
        self._previous = {}
        if threading.current_thread() is threading.main_thread():
            for number in _ALWAYS + tuple(number for number in _IF_HANDLED if callable(signal.getsignal(number))):
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
