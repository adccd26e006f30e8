"""Grids of runs, one or more a model: what a command line over them stands for.

    grids:
      rnn:        {model: rnn, optimizer.lr: "1,3"}
      lstm:       {model: lstm, optimizer.lr: "5,20", model.tied: false}
      lstm_tied:  {model: lstm, optimizer.lr: "20", model.tied: true}

are five runs. Arguments add to every grid and win over it; ``model=`` chooses among the grids, and ``stability=`` among
those of a model the ones with that constraint, where there are any: their rates were chosen for it. Options of a
constraint, as ``stability.constraint.limit``, fit their own alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from stablernn.config.compose import best_folders, choices, compose, explain
from stablernn.config.identity import result_options
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.project import command

# One search or table is of one text at one size: grids, winners and halving compare nothing across these.
_ONE_VALUE = ("dataset", "profile", "experiment")


def product(arguments: Sequence[str]) -> list[list[str]]:
    """Every combination of comma-separated values, by Hydra's own expansion; of a repeated option the last wins."""
    (batch,) = BasicSweeper.split_arguments(_parse(arguments), None)
    return batch


def without_sweeps(arguments: Sequence[str]) -> list[str]:
    """The overrides of a single value."""
    parsed = zip(arguments, _parse(arguments), strict=True)
    return [argument for argument, override in parsed if not override.is_sweep_override()]


def in_grids(
    grids: Mapping[str, Mapping[str, Any]],
    arguments: Sequence[str],
    settings: Callable[[str], Mapping[str, Any]] = lambda model: {},
) -> list[list[str]]:
    """The overrides of every run of the grids.

    Args:
        grids: for each, options and their comma-separated values; ``model`` is one of them.
        arguments: further overrides, which win over the grids.
        settings: of each model; the grids win over them.

    Raises:
        ConfigurationError: no grid is of the chosen model, or an option is swept that all runs must share.
    """
    parsed = _parse(arguments)
    for override in parsed:
        if override.is_sweep_override() and override.get_key_element() in _ONE_VALUE:
            raise ConfigurationError(
                f"{override.input_line}: this experiment is of one {override.get_key_element()}; run it once for each"
            )
    choice = [override for override in parsed if override.get_key_element() == "model"]
    others = [argument for argument, override in zip(arguments, parsed, strict=True) if override not in choice]
    chosen = {job[0].partition("=")[2] for job in product([choice[-1].input_line or ""])} if choice else None
    jobs = []
    each = [(model, grid) for grid in grids.values() for model in str(grid["model"]).split(",")]
    for model, grid in each:
        if chosen is None or model in chosen:
            options = {**settings(model), **grid, "model": model}
            every = product([*(f"{key}={value}" for key, value in options.items()), *others])
            jobs += [job for job in every if _fits(job, grid, [other for name, other in each if name == model])]
    if not jobs:
        models = ", ".join(dict.fromkeys(model for model, _ in each))
        if chosen is not None and not chosen & set(models.split(", ")):
            raise ConfigurationError(f"{choice[-1].input_line}: the grids of this experiment are of {models}")
        there = ", ".join(
            dict.fromkeys(str(grid["stability"]) for model, grid in each if not chosen or model in chosen)
        )
        raise ConfigurationError(f"the grids of this experiment have options of stability={there}: choose of these")
    return jobs


def _fits(job: Sequence[str], grid: Mapping[str, Any], of_model: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a run has its grid's constraint; without options of one, also a constraint of no grid of the model."""
    chosen = [override.partition("=")[2] for override in job if override.startswith("stability=")]
    if not chosen or chosen[-1] in _constraints(grid):
        return True
    with_options = any(option.startswith("stability.") for option in grid)
    return not with_options and all(chosen[-1] not in _constraints(other) for other in of_model)


def _constraints(grid: Mapping[str, Any]) -> list[str]:
    return str(grid.get("stability", "unstable")).split(",")


def winner_file(folder: str | Path, dataset: str, model: str, profile: str) -> Path:
    """Where the winner of a search is in a folder of them."""
    return Path(folder) / f"{dataset}_{model}_{profile}.yaml"


def find_winner(folder: str | None, runs: str, dataset: str, model: str, profile: str) -> Path:
    """``winner_file`` in ``folder``; None: in the first of ``best_folders(runs)`` that has it."""
    files = [winner_file(place, dataset, model, profile) for place in ([folder] if folder else best_folders(runs))]
    return next(filter(Path.is_file, files), files[0])


def winner_settings(path: Path) -> dict[str, Any]:
    """The settings of a winner by their dotted names.

    Raises:
        ConfigurationError: there was no such search yet, or its file is damaged.
    """
    if not path.is_file():
        dataset, _, profile = path.stem.rsplit("_", 2)  # a text of one's own may have a _ in its name
        search = f"experiment=search profile={profile} dataset={dataset}"  # that for texts, or one of the data set
        search = f"experiment=search_{dataset}" if f"search_{dataset}" in choices("experiment") else search
        raise ConfigurationError(f"{path} is not there: search first, {command('train')} -m {search}")
    try:
        written = OmegaConf.to_container(OmegaConf.load(path))
        if not isinstance(written, dict) or not written:
            raise ValueError("it holds no settings")
    except (OSError, ValueError, RecursionError, OmegaConfBaseException, YAMLError) as error:
        why = " ".join(str(error).split())[:200]
        raise ConfigurationError(
            f"{path} is not a winner of a search ({why}): delete it and write it again with {command('winners')}"
        ) from None
    return as_options({str(key): value for key, value in written.items() if isinstance(value, dict)})


def as_options(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings, or their dotted names, as a sweep's overrides have them."""
    return {option: "null" if value is None else value for option, value in leaves(settings)}


def settings_apart(config: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """Data set, model and profile of a run, and what sets it apart from their defaults, by dotted names.

    Args:
        config: ``identity`` of the run; seed and constraint are left out.
    """
    names = {name: config[name]["name"] for name in ("dataset", "model", "profile")}
    if names["dataset"] not in choices("dataset"):
        names["dataset"] = "text_folder"
    defaults = dict(leaves(result_options(compose("train", [f"{group}={name}" for group, name in names.items()]))))
    return names, {
        option: value
        for option, value in leaves(config)
        if option.partition(".")[0] not in ("seed", "stability")
        and (option not in defaults or value != defaults[option])
    }


def leaves(node: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a nested mapping by its dotted name."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _parse(arguments: Sequence[str]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(list(arguments))
    except HydraException as error:
        raise ConfigurationError(explain(error, "train")) from None
