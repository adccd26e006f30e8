"""C6: whether unconstrained models contract on the data."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from stablernn.report.claims.groups import Groups, unconstrained
from stablernn.report.difference import half_width, student
from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Claim, Finding, Judgement, Outcome, ids, judge
from stablernn.report.load import Analyses
from stablernn.report.text import span
from stablernn.utils.wording import counted


def contraction_on_data(evidence: Evidence) -> list[Judgement]:
    """Lyapunov exponent and growth over r words, of unconstrained recurrent models at their best epoch."""
    made = []
    for data in evidence.slices:
        groups = unconstrained(evidence.of(data, "contraction"))
        if groups:
            options = groups[0][1][0][1]["options"]
            growth = [
                f"{name} λ₁ = {max(result['stages']['best']['largest'][0] for _, result in runs):.2g}"
                for name, runs in groups
            ]
            made.append(
                judge(
                    data,
                    [_contracting(name, runs) for name, runs in groups],
                    f"in one word two states may still move apart: {'; '.join(growth)}",
                    f"95 % intervals over {_over(groups, options)} of the {options['split']} split; "
                    "growth is searched for, so a larger one may exist",
                )
            )
    return made


def _over(groups: Groups, options: Mapping[str, Any]) -> str:
    seeds = min(len(runs) for _, runs in groups)
    return f"{counted(seeds, 'seed')}, on stretches" if seeds > 1 else counted(options["streams"], "stretch")


def _contracting(name: str, runs: Analyses) -> Finding:
    stages = [result["stages"]["best"] for _, result in runs]
    exponent, half = _exponent(stages, runs[0][1]["options"]["streams"])
    starts = [stage["contracts_from"] for stage in stages]
    text = f"{name}: Lyapunov exponent {exponent:+.3f} ± {half:.3f} nats a word"
    if None in starts:
        text += f", but two states may still be further apart after {counted(len(stages[0]['largest']), 'word')}"
    else:
        words = counted(span([str(r) for r in sorted(starts)]), "word")
        text += f", all pairs of states found are closer after {words}"
    if exponent + half < 0:
        outcome = Outcome.MIXED if None in starts else Outcome.HOLDS
    else:
        outcome = Outcome.FAILS if exponent - half > 0 else Outcome.UNDECIDED
    return Finding(outcome, text, ids(runs))


def _exponent(stages: Sequence[Mapping[str, Any]], streams: int) -> tuple[float, float]:
    """Mean and half of its interval: over seeds where there are several, else over stretches of the text."""
    values = [stage["lyapunov"] for stage in stages]
    if len(values) > 1:
        return mean(values), half_width(values)
    return values[0], student(streams - 1) * stages[0]["lyapunov_deviation"] / streams**0.5


CLAIM = Claim(
    "C6",
    "Are unstable models stable on the data?",
    "“Unstable” models are stable on the data.",
    contraction_on_data,
    "scripts/analyze.py analysis=contraction run='*-unstable-recurrent-*'",
)
