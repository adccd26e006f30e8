"""Word-level corpora from a local folder or from the hub, encoded once and memory-mapped after.

The encoded copy carries the checksums of its files: one that is damaged is never read, but made again.
"""

import hashlib
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
from stablernn.errors import ConfigurationError, DataError
from stablernn.files import file_digest, json_digest, parse_json, write_json, write_text, writing
from stablernn.schemas import is_name
from stablernn.wording import counted

_COUNTS = "counts.json"

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
        try:
            digest.update(bytes.fromhex(file_digest(path)))
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror})") from None
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

    Raises:
        ConfigurationError: the name is none that a folder of the cache can have.
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
        if not is_name(name):
            raise ConfigurationError(f"dataset.name={name} must be a word of letters, digits, - and _")
        for option, part in (
            ("dataset.folder", folder),
            *((f"dataset.file_names.{s}", n) for s, n in file_names.items()),
        ):
            if Path(part).is_absolute() or ".." in Path(part).parts:
                raise ConfigurationError(f"dataset.{option}={part} must lie inside the folder of the data")
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
        counts = _read_counts(folder)
        if counts is None:
            lines = {s: _lines(files[s]) for s in SPLITS} if files else self._hub_lines()
            counts = self._encode(lines, folder)
        self._check(counts)
        if counts["unseen"]:
            log.warning(
                f"{self.name}: {counts['unseen']:,} of {counts['types']:,} types come in valid or test and never in "
                "train: they are scored as any other, though no model can know them"
            )
        splits = {
            split: Split(read_tokens(file_of(folder, split), counts["types"])).first(self.max_tokens.get(split))
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

    def _encode(self, lines: Mapping[str, Iterable[str]], folder: Path) -> dict[str, Any]:
        with writing(folder):
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
                _seal(part, counts)
                _install(part, folder)
                return counts
            finally:
                shutil.rmtree(part, ignore_errors=True)

    def _check(self, counts: Mapping[str, Any]) -> None:
        if empty := [split for split in SPLITS if not counts["tokens"][split]]:
            raise DataError(f"{self.name}: the {empty[0]} split is empty; fetch its file again")
        if self.expected is None:
            return
        wrong = [
            f"{split} has {counted(counts['tokens'][split], 'token')}, expected {expected:,}"
            for split, expected in self.expected["tokens"].items()
            if counts["tokens"][split] != expected
        ]
        if counts["types"] != self.expected["types"]:
            wrong.append(f"the vocabulary has {counted(counts['types'], 'type')}, expected {self.expected['types']:,}")
        if wrong:
            raise DataError(
                f"{self.name}: this is not the published text: {'; '.join(wrong)}. "
                "Fetch the files again, or set dataset.expected=null for a text of your own"
            )


def _seal(folder: Path, counts: Mapping[str, Any]) -> None:
    """Write ``counts`` with the checksums of all the other files of ``folder``, and one of themselves."""
    digests = {path.name: file_digest(path) for path in sorted(folder.iterdir())}
    write_json(folder / _COUNTS, {**counts, "sha256": digests, "checksum": json_digest([counts, digests])})


def _read_counts(folder: Path) -> dict[str, Any] | None:
    """What ``_seal`` was given, if every file is as it was then; else None."""
    try:
        counts = parse_json((folder / _COUNTS).read_bytes())
        digests, checksum = counts.pop("sha256"), counts.pop("checksum")
        whole = checksum == json_digest([counts, digests])
        return counts if whole and all(file_digest(folder / name) == digests[name] for name in digests) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _install(new: Path, folder: Path) -> None:
    """Give ``new`` the name ``folder``, unless another process was faster; a damaged folder makes room."""
    if folder.exists():
        if _read_counts(folder) is not None:
            return
        folder.rename(new.with_name(f"{new.name}.damaged"))
    try:
        new.rename(folder)
    except OSError:
        if _read_counts(folder) is None:
            raise
    finally:
        shutil.rmtree(new.with_name(f"{new.name}.damaged"), ignore_errors=True)
