"""C3: feed-forward against recurrent training at the same k."""

from collections.abc import Mapping, Sequence

from stablernn.report.claims.stability import TELLING
from stablernn.report.data import Slice
from stablernn.report.difference import Difference, certainty
from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Claim, Finding, Judgement, Outcome, judge
from stablernn.report.sections.sweep import Pair, pairs, swept
from stablernn.report.text import span
from stablernn.utils.wording import counted


def trained_feedforward(evidence: Evidence) -> list[Judgement]:
    return [_judged(data) for data in swept(evidence)]


def _judged(data: Slice) -> Judgement:
    """Of stable models; what is said of unstable ones does not count."""
    made = pairs(data)
    parts = []
    for model, label in dict.fromkeys((pair.model, pair.label) for pair in made):
        here = [pair for pair in made if (pair.model, pair.label) == (model, label) and pair.whole]
        if here:
            outcome, text = _alike(here)
            counts = outcome if label != "unstable" else None
            parts.append(
                Finding(counts, f"{model} {label}: {text}", tuple(run for pair in here for run in pair.runs.id))
            )
    if not any(part.outcome for part in parts):
        every = tuple(run for pair in made for run in pair.runs.id)
        parts.append(Finding(Outcome.UNDECIDED, "no stable model was trained both ways", every))
    return judge(data, parts, "", certainty([change for pair in made if (change := pair.difference) is not None]))


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
    means = sorted(change.mean for change in changes.values())
    over = f"k = {span([str(k) for k in sorted(changes)])}"
    if max(change.seeds for change in changes.values()) < 2:
        text = f"feed-forward against recurrent {span([f'{mean:+.1f}' for mean in means])} %, {over}"
        return Outcome.UNDECIDED, f"undecided with 1 seed ({text})"
    reach = {k: max(change.mean, 0) + change.half for k, change in changes.items()}
    worse = [k for k, change in changes.items() if change.mean > change.half]
    if worse:
        k = max(worse, key=lambda k: changes[k].mean)
        small = max(reach.values()) <= 100 * TELLING
        outcome = Outcome.FAILS if len(worse) == len(changes) and not small else Outcome.MIXED
        text = f"feed-forward is worse at {len(worse)} of {len(changes)} k, by {changes[k].format()} % at k = {k}"
        return outcome, text + f", at none by {100 * TELLING:.0f} %" * small
    k = max(reach, key=lambda k: reach[k])
    if reach[k] > 100 * TELLING:
        return Outcome.UNDECIDED, f"undecided, a difference of {changes[k].format('+')} % at k = {k} is too uncertain"
    widest = max(changes.values(), key=lambda change: change.half)
    return Outcome.HOLDS, f"feed-forward is not worse within ±{widest.half:.{widest.places}f} % ({over})"


CLAIM = Claim(
    "C3",
    "Does feed-forward training come to the same?",
    "A stable model trained recurrently and one trained feed-forward come to the same.",
    trained_feedforward,
    "reproduce study=truncation_sweep",
)
