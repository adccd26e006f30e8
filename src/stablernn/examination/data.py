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

WORD, CHARACTER = "word", "character"
UNKNOWN = "<unk>"
_LISTED = {"\n": r"\n", "\t": r"\t", "\r": r"\r"}  # characters that no line of a list can hold
_FEW = 300  # ids, of a network that may well read characters
_TEXTS = ("train", "valid", "test")  # in the order in which the vocabulary of word_language_model reads them


@dataclass(frozen=True)
class Examined:
    """Data as analyses read them.

    Attributes:
        split: inputs and targets.
        words: of the vocabulary in the order of their ids, or its characters; None where data are no text.
        name: of the file, or what the data are.
    """

    split: Split | Sequences
    words: tuple[str, ...] | None = None
    name: str = "data"


def read(
    model: SequenceModel, data: Data, vocabulary: Texts | None = None, most: int | None = None, level: str = WORD
) -> Examined:
    """Data for a model.

    Args:
        model: that reads them.
        data: a text file (see ``level``) or a .npy file; ids (N,); frames (N, E), or a list of such
            sequences, each of which begins at the zero state; a split of a task.
        vocabulary: see ``words_of``.
        most: no more items are read.
        level: of a text: ``word``, a line end is ``<eos>``; or ``character``, those of the file as it is, or, where the
            vocabulary has ``<eos>``, as tasks of this package read them: runs of white space are one blank.

    Raises:
        ConfigurationError: they are not what the model reads, or the vocabulary is not the model's.
        DataError: a file is not there, or no text.
    """
    if isinstance(data, Split | Sequences):
        return Examined(data.first(most))
    check_level(level)
    name, words = "data", None
    if isinstance(data, str | Path):
        path, name = Path(data), Path(data).name
        if path.suffix == ".npy":
            data = _array(path)
        else:
            types = _types(model)
            if not any(line.strip() for line in _lines(path)):
                raise DataError(f"data={path} holds no text", "name a text that the network was not trained on")
            words = words_of(path, vocabulary, types, level)
            data = np.fromiter(_ids(path, words, None if most is None else most + 1, level), dtype=np.int64)
    if data is None or len(data) == 0:
        raise ConfigurationError(f"data={name} holds nothing: give a text, ids (N,), frames (N, E) or a list of such")
    parts = [_numbers(part) for part in ([data] if _is_one(data) else data)]  # type: ignore[list-item]
    wanted = 2 if isinstance(model.inputs, Frames) else 1
    if all(part.ndim == wanted for part in parts) and any(len(part) < 2 for part in parts):
        raise ConfigurationError(f"data={name}: a sequence of 1 item has none to predict: give 2 or more")
    if any(part.ndim != wanted for part in parts):
        kind = "frames (N, E)" if wanted == 2 else "ids (N,)"
        raise ConfigurationError(f"data: the model reads {kind}, and got an array of the shape {parts[0].shape}")
    if wanted == 1:
        _check_ids(parts, _types(model))
        split = Split(parts[0]) if len(parts) == 1 else Sequences(*_next(parts))
    else:
        _check_frames(parts, model)
        split = Sequences(*_next(parts))
    return Examined(split.first(most), words, name)


def check_level(level: str) -> None:
    if level not in (WORD, CHARACTER):
        raise ConfigurationError(f"level={level} is unknown: choose {WORD} or {CHARACTER}")


