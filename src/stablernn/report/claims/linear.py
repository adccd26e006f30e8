"""C7: what gradient descent learns of linear systems below and above spectral norm 1."""

from collections.abc import Sequence
from typing import Any

from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Judgement, Outcome, Part, combined, sentence, span
from stablernn.report.truncation import short
from stablernn.wording import counted

LEARNED = 0.1  # of the error of predicting 0: at most so much is left of it


def outside_the_stable_regime(evidence: Evidence) -> list[Judgement]:
    """Errors of matrices at the best step size, and which scalars are reached; a system at 1 decides nothing."""
    by_kind = {kind: _of_a_kind(evidence, kind) for kind in ("matrix", "scalar")}
    parts = [part for part in (_matrices(by_kind["matrix"]), _scalars(by_kind["scalar"])) if part is not None]
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
                + "; ".join(_by_norm(by_kind["matrix"]))
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


def _matrices(found: Results) -> Part | None:
    cases = [(result["options"]["norm"], _error(result) <= LEARNED) for _, result in found]
    return _told("matrices", "‖W‖₂", cases)


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


def _by_norm(found: Results) -> list[str]:
    errors: dict[float, list[float]] = {}
    for _, result in found:
        errors.setdefault(result["options"]["norm"], []).append(_error(result))
    return [
        f"‖W‖₂ = {norm:g} leaves {span([short(error) for error in sorted(values)])}"
        for norm, values in sorted(errors.items())
    ]


def _error(result: dict[str, Any]) -> float:
    """What is left of the error at the end; a descent that diverged leaves all of it and more."""
    error = result["best"]["error"][-1]
    return float("inf") if error is None else error
