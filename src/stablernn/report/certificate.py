"""The table of certificates."""

import math
from collections.abc import Sequence
from typing import Any

from stablernn.record import Record
from stablernn.report.load import setting
from stablernn.report.names import APPROXIMATION_NAMES, CONSTRAINTS, MODEL_NAMES, STABILITIES
from stablernn.report.tables import Table, of_a_run


def certificate_table(found: Sequence[tuple[Record, dict[str, Any]]]) -> Table:
    """A line for each run: what is proven, and what was measured."""
    options = found[0][1]["options"]
    shown = max(options["lengths"])
    epsilon = f"{options['epsilon']:g}"
    heads = ["model", "stability", "λ", "norm", "H", "D_V", f"k({epsilon})", f"gap({shown}) ≤", "measured"]
    lines, reasons = [], []
    for (name, stability), (_, result) in zip(describe(found), found, strict=True):
        certificate = result["certificate"]
        proven = result["certified"][str(shown)]
        if certificate["certified"]:
            line = [rate(certificate["rate"]), certificate["norm"].removesuffix("-norm")]
            line += [f"{certificate['radius']:.3g}", f"{certificate['decoder']:.3g}"]
            line += [f"{result['k']:,}" if result["k"] is not None else "> 10⁷", _nats(proven)]
        else:
            line = ["not certified", "–", "–", "–", "–", "–"]
            reasons.append(f"{name}, {stability}: not certified: {certificate['reason']}")
        lines.append([name, stability, *line, _nats(result["measured"][str(shown)]["largest"])])
    notes = [
        "λ: proven rate of contraction; H, D_V: bounds of the state and of the decoder's rows",
        f"k({epsilon}): words of context that provably change no log-probability by more than {epsilon} nats",
        f"gap({shown}): the same for k = {shown}; "
        f"measured: the largest change on {options['tokens']:,} {options['split']} words",
    ]
    return Table("Certificates", heads, lines, notes, reasons, of_a_run([record for record, _ in found], heads))


def describe(found: Sequence[tuple[Record, Any]]) -> list[tuple[str, str]]:
    """Run and constraint of each; the seed stands with the constraint where two would be alike."""
    told = [(describe_run(record), describe_stability(record)) for record, _ in found]
    return [
        (run, f"{stability}, seed {setting(record, 'seed')}" if told.count((run, stability)) > 1 else stability)
        for (run, stability), (record, _) in zip(told, found, strict=True)
    ]


def describe_run(record: Record) -> str:
    """Model, approximation if it is feed-forward, and k."""
    approximation = setting(record, "approximation.name")
    kind = "" if approximation == "recurrent" else f" {APPROXIMATION_NAMES[approximation]}"
    return f"{MODEL_NAMES.get(setting(record, 'model.name'), '?')}{kind} k={setting(record, 'truncation.k')}"


def describe_stability(record: Record) -> str:
    """The constraint as readers know it, and its limit; the study's have one name for both models."""
    name, constraint = str(setting(record, "stability.name")), setting(record, "stability.constraint")
    known = name if name in STABILITIES else CONSTRAINTS.get(name, name)
    if "limit" not in constraint:
        return known
    limit = f"{constraint['limit']:g}"
    return known.replace("λ", limit) if known.endswith("≤ λ") else f"{known} {limit}"


def rate(value: float) -> str:
    """λ with as many digits as tell it from 1."""
    digits = 3 if value < 0.99 else min(9, 2 + math.ceil(-math.log10(max(1 - value, 1e-9))))
    return f"{value:.{digits}f}"


def _nats(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-12 else "< 1e-12"
