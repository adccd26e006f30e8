"""The states of runs as a view for the terminal."""

import io
import textwrap
from collections.abc import Callable, Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from stablernn.monitoring.states import DIVERGED, DONE, FAILED, RUNNING, STATES, STOPPED, TO_DO, RunState, time_left
from stablernn.utils.wording import counted

_STYLES = {RUNNING: "cyan", FAILED: "red", STOPPED: "yellow", DIVERGED: "magenta", TO_DO: "dim", DONE: "green"}
_MEANT = {
    FAILED: "ended with an error, or its record cannot be read",
    STOPPED: "no process is at work on it; the same command resumes it",
    DIVERGED: "a step was not finite; recorded as such",
}
_WIDE = 100  # columns from which on all is shown
_NARROW = 80  # below which the name of a run would not stand on a line
_LEAST_ROWS = 3
_NOTES, _BRIEF_NOTES = 4, 2


def view(states: Sequence[RunState], title: str, by: str, width: int, height: int | None) -> RenderableType:
    """Counts, time left, the best runs, a table, and what is wrong.

    Args:
        states: at least one.
        title: what they are.
        by: a row for each of the ``runs`` or ``groups``; ``auto``: runs as long as they fit.
        width: columns of the terminal.
        height: its lines; None: as many as it takes.
    """
    above, below = [_head(states, title), *_best(states), Text()], list(_notes(states, brief=height is not None))
    rows = None if height is None else height - _lines(Group(*above, *below), width) - 2  # heads, and what is left out
    if by == "auto":
        by = "runs" if rows is None or len(states) <= rows else "groups"
    make = _runs if by == "runs" else _groups
    table = make(states, width, rows if rows is None else max(_LEAST_ROWS, rows))
    while rows is not None and rows > _LEAST_ROWS and _lines(Group(*above, table, *below), width) > (height or 0):
        rows -= 1  # long names take several lines
        table = make(states, width, rows)
    return Group(*above, table, *below)


def _lines(shown: RenderableType, width: int) -> int:
    console = Console(width=width, file=io.StringIO())
    return len(console.render_lines(shown))


def _head(states: Sequence[RunState], title: str) -> RenderableType:
    counts = Text(f"{counted(len(states), 'run')}: ")
    shown = [(state, sum(run.state == state for run in states)) for state in STATES]
    parts = [Text(f"{count} {state}", style=_STYLES[state]) for state, count in reversed(shown) if count]
    bar = Table.grid(padding=(0, 1))
    done = sum(run.share or 0.0 for run in states) / len(states)
    bar.add_row(ProgressBar(total=1.0, completed=done, width=24), f"{done:.0%}", _left(states))
    return Group(Text(title, style="bold", overflow="fold"), counts.append(Text(", ").join(parts)), bar)


def _left(states: Sequence[RunState]) -> str:
    if all(run.state in (DONE, DIVERGED, FAILED) for run in states):
        return ""
    seconds = time_left(states)
    if seconds is None:
        return "time left: not known yet"
    at_work = sum(run.state == RUNNING for run in states)
    text = f"about {duration(seconds)}"
    return f"{text} left, {at_work} at a time" if at_work else f"{text} of work left, and nothing is running"


def _best(states: Sequence[RunState]) -> Iterable[Text]:
    """A line for each text: scores on different texts do not compare."""
    scored = [run for run in states if run.best is not None]
    texts = sorted({(run.data, run.fingerprint) for run in scored})
    for data, fingerprint in texts:
        best = min(
            (run for run in scored if (run.data, run.fingerprint) == (data, fingerprint)),
            key=lambda run: run.metric.cost(run.best or 0.0),
        )
        several = sum(data == other for other, _ in texts) > 1
        where = f" on {data}" + (f" ({fingerprint or 'fingerprint not known'})" if several else "") if data else ""
        yield Text(f"best so far{where}: valid {best.metric.name} {best.best:.2f}, {best.id}", overflow="fold")


def _runs(states: Sequence[RunState], width: int, lines: int | None) -> RenderableType:
    names = _names(states)
    ordered = sorted(states, key=lambda run: STATES.index(run.state))  # stable: by id within a state
    shown = ordered if lines is None else ordered[:lines]
    table = _table(width, "run", "state", "updates", "done", "valid", "best", "words/s", "left")
    cells = []
    for run in shown:
        updates = "" if run.update is None else f"{run.update:,}" + (f"/{run.total:,}" if run.total else "")
        cells.append(
            [
                names[run.id],
                Text(run.state, style=_STYLES[run.state]),
                updates,
                _percent(run.share),
                _score(run.valid),
                _score(run.best),
                "" if run.speed is None else f"{run.speed:,.0f}",
                duration(run.left) if run.state == RUNNING and run.left is not None else "",
            ]
        )
    _fill(table, width, cells)
    return _cut(table, ordered[len(shown) :])


