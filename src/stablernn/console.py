"""The terminal: one console for log lines and progress bars, so that neither tears the other."""

import logging
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

console = Console(stderr=True)
log = logging.getLogger("stablernn")


class _ConsoleHandler(logging.Handler):
    """Log lines through the console of the bars; unlike RichHandler's they are not cut to columns in a file."""

    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else None
        line = Text(time.strftime("%H:%M:%S "), style="dim").append(self.format(record), style=style or "not dim")
        console.print(line, soft_wrap=True)


def configure_logging() -> None:
    """Send this package's log to the console, once."""
    if not log.handlers:
        log.addHandler(_ConsoleHandler())
        log.setLevel(logging.INFO)
        log.propagate = False


_shown: list[Progress] = []


@contextmanager
def progress(enabled: bool = True) -> Iterator[Progress]:
    """The progress display: bars started inside an open one are drawn under it.

    Worker processes draw none; their bars would overwrite each other.
    """
    if _shown:
        yield _shown[-1]
        return
    display = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
        disable=not enabled or not console.is_terminal or multiprocessing.current_process().name != "MainProcess",
    )
    _shown.append(display)
    try:
        with display:
            yield display
    finally:
        _shown.pop()


class Bar:
    """One bar of the display."""

    def __init__(self, display: Progress, description: str, total: int, completed: int = 0) -> None:
        self._display = display
        self._task: TaskID = display.add_task(description, total=total, completed=completed, note="")

    def update(self, completed: int, note: str) -> None:
        self._display.update(self._task, completed=completed, note=note)

    def close(self) -> None:
        self._display.remove_task(self._task)
