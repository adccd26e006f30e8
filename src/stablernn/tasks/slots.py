"""Slot filling: a tag for every word of a sentence, in IOB (ATIS: Hemphill et al. 1990, split of He & Young 2003).

A line is a sentence: its words, a tab, its tags, ``O``, ``B-x`` or ``I-x``. The markers ``BOS`` and ``EOS`` around a
sentence are no words: they go with their tags, of which that of ``EOS`` is the intent of the sentence in some editions.
As in Mesnil et al. (2013) a digit is a digit, whichever it is, and a word that comes once in train is ``<unk>``, as is
one that never does. Where there is no file of valid, it is a tenth of train's sentences, the same for every seed.

A sentence is a sequence from the zero state. The tag of a word is predicted after ``delay`` words more, as the networks
of the literature read a window of words around it (Mesnil et al. 2013); ``</s>`` follows the last word, and the first
``delay`` positions have the tag ``O``: they are items of the loss and no part of a chunk. All of a sentence is there
before its first tag is asked for, so a model may also read it in both directions. The score is F1 of chunks by
the rules of conlleval, which accepts an ``I-x`` that begins a chunk. Models train on the likelihood of the tags; the
best validation is that of F1. A tag that comes in valid or test and never in train is an output like any other, that no
model can know.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from stablernn.tasks.base import Inputs, Interface, Outputs
from stablernn.tasks.sequences import Sequences, SequenceTask
from stablernn.tasks.splits import SPLITS, check_splits
from stablernn.tasks.stored import StoredSequences
from stablernn.utils.console import log
from stablernn.utils.errors import ConfigurationError, DataError
from stablernn.utils.metrics import F1
from stablernn.utils.wording import counted

UNKNOWN, END, OUTSIDE = "<unk>", "</s>", "O"
# Of the published sentences, by name: whatever else is read gets another name.
PUBLISHED = {"atis": "c6f93251dea4ef3a"}
# Test F1 of the most frequent tag in train of a word, or of a word after those before it, as many as were seen there
# together; and of a network of one hidden layer on the last three words read, the best epoch on valid of ten,
# mean of three seeds (``tests/test_slots.py`` computes the tags again and trains such a network).
BASELINES = {
    "atis": {
        "most frequent tag of the word": 59.97,
        "most frequent tag after 2 words": 77.01,
        "most frequent tag after 3 words": 85.74,
        "network on the last 3 words": 85.63,
    }
}

_SEED = 1805  # of the sentences that are valid
_TAG = re.compile(r"O|[BI]-\S+")
_said: set[str] = set()


class Sentence(NamedTuple):
    words: tuple[str, ...]
    tags: tuple[str, ...]


class SlotFilling(StoredSequences):
    """Sentences with a tag a word, in files of train and test, and of valid if there is one.

    Args:
        file_names: of each split; None for valid: a tenth of train.
        digits: whether every digit is read as 0.
        min_count: a word that comes less often in train is ``<unk>``.
        delay: words that are read after a word before its tag is predicted.
        name, path, folder, max_tokens, fingerprint: see ``StoredSequences``; items are words.

    Raises:
        ConfigurationError: the name is none that a table can have, or a file is not named.
    """

    published: ClassVar[Mapping[str, str]] = PUBLISHED
    own: ClassVar[str] = "slot_folder"
    noun: ClassVar[str] = "sentences"

    def __init__(
        self,
        name: str,
        path: str | None,
        folder: str,
        file_names: Mapping[str, str | None],
        digits: bool = True,
        min_count: int = 2,
        delay: int = 0,
        max_tokens: Mapping[str, int | None] | None = None,
        fingerprint: str | None = None,
    ) -> None:
        check_splits("dataset.file_names", file_names)
        named = {split: file for split, file in file_names.items() if file is not None}
        if not {"train", "test"} <= named.keys() <= set(SPLITS):
            raise ConfigurationError(f"dataset.file_names={dict(file_names)} must name a file for train and for test")
        options = {f"file_names.{split}": file for split, file in named.items()}
        super().__init__(name, path, folder, options, max_tokens, fingerprint)
        if min_count < 1:
            raise ConfigurationError(f"dataset.min_count={min_count} must be a whole number >= 1")
        self.file_names = named
        if delay < 0:
            raise ConfigurationError(f"dataset.delay={delay} must be a whole number >= 0")
        self.digits = digits
        self.delay = delay
        self.min_count = min_count

    def read(self) -> SequenceTask:
        root = self.root()
        sentences = {
            split: read_sentences(root / self.file_names[split]) for split in SPLITS if split in self.file_names
        }
        text = _fingerprint(sentences)
        if "valid" not in sentences:
            if len(sentences["train"]) < 2:
                file = root / self.file_names["train"]
                raise DataError(f"{file} holds one sentence: it needs 2 or more, as a tenth of them is valid")
            sentences["train"], sentences["valid"] = hold_out(sentences["train"])
        if self.digits:
            sentences = {split: [_without_digits(s) for s in part] for split, part in sentences.items()}
        splits, words, tags = self._encoded({split: sentences[split] for split in SPLITS})
        interface = Interface(Inputs("finite", words), Outputs("categorical", tags))
        return SequenceTask(self.name, interface, F1, splits, text=text, whole=True)

    def _encoded(self, by_split: Mapping[str, list[Sentence]]) -> tuple[dict[str, Sequences], int, int]:
        """The sentences in ids, and how many words and tags there are."""
        train = Counter(word for sentence in by_split["train"] for word in sentence.words)
        words = {UNKNOWN: 0, END: 1} if self.delay else {UNKNOWN: 0}
        for word, count in train.items():
            if count >= self.min_count:
                words.setdefault(word, len(words))
        tags = {OUTSIDE: 0}
        for split in SPLITS:  # train first: what others add no model can know
            for sentence in by_split[split]:
                for tag in sentence.tags:
                    tags.setdefault(tag, len(tags))
        self._say(by_split, words)
        after, before = [END] * self.delay, [OUTSIDE] * self.delay
        tally = partial(count_chunks, tuple(tags))
        splits = {
            split: Sequences(
                tuple(np.array([words.get(word, 0) for word in [*s.words, *after]], np.int64) for s in sentences),
                tuple(np.array([tags[tag] for tag in [*before, *s.tags]], np.int64) for s in sentences),
                tally,
            )
            for split, sentences in by_split.items()
        }
        return splits, len(words), len(tags)

    def _say(self, by_split: Mapping[str, list[Sentence]], words: Mapping[str, int]) -> None:
        """Log what a reader of the results has to know, once a process."""
        known = {tag for sentence in by_split["train"] for tag in sentence.tags}
        notes = []
        for split in ("valid", "test"):
            text = [word for sentence in by_split[split] for word in sentence.words]
            unknown = sum(word not in words for word in text)
            unseen = {tag for sentence in by_split[split] for tag in sentence.tags} - known
            note = f", and {counted(len(unseen), 'tag')} never in train" if unseen else ""
            notes.append(f"{split} has {unknown:,} of {counted(len(text), 'word')} as {UNKNOWN}{note}")
        message = f"{self.name}: {'; '.join(notes)}"
        if message not in _said:
            _said.add(message)
            log.info(message)


def read_sentences(file: Path) -> list[Sentence]:
    """The sentences of a file, without markers.

    Raises:
        DataError: names the line that is none.
    """
    try:
        lines = file.read_bytes().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 text ({error.reason}); replace it by the published file") from None
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror})") from None
    if lines[-1] == "":
        lines.pop()
    if not lines:
        raise DataError(f"{file} holds no sentences")
    return [_sentence(f"{file}, line {number}", line) for number, line in enumerate(lines, 1)]


def _sentence(where: str, line: str) -> Sentence:
    sides = line.split("\t")
    if len(sides) != 2:
        raise DataError(
            f"{where}: a sentence is words, a tab, tags, and this line has {counted(len(sides) - 1, 'tab')}"
        )
    words, tags = (tuple(side.split()) for side in sides)
    if len(words) != len(tags):
        raise DataError(f"{where} has {counted(len(words), 'word')} and {counted(len(tags), 'tag')}")
    if words[:1] == ("BOS",):
        words, tags = words[1:], tags[1:]
    if words[-1:] == ("EOS",):
        words, tags = words[:-1], tags[:-1]
    if not words:
        raise DataError(f"{where}: the sentence is empty")
    if wrong := [tag for tag in tags if not _TAG.fullmatch(tag)]:
        raise DataError(f"{where}: the tag {wrong[0]!r:.40} is neither O nor B-x nor I-x")
    return Sentence(words, tags)


def hold_out(sentences: list[Sentence]) -> tuple[list[Sentence], list[Sentence]]:
    """Nine tenths and a tenth of the sentences, each in their order; the choice depends on their number alone."""
    chosen = set(np.random.default_rng(_SEED).permutation(len(sentences))[: max(1, len(sentences) // 10)].tolist())
    train = [sentence for n, sentence in enumerate(sentences) if n not in chosen]
    return train, [sentences[n] for n in sorted(chosen)]


def count_chunks(tags: tuple[str, ...], true: list[int], predicted: list[int]) -> tuple[int, int, int]:
    """Chunks of a sentence that are right, predicted, and there, from the ids of its tags."""
    from seqeval.metrics.sequence_labeling import get_entities  # here, as it takes a second

    there, said = (set(get_entities([tags[n] for n in ids])) for ids in (true, predicted))
    return len(there & said), len(said), len(there)


def _without_digits(sentence: Sentence) -> Sentence:
    return Sentence(tuple(re.sub(r"\d", "0", word) for word in sentence.words), sentence.tags)


def _fingerprint(by_split: Mapping[str, list[Sentence]]) -> str:
    """Of the words and tags of all files."""
    digest = hashlib.sha256()
    for split, sentences in by_split.items():
        for words, tags in sentences:
            digest.update(f"{split}\t{' '.join(words)}\t{' '.join(tags)}\n".encode())
    return digest.hexdigest()[:16]
