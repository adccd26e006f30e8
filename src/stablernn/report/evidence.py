"""All that verdicts and page are made of: records, analyses and measurements, each read once."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stablernn.records.record import Record
from stablernn.records.schemas import bench_check
from stablernn.report.load import (
    ATLAS,
    EXPOSURE,
    LINEAR_SYSTEMS,
    LONGER,
    STUDIES,
    Analyses,
    Measurements,
    Runs,
    analyses_of,
    load_linear_systems,
    load_measurements,
    load_trials,
    read_folder,
    records_of,
)
from stablernn.report.slices import Slice, leading, slices
from stablernn.tasks.published import PUBLISHED
from stablernn.utils.metrics import PERPLEXITY


@dataclass
class Evidence:
    """What there is below the folder of records and in the folder of benchmarks.

    Attributes:
        runs: all, with their folders.
        slices: all records of language models, by text and profile.
        study: those of the perplexity tables.
        swept: those of the sweep over k.
        lengths: measurements of speed against the length of the sequence.
        linear: descents on linear systems.
        trials: trials of the search of hyperparameters, which are in no other slice.
        winners: the winners of the search under each constraint.
        tasks: of the table of the study's tasks: those that are no text, and the best profile of each published text.
        synthetic: tasks that were made to ask for memory.
        atlas: cells with long memory on all of their tasks; these runs are in no other slice.
        speeds: measurements of an update of each of them.
        peers: measurements of feed-forward networks against the LSTM of their task.
        longer: models of the table of tasks that were trained for more epochs; these runs are in no other slice.
    """

    runs: Runs
    slices: list[Slice]
    study: list[Slice]
    swept: list[Slice]
    lengths: Measurements
    linear: Measurements
    trials: list[Slice] = field(default_factory=list)
    winners: list[Slice] = field(default_factory=list)
    tasks: list[Slice] = field(default_factory=list)
    synthetic: list[Slice] = field(default_factory=list)
    atlas: list[Slice] = field(default_factory=list)
    speeds: Measurements = field(default_factory=dict)
    peers: Measurements = field(default_factory=dict)
    longer: list[Slice] = field(default_factory=list)
    _analyses: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def analysed(self) -> list[Slice]:
        """The records of every task, by data and profile."""
        texts = {data.text for data in self.slices}
        return [*self.slices, *(data for data in (*self.tasks, *self.synthetic) if data.text not in texts)]

    def analyses(self, name: str) -> Analyses:
        """Every run that an analysis was made of, with its result."""
        if name not in self._analyses:
            of_tables = [(record, path) for record, path in self.runs if not _is_longer(record)]
            self._analyses[name] = analyses_of(of_tables, name)
        return self._analyses[name]

    def of(self, data: Slice, name: str) -> Analyses:
        """The same for the runs of one slice."""
        ids = {record.id for record in data.records}
        return [(record, result) for record, result in self.analyses(name) if record.id in ids]


def gather(source: Path, results: Path) -> Evidence:
    """Read the records below ``source`` and the measurements in ``results/bench``."""
    runs = read_folder(source)
    mapped = [(record, path) for record, path in runs if _of_atlas(record, path)]
    rest = [(record, path) for record, path in runs if not _is_apart(record, path)]
    records = records_of(rest)

    def texts(records):
        return list(slices(record for record in records if record.metric is PERPLEXITY))

    def of(*names):
        return texts(records_of(rest, *(() if source.name in STUDIES else names)))

    study = of("perplexity", "tasks")
    no_texts = list(slices(record for record in records if record.metric is not PERPLEXITY))
    others = [data for data in no_texts if not data.synthetic]

    def measured(kind):
        files = load_measurements((results / "bench").glob(f"{kind}-*.json"), bench_check(kind))
        return {name: values for name, values in files.items() if values["cases"]}

    return Evidence(
        runs,
        texts(records),
        study,
        of("truncation_sweep"),
        measured("sequences"),
        load_linear_systems(source / LINEAR_SYSTEMS),
        list(slices(load_trials(source))),
        texts(records_of(rest, "table1", strict=True)),
        [*others, *(data for data in leading(study) if data.data in PUBLISHED)] if others else [],
        [data for data in no_texts if data.synthetic],
        list(slices(records_of(mapped))),
        measured("mechanisms"),
        measured("peers"),
        list(slices(record for record, _ in runs if _is_longer(record))),
    )


def _is_apart(record: Record, path: Path) -> bool:
    """Whether a run stands in the chapter of its own question alone, and not in the tables of the study."""
    return _of_atlas(record, path) or record.experiment == EXPOSURE or _is_longer(record)


def _is_longer(record: Record) -> bool:
    return record.experiment.startswith(LONGER)


def _of_atlas(record: Record, path: Path) -> bool:
    """Whether a run is of the atlas: by its place, or in a folder of runs by its experiment."""
    return path.parent.name == ATLAS or record.experiment.startswith(f"{ATLAS}_")
