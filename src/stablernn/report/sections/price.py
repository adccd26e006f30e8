"""What stability costs: the score against the certified rate, constraint by constraint."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean

import pandas as pd

from stablernn.report.curves import DOTTED, constraint_colours
from stablernn.report.evidence import Evidence
from stablernn.report.figure import Axis, Curve, Drawing, Figure
from stablernn.report.frame import distinguish, groups, select
from stablernn.report.labels import options_of
from stablernn.report.load import STUDIES, Analyses
from stablernn.report.names import (
    CONSTRAINTS,
    MODEL_NAMES,
    STABILITIES,
    STUDIED,
    constraint_rank,
    own_constraints,
    rank,
)
from stablernn.report.replicates import UNPROVEN, Replicates
from stablernn.report.section import Block, Section, of_slice
from stablernn.report.sections.tasks import MEMORYLESS, TaskCell
from stablernn.report.slices import Slice, leading, trained_for
from stablernn.report.statistics import difference, percent, seeds_required
from stablernn.report.table import Column, Entry, Table, text
from stablernn.report.text import rate, signed, span, typeset
from stablernn.utils.metrics import PERPLEXITY
from stablernn.utils.wording import counted

STUDY = "price_of_stability"


@dataclass(frozen=True)
class Price:
    """The runs of one model under one constraint at one limit.

    ``note`` and ``options``: what sets them apart from like runs, among the settings and among the constraint's own.
    """

    model: str
    note: str
    constraint: str
    options: str
    limit: float | None
    cell: Replicates

    @property
    def name(self) -> str:
        """Of the model, with what else it may not be compared with."""
        return MODEL_NAMES.get(self.model, self.model) + (f" ({self.note})" if self.note else "")

    @property
    def label(self) -> str:
        """Of the constraint, without its limit."""
        named = self.constraint != "stable" or self.model in STUDIED
        known = CONSTRAINTS.get(self.constraint, self.constraint) if named else self.constraint
        return f"{known} ({self.options})" if self.options else known

    @property
    def rate(self) -> float | None:
        """The largest certified rate of the runs that finished, where all of them are certified."""
        rates = self.cell.finished.rate
        return None if rates.empty or rates.hasnans else float(rates.max())


def prices(data: Slice) -> list[Price]:
    """The recurrent runs at the settings at which more than the study's two constraints were tried, in order."""
    if data.records[0].metric is not PERPLEXITY and STUDY not in set(data.runs.experiment):
        return []  # the table of tasks has what was tried at one limit alone
    searched = data.runs.experiment.str.startswith("search")
    recurrent = select(data.runs, (data.runs.approximation == "recurrent") & ~searched)
    tried = list(recurrent.settings[~recurrent.stability.isin(STABILITIES)])
    runs = select(recurrent, [settings in tried for settings in recurrent.settings])
    if runs.empty:
        return []
    runs = runs.assign(
        note=distinguish(runs, "settings", ["model"]),
        options_apart=options_of(list(runs.record)),
        limit=pd.Series([options.get("limit") for options in runs.options], runs.index, dtype=object),
    )
    by = ["model", "note", "stability", "options_apart", "limit"]
    made = [Price(*kind, cell=Replicates(group)) for kind, group in groups(runs, by)]
    return sorted(
        made,
        key=lambda price: (
            *(rank(price.model), price.model, price.note, constraint_rank(price.constraint), price.constraint),
            *(price.options, price.limit or 0),
        ),
    )


