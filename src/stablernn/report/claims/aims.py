"""The published numbers as aims: of the unstable models, and of what the best certified LSTM costs."""

import statistics
from collections.abc import Iterator, Sequence

from stablernn.report.difference import difference
from stablernn.report.judgement import Part, half_width, ids
from stablernn.report.load import Section
from stablernn.report.names import PUBLISHED
from stablernn.report.rows import Cell, Row
from stablernn.report.sections.perplexity import constraint_name
from stablernn.utils.wording import counted


def aims(section: Section, chosen: Sequence[Row]) -> Iterator[Part]:
    """A line for each aim that the rows tell something of; none of them counts in the verdict on the claim.

    The unstable models are held against their published values at the protocol alone. The price of the best certified
    LSTM is told on all WikiText-2, where there is a choice of constraints or the protocol asks for it.
    """
    for row in chosen:
        if section.protocol and (row.model, "unstable") in PUBLISHED and "unstable" in row.cells:
            yield _at_most(row, PUBLISHED[row.model, "unstable"])
    for row in chosen:
        certified = {name: cell for name, cell in row.cells.items() if name != "unstable" and _certified(cell)}
        asked = section.protocol or (section.data == "wikitext2" and len(certified) > 1)
        if asked and row.model == "lstm" and "unstable" in row.cells:
            yield _best_certified(row, certified)


def _at_most(row: Row, aim: float) -> Part:
    """The mean of an unstable model against a published value, by Student's t over seeds: the text is the same."""
    cell = row.cells["unstable"]
    title, runs = f"aim, unstable {row.name} at most the published {aim}", ids(cell.runs)
    if not cell.values:
        return Part(None, f"{title}: undecided, no run finished", runs)
    mean, half, seeds = statistics.mean(cell.values), half_width(cell.values), len(cell.values)
    if seeds == 1:
        return Part(None, f"{title}: undecided with 1 seed ({mean:.1f})", runs)
    told = f"{mean:.1f} ± {half:.1f} over {counted(seeds, 'seed')}" + _diverged(cell)
    return Part(None, f"{title}: {_outcome(mean, half, aim)}, {told}", runs)


def _best_certified(row: Row, certified: dict[str, Cell]) -> Part:
    """What the best certified LSTM costs; chosen on the validation split, as the least on test would flatter it."""
    unstable = row.cells["unstable"]
    aim = PUBLISHED["lstm", "stable"] - PUBLISHED["lstm", "unstable"]
    title = f"aim, best certified {row.name} at most {aim:.1f} above the unstable one"
    if not certified:
        return Part(None, f"{title}: undecided, no constraint has all of its runs certified", ids(unstable.runs))
    name = min(certified, key=lambda name: _validation(certified[name]))
    cell = certified[name]
    runs = ids([*unstable.runs, *cell.runs])
    best = constraint_name(cell.runs[0], name)
    chosen = f"{best}, by validation among {len(certified)}" if len(certified) > 1 else best
    found = difference(unstable, cell)
    if found is None:
        return Part(None, f"{title}: undecided, no two runs of the same seed ({chosen})", runs)
    if found.seeds == 1:
        return Part(None, f"{title}: undecided with 1 seed, {found.mean:+.{found.places}f} ({chosen})", runs)
    told = f"{found.told('+')} ({chosen})" + _diverged(unstable)
    return Part(None, f"{title}: {_outcome(found.mean, found.half, aim)}, {told}", runs)


def _outcome(mean: float, half: float, aim: float) -> str:
    return "reached" if mean + half <= aim else "not reached" if mean - half > aim else "undecided"


def _certified(cell: Cell) -> bool:
    """Whether every run finished and is certified."""
    return len(cell.finished) == len(cell.runs) and all(run.certificate.get("certified") for run in cell.runs)


def _validation(cell: Cell) -> float:
    return statistics.mean(run.metrics["valid"]["value"] for run in cell.finished)


def _diverged(cell: Cell) -> str:
    missing = len(cell.runs) - len(cell.values)
    return f", {missing} of {counted(len(cell.runs), 'unstable run')} diverged" if missing else ""