def words_of(text: Path, vocabulary: Texts | None, types: int, level: str = WORD) -> tuple[str, ...]:
    """The words of a network's vocabulary in the order of their ids.

    Args:
        text: that is to be read; its folder may hold the texts that the network was trained on.
        vocabulary: a file with a word a line; or the texts that the network was trained on, several or in a folder
            (train, valid, test), whose words are numbered as they first appear, ``<eos>`` behind each line, as
            word_language_model of pytorch/examples does; characters are numbered in their sorted order, as by
            ``sorted(set(text))``, and a list of them has ``\\n`` or ``<eos>`` for a line end. None: the texts beside
            ``text``, or ``text`` alone.
        types: ids that the network knows.
        level: see ``read``.

    Raises:
        ConfigurationError: it has another number of words.
    """
    hint = "; or say level=character if it reads characters" if level == WORD and types < _FEW else ""
    if vocabulary is None:
        paths = _beside(text.parent) or [text]
        words = _numbered(paths, level)
        listed = ", ".join(path.name for path in paths)
        if len(words) == types:
            order = "in the order in which they first appear" if level == WORD else "in sorted order, those"
            log.info(f"vocabulary: {types:,} {level}s {order} in {listed} ({text.parent})")
            return words
        raise ConfigurationError(
            f"vocabulary is not set, and {listed} in {text.parent} would make {counted(len(words), level)}, where the "
            f"network knows {types:,}: vocabulary=FILE with a {level} a line in the order of ids, or "
            "vocabulary=TRAIN,VALID,TEST, the texts that it was trained on"
            f"{hint}"
        )
    paths = [Path(part) for part in ([vocabulary] if isinstance(vocabulary, str | Path) else vocabulary)]
    words = None
    if len(paths) == 1 and paths[0].is_dir():
        folder = paths[0]
        paths = _beside(folder)
        if not paths:
            raise ConfigurationError(f"vocabulary={folder}: it holds no one file each for train, valid and test")
    elif len(paths) == 1:
        words = _list(paths[0], level)
    words = words or _numbered(paths, level)
    if len(words) != types:
        given = ",".join(map(str, paths))
        raise ConfigurationError(
            f"vocabulary={given}: it has {counted(len(words), level)}, and the network knows {types:,}: give the file "
            f"or the texts that it was trained with{hint}"
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


def _tokens(path: Path, level: str, normalised: bool) -> Iterator[str]:
    """Words and ``<eos>``; or characters as a list has them, of lines with ``<eos>`` where they are ``normalised``."""
    for line in _lines(path):
        if level == CHARACTER and not normalised:
            yield from (_LISTED.get(character, character) for character in line)
        else:
            yield from line.split() if level == WORD else " ".join(line.split())
            yield EOS


def _numbered(paths: Iterable[Path], level: str) -> tuple[str, ...]:
    """The vocabulary of texts."""
    if level == WORD:
        return tuple(dict.fromkeys(token for path in paths for token in _tokens(path, level, True)))
    every = sorted({character for path in paths for line in _lines(path) for character in line})
    return tuple(_LISTED.get(character, character) for character in every)


def _list(path: Path, level: str) -> tuple[str, ...] | None:
    """The lines of a list, each a word or a character; None: it is a text."""
    lines = tuple(line.rstrip("\r\n") for line in _lines(path))
    several = (*_LISTED.values(), EOS, UNKNOWN)
    fits = all(len(line.split()) == 1 if level == WORD else len(line) == 1 or line in several for line in lines)
    return lines if fits and len(set(lines)) == len(lines) else None


def _ids(path: Path, words: Sequence[str], most: int | None, level: str) -> Iterator[int]:
    index = {word: number for number, word in enumerate(words)}
    unknown, missing, count = index.get(UNKNOWN), 0, 0
    tokens = _tokens(path, level, level == WORD or EOS in index)
    for token in islice((token for token in tokens if token != EOS or EOS in index), most):
        number = index.get(token, unknown)
        if number is None:
            raise ConfigurationError(
                f"data={path}: {token!r:.40} is not in the vocabulary, which has no {UNKNOWN} either: give the "
                "vocabulary that the network was trained with, or a text without it"
            )
        missing += token not in index
        count += 1
        yield number
    if missing:
        log.warning(f"{path.name}: {missing:,} of {counted(count, level)} are not in the vocabulary: {UNKNOWN} each")


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
