"""Texts read as characters: the blank between two words is one of them, and the end of a line is ``<eos>``.

Penn Treebank by characters is the text of the word-level task, ``<unk>`` spelt out as five characters (Mikolov et al.
2012): 5,017,482 train, 393,042 valid and 442,423 test characters of 50 types, as the literature counts them.
"""

from collections.abc import Callable, Iterable
from typing import ClassVar

from stablernn.tasks.words import WordCorpus
from stablernn.utils.metrics import BITS_A_CHARACTER, Metric


class CharacterCorpus(WordCorpus):
    """``WordCorpus`` with characters for tokens; runs of white space count as one blank."""

    metric: ClassVar[Metric] = BITS_A_CHARACTER
    tokens_of: ClassVar[Callable[[str], Iterable[str]]] = iter
    separator: ClassVar[str] = ""
    cached_as: ClassVar[str] = "characters"
    own: ClassVar[str] = "char_folder"
