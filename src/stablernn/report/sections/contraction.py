"""Contraction on the data: the table."""

from typing import Any

from stablernn.report.labels import describe
from stablernn.report.load import Found
from stablernn.report.tables import Table, of_a_run
from stablernn.utils.wording import counted

STAGE_NAMES = {"initial": "before training", "best": "best epoch", "last": "end"}


def contraction_table(found: Found) -> Table:
    """A line for each run and stage."""
    options = found[0][1]["options"]
    shown = sorted({1, min(16, options["longest"]), options["longest"]})
    heads = ["model", "stability", "weights", *(f"λ_{r}" for r in shown), "λ_r < 1 from r =", "Lyapunov exponent"]
    lines, told = [], []
    for names, (record, result) in zip(describe(found), found, strict=True):
        for stage, values in stages_of(result["stages"]):
            told.append(record)
            start = values["contracts_from"]
            lines.append(
                [
                    *names,
                    stage,
                    *(_growth(values["largest"][r - 1]) for r in shown),
                    str(start) if start is not None else "never",
                    f"{values['lyapunov']:+.3f} ± {values['lyapunov_deviation']:.3f}",
                ]
            )
    notes = [
        f"λ_r: largest growth in r words of the distance of two states on {options['split']}, found by gradient ascent"
        f" over {counted(options['streams'], 'pair')} (a search: the true supremum may be larger)",
        "exponent: mean growth of the log-length of a tangent, nats a word, ± deviation over streams; below 0 the "
        "model is stable on the data",
    ]
    return Table("Contraction on the data", heads, lines, notes, runs=of_a_run(told, heads, 3), texts=3)


def stages_of(stages: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Name and values in the order of training; the end is not told twice where it is the best epoch."""
    ordered = [(STAGE_NAMES[stage], stages[stage]) for stage in STAGE_NAMES if stage in stages]
    if stages.get("best") == stages.get("last"):
        return [(name.replace("best epoch", "best epoch, end"), values) for name, values in ordered[:2]]
    return ordered


def _growth(value: float) -> str:
    return f"{value:.3g}" if value > 1e-11 else "< 1e-11"
