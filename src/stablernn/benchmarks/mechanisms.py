"""An update of each mechanism of memory against one of the LSTM on the same task, as the atlas trains them."""

from statistics import median
from typing import Any

import torch
from omegaconf import DictConfig

from stablernn.benchmarks.measured import alternate, medians
from stablernn.benchmarks.step import environment
from stablernn.config.compose import choices
from stablernn.experiments.sweep import expand
from stablernn.tasks.splits import Task
from stablernn.training.estimate import bare_trainer
from stablernn.utils.errors import ConfigurationError

RIVAL = "lstm"


def mechanism_configs(
    experiment: str, device: torch.device, data: str | None
) -> tuple[DictConfig, dict[str, DictConfig]]:
    """The LSTM of an experiment, and every line of it by task, model and constraint.

    Raises:
        ConfigurationError: there is no such experiment, or no line of it is an LSTM without a constraint.
    """
    configs = load_lines("mechanisms.experiments", experiment, device, data)
    lines = {f"{c.dataset.name}-{c.model.name}-{c.stability.name}": c for c in configs}
    rivals = [c for c in configs if (c.model.name, c.stability.name) == (RIVAL, "unstable")]
    if not rivals:
        raise ConfigurationError(
            f"mechanisms.experiments: {experiment} has no line with model={RIVAL} and stability=unstable, "
            "against which the others are measured"
        )
    return rivals[0], lines


def load_lines(
    option: str, experiment: str, device: torch.device, data: str | None, *overrides: str
) -> list[DictConfig]:
    """The lines of an experiment, of seed 0 and with data that lie in the folder ``data``.

    Raises:
        ConfigurationError: there is no such experiment, which ``option`` named.
    """
    known = choices("experiment")
    if experiment not in known:
        beginning = "atlas_" if option.startswith("mechanisms") else "peers_"
        alike = [name for name in known if name.startswith(beginning)]
        raise ConfigurationError(f"{option}: {experiment} is unknown: choose of [{','.join(alike)}]")
    configs = expand([f"experiment={experiment}", "seed=0", f"device={device}", *overrides])
    for config in configs:
        if "path" in config.dataset:  # others are made, not read
            config.dataset.path = data
    return configs


def measure_mechanism(
    config: DictConfig, rival: DictConfig, corpus: Task, device: torch.device, seconds: float
) -> dict[str, Any]:
    """Median seconds of an update of a mechanism and of the LSTM, in alternation.

    Returns:
        ``seconds`` by ``this`` and ``lstm``; ``ratio``, the median over pairs of this by that.
    """
    trainers = {"this": bare_trainer(config, corpus), RIVAL: bare_trainer(rival, corpus)}

    def update(name: str) -> None:
        trainers[name].step()
        trainers[name].collect()

    work = {name: lambda name=name: update(name) for name in trainers}
    with environment(device, ours=True):
        for call in (*work.values(), *work.values()):  # warms up
            call()
        times = alternate(work, device, seconds, least=5)
    for trainer in trainers.values():
        trainer.release()
    return {
        "dataset": config.dataset.name,
        "model": config.model.name,
        "stability": config.stability.name,
        "parameters": trainers["this"].model.size(),
        "seconds": medians(times),
        "ratio": median(this / other for this, other in zip(times["this"], times[RIVAL], strict=True)),
        "rounds": len(times["this"]),
    }
