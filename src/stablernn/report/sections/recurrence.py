"""What the recurrent matrices are worth: what trained models lose without them."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from stablernn.report.labels import over_seeds
from stablernn.report.load import Analyses
from stablernn.report.section import Section, of_analysis
from stablernn.report.table import Column, Entry, Table, Value, key, text
from stablernn.report.text import rate, signed

_WHOLE = "W"
_AS_TRAINED = "as trained"
_ORDER = ("W_i", "W_f", "W_z", "W_o")  # the LSTM's; others follow


def recurrence_table(analyses: Analyses) -> Table:
    """A line for each model, means over its seeds; changes in per cent of the score as trained."""
    alone = {name for _, result in analyses for name in result["scored"]} - {_WHOLE, _AS_TRAINED}
    names = [name for name in _ORDER if name in alone] + sorted(alone.difference(_ORDER))
    options, metric = analyses[0][1]["options"], analyses[0][0].metric
    columns = [
        *(text("model"), text("stability"), key("seeds")),
        *(Column(head, f".{metric.places}f", unit=metric.name) for head in ("as trained", "W = 0")),
        Column("%", signed, "change %"),
        *(Column(f"{name} = 0, %", signed, f"{name} = 0: change %") for name in names),
        Column("λ at W = 0", rate),
    ]
    entries: list[list[Entry]] = []
    cells = over_seeds(analyses)
    for model, stability, group in cells:
        scored = [result["scored"] for _, result in group]
        scores = [Value.mean([one[name]["value"] for one in scored]) for name in (_AS_TRAINED, _WHOLE)]
        changes = [_mean_change(scored, name) for name in (_WHOLE, *names)]
        rates = [result["rate_without"] for _, result in group]
        entries.append([model, stability, len(group), *scores, *changes, "no" if None in rates else max(rates)])
    words = f"the first {options['tokens']:,} words of {options['split']}" if options["tokens"] else options["split"]
    notes = [
        f"{metric.name} on {words}, mean over seeds ± standard deviation: as trained, and with all recurrent matrices "
        "set to zero without training again",
        "%: by how much that changes it; W_i = 0 and the others: by how much if that matrix alone is set to zero",
        "at W = 0 an RNN sees one input, an LSTM is a gated linear recurrence",
        "λ: certified rate of contraction, the largest of the seeds (no: a forget gate reaches 1)",
    ]
    runs = [tuple(record.id for record, _ in group) for _, _, group in cells]
    return Table("Without the recurrent matrices", columns, entries, notes, runs=runs)


def _mean_change(scored: Sequence[dict[str, Any]], name: str) -> float | None:
    """Mean over seeds; None where one has no number."""
    changes = [change for one in scored if (change := _change(one, name)) is not None]
    return fmean(changes) if len(changes) == len(scored) else None


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
