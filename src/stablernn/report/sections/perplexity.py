"""Table 1: test perplexity of each model under each constraint, and what the constraint costs; learning curves."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from stablernn.records.record import STOPPED
from stablernn.report.curves import (
    BEST_POSSIBLE,
    DASHES,
    constraint_colours,
    curve_name,
    mean_over_seeds,
    model_name,
)
from stablernn.report.evidence import Evidence
from stablernn.report.figure import Axis, Curve, Drawing, Figure
from stablernn.report.frame import EPSILON
from stablernn.report.labels import constraint_name
from stablernn.report.names import approximation_name, own_constraints
from stablernn.report.replicates import UNPROVEN, Replicates, Row
from stablernn.report.section import Block, Section, of_slice
from stablernn.report.sections.price import price_curves
from stablernn.report.sections.tasks import TaskCell
from stablernn.report.slices import Slice, leading, rows
from stablernn.report.statistics import FEWEST_SEEDS, RULE, difference, percent, seeds_required
from stablernn.report.table import Column, Entry, Table, Value, key, text
from stablernn.report.text import rate, short, signed, span
from stablernn.utils.wording import counted

CUT = 1.5  # of a panel's highest end: what lies above shows the first steps alone
_EPOCHS = Column("epochs", short, drop=2)


@dataclass(frozen=True)
class _Line:
    """One cell of Table 1: a model under a constraint, beside the unstable model of its kind."""

    data: Slice
    row: Row
    name: str
    cell: Replicates
    seeds: int  # of all lines with its approximation and k
    required: int  # that the rule of decision asks for

    @property
    def constraint(self) -> str:
        return constraint_name(self.cell.first, self.name)

    @property
    def unstable(self) -> Replicates:
        return self.row.cells.get("unstable", Replicates())

    @property
    def task(self) -> TaskCell:
        """As the rule of decision sees it."""
        return TaskCell(self.data, self.cell, self.unstable, Replicates(), self.required)

    @property
    def epochs(self) -> Value:
        epochs = self.cell.finished.epochs
        return Value(None) if epochs.empty else Value(epochs.min(), to=epochs.max())

    def entries(self) -> Iterator[Entry]:
        """Test score to proven k."""
        finished, both = len(self.cell.finished), tuple(dict.fromkeys([*self.unstable.ids, *self.cell.ids]))
        yield self.cell.mean
        yield Value(finished, of=self.seeds if finished < self.seeds else None)
        comparison = self.task.comparison
        loss = None if self.name == "unstable" else difference(self.unstable.finished, self.cell.finished)
        yield Value(loss, comparison and comparison.half(), runs=both)
        yield Value(percent(loss), runs=both)
        yield (comparison and self.task.verdict) or None
        yield from self.cell.proven

    def remark(self) -> str:
        """What sets the cell apart from its neighbours, empty for nothing."""
        finished = self.cell.finished
        refused = [run for run in finished.record if run.certificate.get("certified") is False]
        remarks = [f"{counted(self.cell.diverged, 'run')} diverged"] if self.cell.diverged else []
        if stopped := [run for run in finished.record if run.status == STOPPED]:
            planned = sorted({str(run.config["training"]["epochs"]) for run in stopped})
            remarks.append(f"stopped by a deadline before the last of {counted(span(planned), 'epoch')}")
        if self.task.shortfall:
            remarks.append(self.task.shortfall.words)
        if 0 < len(refused) < len(finished):
            remarks.append(f"nothing is proven of {len(refused)} of {len(finished)}")
        elif refused and self.name != "unstable":
            remarks.append(f"nothing is proven: {refused[0].certificate.get('reason')}")
        where = f"{self.row.name}, {self.constraint}, {approximation_name(self.row.approximation)}, k = {self.row.k}"
        return f"{where}: {', '.join(remarks)}" if remarks else ""


def perplexity_table(data: Slice) -> Table:
    """A line for each model, approximation and constraint; columns that would be empty are left out."""
    body = rows(data)
    seeds = data.runs.groupby(["approximation", "k"]).seed.nunique()
    lines = [
        _Line(data, row, name, cell, int(seeds[row.approximation, row.k]), seeds_required(data.runs))
        for row in body
        for name, cell in row.cells.items()
    ]
    optimal, published = any(row.optimal for row in body), data.full_size
    columns = [
        text("model"),
        text("constraint"),
        text("approximation"),
        key("k"),
        Column("test", ".1f", unit="perplexity"),
        Column("seeds", drop=4),
        Column("loss", "+.3f", spread="to the ends of the one-sided 95 % intervals", unit="nats"),
        Column("%", signed, "difference %", drop=3),
        Column("verdict", drop=6),
        Column("λ", rate),
        Column(f"k({EPSILON})", ",d", unit="words", drop=5),
        *[Column("optimum", ".1f", unit="perplexity")] * optimal,
        *[Column("published", ".1f", unit="perplexity")] * published,
        Column("parameters", ",d", drop=1),
        _EPOCHS,
    ]
    entries: list[list[Entry]] = [
        [
            *(line.row.name, line.constraint, approximation_name(line.row.approximation), line.row.k),
            *line.entries(),
            *[line.row.optimal] * optimal,
            *[line.row.published.get(line.name)] * published,
            *(line.row.first.model["parameters"], line.epochs),
        ]
        for line in lines
    ]
    for order, score in data.baseline.items():
        baseline: list[Entry] = ["Kneser-Ney", f"order {order}", "n-gram", order - 1, score]
        entries.append(baseline + [None] * (len(columns) - len(baseline)))
    return Table(
        f"Test perplexity on {data.caption}",
        columns,
        entries,
        _notes(data, lines),
        [remark for line in lines if (remark := line.remark())],
        [line.cell.ids for line in lines] + [()] * len(data.baseline),
    )


def _notes(data: Slice, lines: Sequence[_Line]) -> list[str]:
    notes = [
        "mean ± standard deviation over seeds; loss, %: against the unstable model of the line’s kind, over all "
        "seeds of each",
        f"{RULE}, margin {data.metric.margin:g} nats; none with fewer than {counted(FEWEST_SEEDS, 'seed')}"
        if any(line.task.comparison for line in lines)
        else "",
        "seeds: 1 of 3: other lines have 3; in a verdict: of how many the rule asks for"
        if any(0 < len(line.cell.finished) < line.seeds for line in lines)
        else "",
        f"λ: certified rate of contraction ({UNPROVEN}; –: no certificate was computed); "
        f"k({EPSILON}): words of context that provably change no log-probability by more than {EPSILON} nats; both the "
        "largest of the seeds",
        own_constraints(set(data.runs.stability)),
        "as stated: the study’s condition; as coded: as in the first author’s code of September 2018, whose limits "
        "prove nothing; which of them was published is not known"
        if {"stable", "lstm_as_coded", "rnn_as_coded"} & set(data.runs.stability)
        else "",
        f"n-gram: interpolated Kneser-Ney models of the train split, the baseline; {data.bar_note}"
        if data.baseline
        else "",
        data.origin,
        data.devices,
    ]
    return [note for note in notes if note]


def introduction(data: Slice) -> str:
    """What the table shows, and what it does not say."""
    text = "Each line is a model under one constraint, with the hyperparameters of the unstable model of its kind"
    if data.protocol:
        return f"{text}: the study’s protocol, with its published values beside ours."
    return (
        f"{text}. It is not the study’s protocol: only the differences between lines may be held against the study’s."
    )


# ---- figures


def learning_curves(data: Slice) -> Figure | None:
    """Validation perplexity against epochs at the longest k: the mean of a cell's seeds, and their range as a band."""
    body, drawing = rows(data.abridged()), Drawing()
    one_kind = len({(row.approximation, row.k) for row in body}) == 1
    colours = _colours(body)
    for row in body:
        for name, cell in row.cells.items():
            label = constraint = curve_name(name, cell)
            if not one_kind:
                label += f", {approximation_name(row.approximation)}, k = {row.k}"
            curve = Curve(label, colours[constraint], DASHES[row.approximation])
            drawing.band(model_name(row.model), curve, _over_seeds(cell), list(cell.finished.id))
    return drawing.figure(
        "learning_curves",
        "Learning curves",
        "Validation perplexity after each evaluation; with several seeds their mean, and a band from the lowest to the "
        "highest, as far as all of them went. The first evaluations may lie above the panel.",
        Axis("epoch", logarithmic=False),
        Axis("validation perplexity"),
        cut=CUT,
    )


