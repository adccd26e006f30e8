"""Replace a trained recurrent model by a feed-forward one."""

from omegaconf import DictConfig

from stablernn.analysis.conversion.convert import Conversion
from stablernn.report.formats import rich_table
from stablernn.report.sections.convert import conversion_table
from stablernn.training.build import pick_device
from stablernn.training.trained import find_run
from stablernn.utils.console import console, display


def convert(options: DictConfig) -> None:
    conversion = Conversion.of(options)
    trained = find_run(options, pick_device(options.device))
    with display(options.progress):
        folder, description = conversion(trained)
    console.print(rich_table(conversion_table(description)))
    console.print(f"written: {folder}", soft_wrap=True)
