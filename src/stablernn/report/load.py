"""Run records from a folder, and what of them belongs together."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stablernn.console import log
from stablernn.errors import RecordError
from stablernn.record import RECORD_FILE, Record, read_record

STUDIES = ("perplexity", "price_of_stability", "truncation_sweep", "weight_distance")
PROFILES = ("paper", "cpu", "quick", "smoke")


def load_records(folder: Path, study: str | None = None) -> list[Record]:
    """Every readable record below ``folder``, each id once and in order; an unreadable one is named and left out.

    Args:
        folder: of published records, <profile>/<study>/<id>, or of runs.
        study: only its records; where ``folder`` knows no studies, all.
    """
    known = {path.parent.parent.name for path in folder.rglob(RECORD_FILE)} & set(STUDIES)
    if study is None or not known or folder.name in STUDIES:
        return [record for record, _ in _load(folder.rglob(RECORD_FILE))]
    return [record for record, _ in _load(folder.glob(f"**/{study}/*/{RECORD_FILE}"))]


def load_analyses(folder: Path, name: str) -> list[tuple[Record, dict[str, Any]]]:
    """The records below ``folder`` that an analysis was made of, with its result."""
    found = []
    for record, path in _load(folder.rglob(RECORD_FILE)):
        try:
            found.append((record, json.loads((path / f"{name}.json").read_text(encoding="utf-8"))))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            log.warning(f"left out: {path / name}.json is not readable ({error}); delete it to make it again")
    return found


def _load(files: Iterable[Path]) -> list[tuple[Record, Path]]:
    found: dict[str, tuple[Record, Path]] = {}
    for path in sorted(files):
        try:
            record = read_record(path.parent)
            found.setdefault(record.id, (record, path.parent))
        except RecordError as error:
            log.warning(f"left out: {error}")
    return [found[name] for name in sorted(found)]


def setting(record: Record, option: str) -> Any:
    """A configuration value of a record by its dotted name."""
    value: Any = record.config
    for key in option.split("."):
        value = value[key]
    return value


@dataclass(frozen=True)
class Section:
    """Records on the same text at the same profile: what one table or figure may compare."""

    profile: str
    data: str
    fingerprint: str
    records: tuple[Record, ...]

    @property
    def name(self) -> str:
        return f"{self.data}_{self.profile}"

    @property
    def caption(self) -> str:
        """Corpus, profile, and how much of the corpus."""
        tokens = self.records[0].data["tokens"]
        limits = self.records[0].config["dataset"].get("max_tokens", {})
        cut = {
            split: count for split, count in tokens.items() if limits.get(split) is not None and self.data != "embedded"
        }
        text = f"{TITLES.get(self.data, self.data)}, profile `{self.profile}`"
        if cut:
            text += " (only the first " + ", ".join(f"{count:,} {split}" for split, count in cut.items()) + " tokens)"
        return text

    @property
    def whole(self) -> bool:
        """Whether the text is all of the corpus."""
        return all(limit is None for limit in self.records[0].config["dataset"].get("max_tokens", {}).values())

    @property
    def protocol(self) -> bool:
        """Whether this is the study's protocol: the published numbers are of the whole test split at it alone."""
        return self.data == "wikitext2" and self.profile == "paper" and self.whole


TITLES = {
    "wikitext2": "WikiText-2",
    "wikitext103": "WikiText-103",
    "ptb": "Penn Treebank",
    "embedded": "embedded corpus (hidden Markov model)",
}


def sections(records: Iterable[Record]) -> Iterator[Section]:
    """Records by profile and text: the larger profiles first, real text before the embedded corpus."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        key = (setting(record, "profile.name"), record.data["name"], record.data["fingerprint"])
        groups.setdefault(key, []).append(record)

    def order(key: tuple[str, str, str]) -> tuple:
        profile, data, fingerprint = key
        rank = PROFILES.index(profile) if profile in PROFILES else len(PROFILES)
        return rank, data == "embedded", data, fingerprint

    for key in sorted(groups, key=order):
        yield Section(*key, records=tuple(groups[key]))
