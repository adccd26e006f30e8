"""What was generated, as a person reads it: two columns of text, files of music, and how far the two agree."""

import math
import textwrap
from collections.abc import Iterator
from itertools import groupby, zip_longest
from pathlib import Path

import torch

from stablernn.generation.decoding import Continuation
from stablernn.generation.generate import Generated
from stablernn.generation.music import notes_of, write_midi
from stablernn.report.drawing import export_rolls
from stablernn.tasks.splits import Corpus
from stablernn.tasks.transduction import Pairs
from stablernn.utils.files import write_text
from stablernn.utils.metrics import Metric
from stablernn.utils.wording import counted

WIDTH = 80
_GAP = 4


def columns(generated: Generated, corpus: Corpus | Pairs) -> Iterator[str]:
    """The texts side by side, or one alone, in lines of 80 columns; the prompt comes first in each."""
    texts = {name: _text(generated, one, corpus) for name, one in _named(generated).items()}
    width = (WIDTH - _GAP * (len(texts) - 1)) // len(texts)
    sides = [[name, "─" * len(name), *_wrapped(text, width)] for name, text in texts.items()]
    for line in zip_longest(*sides, fillvalue=""):
        yield (" " * _GAP).join(f"{part:<{width}}" for part in line).rstrip()


def _text(generated: Generated, one: Continuation, corpus: Corpus | Pairs) -> str:
    return corpus.text_of(torch.cat([generated.prompt, one.items])).removeprefix("\n")


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of a text; several that are empty are one, which says how many there are."""
    lines = []
    for line, alike in groupby(text.split("\n"), key=lambda line: line if line.strip() else ""):
        count = sum(1 for _ in alike)
        lines += textwrap.wrap(line, width) * count if line else ["¶" if count == 1 else f"¶ ({count} empty lines)"]
    return lines


def _named(generated: Generated) -> dict[str, Continuation]:
    both = {"recurrent": generated.recurrent, f"feed-forward, k = {generated.k}": generated.feedforward}
    return {name: one for name, one in both.items() if one is not None}


def summary(generated: Generated, metric: Metric) -> Iterator[str]:
    """How probable each is, where they differ first, and what is proven of that; a line each, however long."""
    count = ""
    for name, one in _named(generated).items():
        total, count = float(one.log_probabilities.sum()), counted(len(one.items), metric.one)
        yield f"{name}: {count} of log-probability {total:.2f}, {total / len(one.items):.3f} nats a {metric.one}"
    if generated.recurrent is None or generated.feedforward is None:
        return
    differ = generated.differ
    if differ is None:
        yield f"they are the same for all {count}"
    else:
        margins = generated.recurrent.margins
        by = (
            ""
            if margins is None
            else f", where the recurrent model's choice was best by {float(margins[differ]):.2g} nats"
        )
        yield f"they differ from {metric.one} {differ + 1:,} on{by}"
    yield f"k = {generated.k}: {generated.reason}"
    yield _proof(generated, metric, count)


def _proof(generated: Generated, metric: Metric, count: str) -> str:
    assert generated.recurrent is not None
    if generated.proven is None:
        return "proven: nothing of a beam search, which weighs whole sequences; decoding=greedy and sample have a proof"
    if generated.proven == len(generated.recurrent.items):
        return (
            f"proven: they must be the same for all {count}, as each choice was best by more than truncation can move"
        )
    if generated.proven:
        return (
            f"proven: they must be the same for the first {counted(generated.proven, metric.one)}, {_first(generated)}"
        )
    return f"nothing is proven of what they choose, {_first(generated)}"


def _first(generated: Generated) -> str:
    """Why the proof ends where it does."""
    at = generated.proven
    assert at is not None
    assert generated.bounds is not None
    assert generated.recurrent is not None
    assert generated.recurrent.margins is not None
    bound, margin = float(generated.bounds[at]), float(generated.recurrent.margins[at])
    if math.isinf(bound):
        return "as no bound of what truncation moves is known for this model"
    moved = f"truncation may move it by {bound:.2g} (proven of this text)"
    return f"as the next choice was best by {margin:.2g} nats, and {moved}"


def write_texts(generated: Generated, corpus: Corpus | Pairs, folder: Path) -> list[Path]:
    """Each text in a file of its own; returns these."""
    written = []
    for name, one in _files(generated).items():
        write_text(folder / f"{name}.txt", _text(generated, one, corpus) + "\n")
        written.append(folder / f"{name}.txt")
    return written


def write_music(generated: Generated, title: str, folder: Path) -> list[Path]:
    """A picture of all rolls, and each as MIDI; returns the files."""
    rolls = {
        name: torch.cat([generated.prompt.to(one.items), one.items]).cpu().numpy()
        for name, one in _files(generated).items()
    }
    given, differ = len(generated.prompt), generated.differ
    shown = dict(zip(_named(generated), map(notes_of, rolls.values()), strict=True))
    drawn = export_rolls(title, shown, given, None if differ is None else given + differ, folder / "generated")
    return [*drawn, *(write_midi(roll, folder / f"{name}.mid") for name, roll in rolls.items())]


def _files(generated: Generated) -> dict[str, Continuation]:
    both = {"recurrent": generated.recurrent, "feedforward": generated.feedforward}
    return {name: one for name, one in both.items() if one is not None}
