"""C3: feed-forward against recurrent training at the same k, and how far weights of different k come apart."""

import statistics
from collections.abc import Mapping, Sequence

from stablernn.record import Record
from stablernn.report.claims.stability import TELLING, pairs
from stablernn.report.evidence import Evidence, Found
from stablernn.report.judgement import Judgement, Outcome, Part, half_width, ids, judge, seeds_told, span
from stablernn.report.load import Section, setting
from stablernn.report.sweep import sweep_cells
from stablernn.report.tables import MODEL_NAMES, Cell
from stablernn.report.truncation import short
from stablernn.report.weight_distance import families


def trained_feedforward(evidence: Evidence) -> list[Judgement]:
    """Feed-forward against recurrent training at the same k, and how far weights of different k come apart."""
    return [_trained(evidence, section) for section in evidence.swept]


def _trained(evidence: Evidence, section: Section) -> Judgement:
    cells = sweep_cells(section)
    models = sorted({model for model, _, _ in cells}, key=lambda name: list(MODEL_NAMES).index(name))
    told = [
        part.text.replace(":", " (unstable):", 1)
        for model in models
        if (part := _alike(model, "unstable", cells)) is not None
    ]
    distances = evidence.of(_same_text(evidence, section), "weight_distance")
    runs = [run for by in cells.values() for cell in by.values() for run in cell.runs]
    seeds = len({setting(run, "seed") for run in runs})
    parts = [part for model in models if (part := _alike(model, "stable", cells)) is not None]
    return judge(
        section,
        parts or [Part(Outcome.UNDECIDED, "no stable model was trained both ways", ids(runs))],
        "; ".join([*told, *_apart(distances)]),
        seeds_told(seeds, "95 % t intervals of the differences between runs of the same seed"),
    )


def _same_text(evidence: Evidence, section: Section) -> Section:
    return next(
        part for part in evidence.parts if part.fingerprint == section.fingerprint and part.name == section.name
    )


def _alike(model: str, stability: str, cells: Mapping[tuple[str, str, int], Mapping[str, Cell]]) -> Part | None:
    """Feed-forward against recurrent over all k of a model, in per cent of the recurrent perplexity."""
    changes: dict[int, list[float]] = {}
    runs: list[Record] = []
    diverged = 0
    for (name, constraint, k), by in sorted(cells.items()):
        if (name, constraint) == (model, stability) and len(by) == 2:
            recurrent, truncated = by["recurrent"], by["feedforward"]
            here = [*recurrent.runs, *truncated.runs]
            runs += here
            diverged += sum("test" not in run.metrics for run in here)
            if found := [100 * (b / a - 1) for a, b in pairs(recurrent, truncated)]:
                changes[k] = found
    if not runs:
        return None
    broken = f", {diverged} of {len(runs)} runs diverged" if diverged else ""
    outcome, text = _changes_told(changes)
    if diverged and outcome == Outcome.HOLDS:
        outcome = Outcome.UNDECIDED
    return Part(outcome, f"{MODEL_NAMES[model]}: {text}{broken}", ids(runs))


def _changes_told(changes: Mapping[int, Sequence[float]]) -> tuple[Outcome, str]:
    if not changes:
        return Outcome.UNDECIDED, "undecided, no two runs of the same seed"
    means = {k: statistics.mean(values) for k, values in changes.items()}
    least, most = min(means.values()), max(means.values())
    over = f"k = {span([str(k) for k in sorted(means)])}"
    if min(map(len, changes.values())) < 2:
        return (
            Outcome.UNDECIDED,
            f"undecided with 1 seed (feed-forward against recurrent {least:+.1f} to {most:+.1f} %, {over})",
        )
    halves = {k: half_width(values) for k, values in changes.items()}
    worse = [k for k in means if means[k] - halves[k] > 0]
    widest = max(halves.values())
    if worse:
        k = max(worse, key=lambda k: means[k])
        outcome = Outcome.FAILS if len(worse) == len(means) else Outcome.MIXED
        return (
            outcome,
            f"feed-forward is worse at {len(worse)} of {len(means)} k,"
            f" by {means[k]:.1f} ± {halves[k]:.1f} % at k = {k}",
        )
    if widest > 100 * TELLING:
        return Outcome.UNDECIDED, f"undecided, differences are uncertain by up to ±{widest:.1f} % ({over})"
    return Outcome.HOLDS, f"feed-forward is not worse within ±{widest:.1f} % ({over})"


def _apart(found: Found) -> list[str]:
    """How far the weights at the longest k below the reference end from those at it, as a share of their own way."""
    told, ks = [], set()
    for (model, stability, lr), group in families(found).items():
        reference = group[0][1]["options"]["reference"]
        below = [k for record, _ in group if (k := setting(record, "truncation.k")) < reference]
        shares = [
            result["distance"][-1] / result["reference_moved"][-1]
            for record, result in group
            if setting(record, "truncation.k") == max(below, default=0) and result["reference_moved"][-1] > 0
        ]
        if shares and setting(group[0][0], "stability.name") != "unstable":
            ks.add((max(below), reference))
            told.append(f"{short(statistics.mean(shares))} ({MODEL_NAMES.get(model, model)} {stability}, lr {lr:g})")
    if not told:
        return []
    between = " or ".join(f"{k} and {reference}" for k, reference in sorted(ks))
    return [f"the weights of k = {between} end apart by so much of the way they went: {', '.join(told)}"]
