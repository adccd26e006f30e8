"""Contraction on the data: growth of the distance of two states, and the largest Lyapunov exponent."""

from typing import Any

from stablernn.report.curves import WORDS, coloured
from stablernn.report.figure import Axis, Curve, Drawing, Figure, Level
from stablernn.report.labels import over_seeds
from stablernn.report.load import Analyses
from stablernn.report.section import Section, of_analysis
from stablernn.report.table import Column, Entry, Table, Value, key, text
from stablernn.utils.wording import counted

STAGE_NAMES = {"initial": "before training", "best": "best epoch", "last": "end"}
_STAGE_DASHES = {"initial": (2, 3), "best": (1, 0), "last": (6, 3)}
_LEAST_GROWTH = 1e-6  # smaller values are not drawn


def contraction_table(analyses: Analyses) -> Table:
    """A line for each model and stage: the largest growth of its seeds, the mean of their exponents."""
    options, metric = analyses[0][1]["options"], analyses[0][0].metric
    shown = sorted({1, min(16, options["longest"]), options["longest"]})
    columns = [
        *(text("model"), text("stability"), text("weights"), key("seeds")),
        *(Column(f"λ_{r}", _growth) for r in shown),
        Column("λ_r < 1 from r =", unit=metric.items),
        Column("Lyapunov exponent", "+.3f", unit=f"nats a {metric.one}"),
    ]
    entries: list[list[Entry]] = []
    runs = []
    for model, stability, group in over_seeds(analyses):
        for stage, of_seeds in _stages(group):
            runs.append(tuple(record.id for record, _ in group))
            growth = [max(values["largest"][r - 1] for values in of_seeds) for r in shown]
            exponent = Value.mean([values["lyapunov"] for values in of_seeds])
            if len(of_seeds) == 1:
                exponent = Value(of_seeds[0]["lyapunov"], of_seeds[0]["lyapunov_deviation"])
            starts = [values["contracts_from"] for values in of_seeds]
            contracts = "never" if None in starts else max(starts)
            entries.append([model, stability, stage, len(group), *growth, contracts, exponent])
    notes = [
        f"λ_r: largest growth in r {metric.items} of the distance of two states on {options['split']}, found by "
        f"gradient ascent over {counted(options['streams'], 'pair')} (a search: the true supremum may be larger); of "
        "several seeds the largest",
        f"exponent: mean growth of the log-length of a tangent, nats a {metric.one}, ± standard deviation over "
        "seeds (of one seed: over streams); below 0 the model is stable on the data",
    ]
    return Table("Contraction on the data", columns, entries, notes, runs=runs)


def _stages(group: Analyses) -> list[tuple[str, list[dict[str, Any]]]]:
    """Name of a stage and its values for each seed; one seed's end does not come twice where it is the best epoch."""
    if len(group) == 1:
        return [(name, [values]) for name, values in stages_of(group[0][1]["stages"])]
    common = [stage for stage in STAGE_NAMES if all(stage in result["stages"] for _, result in group)]
    return [(STAGE_NAMES[stage], [result["stages"][stage] for _, result in group]) for stage in common]


def stages_of(stages: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Name and values in the order of training; the end does not come twice where it is the best epoch."""
    ordered = [(STAGE_NAMES[stage], stages[stage]) for stage in STAGE_NAMES if stage in stages]
    if stages.get("best") == stages.get("last"):
        return [(name.replace("best epoch", "best epoch, end"), values) for name, values in ordered[:2]]
    return ordered


def _growth(value: float) -> str:
    return f"{value:.3g}" if value > 1e-11 else "< 1e-11"


def contraction_curves(analyses: Analyses) -> list[Figure | None]:
    """Largest growth of the distance of two states in r inputs, before training, at its best evaluation and its end."""
    drawing = Drawing()
    for model, constraint, colour, record, result in coloured(analyses):
        largest = {stage: result["stages"][stage]["largest"] for stage in STAGE_NAMES if stage in result["stages"]}
        for stage, values in largest.items():
            if stage != "last" or values != largest.get("best"):
                curve = Curve(f"{constraint}, {STAGE_NAMES[stage]}", colour, _STAGE_DASHES[stage])
                seen = [(r, value) for r, value in enumerate(values, 1) if value > _LEAST_GROWTH]
                drawing.line(model, curve, seen, (record.id,))
    trained = [result["stages"]["best"]["contracts_from"] for _, result in analyses if "best" in result["stages"]]
    closer, longest = len(trained) - trained.count(None), analyses[0][1]["options"]["longest"]
    figure = drawing.figure(
        "contraction",
        f"{closer} of {counted(len(trained), 'trained model')} bring any two states closer in "
        f"{counted(longest, analyses[0][0].metric.one)}",
        "λ_r, the largest growth in r inputs of the distance of two states that gradient ascent found. Below "
        "the line at 1 the states approach each other.",
        Axis(f"r ({analyses[0][0].metric.items})", ticks=WORDS.ticks),
        Axis("λᵣ", powers=True),
        levels=[Level(1)],
    )
    return [figure]


SECTION = Section(
    "contraction",
    "Contraction on the data",
    "Whether two states that read the same inputs approach each other, proven or not.",
    of_analysis("contraction", contraction_table, contraction_curves),
    "contraction",
    ("C6",),
    ("contraction",),
)
