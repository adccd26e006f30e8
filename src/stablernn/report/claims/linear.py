"""C7: what gradient descent learns of linear systems below and above spectral norm 1, and spectral radius 1."""

from collections.abc import Sequence
from typing import Any

from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Claim, Finding, Judgement, Outcome, judgement
from stablernn.report.load import Measurements
from stablernn.report.sections.linear_systems import of_kind, orthogonal, spectral_radius
from stablernn.report.text import short, span
from stablernn.utils.wording import counted

LEARNED = 0.1  # of the error of predicting 0: at most so much is left of it


def outside_the_stable_regime(evidence: Evidence) -> list[Judgement]:
    """Errors of matrices at the best step size, and which scalars are reached; a system at 1 decides nothing."""
    matrices, scalars = of_kind(evidence.linear, "matrix"), of_kind(evidence.linear, "scalar")
    straight, between = _orthogonal(matrices), _between(matrices)
    made = (straight, between, _border(straight, between), _scalars(scalars))
    parts = [part for part in made if part is not None]
    if not parts:
        return []
    seeds = len({result["options"]["seed"] for result in matrices.values()})
    sizes = sorted({len(result["step_sizes"]) for result in matrices.values()})
    tried = [f"matrices: {counted(seeds, 'seed')}, the best of {_step_sizes(sizes)}"] if seeds else []
    rates = sorted({len(result["rates"]) for result in scalars.values()})
    tried += [f"scalars: any of {_step_sizes(rates)}"] if rates else []
    left = "; ".join(_left(matrices))
    return [
        judgement(
            "Linear systems, full gradient descent",
            "here",
            parts,
            f"learned: less than {LEARNED:g} of the error of predicting 0 is left, or w* is reached; {left}",
            "; ".join([*tried, "more updates or other step sizes might do more"]),
            (*matrices, *scalars),
        )
    ]


def _step_sizes(counts: Sequence[int]) -> str:
    return counted(span([str(count) for count in counts]), "step size")


def _orthogonal(matrices: Measurements) -> Finding | None:
    cases = [(result["options"]["norm"], _learned(result)) for result in matrices.values() if orthogonal(result)]
    return _both_sides("orthogonal matrices", "‖W‖₂ = ρ(W)", cases)


def _between(matrices: Measurements) -> Finding | None:
    """Matrices outside the condition on the norm and within that on the spectral radius; the claim is on the norm."""
    cases: dict[float, list[bool]] = {}
    for result in matrices.values():
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
    return Finding(Outcome.FAILS if all(every) else outcome, f"matrices with ‖W‖₂ > 1 > ρ(W): {', '.join(counts)}")


def _border(straight: Finding | None, between: Finding | None) -> Finding | None:
    """Which of the two numbers has its border at 1; orthogonal matrices alone cannot tell them apart."""
    if between is None:
        return None
    if between.outcome is Outcome.MIXED:
        return Finding(None, "so a norm above 1 alone does not make it fail, and a radius below 1 alone is not enough")
    if straight is None or straight.outcome is not Outcome.HOLDS:
        return None
    one, other = ("spectral radius", "norm") if between.outcome is Outcome.FAILS else ("norm", "spectral radius")
    return Finding(None, f"so the border of these matrices lies at {one} 1, not at {other} 1")


def _scalars(scalars: Measurements) -> Finding | None:
    cases = [(abs(result["options"]["target"]), any(result["reached"])) for result in scalars.values()]
    return _both_sides("scalars", "|w*|", cases)


def _both_sides(kind: str, size: str, cases: Sequence[tuple[float, bool]]) -> Finding | None:
    """How many were learned on either side of 1."""
    below = [learned for value, learned in cases if value < 1]
    above = [learned for value, learned in cases if value > 1]
    if not below or not above:
        return None
    text = f"{kind}: {sum(below)} of {len(below)} learned with {size} < 1, {sum(above)} of {len(above)} with {size} > 1"
    if all(below) and not any(above):
        return Finding(Outcome.HOLDS, text)
    share = sum(below) / len(below) - sum(above) / len(above)
    return Finding(Outcome.MIXED if share > 0 else Outcome.FAILS, text)


def _left(matrices: Measurements) -> list[str]:
    """Of the error, for each spectral radius, orthogonal matrices first."""
    errors: dict[tuple[bool, float], list[float]] = {}
    for result in matrices.values():
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


CLAIM = Claim(
    "C7",
    "Does training need stability?",
    "Outside the stable regime gradient descent fails.",
    outside_the_stable_regime,
    "scripts/linear_systems.py",
)
