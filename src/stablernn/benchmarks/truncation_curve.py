"""The whole truncation curve in one pass against a window cut for every position and every k."""

import time
from typing import Any

import torch

from stablernn.analysis.truncation import TOLERANCE, truncation_curve
from stablernn.benchmarks.measured import alternate, medians
from stablernn.benchmarks.plain import PlainModel
from stablernn.models.feed_forward import truncations
from stablernn.training.trained import Trained


@torch.no_grad()
def measure_curve(trained: Trained, k_max: int, words: int, plain_words: int) -> dict[str, Any]:
    """Seconds a word, medians of alternating rounds: of the states alone, and of the whole curve with its softmax.

    ``swept`` is the share of softmax rows that ours computed; in ``exact`` it computes all of them.
    """
    model, device = trained.model("best"), trained.device
    split = trained.whole_split("test").first(words)
    plain = PlainModel.like(model)
    ids = torch.as_tensor(split.ids.astype("int64"), device=device)
    lengths = range(1, k_max + 1)
    swept = 0.0

    def our_states() -> None:
        for _, states in truncations(model.cells, model.inputs(ids[:-1, None]), lengths):
            del states

    def our_curve(tolerance: float) -> None:
        nonlocal swept
        curve = truncation_curve(model, split, lengths, tolerance)
        swept = curve.swept if tolerance else swept

    def windows(k: int) -> torch.Tensor:
        """(k, N, E): the k words up to each position; those before the text are as good as any for a timing."""
        before = ids[:1].expand(k - 1)
        embedded = plain.embedding(torch.cat([before, ids[:plain_words]])[:, None])
        return embedded.unfold(0, k, 1).permute(3, 0, 1, 2).flatten(1, 2).contiguous()

    def plain_states() -> None:
        for k in lengths:
            plain.recurrent(windows(k))

    def plain_curve() -> None:
        targets = ids[1 : plain_words + 1]
        for k in lengths:
            features, _ = plain.recurrent(windows(k))
            torch.nn.functional.cross_entropy(plain.decoder(features[-1]), targets, reduction="sum")

    work = {
        "states": (our_states, words),
        "curve": (lambda: our_curve(TOLERANCE), words),
        "exact": (lambda: our_curve(0.0), words),
        "plain_states": (plain_states, plain_words),
        "plain_curve": (plain_curve, plain_words),
    }
    began = time.monotonic()
    medians_of = medians(alternate({name: call for name, (call, _) in work.items()}, device, seconds=0))
    seconds = {name: medians_of[name] / count for name, (_, count) in work.items()}
    return {
        "run": trained.record.id,
        "k_max": k_max,
        "seconds": seconds,
        "swept": swept,
        "states_ratio": seconds["plain_states"] / seconds["states"],
        "curve_ratio": seconds["plain_curve"] / seconds["curve"],
        "exact_ratio": seconds["plain_curve"] / seconds["exact"],
        "words": words,
        "plain_words": plain_words,
        "took": time.monotonic() - began,
    }
