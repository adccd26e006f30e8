"""Where Hydra looks for sweepers: ``hydra/sweeper=grids`` and ``halving``. See stablernn.experiments.search."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

# stablernn is imported where it is used: Hydra reads this file whenever any of its programs starts.


@dataclass
class RunsConfig:
    _target_: str = "hydra_plugins.stablernn_sweepers.RunsSweeper"
    max_batch_size: int | None = None  # runs that the launcher gets at a time; null: all
    params: dict[str, Any] | None = None  # options and their comma-separated values, which a command line adds to


@dataclass
class GridsConfig:
    _target_: str = "hydra_plugins.stablernn_sweepers.GridsSweeper"
    grids: dict[str, dict[str, Any]] = field(default_factory=dict)  # options and their values, one or more a model
    use_winners: bool = False  # start from the hyperparameters that a search found for the data set and the profile
    winners: str | None = None  # folder of the winners; null: see ``config.compose.best_folders``
    max_batch_size: int | None = None  # runs that the launcher gets at a time; null: all


@dataclass
class HalvingConfig:
    _target_: str = "hydra_plugins.stablernn_sweepers.HalvingSweeper"
    grids: dict[str, dict[str, Any]] = field(default_factory=dict)
    first: int = 1  # epochs of every trial
    factor: int = 3  # one trial in so many is continued, to so many times the epochs
    by_profile: dict[str, Any] = field(default_factory=dict)  # what an experiment takes these from
    winners: str | None = None
    max_batch_size: int | None = None
    results: str | None = None  # its tables/ gets the table of all trials; null: that of a report


ConfigStore.instance().store(group="hydra/sweeper", name="runs", node=RunsConfig, provider="stablernn")
ConfigStore.instance().store(group="hydra/sweeper", name="grids", node=GridsConfig, provider="stablernn")
ConfigStore.instance().store(group="hydra/sweeper", name="halving", node=HalvingConfig, provider="stablernn")


FAILED = "failed"


class GridsSweeper(Sweeper):
    """Launches every run of some grids."""

    def __init__(self, **options: Any) -> None:
        self.options = options  # as in the configuration, which is read again when it is complete

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        self.launched = 0
        self.ended: Counter[str] = Counter()
        self.places: dict[str, None] = {}  # where the jobs wrote, in their order

    def sweep(self, arguments: list[str]) -> Any:
        from stablernn.utils.errors import StableRNNError, SweepError

        try:
            return self.run(arguments)
        except StableRNNError as error:
            raise SweepError(str(error)) from error
        finally:
            self.summarise()

    def summarise(self) -> None:
        """Say how the runs or other jobs ended, and where they are."""
        from stablernn.utils.console import log
        from stablernn.utils.project import command
        from stablernn.utils.wording import counted

        if not self.ended:
            return
        how = ", ".join(f"{count} {status}" for status, count in sorted(self.ended.items()))
        name = self._config.hydra.job.config_name
        if name == "train":
            runs = self._config.runs
            log.info(
                f"{counted(self.ended.total(), 'run')} in {runs}: {how}. Tables and figures of them: "
                f"{command('report')} records={runs} results={runs}/report readme=null"
            )
        else:
            log.info(f"{counted(self.ended.total(), 'job')} of {name}: {how}. Written to: {', '.join(self.places)}")

    def run(self, arguments: list[str]) -> Any:
        from stablernn.experiments.sweep import jobs_of

        return self.launch(jobs_of(self._config, arguments))

    def launch(self, jobs: Sequence[Sequence[str]]) -> list[Any]:
        """What the jobs return; raises SweepError when all of them are over and one failed.

        Those that other processes are at work on come again when these have ended: by then they are done, or resume.
        """
        from stablernn.experiments.destinations import written_to
        from stablernn.experiments.sweep import pauses
        from stablernn.training.lock import wait_until_free
        from stablernn.utils.errors import RunInUseError, StableRNNError, SweepError

        self.validate_batch_is_legal(jobs)
        results = self._launch(jobs)
        for pause in pauses():
            # Hydra's own property prints "Error executing job" for a run that said so itself.
            values = [result._return_value for result in results]
            in_use = [number for number, value in enumerate(values) if isinstance(value, RunInUseError)]
            if not in_use:
                break
            wait_until_free([values[number].folder for number in in_use], pause)
            for number, result in zip(in_use, self._launch([jobs[number] for number in in_use]), strict=True):
                results[number] = result
        failures = [value for value in values if isinstance(value, Exception)]
        for value in values:
            status = FAILED if isinstance(value, Exception) else getattr(value, "status", value)
            self.ended.update([status] if isinstance(status, str) else [])
        self.places |= dict.fromkeys(written_to(result.cfg) for result in results if result.cfg is not None)
        for failure in failures:
            if not isinstance(failure, StableRNNError):
                raise failure
        if failures:
            raise SweepError(SweepError.SOME_FAILED) from failures[0]
        return values

    def _launch(self, jobs: Sequence[Sequence[str]]) -> list[JobReturn]:
        assert self.launcher is not None
        results: list[JobReturn] = []
        size = self.options["max_batch_size"] or len(jobs)
        for start in range(0, len(jobs), size):
            batch = jobs[start : start + size]
            results += self.launcher.launch(batch, initial_job_idx=self.launched)
            self.launched += len(batch)
        return results

    @property
    def _config(self) -> DictConfig:
        assert self.config is not None
        return self.config


class RunsSweeper(GridsSweeper):
    """Launches every combination of the values of a command line, and of those that an experiment adds."""


class HalvingSweeper(GridsSweeper):
    """Launches rung after rung of a search by successive halving, and writes the winners."""

    def run(self, arguments: list[str]) -> Any:
        from stablernn.config.compose import compose_swept
        from stablernn.experiments.search import Search
        from stablernn.experiments.winners import write_winners

        assert self.hydra_context is not None
        compose = partial(compose_swept, self.hydra_context, self._config)
        search = Search.of(self._config, arguments, compose)
        search.run(lambda configs, jobs: self.launch(jobs))
        write_winners(search, self._config.hydra.sweeper.winners, self._config.hydra.sweeper.results)
