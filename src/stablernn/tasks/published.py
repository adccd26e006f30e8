"""The published texts: their names, their counts, and fingerprints that tell them from others of the same counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TEXT, COUNTS = "text", "counts"  # by what a split was recognised


@dataclass(frozen=True)
class Published:
    """A published text.

    Attributes:
        title: its name in prose.
        types: size of its vocabulary, of words or of characters.
        tokens: of each split, the end of every line included.
        lines: of each split, as far as they are known.
        texts: fingerprint of the words and lines of each split (``corpora.WordCorpus``), as far as they are known.
        baseline: test score of interpolated Kneser-Ney models of the train split (perplexity, or bits a character), by
            their order, on the first so many test tokens.
        ids: ``Corpus.fingerprint`` of all of it, and of the beginnings that records without ``recognised`` are of.
    """

    title: str
    types: int
    tokens: Mapping[str, int]
    lines: Mapping[str, int]
    texts: Mapping[str, str]
    ids: frozenset[str] = field(default_factory=frozenset)
    baseline: Mapping[int, Mapping[int, float]] = field(default_factory=dict)

    @property
    def expected(self) -> dict[str, Any]:
        """As ``dataset.expected`` has it."""
        return {"types": self.types, "tokens": dict(self.tokens)}


# Computed from the files as published; tests/test_corpora.py, and for the baselines tests/test_baseline.py, compute
# them again where the files are at hand.
PUBLISHED = {
    "wikitext2": Published(
        title="WikiText-2",
        types=33278,
        tokens={"train": 2088628, "valid": 217646, "test": 245569},
        lines={"train": 36718, "valid": 3760, "test": 4358},
        texts={"train": "e33cced119a0a4d1", "valid": "4427e8fc24d5ceaa", "test": "f68796e87c325087"},
        ids=frozenset({"fe0085c66085b799", "26acbda7e20bf4ba", "2a2fdb3372e6ea87", "c04634ec7da8fb82"}),
        baseline={
            245569: {1: 911.71, 2: 267.42, 3: 230.06, 5: 223.70},
            50000: {1: 995.80, 2: 276.10, 3: 236.59, 5: 229.16},
            20000: {1: 1024.03, 2: 254.05, 3: 208.27, 5: 200.73},
            10000: {1: 923.01, 2: 252.31, 3: 208.45, 5: 202.15},
        },
    ),
    # Its train split was not at hand: it can be recognised by its counts alone.
    "wikitext103": Published(
        title="WikiText-103",
        types=267735,
        tokens={"train": 103227021, "valid": 217646, "test": 245569},
        lines={"valid": 3760, "test": 4358},
        texts={"valid": "457c37cc16b260d7", "test": "d60a1c910b4ed1cd"},
    ),
    # Before the same text by words, whose title ``sources`` prefers.
    "ptb_char": Published(
        title="Penn Treebank by characters",
        types=50,
        tokens={"train": 5017482, "valid": 393042, "test": 442423},
        lines={"train": 42068, "valid": 3370, "test": 3761},
        texts={"train": "5145926136ee9aef", "valid": "fadf6277290823f8", "test": "c2f8c16a611595d3"},
        ids=frozenset({"36f16812c74fa93a"}),
        baseline={442423: {1: 4.346, 2: 3.365, 3: 2.648, 4: 2.026, 5: 1.687, 6: 1.553}},
    ),
    "ptb": Published(
        title="Penn Treebank",
        types=10000,
        tokens={"train": 929589, "valid": 73760, "test": 82430},
        lines={"train": 42068, "valid": 3370, "test": 3761},
        texts={"train": "5145926136ee9aef", "valid": "fadf6277290823f8", "test": "c2f8c16a611595d3"},
        ids=frozenset({"64cdffb8e4dab80d"}),
        baseline={82430: {1: 639.30, 2: 186.80, 3: 150.88, 5: 143.66}},
    ),
}


def is_published(name: str, expected: Any) -> bool:
    """Whether a data set of this name was held against the counts of the published text of this name."""
    return name in PUBLISHED and expected == PUBLISHED[name].expected


def recognise(name: str, texts: Mapping[str, str]) -> dict[str, str]:
    """For each split of a text that has the published counts, by what it was recognised; empty for a text of one's own.

    Args:
        name: of the data set.
        texts: the fingerprint of each split.
    """
    if name not in PUBLISHED:
        return {}
    known = PUBLISHED[name].texts
    return {split: TEXT if known.get(split) == text else COUNTS for split, text in texts.items()}


def sources(texts: Mapping[str, str]) -> dict[str, str]:
    """For each split that is one of a published text, the title of that text: of its words, if also read otherwise."""
    return {
        split: published.title
        for published in PUBLISHED.values()
        for split, text in texts.items()
        if published.texts.get(split) == text
    }


def mixture(texts: Mapping[str, str]) -> str:
    """What is mixed, where splits are of several published texts; empty where they are not."""
    titles = sources(texts)
    if len(set(titles.values())) < 2:
        return ""
    return ", ".join(f"{split} is that of {title}" for split, title in titles.items())
