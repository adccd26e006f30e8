"""The terminal: one console for log lines and progress bars, so that neither tears the other."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NoReturn

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.text import Text

from stablernn.utils.escaping import terminal


class Terminal(Console):
    """A console that shows every character that it is given: no escape sequence and no markup in a name acts on it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "highlight": False, **options})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(terminal(segment.text), segment.style)


console = Terminal(stderr=True)
log = logging.getLogger("stablernn")

_SECONDS_BETWEEN_UPDATES = 0.2
_SECONDS_BEFORE_AN_ESTIMATE = 5.0
_SECONDS_WORTH_TELLING = 60.0


class _ConsoleHandler(logging.Handler):
    """Log lines through the console of the bars; unlike RichHandler's they are not cut to columns in a file."""

    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else None
        line = Text(time.strftime("%H:%M:%S "), style="dim").append(self.format(record), style=style or "not dim")
        console.print(line, soft_wrap=True)


def configure_logging(handler: logging.Handler | None = None) -> None:
    """Send this package's log to ``handler``; without one, to the console unless it goes somewhere already."""
    if handler is not None or not log.handlers:
        log.handlers = [handler or _ConsoleHandler()]
        log.setLevel(logging.INFO)
        log.propagate = False


@cache
def warn_once(message: str) -> None:
    """A warning of what a command may meet many times, as a damaged file."""
    log.warning(message)


def refuse(message: str) -> NoReturn:
    """Print a mistake of the user as one line, and end with exit code 2."""
    print_error(message)
    sys.exit(2)


def print_error(message: str) -> None:
    console.print(Text.assemble(("error:", "red"), f" {message}"), soft_wrap=True)


def duration(seconds: float) -> str:
    """A time in the unit that a person would choose."""
    for unit, length in (("days", 86400), ("h", 3600)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{max(seconds / 60, 0.1):.1f} min"


class Bar:
    """A line of the display that was open when it was made, if there was one.

    What takes minutes is also told once as a log line, as soon as there is something to reckon with: a bar is seen on a
    terminal alone.
    """

    def __init__(self, description: str, total: int) -> None:
        self._shown = _shown
        self._task = _shown.add_task(description, total=total, note="") if _shown else None
        self._description = description
        self._total = total
        self._began = time.monotonic()
        self._announced = False
        self._next = 0.0

    def update(self, completed: int, note: str = "") -> None:
        elapsed = time.monotonic() - self._began
        if not self._announced and completed > 0 and elapsed > _SECONDS_BEFORE_AN_ESTIMATE:
            self._announced = True
            left = elapsed / completed * (self._total - completed)
            if left > _SECONDS_WORTH_TELLING:
                log.info(f"{self._description}: about {duration(left)} left")
        if self._shown and self._task is not None and time.monotonic() >= self._next:
            self._next = time.monotonic() + _SECONDS_BETWEEN_UPDATES
            self._shown.update(self._task, completed=completed, note=note)

    def close(self) -> None:
        if self._shown and self._task is not None:
            self._shown.remove_task(self._task)


_shown: Progress | None = None


@contextmanager
def display(enabled: bool = True) -> Iterator[None]:
    """Show the bars that are opened inside; a display inside another one shares it."""
    global _shown
    if _shown is not None:
        yield
        return
    _shown = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
        console=console,
        transient=True,
        disable=not enabled or not console.is_terminal,
    )
    try:
        with _shown:
            yield
    finally:
        _shown = None


open_bar = Bar
