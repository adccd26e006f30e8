"""What the page says of every run, and of every file of measurements."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from stablernn.records.record import Record
from stablernn.report.evidence import Evidence
from stablernn.report.frame import settings_of
from stablernn.report.load import setting
from stablernn.report.sections.synthetic import cells_of
from stablernn.report.slices import leading
from stablernn.report.text import short
from stablernn.utils.wording import counted

# The id of a run says these.
_IN_THE_ID = {"model.name", "stability", "approximation.name", "truncation.k"}
_SEED = re.compile(r"-s\d+(-[0-9a-f]+|\.json)$")  # at the end of a name


@dataclass(frozen=True)
class Source:
    """Name, a word on it, and its facts, for a run with its configuration.

    ``seeds``: where it is several runs, by their ids: the seed, and what it does not share with the others.
    """

    id: str
    summary: str
    facts: dict[str, str]
    seeds: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def behind(self) -> tuple[str, ...]:
        """What numbers lead here by."""
        return tuple(self.seeds) or (self.id,)


@dataclass(frozen=True)
class Cell:
    """Sources of one name, and once what they share beyond their group."""

    name: str
    shared: dict[str, str]
    sources: list[Source]


@dataclass(frozen=True)
class Group:
    """Cells, and once what all of their sources share."""

    title: str
    shared: dict[str, str]
    cells: list[Cell]

    @property
    def sources(self) -> list[Source]:
        return [source for cell in self.cells for source in cell.sources]

    @property
    def size(self) -> int:
        """Runs, or files of measurements."""
        return sum(len(source.behind) for source in self.sources)


def runs_of(evidence: Evidence) -> list[Group]:
    """All that any number may lead to, by text and profile, or by kind of measurement."""
    groups: dict[str, dict[str, Record]] = {}
    for data in (*evidence.slices, *evidence.tasks, *evidence.longer, *evidence.synthetic):
        groups.setdefault(data.caption, {}).update({record.id: record for record in data.records})
    runs = {title: _by_seeds(group.values()) for title, group in groups.items()}
    for data in evidence.trials:
        known = groups.get(data.caption, {})
        runs.setdefault(data.caption, []).extend(_trials(one for one in data.records if one.id not in known))
    for data in leading(evidence.atlas):
        runs[f"Atlas: {data.caption}"] = [_of_seeds(cell.runs.record) for cell in cells_of(data)]
    runs["Speed"] = [_measurement(name, measured) for name, measured in {**evidence.lengths, **evidence.peers}.items()]
    runs["Linear systems"] = [_linear(name, result) for name, result in evidence.linear.items()]
    return [_group(title, group) for title, group in runs.items() if group]


def _group(title: str, sources: list[Source]) -> Group:
    shared, sources = _apart(sources)
    cells: dict[str, list[Source]] = {}
    for source in sources:
        cells.setdefault(_SEED.sub("", source.id), []).append(source)
    return Group(title, shared, [Cell(name, *_apart(cell)) for name, cell in cells.items()])


def _apart(sources: list[Source]) -> tuple[dict[str, str], list[Source]]:
    """What all of several sources share, and the sources without it."""
    every = [source.facts for source in sources[1:]]
    shared = {k: v for k, v in sources[0].facts.items() if every and all(facts.get(k) == v for facts in every)}
    return shared, [replace(one, facts={k: v for k, v in one.facts.items() if k not in shared}) for one in sources]


def _by_seeds(records: Iterable[Record]) -> list[Source]:
    """Runs of one name and the same settings as one source: there are many, and a page has its limit."""
    alike: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        settings = json.dumps([settings_of(record), record.config["stability"]], sort_keys=True)
        alike.setdefault((_SEED.sub("", record.id), settings), []).append(record)
    return [_of_seeds(cell) for cell in alike.values()]


def _trials(records: Iterable[Record]) -> list[Source]:
    """The trials of a search as a source a model."""
    alike: dict[str, list[Record]] = {}
    for record in records:
        alike.setdefault(_SEED.sub("", record.id), []).append(record)
    return [_of_seeds(trials, "trial") for trials in alike.values()]


def _of_seeds(records: Iterable[Record], what: str = "seed") -> Source:
    """Runs that differ in the seed alone, or are trials, as one source."""
    every = [_run(record) for record in records]
    if len(every) == 1:
        return every[0]
    shared, apart = _apart(every)
    seeds = {}
    for record, one in zip(records, apart, strict=True):
        label = f"seed {setting(record, 'seed')}" if what == "seed" else what
        said = (f"{name} {fact}" for name, fact in one.facts.items() if name != "status")  # the summary tells
        facts = [one.id.rpartition("-")[2], one.summary, *said]
        seeds[one.id] = label, ", ".join(facts)
    return Source(_SEED.sub("", every[0].id), counted(len(every), what), shared, seeds)


def _run(record: Record) -> Source:
    test = record.metrics.get("test", {}).get("value")
    epochs, updates = short(record.progress["epochs"]), record.progress["updates"]
    places, valid = record.metric.places + 1, record.metrics.get("valid", {}).get("value")
    config = {name: record.config[name] for name in ("profile", "dataset", "stability")}
    settings = settings_of(record) | {name: config[name]["name"] for name in ("profile", "dataset", "stability")}
    settings |= {f"stability.constraint.{name}": value for name, value in config["stability"]["constraint"].items()}
    return Source(
        record.id,
        record.status if test is None else f"test {record.metric.name} {test:.{places}f}",
        {
            "status": record.status,
            "trained": f"{counted(epochs, 'epoch')}, {counted(updates, 'update')}",
            "took": f"{record.speed['seconds']:,.0f} s, {record.finished_at[:10]}",
            "hardware": _listed(record.hardware),
            "commit": record.commit,
            "versions": _listed(record.versions),
            "text": f"{record.data['name']}, fingerprint {record.data['fingerprint']}",
            "items": _listed(record.data["tokens"]),
        }
        | ({f"valid {record.metric.name}": f"{valid:.{places}f}"} if valid is not None else {})
        | {key: _plain(value) for key, value in settings.items() if not _said_by_a_name(key, value)},
    )


def _said_by_a_name(key: str, value: Any) -> bool:
    """Whether the id says it, or a name does: of this package's classes; others are worth naming."""
    return (
        key in _IN_THE_ID
        or key.endswith("._partial_")
        or (key.endswith("._target_") and str(value).startswith("stablernn."))
    )


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _plain(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _measurement(name: str, measured: dict[str, Any]) -> Source:
    commits = dict.fromkeys(case.get("commit", "unknown") for case in measured["cases"].values())
    return Source(
        name,
        "measurements of speed",
        {
            "hardware": f"{measured['hardware']}, threads {measured['threads']}",
            "commit": ", ".join(commits),
            "cases": f"{len(measured['cases'])}",
            "file": f"results/bench/{name}",
        },
    )


def _linear(name: str, result: dict[str, Any]) -> Source:
    options = result["options"]
    return Source(
        name,
        f"linear system, {options['kind']}",
        {"commit": result.get("commit", "unknown"), "file": f"linear_systems/{name}"}
        | {key: _plain(value) for key, value in options.items()},
    )
