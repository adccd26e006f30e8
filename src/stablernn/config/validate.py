"""Refusing a configuration that no run can be made of: every error names the option and what it takes."""

import dataclasses
import inspect
import re
import typing

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stablernn.config.compose import nearest
from stablernn.config.schema import DECAYS, Config
from stablernn.config.signatures import fits, hints
from stablernn.config.targets import find_target, targets
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.escaping import visible
from stablernn.utils.names import LONGEST_NAME, is_name

_MADE = ("dataset", "stability.constraint", "approximation.backbone", "optimizer", "tracking")
# Parts of run folders, of the files of reports, and of labels and cells in them.
_NAMES = ("dataset.name", "model.name", "head.name", "stability.name", "approximation.name", "profile.name")
_PRECISIONS = ("auto", "float32", "mixed", "bf16")
_AT_LEAST_ONE = (
    "truncation.k",
    "approximation.window",
    "model.embedding_size",
    "model.hidden_size",
    "model.num_layers",
    "training.epochs",
    "training.max_updates",
    "training.max_tokens",
    "training.batch_size",
    "training.accumulate",
    "training.evaluate_every",
    "training.early_stop",
    "training.log_every",
    "training.snapshot_every",
    "training.keep_every",
    "training.pause_after",
    "training.anneal_from",
    "training.warm_up",
    "training.sampling.half",
    "threads",
)
_RANGES = (
    ("model.dropout", 0, 1),
    ("seed", 0, 2**63),
    ("training.clip", 1e-12, float("inf")),
    ("training.annealing", 1, float("inf")),
    ("training.sampling.least", 0, 1),
    ("training.checkpoint_seconds", 0, float("inf")),
)


def check(config: DictConfig) -> None:
    """Refuse a configuration that no run can be made of, before anything is loaded or written.

    Raises:
        ConfigurationError: names the option and what it takes.
    """
    try:
        _check(config)
    except OmegaConfBaseException as error:  # an interpolation that leads nowhere
        name = getattr(error, "full_key", None)
        raise ConfigurationError(f"{name}: {str(error).splitlines()[0]}" if name else str(error)) from None


def check_nothing_missing(config: DictConfig) -> None:
    """Raises ConfigurationError with the name of an option that has to be given and is not; a run has no id before."""
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise ConfigurationError(f"{missing[0]} is not set: give it a value, as in {missing[0]}=...")


def _check(config: DictConfig) -> None:
    check_known(config, Config)
    for option in (*_MADE, network_option(config)):
        node = OmegaConf.select(config, option)
        if not isinstance(node, DictConfig) or "_target_" not in node:
            raise ConfigurationError(f"{option}={node} is not a mapping with a _target_: choose one of conf/")
    check_nothing_missing(config)
    if OmegaConf.select(config, "model.backbone") is not None and config.training.snapshot_every is not None:
        raise ConfigurationError(
            f"training.snapshot_every copies recurrent matrices, and model={config.model.name} has none: set it to null"
        )
    _check_directions(config)
    for option in _NAMES:
        check_name(option, OmegaConf.select(config, option))
    if config.truncation.k is None:
        raise ConfigurationError(
            f"truncation.k is not set: approximation={config.approximation.name} needs a whole number >= 1, "
            "as in truncation.k=35"
        )
    for option in _AT_LEAST_ONE:
        value = OmegaConf.select(config, option)
        if value is not None and value < 1:
            raise ConfigurationError(f"{option}={value} must be a whole number >= 1")
    for option, low, high in _RANGES:
        value = OmegaConf.select(config, option)
        if not low <= value < high:
            raise ConfigurationError(f"{option}={value} must lie in [{low}, {high})")
    decay = config.training.sampling.decay
    if decay is not None and decay not in DECAYS:
        raise ConfigurationError(
            f"training.sampling.decay={decay} is unknown: choose {', '.join(DECAYS)}, or null for true inputs"
        )
    lr = OmegaConf.select(config, "optimizer.lr")
    if not isinstance(lr, int | float) or not 0 < lr < float("inf"):
        raise ConfigurationError(f"optimizer.lr={lr} must be a positive number")
    if config.device not in ("auto", "cpu") and not config.device.startswith("cuda"):
        raise ConfigurationError(f"device={config.device} is unknown: choose auto, cpu, cuda or cuda:N")
    if config.precision not in _PRECISIONS:
        raise ConfigurationError(f"precision={config.precision} is unknown: choose {', '.join(_PRECISIONS)}")
    check_targets(config)


