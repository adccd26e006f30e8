"""What the recurrent matrices are worth: the table."""

from typing import Any

from stablernn.report.certificate import describe_run, describe_stability, rate
from stablernn.report.load import Found
from stablernn.report.tables import Table, of_a_run

_WHOLE = "W"
_AS_TRAINED = "as trained"


def recurrence_table(found: Found) -> Table:
    """A line for each run; changes in per cent of its perplexity as trained."""
    names = [name for name in ("W_i", "W_f", "W_z", "W_o") if any(name in result["scored"] for _, result in found)]
    heads = ["model", "stability", "trained", "W = 0", "± %", *(f"{name} ± %" for name in names), "λ"]
    lines = []
    for record, result in found:
        scored = result["scored"]
        trained, without = (scored[name]["perplexity"] for name in (_AS_TRAINED, _WHOLE))
        lines.append(
            [
                describe_run(record),
                describe_stability(record),
                f"{trained:.1f}",
                f"{without:.1f}",
                _change(scored, _WHOLE),
                *(_change(scored, name) for name in names),
                rate(result["rate_without"]) if result["rate_without"] is not None else "none",
            ]
        )
    options = found[0][1]["options"]
    words = f"the first {options['tokens']:,} words of {options['split']}" if options["tokens"] else options["split"]
    notes = [
        f"perplexity on {words}, as trained and with recurrent matrices set to zero without training again",
        "W = 0: all of them, then each alone; an RNN without W knows one word, an LSTM is a gated linear recurrence",
        "λ: certified rate of contraction at W = 0 (none: a forget gate reaches 1)",
    ]
    return Table("Without the recurrent matrices", heads, lines, notes, runs=of_a_run([r for r, _ in found], heads))


def _change(scored: dict[str, Any], name: str) -> str:
    if name not in scored:
        return "–"
    return f"{100 * (scored[name]['perplexity'] / scored[_AS_TRAINED]['perplexity'] - 1):+.1f}"
