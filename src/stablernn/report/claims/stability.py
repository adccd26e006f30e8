"""C1: what stability costs, by differences of perplexity between runs of the same seed."""

import statistics
from collections.abc import Sequence

from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Judgement, Outcome, Part, half_width, ids, judge, seeds_told, span
from stablernn.report.load import Section, setting
from stablernn.report.tables import MODEL_NAMES, PUBLISHED, STABILITIES, Cell, Row, rows

# The published stable LSTM is 3 % above the unstable one: an interval wider than that could hide such a loss.
TELLING = 0.03


def price_of_stability(evidence: Evidence) -> list[Judgement]:
    """Stable minus unstable test perplexity over seeds, recurrent models at their longest k."""
    found = []
    for section in evidence.study:
        recurrent = [row for row in rows(section) if row.approximation == "recurrent"]
        longest = {row.model: max(other.k for other in recurrent if other.model == row.model) for row in recurrent}
        chosen = [row for row in recurrent if row.k == longest[row.model]]
        if chosen:
            found.append(_priced(section, chosen))
    return found


def _priced(section: Section, chosen: Sequence[Row]) -> Judgement:
    seeds = max(len(paired(*_cells(row))) for row in chosen)
    told = []
    for row in chosen:
        unstable, stable = _cells(row)
        text = f"{MODEL_NAMES.get(row.model, row.model)} {stable.text()} stable, {unstable.text()} unstable"
        if section.protocol and len(row.published) == len(STABILITIES):
            difference = PUBLISHED[row.model, "stable"] - PUBLISHED[row.model, "unstable"]
            text += f" (published difference {difference:+.1f})"
        told.append(text)
    return judge(
        section,
        [_cost(row) for row in chosen],
        f"test perplexity at k = {span([str(row.k) for row in chosen])} (differences are stable minus unstable): "
        + "; ".join(told),
        seeds_told(seeds, "95 % t intervals of the differences between runs of the same seed"),
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
        f"{len(cell.runs) - len(cell.values)} of {len(cell.runs)} {kind} runs diverged"
        for kind, cell in zip(STABILITIES, (unstable, stable), strict=True)
        if len(cell.values) < len(cell.runs)
    ]
    differences = paired(unstable, stable)
    outcome, text = difference_told(differences, statistics.mean(unstable.values) if unstable.values else 1.0)
    if broken:
        outcome, text = Outcome.UNDECIDED, ", ".join([*([text] if differences else ["undecided"]), *broken])
        if not stable.values and len(unstable.values) > 1:
            outcome, text = Outcome.FAILS, f"training fails when stable, {broken[-1]}"
    return Part(outcome, f"{name}: {text}", runs)


def difference_told(differences: Sequence[float], scale: float) -> tuple[Outcome, str]:
    """Outcome and words for differences of perplexity over seeds; ``scale``: the perplexity that they are of."""
    if not differences:
        return Outcome.UNDECIDED, "undecided, no two runs of the same seed"
    mean = statistics.mean(differences)
    if len(differences) == 1:
        return Outcome.UNDECIDED, f"undecided with 1 seed (difference {mean:+.1f})"
    half = half_width(differences)
    if mean - half > 0:
        return Outcome.FAILS, f"a loss of {mean:.1f} ± {half:.1f}"
    if mean + half < 0:
        return Outcome.HOLDS, f"a gain of {-mean:.1f} ± {half:.1f}"
    if half > TELLING * scale:
        return Outcome.UNDECIDED, f"undecided, a difference of {mean:+.1f} ± {half:.1f} is too uncertain"
    return Outcome.HOLDS, f"no loss within ±{half:.1f} (difference {mean:+.1f})"


def paired(base: Cell, other: Cell) -> list[float]:
    """Other minus base, for every seed that finished in both."""
    return [b - a for a, b in pairs(base, other)]


def pairs(base: Cell, other: Cell) -> list[tuple[float, float]]:
    by_seed = {setting(run, "seed"): value for run, value in zip(base.finished, base.values, strict=True)}
    return [
        (by_seed[seed], value)
        for run, value in zip(other.finished, other.values, strict=True)
        if (seed := setting(run, "seed")) in by_seed
    ]
