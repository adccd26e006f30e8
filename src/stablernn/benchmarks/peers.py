"""Feed-forward networks against the recurrent LSTM of their task, both as their experiments train them (claim C8).

Unlike a recurrent model and its truncation, the two differ in all but the task: so whole updates and whole scores are
timed, and what is compared is the time an item (a word, a character, a frame) takes.
"""

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import torch
from omegaconf import DictConfig

from stablernn.benchmarks.measured import alternate, medians
from stablernn.benchmarks.mechanisms import RIVAL, load_lines
from stablernn.benchmarks.step import environment
from stablernn.tasks.splits import Task
from stablernn.training.estimate import bare_trainer
from stablernn.training.loop import Trainer
from stablernn.utils.errors import ConfigurationError


def peer_configs(experiment: str, device: torch.device, data: str | None) -> tuple[DictConfig, dict[str, DictConfig]]:
    """The unconstrained LSTM of a task, and the feed-forward networks of an experiment on it by task, model and k.

    The LSTM is that of the experiment, or else of the table of its task.

    Raises:
        ConfigurationError: there is no such experiment, or neither it nor the table has such an LSTM.
    """
    lines = load_lines("peers.experiments", experiment, device, data)
    networks = {f"{c.dataset.name}-{c.model.name}-k{c.truncation.k}": c for c in lines if c.model.get("cell") is None}
    if not networks:
        raise ConfigurationError(f"peers.experiments: {experiment} has no feed-forward network")
    alone = (f"model={RIVAL}", "stability=unstable")
    rivals = [c for c in lines if (f"model={c.model.name}", f"stability={c.stability.name}") == alone]
    rivals = rivals or load_lines("peers.experiments", f"table1_{lines[0].dataset.name}", device, data, *alone)
    return rivals[0], networks


def measure_peer(
    config: DictConfig, rival: DictConfig, task: Task, device: torch.device, seconds: float, scored: int
) -> dict[str, Any]:
    """Median seconds an item of training and of scoring, of the network and of the LSTM in alternation.

    Args:
        config: of the network.
        rival: of the LSTM.
        task: of both.
        device: that is measured.
        seconds: of training, and of scoring.
        scored: the first so many items of valid are scored, as one stream from the zero state.

    Returns:
        For ``training`` and ``scoring``: ``this`` and ``lstm``, seconds an item; ``ratio``, how many times faster the
        network is, the median over pairs.
    """
    trainers = {"this": bare_trainer(config, task), RIVAL: bare_trainer(rival, task)}
    sample = task.splits["valid"].first(scored)
    work = {
        "training": {name: _update(trainer) for name, trainer in trainers.items()},
        "scoring": {name: _score(trainer, sample) for name, trainer in trainers.items()},
    }
    with environment(device, ours=True):
        found = {name: _an_item(calls, device, seconds) for name, calls in work.items()}
    sizes = {name: trainer.model.size() for name, trainer in trainers.items()}
    precision = str(trainers["this"].model.objective.precision)
    for trainer in trainers.values():
        trainer.release()
    here = {"dataset": config.dataset.name, "model": config.model.name, "k": config.truncation.k}
    return here | {"precision": precision, "parameters": sizes, **found}


def _update(trainer: Trainer) -> Callable[[], int]:
    def update() -> int:
        before = trainer.counters.trained_tokens
        trainer.model.train()
        trainer.step()
        trainer.collect()
        return trainer.counters.trained_tokens - before

    return update


def _score(trainer: Trainer, sample: Any) -> Callable[[], int]:
    return lambda: trainer.scorer.score(sample).count


def _an_item(calls: Mapping[str, Callable[[], int]], device: torch.device, seconds: float) -> dict[str, float]:
    """Of calls that return how many items they have done."""
    for call in (*calls.values(), *calls.values()):  # warms up
        call()
    items: dict[str, list[int]] = {name: [] for name in calls}
    counted = {name: lambda name=name: items[name].append(calls[name]()) for name in calls}
    times = alternate(counted, device, seconds, least=5)
    rates = {name: [second / count for second, count in zip(times[name], items[name], strict=True)] for name in calls}
    ratio = median(other / this for this, other in zip(rates["this"], rates[RIVAL], strict=True))
    return medians(rates) | {"ratio": ratio, "rounds": len(rates["this"])}
