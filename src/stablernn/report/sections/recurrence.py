"""What the recurrent matrices are worth: the table."""

from typing import Any

from stablernn.report.difference import relative, signed
from stablernn.report.labels import describe
from stablernn.report.load import Found
from stablernn.report.sections.certificate import rate
from stablernn.report.tables import Table, of_a_run

_WHOLE = "W"
_AS_TRAINED = "as trained"
_ORDER = ("W_i", "W_f", "W_z", "W_o")  # the LSTM's; others follow


def recurrence_table(found: Found) -> Table:
    """A line for each run; changes in per cent of its score as trained."""
    alone = {name for _, result in found for name in result["scored"]} - {_WHOLE, _AS_TRAINED}
    names = [name for name in _ORDER if name in alone] + sorted(alone.difference(_ORDER))
    heads = ["model", "stability", "as trained", "W = 0", "%", *(f"{name} = 0, %" for name in names), "λ at W = 0"]
    columns = [*heads[:4], "change %", *(f"{name} = 0: change %" for name in names), heads[-1]]
    lines = []
    for told, (_, result) in zip(describe(found), found, strict=True):
        scored = result["scored"]
        trained, without = (scored[name]["value"] for name in (_AS_TRAINED, _WHOLE))
        lines.append(
            [
                *told,
                f"{trained:.1f}",
                f"{without:.1f}",
                _change(scored, _WHOLE),
                *(_change(scored, name) for name in names),
                rate(result["rate_without"]) if result["rate_without"] is not None else "no",
            ]
        )
    options = found[0][1]["options"]
    words = f"the first {options['tokens']:,} words of {options['split']}" if options["tokens"] else options["split"]
    notes = [
        f"{found[0][0].metric.name} on {words}: as trained, and with all recurrent matrices set to zero without "
        "training again",
        "%: by how much that changes it; W_i = 0 and the others: by how much if that matrix alone is set to zero",
        "at W = 0 an RNN sees one word, an LSTM is a gated linear recurrence",
        "λ: certified rate of contraction (no: a forget gate reaches 1)",
    ]
    runs = of_a_run([record for record, _ in found], heads)
    return Table("Without the recurrent matrices", heads, lines, notes, runs=runs, columns=columns)


def _change(scored: dict[str, Any], name: str) -> str:
    if name not in scored or not scored[_AS_TRAINED]["value"]:
        return "–"
    return signed(relative(scored[_AS_TRAINED]["value"], scored[name]["value"]))
