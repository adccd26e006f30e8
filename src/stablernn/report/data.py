"""One data frame of all runs, a row a run, and what of it may be compared: slices, and replicates over seeds."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

import pandas as pd

from stablernn.records.record import DIVERGED, Record
from stablernn.report.load import Analyses, place, setting
from stablernn.report.names import MODEL_NAMES, PUBLISHED, rank
from stablernn.report.table import Value
from stablernn.tasks import music, slots
from stablernn.tasks.embedded import CONTROL
from stablernn.tasks.published import COUNTS, TEXT, is_published
from stablernn.tasks.published import PUBLISHED as CORPORA
from stablernn.utils.metrics import Metric
from stablernn.utils.wording import counted

PROFILES = ("paper", "lease", "cpu", "quick", "smoke")
EPSILON = "0.01"  # nats, as certificates name it
# Controls that know next to nothing of the past: three words, or the 6 characters of a word and its blank.
NGRAMS = {1: "unigram", 2: "bigram", 3: "trigram", 6: "6-gram"}
CONTROLS: Mapping[str, Mapping[str, float]] = music.CONTROLS | slots.CONTROLS
TITLES = {name: corpus.title for name, corpus in CORPORA.items()} | {
    "embedded": "embedded corpus (hidden Markov model)",
    "jsb": "JSB chorales",
    "nottingham": "Nottingham folk tunes",
    "musedata": "MuseData",
    "piano_midi": "Piano-midi.de",
    "atis": "ATIS slots",
}


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
    test score; ``certified``: None where no certificate was computed; ``context``: the proven k(0.01).
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


_NO_RUNS = frame([])


@dataclass(frozen=True, eq=False)
class Replicates:
    """Rows of the frame that differ in nothing but the seed."""

    runs: pd.DataFrame = field(default_factory=lambda: _NO_RUNS)

    @classmethod
    def of(cls, records: Iterable[Record]) -> "Replicates":
        return cls(frame(records))

    @property
    def first(self) -> Record:
        return self.runs.record.iloc[0]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.runs.id)

    @property
    def finished(self) -> pd.DataFrame:
        return select(self.runs, self.runs.finished)

    @property
    def values(self) -> list[float]:
        """Test scores of the runs that finished."""
        return self.finished.test.tolist()

    @property
    def diverged(self) -> int:
        return len(self.runs) - len(self.finished)

    @property
    def mean(self) -> Value:
        """Mean and standard deviation; ``diverged`` where no run finished."""
        values = self.finished.test
        if not len(values):
            return Value("diverged" if len(self.runs) else None, runs=self.ids)
        return Value(float(values.mean()), float(values.std()) if len(values) > 1 else None, runs=self.ids)

    @property
    def summary(self) -> Value:
        """``mean`` with the number of seeds and of diverged runs."""
        seeds = len(self.finished)
        return replace(self.mean, seeds=seeds if seeds > 1 else None, diverged=self.diverged if seeds else 0)

    @property
    def certificates(self) -> pd.DataFrame:
        """The runs that finished and have a certificate."""
        return select(self.finished, self.finished.certified.notna())

    @property
    def proven(self) -> tuple[float | str | None, int | None]:
        """The largest certified λ and k(0.01) of the seeds, ``no`` unless all are certified, None where not known."""
        known = self.certificates
        if not len(known):
            return None, None
        if not all(known.certified):
            return "no", None
        return float(known.rate.max()), None if known.context.hasnans else int(known.context.max())


@dataclass
class Row:
    """One model and approximation at one k; ``note`` names settings that set it apart from a like row.

    ``cells``: by the name of the constraint, with the options in which it differs from others of the name.
    """

    model: str
    approximation: str
    k: int
    note: str
    cells: dict[str, Replicates] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return MODEL_NAMES.get(self.model, self.model) + (f" ({self.note})" if self.note else "")

    @property
    def first(self) -> Record:
        return next(iter(self.cells.values())).first

    @property
    def optimal(self) -> float | None:
        return self.first.metrics.get("optimal", {}).get("test")

    @property
    def published(self) -> dict[str, float]:
        """The published values that this row may be compared with, by constraint."""
        if self.approximation != "recurrent":
            return {}
        return {name: PUBLISHED[self.model, name] for name in self.cells if (self.model, name) in PUBLISHED}


def rows(data: "Slice") -> list[Row]:
    """RNN before LSTM, recurrent before feed-forward, small k first; in a row unstable before stable before others."""
    made = [
        Row(*kind, cells={name: Replicates(cell) for name, cell in groups(runs, ["name"])})
        for kind, runs in groups(data.runs, ["model", "approximation", "k", "note"])
    ]
    return sorted(
        made, key=lambda row: (rank(row.model), row.model, *_feedforward_last(row.approximation), row.k, row.note)
    )


def _feedforward_last(approximation: str) -> tuple[bool, str]:
    return approximation != "recurrent", approximation


@dataclass(frozen=True)
class Slice:
    """Records on the same text at the same profile: what one table or figure may compare."""

    profile: str
    data: str
    fingerprint: str
    records: tuple[Record, ...]
    ambiguous: bool = False  # another slice of the same profile and corpus holds as much of it

    @cached_property
    def runs(self) -> pd.DataFrame:
        """The frame of the records, with ``note``, the settings that set a run apart from others of its model,

        approximation and k, and ``name``, its constraint with the options that set it apart.
        """
        runs = frame(self.records)
        options = distinguish(runs, "options", ["model", "stability"])
        names = [", ".join(filter(None, entry)) for entry in zip(runs.stability, options, strict=True)]
        return runs.assign(note=distinguish(runs, "settings", ["model", "approximation", "k"]), name=names)

    @property
    def text(self) -> tuple[str, str, str]:
        """Profile, corpus and how much of it: slices with the same may stand side by side."""
        return self.profile, self.data, self.fingerprint

    @property
    def name(self) -> str:
        """As part of a file's name: corpus, profile, how much of the corpus if not all, and what else is needed."""
        cut = "" if not self._cut else f"_{next(iter(self._cut.values()))}"
        return f"{self.data}_{self.profile}{cut}" + (f"_{self.fingerprint[:8]}" if self.ambiguous else "")

    @property
    def caption(self) -> str:
        """Corpus, profile, and how much of the corpus."""
        name, _, head = self.data.partition("+")
        title = f"{TITLES.get(name, name)}{' (by its counts)' if self.by_counts else ''}"
        text = f"{title}{f' with {head} softmax' if head else ''}, profile `{self.profile}`"
        if self._cut:
            parts = ", ".join(f"{count:,} {split}" for split, count in self._cut.items())
            text += f" (only the first {parts} {self.metric.item}s)"
        if self.ambiguous:
            text += f", fingerprint {self.fingerprint[:8]}"
        return text

    @property
    def _cut(self) -> dict[str, int]:
        """The splits that are not whole, with their length."""
        limits = self._limits
        tokens = self.records[0].data["tokens"].items()
        # For a corpus that is made they are its lengths.
        stored = {"file_names", "file_name"} & self.records[0].config["dataset"].keys()
        return {name: count for name, count in tokens if limits.get(name) is not None and stored}

    @property
    def whole(self) -> bool:
        """Whether the text is all of the corpus."""
        return all(limit is None for limit in self._limits.values())

    @property
    def _limits(self) -> dict[str, int | None]:
        return self.records[0].config["dataset"].get("max_tokens") or {}

    @property
    def protocol(self) -> bool:
        """Whether this is the study's protocol: the published numbers are of the whole published text at it alone."""
        return self.data == "wikitext2" and self.profile == "paper" and self.whole and not self.by_counts

    @property
    def full_size(self) -> bool:
        """Whether the models are as large as the study's and the text is whole, whatever the schedule."""
        return self.protocol or (self.data == "wikitext2" and self.profile == "lease" and self.whole)

    @property
    def by_counts(self) -> list[str]:
        """The splits of a published text of which the counts alone were recognised."""
        return [split for split, how in recognised(self.records[0]).items() if how != TEXT]

    @property
    def control(self) -> Mapping[int, float]:
        """Test scores of interpolated Kneser-Ney models by their order, of the same tokens; empty if not known."""
        record = self.records[0]
        if data_name(record) == "embedded":
            return CONTROL.get(self.fingerprint, {})
        if not recognised(record) or self.by_counts or self._limits.get("train") is not None:
            return {}
        return CORPORA[record.data["name"]].control.get(record.data["tokens"]["test"], {})

    @property
    def controls(self) -> Mapping[str, float]:
        """Test scores of models that know next to nothing of the past, by name; empty if not known."""
        if self.data in CONTROLS:
            return CONTROLS[self.data]
        return {f"Kneser-Ney, order {order}": value for order, value in self.control.items()}

    @property
    def best_control(self) -> tuple[str, float] | None:
        """Name and score of the control that a model has to beat before it says anything about memory."""
        if self.data in CONTROLS:
            return list(CONTROLS[self.data].items())[-1]
        return self.bar and (f"Kneser-Ney {NGRAMS[self.bar[0]]}", self.bar[1])

    @property
    def metric(self) -> Metric:
        return self.records[0].metric

    @property
    def control_note(self) -> str:
        """Empty where the control is not known."""
        scores = ", ".join(f"{perplexity:.1f} (order {order})" for order, perplexity in self.control.items())
        return f"the control, interpolated Kneser-Ney models of the train split: {scores}" if scores else ""

    @property
    def bar(self) -> tuple[int, float] | None:
        """What a model must beat: the order of the best of the control's models among ``NGRAMS``, and its score."""
        known = {order: perplexity for order, perplexity in self.control.items() if order in NGRAMS}
        return min(known.items(), key=lambda entry: entry[1], default=None)

    @property
    def bar_note(self) -> str:
        """Empty where there is no bar."""
        if self.bar is None:
            return ""
        order = self.bar[0]
        return f"a model that is worse than the {NGRAMS[order]} (order {order}) is not trained far enough"

    @property
    def origin(self) -> str:
        """Whether the published text was recognised, or only its counts; empty for data that nobody published."""
        title = TITLES.get(self.data.partition("+")[0])
        if not recognised(self.records[0]):
            return ""
        if not self.by_counts:
            return f"text: the published {title}, recognised by a fingerprint of its words and the order of its lines"
        return (
            f"text: {', '.join(self.by_counts)} recognised by the counts of {title} alone, so that words or the order "
            "of lines may differ from the published text"
        )

    @property
    def devices(self) -> str:
        """A note on them."""
        return "on " + ", ".join(sorted(set(self.runs.device)))

    def abridged(self) -> "Slice":
        """The longest k of each model and approximation alone."""
        longest = self.runs.groupby(["model", "approximation"]).k.transform("max")
        return replace(self, records=tuple(self.runs[self.runs.k == longest].record))