def _colours(body: Sequence[Row]) -> dict[str, str]:
    """By the name of the curve."""
    cells = [item for row in body for item in row.cells.items()]
    return constraint_colours((name.partition(",")[0], curve_name(name, cell)) for name, cell in cells)


def _over_seeds(cell: Replicates) -> list[tuple[float, float, float, float]]:
    """Epoch, mean, lowest and highest validation perplexity, where every seed was evaluated."""
    scored: dict[float, list[float]] = {}
    for run in cell.finished.record:
        for entry in run.history:
            if entry.get("valid") is not None:
                scored.setdefault(entry["epoch"], []).append(entry["valid"])
    return [
        (epoch, sum(values) / len(values), min(values), max(values))
        for epoch, values in sorted(scored.items())
        if len(values) == len(cell.finished)
    ]


def perplexity_by_k(data: Slice) -> Figure | None:
    """Test perplexity against k, above the best that k words allow where that is known."""
    body, drawing, ks = rows(data), Drawing(), set(data.runs.k.tolist())
    trained = {(row.approximation, row.k) for row in body}
    if len(trained) == len({approximation for approximation, _ in trained}) and not any(row.optimal for row in body):
        return None  # one k each is no curve
    colours = _colours(body)
    for row in body:
        for name, cell in row.cells.items():
            constraint = curve_name(name, cell)
            label = f"{constraint}, {approximation_name(row.approximation)}"
            curve = Curve(label, colours[constraint], DASHES[row.approximation])
            mean_over_seeds(drawing, row.model, curve, row.k, cell)
    for row in body:
        if optimal := row.first.metrics.get("optimal"):
            ks.add(1)
            points = enumerate(optimal["test_by_context"], 1)
            drawing.once(model_name(row.model), BEST_POSSIBLE, points, (row.first.id,))
    return drawing.figure(
        "perplexity_by_k",
        "Perplexity against k",
        "Feed-forward models see k words; recurrent ones are trained with k steps of backpropagation and carry their "
        "state on.",
        Axis("k in training", ticks=tuple(sorted(ks))),
        Axis("test perplexity"),
    )


def _blocks(evidence: Evidence) -> list[Block]:
    """The best of the study's text first, with what stability costs beside it."""
    first = next(iter(leading(evidence.study)), None)
    made = []
    for data in evidence.study:
        here = of_slice(data, [perplexity_by_k(data), learning_curves(data)], perplexity_table(data))
        if data is first:
            alike = [other for other in evidence.slices if other.text == data.text]
            costs = of_slice(data, [price_curves(other) for other in alike], None)
            here = replace(here, figures=here.figures + costs.figures, introduction=[introduction(data)])
            made.insert(0, here)
        else:
            made.append(here)
    return made


SECTION = Section(
    "perplexity",
    "Perplexity, unstable and stable",
    "The models of each text and profile, and what the constraint changes of their perplexity.",
    _blocks,
    "perplexity",
    ("C1",),
    ("perplexity",),
)
