"""Composing configurations in code, and saying in one line what Hydra says in several."""

import difflib
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import MissingConfigException, OverrideParseException
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from stablernn.config import schema
from stablernn.utils.errors import ConfigurationError, StableRNNError
from stablernn.utils.files import writing
from stablernn.utils.project import CHECKOUT, CONFIG_FOLDER

_ONE_AT_A_TIME = threading.RLock()  # Hydra has one state for all threads
_composed_from = CONFIG_FOLDER
_own: Path | None = None  # --config-dir


def locate(config_name: str) -> tuple[Path, str]:
    """Folder and name of a configuration: the groups that it may choose from are the sub-folders of its folder."""
    folder, _, name = config_name.rpartition("/")
    return _composed_from / folder, name


def choices(group: str) -> list[str]:
    """The names that ``group=`` takes."""
    return sorted(path.stem for path in (_composed_from / group).glob("*.yaml"))


def best_folders(runs: str | Path) -> list[Path]:
    """Where the winners of searches lie, each a folder ``best`` of experiments: the first one is for new ones.

    Args:
        runs: folder of the runs, which has them where there is neither a ``--config-dir`` nor a checkout.
    """
    folders = [_own, None if CHECKOUT else Path(runs) / "conf", CONFIG_FOLDER]
    return [folder / "experiment" / "best" for folder in folders if folder is not None]


@contextmanager
def frozen(parent: Path | None = None, own: Path | None = None) -> Iterator[None]:
    """Compose from a copy of conf/ as it is now: a sweep takes hours, and an edit meanwhile is for the next one.

    Args:
        parent: folder of the copy, which every machine that composes must see; None: that of temporary files.
        own: folder of the user's own groups (``--config-dir``); a file there takes the place of one of conf/.

    Raises:
        ConfigurationError: ``own`` is no folder, or a file in it is not YAML.
        StorageError: the copy cannot be written.
    """
    global _composed_from, _own
    before = _composed_from, _own
    if own is not None and not own.is_dir():
        raise ConfigurationError(f"--config-dir {own} is no folder: name one with YAML files in model/, dataset/, ...")
    where = parent or Path(tempfile.gettempdir())
    with writing(where):
        where.mkdir(parents=True, exist_ok=True)
        copy = Path(tempfile.mkdtemp(prefix="conf-", dir=where)).absolute()
        shutil.copytree(_composed_from, copy, dirs_exist_ok=True)
        if own is not None:
            # The files at its top may be of anything, as where it is a project's own folder.
            for path in own.glob("[!.]*/**/*.yaml"):
                target = copy / path.relative_to(own)
                _check_yaml(path)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
    _composed_from, _own = copy, own
    try:
        yield
    finally:
        _composed_from, _own = before
        shutil.rmtree(copy, ignore_errors=True)
        with suppress(OSError):  # a command line that did not get to its first run leaves no folder
            for empty in (where, where.parent) if parent is not None else ():
                empty.rmdir()


