"""C7: what gradient descent learns of linear systems below and above spectral norm 1, and spectral radius 1."""

from collections.abc import Mapping, Sequence
from typing import Any

from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Claim, Finding, Judgement, Outcome, judgement
from stablernn.report.load import Measurements
from stablernn.report.sections.linear_systems import of_kind, orthogonal, spectral_radius

LEARNED = 0.1  # of the error of predicting 0: at most so much is left of it


def outside_the_stable_regime(evidence: Evidence) -> list[Judgement]:
    """Errors of matrices at the best step size, and which scalars are reached; a system at 1 decides nothing."""
    matrices, scalars = of_kind(evidence.linear, "matrix"), of_kind(evidence.linear, "scalar")
    straight = [(result["options"]["norm"], _learned(result)) for result in matrices.values() if orthogonal(result)]
    reached = [(abs(result["options"]["target"]), any(result["reached"])) for result in scalars.values()]
    made = (
        _both_sides("orthogonal matrices", "‖W‖₂ = ρ(W)", straight),
        _between(matrices),
        _both_sides("scalars", "|w*|", reached),
    )
    parts = [part for part in made if part is not None]
    if not parts:
        return []
    return [
        judgement(
            "Linear systems, full gradient descent",
            "here",
            parts,
            f"learned: less than {LEARNED:g} of the error of predicting 0 is left, or w* is reached",
            "matrices at the best of their step sizes, scalars at any; more updates or other step sizes might do more",
            (*matrices, *scalars),
        )
    ]


def _between(matrices: Measurements) -> Finding | None:
    """Matrices outside the condition on the norm and within that on the spectral radius; the claim is on the norm."""
    cases: dict[float, list[bool]] = {}
    for result in matrices.values():
        if spectral_radius(result) < 1 < result["options"]["norm"]:
            cases.setdefault(spectral_radius(result), []).append(_learned(result))
    if not cases:
        return None
    counts = [f"{sum(learned)} of {len(learned)} with ρ(W) = {radius:g}" for radius, learned in sorted(cases.items())]
    every = [learned for group in cases.values() for learned in group]
    outcome = Outcome.FAILS if all(every) else Outcome.MIXED if any(every) else Outcome.HOLDS
    return Finding(outcome, f"matrices with ‖W‖₂ > 1 > ρ(W): learned {', '.join(counts)}")


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


def _learned(result: Mapping[str, Any]) -> bool:
    """By what is left of the error at the end; a descent that diverged leaves all of it and more."""
    error = result["best"]["error"][-1]
    return error is not None and error <= LEARNED


CLAIM = Claim(
    "C7",
    "Does training need stability?",
    "Outside the stable regime gradient descent fails.",
    outside_the_stable_regime,
    "linear_systems",
)
