"""Token ids on disk: one flat file a split, as narrow as the vocabulary allows, memory-mapped when read."""

from pathlib import Path

import numpy as np

_WIDE, _NARROW = np.dtype("<u4"), np.dtype("<u2")
_IDS_A_BLOCK = 1 << 20


def file_of(folder: Path, split: str) -> Path:
    return folder / f"{split}.ids"


def id_type(types: int) -> np.dtype:
    """Two bytes an id where these hold all of ``types``, else four."""
    return _NARROW if types <= 2 ** (8 * _NARROW.itemsize) else _WIDE


class TokenWriter:
    """Appends ids to a file as they come; ``narrow`` once the size of the vocabulary is known."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written = 0
        self._file = path.open("wb")

    def __enter__(self) -> "TokenWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, ids: list[int]) -> None:
        np.asarray(ids, dtype=_WIDE).tofile(self._file)
        self.written += len(ids)


def narrow(path: Path, types: int) -> None:
    """Rewrite a file of ``TokenWriter`` in the integers that ``read_tokens`` expects for so many types."""
    if id_type(types) == _WIDE:
        return
    narrowed = path.with_suffix(".narrow")
    wide = np.memmap(path, dtype=_WIDE, mode="r")
    with narrowed.open("wb") as out:
        for begin in range(0, len(wide), _IDS_A_BLOCK):
            wide[begin : begin + _IDS_A_BLOCK].astype(_NARROW).tofile(out)
    narrowed.replace(path)


def read_tokens(path: Path, types: int) -> np.ndarray:
    """The ids of a file, mapped: they are read when they are looked at."""
    return np.memmap(path, dtype=id_type(types), mode="r")
