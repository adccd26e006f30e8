"""Polyphonic music as 88-key piano rolls: which keys sound in the next frame (Boulanger-Lewandowski et al. 2012).

A file holds, for each split, the pieces as matrices (frames, 88) of zeros and ones. Each piece of T frames is one
sequence from the zero state: frames 1 .. T - 1 are read, frames 2 .. T are predicted. The loss is the negative
log-likelihood a frame, summed over the keys, as Bai, Kolter & Koltun (2018) count it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from stablernn.tasks.base import Inputs, Interface, Outputs
from stablernn.tasks.sequences import Sequences, SequenceTask, fingerprint
from stablernn.tasks.splits import SPLITS, check_lengths
from stablernn.utils.errors import ConfigurationError, DataError, MissingDataError
from stablernn.utils.metrics import NATS_A_FRAME
from stablernn.utils.names import is_name
from stablernn.utils.wording import counted

KEYS = 88
# Of the published pieces, by name: whatever else is read gets another name.
PUBLISHED = {"jsb": "b13ac1b6e05c0891"}

# Test NLL a frame of models that see the last frame at most (``tests/test_music.py`` finds them again): how often each
# key sounds; a logistic regression of each key on the last frame; a network of one hidden layer on it.
CONTROLS = {
    "jsb": {"how often each key sounds": 11.09, "linear in the last frame": 9.10, "network on the last frame": 8.60}
}


class PianoRolls:
    """Piano rolls in a MATLAB file with the entries ``traindata``, ``validdata`` and ``testdata``.

    Args:
        name: what tables call it; that of a published set is for that set alone.
        path: folder that holds the file, itself or in its sub-folder ``folder``.
        folder: name of the set's own folder inside a collection of data sets.
        file_name: of the MATLAB file.
        max_tokens: use only as many whole pieces of a split as hold so many frames.
        fingerprint: that the pieces must have, all splits together; None: any.

    Raises:
        ConfigurationError: the name is none that a table can have.
    """

    embeds: ClassVar[bool] = False  # frames go to the cell as they are

    def __init__(
        self,
        name: str,
        path: str | None,
        folder: str,
        file_name: str,
        max_tokens: Mapping[str, int | None] | None = None,
        fingerprint: str | None = None,
    ) -> None:
        if not is_name(name):
            raise ConfigurationError(f"dataset.name={name} must be a word of letters, digits, - and _")
        check_lengths(max_tokens or {})
        if Path(folder).is_absolute() or ".." in Path(folder).parts or Path(file_name).name != file_name:
            raise ConfigurationError(f"dataset.file_name={file_name} must lie inside the folder of the data")
        self.name = name
        self.path = path
        self.folder = folder
        self.file_name = file_name
        self.max_tokens = dict(max_tokens or {})
        self.fingerprint = fingerprint

    def load(self) -> SequenceTask:
        """Read and check the pieces.

        Raises:
            DataError: the file is not there, or holds no piano rolls, or not those that it must hold.
        """
        whole = self._read()
        found = self._check(whole)
        splits = {name: split.first(self.max_tokens.get(name)) for name, split in whole.items()}
        interface = Interface(Inputs("box", KEYS), Outputs("bernoulli", KEYS))
        return SequenceTask(self.name, interface, NATS_A_FRAME, splits, text=found)

    def fingerprint_of_own(self) -> str | None:
        """What tells these pieces from the published ones of that name; None for those themselves.

        Raises:
            DataError: see ``load``; of pieces of one's own that are not here, nothing is known.
        """
        try:
            found = self._check(self._read())
        except MissingDataError:
            if self.fingerprint is None and self.name not in PUBLISHED:
                raise
            return self.fingerprint if self.name not in PUBLISHED else None
        return None if PUBLISHED.get(self.name) == found else found

    def _check(self, splits: Mapping[str, Sequences]) -> str:
        found = fingerprint(splits)
        published = PUBLISHED.get(self.name)
        if published is not None and found != published:
            raise DataError(
                f"{self.name}: {self._file()} does not hold the published pieces: its fingerprint is "
                f"{found}, not {published}",
                "for pieces of your own choose dataset=piano_roll_folder dataset.name=... dataset.path=...",
            )
        if self.fingerprint is not None and found != self.fingerprint:
            raise DataError(
                f"{self.name}: {self._file()} has the fingerprint {found}, not {self.fingerprint} as "
                "dataset.fingerprint asks for: these are other pieces",
                "name the folder of those pieces, or give these a dataset.name of their own",
            )
        return found

    def _file(self) -> Path:
        remedy = f"set dataset.path (or STABLERNN_DATA) to a folder that has {self.file_name}"
        if self.folder:
            remedy += f" (itself or in its sub-folder {self.folder})"
        if self.path is None:
            raise MissingDataError(f"{self.name} cannot be downloaded", remedy)
        root = Path(self.path).expanduser()
        for file in (root / self.file_name, root / self.folder / self.file_name):
            if file.is_file():
                return file
        raise MissingDataError(f"{self.name}: no {self.file_name} in {root}", remedy)

    def _read(self) -> dict[str, Sequences]:
        from scipy.io import loadmat  # here, as it takes a third of a second

        file = self._file()
        try:
            content = loadmat(file)
        except Exception as error:  # whatever the reader meets in a file that is none of its own
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise DataError(f"{file} is not a MATLAB file ({reason})") from None
        splits = {}
        for split in SPLITS:
            key = f"{split}data"
            if key not in content:
                known = ", ".join(sorted(name for name in content if not name.startswith("__"))) or "nothing"
                raise DataError(
                    f"{file} has no entry {key} (it has {known})", "it needs traindata, validdata, testdata"
                )
            pieces = [self._piece(file, key, number, piece) for number, piece in enumerate(content[key].ravel(), 1)]
            if not pieces:
                raise DataError(f"{file}: {key} holds no pieces")
            splits[split] = Sequences(tuple(p[:-1] for p in pieces), tuple(p[1:] for p in pieces))
        return splits

    def _piece(self, file: Path, key: str, number: int, piece: object) -> np.ndarray:
        roll = np.asarray(piece)
        if roll.ndim != 2 or roll.shape[1] != KEYS:
            raise DataError(f"{file}: piece {number} of {key} has the shape {roll.shape}; it must be (frames, {KEYS})")
        if len(roll) < 2:
            raise DataError(f"{file}: piece {number} of {key} has {counted(len(roll), 'frame')}; it needs 2 or more")
        if roll.dtype.kind not in "biuf" or not np.isin(roll, (0, 1)).all():
            raise DataError(f"{file}: piece {number} of {key} has entries other than 0 and 1")
        return roll.astype(np.uint8)
