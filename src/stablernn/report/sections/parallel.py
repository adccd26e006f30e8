"""Evaluation in parallel in time: iterations, equal states, speed."""

from typing import Any

from stablernn.report.labels import describe_constraint, describe_run
from stablernn.report.load import Analyses
from stablernn.report.table import Column, Entry, Table, Value, text
from stablernn.report.text import rate
from stablernn.utils.wording import counted

METHOD_NAMES = {"jacobi": "Jacobi", "newton": "Newton"}


def parallel_table(analyses: Analyses) -> Table:
    """A line for each run and method."""
    options, results = analyses[0][1]["options"], [result for _, result in analyses]
    timed = all("seconds" in result for result in results)
    columns = [text("model"), text("stability"), text("method"), Column("rule"), Column("rounds", ".1f")]
    columns += [
        Column("given up"),
        Column("differ", ".0e"),
        *[Column("speed-up", lambda ratio: f"{ratio:.2g} x")] * timed,
    ]
    entries: list[list[Entry]] = [
        [
            *(describe_run(record), describe_constraint(record), METHOD_NAMES.get(name, name), _rule(result)),
            *(method["iterations"], Value(method["fallbacks"], of=method["chunks"]), method["difference"]),
            *([method["speedup"]] if timed else []),
        ]
        for record, result in analyses
        for name, method in result["methods"].items()
    ]
    double = max(method["difference_float64"] for result in results for method in result["methods"].values())
    words = " or ".join(dict.fromkeys(f"{result['count']:,}" for result in results))
    notes = [
        f"{words} words of {options['split']} as one stream, in chunks of {options['chunk']:,}",
        f"rounds: iterations a chunk, in the mean, to a tolerance of {options['tolerance']:g}; given up: chunks that "
        "were run step by step",
        "rule: what ends the iteration, the certified λ or the growth that is measured",
        f"differ: by the largest difference from the states computed step by step (in float64 {double:.0e} at most)",
    ]
    if timed:
        rounds = counted(options["rounds"], "alternating round")
        notes.append(f"speed-up: medians of {rounds}; below 1 x the steps are faster")
    rounding = max(result["rounding"] for result in results)
    remark = f"the states computed step by step in float32 and in float64 differ by up to {rounding:.0e} themselves"
    return Table("Evaluation in parallel in time", columns, entries, notes, [remark])


def _rule(result: dict[str, Any]) -> str:
    parts = [f"λ {rate(value)}" if value is not None else "measured" for value in result["rates"]]
    return " / ".join(dict.fromkeys(parts))