def _check_yaml(path: Path) -> None:
    """Refuse a damaged file by its own name: Hydra would name the copy."""
    try:
        OmegaConf.load(path)
    except (YAMLError, OmegaConfBaseException, OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from None


# Options that name a file or a folder: what they are given is a path, and no expression of Hydra's grammar.
_PATHS = {"runs", "data", "out", "results", "records", "readme", "winners", "dataset.path"}
_PATHS |= {"weights", "vocabulary", "save", "export"}
_PATHS |= {"hydra.sweeper.winners", "hydra.sweeper.results"}


def literal(argument: str, text: Collection[str] = ()) -> str:
    """An override whose value is taken as it stands, if it is a path (``~`` is expanded) or one of ``text``."""
    name, _, value = argument.partition("=")
    is_path = name.lstrip("+") in _PATHS
    if not (is_path or name in text) or value in ("", "null", "???"):
        return argument
    if is_path:
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":  # quoted for Hydra, as its manual says
            value = value[1:-1]
        value = re.sub(r"(\\*)\$\{", r"\1\1\\${", os.path.expanduser(value))
    escaped = re.sub(r'(\\*)("|$)', lambda found: found[1] * 2 + (r"\"" if found[2] else ""), value)
    return f'{name}="{escaped}"'


def compose(config_name: str, overrides: list[str], with_hydra: bool = False) -> DictConfig:
    """A configuration as the command line would compose it.

    Raises:
        ConfigurationError: the overrides do not fit.
    """
    folder, name = locate(config_name)
    try:
        with _ONE_AT_A_TIME:
            schema.register()
            GlobalHydra.instance().clear()
            with hydra.initialize_config_dir(str(folder), version_base="1.3"):
                return hydra.compose(name, overrides, return_hydra_config=with_hydra)
    except Exception as error:  # Hydra raises whatever it meets on some overrides
        raise ConfigurationError(explain(error, config_name)) from None


def compose_all(
    config_name: str, jobs: Sequence[Sequence[str]], shared: dict[tuple[str, ...], DictConfig] | None = None
) -> list[DictConfig]:
    """``compose`` for every job of a sweep: those that differ in plain values alone share one composition.

    Raises:
        ConfigurationError: the overrides of a job do not fit.
    """
    groups = {path.relative_to(_composed_from).as_posix() for path in _composed_from.rglob("*") if path.is_dir()}
    parser = OverridesParser.create()
    shared = {} if shared is None else shared
    found = []
    for job in jobs:
        parsed = list(zip(job, parser.parse_overrides(list(job)), strict=True))
        values = {override.key_or_group: override.value() for _, override in parsed if _is_plain(override, groups)}
        others = tuple(argument for argument, override in parsed if not _is_plain(override, groups))
        try:
            if others not in shared:
                shared[others] = compose(config_name, list(others))
            config = shared[others].copy()
            for option, value in values.items():  # Hydra does the same, and last as well
                OmegaConf.update(config, option, value)
        except (ConfigurationError, OmegaConfBaseException):
            config = compose(config_name, list(job))  # says what does not fit
        found.append(config)
    return found


def compose_swept(context: HydraContext, master: DictConfig, jobs: Sequence[Sequence[str]]) -> list[DictConfig]:
    """The configuration of each run of a sweep that Hydra itself runs, for its sweepers and launchers."""
    configs = [context.config_loader.load_sweep_config(master, list(job)) for job in jobs]
    for config in configs:
        with open_dict(config):
            del config["hydra"]
    return configs


def _is_plain(override: Override, groups: Collection[str]) -> bool:
    """Whether it sets an option of the configuration, and does not choose one of its files."""
    name = override.key_or_group
    return override.type is OverrideType.CHANGE and name not in groups and not name.startswith("hydra.")


_WANTED = {  # what an option takes, by how OmegaConf says that a value is of another type
    "converted to Integer": "a whole number",
    "converted to Float": "a number",
    "not a valid bool": "true or false",
    "not a ListConfig": "a list, as in [a,b]",
    "to Dict|not a subclass": "a mapping",
    "not Optional": "given a value: it takes no null",
}


def explain(error: Exception, config_name: str) -> str:
    """One line for what Hydra and OmegaConf say in several."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MissingConfigException) and cause.missing_cfg_file:
            group, _, choice = str(cause.missing_cfg_file).rpartition("/")
            if group == "stability/stable":
                own = [name for name in choices("stability") if name.startswith(f"{choice}_")]
                other = f"stability={'|'.join(own)}" if own else "another stability="
                return (
                    f"no condition is known as stability=stable of model={choice}: choose {other}, or say what it is "
                    f"in a file stability/stable/{choice}.yaml"
                )
            options, files = sorted(cause.options or []), choices(group)
            if not set(files) <= set(options):  # of experiment/best/x Hydra lists those of experiment
                options = files
            return f"{group}={choice} does not exist: choose {group}={'|'.join(options)}{nearest(choice, options)}"
        if isinstance(cause, StableRNNError):
            return str(cause)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    text = str(error)
    unknown = re.search(r"Could not override '([^']+)'", text)
    if unknown:
        name = unknown.group(1)
        return f"{name} is not an option{nearest(name, option_names(config_name))}; --help lists the options"
    merged = re.search(r"Error merging override (\S+)", text)
    if merged and error.__cause__ is not None:
        reason = str(error.__cause__).splitlines()[0]
        wanted = next((words for ending, words in _WANTED.items() if re.search(ending, reason)), None)
        return f"{merged.group(1)} must be {wanted}" if wanted else f"{merged.group(1)}: {reason}"
    several = re.search(r"Ambiguous value for argument '([^=']+)=([^']*)'", text)
    if several:
        name, values = several.groups()
        sweep = "to train one run for each add -m, and " if config_name == "train" else ""
        return f"{name}={values} gives several values: {sweep}a list is written {name}=[{values}]"
    if isinstance(error, OverrideParseException):
        return f"cannot read the override {error.override!r}: write option=value"
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())


def nearest(name: str, candidates: Iterable[str]) -> str:
    """The end of a message on a name that does not exist: which one may be meant; empty where none is like it."""
    near = difflib.get_close_matches(name, [c for c in candidates if not c.endswith("_")], n=1, cutoff=0.75)
    return f"; did you mean {near[0]}?" if near else ""


def option_names(config_name: str) -> list[str]:
    """Every option and group of a configuration at its defaults, as dotted names."""
    config = compose(config_name, [])

    def walk(node: object, path: str) -> list[str]:
        if isinstance(node, dict):
            below = [name for key, value in node.items() for name in walk(value, f"{path}.{key}" if path else str(key))]
            return [path, *below] if path else below
        return [path]

    groups = [path.name for path in _composed_from.iterdir() if path.is_dir()] if config_name == "train" else []
    return [*walk(OmegaConf.to_container(config, resolve=False), ""), *groups]
