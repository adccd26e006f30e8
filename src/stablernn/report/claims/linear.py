"""C7: what gradient descent learns of linear systems below and above spectral norm 1, and spectral radius 1."""

from collections.abc import Sequence
from typing import Any

from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Judgement, Outcome, Part, combined, sentence, span
from stablernn.report.sections.linear_systems import orthogonal, spectral_radius
from stablernn.report.sections.truncation import short
from stablernn.utils.wording import counted

LEARNED = 0.1  # of the error of predicting 0: at most so much is left of it


def outside_the_stable_regime(evidence: Evidence) -> list[Judgement]:
    """Errors of matrices at the best step size, and which scalars are reached; a system at 1 decides nothing."""
    by_kind = {kind: _of_a_kind(evidence, kind) for kind in ("matrix", "scalar")}
    straight, between = _orthogonal(by_kind["matrix"]), _between(by_kind["matrix"])
    made = (straight, between, _border(straight, between), _scalars(by_kind["scalar"]))
    parts = [part for part in made if part is not None]
    if not parts:
        return []
    seeds = len({result["options"]["seed"] for _, result in by_kind["matrix"]})
    sizes = sorted({len(result["step_sizes"]) for _, result in by_kind["matrix"]})
    told = [f"matrices: {counted(seeds, 'seed')}, the best of {_step_sizes(sizes)}"] if seeds else []
    rates = sorted({len(result["rates"]) for _, result in by_kind["scalar"]})
    told += [f"scalars: any of {_step_sizes(rates)}"] if rates else []
    return [
        Judgement(
            "Linear systems, full gradient descent",
            "here",
            combined([part.outcome for part in parts]),
            "",
            tuple(sentence(part.text) for part in parts),
            sentence(
                f"learned: less than {LEARNED:g} of the error of predicting 0 is left, or w* is reached; "
                + "; ".join(_left(by_kind["matrix"]))
            ),
            sentence("; ".join([*told, "more updates or other step sizes might do more"])),
            tuple(name for found in by_kind.values() for name, _ in found),
        )
    ]


def _step_sizes(counts: Sequence[int]) -> str:
    return counted(span([str(count) for count in counts]), "step size")


Results = Sequence[tuple[str, dict[str, Any]]]


def _of_a_kind(evidence: Evidence, kind: str) -> Results:
    return [(name, result) for name, result in evidence.linear.items() if result["options"]["kind"] == kind]


def _orthogonal(found: Results) -> Part | None:
    cases = [(result["options"]["norm"], _learned(result)) for _, result in found if orthogonal(result)]
    return _told("orthogonal matrices", "‖W‖₂ = ρ(W)", cases)


def _between(found: Results) -> Part | None:
    """Matrices outside the condition on the norm and within that on the spectral radius; the claim is on the norm."""
    cases: dict[float, list[bool]] = {}
    for _, result in found:
        if spectral_radius(result) < 1 < result["options"]["norm"]:
            cases.setdefault(spectral_radius(result), []).append(_learned(result))
    if not cases:
        return None
    counts = [
        f"{sum(learned)} of {len(learned)} {'' if number else 'learned '}with ρ(W) = {radius:g}"
        for number, (radius, learned) in enumerate(sorted(cases.items()))
    ]
    every = [learned for group in cases.values() for learned in group]
    outcome = Outcome.MIXED if any(every) else Outcome.HOLDS
    return Part(Outcome.FAILS if all(every) else outcome, f"matrices with ‖W‖₂ > 1 > ρ(W): {', '.join(counts)}")


def _border(straight: Part | None, between: Part | None) -> Part | None:
    """Which of the two numbers has its border at 1; orthogonal matrices alone cannot tell them apart."""
    if between is None:
        return None
    if between.outcome is Outcome.MIXED:
        return Part(None, "so a norm above 1 alone does not make it fail, and a radius below 1 alone is not enough")
    if straight is None or straight.outcome is not Outcome.HOLDS:
        return None
    one, other = ("spectral radius", "norm") if between.outcome is Outcome.FAILS else ("norm", "spectral radius")
    return Part(None, f"so the border of these matrices lies at {one} 1, not at {other} 1")


def _scalars(found: Results) -> Part | None:
    return _told("scalars", "|w*|", [(abs(r["options"]["target"]), any(r["reached"])) for _, r in found])


def _told(kind: str, size: str, cases: Sequence[tuple[float, bool]]) -> Part | None:
    """How many were learned on either side of 1."""
    below = [learned for value, learned in cases if value < 1]
    above = [learned for value, learned in cases if value > 1]
    if not below or not above:
        return None
    text = f"{kind}: {sum(below)} of {len(below)} learned with {size} < 1, {sum(above)} of {len(above)} with {size} > 1"
    if all(below) and not any(above):
        return Part(Outcome.HOLDS, text)
    share = sum(below) / len(below) - sum(above) / len(above)
    return Part(Outcome.MIXED if share > 0 else Outcome.FAILS, text)


def _left(found: Results) -> list[str]:
    """Of the error, for each spectral radius, orthogonal matrices first."""
    errors: dict[tuple[bool, float], list[float]] = {}
    for _, result in found:
        errors.setdefault((not orthogonal(result), spectral_radius(result)), []).append(_error(result))
    return [
        f"{'‖W‖₂ > ρ(W)' if skewed else '‖W‖₂ = ρ(W)'} = {radius:g} leaves {span([short(e) for e in sorted(values)])}"
        for (skewed, radius), values in sorted(errors.items())
    ]


def _learned(result: dict[str, Any]) -> bool:
    return _error(result) <= LEARNED


def _error(result: dict[str, Any]) -> float:
    """What is left of the error at the end; a descent that diverged leaves all of it and more."""
    error = result["best"]["error"][-1]
    return float("inf") if error is None else error
