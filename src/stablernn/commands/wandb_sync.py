"""Send offline Weights & Biases runs to the server."""

from pathlib import Path

from omegaconf import DictConfig

from stablernn.monitoring.service import check_service
from stablernn.monitoring.sync import sync, to_sync
from stablernn.utils.console import log


def wandb_sync(options: DictConfig) -> None:
    folders = to_sync(Path(options.runs))
    if not folders:
        log.info(f"nothing to send in {options.runs}/wandb")
        return
    check_service("sending runs")
    overrides = [f"--{name}={options[name]}" for name in ("entity", "project") if options[name]]
    sync(folders, options.run_seconds, options.seconds, overrides)
