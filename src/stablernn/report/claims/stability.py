"""C1: what stability costs, by differences of perplexity between runs of the same seed."""

import statistics
from collections.abc import Sequence

from stablernn.report.claims.aims import aims
from stablernn.report.difference import Difference, certainty, difference
from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Judgement, Outcome, Part, ids, judge, span
from stablernn.report.load import Section
from stablernn.report.names import MODEL_NAMES, PUBLISHED, STABILITIES
from stablernn.report.rows import Cell, Row, rows
from stablernn.utils.wording import counted

# The published stable LSTM is 3 % above the unstable one: an interval that reaches further could hide such a loss.
TELLING = 0.03


def price_of_stability(evidence: Evidence) -> list[Judgement]:
    """Stable minus unstable test perplexity over seeds and test words, recurrent models at their longest k."""
    found = []
    for section in evidence.study:
        recurrent = [row for row in rows(section) if row.approximation == "recurrent"]
        longest = {row.model: max(other.k for other in recurrent if other.model == row.model) for row in recurrent}
        chosen = [row for row in recurrent if row.k == longest[row.model]]
        if chosen:
            found.append(_priced(section, chosen))
    return found


def _priced(section: Section, chosen: Sequence[Row]) -> Judgement:
    told, found = [], []
    for row in chosen:
        unstable, stable = _cells(row)
        here = difference(unstable, stable)
        text = f"{MODEL_NAMES.get(row.model, row.model)} {stable.text()} stable, {unstable.text()} unstable"
        if section.protocol and {*STABILITIES} <= row.published.keys():
            published = PUBLISHED[row.model, "stable"] - PUBLISHED[row.model, "unstable"]
            text += f" (published difference {published:+.1f})"
        if here is not None:
            found.append(here)
            if here.seeds > 1:
                text += f", difference {here.mean:+.{here.places}f}, {here.sources}"
        told.append(text)
    return judge(
        section,
        [*(_cost(row) for row in chosen), *aims(section, chosen)],
        f"test perplexity at k = {span([str(row.k) for row in chosen])} (differences are stable minus unstable): "
        + "; ".join(told),
        certainty(found),
    )


def _cells(row: Row) -> tuple[Cell, Cell]:
    unstable, stable = (row.cells.get(name, Cell(())) for name in STABILITIES)
    return unstable, stable


def _cost(row: Row) -> Part:
    unstable, stable = _cells(row)
    name = MODEL_NAMES.get(row.model, row.model) + (f" ({row.note})" if row.note else "")
    runs = ids([*unstable.runs, *stable.runs])
    missing = [kind for kind, cell in zip(STABILITIES, (unstable, stable), strict=True) if not cell.runs]
    if missing:
        return Part(Outcome.UNDECIDED, f"{name}: undecided, no {missing[0]} run", runs)
    broken = [
        f"{len(cell.runs) - len(cell.values)} of {counted(len(cell.runs), f'{kind} run')} diverged"
        for kind, cell in zip(STABILITIES, (unstable, stable), strict=True)
        if len(cell.values) < len(cell.runs)
    ]
    found = difference(unstable, stable)
    outcome, text = difference_told(found, statistics.mean(unstable.values) if unstable.values else 1.0)
    if broken:
        outcome, text = Outcome.UNDECIDED, ", ".join([text if found else "undecided", *broken])
        if not stable.values and len(unstable.values) > 1:
            outcome, text = Outcome.FAILS, f"training fails when stable, {broken[-1]}"
    return Part(outcome, f"{name}: {text}", runs)


def difference_told(found: Difference | None, scale: float) -> tuple[Outcome, str]:
    """Outcome and words for a difference of perplexity; ``scale``: the perplexity that it is of.

    A loss or a gain is one whose interval over all known sources leaves out 0; a loss is small, and the claim holds in
    part, where all of the interval lies below a telling one, and so there is no loss where it holds 0 as well. One seed
    decides nothing about the method, whatever its interval over words.
    """
    if found is None:
        return Outcome.UNDECIDED, "undecided, no two runs of the same seed"
    mean, half, places = found.mean, found.half, found.places
    if found.seeds == 1:
        told = ", ".join(filter(None, (f"difference {mean:+.{places}f}", found.sources)))
        return Outcome.UNDECIDED, f"undecided with 1 seed ({told})"
    if mean - half > 0:
        small = mean + half <= TELLING * scale
        told = f"a loss of {found.told()}" + f", less than {100 * TELLING:.0f} %" * small
        return Outcome.MIXED if small else Outcome.FAILS, told
    if mean + half < 0:
        return Outcome.HOLDS, f"a gain of {found.told(flip=True)}"
    if max(mean, 0) + half > TELLING * scale:
        return Outcome.UNDECIDED, f"undecided, a difference of {found.told('+')} is too uncertain"
    return Outcome.HOLDS, f"no loss within ±{half:.{places}f} (difference {mean:+.{places}f})"
