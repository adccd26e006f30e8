"""The table of evaluation in parallel in time."""

from collections.abc import Sequence
from typing import Any

from stablernn.record import Record
from stablernn.report.certificate import describe_run, describe_stability, rate
from stablernn.report.tables import Table

METHOD_NAMES = {"jacobi": "Jacobi", "newton": "Newton"}


def parallel_table(found: Sequence[tuple[Record, dict[str, Any]]]) -> Table:
    """A line for each run and method."""
    options = found[0][1]["options"]
    heads = ["model", "stability", "method", "rule", "iterations", "fallbacks", "states differ by", "in float64"]
    timed = all("seconds" in result for _, result in found)
    if timed:
        heads += ["sequential", "parallel", "speed-up"]
    lines = []
    for record, result in found:
        for name, method in result["methods"].items():
            line = [
                describe_run(record),
                describe_stability(record),
                METHOD_NAMES.get(name, name),
                _rule(result),
                f"{method['iterations']:.1f} (at most {method['most_iterations']})",
                f"{method['fallbacks']} of {method['chunks']}",
                f"{method['difference']:.1e}",
                f"{method['difference_float64']:.1e}",
            ]
            if timed:
                line += [f"{1e3 * seconds:.0f} ms" for seconds in (result["seconds"], method["seconds"])]
                line.append(f"{method['speedup']:.2g} x")
            lines.append(line)
    notes = [
        f"{options['tokens']:,} words of {options['split']} as one stream, in chunks of {options['chunk']:,}; "
        f"iterations a chunk, to a tolerance of {options['tolerance']:g}",
        "rule: what ends the iteration: the error that the certified λ bounds, or that the growth measured estimates",
        "fallbacks: chunks that were given up and run step by step; their iterations count",
        "states differ by: the largest difference from the states computed step by step",
    ]
    if timed:
        notes.append(f"medians of {options['rounds']} alternating rounds; below 1 x the steps are faster")
    roundings = max(result["rounding"] for _, result in found)
    remark = f"the states computed step by step in float32 and in float64 differ by up to {roundings:.1e} themselves"
    return Table("Evaluation in parallel in time", heads, lines, notes, [remark])


def _rule(result: dict[str, Any]) -> str:
    parts = [f"certificate, λ = {rate(value)}" if value is not None else "measured growth" for value in result["rates"]]
    return " / ".join(dict.fromkeys(parts))
