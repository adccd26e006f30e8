"""One data frame of all runs, a row a run: what the rest of the report selects and groups."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

import pandas as pd

from stablernn.records.record import DIVERGED, Record
from stablernn.report.load import place, setting
from stablernn.tasks.published import COUNTS, TEXT, is_published
from stablernn.tasks.published import PUBLISHED as CORPORA

EPSILON = "0.01"  # nats, as certificates name it


def settings_of(record: Record) -> dict[str, Any]:
    """What may set two runs of one model apart: everything but the seed and the constraint."""

    def walk(node: Any, path: str) -> Iterator[tuple[str, Any]]:
        if isinstance(node, dict):
            for name, value in node.items():
                yield from walk(value, f"{path}.{name}" if path else name)
        else:
            yield path, node

    left_out = ("seed", "stability", "dataset", "profile")
    return dict(walk({name: value for name, value in record.config.items() if name not in left_out}, ""))


def frame(records: Iterable[Record]) -> pd.DataFrame:
    """A row a run, in the order of tables.

    ``settings`` and ``options`` (of the constraint) are mappings; ``test`` and ``valid`` are the values that tables
    show, ``natural`` the test score on the task's natural scale, missing where a run has none; ``finished``: it has a
    test score; ``certified``: None where no certificate was computed; ``context``: the proven k(0.01); ``constraint``:
    name and options as one text; ``cell``: all of the configuration but the seed, so that replicates have the same.
    """
    ordered = sorted(records, key=place)
    runs = pd.DataFrame({name: [value(record) for record in ordered] for name, value in _COLUMNS.items()})
    numbers = ("test", "valid", "natural", "rate", "context", "epochs", "seconds")
    return runs.astype({"finished": bool, "certified": object} | dict.fromkeys(numbers, float))


_COLUMNS: Mapping[str, Callable[[Record], Any]] = {
    "id": lambda run: run.id,
    "profile": lambda run: setting(run, "profile.name"),
    "data": lambda run: data_name(run),
    "fingerprint": lambda run: run.data["fingerprint"],
    "model": lambda run: setting(run, "model.name"),
    "approximation": lambda run: setting(run, "approximation.name"),
    "k": lambda run: setting(run, "truncation.k"),
    "stability": lambda run: str(setting(run, "stability.name")),
    "options": lambda run: setting(run, "stability.constraint"),
    "settings": settings_of,
    "constraint": lambda run: json.dumps(run.config["stability"], sort_keys=True),
    "cell": lambda run: json.dumps([settings_of(run), run.config["stability"]], sort_keys=True),
    "seed": lambda run: setting(run, "seed"),
    "experiment": lambda run: run.experiment,
    "test": lambda run: run.metrics.get("test", {}).get("value"),
    "valid": lambda run: run.metrics.get("valid", {}).get("value"),
    # JSON has no infinity: a perplexity that was infinite is null.
    "natural": lambda run: _natural(run),
    "finished": lambda run: run.status != DIVERGED and run.metrics.get("test", {}).get("value") is not None,
    "certified": lambda run: run.certificate.get("certified"),
    "rate": lambda run: run.certificate.get("rate") if run.certificate.get("certified") else None,
    "context": lambda run: run.certificate.get("context", {}).get(EPSILON),
    "epochs": lambda run: run.progress["epochs"],
    "seconds": lambda run: run.speed["seconds"],
    "parameters": lambda run: run.model["parameters"],
    "device": lambda run: run.hardware["device"],
    "record": lambda run: run,
}


def _natural(run: Record) -> float | None:
    score = run.metrics.get("test", {})
    needed = "value" if run.metric.of_tally else "total"
    return None if score.get(needed) is None else run.metric.natural(score)


def select(runs: pd.DataFrame, which: Any) -> pd.DataFrame:
    """The runs for which a condition holds."""
    return cast(pd.DataFrame, runs[which])


def groups(runs: pd.DataFrame, by: list[str]) -> list[tuple[Any, pd.DataFrame]]:
    """The runs that agree in some columns, by their values there (None for none), in the order of the frame."""
    grouped = runs.groupby(by if len(by) > 1 else by[0], sort=False, dropna=False)
    return [
        (
            tuple(None if isinstance(value, float) and math.isnan(value) else value for value in kind)
            if isinstance(kind, tuple)
            else kind,
            group,
        )
        for kind, group in grouped
    ]


def distinguish(runs: pd.DataFrame, column: str, by: list[str]) -> list[str]:
    """For each run the entries of a column of mappings in which runs that agree in ``by`` differ."""
    notes = pd.Series("", index=runs.index, dtype=object)
    for _, group in groups(runs, by):
        written = pd.DataFrame([{name: json.dumps(value) for name, value in entry.items()} for entry in group[column]])
        varied = set(written.columns[written.nunique(dropna=False) > 1])
        for at, entry in group[column].items():
            notes.loc[at] = ", ".join(f"{name}={entry[name]}" for name in entry if name in varied)
    return list(notes)


def data_name(record: Record) -> str:
    """What tables call the data of a run: the name of a published text is for a text that has its counts."""
    name, dataset = record.data["name"], record.config["dataset"]
    stored = "file_names" in dataset
    reserved = name in CORPORA or (stored and name == "embedded")
    return name if not reserved or (stored and is_published(name, dataset.get("expected"))) else f"{name}-own"


def recognised(record: Record) -> dict[str, str]:
    """By what each split of a published text was recognised, ``text`` or ``counts``; empty for any other data."""
    if data_name(record) not in CORPORA:
        return {}
    corpus = CORPORA[record.data["name"]]
    if record.data["fingerprint"] in corpus.ids:  # also of records from before this was recorded
        return dict.fromkeys(corpus.tokens, TEXT)
    known = record.data.get("recognised")
    return {split: known.get(split, COUNTS) if isinstance(known, dict) else COUNTS for split in corpus.tokens}
