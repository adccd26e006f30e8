"""Word-level corpora from a local folder or from the hub, encoded once and memory-mapped after.

The encoded copy carries the checksums of its files: one that is damaged is never read, but made again. The fingerprint
of a text is that of its words and lines: white space, a byte-order mark and line ends of either form do not enter it.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from stablernn.tasks import hub
from stablernn.tasks.published import PUBLISHED, TEXT, is_published, mixture, recognise
from stablernn.tasks.splits import EOS, SPLITS, Corpus, Split, check_lengths
from stablernn.tasks.tokens import file_of, narrow, read_tokens
from stablernn.tasks.vocabulary import Vocabulary
from stablernn.utils.console import log
from stablernn.utils.errors import ConfigurationError, DamagedFileError, DataError, MissingDataError
from stablernn.utils.files import file_digest, file_state, json_digest, read_json, write_json, write_text, writing
from stablernn.utils.metrics import PERPLEXITY, Metric
from stablernn.utils.names import is_name
from stablernn.utils.wording import counted

_COUNTS, _TYPES = "counts.json", "types.txt"
_MARK = "\ufeff"  # byte-order mark

# Counts of the files that this process has read before, by what the file system says of them.
_counts_of: dict[tuple, dict[str, Any]] = {}
_said: set[tuple[Path, str]] = set()


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


class _Reading:
    """The lines of one split on their way to being encoded: normalised, counted and fingerprinted.

    Attributes:
        lines: how many there were so far.
        marked: whether the text began with a byte-order mark, which is no part of its first word.
    """

    def __init__(self, where: str, lines: Iterable[str]) -> None:
        self.where = where
        self.lines = 0
        self.marked = False
        self._source = lines
        self._digest = hashlib.sha256()

    def __iter__(self) -> Iterator[str]:
        for line in self._source:
            if not self.lines and line.startswith(_MARK):
                self.marked, line = True, line.removeprefix(_MARK)
            self.lines += 1
            words = line.split()
            if EOS in line and EOS in words:
                raise DataError(
                    f"{self.where}, line {self.lines}: the word {EOS} is in the text already, and every line would get "
                    "a second one at its end",
                    rf"write the text a sentence a line and without it, as with: sed 's/ *{EOS}//g'",
                )
            normalised = " ".join(words)
            self._digest.update(f"{normalised}\n".encode())
            yield normalised

    @property
    def fingerprint(self) -> str:
        return self._digest.hexdigest()[:16]


def _whole(texts: Mapping[str, str]) -> str:
    """One fingerprint of all splits."""
    return json_digest([texts[split] for split in SPLITS])[:16]


class WordCorpus:
    """A tokenised text in three files, or the same text on the hub.

    Args:
        name: what tables call it; the name of a published text is for that text alone.
        path: folder that holds the three files, or a folder that holds ``folder``. None: the hub.
        folder: name of the corpus' own folder inside a collection of data sets.
        file_names: the file of each split.
        repository, configuration: where the hub has it (None: the hub does not have it).
        expected: published counts, ``{"types": V, "tokens": {"train": N, ...}}``; None: anything goes.
        max_tokens: use only the first so many tokens of a split; the vocabulary stays the full one.
        fingerprint: that the text must have, all splits together; None: any.

    Raises:
        ConfigurationError: the name is none that a folder of the cache can have, or is that of another text.
    """

    metric: ClassVar[Metric] = PERPLEXITY
    tokens_of: ClassVar[Callable[[str], Iterable[str]]] = str.split  # a line
    separator: ClassVar[str] = " "  # of tokens
    cached_as: ClassVar[str] = "text"  # another name makes the cached files of an older version anew
    own: ClassVar[str] = "text_folder"  # the dataset for a text of one's own

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
        fingerprint: str | None = None,
    ) -> None:
        if not is_name(name):
            raise ConfigurationError(f"dataset.name={name} must be a word of letters, digits, - and _")
        check_lengths(max_tokens or {})
        if name == "embedded" or (name in PUBLISHED and not is_published(name, _plain(expected))):
            title = PUBLISHED[name].title if name in PUBLISHED else "the corpus that is made from a seed"
            raise ConfigurationError(
                f"dataset.name={name} is for {title} alone, and without its dataset.expected any text would pass for "
                "it: for a text of your own choose another dataset.name, as in "
                f"dataset={self.own} dataset.name=mine"
            )
        if sorted(file_names) != sorted(SPLITS):
            raise ConfigurationError(f"dataset.file_names={dict(file_names)} must name a file for {', '.join(SPLITS)}")
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
        self.fingerprint = fingerprint

    def load(self) -> Corpus:
        """Read, encode (once) and check the corpus.

        Raises:
            DataError: it is not there, not text, or not the text that it must be.
        """
        folder, counts = self._encoded()
        self._say(folder, counts)
        splits = {
            split: Split(read_tokens(file_of(folder, split), counts["types"])).first(self.max_tokens.get(split))
            for split in SPLITS
        }
        recognised = recognise(self.name, counts["texts"])
        return Corpus(
            self.name,
            counts["types"],
            splits,
            text=_whole(counts["texts"]),
            recognised=recognised,
            metric=self.metric,
            vocabulary=folder / _TYPES,
            separator=self.separator,
        )

    def fingerprint_of_own(self) -> str | None:
        """The fingerprint of the text in the local files, all splits together.

        None for a published text, which its name and its counts stand for, and for a text on the hub, which the
        repository and its configuration stand for. The files are read once; where they are not here, it is the
        ``fingerprint`` that the text must have.

        Raises:
            DataError: see ``load``; of a text of one's own that is not here, nothing is known.
        """
        if self.path is None:
            return self.fingerprint
        try:
            files = self.local_files()
            assert files is not None
            stats = [(path.resolve(), *_state(path)) for path in files.values()]
        except MissingDataError:
            if self.fingerprint is None and self.name not in PUBLISHED:
                raise
            return self.fingerprint
        key = (self.name, self.cached_as, str(self.expected), *stats)
        if key not in _counts_of:
            _counts_of[key] = self._encoded()[1]
        counts = _counts_of[key]
        self._check(counts)
        published = recognise(self.name, counts["texts"])
        return None if published and set(published.values()) == {TEXT} else _whole(counts["texts"])

    def _encoded(self) -> tuple[Path, dict[str, Any]]:
        """The folder of the encoded copy, made if need be, and its counts."""
        files = self.local_files()
        # A text on the hub is known by where it is; one in files by what they hold.
        origin = _digest(files[split] for split in SPLITS) if files else f"hub-{self._hub_key()}"
        folder = hub.cache_root() / f"{self.name}-{origin}-{self.cached_as}"
        counts = _read_counts(folder)
        if counts is None:
            lines = {s: _lines(files[s]) for s in SPLITS} if files else self._hub_lines()
            where = {split: str(files[split]) if files else f"{self.repository}, {split}" for split in SPLITS}
            counts = self._encode({split: _Reading(where[split], lines[split]) for split in SPLITS}, folder)
        self._check(counts)
        return folder, counts

    def _say(self, folder: Path, counts: Mapping[str, Any]) -> None:
        """Log what a reader of the results has to know of the text, once a process."""
        remarks = []
        if counts["unseen"]:
            remarks.append(
                f"{counts['unseen']:,} of {counts['types']:,} types come in valid or test and never in "
                "train: they are scored as any other, though no model can know them"
            )
        if counts["marked"]:
            remarks.append(f"the byte-order mark at the beginning of {', '.join(counts['marked'])} was left out")
        if mixed := mixture(counts["texts"]):
            remarks.append(f"this is a mixture of published texts: {mixed}")
        recognised = recognise(self.name, counts["texts"])
        if by_counts := [split for split, how in recognised.items() if how != TEXT]:
            remarks.append(
                f"{', '.join(by_counts)} of {PUBLISHED[self.name].title} recognised by counts alone: the words or the "
                "order of the lines may differ from the published text; records and tables say so"
            )
        for remark in remarks:
            if (folder, remark) not in _said:
                _said.add((folder, remark))
                log.warning(f"{self.name}: {remark}")

    def local_files(self) -> dict[str, Path] | None:
        """The three files, or None if no local folder was named.

        Raises:
            MissingDataError: a folder was named and lacks them.
        """
        if self.path is None:
            return None
        root = Path(self.path).expanduser()
        remedy = (
            "set dataset.path (or STABLERNN_DATA) to a folder that has "
            + ", ".join(self.file_names.values())
            + (f" (itself or in its sub-folder {self.folder})" if self.folder else "")
            + ", or choose dataset=embedded"
        )
        for base in (root, root / self.folder):
            files = {split: base / file for split, file in self.file_names.items()}
            missing = [path.name for path in files.values() if not path.is_file()]
            if not missing:
                return files
            if len(missing) < len(files):
                raise MissingDataError(f"{self.name}: {base} lacks {', '.join(missing)}", remedy)
        raise MissingDataError(f"{self.name}: no such data in {root}", remedy)

    def _hub_key(self) -> str:
        return json_digest([hub.address(), self.repository, self.configuration])[:16]

    def _hub_lines(self) -> dict[str, Iterator[str]]:
        if self.repository is None:
            raise MissingDataError(
                f"{self.name} cannot be downloaded",
                "set dataset.path (or STABLERNN_DATA) to a folder that has " + ", ".join(self.file_names.values()),
            )
        return hub.text_lines(self.name, self.repository, self.configuration)

    def _encode(self, readings: Mapping[str, _Reading], folder: Path) -> dict[str, Any]:
        with writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
            try:
                vocabulary = Vocabulary()
                tokens, types = {}, {}
                for split in SPLITS:
                    tokens[split] = vocabulary.encode(readings[split], file_of(part, split), type(self).tokens_of)
                    types[split] = len(vocabulary)
                for split in SPLITS:
                    narrow(file_of(part, split), len(vocabulary))
                counts = {
                    "types": len(vocabulary),
                    "unseen": len(vocabulary) - types["train"],
                    "tokens": tokens,
                    "lines": {split: readings[split].lines for split in SPLITS},
                    "texts": {split: readings[split].fingerprint for split in SPLITS},
                    "marked": [split for split in SPLITS if readings[split].marked],
                }
                self._check(counts)
                write_text(part / _TYPES, "\n".join(vocabulary.types) + "\n")
                _seal(part, counts)
                _install(part, folder)
                return counts
            finally:
                shutil.rmtree(part, ignore_errors=True)

    def _check(self, counts: Mapping[str, Any]) -> None:
        if empty := [split for split in SPLITS if not counts["tokens"][split]]:
            raise DataError(f"{self.name}: the {empty[0]} split is empty; fetch its file again")
        if self.fingerprint is not None and self.fingerprint != (fingerprint := _whole(counts["texts"])):
            raise DataError(
                f"{self.name}: the text {f'in {self.path}' if self.path else 'on the hub'} has the fingerprint "
                f"{fingerprint}, not {self.fingerprint} as dataset.fingerprint asks for: it is another text",
                "name the folder of that text, or give this one a dataset.name of its own",
            )
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
            own = f"choose dataset={self.own} dataset.name=... for a text of your own"
            raise DataError(
                f"{self.name}: this is not the published text: {'; '.join([*self._guesses(counts), *wrong])}",
                f"fetch the files again, or {own}",
            )

    def _guesses(self, counts: Mapping[str, Any]) -> Iterator[str]:
        """What has probably been done to the published text."""
        if mixed := mixture(counts["texts"]):
            yield f"it is a mixture, {mixed}"
        if self.name not in PUBLISHED:
            return
        published = PUBLISHED[self.name]
        for split, lines in published.lines.items():
            count = counts["lines"][split]
            words = counts["tokens"][split] - count
            if count != lines and words == published.tokens[split] - lines:
                change = "blank lines were stripped, or lines joined" if count < lines else "lines were broken or added"
                yield f"{split} has its words in {count:,} lines and not in {lines:,} ({change})"


def _plain(expected: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """``expected`` as plain dictionaries, whatever mappings a configuration is made of."""
    return None if expected is None else {"types": expected.get("types"), "tokens": dict(expected.get("tokens") or {})}


def _state(path: Path) -> tuple[int, ...]:
    try:
        return file_state(path)
    except OSError as error:
        raise MissingDataError(f"{path} cannot be read ({error.strerror})") from None


def _seal(folder: Path, counts: Mapping[str, Any]) -> None:
    """Write ``counts`` with the checksums of all the other files of ``folder``."""
    digests = {path.name: file_digest(path) for path in sorted(folder.iterdir())}
    write_json(folder / _COUNTS, {**counts, "sha256": digests})


def _read_counts(folder: Path) -> dict[str, Any] | None:
    """What ``_seal`` was given, if every file is as it was then; else None."""
    try:
        counts = read_json(folder / _COUNTS)
        digests = counts.pop("sha256")
        return counts if all(file_digest(folder / name) == digests[name] for name in digests) else None
    except (OSError, DamagedFileError, KeyError, TypeError, AttributeError):
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
