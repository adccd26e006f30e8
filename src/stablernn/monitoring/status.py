"""`scripts/status.py`: a sweep in progress or finished, seen from its folder."""

import shlex
import time
from pathlib import Path

from omegaconf import DictConfig
from rich.live import Live

from stablernn.config.compose import literal
from stablernn.config.identity import identity, run_id
from stablernn.config.validate import check_targets
from stablernn.experiments.sweep import expand
from stablernn.monitoring.folder import DIVERGED, DONE, FAILED, Runs, kind
from stablernn.monitoring.view import view
from stablernn.utils.console import Terminal
from stablernn.utils.errors import ConfigurationError, RecordError
from stablernn.utils.project import command


def status(options: DictConfig) -> None:
    """Print the view once, or renew it until every run of the sweep has ended, or Ctrl-C.

    Raises:
        ConfigurationError: an option has a value that it does not take, or the sweep cannot be composed.
        RecordError: there is nothing to show.
    """
    if not options.seconds > 0:
        raise ConfigurationError(f"seconds={options.seconds} must be positive")
    folder = Path(options.runs)
    planned = None
    if options.sweep:
        sweep = [literal(argument) for argument in shlex.split(options.sweep)]
        configs = expand(sweep)
        for config in configs:
            check_targets(config)  # a run whose classes are not allowed has no id
        planned = {run_id(config): kind(identity(config)) for config in configs}
    runs = Runs(folder, planned, options.dead_after)
    states = runs.states()
    if not states:
        raise RecordError(
            f"no runs below {folder}: start a sweep ({command('train')} -m experiment=perplexity_smoke), name its "
            "folder with runs=..., or say what is to run with sweep='experiment=...'"
        )
    title = f"{folder}: {options.sweep}" if options.sweep else f"{folder}"
    console = Terminal()

    if not options.once and console.is_terminal:
        try:
            with Live(view(states, title), console=console, screen=True, auto_refresh=False) as live:
                while planned is None or any(run.state not in (DONE, DIVERGED, FAILED) for run in states):
                    time.sleep(options.seconds)
                    states = runs.states() or states
                    live.update(view(states, title), refresh=True)
        except KeyboardInterrupt:
            pass  # the way to leave
    console.print(view(states, title))
