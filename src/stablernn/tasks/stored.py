"""Data sets of sequences in files: where these lie, and whether they are the published ones."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlparse

from stablernn.tasks import hub
from stablernn.tasks.sequences import SequenceTask
from stablernn.tasks.splits import check_lengths
from stablernn.utils.errors import ConfigurationError, DataError, MissingDataError
from stablernn.utils.files import file_state
from stablernn.utils.names import is_name

_texts: dict[tuple, str | None] = {}  # fingerprints by what was read


class StoredSequences(ABC):
    """Sequences in one file or several of one folder.

    Args:
        name: what tables call it; that of a published set is for that set alone.
        path: folder that holds the files, itself or in its sub-folder ``folder``.
        folder: name of the set's own folder inside a collection of data sets.
        file_names: the option that names each file, and its name.
        max_tokens: use only as many whole sequences of a split as hold so many items.
        fingerprint: that the sequences must have, all splits together; None: any.

    Attributes:
        published: fingerprints of the published sets, by name.
        own: the dataset for sequences of one's own.
        noun: what messages call the sequences.

    Raises:
        ConfigurationError: the name is none that a table can have.
    """

    published: ClassVar[Mapping[str, str]]
    own: ClassVar[str]
    noun: ClassVar[str]

    def __init__(
        self,
        name: str,
        path: str | None,
        folder: str,
        file_names: Mapping[str, str],
        max_tokens: Mapping[str, int | None] | None,
        fingerprint: str | None,
    ) -> None:
        if not is_name(name):
            raise ConfigurationError(f"dataset.name={name} must be a word of letters, digits, - and _")
        check_lengths(max_tokens or {})
        for option, file_name in file_names.items():
            outside = Path(folder).is_absolute() or ".." in Path(folder).parts or Path(file_name).name != file_name
            if outside:
                raise ConfigurationError(f"dataset.{option}={file_name} must lie inside the folder of the data")
        self.name = name
        self.path = path
        self.folder = folder
        self.files = tuple(file_names.values())
        self.max_tokens = dict(max_tokens or {})
        self.fingerprint = fingerprint

    @abstractmethod
    def read(self) -> SequenceTask:
        """All of it, whose ``text`` is the fingerprint that tells it from others; raises DataError."""

    def load(self) -> SequenceTask:
        """Read and check the sequences.

        Raises:
            DataError: the files are not there, or not as they must be, or not those that they must be.
        """
        whole = self._checked()
        return replace(whole, splits={name: s.first(self.max_tokens.get(name)) for name, s in whole.splits.items()})

    def fingerprint_of_own(self) -> str | None:
        """What tells these sequences from the published ones of that name; None for those themselves.

        Raises:
            DataError: see ``load``; of sequences of one's own that are not here, nothing is known.
        """
        try:
            root = self.root()
            key = (type(self), repr(vars(self)), *(file_state(root / file) for file in self.files))
            if key not in _texts:  # a plan asks for it at each of a thousand runs
                _texts[key] = self._checked().text
            text = _texts[key]
        except MissingDataError:
            if self.fingerprint is None and self.name not in self.published:
                raise
            return self.fingerprint if self.name not in self.published else None
        return None if self.published.get(self.name) == text else text

    def _checked(self) -> SequenceTask:
        whole = self.read()
        published = self.published.get(self.name)
        if published is not None and whole.text != published:
            raise DataError(
                f"{self.name}: {self._where()} does not hold the published {self.noun}: its fingerprint is "
                f"{whole.text}, not {published}",
                f"for {self.noun} of your own choose dataset={self.own} dataset.name=... dataset.path=...",
            )
        if self.fingerprint is not None and whole.text != self.fingerprint:
            raise DataError(
                f"{self.name}: {self._where()} has the fingerprint {whole.text}, not {self.fingerprint} as "
                f"dataset.fingerprint asks for: these are other {self.noun}",
                f"name the folder of those {self.noun}, or give these a dataset.name of their own",
            )
        return whole

    def _where(self) -> Path:
        """What messages name: the file, or the folder of several."""
        root = self.root()
        return root / self.files[0] if len(self.files) == 1 else root

    @property
    def download(self) -> tuple[str, str] | None:
        """Address and SHA-256 of the published set's one file; None where it may not be fetched."""
        return None

    def root(self) -> Path:
        """The folder with all of the files, fetched if they have a public home; raises MissingDataError."""
        names = ", ".join(self.files)
        remedy = f"set dataset.path (or STABLERNN_DATA) to a folder that has {names}"
        if self.folder:
            remedy += f" (itself or in its sub-folder {self.folder})"
        root = Path(self.path).expanduser() if self.path else None
        fetched = hub.cache_root() / "downloads"
        for base in ([root, root / self.folder] if root else []) + ([fetched] if self.download else []):
            if all((base / file).is_file() for file in self.files):
                return base
        problem = f"no {names} in {root}" if root else "no folder is named"
        if self.download is None:
            raise MissingDataError(f"{self.name}: {problem}, and it cannot be downloaded", remedy)
        url, sha256 = self.download
        if not hub.reachable(url):
            raise MissingDataError(f"{self.name}: {problem}, and {urlparse(url).hostname} does not answer", remedy)
        hub.download(self.name, url, sha256, fetched / self.files[0])
        return fetched
