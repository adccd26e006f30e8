"""Where Hydra looks for launchers: ``hydra/launcher=packed``. See stablernn.experiments.packed."""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

# stablernn is imported where it is used: Hydra reads this file whenever any of its programs starts.


@dataclass
class PackedConfig:
    _target_: str = "hydra_plugins.stablernn_launchers.PackedLauncher"
    at_once: int = 8  # runs that are threads of this process, on a GPU each on a stream of its own


ConfigStore.instance().store(group="hydra/launcher", name="packed", node=PackedConfig, provider="stablernn")


class PackedLauncher(Launcher):
    """Trains the runs of a sweep as threads of this process."""

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context = hydra_context
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from stablernn.config.compose import compose_swept
        from stablernn.config.identity import run_label
        from stablernn.experiments.sweep import run_all
        from stablernn.utils.errors import StableRNNError

        setup_globals()
        configs = compose_swept(self.hydra_context, self.config, job_overrides)
        records, _ = run_all(configs, at_once=self.at_once)
        by_id = {record.id: record for record in records}
        results = []
        for overrides, config in zip(job_overrides, configs, strict=True):
            record = by_id.get(run_label(config))
            result = JobReturn(overrides=overrides, status=JobStatus.COMPLETED if record else JobStatus.FAILED)
            result.return_value = record or StableRNNError("the run failed, and said so")
            results.append(result)
        return results
