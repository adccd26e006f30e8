"""The study's table: every task with every model, unstable and under each constraint, and what the constraint costs."""

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stablernn.records.record import DIVERGED, Record
from stablernn.report.equivalence import FEWEST_SEEDS, Comparison, compare, format_seeds, seeds_required
from stablernn.report.labels import describe_constraint
from stablernn.report.load import TITLES, Section, place, setting
from stablernn.report.names import MODEL_NAMES, PUBLISHED, approximation_name
from stablernn.report.rows import differing, settings_of
from stablernn.report.sections.certificate import rate
from stablernn.report.tables import Table
from stablernn.tasks import music, slots

_EPSILON = "0.01"
CONTROLS: Mapping[str, Mapping[str, float]] = music.CONTROLS | slots.CONTROLS
# Bai, Kolter & Koltun (2018), Table 1: peers of the study, not the study itself. ATIS: published reimplementations of
# the simple RNN and of the LSTM of Mesnil et al. (2013, 2015), the LSTM's the lowest of them (94.9 to 95.1).
PEERS: Mapping[str, Mapping[str, float]] = {
    "jsb": {"rnn": 8.91, "lstm": 8.45, "gru": 8.43},
    "ptb_char": {"rnn": 1.48, "lstm": 1.36, "gru": 1.37},
    "atis": {"rnn": 94.1, "lstm": 94.9},
    "ptb": {"rnn": 114.5, "lstm": 78.93, "gru": 92.48},
}


@dataclass(frozen=True)
class TaskCell:
    """The runs of one model, approximation and constraint on one task, and those of the unstable model of its kind."""

    section: Section
    runs: tuple[Record, ...]
    base: tuple[Record, ...]

    @property
    def comparison(self) -> Comparison | None:
        """With the unstable model; None for that itself, and with too few seeds."""
        if setting(self.runs[0], "stability.name") == "unstable":
            return None
        return compare(finished(self.base), finished(self.runs), self.required)

    @property
    def required(self) -> int:
        """Seeds that the rule of decision asks for on this task."""
        return seeds_required(results_of(self.section))

    @property
    def seeds(self) -> str:
        """The seeds that finished, and of how many where the rule asks for more or for few."""
        return format_seeds(len(finished(self.runs)), self.required)

    @property
    def untrained(self) -> str:
        """Which of the two a control that knows next to nothing of the past does better than; empty for none."""
        if not self.beats_control(self.runs):
            return "not trained far enough"
        return "" if self.beats_control(self.base) else "unstable not trained far enough"

    def beats_control(self, runs: Iterable[Record]) -> bool:
        """Whether runs are no worse than it on average; also where there are none, or no control."""
        bar, done, metric = bar_of(self.section), values(finished(runs)), self.runs[0].metric
        return bar is None or not done or metric.cost(statistics.mean(done)) <= metric.cost(bar[1])

    @property
    def verdict(self) -> str:
        """In words; empty for the unstable model."""
        if setting(self.runs[0], "stability.name") == "unstable":
            return self.untrained
        found = self.comparison
        if self.untrained:
            return self.untrained
        fewest = min(len(finished(self.base)), len(finished(self.runs)))
        complete = fewest >= self.required > FEWEST_SEEDS
        seeds = "" if complete else f" ({format_seeds(fewest, self.required)})"
        return ("too few seeds" if found is None else found.format_verdict()) + seeds

    @property
    def difference(self) -> str:
        """The loss with its interval."""
        found = self.comparison
        return "–" if found is None else found.format_difference()


def finished(runs: Iterable[Record]) -> tuple[Record, ...]:
    """Those with a test score."""
    return tuple(r for r in runs if r.status != DIVERGED and r.metrics.get("test", {}).get("value") is not None)


def values(runs: Iterable[Record]) -> list[float]:
    return [run.metrics["test"]["value"] for run in runs]


def controls_of(section: Section) -> Mapping[str, float]:
    """Test scores of models that know next to nothing of the past, by name."""
    if section.data in CONTROLS:
        return CONTROLS[section.data]
    return {f"Kneser-Ney, order {order}": value for order, value in section.control.items()}


def bar_of(section: Section) -> tuple[str, float] | None:
    """The control that a model has to beat before it says anything about memory."""
    if section.data in CONTROLS:
        return list(CONTROLS[section.data].items())[-1]
    return section.bar and (f"Kneser-Ney, order {section.bar[0]}", section.bar[1])


def results_of(section: Section) -> list[Record]:
    """The runs without the trials of a search."""
    return [record for record in section.records if not record.experiment.startswith("search")]


def task_cells(section: Section) -> list[TaskCell]:
    """The cells of a section, in the order of tables; trials of a search are none."""
    groups: dict[tuple, list[Record]] = {}
    for record in sorted(results_of(section), key=place):
        groups.setdefault(_kind(record), []).append(record)
    unstable = {kind[:4]: tuple(runs) for kind, runs in groups.items() if kind[4] == "unstable"}
    return [TaskCell(section, tuple(runs), unstable.get(kind[:4], ())) for kind, runs in groups.items()]


