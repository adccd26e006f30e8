"""C3: feed-forward against recurrent training at the same k, and how far weights of different k come apart."""

import statistics
from collections.abc import Mapping, Sequence

from stablernn.report.claims.stability import TELLING
from stablernn.report.difference import Difference, certainty
from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Judgement, Outcome, Part, ids, judge, span
from stablernn.report.load import Found, Section, setting
from stablernn.report.names import MODEL_NAMES, STABILITIES
from stablernn.report.sections.sweep import Pair, pairs
from stablernn.report.sections.truncation import short
from stablernn.report.sections.weight_distance import families
from stablernn.utils.wording import counted


def trained_feedforward(evidence: Evidence) -> list[Judgement]:
    """Feed-forward against recurrent training at the same k, and how far weights of different k come apart."""
    return [_trained(evidence, section) for section in evidence.swept]


def _trained(evidence: Evidence, section: Section) -> Judgement:
    found = pairs(section)
    kinds = {(pair.model, pair.constraint): pair for pair in found}
    told, parts = [], []
    for (model, constraint), any_pair in kinds.items():
        here = [pair for pair in found if (pair.model, pair.constraint) == (model, constraint) and pair.whole]
        if here and constraint == "unstable":
            told.append(f"{model} (unstable): {_alike(here)[1]}")
        elif here:
            name = model if constraint in STABILITIES else f"{model} {any_pair.told}"
            outcome, text = _alike(here)
            parts.append(Part(outcome, f"{name}: {text}", ids([run for pair in here for run in pair.runs])))
    distances = evidence.of(_same_text(evidence, section), "weight_distance")
    every = ids([run for pair in found for run in pair.runs])
    return judge(
        section,
        parts or [Part(Outcome.UNDECIDED, "no stable model was trained both ways", every)],
        "; ".join([*told, *_apart(distances)]),
        certainty([change for pair in found if (change := pair.difference) is not None]),
    )


def _same_text(evidence: Evidence, section: Section) -> Section:
    return next(
        part for part in evidence.parts if part.fingerprint == section.fingerprint and part.name == section.name
    )


def _alike(pairs: Sequence[Pair]) -> tuple[Outcome, str]:
    """Feed-forward against recurrent over all k of a model under a constraint."""
    runs = [run for pair in pairs for run in pair.runs]
    diverged = sum("test" not in run.metrics for run in runs)
    broken = f", {diverged} of {counted(len(runs), 'run')} diverged" if diverged else ""
    outcome, text = _changes_told({pair.k: change for pair in pairs if (change := pair.difference) is not None})
    return Outcome.UNDECIDED if diverged and outcome == Outcome.HOLDS else outcome, text + broken


def _changes_told(changes: Mapping[int, Difference]) -> tuple[Outcome, str]:
    """Outcome and words for differences in per cent, by k; decided as ``stability.difference_told`` does."""
    if not changes:
        return Outcome.UNDECIDED, "undecided, no two runs of the same seed"
    changes = {k: found for k, found in changes.items() if found.seeds > 1} or changes  # one seed decides nothing
    means = {k: found.mean for k, found in changes.items()}
    over = f"k = {span([str(k) for k in sorted(means)])}"
    if max(found.seeds for found in changes.values()) < 2:
        told = f"feed-forward against recurrent {span([f'{mean:+.1f}' for mean in sorted(means.values())])} %"
        told += f", {statistics.mean(means.values()):+.1f} % on average" * (len(means) > 1) + f", {over}"
        words = [found.over_words for found in changes.values()]
        if None not in words:
            told += f", ±{max(filter(None, words), default=0.0):.1f} % over test words at most"
        return Outcome.UNDECIDED, f"undecided with 1 seed ({told})"
    reach = {k: max(found.mean, 0) + found.half for k, found in changes.items()}
    worse = [k for k, found in changes.items() if found.mean > found.half]
    if worse:
        k = max(worse, key=lambda k: means[k])
        small = max(reach.values()) <= 100 * TELLING
        outcome = Outcome.FAILS if len(worse) == len(means) and not small else Outcome.MIXED
        told = f"feed-forward is worse at {len(worse)} of {len(means)} k, by {changes[k].told()} % at k = {k}"
        return outcome, told + f", at none by {100 * TELLING:.0f} %" * small
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
