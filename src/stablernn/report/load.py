"""Run records from a folder, and what of them belongs together."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stablernn.records import schemas
from stablernn.records.neutral import neutral
from stablernn.records.record import RECORD_FILE, Record, read_run
from stablernn.report.names import constraint_rank, rank
from stablernn.tasks.embedded import CONTROL
from stablernn.tasks.published import COUNTS, PUBLISHED, TEXT, is_published
from stablernn.utils.console import warn_once
from stablernn.utils.errors import DamagedFileError, RecordError
from stablernn.utils.files import read_json
from stablernn.utils.names import is_name

STUDIES = ("tasks", "perplexity", "table1", "price_of_stability", "truncation_sweep", "weight_distance")
Found = Sequence[tuple[Record, dict[str, Any]]]  # runs that an analysis was made of, with its result
PROFILES = ("paper", "lease", "cpu", "quick", "smoke")


def load_records(folder: Path, study: str | None = None, strict: bool = False) -> list[Record]:
    """Every readable record below ``folder``, each id once and in order; an unreadable one is named and left out.

    Args:
        folder: of published records, <profile>/<study>/<id>, or of runs.
        study: only its records; where ``folder`` knows no studies, all,
        strict: or none.
    """
    known = {path.parent.parent.name for path in folder.rglob(RECORD_FILE)} & set(STUDIES)
    if study is None or ((not known or folder.name in STUDIES) and not strict):
        return [record for record, _ in _load(_record_files(folder))]
    return [record for record, _ in _load(folder.glob(f"**/{study}/*/{RECORD_FILE}"))]


def load_analyses(folder: Path, name: str) -> list[tuple[Record, dict[str, Any]]]:
    """The records below ``folder`` that an analysis was made of, with its result; in the order of tables."""
    found = []
    for record, path in _load(_record_files(folder)):
        try:
            result = neutral(read_json(path / f"{name}.json", schemas.analysis_check(name)))
            if result.get("run", record.id) != record.id:
                raise DamagedFileError(f"{path / name}.json is of another run ({result['run']!r:.240})")
            found.append((record, result))
        except FileNotFoundError:
            continue
        except DamagedFileError as error:
            warn_once(f"left out: {error}; analyze the run again (python scripts/analyze.py analysis={name})")
    return sorted(found, key=lambda entry: place(entry[0]))


def load_results(paths: Iterable[Path], check: Callable[[dict[str, Any]], object]) -> dict[str, dict[str, Any]]:
    """Results of which no run is behind, by the names of their files; a damaged one is named and left out.

    Args:
        paths: of the files.
        check: raises ValueError where one does not hold what it must.
    """
    found = {}
    for path in sorted(paths):
        try:
            if not is_name(path.name):
                raise DamagedFileError(f"{str(path)!r} is no name of a file of results")
            found[path.name] = read_json(path, check)
        except (FileNotFoundError, DamagedFileError) as error:
            warn_once(f"left out: {error}; delete it to measure it again")
    return found


def load_bench(path: Path, kind: str) -> dict[str, Any] | None:
    """The measurements in a file; None if there is none, or if it is damaged, which is said."""
    return load_results([path], schemas.bench_check(kind)).get(path.name) if path.is_file() else None


def _record_files(folder: Path) -> set[Path]:
    """Also those of runs whose folder is a link, which are refused: without a link's name nothing would be said."""
    return {*folder.rglob(RECORD_FILE), *folder.rglob(f"*/{RECORD_FILE}")}


def _load(files: Iterable[Path]) -> list[tuple[Record, Path]]:
    found: dict[str, tuple[Record, Path]] = {}
    for path in sorted(files):
        try:
            record = read_run(path.parent)
            found.setdefault(record.id, (record, path.parent))
        except RecordError as error:
            warn_once(f"left out: {error}")
    return [found[name] for name in sorted(found)]


def setting(record: Record, option: str) -> Any:
    """A configuration value of a record by its dotted name."""
    value: Any = record.config
    for key in option.split("."):
        value = value[key]
    return value


def place(record: Record) -> tuple:
    """Where tables tell a run: RNN before LSTM, recurrent before feed-forward, unstable before stable before others."""
    model, approximation, stability = (
        str(setting(record, option)) for option in ("model.name", "approximation.name", "stability.name")
    )
    limit = setting(record, "stability.constraint").get("limit") or 0
    kind = rank(model), model, approximation != "recurrent", setting(record, "truncation.k")
    return *kind, constraint_rank(stability), stability, limit, setting(record, "seed"), record.id


