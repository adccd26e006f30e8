"""What the recurrent matrices are worth: what trained models lose without them."""

from typing import Any

from stablernn.report.labels import describe
from stablernn.report.load import Analyses
from stablernn.report.section import Section, of_analysis
from stablernn.report.table import Column, Entry, Table, text
from stablernn.report.text import rate, signed

_WHOLE = "W"
_AS_TRAINED = "as trained"
_ORDER = ("W_i", "W_f", "W_z", "W_o")  # the LSTM's; others follow


def recurrence_table(analyses: Analyses) -> Table:
    """A line for each run; changes in per cent of its score as trained."""
    alone = {name for _, result in analyses for name in result["scored"]} - {_WHOLE, _AS_TRAINED}
    names = [name for name in _ORDER if name in alone] + sorted(alone.difference(_ORDER))
    options, metric = analyses[0][1]["options"], analyses[0][0].metric
    columns = [
        *(text("model"), text("stability")),
        *(Column(head, ".1f", unit=metric.name) for head in ("as trained", "W = 0")),
        Column("%", signed, "change %"),
        *(Column(f"{name} = 0, %", signed, f"{name} = 0: change %") for name in names),
        Column("λ at W = 0", rate),
    ]
    entries: list[list[Entry]] = []
    for description, (_, result) in zip(describe(analyses), analyses, strict=True):
        scored, without = result["scored"], result["rate_without"]
        scores = [scored[name]["value"] for name in (_AS_TRAINED, _WHOLE)]
        changes = [_change(scored, name) for name in (_WHOLE, *names)]
        entries.append([*description, *scores, *changes, "no" if without is None else without])
    words = f"the first {options['tokens']:,} words of {options['split']}" if options["tokens"] else options["split"]
    notes = [
        f"{metric.name} on {words}: as trained, and with all recurrent matrices set to zero without training again",
        "%: by how much that changes it; W_i = 0 and the others: by how much if that matrix alone is set to zero",
        "at W = 0 an RNN sees one word, an LSTM is a gated linear recurrence",
        "λ: certified rate of contraction (no: a forget gate reaches 1)",
    ]
    runs = [(record.id,) for record, _ in analyses]
    return Table("Without the recurrent matrices", columns, entries, notes, runs=runs)


def _change(scored: dict[str, Any], name: str) -> float | None:
    if name not in scored or not scored[_AS_TRAINED]["value"]:
        return None
    return 100 * (scored[name]["value"] / scored[_AS_TRAINED]["value"] - 1)


SECTION = Section(
    "recurrence",
    "Without the recurrent matrices",
    "How much trained models lose when recurrent matrices are set to zero: what they do not lose, they made no use of.",
    of_analysis("recurrence", recurrence_table),
    "recurrence",
)
