"""How long runs will take, measured by a few steps of each kind of run."""

import copy
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from stablernn.config.identity import identity
from stablernn.config.instantiate import make
from stablernn.config.schema import Training
from stablernn.models.precision import exclusive
from stablernn.tasks.splits import Task
from stablernn.training.build import build_for
from stablernn.training.evaluate import valid_streams
from stablernn.training.loop import Trainer
from stablernn.training.run import describe
from stablernn.training.tracking import SilentRun
from stablernn.utils.console import display, open_bar

_WARM_UP_UPDATES = 3
_SECONDS_A_KIND = 0.5
_SCORED_TOKENS = 2048
_START_SECONDS = 1.5


def estimate_seconds(configs: Sequence[DictConfig]) -> list[float]:
    """About how many seconds each run takes on this machine alone; one that stops early takes less.

    One run of each kind (seed, stability and values that cost no time aside) is timed for half a second.
    """
    identities = [identity(config) for config in configs]
    kinds = list(map(kind, identities))
    corpora: dict[str, Task] = {}
    measured: dict[str, float] = {}
    with display():
        bar = open_bar("measuring the time", len(configs))
        for number, (config, options, key) in enumerate(zip(configs, identities, kinds, strict=True), start=1):
            if key not in measured:
                data = json.dumps(options["dataset"], sort_keys=True)
                if data not in corpora:
                    corpora[data] = make(config.dataset).load()
                bar.update(number, describe(config))
                measured[key] = _measure(config, corpora[data])
        bar.close()
    return [measured[key] for key in kinds]


def kind(options: dict[str, Any]) -> str:
    """What the time of a run depends on, of its ``identity``: alike for runs that take about as long."""
    options = copy.deepcopy(options)
    for option in ("seed", "stability"):
        options.pop(option)
    options["optimizer"].pop("lr")
    options["training"].pop("clip")
    options["model"]["dropout"] = options["model"]["dropout"] > 0
    return json.dumps(options, sort_keys=True)


def bare_trainer(config: DictConfig, corpus: Task) -> Trainer:
    """What trains a run, without a folder and without a tracker."""
    with exclusive:
        model, constraint = build_for(config, corpus)
        options: Training = OmegaConf.to_object(config.training)  # type: ignore[assignment]
        optimizer = make(config.optimizer)(model.parameters())
        window = config.approximation.window
        return Trainer(model, constraint, optimizer, corpus, window, options, Path(), "", SilentRun())


def _measure(config: DictConfig, corpus: Task) -> float:
    trainer = bare_trainer(config, corpus)
    for _ in range(_WARM_UP_UPDATES):
        trainer.step()
        trainer.collect()
    began, updates = time.perf_counter(), 0
    while updates == 0 or time.perf_counter() - began < _SECONDS_A_KIND:
        trainer.step()
        trainer.collect()
        updates += 1
    update_seconds = (time.perf_counter() - began) / updates

    sample = corpus.splits["valid"].first(_SCORED_TOKENS)

    def token_seconds(streams: int) -> float:
        if trainer.device.type == "cuda":
            trainer.scorer.score(sample, streams)  # which is captured on the way
        began = time.perf_counter()
        trainer.scorer.score(sample, streams)
        return (time.perf_counter() - began) / len(sample)

    test_seconds = token_seconds(1)
    streams = valid_streams(trainer.device)
    valid_seconds = test_seconds if streams == 1 else token_seconds(streams)
    trainer.release()
    return (
        _START_SECONDS
        + trainer.total_updates * update_seconds
        + trainer.schedule.evaluations * len(corpus.splits["valid"]) * valid_seconds
        + len(corpus.splits["test"]) * test_seconds
    )
