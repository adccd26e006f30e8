"""The hyperparameter search: rung after rung by successive halving, then the winners as configurations.

Successive halving (Jamieson & Talwalkar 2016) trains all trials a little, the best of them on, and so forth. A rung is
decided when every trial of it has been there, by what the histories say of that rung alone: the same trials have the
same winner, whatever ran when. The command that started a search is all that it is made of: the trials follow from the
command, those that are continued from what the trials' folders hold. So the same command resumes it, and once it is
over writes the same winners again. Test scores play no part: a paused trial has none at all.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from stablernn.config.compose import compose_all
from stablernn.config.identity import identity, run_id
from stablernn.config.validate import check
from stablernn.experiments.grids import as_options, settings_apart
from stablernn.experiments.sweep import jobs_of, master
from stablernn.records.record import DIVERGED, FINISHED, Record
from stablernn.training.outcome import existing_record
from stablernn.utils.console import log
from stablernn.utils.errors import ConfigurationError, StableRNNError
from stablernn.utils.metrics import PERPLEXITY, Metric
from stablernn.utils.project import command

# Launches the runs of some configurations, of which it also gets the overrides; raises the error of one that failed.
Launch = Callable[[Sequence[DictConfig], Sequence[Sequence[str]]], object]
Compose = Callable[[Sequence[Sequence[str]]], Sequence[DictConfig]]


class Ranking(NamedTuple):
    """A trial at a rung; the smaller is the better, and no two trials are equal.

    Attributes:
        cost: the best on the validation split up to the rung; infinite if the trial did not get there.
        parameters: of the model; of two equal trials the smaller one is the better.
        id: of the run.
    """

    cost: float
    parameters: int
    id: str


def rungs(first: int, factor: int, last: int) -> list[int]:
    """Epochs after which the trials are compared: first, first · factor, ... below last, and last itself."""
    results = []
    while first < last:
        results.append(first)
        first *= factor
    return [*results, last]


def survivors(standings: Iterable[Ranking], factor: int) -> list[str]:
    """Ids of the best n / factor of n trials (rounded up), the best first; one without a finite cost never is."""
    ranked = sorted(standings)
    best = ranked[: survivor_count(len(ranked), factor)]
    return [ranking.id for ranking in best if math.isfinite(ranking.cost)]


def survivor_count(count: int, factor: int) -> int:
    """How many of so many trials are continued."""
    return math.ceil(count / factor)


def ranking(record: Record, epochs: float) -> Ranking:
    """Where a trial stood after so many epochs, whatever it did later."""
    cost = best_until(record.history, epochs, record.status == DIVERGED, record.metric)
    return Ranking(cost, record.model["parameters"], record.id)


def best_until(
    history: Sequence[Mapping[str, Any]], epochs: float, diverged: bool = False, metric: Metric = PERPLEXITY
) -> float:
    """The cost of the best validation of a history up to an epoch; infinite if the run diverged before it.

    A run that ended early because it no longer improved keeps its best.
    """
    scored = [row for row in history if "valid" in row]
    if diverged and (not scored or scored[-1]["epoch"] < epochs):
        return math.inf
    values = [row["valid"] for row in scored if row["epoch"] <= epochs]
    return min((math.inf if value is None else metric.cost(value) for value in values), default=math.inf)


@dataclass(frozen=True)
class Trial:
    """One choice of hyperparameters: one run, whose allowed epochs grow from rung to rung."""

    overrides: tuple[str, ...]
    config: DictConfig

    @property
    def id(self) -> str:
        return run_id(self.config)

    @property
    def model(self) -> str:
        return self.config.model.name

    def until(self, epochs: int) -> "Trial":
        """The trial, to be paused after so many epochs."""
        pause = epochs if epochs < self.config.training.epochs else None
        config = self.config.copy()
        config.training.pause_after = pause
        return Trial((*self.overrides, f"training.pause_after={'null' if pause is None else pause}"), config)

    def record(self) -> Record | None:
        """What there is, if the trial has been where it may go to."""
        return existing_record(self.config)


@dataclass(frozen=True)
class Search:
    """A search that a command line stands for."""

    command: tuple[str, ...]
    trials: tuple[Trial, ...]
    rungs: tuple[int, ...]
    factor: int

    @classmethod
    def of(cls, config: DictConfig, arguments: Sequence[str], compose_trials: Compose) -> "Search":
        """The search of ``scripts/train.py -m *arguments``, which composes to ``config`` (``sweep.master``).

        Raises:
            ConfigurationError: it is not a search, or a trial cannot be run.
        """
        sweeper = config.hydra.sweeper
        if "factor" not in sweeper:
            raise ConfigurationError(f"{' '.join(arguments)} is not a search: choose experiment=search")
        if sweeper.first < 1 or sweeper.factor < 2:
            raise ConfigurationError("hydra.sweeper.first must be at least 1, hydra.sweeper.factor at least 2")
        trials: dict[str, Trial] = {}
        jobs = jobs_of(config, arguments)
        for overrides, composed in zip(jobs, compose_trials(jobs), strict=True):
            trial = Trial(tuple(overrides), composed)
            check(trial.config)
            trials.setdefault(trial.id, trial)
        _check_comparable(list(trials.values()))
        epochs = next(iter(trials.values())).config.training.epochs
        compared = tuple(rungs(sweeper.first, sweeper.factor, epochs))
        return cls(tuple(arguments), tuple(trials.values()), compared, sweeper.factor)

    @classmethod
    def of_command(cls, arguments: Sequence[str]) -> "Search":
        return cls.of(master(arguments), arguments, partial(compose_all, "train"))

    def by_model(self) -> dict[str, list[Trial]]:
        models = dict.fromkeys(trial.model for trial in self.trials)
        return {model: [trial for trial in self.trials if trial.model == model] for model in models}

    def alive(self) -> tuple[int, list[Trial]]:
        """The rung that has something left to do, and the trials that are on it; after the last, the number of rungs
        and the winners."""
        alive = list(self.trials)
        for number, epochs in enumerate(self.rungs):
            records = {trial.id: trial.until(epochs).record() for trial in alive}
            if None in records.values():
                return number, alive
            last, names = epochs == self.rungs[-1], set()
            for trials in self.by_model().values():
                here = [record for trial in trials if (record := records.get(trial.id)) is not None]
                # A trial that diverged after its last validation cannot win either.
                ranked = (ranking(record, epochs) for record in here if not last or record.status == FINISHED)
                names.update(survivors(ranked, self.factor)[: 1 if last else None])
            alive = [trial for trial in alive if trial.id in names]
        return len(self.rungs), alive

    def run(self, launch: Launch) -> None:
        """Bring every trial as far as it gets.

        Raises:
            StableRNNError: of a run that failed; the same command tries it again.
        """
        number, alive = self.alive()
        while number < len(self.rungs):
            here = [trial.until(self.rungs[number]) for trial in alive]
            to_do = [trial for trial in here if trial.record() is None]
            done = f", {len(here) - len(to_do)} there already" if len(to_do) < len(here) else ""
            models = Counter(trial.model for trial in here)
            trials = ", ".join(f"{count} {model}" for model, count in models.items())
            log.info(f"rung {number + 1} of {len(self.rungs)}: {trials} to epoch {self.rungs[number]}{done}")
            launch([trial.config for trial in to_do], [trial.overrides for trial in to_do])
            before = number
            number, alive = self.alive()
            if number <= before:
                raise StableRNNError("some trials of the search did not finish; the same command tries them again")

    def share_left(self, seconds: Mapping[str, float]) -> float:
        """Seconds that are left at most: where it is not decided which trials continue, the slowest are assumed to."""
        number, alive = self.alive()
        total = 0.0
        for trials in self.by_model().values():
            here = [trial for trial in trials if trial in alive]
            slowest = sorted((seconds[trial.id] for trial in here), reverse=True)
            for rung in range(number, len(self.rungs)):
                epochs, before = self.rungs[rung], self.rungs[rung - 1] if rung else 0
                if rung == number:
                    running = [seconds[trial.id] for trial in here if trial.until(epochs).record() is None]
                else:
                    slowest = running = slowest[: survivor_count(len(slowest), self.factor)]
                total += sum(running) * (epochs - before) / self.rungs[-1]
        return total

    def largest(self) -> dict[str, dict[str, Any]]:
        """For each model the settings of its largest trial: they stand for the winner's while it is not known."""
        results = {}
        for model, trials in self.by_model().items():
            largest = max(trials, key=lambda trial: (trial.config.model.hidden_size, trial.config.model.embedding_size))
            results[model] = as_options(settings_apart(identity(largest.config))[1])
        return results

    def winners(self) -> dict[str, Record]:
        """The best trial of each model; a model of which every trial diverged has none.

        Raises:
            ConfigurationError: the search is not over.
        """
        number, alive = self.alive()
        if number < len(self.rungs):
            raise ConfigurationError(
                f"the search is not over (rung {number + 1} of {len(self.rungs)}): "
                f"{command('train')} -m {' '.join(self.command)}"
            )
        records = {trial.model: trial.record() for trial in alive}
        return {model: record for model, record in records.items() if record is not None}

    def records(self) -> list[Record]:
        """Every trial that got anywhere, as it stands."""
        result = (trial.until(self.rungs[0]).record() for trial in self.trials)
        return [record for record in result if record is not None]


def _check_comparable(trials: Sequence[Trial]) -> None:
    """Trials of one model may differ in what is searched alone; the others must not be picked by luck or by text."""
    for option in ("seed", "stability", "dataset", "profile", "training.epochs", "truncation.k", "approximation"):
        values: list[Any] = [OmegaConf.select(trial.config, option) for trial in trials]
        if any(value != values[0] for value in values):
            raise ConfigurationError(
                f"{option} is swept: a search compares runs that are alike in it; choose one value"
            )
