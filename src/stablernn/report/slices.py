"""Slices: the runs on one text at one profile, which one table or figure may compare; and the baselines of each."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from stablernn.records.record import Record
from stablernn.report.frame import data_name, distinguish, frame, groups, recognised, select
from stablernn.report.load import Analyses, setting
from stablernn.report.names import rank
from stablernn.report.replicates import Replicates, Row
from stablernn.report.text import listed, short
from stablernn.tasks import music, slots
from stablernn.tasks.embedded import BASELINE
from stablernn.tasks.published import PUBLISHED as CORPORA
from stablernn.tasks.published import TEXT
from stablernn.utils.metrics import PERPLEXITY, Metric
from stablernn.utils.wording import counted

PROFILES = ("paper", "lease", "cpu", "quick", "smoke")
# Baselines that know next to nothing of the past: three words, or the 6 characters of a word and its blank.
NGRAMS = {1: "unigram", 2: "bigram", 3: "trigram", 6: "6-gram"}
BASELINES: Mapping[str, Mapping[str, float]] = music.BASELINES | slots.BASELINES
TITLES = {name: corpus.title for name, corpus in CORPORA.items()} | {
    "embedded": "embedded corpus (hidden Markov model)",
    "jsb": "JSB chorales",
    "nottingham": "Nottingham folk tunes",
    "musedata": "MuseData",
    "piano_midi": "Piano-midi.de",
    "atis": "ATIS slots",
    "atis_count": "ATIS, number of slots",
    "copy_memory": "copy memory",
    "copy_memory_output": "copy memory, last output read",
    "adding": "adding problem",
    "adding_100": "adding problem",
    "selectivity": "selectivity",
    "transduction_reverse": "letters backwards",
    "transduction_sort": "letters in order",
    "transduction_dates": "dates to ISO",
}


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
    def synthetic(self) -> bool:
        """Whether the sequences were made from a seed, to ask for memory: none of the study's tasks."""
        return self.metric is not PERPLEXITY and "seed" in self.records[0].config["dataset"]

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
    def baseline(self) -> Mapping[int, float]:
        """Test scores of interpolated Kneser-Ney models by their order, of the same tokens; empty if not known."""
        record = self.records[0]
        if data_name(record) == "embedded":
            return BASELINE.get(self.fingerprint, {})
        if not recognised(record) or self.by_counts or self._limits.get("train") is not None:
            return {}
        return CORPORA[record.data["name"]].baseline.get(record.data["tokens"]["test"], {})

    @property
    def baselines(self) -> Mapping[str, float]:
        """Test scores of models that know next to nothing of the past, by name; empty if not known."""
        if known := self.records[0].data.get("baselines") or BASELINES.get(self.data):
            return known
        return {f"Kneser-Ney, order {order}": value for order, value in self.baseline.items()}

    @property
    def best_baseline(self) -> tuple[str, float] | None:
        """Name and score of the baseline that a model has to beat before it says anything about memory."""
        if not self.baseline:
            # The best one, whatever their order: a record has its entries by the alphabet.
            return min(self.baselines.items(), key=lambda named: self.metric.cost(named[1]), default=None)
        return self.bar and (f"Kneser-Ney {NGRAMS[self.bar[0]]}", self.bar[1])

    @property
    def metric(self) -> Metric:
        return self.records[0].metric

    @property
    def baseline_note(self) -> str:
        """Empty where the baseline is not known."""
        scores = ", ".join(f"{perplexity:.1f} (order {order})" for order, perplexity in self.baseline.items())
        return f"the baseline, interpolated Kneser-Ney models of the train split: {scores}" if scores else ""

    @property
    def bar(self) -> tuple[int, float] | None:
        """What a model must beat: the order of the best of the baseline's models among ``NGRAMS``, and its score."""
        known = {order: perplexity for order, perplexity in self.baseline.items() if order in NGRAMS}
        return min(known.items(), key=lambda entry: entry[1], default=None)

    @property
    def bar_note(self) -> str:
        """Empty where there is no bar."""
        if self.bar is None:
            return ""
        order = self.bar[0]
        return f"a model that is worse than the {NGRAMS[order]} (order {order}) decides nothing"

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
        """A note on them, and on the precision of the softmax where runs differ in it."""
        return "; ".join(filter(None, ["on " + ", ".join(sorted(set(self.runs.device))), self.precisions]))

    @property
    def precisions(self) -> str:
        """Those of the softmax's products in training where runs differ in them; empty where not, or without one."""
        found = Counter(
            record.hardware.get("precision", "float32") for record in self.records if _has_softmax(record.data)
        )
        if len(found) < 2:
            return ""
        runs = listed([f"{name} in {counted(number, 'run')}" for name, number in found.most_common()])
        return f"precision of the softmax’s products in training: {runs}"

    def replicates(self, ids: Collection[str]) -> pd.DataFrame:
        """The finished runs of the models that some runs are of, with all their seeds; those of a search are no seeds.

        Theirs count where ``ids`` names them.
        """
        named = self.runs.id.isin(ids)
        alike = self.runs.cell.isin(self.runs.cell[named]) & ~self.runs.experiment.str.startswith("search")
        return select(self.runs, (named | alike) & self.runs.finished)

    def abridged(self) -> "Slice":
        """The longest k of each model and approximation alone."""
        longest = self.runs.groupby(["model", "approximation"]).k.transform("max")
        return replace(self, records=tuple(self.runs[self.runs.k == longest].record))


def rows(data: Slice) -> list[Row]:
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


def by_text(analyses: Analyses) -> list[tuple[str, Analyses]]:
    """Results of runs by the text that these are of, as data sets and fingerprints in the order of the results."""
    groups: dict[str, list[tuple[Record, dict[str, Any]]]] = {}
    for record, result in analyses:
        name = f"{data_name(record)}, fingerprint {record.data['fingerprint']}"
        groups.setdefault(name, []).append((record, result))
    return list(groups.items())


def trained_for(runs: pd.DataFrame) -> str:
    """A note: for how many epochs, and on what."""
    epochs = " to ".join(dict.fromkeys(short(value) for value in (runs.epochs.min(), runs.epochs.max())))
    return f"trained for {counted(epochs, 'epoch')} on {', '.join(sorted(set(runs.device)))}"


def _has_softmax(data: Mapping[str, Any]) -> bool:
    """By what a record says of its data; language models say no more than their types."""
    return "interface" not in data or data["interface"]["outputs"]["kind"] == "categorical"
