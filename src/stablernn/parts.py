"""The sweeps of the plan of `make reproduce`: what is left of each, how long it takes, carrying it out."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from omegaconf import DictConfig

from stablernn.config import run_id
from stablernn.record import read_record
from stablernn.report.search import TRIAL_FILE, load_trials
from stablernn.search import Search
from stablernn.training.build import pick_device
from stablernn.training.estimate import estimate_seconds
from stablernn.training.outcome import finished
from stablernn.training.sweep import cores, expand, run_all
from stablernn.training.trained import Trained
from stablernn.winners import write_winners


class Part:
    """One sweep of the plan.

    Args:
        sweep: what follows ``scripts/train.py -m``.
        side_by_side: whether a core each is enough for its runs.
        options: of the plan, conf/reproduce/plan.yaml.
        search: the one before it in the plan; a sweep that starts from its winners waits for it.
    """

    def __init__(
        self, sweep: Sequence[str], side_by_side: bool, options: DictConfig, search: "SearchPart | None" = None
    ) -> None:
        self.sweep = list(sweep)
        self.side_by_side = side_by_side
        self.options = options
        self.before = search
        self.jobs = cores() if side_by_side and not torch.cuda.is_available() else 1
        self.configs = self._expand()
        self.to_do = self._left()
        self.seconds = 0.0

    @property
    def command(self) -> list[str]:
        """All arguments of the sweep."""
        where = [f"hydra.sweeper.winners={self.options.winners}"] if self.options.winners and self.before else []
        return [*self.sweep, f"runs={self.options.runs}", *where]

    @property
    def data(self) -> str:
        return self.configs[0].dataset.name

    def _left(self) -> list[DictConfig]:
        return [config for config in self.configs if not finished(config)]

    def _expand(self) -> list[DictConfig]:
        waiting = self.before is not None and self.before.to_do
        return expand(self.command, self.before.search.largest().__getitem__ if self.before and waiting else None)

    def estimate(self) -> float:
        """Seconds that are left, at most."""
        return sum(estimate_seconds(self.to_do)) / self.jobs

    def carry_out(self) -> tuple[list[str], int]:
        """Do what is left; one line for each run that failed, and how many others are at work on."""
        if self.before is not None:  # by now the winners are known
            self.configs = self._expand()
            self.to_do = self._left()
        if not self.to_do:
            return [], 0
        records, failed = run_all(self.to_do, self.jobs)
        return failed, len(self.to_do) - len(records) - len(failed)

    def trained(self) -> list[Trained]:
        """Its finished runs."""
        return [
            Trained(
                Path(config.runs) / run_id(config),
                read_record(Path(config.runs) / run_id(config)),
                config.dataset.get("path"),
                pick_device(config.device),
            )
            for config in self.configs
            if finished(config)
        ]


class SearchPart(Part):
    """The search of the plan. Its trials are no results of the study: they are published apart."""

    def _expand(self) -> list[DictConfig]:
        self.search = Search.of_command([*self.sweep, f"runs={self.options.runs}"])
        return [trial.config for trial in self.search.trials]

    def _left(self) -> list[DictConfig]:
        """The trials that are to be trained on, as far as that is known."""
        number, alive = self.search.alive()
        if number == len(self.search.rungs):
            return []
        return [trial.config for trial in alive if trial.until(self.search.rungs[number]).record() is None]

    def estimate(self) -> float:
        seconds = dict(zip(map(run_id, self.configs), estimate_seconds(self.configs), strict=True))
        return self.search.share_left(seconds) / self.jobs

    def carry_out(self) -> tuple[list[str], int]:
        self.search.carry_out(lambda configs, jobs: run_all(configs, self.jobs))
        write_winners(self.search, self.options.winners, self.options.results)
        self.to_do = []
        return [], 0

    def trained(self) -> list[Trained]:
        return []

    def publish(self, folder: Path) -> None:
        """Copy the trials to where reports read them; older ones of the same data make room."""
        for old in load_trials(folder):
            if old.data["name"] == self.data:
                shutil.rmtree(folder / old.id, ignore_errors=True)
        for record in self.search.records():
            record.write_alone(folder / record.id / TRIAL_FILE)


def chain(sweeps: Iterable[tuple[Sequence[str], bool]], options: DictConfig) -> list[Part]:
    """The parts of some sweeps, each with whether its runs go side by side; each knows the search before it."""
    parts: list[Part] = []
    search = None
    for sweep, side_by_side in sweeps:
        if "experiment=search" in sweep:
            search = SearchPart(sweep, side_by_side, options)
            parts.append(search)
        else:
            parts.append(Part(sweep, side_by_side, options, search))
    return parts