@dataclass(frozen=True)
class Section:
    """Records on the same text at the same profile: what one table or figure may compare."""

    profile: str
    data: str
    fingerprint: str
    records: tuple[Record, ...]
    ambiguous: bool = False  # another section of the same profile and corpus holds as much of it

    @property
    def text(self) -> tuple[str, str, str]:
        """Profile, corpus and how much of it: sections with the same may be told side by side."""
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
            told = ", ".join(f"{count:,} {split}" for split, count in self._cut.items())
            text += f" (only the first {told} {self.records[0].metric.item}s)"
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
        return PUBLISHED[record.data["name"]].control.get(record.data["tokens"]["test"], {})

    @property
    def control_told(self) -> str:
        """A note on it; empty where it is not known."""
        if not self.control:
            return ""
        told = ", ".join(f"{perplexity:.1f} (order {order})" for order, perplexity in self.control.items())
        return f"the control, interpolated Kneser-Ney models of the train split: {told}; {self.bar_told}"

    @property
    def bar(self) -> tuple[int, float] | None:
        """What a model must beat: the order of the best of the control's models among ``NGRAMS``, and its score."""
        known = {order: perplexity for order, perplexity in self.control.items() if order in NGRAMS}
        return min(known.items(), key=lambda entry: entry[1], default=None)

    @property
    def bar_told(self) -> str:
        """A note on it; empty where there is none."""
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
    def full_size(self) -> bool:
        """Whether the models are as large as the study's and the text is whole, whatever the schedule."""
        return self.protocol or (self.data == "wikitext2" and self.profile == "lease" and self.whole)


# Controls that know next to nothing of the past: three words, or the 6 characters of a word and its blank.
NGRAMS = {1: "unigram", 2: "bigram", 3: "trigram", 6: "6-gram"}
TITLES = {name: published.title for name, published in PUBLISHED.items()} | {
    "embedded": "embedded corpus (hidden Markov model)",
    "jsb": "JSB chorales",
    "atis": "ATIS slots",
}


def data_name(record: Record) -> str:
    """What tables call the data of a run: the name of a published text is for a text that has its counts."""
    name, dataset = record.data["name"], record.config["dataset"]
    stored = "file_names" in dataset
    reserved = name in PUBLISHED or (stored and name == "embedded")
    return name if not reserved or (stored and is_published(name, dataset.get("expected"))) else f"{name}-own"


def recognised(record: Record) -> dict[str, str]:
    """By what each split of a published text was recognised, ``text`` or ``counts``; empty for any other data."""
    if data_name(record) not in PUBLISHED:
        return {}
    published = PUBLISHED[record.data["name"]]
    if record.data["fingerprint"] in published.ids:  # also of records from before this was recorded
        return dict.fromkeys(published.tokens, TEXT)
    found = record.data.get("recognised")
    return {split: found.get(split, COUNTS) if isinstance(found, dict) else COUNTS for split in published.tokens}


def by_text(found: Found) -> list[tuple[str, Found]]:
    """Results of runs by the text that these are of, as data sets and fingerprints in the order of the results."""
    groups: dict[str, list[tuple[Record, dict[str, Any]]]] = {}
    for record, result in found:
        groups.setdefault(f"{data_name(record)}, fingerprint {record.data['fingerprint']}", []).append((record, result))
    return list(groups.items())


def sections(records: Iterable[Record]) -> Iterator[Section]:
    """Records by profile and text: the larger profiles first, real text before the embedded corpus."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        # Another head than the full softmax makes another model: it is compared with its like alone.
        head = record.config.get("head", {}).get("name")
        data = f"{data_name(record)}+{head}" if head else data_name(record)
        key = (setting(record, "profile.name"), data, record.data["fingerprint"])
        groups.setdefault(key, []).append(record)

    def order(key: tuple[str, str, str]) -> tuple:
        profile, data, fingerprint = key
        rank = PROFILES.index(profile) if profile in PROFILES else len(PROFILES)
        return rank, data == "embedded", data, fingerprint

    found = [Section(*key, records=tuple(groups[key])) for key in sorted(groups, key=order)]
    named = Counter(section.name for section in found)
    for section in found:
        yield replace(section, ambiguous=named[section.name] > 1)
