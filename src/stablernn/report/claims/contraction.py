"""C6: whether unconstrained models contract on the data."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from stablernn.report.claims.groups import alike, unconstrained
from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Judgement, Outcome, Part, half_width, ids, judge, span, student
from stablernn.report.load import Found
from stablernn.utils.wording import counted


def contraction_on_data(evidence: Evidence) -> list[Judgement]:
    """Lyapunov exponent and growth over r words, of unconstrained recurrent models at their best epoch."""
    found = []
    for part in evidence.parts:
        ordered = alike([entry for entry in evidence.of(part, "contraction") if unconstrained(entry[0])])
        if ordered:
            options = ordered[0][1][0][1]["options"]
            growth = [
                f"{name} λ₁ = {max(result['stages']['best']['largest'][0] for _, result in runs):.2g}"
                for name, runs in ordered
            ]
            found.append(
                judge(
                    part,
                    [_contracting(name, runs) for name, runs in ordered],
                    f"in one word two states may still move apart: {'; '.join(growth)}",
                    f"95 % intervals over {_over(ordered, options)} of the {options['split']} split; "
                    "growth is searched for, so a larger one may exist",
                )
            )
    return found


def _over(groups: Sequence[tuple[str, Found]], options: Mapping[str, Any]) -> str:
    seeds = min(len(runs) for _, runs in groups)
    return f"{counted(seeds, 'seed')}, on stretches" if seeds > 1 else counted(options["streams"], "stretch")


def _contracting(name: str, found: Found) -> Part:
    stages = [result["stages"]["best"] for _, result in found]
    exponent, half = _exponent(stages, found[0][1]["options"]["streams"])
    starts = [stage["contracts_from"] for stage in stages]
    longest = len(stages[0]["largest"])
    text = f"{name}: Lyapunov exponent {exponent:+.3f} ± {half:.3f} nats a word"
    if None in starts:
        text += f", but two states may still be further apart after {counted(longest, 'word')}"
    else:
        words = counted(span([str(r) for r in sorted(starts)]), "word")
        text += f", all pairs of states found are closer after {words}"
    if exponent + half < 0:
        outcome = Outcome.MIXED if None in starts else Outcome.HOLDS
    else:
        outcome = Outcome.FAILS if exponent - half > 0 else Outcome.UNDECIDED
    return Part(outcome, text, ids([record for record, _ in found]))


def _exponent(stages: Sequence[Mapping[str, Any]], streams: int) -> tuple[float, float]:
    """Mean and half of its interval: over seeds where there are several, else over stretches of the text."""
    values = [stage["lyapunov"] for stage in stages]
    if len(values) > 1:
        return statistics.mean(values), half_width(values)
    return values[0], student(streams - 1) * stages[0]["lyapunov_deviation"] / streams**0.5
