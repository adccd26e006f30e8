"""One job for every form of a model: log-probabilities of all outputs. Do the forms agree, and how fast are they?"""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stablernn.analysis.conversion.export import Program
from stablernn.models.backbone import CellStack
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import SequenceModel
from stablernn.tasks.sequences import Sequences
from stablernn.tasks.splits import Split
from stablernn.utils.console import log
from stablernn.utils.timing import seconds_of

_PIECE = 1024  # positions scored at once
_TIMED = 4 * _PIECE
_SCATTER = 0.25  # interquartile range by the median, above which a ratio says little
_ROUNDS = 7  # at least: on a busy machine the median of three turned the ratio over


@torch.no_grad()
def log_probabilities(model: SequenceModel, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
    """Of all V outputs at every position, in nats: x, (T, B) or (T, B, E), -> (T, B, V), and the state after them."""
    features, state = model(x, model.initial_state(x.shape[1]) if state is None else state)
    return model.objective.distribution(features), state


def stream(split: Split | Sequences) -> Tensor:
    """The inputs of a split one after the other, ids (N,) or frames (N, E); sequences have no gap between them."""
    inputs = split.inputs if isinstance(split, Split) else np.concatenate(split.inputs)
    return torch.from_numpy(inputs.astype(np.int64 if inputs.ndim == 1 else np.float32))


@torch.no_grad()
def largest_difference(ours: SequenceModel, program: Program, split: Split | Sequences, k: int) -> dict[str, Any]:
    """The largest difference of any of the log-probabilities, in nats, on the first inputs of a split.

    They are shown as one stream longer than k, as four at once, and as a single one, so that both dynamic axes are
    tried at their ends too.

    Returns:
        ``nats``, and ``shapes``: the (T, B) that were compared.
    """
    shapes = [(k + 64, 1), (32, 4), (1, 1)]
    inputs, worst = stream(split), 0.0
    for steps, batch in shapes:
        chosen = torch.arange(batch * steps) % len(inputs)
        x = inputs[chosen.view(batch, steps).T].contiguous()
        difference = (program(x) - log_probabilities(ours, x)[0]).abs().max()
        # max() of Python would pass a NaN over in silence.
        worst = float(torch.maximum(difference, torch.tensor(worst)))
    return {"nats": worst, "shapes": shapes}


def best_speed(
    model: SequenceModel,
    ours: SequenceModel,
    read_programs: Callable[[], Mapping[str, Program]],
    split: Split | Sequences,
    seconds: float,
) -> dict[str, Any]:
    """``scoring_speed`` on one thread and on all; each form counts with the number that serves it best.

    A recurrent model of one stream often loses by a second thread, and a feed-forward one gains: held against each
    other on a number that suits one of them alone, either comes out ahead.

    Args:
        model, ours, split: see ``scoring_speed``.
        read_programs: reads the exported ones, for as many threads as PyTorch uses then.
        seconds: for all of it.

    Returns:
        As ``scoring_speed``, with ``threads`` (the best number) by name, ``by_threads`` (all rates), and ``scatter``:
        the largest of the interquartile ranges of the rounds, by the median.
    """
    before = torch.get_num_threads()
    counts = [before] if model.device.type == "cuda" else sorted({1, before})
    measured = {}
    try:
        for count in counts:
            torch.set_num_threads(count)
            measured[count] = scoring_speed(model, ours, read_programs(), split, seconds / len(counts))
    finally:
        torch.set_num_threads(before)
    by_threads = {count: result["tokens_per_second"] for count, result in measured.items()}
    best = {name: max(counts, key=lambda count, name=name: by_threads[count][name]) for name in by_threads[before]}
    scatter = max(measured[count]["scatter"][name] for name, count in best.items())
    if scatter > _SCATTER:
        log.warning(
            f"speed: the rounds of one form scatter by {scatter:.0%}, so no ratio is sure: end what else is at work, "
            "or give seconds=60"
        )
    return measured[before] | {
        "tokens_per_second": {name: by_threads[count][name] for name, count in best.items()},
        "threads": best,
        "by_threads": {str(count): rates for count, rates in by_threads.items()},
        "scatter": scatter,
    }


@torch.no_grad()
def scoring_speed(
    model: SequenceModel, ours: SequenceModel, programs: Mapping[str, Program], split: Split | Sequences, seconds: float
) -> dict[str, Any]:
    """Tokens a second at which one text is scored from its start to its end, in pieces.

    Args:
        model: if it has cells, unrolled as a recurrent model, a stream of batch 1 with its state carried on.
        ours: the feed-forward model, a stream that carries its last k - 1 inputs.
        programs: the exported ones, which carry nothing: their pieces begin k - 1 inputs early.
        split: on its first inputs.
        seconds: alternate rounds of all of them for about so long, but seven rounds at least.

    Returns:
        ``tokens_per_second`` by name, medians of the rounds; ``scatter`` by name, their interquartile range by the
        median; ``rounds``, ``tokens`` a round, ``piece``.
    """
    overlap = ours.backbone.k - 1  # type: ignore[operator]
    x = stream(split.first(_TIMED))[:, None]
    starts = range(0, len(x), _PIECE)

    def streamed(form: SequenceModel) -> Callable[[], None]:
        here = x.to(form.device)

        def run() -> None:
            state = None
            for start in starts:
                _, state = log_probabilities(form, here[start : start + _PIECE], state)

        return run

    def overlapping(program: Program) -> Callable[[], None]:
        def run() -> None:
            for start in starts:
                first = max(0, start - overlap)
                program(x[first : start + _PIECE])[start - first :]

        return run

    runs = {"feedforward": streamed(ours)}
    if isinstance(model.backbone, CellStack):
        recurrent = SequenceModel(model.inputs, Recurrent(list(model.cells)), model.objective).eval()
        runs = {"recurrent": streamed(recurrent)} | runs
    runs |= {name: overlapping(program) for name, program in programs.items()}
    device = model.device
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    began = time.monotonic()
    while len(times["feedforward"]) < _ROUNDS or time.monotonic() - began < seconds:
        for name, run in runs.items():
            times[name].append(seconds_of(run, device))
    return {
        "tokens_per_second": {name: len(x) / statistics.median(values) for name, values in times.items()},
        "scatter": {name: _scatter(values) for name, values in times.items()},
        "rounds": len(times["feedforward"]),
        "tokens": len(x),
        "piece": _PIECE,
    }


def _scatter(values: list[float]) -> float:
    low, middle, high = statistics.quantiles(values, n=4)
    return (high - low) / middle