def _kind(record: Record) -> tuple:
    """Runs of one kind differ in the seed alone; they are held against those that differ in the constraint as well."""
    return (
        setting(record, "model.name"),
        setting(record, "approximation.name"),
        setting(record, "truncation.k"),
        json.dumps(settings_of(record), sort_keys=True),
        setting(record, "stability.name"),
        json.dumps(record.config["stability"], sort_keys=True),
    )


def tasks_table(sections: Iterable[Section]) -> Table:
    """A line for each task, model, approximation and constraint, and for each control."""
    heads = [
        "task",
        "model",
        "constraint",
        "approximation",
        "test",
        "seeds",
        "λ",
        f"k({_EPSILON})",
        "peer",
        "loss",
        "verdict",
    ]
    lines, runs, metrics = [], [], {}
    for section in sections:
        metric = section.records[0].metric
        metrics[section.data] = metric
        task = f"{TITLES.get(section.data, section.data)} ({section.profile})"
        cells = task_cells(section)
        for cell in cells:
            first, done = cell.runs[0], finished(cell.runs)
            model = setting(first, "model.name")
            approximation = setting(first, "approximation.name")
            k = f", k = {setting(first, 'truncation.k')}" if approximation != "recurrent" else ""
            stability = setting(first, "stability.name")
            alike = [settings_of(other.runs[0]) for other in cells if _kind(other.runs[0])[:3] == _kind(first)[:3]]
            apart = differing(settings_of(first), alike)
            published = PEERS.get(section.data, {}).get(model) if stability == "unstable" else None
            if section.data == "wikitext2":
                published = PUBLISHED.get((model, stability))
            lines.append(
                [
                    task,
                    f"{MODEL_NAMES.get(model, model)}{f' ({apart})' if apart else ''}",
                    describe_constraint(first),
                    f"{approximation_name(approximation)}{k}",
                    _spread(values(done), metric.places) if done else "diverged",
                    str(len(done)) if len(done) >= cell.required else f"{len(done)} of {cell.required}",
                    *_proven(done),
                    f"{published:g}" if published and approximation == "recurrent" else "–",
                    cell.difference,
                    cell.verdict or "–",
                ]
            )
            runs.append(dict.fromkeys(range(4, len(heads)), tuple(run.id for run in (*cell.base, *cell.runs))))
        for name, value in controls_of(section).items():
            lines.append([task, name, "–", "control", f"{value:.{metric.places}f}", *["–"] * 6])
            runs.append({})
    told = ", ".join(
        f"{TITLES.get(data, data)}: {metric.title}, margin {metric.margin:g}" for data, metric in metrics.items()
    )
    notes = [
        f"task: with its profile; test: mean ± standard deviation over seeds ({told})",
        "loss: mean of the constrained models minus that of the unstable ones (of F1 the reverse) ± what leads to the "
        "ends of the one-sided 95 % intervals (Welch over seeds, bootstrap over the test data)",
        "seeds: of as many as the rule of decision asks for (10 where a run trains for less than 15 minutes, 6 below 2 "
        "hours, else 3), where there are fewer",
        "verdict: gain where the upper end lies below 0, no loss where it lies below the margin, loss where the lower "
        "end lies above 0",
        "λ: certified rate of contraction (no: nothing is proven); "
        f"k({_EPSILON}): inputs that provably determine every log-probability to {_EPSILON} nats; both "
        "of the seed where they are largest",
        "peer: Bai, Kolter & Koltun (2018), Table 1, other sizes and settings; on ATIS published "
        "reimplementations; on WikiText-2 the study itself",
        "control: a model worse than the last control of its task is not trained far enough to say anything",
        "on " + ", ".join(sorted({r.hardware["device"] for section in sections for r in section.records})),
    ]
    return Table(
        "The study’s tasks",
        heads,
        lines,
        notes,
        runs=runs,
        texts=4,
        intervals=frozenset({heads.index("loss")}),
        interval="to the ends of the one-sided 95 % intervals",
        spare=("peer", "λ", "approximation"),
    )


def _spread(found: list[float], places: int) -> str:
    spread = f" ± {statistics.stdev(found):.{places}f}" if len(found) > 1 else ""
    return f"{statistics.mean(found):.{places}f}{spread}"


def _proven(runs: tuple[Record, ...]) -> tuple[str, str]:
    known = [run.certificate for run in runs if run.certificate.get("certified") is not None]
    if not known:
        return "–", "–"
    if not all(certificate["certified"] for certificate in known):
        return "no", "–"
    contexts = [certificate.get("context", {}).get(_EPSILON) for certificate in known]
    return rate(max(c["rate"] for c in known)), "–" if None in contexts else f"{max(contexts):,}"


def describe_cell(cell: TaskCell) -> str:
    """The cell in a few words."""
    first = cell.runs[0]
    model = setting(first, "model.name")
    return f"{MODEL_NAMES.get(model, model)}, {describe_constraint(first)} ({cell.seeds})"