def _groups(states: Sequence[RunState], width: int, lines: int | None) -> RenderableType:
    groups: dict[str, list[RunState]] = {}
    for run in states:
        groups.setdefault(run.group, []).append(run)

    def urgency(name: str) -> int:
        return min(STATES.index(run.state) for run in groups[name])

    ordered = sorted(groups, key=urgency)
    shown = ordered if lines is None else ordered[:lines]
    table = _table(width, "group", "state", "runs", "done", "valid", "best", "words/s", "left")
    cells = []
    for name in shown:
        runs = groups[name]
        going = [run for run in runs if run.state == RUNNING]
        state = STATES[urgency(name)]
        speeds = [run.speed for run in going if run.speed is not None]
        lefts = [run.left for run in going if run.left is not None]
        cells.append(
            [
                name,
                Text(state, style=_STYLES[state]),
                f"{sum(run.state == DONE for run in runs)}/{len(runs)}",
                _percent(sum(run.share or 0.0 for run in runs) / len(runs)),
                _score(_leading(runs, lambda run: run.valid)),
                _score(_leading(runs, lambda run: run.best)),
                f"{sum(speeds):,.0f}" if speeds else "",
                duration(max(lefts)) if lefts else "",
            ]
        )
    _fill(table, width, cells)
    return _cut(table, [run for name in ordered[len(shown) :] for run in groups[name]])


def _leading(runs: Sequence[RunState], of: Callable[[RunState], float | None]) -> float | None:
    scored = [(run.metric.cost(value), value) for run in runs if (value := of(run)) is not None]
    return min(scored)[1] if scored else None


def _names(states: Sequence[RunState]) -> dict[str, str]:
    """Each run by as little of its id as tells it from the others."""
    for short in (lambda run: run.name, lambda run: f"{run.data}-{run.name}", lambda run: run.id):
        names = {run.id: short(run) for run in states}
        if len(set(names.values())) == len(states):
            return names
    return {run.id: run.id for run in states}


def _table(width: int, *heads: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, head in enumerate(_fit(width, *heads)):
        table.add_column(head, justify="left" if number < 2 else "right", no_wrap=number > 0, overflow="fold")
    return table


def _fill(table: Table, width: int, rows: Sequence[Sequence[str | Text]]) -> None:
    """Add the rows; a name that is longer than what the other columns leave goes on in a new line, after a hyphen."""
    fitted = [_fit(width, *row) for row in rows]
    heads = [column.header for column in table.columns]
    others = list(zip(heads, *fitted, strict=True))[1:]
    room = width - sum(2 + max(cell_len(str(cell)) for cell in column) for column in others)
    for name, *cells in fitted:
        table.add_row(Text(textwrap.fill(str(name), max(room, 1)), overflow="fold"), *cells)


def _fit(width: int, *cells: str | Text) -> list[str | Text]:
    """A narrow terminal shows the share of the updates, not their number; a very narrow one of the scores the best."""
    left_out = () if width >= _WIDE else (2, 6) if width >= _NARROW else (2, 4, 6)
    return [cell for number, cell in enumerate(cells) if number not in left_out]


def _cut(table: Table, left_out: Sequence[RunState]) -> RenderableType:
    if not left_out:
        return table
    counts = ", ".join(f"{count} {state}" for state in STATES if (count := sum(run.state == state for run in left_out)))
    return Group(table, Text(f"… and {len(left_out)} more: {counts}", style="dim"))


def _notes(states: Sequence[RunState], brief: bool) -> Iterable[Text]:
    """What the states mean, and what is wrong with which run; brief: the latter alone, a line for each."""
    notes = [run for run in states if run.note]
    most = _BRIEF_NOTES if brief else _NOTES
    there = set() if brief else {run.state for run in states}
    for state, meaning in _MEANT.items():
        if state in there:
            yield Text(f"{state}: {meaning}", style="dim")
    for run in notes[:most]:
        yield Text(f"{run.id}: {run.note}", style="yellow", overflow="ellipsis" if brief else "fold", no_wrap=brief)
    if len(notes) > most:
        yield Text(f"… and {len(notes) - most} more of which something is wrong", style="yellow")


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}" if value < 1e5 else f"{value:.0e}"


def duration(seconds: float) -> str:
    """A length of time in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
