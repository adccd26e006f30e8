"""Word-level corpora from a local folder or from the hub, encoded once and memory-mapped after."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from stablernn.console import log
from stablernn.data import hub
from stablernn.data.splits import SPLITS, Corpus, Split
from stablernn.data.tokens import file_of, narrow, read_tokens
from stablernn.data.vocabulary import Vocabulary
from stablernn.errors import DataError
from stablernn.files import write_json, write_text

_FORMAT = "ids"  # of the cached files; another name makes those of an older version anew


def cache_root() -> Path:
    """Folder of the encoded corpora: ``STABLERNN_CACHE``, else ``~/.cache/stablernn``."""
    return Path(os.environ.get("STABLERNN_CACHE") or Path.home() / ".cache" / "stablernn")


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8", newline="\n") as text:
            for line in text:
                if "\0" in line:
                    raise DataError(f"{path} is not a text file (it holds NUL bytes); replace it by the published file")
                yield line
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error.reason}); replace it by the published file") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from None


def _digest(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


class WordCorpus:
    """A tokenised text in three files, or the same text on the hub.

    Args:
        name: what tables call it.
        path: folder that holds the three files, or a folder that holds ``folder``. None: the hub.
        folder: name of the corpus' own folder inside a collection of data sets.
        file_names: the file of each split.
        repository, configuration: where the hub has it (None: the hub does not have it).
        expected: published counts, ``{"types": V, "tokens": {"train": N, ...}}``; None: anything goes.
        max_tokens: use only the first so many tokens of a split; the vocabulary stays the full one.
    """

    def __init__(
        self,
        name: str,
        path: str | None,
        folder: str,
        file_names: Mapping[str, str],
        repository: str | None = None,
        configuration: str | None = None,
        expected: Mapping[str, Any] | None = None,
        max_tokens: Mapping[str, int | None] | None = None,
    ) -> None:
        self.name = name
        self.path = path
        self.folder = folder
        self.file_names = dict(file_names)
        self.repository = repository
        self.configuration = configuration
        self.expected = expected
        self.max_tokens = dict(max_tokens or {})

    def load(self) -> Corpus:
        """Read, encode (once) and check the corpus.

        Raises:
            DataError: it is not there, not text, or not the published text.
        """
        files = self.local_files()
        folder = cache_root() / f"{self.name}-{_digest(files.values()) if files else 'hub'}-{_FORMAT}"
        if not (folder / "counts.json").is_file():
            lines = {s: _lines(files[s]) for s in SPLITS} if files else self._hub_lines()
            self._encode(lines, folder)
        counts = json.loads((folder / "counts.json").read_text())
        self._check(counts)
        if counts["unseen"]:
            log.warning(
                f"{self.name}: {counts['unseen']:,} of {counts['types']:,} types come in valid or test and never in "
                "train: they are scored as any other, though no model can know them"
            )
        splits = {
            split: Split(read_tokens(file_of(folder, split), counts["types"], counts["tokens"][split] + 1)).first(
                self.max_tokens.get(split)
            )
            for split in SPLITS
        }
        return Corpus(self.name, counts["types"], splits)

    def local_files(self) -> dict[str, Path] | None:
        """The three files, or None if no local folder was named.

        Raises:
            DataError: a folder was named and lacks them.
        """
        if self.path is None:
            return None
        root = Path(self.path).expanduser()
        remedy = (
            "set dataset.path (or STABLERNN_DATA) to a folder that has "
            + ", ".join(self.file_names.values())
            + " (itself or in its sub-folder "
            + f"{self.folder}), or choose dataset=embedded"
        )
        for base in (root, root / self.folder):
            files = {split: base / file for split, file in self.file_names.items()}
            missing = [path.name for path in files.values() if not path.is_file()]
            if not missing:
                return files
            if len(missing) < len(files):
                raise DataError(f"{self.name}: {base} lacks {', '.join(missing)}; {remedy}")
        raise DataError(f"{self.name}: no such data in {root}; {remedy}")

    def _hub_lines(self) -> dict[str, Iterator[str]]:
        if self.repository is None:
            raise DataError(
                f"{self.name} cannot be downloaded: set dataset.path (or STABLERNN_DATA) to a folder that has "
                + ", ".join(self.file_names.values())
            )
        return hub.text_lines(self.name, self.repository, self.configuration)

    def _encode(self, lines: Mapping[str, Iterable[str]], folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            vocabulary = Vocabulary()
            tokens, types = {}, {}
            for split in SPLITS:
                tokens[split] = vocabulary.encode(lines[split], file_of(part, split))
                types[split] = len(vocabulary)
            for split in SPLITS:
                narrow(file_of(part, split), len(vocabulary))
            counts = {"types": len(vocabulary), "unseen": len(vocabulary) - types["train"], "tokens": tokens}
            self._check(counts)
            write_text(part / "types.txt", "\n".join(vocabulary.types) + "\n")
            write_json(part / "counts.json", counts)
            if not folder.exists():  # another process may have encoded the same text meanwhile
                part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _check(self, counts: Mapping[str, Any]) -> None:
        if self.expected is None:
            return
        wrong = [
            f"{split} has {counts['tokens'][split]:,} tokens, expected {expected:,}"
            for split, expected in self.expected["tokens"].items()
            if counts["tokens"][split] != expected
        ]
        if counts["types"] != self.expected["types"]:
            wrong.append(f"the vocabulary has {counts['types']:,} types, expected {self.expected['types']:,}")
        if wrong:
            raise DataError(
                f"{self.name}: this is not the published text: {'; '.join(wrong)}. "
                "Fetch the files again, or set dataset.expected=null for a text of your own"
            )
