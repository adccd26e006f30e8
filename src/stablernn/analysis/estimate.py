"""How long analyses will take, measured by a small part of each on one run of each kind."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from stablernn.analysis.runner import Analysis, fitted
from stablernn.config.identity import identity
from stablernn.config.instantiate import make
from stablernn.config.schema import Training
from stablernn.models.sequence_model import SequenceModel
from stablernn.tasks.splits import Split, Task
from stablernn.training.build import build_for, pick_device
from stablernn.training.estimate import kind
from stablernn.training.schedule import Schedule
from stablernn.training.trained import Trained, running_text, whole_split
from stablernn.utils.console import display, log, open_bar
from stablernn.utils.errors import StableRNNError


@dataclass(frozen=True)
class Planned:
    """A run that is still to be trained: its model at the initial weights, which cost as much as any others.

    Attributes:
        config: of the run.
    """

    config: DictConfig

    @property
    def device(self) -> torch.device:
        return pick_device(self.config.device)

    @cached_property
    def corpus(self) -> Task:
        return make(self.config.dataset).load()

    @cached_property
    def kind(self) -> str:
        """See ``training.estimate.kind``."""
        return kind(identity(self.config))

    @property
    def saved_updates(self) -> tuple[int, ...]:
        """A number for each moment of which training will keep the weights, if it stops at no earlier epoch."""
        options: Training = OmegaConf.to_object(self.config.training)  # type: ignore[assignment]
        window = self.config.approximation.window
        batches = self.corpus.batches("train", options.batch_size, window)
        schedule = Schedule(options, len(batches), batches.items)
        return tuple(range(schedule.evaluations // options.keep_every)) if options.keep_every else ()

    def text(self, split: str) -> Split:
        """As ``Trained.text``."""
        return running_text(self.corpus, split)

    def whole_split(self, name: str) -> Split:
        return whole_split(self.config.dataset, self.corpus, name)

    def model(self, stage: str | int = "best") -> SequenceModel:
        return build_for(self.config, self.corpus)[0].eval()


# What an analysis reads, as far as its time depends on it.
Subject = Trained | Planned


def analysis_seconds(to_do: Sequence[tuple[Analysis, Subject]]) -> list[float | None]:
    """About how many seconds each analysis takes on this machine; None where it cannot be told.

    One run of each kind (see ``training.estimate``) is measured for each analysis.
    """
    measured: dict[str, float | None] = {}
    keys = [_key(analysis, subject) for analysis, subject in to_do]
    with display():
        bar = open_bar("measuring the time", len(to_do))
        for number, (key, (analysis, subject)) in enumerate(zip(keys, to_do, strict=True), start=1):
            if key not in measured:
                bar.update(number, analysis.name)
                measured[key] = _measure(analysis, subject)
        bar.close()
    return [measured[key] for key in keys]


def _key(analysis: Analysis, subject: Subject) -> str:
    try:
        if isinstance(subject, Trained):
            alike: Any = [kind(subject.record.config), len(subject.saved_updates)]
        else:
            alike = [subject.kind, subject.config.training.keep_every]
    except (StableRNNError, LookupError, TypeError):  # the analysis itself will say what is wrong with the run
        alike = id(subject)
    # Weights that are there tell how many softmaxes they need, those to come do not.
    return json.dumps([analysis.name, analysis.options, alike, isinstance(subject, Planned)], sort_keys=True)


def _measure(analysis: Analysis, subject: Subject) -> float | None:
    if getattr(analysis, "seconds", None) is None:
        return None
    try:
        ours: Any = fitted(analysis, subject)
        return float(ours.seconds(subject))
    except StableRNNError as error:
        log.debug(f"{analysis.name}: its time is not known: {error}")
        return None
