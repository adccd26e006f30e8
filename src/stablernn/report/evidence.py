"""All that verdicts and page are made of: records, analyses and measurements, each read once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stablernn.records.record import Record
from stablernn.records.schemas import bench_check
from stablernn.report.load import Found, Section, load_analyses, load_records, load_results, sections
from stablernn.report.rows import rows
from stablernn.report.sections.linear_systems import NAME as LINEAR_SYSTEMS
from stablernn.report.sections.linear_systems import load_linear_systems
from stablernn.report.sections.perplexity import leading
from stablernn.report.sections.search import load_trials
from stablernn.report.sections.sweep import sweep_sections
from stablernn.tasks.published import PUBLISHED
from stablernn.utils.console import log
from stablernn.utils.metrics import PERPLEXITY
from stablernn.utils.wording import counted


@dataclass
class Evidence:
    """What there is below the folder of records and in the folder of benchmarks.

    Attributes:
        parts: all records, by text and profile.
        study: those of the perplexity tables.
        swept: those in which some k was trained both ways.
        lengths: measurements of speed against the length of the sequence, by file.
        linear: descents on linear systems, by file.
        searched: trials of the search of hyperparameters, which are no part of ``parts``.
        winners: the winners of the search under each constraint.
        tasks: of the table of the study's tasks: those that are no text, and the best profile of each published text.
    """

    source: Path
    parts: list[Section]
    study: list[Section]
    swept: list[Section]
    lengths: Mapping[str, dict[str, Any]]
    linear: Mapping[str, dict[str, Any]]
    searched: list[Section] = field(default_factory=list)
    winners: list[Section] = field(default_factory=list)
    tasks: list[Section] = field(default_factory=list)
    _analyses: dict[str, Found] = field(default_factory=dict)

    def analyses(self, name: str) -> Found:
        """Every run that an analysis was made of, with its result."""
        if name not in self._analyses:
            self._analyses[name] = load_analyses(self.source, name)
        return self._analyses[name]

    def of(self, part: Section, name: str) -> Found:
        """The same for the runs of one section."""
        ids = {record.id for record in part.records}
        return [(record, result) for record, result in self.analyses(name) if record.id in ids]


def gather(source: Path, results: Path) -> Evidence:
    """Read the records below ``source`` and the measurements in ``results/bench``."""
    records = load_records(source)
    if unsealed := sum(not record.sealed for record in records):
        log.warning(
            f"{counted(unsealed, 'record')} below {source} of an earlier version, without a checksum: damage to the "
            "numbers in them would not be noticed"
        )
    study = [part for part in sections(texts_of(load_records(source, "perplexity"))) if rows(part)]
    others = [part for part in sections(records) if part.records[0].metric is not PERPLEXITY]
    return Evidence(
        source,
        list(sections(texts_of(records))),
        study,
        sweep_sections(list(sections(texts_of(load_records(source, "truncation_sweep"))))),
        {name: found for name, found in _lengths(results).items() if found["cases"]},
        load_linear_systems(source / LINEAR_SYSTEMS),
        list(sections(texts_of(load_trials(source)))),
        [part for part in sections(texts_of(load_records(source, "table1", strict=True))) if rows(part)],
        [*others, *(part for part in leading(study) if part.data in PUBLISHED)] if others else [],
    )


def texts_of(records: Iterable[Record]) -> list[Record]:
    """The language models among the runs."""
    return [record for record in records if record.metric is PERPLEXITY]


def _lengths(results: Path) -> dict[str, dict[str, Any]]:
    return load_results((results / "bench").glob("sequences-*.json"), bench_check("sequences"))