def slices(records: Iterable[Record]) -> Iterator[Slice]:
    """Records by profile and text: the larger profiles first, real text before the embedded corpus."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        # Another head than the full softmax makes another model: it is compared with its like alone.
        head = record.config.get("head", {}).get("name")
        data = f"{data_name(record)}+{head}" if head else data_name(record)
        groups.setdefault((setting(record, "profile.name"), data, record.data["fingerprint"]), []).append(record)

    def order(text: tuple[str, str, str]) -> tuple:
        profile, data, fingerprint = text
        rank = PROFILES.index(profile) if profile in PROFILES else len(PROFILES)
        return rank, data == "embedded", data, fingerprint

    made = [Slice(*text, records=tuple(groups[text])) for text in sorted(groups, key=order)]
    names = Counter(data.name for data in made)
    for data in made:
        yield replace(data, ambiguous=names[data.name] > 1)


def leading(slices: Iterable[Slice]) -> list[Slice]:
    """The best profile of each corpus, WikiText-2 first: what a reader sees before anything else."""
    best: dict[tuple[str, str], Slice] = {}
    for data in slices:
        # Texts that have a name in common are as many corpora.
        best.setdefault((data.data, data.fingerprint if data.ambiguous else ""), data)
    return sorted(best.values(), key=lambda data: data.data != "wikitext2")


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


def by_text(analyses: Analyses) -> list[tuple[str, Analyses]]:
    """Results of runs by the text that these are of, as data sets and fingerprints in the order of the results."""
    groups: dict[str, list[tuple[Record, dict[str, Any]]]] = {}
    for record, result in analyses:
        name = f"{data_name(record)}, fingerprint {record.data['fingerprint']}"
        groups.setdefault(name, []).append((record, result))
    return list(groups.items())


def gradient_note(records: Iterable[Record]) -> list[str]:
    """A note where feed-forward models were trained with a gradient that did not reach all their inputs."""
    note = (
        "feed-forward: trained by the first edition, whose gradient for the embedding did not cross the borders of "
        "windows; with the whole gradient they may come out better"
    )
    return [note] if any(record.cut_gradient for record in records) else []


def trained_for(runs: pd.DataFrame) -> str:
    """A note: for how many epochs, and on what."""
    epochs = " to ".join(dict.fromkeys(f"{value:.2g}" for value in (runs.epochs.min(), runs.epochs.max())))
    return f"trained for {counted(epochs, 'epoch')} on {', '.join(sorted(set(runs.device)))}"
