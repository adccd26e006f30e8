"""C3: feed-forward against recurrent training at the same k, and how far weights of different k come apart."""

from collections.abc import Mapping, Sequence
from statistics import mean

from stablernn.report.claims.stability import TELLING
from stablernn.report.curves import model_name
from stablernn.report.data import Slice, gradient_note
from stablernn.report.difference import Difference, certainty
from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Claim, Finding, Judgement, Outcome, judge
from stablernn.report.load import Analyses, setting
from stablernn.report.names import STABILITIES
from stablernn.report.sections.sweep import Pair, pairs, swept
from stablernn.report.sections.weight_distance import families
from stablernn.report.text import short, span
from stablernn.utils.wording import counted


def trained_feedforward(evidence: Evidence) -> list[Judgement]:
    return [_judged(evidence, data) for data in swept(evidence)]


def _judged(evidence: Evidence, data: Slice) -> Judgement:
    made = pairs(data)
    kinds = {(pair.model, pair.constraint): pair.label for pair in made}
    texts, parts = [], []
    for (model, constraint), label in kinds.items():
        here = [pair for pair in made if (pair.model, pair.constraint) == (model, constraint) and pair.whole]
        if here and constraint == "unstable":
            texts.append(f"{model} (unstable): {_alike(here)[1]}")
        elif here:
            name = model if constraint in STABILITIES else f"{model} {label}"
            outcome, text = _alike(here)
            parts.append(Finding(outcome, f"{name}: {text}", tuple(run for pair in here for run in pair.runs.id)))
    # Weights are compared in other runs on the same text.
    same = next(other for other in evidence.slices if (other.fingerprint, other.name) == (data.fingerprint, data.name))
    every = tuple(run for pair in made for run in pair.runs.id)
    return judge(
        data,
        parts or [Finding(Outcome.UNDECIDED, "no stable model was trained both ways", every)],
        "; ".join([*texts, *_apart(evidence.of(same, "weight_distance")), *gradient_note(data.records)]),
        certainty([change for pair in made if (change := pair.difference) is not None]),
    )


def _alike(pairs: Sequence[Pair]) -> tuple[Outcome, str]:
    """Feed-forward against recurrent over all k of a model under a constraint."""
    runs = sum(len(pair.runs) for pair in pairs)
    diverged = sum(cell.diverged for pair in pairs for cell in pair.both)
    broken = f", {diverged} of {counted(runs, 'run')} diverged" if diverged else ""
    outcome, text = _judge_changes({pair.k: change for pair in pairs if (change := pair.difference) is not None})
    return Outcome.UNDECIDED if diverged and outcome == Outcome.HOLDS else outcome, text + broken


def _judge_changes(changes: Mapping[int, Difference]) -> tuple[Outcome, str]:
    """Outcome and words for differences in per cent, by k; decided as ``stability.judge_difference`` does."""
    if not changes:
        return Outcome.UNDECIDED, "undecided, no two runs of the same seed"
    changes = {k: change for k, change in changes.items() if change.seeds > 1} or changes  # one seed decides nothing
    means = {k: change.mean for k, change in changes.items()}
    over = f"k = {span([str(k) for k in sorted(means)])}"
    if max(change.seeds for change in changes.values()) < 2:
        text = f"feed-forward against recurrent {span([f'{mean:+.1f}' for mean in sorted(means.values())])} %"
        text += f", {mean(means.values()):+.1f} % on average" * (len(means) > 1) + f", {over}"
        words = [change.over_words for change in changes.values()]
        if None not in words:
            text += f", ±{max(filter(None, words), default=0.0):.1f} % over test words at most"
        return Outcome.UNDECIDED, f"undecided with 1 seed ({text})"
    reach = {k: max(change.mean, 0) + change.half for k, change in changes.items()}
    worse = [k for k, change in changes.items() if change.mean > change.half]
    if worse:
        k = max(worse, key=lambda k: means[k])
        small = max(reach.values()) <= 100 * TELLING
        outcome = Outcome.FAILS if len(worse) == len(means) and not small else Outcome.MIXED
        text = f"feed-forward is worse at {len(worse)} of {len(means)} k, by {changes[k].format()} % at k = {k}"
        return outcome, text + f", at none by {100 * TELLING:.0f} %" * small
    k = max(reach, key=lambda k: reach[k])
    if reach[k] > 100 * TELLING:
        return Outcome.UNDECIDED, f"undecided, a difference of {changes[k].format('+')} % at k = {k} is too uncertain"
    widest = max(changes.values(), key=lambda change: change.half)
    return Outcome.HOLDS, f"feed-forward is not worse within ±{widest.half:.{widest.places}f} % ({over})"


def _apart(analyses: Analyses) -> list[str]:
    """How far the weights at the longest k below the reference end from those at it, as a share of their own way."""
    texts, ks = [], set()
    for (model, stability, lr), group in families(analyses).items():
        reference = group[0][1]["options"]["reference"]
        longest = max((k for run, _ in group if (k := setting(run, "truncation.k")) < reference), default=0)
        shares = [
            result["distance"][-1] / result["reference_moved"][-1]
            for record, result in group
            if setting(record, "truncation.k") == longest and result["reference_moved"][-1] > 0
        ]
        if shares and setting(group[0][0], "stability.name") != "unstable":
            ks.add((longest, reference))
            texts.append(f"{short(mean(shares))} ({model_name(model)} {stability}, lr {lr:g})")
    if not texts:
        return []
    between = " or ".join(f"{k} and {reference}" for k, reference in sorted(ks))
    return [
        f"at the end the weights of k = {between} are apart by this share of the way that the latter went: "
        f"{', '.join(texts)}"
    ]


CLAIM = Claim(
    "C3",
    "Does feed-forward training come to the same?",
    "A stable model trained recurrently and one trained feed-forward come to the same.",
    trained_feedforward,
    "make reproduce STUDY=truncation_sweep",
)
