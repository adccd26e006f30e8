"""The size of WikiText-103: the time and memory of encoding a text with 267,735 types, and of training on it."""

import multiprocessing
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from stablernn.benchmarks.measured import extra_memory
from stablernn.benchmarks.step import CLIP, LR, STEPS
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.heads.adaptive_softmax import AdaptiveSoftmax
from stablernn.models.heads.softmax import FullSoftmax
from stablernn.models.precision import Precision, choose_precision, set_up_products
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_language_model
from stablernn.stability.constraints.base import Unconstrained
from stablernn.tasks.embedded import EmbeddedCorpus
from stablernn.tasks.splits import SPLITS, Corpus
from stablernn.tasks.windows import Windows
from stablernn.tasks.words import WordCorpus
from stablernn.training.graph import make_step
from stablernn.utils.machine import keep_freed_memory
from stablernn.utils.timing import seconds_of

FILES = {split: f"{split}.tokens" for split in SPLITS}
_WORDS_A_BLOCK = 1 << 20


@dataclass(frozen=True)
class Case:
    """One kind of training step of a recurrent LSTM with d = ``size`` in windows of 35 steps."""

    head: str
    precision: str
    size: int
    batch: int
    accumulate: int = 1

    @property
    def name(self) -> str:
        parts = f"-in-{self.accumulate}" if self.accumulate > 1 else ""
        return f"{self.head}-{self.precision}-d{self.size}-b{self.batch}{parts}"


def write_made_text(folder: Path, text: EmbeddedCorpus, first: Sequence[str] = ()) -> None:
    """Write the three splits of an embedded corpus as words, one sentence a line."""
    corpus = text.load()
    words = ["\n", *first, *(f"w{number}" for number in range(1 + len(first), text.types))]
    for split in SPLITS:
        with (folder / FILES[split]).open("w", encoding="utf-8") as out:
            if split == "train":
                out.write(" ".join(words[1:]) + "\n")
            targets = corpus.splits[split].targets
            for begin in range(0, len(targets), _WORDS_A_BLOCK):
                out.write(" ".join([words[number] for number in targets[begin : begin + _WORDS_A_BLOCK]]) + " ")


def load_made_text(folder: Path) -> Corpus:
    """The text of ``write_made_text``; its cache lies in the same folder."""
    os.environ["STABLERNN_CACHE"] = str(folder / "cache")
    return WordCorpus("made", str(folder), "made", FILES).load()


def encode(folder: Path) -> dict[str, Any]:
    seconds: list[float] = []
    memory = extra_memory(
        lambda: seconds.append(seconds_of(lambda: load_made_text(folder), torch.device("cpu"))), torch.device("cpu")
    )
    encoded = time.perf_counter()
    corpus = load_made_text(folder)
    return {
        "types": corpus.types,
        "tokens": {split: len(ids) for split, ids in corpus.splits.items()},
        "seconds": seconds[0],
        "again_seconds": time.perf_counter() - encoded,
        "peak": _peak(),
        "memory": memory,
        "bytes": sum(file.stat().st_size for file in (folder / "cache").rglob("*") if file.is_file()),
    }


def train(folder: Path, case: Case, cutoffs: list[int], updates: int, device_name: str) -> dict[str, Any]:
    device = torch.device(device_name)
    corpus = load_made_text(folder)
    torch.manual_seed(0)

    def head(types: int, size: int, tied_to=None):
        return FullSoftmax(types, size) if case.head == "full" else AdaptiveSoftmax(types, size, cutoffs=cutoffs)

    model = build_language_model(corpus.types, LSTMCell, Recurrent, case.size, case.size, head=head)
    if model.objective.needs_frequencies:
        model.objective.arrange(torch.from_numpy(corpus.frequencies()))
    model.to(device)
    precision = choose_precision(case.precision, device)
    set_up_products(device)
    model.objective.precision = precision
    step = make_step(
        model, Unconstrained(), torch.optim.SGD(model.parameters(), lr=LR), CLIP, accumulate=case.accumulate
    )
    windows = Windows(corpus.splits["train"], case.batch, STEPS, device)
    state, number = model.initial_state(case.batch), 0

    def update() -> None:
        nonlocal state, number
        state = step(*windows.window(number % len(windows)), state)
        number += 1
        step.collect()

    memory = extra_memory(update, device)
    keep_freed_memory()
    update()
    seconds = statistics.median(seconds_of(update, device) for _ in range(max(1, updates - 2)))
    return asdict(case) | {
        "precision_used": str(Precision(precision)),
        "parameters": model.size(),
        "seconds": seconds,
        "tokens_per_second": STEPS * case.batch / seconds,
        "step_memory": memory,
        "peak": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _peak(),
    }


def _peak() -> int:
    """Bytes that this process held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def in_a_process(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What ``work`` gives in a fresh process: its peak of memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_with_threads, (torch.get_num_threads(), work, *arguments))


def _with_threads(threads: int, work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    torch.set_num_threads(threads)
    return work(*arguments)
