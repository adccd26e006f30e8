"""What a network is examined on: a text by its vocabulary, or ids or frames as they are."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from stablernn.examination.checks import FILE, check_file, check_frames, check_ids, check_targets, check_vocabulary
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
_CONVERT = "convert it, as by iconv -f latin1 (or utf-16) -t utf-8, or name another file"
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
        DataError: a file is no text.
    """
    check_level(level)
    if isinstance(data, Split | Sequences):
        split = _first(model, data, most)
        check_targets(model, split)
        return Examined(split)
    name, words = "data", None
    if isinstance(data, str | Path):
        check_file("data", data, FILE)
        path, name = Path(data), Path(data).name
        if path.suffix == ".npy":
            data = _array(path)
        else:
            types = _types(model)
            if not any(line.strip() for line in _lines(path)):
                raise DataError(f"data={path} holds no text", "name a text that the network was not trained on")
            words = words_of(path, vocabulary, types, level)
            data = np.fromiter(_ids(path, words, None if most is None else most + 1, level), dtype=np.int64)
    if data is not None and not isinstance(data, np.ndarray | Tensor | Sequence):
        raise ConfigurationError(
            f"data is of the type {type(data).__name__}, read neither as a text nor as numbers: give a file, ids (N,), "
            "frames (N, E) or a list of such"
        )
    if data is None or (getattr(data, "ndim", 1) and len(data) == 0):
        raise ConfigurationError(f"data={name} holds nothing: give a text, ids (N,), frames (N, E) or a list of such")
    parts = [_numbers(part) for part in ([data] if _is_one(data) else data)]  # type: ignore[list-item]
    wanted = 2 if isinstance(model.inputs, Frames) else 1
    if all(part.ndim == wanted for part in parts) and any(len(part) < 2 for part in parts):
        raise ConfigurationError(f"data={name}: a sequence of 1 item has none to predict: give 2 or more")
    if other := [part.shape for part in parts if part.ndim != wanted]:
        kind = "frames (N, E)" if wanted == 2 else "ids (N,)"
        raise ConfigurationError(
            f"data={name}: the model reads {kind}, several sequences as a list of such, and got an array of the "
            f"shape {other[0]}"
        )
    if wanted == 1:
        check_ids(parts, _types(model), model.objective)
        split = Split(parts[0]) if len(parts) == 1 else Sequences(*_next(parts))
    else:
        check_frames(parts, model)
        split = Sequences(*_next(parts))
    split = _first(model, split, most)
    check_targets(model, split)
    return Examined(split, words, name)


def _first(model: SequenceModel, split: Split | Sequences, items: int | None) -> Split | Sequences:
    """The last sequence is cut, unless its outputs depend on what would be cut away."""
    if isinstance(split, Sequences):
        return split.first(items, cut=not model.backbone.whole_sequences)
    return split.first(items)


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
        beside = _beside(text.parent)
        paths = beside or [text]
        words = _numbered(paths, level)
        listed = ", ".join(path.name for path in paths)
        if len(words) == types:
            order = "in the order in which they first appear" if level == WORD else "in sorted order, those"
            log.info(f"vocabulary: {types:,} {level}s {order} in {listed} ({text.parent})")
            return words
        which = f"{listed} beside it have" if beside else "beside it lie no texts train, valid, test, and it alone has"
        raise ConfigurationError(
            f"vocabulary is not set for data={text}: {which} {counted(len(words), level)}, where the network knows "
            f"{types:,}: give vocabulary=FILE with a {level} a line in the order of ids, or "
            "vocabulary=FOLDER of the texts that it was trained on (train, valid, test)"
            f"{hint}"
        )
    paths = [Path(part) for part in ([vocabulary] if isinstance(vocabulary, str | Path) else vocabulary)]
    check_vocabulary(paths)
    words = None
    if len(paths) == 1 and paths[0].is_dir():
        folder = paths[0]
        paths = _beside(folder)
        if not paths:
            raise ConfigurationError(f"vocabulary={folder}: it holds no one file each for train, valid and test")
    elif len(paths) == 1:
        words = _list(paths[0], level, types)
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
        with path.open(encoding="utf-8-sig") as text:
            for line in text:
                if "\0" in line:
                    raise DataError(f"{path} has null bytes, so it is no UTF-8 text", _CONVERT)
                yield line
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text ({error.reason} at byte {error.start:,})", _CONVERT) from None
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


def _list(path: Path, level: str, types: int) -> tuple[str, ...] | None:
    """The lines of a list, each a word or a character; None: it is a text."""
    lines = tuple(line.rstrip("\r\n") for line in _lines(path))
    several = (*_LISTED.values(), EOS, UNKNOWN)
    fits = all(len(line.split()) == 1 if level == WORD else len(line) == 1 or line in several for line in lines)
    if not fits or len(set(lines)) == len(lines):
        return lines if fits else None
    if len(lines) == types:  # a list of the right length, and no text
        twice = Counter(lines).most_common(1)[0][0]
        raise ConfigurationError(
            f"vocabulary={path}: {twice!r:.40} stands in it twice, so it has two ids: give each {level} one line"
        )
    return None


def _ids(path: Path, words: Sequence[str], most: int | None, level: str) -> Iterator[int]:
    index = {word: number for number, word in enumerate(words)}
    unknown, missing, known, count = index.get(UNKNOWN), 0, 0, 0
    tokens = _tokens(path, level, level == WORD or EOS in index)
    for token in islice((token for token in tokens if token != EOS or EOS in index), most):
        number = index.get(token, unknown)
        if number is None:
            raise ConfigurationError(
                f"data={path}: {token!r:.40} is not in the vocabulary, which has no {UNKNOWN} either: give the "
                "vocabulary that the network was trained with, or a text without it"
            )
        missing += token not in index
        known += token in index and token not in (EOS, UNKNOWN)
        count += 1
        yield number
    if count and not known:
        raise ConfigurationError(
            f"data={path}: every {level} of it is {UNKNOWN}, as the vocabulary has none of them: give the vocabulary "
            "that the network was trained with, or a text in its language and spelling"
        )
    if missing:
        few = "" if missing <= known else "; is the vocabulary the one that the network was trained with?"
        log.warning(f"{path.name}: {missing:,} of {counted(count, level)} read as {UNKNOWN}, unknown to it{few}")


def _array(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        why = "it holds Python objects" if "allow_pickle" in str(error) else str(error)
        raise DataError(f"{path} cannot be read as numbers ({why})", "give a file that numpy.save wrote") from None


def _types(model: SequenceModel) -> int:
    if isinstance(model.inputs, Frames):
        raise ConfigurationError(
            f"data: the network has no embedding, so it reads frames of {counted(model.inputs.embedding_dim, 'entry')} "
            "and no text: give a .npy file or arrays (N, E)"
        )
    return model.inputs.num_embeddings


def _is_one(data: Any) -> bool:
    """Whether it is one sequence, and not a list of sequences."""
    return isinstance(data, np.ndarray | Tensor) or not isinstance(data[0], np.ndarray | Tensor | list | tuple)


def _numbers(part: Any) -> np.ndarray:
    return part.detach().cpu().numpy() if isinstance(part, Tensor) else np.asarray(part)


def _next(parts: Sequence[np.ndarray]) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Inputs, and as targets what comes next."""
    return tuple(part[:-1] for part in parts), tuple(part[1:] for part in parts)
