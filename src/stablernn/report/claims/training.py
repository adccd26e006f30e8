"""C3: feed-forward against recurrent training at the same k, and how far weights of different k come apart."""

import statistics
from collections.abc import Mapping

from stablernn.record import Record
from stablernn.report.claims.stability import TELLING
from stablernn.report.difference import Difference, certainty, difference, relative
from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Judgement, Outcome, Part, ids, judge, span
from stablernn.report.load import Found, Section, setting
from stablernn.report.names import MODEL_NAMES
from stablernn.report.rows import Cell
from stablernn.report.sweep import sweep_cells
from stablernn.report.truncation import short
from stablernn.report.weight_distance import families
from stablernn.wording import counted


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
    parts = [part for model in models if (part := _alike(model, "stable", cells)) is not None]
    differences = [found for by in cells.values() if (found := _difference(by)) is not None]
    return judge(
        section,
        parts or [Part(Outcome.UNDECIDED, "no stable model was trained both ways", ids(runs))],
        "; ".join([*told, *_apart(distances)]),
        certainty(differences),
    )


def _difference(by: Mapping[str, Cell]) -> Difference | None:
    """Feed-forward to recurrent, in per cent of the recurrent perplexity."""
    return difference(by["recurrent"], by["feedforward"], relative) if len(by) == 2 else None


def _same_text(evidence: Evidence, section: Section) -> Section:
    return next(
        part for part in evidence.parts if part.fingerprint == section.fingerprint and part.name == section.name
    )


def _alike(model: str, stability: str, cells: Mapping[tuple[str, str, int], Mapping[str, Cell]]) -> Part | None:
    """Feed-forward against recurrent over all k of a model."""
    changes: dict[int, Difference] = {}
    runs: list[Record] = []
    diverged = 0
    for (name, constraint, k), by in sorted(cells.items()):
        if (name, constraint) == (model, stability) and len(by) == 2:
            here = [*by["recurrent"].runs, *by["feedforward"].runs]
            runs += here
            diverged += sum("test" not in run.metrics for run in here)
            if (found := _difference(by)) is not None:
                changes[k] = found
    if not runs:
        return None
    broken = f", {diverged} of {counted(len(runs), 'run')} diverged" if diverged else ""
    outcome, text = _changes_told(changes)
    if diverged and outcome == Outcome.HOLDS:
        outcome = Outcome.UNDECIDED
    return Part(outcome, f"{MODEL_NAMES[model]}: {text}{broken}", ids(runs))


def _changes_told(changes: Mapping[int, Difference]) -> tuple[Outcome, str]:
    """Outcome and words for differences in per cent, by k; decided as ``stability.difference_told`` does."""
    if not changes:
        return Outcome.UNDECIDED, "undecided, no two runs of the same seed"
    means = {k: found.mean for k, found in changes.items()}
    over = f"k = {span([str(k) for k in sorted(means)])}"
    if min(found.seeds for found in changes.values()) < 2:
        least, most = min(means.values()), max(means.values())
        told = f"feed-forward against recurrent {least:+.1f} to {most:+.1f} %, {over}"
        words = [found.over_words for found in changes.values()]
        if None not in words:
            told += f", ±{max(filter(None, words), default=0.0):.1f} % over test words at most"
        return Outcome.UNDECIDED, f"undecided with 1 seed ({told})"
    reach = {k: max(found.mean, 0) + found.half for k, found in changes.items()}
    worse = [k for k, found in changes.items() if found.mean > found.half]
    if worse:
        k = max(worse, key=lambda k: means[k])
        outcome = Outcome.FAILS if len(worse) == len(means) else Outcome.MIXED
        where = f"{len(worse)} of {len(means)} k"
        return outcome, f"feed-forward is worse at {where}, by {changes[k].told()} % at k = {k}"
    k = max(reach, key=lambda k: reach[k])
    if reach[k] > 100 * TELLING:
        return Outcome.UNDECIDED, f"undecided, a difference of {changes[k].told('+')} % at k = {k} is too uncertain"
    widest = max(changes.values(), key=lambda found: found.half)
    return Outcome.HOLDS, f"feed-forward is not worse within ±{widest.half:.{widest.places}f} % ({over})"


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
    return [
        f"at the end the weights of k = {between} are apart by this share of the way that the latter went: "
        f"{', '.join(told)}"
    ]