def _check_directions(config: DictConfig) -> None:
    """Raises ConfigurationError for what has no meaning where a model reads in both directions."""
    name, directions = config.model.name, config.model.directions
    if directions not in (1, 2):
        raise ConfigurationError(f"model.directions={directions}: choose 1, or 2 to read backwards as well")
    if directions == 1:
        return
    if config.model.backbone is not None:
        raise ConfigurationError(f"model.directions=2 doubles recurrent cells, and model={name} has none: set it to 1")
    refused = {
        "training.sampling.decay": "what reads its own outputs reads in one direction",
        "training.snapshot_every": "the matrices of one direction are copied",
        "approximation.backbone.recompute": "it is for one direction",
    }
    for option, reason in refused.items():
        if value := OmegaConf.select(config, option):
            raise ConfigurationError(f"{option}={value}: {reason}, and model={name} reads in both: leave it out")


def network_option(config: DictConfig) -> str:
    """The option that makes the network between input layer and head.

    Raises:
        ConfigurationError: there are both or none, what has no cells is to be truncated, or what has an option ``k``,
            and so is feed-forward by construction, is to be recurrent.
    """
    given = [option for option in ("model.cell", "model.backbone") if OmegaConf.select(config, option) is not None]
    if len(given) != 1:
        which = "both model.cell and model.backbone: it takes one of them" if given else "neither cell nor backbone"
        raise ConfigurationError(f"model={config.model.name} has {which}")
    approximation, name = config.approximation.name, config.model.name
    if given == ["model.backbone"] and "k" in config.model.backbone:
        if approximation != "feedforward":
            raise ConfigurationError(
                f"approximation={approximation}: model={name} is feed-forward by construction, of truncation.k inputs: "
                "leave approximation out"
            )
    elif given == ["model.backbone"] and approximation != "recurrent":
        raise ConfigurationError(
            f"approximation={approximation} truncates a stack of recurrent cells, and model={name} is none: choose "
            "approximation=recurrent, which takes a network as it is"
        )
    elif given == ["model.cell"] and config.model.num_layers is None:
        raise ConfigurationError(f"model.num_layers is not set: model={name} needs a whole number >= 1")
    return given[0]


def check_name(option: str, value: object) -> None:
    """Raises ConfigurationError unless ``value`` may be a part of a path and of a label."""
    if not is_name(value):
        raise ConfigurationError(
            f"{option}={visible(str(value))[:LONGEST_NAME]} must be a word of letters, digits, -, _, . and +, which "
            f"begins with a letter, a digit or _ and has at most {LONGEST_NAME}"
        )


def check_known(node: DictConfig, kind: type, path: str = "") -> None:
    """Refuse, by a ConfigurationError, an option that is gone or that nobody reads (``+option=value`` adds any)."""
    known = {f.name: f.type for f in dataclasses.fields(kind)}
    gone = [name for name in known if OmegaConf.is_dict(node) and name not in node.keys()]  # noqa: SIM118 (??? is a key)
    if gone or not OmegaConf.is_dict(node) or node._is_none():
        name = f"{path}{gone[0]}" if gone else path.rstrip(".")
        raise ConfigurationError(f"{name} is not set: give it a value, as in {name}=...")
    for key in node:
        name = str(key)
        if name not in known:
            hint = nearest(f"{path}{name}", (f"{path}{option}" for option in known))
            raise ConfigurationError(f"{path}{name} is not an option{hint}")
        if dataclasses.is_dataclass(known[name]):
            check_known(node[name], typing.cast(type, known[name]), f"{path}{name}.")


def check_targets(node: DictConfig, path: str = "") -> None:
    """Refuse, by a ConfigurationError, options of a ``_target_`` that it does not take, or of another type."""
    for option, given in targets(node, path):
        target = find_target(f"{option}._target_", given["_target_"])
        parameters, wants = inspect.signature(target).parameters, hints(target)
        open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
        for name in map(str, given):
            if name in ("_target_", "_partial_", "_recursive_", "_convert_"):
                continue
            value, wanted = given[name], wants.get(name)
            if name not in parameters and not open_ended:
                known = ", ".join(parameters) or "no options"
                hint = nearest(name, parameters)
                raise ConfigurationError(f"{option}.{name} is not an option{hint}: {target.__name__} takes {known}")
            if name in wants and not fits(value, wanted):
                shown = (
                    re.sub(r"\w+\.", "", str(wanted))
                    if typing.get_args(wanted)
                    else getattr(wanted, "__name__", wanted)
                )
                written = "null" if value is None else value
                raise ConfigurationError(f"{option}.{name}={written} is not of the type that it takes, {shown}")
