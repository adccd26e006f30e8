"""The table of certificates."""

import math

from stablernn.report.labels import describe
from stablernn.report.load import Found
from stablernn.report.tables import Table, of_a_run


def certificate_table(found: Found) -> Table:
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


def rate(value: float) -> str:
    """λ with as many digits as tell it from 1."""
    digits = 3 if value < 0.99 else min(9, 2 + math.ceil(-math.log10(max(1 - value, 1e-9))))
    return f"{value:.{digits}f}"


def _nats(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-12 else "< 1e-12"
