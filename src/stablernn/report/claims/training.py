"""C3: feed-forward against recurrent training at the same k."""

from collections.abc import Sequence

from stablernn.report.claims.inference import is_stable
from stablernn.report.claims.stability import INTERVAL
from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Claim, Finding, Judgement, Outcome, judge
from stablernn.report.sections.sweep import Pair, missing_control, pairs, swept, unit_of_change
from stablernn.report.slices import Slice
from stablernn.report.statistics import LEVEL, format_seeds, holm
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
            outcome, text = _alike(here, unit_of_change(data))
            counts = outcome if all(is_stable(cell) for pair in here for cell in pair.both) else None
            parts.append(
                Finding(counts, f"{model} {label}: {text}", tuple(run for pair in here for run in pair.runs.id))
            )
    if not any(part.outcome for part in parts):
        every = tuple(run for pair in made for run in pair.runs.id)
        parts.append(Finding(Outcome.UNDECIDED, "no stable model was trained both ways", every))
    metric = data.metric
    evidence = f"test {metric.title} of feed-forward minus that of recurrent training, margin {metric.margin:g}"
    evidence += f"; {missing}" if (missing := missing_control(data)) else ""
    return judge(data, parts, evidence, f"{INTERVAL}; a loss at one of several k by Holm’s correction")


def _alike(pairs: Sequence[Pair], unit: str) -> tuple[Outcome, str]:
    """Feed-forward against recurrent over all k of a model under a constraint."""
    runs = sum(len(pair.runs) for pair in pairs)
    diverged = sum(cell.diverged for pair in pairs for cell in pair.both)
    broken = f", {diverged} of {counted(runs, 'run')} diverged" if diverged else ""
    outcome, text = _decide(pairs, unit)
    return Outcome.UNDECIDED if diverged and outcome == Outcome.HOLDS else outcome, text + broken


def _decide(pairs: Sequence[Pair], unit: str) -> tuple[Outcome, str]:
    """Outcome and words: no loss at any k holds the claim, a loss at one of them breaks it in part."""
    compared = {pair.k: pair.comparison for pair in pairs if pair.comparison}
    required = pairs[0].required
    if not compared:
        seeds = max(min(len(cell.finished) for cell in pair.both) for pair in pairs)
        changes = [f"{change:+.3g}" for change in sorted(pair.change for pair in pairs if pair.change is not None)]
        ks = span([str(pair.k) for pair in pairs])
        text = f" (feed-forward against recurrent {span(changes)} {unit}, k = {ks})" if changes else ""
        return Outcome.UNDECIDED, f"undecided with {seeds} of {counted(required, 'seed')}{text}"
    chances = dict(zip(compared, holm([each.p_loss for each in compared.values()]), strict=True))
    worse = [k for k, each in compared.items() if chances[k] < 1 - LEVEL and each.verdict == "loss"]
    k = max(worse or compared, key=lambda k: compared[k].interval[1])
    seeds = min(number for each in compared.values() for number in each.seeds)
    few = f" ({format_seeds(seeds, required)})" if seeds < required else ""
    widest = f"{compared[k].format_difference()} {compared[k].unit} at k = {k}{few}"
    if worse:
        outcome = Outcome.FAILS if len(worse) == len(compared) else Outcome.MIXED
        return outcome, f"feed-forward is worse at {len(worse)} of {len(compared)} k, by {widest}"
    if all(each.verdict in ("gain", "no loss") for each in compared.values()):
        return Outcome.HOLDS, f"feed-forward is no worse at any of {len(compared)} k, at most {widest}"
    return Outcome.UNDECIDED, f"undecided, {widest} leaves room for a loss and for none"


CLAIM = Claim(
    "C3",
    "Does feed-forward training come to the same?",
    "A stable model trained recurrently and one trained feed-forward come to the same.",
    trained_feedforward,
    "reproduce study=truncation_sweep",
)
