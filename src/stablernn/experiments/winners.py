"""What a search leaves: the winners as experiments, and the table of its trials."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from stablernn.config.compose import best_folders, literal
from stablernn.experiments.destinations import results_of
from stablernn.experiments.grids import settings_apart, winner_file
from stablernn.experiments.search import Search
from stablernn.records.record import Record
from stablernn.report.formats import comma_separated, rich_table
from stablernn.report.sections.search import search_table
from stablernn.report.slices import slices
from stablernn.utils.console import console
from stablernn.utils.errors import StableRNNError
from stablernn.utils.files import write_text
from stablernn.utils.project import CONFIG_FOLDER, command
from stablernn.utils.wording import counted

_WHERE = ("hydra", "runs=", "tracking", "device=", "threads=", "progress=")  # arguments that change no result


def write_winners(search: Search, winners: str | None, results: str | None) -> None:
    """Write the winners' configurations and the table of all trials, and print both.

    Args:
        search: one that is over.
        winners: folder; None: the first of ``best_folders``.
        results: its tables/ gets search_<dataset>_<profile>.csv, as from a report; None: ``results_of`` the runs.

    Raises:
        ConfigurationError: the search is not over.
        StableRNNError: every trial of a model diverged.
    """
    best = search.winners()
    runs = search.trials[0].config.runs
    written = []
    for data in slices(search.records()):
        table = search_table(data)
        console.print(rich_table(table))
        path = (Path(results) if results else results_of(runs)) / "tables" / f"search_{data.name}.csv"
        write_text(path, comma_separated(table))
        written.append(path)
    folder = Path(winners) if winners else best_folders(runs)[0]
    for model, record in best.items():
        trials = len(search.by_model()[model])
        path = winner_file(folder, record.data["name"], model, record.config["profile"]["name"])
        write_text(path, winner_yaml(record, trials, search.command, folder))
        written.append(path)
    console.print(f"winners written: {', '.join(map(str, written))}", soft_wrap=True)
    lost = [model for model in search.by_model() if model not in best]
    if lost:
        raise StableRNNError(f"every trial of {', '.join(lost)} diverged: search smaller values of optimizer.lr")


def winner_yaml(record: Record, trials: int, arguments: Sequence[str], folder: Path) -> str:
    """A winner as an experiment: what sets its run apart from the data set's, model's and profile's defaults."""
    title = "_".join(record.config[name]["name"] for name in ("dataset", "model", "profile"))
    names, changed = settings_apart(record.config)
    own = record.config["dataset"]["name"] != names["dataset"]
    settings = OmegaConf.create()
    for option, value in changed.items():
        OmegaConf.update(settings, option, value)
    best = f"validation {record.metric.name} {record.metrics['valid']['value']:.2f}"
    search = shlex.join(argument for argument in arguments if not argument.startswith(_WHERE))
    train = command("train")
    apart = folder.parts[-2:] == ("experiment", "best") and folder != CONFIG_FOLDER / "experiment" / "best"
    found_in = f" --config-dir {shlex.quote(str(folder.parents[1]))}" if apart else ""
    known = CONFIG_FOLDER / "stability" / "stable" / f"{record.config['model']['name']}.yaml"
    constraint = " stability=stable" if known.is_file() else ""
    lines = [
        "# @package _global_",
        f"# The best of {counted(trials, 'trial')}: {best}, run {record.id}. Found by",
        f"#   {train} -m {search}",
        f"# Train it{', here under a constraint' if constraint else ''}:",
        f"#   {train}{found_in} experiment=best/{title}{constraint}{' dataset.path=...' if own else ''}",
        "defaults:",
        *(f"  - override /{group}: {choice}" for group, choice in names.items()),
        "experiment_name: best",
    ]
    return "\n".join(lines) + "\n" + (OmegaConf.to_yaml(settings) if changed else "")


def winners(options: DictConfig) -> None:
    """Write the winners of a search that is over, and its table (scripts/winners.py).

    Raises:
        StableRNNError: the search is not over, or the options name none.
    """
    arguments = [literal(f"{name}={options[name]}") for name in ("experiment", "profile", "dataset", "runs")]
    write_winners(Search.of_command(arguments), options.winners, options.results)
