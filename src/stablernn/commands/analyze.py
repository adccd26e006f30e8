"""Analyse trained runs."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from stablernn.analysis.estimate import analysis_seconds
from stablernn.analysis.runner import Analysis, analyse, check_applies, is_missing
from stablernn.config.instantiate import make
from stablernn.config.validate import check_targets
from stablernn.report.drawing import export
from stablernn.report.formats import rich_table
from stablernn.report.slices import by_text
from stablernn.training.build import pick_device
from stablernn.training.trained import Trained, find_runs
from stablernn.utils.console import console, display, duration
from stablernn.utils.errors import ConfigurationError, NotApplicableError, RecordError
from stablernn.utils.wording import counted


def analyze(options: DictConfig) -> None:
    if options.k_max is None and "k_max" in options.analysis:
        raise ConfigurationError("k_max=null: it must be a whole number >= 1, the longest context to look at")
    check_targets(options.analysis, "analysis")
    name = HydraConfig.get().runtime.choices["analysis"]
    if options.k_max is not None and "k_max" not in options.analysis:
        raise ConfigurationError(f"k_max={options.k_max}: analysis={name} has no longest context to look at")
    runs = find_runs(options.run, Path(options.runs), options.data, pick_device(options.device))
    analysis = make(options.analysis)
    with display(options.progress):
        _announce(name, analysis, runs, options.fresh)
        done = list(analyse(analysis, runs, options.fresh))
    results = [(trained.record, result) for trained, result in done]
    if not results:
        raise ConfigurationError(
            f"analysis={name}: {counted(len(runs), 'run')} without a result (see above): name others by run="
        )
    for text, of_text in by_text(results):  # numbers of several texts are not to be compared
        console.print(f"on {text}")
        console.print(rich_table(make(options.table)(of_text), drop=False))
    if options.figures is not None:
        for trained, result in done:
            for figure in make(options.figures)([(trained.record, result)]):
                svg, png = export(replace(figure, where=trained.record.id), trained.folder)
                console.print(f"figure: {svg} (and {png.suffix})", soft_wrap=True)


def _announce(name: str, analysis: Analysis, runs: Sequence[Trained], fresh: bool) -> None:
    """Say how long it takes, as far as there is anything to compute; what cannot be computed is refused before."""
    to_do = []
    for trained in runs:
        if fresh or is_missing(analysis, trained):
            with suppress(NotApplicableError, RecordError):  # said run by run
                check_applies(analysis, trained)
                to_do.append(trained)
    if not to_do:
        return
    seconds_of_each = analysis_seconds([(analysis, trained) for trained in to_do])
    known = [seconds for seconds in seconds_of_each if seconds is not None]
    text = f"about {duration(sum(known))} (measured on this machine)" if known else "how long it takes is not known"
    if 0 < len(known) < len(seconds_of_each):
        text += f" for {len(known)} of them; how long the others take is not known"
    console.print(f"{name} of {counted(len(to_do), 'run')}: {text}")
