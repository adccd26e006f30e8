"""The table of evaluation in parallel in time."""

from typing import Any

from stablernn.report.labels import describe_constraint, describe_run
from stablernn.report.load import Found
from stablernn.report.sections.certificate import rate
from stablernn.report.tables import Table
from stablernn.utils.wording import counted

METHOD_NAMES = {"jacobi": "Jacobi", "newton": "Newton"}


def parallel_table(found: Found) -> Table:
    """A line for each run and method."""
    options = found[0][1]["options"]
    timed = all("seconds" in result for _, result in found)
    heads = ["model", "stability", "method", "rule", "rounds", "given up", "differ", *["speed-up"] * timed]
    lines = []
    for record, result in found:
        for name, method in result["methods"].items():
            lines.append(
                [
                    describe_run(record),
                    describe_constraint(record),
                    METHOD_NAMES.get(name, name),
                    _rule(result),
                    f"{method['iterations']:.1f}",
                    f"{method['fallbacks']} of {method['chunks']}",
                    f"{method['difference']:.0e}",
                    *([f"{method['speedup']:.2g} x"] if timed else []),
                ]
            )
    every = [result for _, result in found]
    double = max(method["difference_float64"] for result in every for method in result["methods"].values())
    words = " or ".join(dict.fromkeys(f"{result['words']:,}" for result in every))
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
    roundings = max(result["rounding"] for result in every)
    remark = f"the states computed step by step in float32 and in float64 differ by up to {roundings:.0e} themselves"
    return Table("Evaluation in parallel in time", heads, lines, notes, [remark])


def _rule(result: dict[str, Any]) -> str:
    parts = [f"λ {rate(value)}" if value is not None else "measured" for value in result["rates"]]
    return " / ".join(dict.fromkeys(parts))
