"""What a network is examined on: a text by its vocabulary, or ids or frames as they are."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from stablernn.examination.network import is_unbounded
from stablernn.models.sequence_model import Frames, SequenceModel
from stablernn.tasks.sequences import Sequences
from stablernn.tasks.splits import EOS, Split
from stablernn.utils.console import log
from stablernn.utils.errors import ConfigurationError, DataError
from stablernn.utils.wording import counted

Data = str | Path | Split | Sequences | np.ndarray | Tensor | Sequence[Any]
Texts = str | Path | Sequence[str | Path]

UNKNOWN = "<unk>"
_TEXTS = ("train", "valid", "test")  # in the order in which the vocabulary of word_language_model reads them


@dataclass(frozen=True)
class Examined:
    """Data as analyses read them.

    Attributes:
        split: inputs and targets.
        words: of the vocabulary in the order of their ids; None where data are no text.
        name: of the file, or what the data are.
    """

    split: Split | Sequences
    words: tuple[str, ...] | None = None
    name: str = "data"


def read(model: SequenceModel, data: Data, vocabulary: Texts | None = None, most: int | None = None) -> Examined:
    """Data for a model.

    Args:
        model: that reads them.
        data: a text file (words, a line end is ``<eos>``) or a .npy file; ids (N,); frames (N, E), or a list of such
            sequences, each of which begins at the zero state; a split of a task.
        vocabulary: see ``words_of``.
        most: no more items are read.

    Raises:
        ConfigurationError: they are not what the model reads, or the vocabulary is not the model's.
        DataError: a file is not there, or no text.
    """
    if isinstance(data, Split | Sequences):
        return Examined(data.first(most))
    name, words = "data", None
    if isinstance(data, str | Path):
        path, name = Path(data), Path(data).name
        if path.suffix == ".npy":
            data = _array(path)
        else:
            types = _types(model)
            words = words_of(path, vocabulary, types)
            data = np.fromiter(_ids(path, words, None if most is None else most + 1), dtype=np.int64)
    parts = [_numbers(part) for part in ([data] if _is_one(data) else data)]  # type: ignore[list-item]
    wanted = 2 if isinstance(model.inputs, Frames) else 1
    if any(part.ndim != wanted or len(part) < 2 for part in parts):
        kind = "frames (N, E), N >= 2" if wanted == 2 else "ids (N,), N >= 2"
        raise ConfigurationError(f"data: the model reads {kind}, and got an array of the shape {parts[0].shape}")
    if wanted == 1:
        _check_ids(parts, _types(model))
        split = Split(parts[0]) if len(parts) == 1 else Sequences(*_next(parts))
    else:
        _check_frames(parts, model)
        split = Sequences(*_next(parts))
    return Examined(split.first(most), words, name)


def words_of(text: Path, vocabulary: Texts | None, types: int) -> tuple[str, ...]:
    """The words of a network's vocabulary in the order of their ids.

    Args:
        text: that is to be read; its folder may hold the texts that the network was trained on.
        vocabulary: a file with a word a line; or the texts that the network was trained on, several or in a folder
            (train, valid, test), whose words are numbered as they first appear, ``<eos>`` behind each line, as
            word_language_model of pytorch/examples does. None: the texts beside ``text``, or ``text`` alone.
        types: ids that the network knows.

    Raises:
        ConfigurationError: it has another number of words.
    """
    if vocabulary is None:
        paths = _beside(text.parent) or [text]
        words = _appearing(paths)
        listed = ", ".join(path.name for path in paths)
        if len(words) == types:
            log.info(f"vocabulary: {types:,} words in the order in which they first appear in {listed} ({text.parent})")
            return words
        raise ConfigurationError(
            f"vocabulary is not set, and {listed} in {text.parent} would make {len(words):,} words, where the network "
            f"knows {types:,}: vocabulary=FILE with a word a line in the order of ids, or "
            "vocabulary=TRAIN,VALID,TEST, the texts that it was trained on"
        )
    paths = [Path(part) for part in ([vocabulary] if isinstance(vocabulary, str | Path) else vocabulary)]
    if len(paths) == 1 and paths[0].is_dir():
        folder = paths[0]
        paths = _beside(folder)
        if not paths:
            raise ConfigurationError(f"vocabulary={folder}: it holds no one file each for train, valid and test")
        words = _appearing(paths)
    elif len(paths) == 1:
        words = tuple(line.rstrip("\r\n") for line in _lines(paths[0]))
        if len(set(words)) < len(words) or any(len(word.split()) != 1 for word in words):
            words = _appearing(paths)  # a text, and no list
    else:
        words = _appearing(paths)
    if len(words) != types:
        given = ",".join(map(str, paths))
        raise ConfigurationError(
            f"vocabulary={given}: it has {len(words):,} words, and the network knows {types:,}: give the file or the "
            "texts that it was trained with"
        )
    return words


def _beside(folder: Path) -> list[Path]:
    """The texts of a folder in the order train, valid, test: the one file of each whose name says so."""
    files = [path for path in sorted(folder.iterdir()) if path.suffix in (".txt", ".tokens")] if folder.is_dir() else []
    found = [[path for path in files if part in path.name.split(".")] for part in _TEXTS]
    return [paths[0] for paths in found] if all(len(paths) == 1 for paths in found) else []


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as text:
            yield from text
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text ({error.reason})", "give a text file, or a .npy file of ids"
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})", "name a file that is there") from None


def _tokens(path: Path) -> Iterator[str]:
    for line in _lines(path):
        yield from line.split()
        yield EOS


def _appearing(paths: Iterable[Path]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(token for path in paths for token in _tokens(path)))


def _ids(path: Path, words: Sequence[str], most: int | None) -> Iterator[int]:
    index = {word: number for number, word in enumerate(words)}
    unknown, missing, count = index.get(UNKNOWN), 0, 0
    for token in islice((token for token in _tokens(path) if token != EOS or EOS in index), most):
        number = index.get(token, unknown)
        if number is None:
            raise ConfigurationError(
                f"data={path}: {token!r:.40} is not in the vocabulary, which has no {UNKNOWN} either: give the "
                "vocabulary that the network was trained with"
            )
        missing += token not in index
        count += 1
        yield number
    if missing:
        log.warning(f"{path.name}: {missing:,} of {counted(count, 'word')} are not in the vocabulary: {UNKNOWN} each")


def _array(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error})", "give a file that numpy.save wrote") from None


def _types(model: SequenceModel) -> int:
    if isinstance(model.inputs, Frames):
        raise ConfigurationError("data: the model reads frames, and no text: give a .npy file or arrays (N, E)")
    return model.inputs.num_embeddings


def _is_one(data: Any) -> bool:
    """Whether it is one sequence, and not a list of sequences."""
    return isinstance(data, np.ndarray | Tensor) or not isinstance(data[0], np.ndarray | Tensor | list | tuple)


def _numbers(part: Any) -> np.ndarray:
    return part.detach().cpu().numpy() if isinstance(part, Tensor) else np.asarray(part)


def _next(parts: Sequence[np.ndarray]) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Inputs, and as targets what comes next."""
    return tuple(part[:-1] for part in parts), tuple(part[1:] for part in parts)


def _check_ids(parts: Sequence[np.ndarray], types: int) -> None:
    for part in parts:
        if part.dtype.kind not in "iu" or part.min() < 0 or part.max() >= types:
            raise ConfigurationError(
                f"data: ids must be whole numbers from 0 to {types - 1}, as the embedding has rows"
            )


def _check_frames(parts: Sequence[np.ndarray], model: SequenceModel) -> None:
    frames = model.inputs
    assert isinstance(frames, Frames)
    if any(part.shape[1] != frames.embedding_dim for part in parts):
        raise ConfigurationError(f"data: frames must have {frames.embedding_dim} entries, as rnn.input_size says")
    if is_unbounded(model):
        return
    least, most = min(part.min() for part in parts), max(part.max() for part in parts)
    if not frames.low <= least <= most <= frames.high:
        raise ConfigurationError(
            f"data: entries from {least:g} to {most:g} lie outside bounds=({frames.low:g}, {frames.high:g}): give "
            "from_torch the bounds that hold"
        )
