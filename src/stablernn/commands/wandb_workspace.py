"""The W&B project's workspace."""

from pathlib import Path

from omegaconf import DictConfig

from stablernn.monitoring.service import check_service, within
from stablernn.utils.console import console
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.metrics import METRICS


def wandb_workspace(options: DictConfig) -> None:
    try:
        from stablernn.monitoring.workspace import push, workspace, write
    except ImportError as error:
        raise ConfigurationError(f"{error.name} is not installed: pip install 'stablernn[dashboards]'") from None
    only = {f"{group}.name": name for group, name in options.only.items() if name}
    if options.metric not in METRICS:
        raise ConfigurationError(f"metric={options.metric} is unknown: choose {', '.join(METRICS)}")
    of_project = options.entity or "", options.project, only, METRICS[options.metric]
    path = Path(options.out) / "workspace.json"
    write(workspace(*of_project), path)
    console.print(f"written: {path}", soft_wrap=True)
    if options.push:
        check_service("push=true")
        address = within(options.seconds, push, *of_project)
        console.print(f"pushed: {address}", soft_wrap=True)
