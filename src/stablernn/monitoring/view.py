"""The states of runs as a view for the terminal."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from stablernn.monitoring.folder import DIVERGED, DONE, FAILED, RUNNING, STATES, STOPPED, TO_DO, RunState, time_left
from stablernn.utils.wording import counted

_STYLES = {RUNNING: "cyan", FAILED: "red", STOPPED: "yellow", DIVERGED: "magenta", TO_DO: "dim", DONE: "green"}
_NOTES = 4
_ANY_WIDTH = 10_000  # columns of a terminal, more than any has


def view(states: Sequence[RunState], title: str) -> RenderableType:
    """Counts, time left, what is wrong, and a row a run, those that ask for attention first: a screen may cut the rest.

    Args:
        states: at least one.
        title: what they are.
    """
    ordered = sorted(states, key=lambda run: STATES.index(run.state))  # stable: by id within a state
    return Group(_head(states, title), *_notes(states), Text(), _Rows(ordered))


@dataclass(frozen=True)
class _Rows:
    """A row a run; on a terminal that is too narrow its id stands above its numbers, so that no id is broken."""

    states: Sequence[RunState]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = self._table(with_ids=True)
        if console.measure(wide, options=options.update(max_width=_ANY_WIDTH)).maximum <= options.max_width:
            yield wide
            return
        numbers = console.render_lines(self._table(with_ids=False), options.update(width=options.max_width - 2))
        for name, line in zip(["run", *(run.id for run in self.states)], numbers, strict=True):
            yield Text(name, style="bold" if name == "run" else "", overflow="fold")
            yield Segment("  ")
            yield from line
            yield Segment.line()

    def _table(self, with_ids: bool) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        if with_ids:
            table.add_column("run", no_wrap=True)
        table.add_column("state", no_wrap=True)
        for head in ("updates", "best", "tokens/s", "left"):
            table.add_column(head, justify="right", no_wrap=True)
        for run in self.states:
            table.add_row(
                *[Text(run.id)] * with_ids,
                Text(run.state, style=_STYLES[run.state]),
                "" if run.update is None else f"{run.update:,}" + (f"/{run.total:,}" if run.total else ""),
                "" if run.best is None else f"{run.best:.2f}" if run.best < 1e5 else f"{run.best:.0e}",
                "" if run.speed is None else f"{run.speed:,.0f}",
                duration(run.left) if run.state == RUNNING and run.left is not None else "",
            )
        return table


def _head(states: Sequence[RunState], title: str) -> RenderableType:
    counts = Text(f"{counted(len(states), 'run')}: ")
    shown = [(state, sum(run.state == state for run in states)) for state in reversed(STATES)]
    parts = [Text(f"{count} {state}", style=_STYLES[state]) for state, count in shown if count]
    bar = Table.grid(padding=(0, 1))
    done = sum(run.share for run in states) / len(states)
    bar.add_row(ProgressBar(total=1.0, completed=done, width=24), f"{done:.0%}", _left(states))
    return Group(Text(title, style="bold", overflow="fold"), counts.append(Text(", ").join(parts)), bar)


def _left(states: Sequence[RunState]) -> str:
    seconds = time_left(states)
    if seconds is None:
        return "time left: not known yet"
    at_work = sum(run.state == RUNNING for run in states)
    return f"about {duration(seconds)} left, {at_work} at a time" if seconds else ""


def _notes(states: Sequence[RunState]) -> Iterable[Text]:
    """What is wrong with which run."""
    notes = [run for run in states if run.note]
    for run in notes[:_NOTES]:
        yield Text(f"{run.id}: {run.note}", style="yellow", overflow="fold")
    if len(notes) > _NOTES:
        yield Text(f"… and {len(notes) - _NOTES} more of which something is wrong", style="yellow")


def duration(seconds: float) -> str:
    """A length of time in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
