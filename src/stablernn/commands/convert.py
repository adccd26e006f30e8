"""Replace a trained recurrent model by a feed-forward one."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from stablernn.analysis.conversion.convert import Conversion
from stablernn.report.formats import rich_table
from stablernn.report.sections.convert import conversion_table
from stablernn.training.build import pick_device
from stablernn.training.trained import find_runs
from stablernn.utils.console import console, display
from stablernn.utils.errors import ConfigurationError


def convert(options: DictConfig) -> None:
    if OmegaConf.is_missing(options, "run"):
        raise ConfigurationError("run is not set: name a finished run, as in run=wikitext2-lstm-stable")
    conversion = Conversion.of(options)
    runs = find_runs(options.run, Path(options.runs), options.data, pick_device(options.device))
    if len(runs) > 1:
        ids = "".join(f"\n  {trained.record.id}" for trained in runs)
        raise ConfigurationError(f"run={options.run} names {len(runs)} runs; give more of one id:{ids}")
    with display(options.progress):
        folder, description = conversion(runs[0])
    console.print(rich_table(conversion_table(description)))
    console.print(f"written: {folder}", highlight=False, soft_wrap=True)