def price_table(data: Slice, certificates: Analyses) -> Table | None:
    """A line for each constraint and limit; None where there is nothing to compare."""
    compared = prices(data)
    if not compared:
        return None
    analysed = {record.id: result for record, result in certificates}
    options = next(iter(analysed.values()))["options"] if analysed else {"tokens": 0, "split": "valid", "k_max": 0}
    epsilon = f"{options.get('epsilon', 0.01):g}"
    required = seeds_required(pd.concat([price.cell.runs for price in compared]))
    unstable = {price.name: price.cell for price in compared if price.constraint == "unstable"}
    memoryless = {(price.name, price.limit): price.cell for price in compared if price.constraint in MEMORYLESS}
    metric = data.records[0].metric
    relative = metric is PERPLEXITY
    entries: list[list[Entry]] = []
    gains: list[tuple[float, bool]] = []
    for price in compared:
        base = unstable.get(price.name, Replicates())
        cost = None if price.constraint == "unstable" else difference(base.finished, price.cell.finished)
        zero = None if price.constraint in MEMORYLESS else memoryless.get((price.name, price.limit))
        gain = None if zero is None else difference(zero.finished, price.cell.finished)
        judged = TaskCell(data, price.cell, base, zero or Replicates(), required)
        gains += [] if gain is None else [(gain, judged.verdict_beside_control.startswith("gain"))]
        finished = list(price.cell.finished.record)
        results = [analysed[run.id] for run in finished if run.id in analysed]
        # k by the analysis of the certificate, or else as the run recorded it.
        recorded = {run.id: {"k": run.certificate.get("context", {}).get(epsilon)} for run in finished}
        contexts = [(recorded | analysed)[run.id]["k"] for run in finished]
        measured = [(result["measured"], result["measured_at"]) for result in results]
        gaps = [gap[str(k)]["largest"] for gap, k in measured if k is not None]
        entries.append(
            [
                price.name,
                price.label,
                price.limit,
                price.cell.proven[0],
                replace(price.cell.summary, format=f".{metric.places}f"),
                percent(cost) if relative else cost,
                judged.verdict or None,
                *[percent(gain) if relative else gain, judged.verdict_beside_control or None] * bool(memoryless),
                max(contexts) if contexts and None not in contexts else None,
                max(gaps, default=None),
            ]
        )
    runs = pd.concat([price.cell.runs for price in compared])
    notes = [
        f"test: {metric.name}, mean ± standard deviation (seeds); {'± %' if relative else 'loss'}: against the "
        f"unstable model, over all seeds of each; λ: certified rate of contraction ({UNPROVEN}), and k: the largest of "
        "the seeds",
        _worth(gains, "" if relative else metric.scale_unit) if gains else "",
        f"verdict: by the rule of decision, of the difference before it (table of tasks; margin {metric.margin:g} "
        f"{metric.scale_unit})",
        f"k({epsilon}): {metric.items} of context that provably change no log-probability by more than {epsilon} nats",
        f"gap: the largest change measured on {options['tokens']:,} {options['split']} {metric.items}"
        f" (at k = {options['k_max']} where k is larger), nats",
        own_constraints(set(runs.stability)),
        data.baseline_note,
        trained_for(runs),
    ]
    columns = [
        text("model"),
        text("constraint"),
        Column("limit", "g"),
        Column("λ", rate),
        Column("test", ".1f", unit=metric.name),
        Column("± %", signed) if relative else Column("loss", "+.3f", unit=metric.scale_unit),
        Column("verdict", drop=1),
        *[
            Column("W = 0, ± %", signed) if relative else Column("loss, W = 0", "+.3f", unit=metric.scale_unit),
            Column("verdict to W = 0", drop=2),
        ]
        * bool(memoryless),
        Column(f"k({epsilon})", ",d", unit=metric.items),
        Column("gap", ".1g", unit="nats"),
    ]
    runs_of = [price.cell.ids for price in compared]
    title = f"What stability costs on {data.caption}"
    return Table(title, columns, entries, [note for note in notes if note], runs=runs_of)


def _worth(gains: Sequence[tuple[float, bool]], unit: str) -> str:
    """What recurrence adds that a certificate leaves: the difference to W = 0, and whether the rule calls it a gain."""
    ends = min(gain for gain, _ in gains), max(gain for gain, _ in gains)
    written = [f"{gain:+.3f} {unit}" if unit else f"{100 * math.expm1(gain):+.1f} %" for gain in ends]
    return (
        "W = 0: against the model without recurrent matrices under the same limit, over all seeds of "
        f"each ({span(written)}); recurrence is a gain in {sum(sure for _, sure in gains)} of "
        f"{counted(len(gains), 'condition')}"
    )


def price_curves(data: Slice) -> Figure | None:
    """Test score against 1 - λ, a curve for each constraint, the unstable model as a level."""
    drawing, compared, costs = Drawing(), prices(data), []
    metric = data.records[0].metric
    relative = metric is PERPLEXITY
    colours = constraint_colours((price.constraint, price.label) for price in compared)
    for name in dict.fromkeys(price.name for price in compared):
        here = [price for price in compared if price.name == name and price.cell.values]
        certified = [1 - price.rate for price in here if price.rate is not None]
        free = None  # comes first
        for price in here if certified else []:
            level = mean(price.cell.values)
            label, colour = typeset(price.label), colours[price.label]
            if price.constraint == "unstable":
                free = level
                ends = (min(certified), max(certified)) if len(certified) > 1 else (certified[0] / 2, certified[0] * 2)
                drawing.line(name, Curve(label, colour, DOTTED), [(end, level) for end in ends], price.cell.ids)
            elif price.rate is not None:
                drawing.point(name, Curve(label, colour), 1 - price.rate, level, price.cell.ids)
                costs += [] if free is None else [100 * (level / free - 1) if relative else metric.cost(level - free)]
    written = signed if relative else "{:+.2f}".format
    ends = span([written(value) for value in (min(costs), max(costs))]) if costs else "an unknown number of"
    return drawing.figure(
        "price_of_stability",
        f"A certificate changes {f'perplexity by {ends} %' if relative else f'the loss by {ends} {metric.scale_unit}'}",
        f"Test {metric.name} against the certified rate of contraction; what is not certified is in the table alone.",
        Axis("1 − λ, certified (longer memory to the right)", powers=True, reverse=True),
        Axis(f"test {metric.name}"),
    )


def _blocks(evidence: Evidence) -> list[Block]:
    """The figure of the text that leads the report stands there."""
    certificates = evidence.analyses("certificate")
    first = next((data.text for data in leading(evidence.study)), None)
    return [
        of_slice(data, [price_curves(data)] if data.text != first else [], price_table(data, certificates))
        for data in evidence.analysed
    ]


SECTION = Section(
    "price",
    "What stability costs",
    "The score under each constraint, beside the rate of contraction that is proven under it.",
    _blocks,
    "price_of_stability",
    ("C1",),
    STUDIES,
)
