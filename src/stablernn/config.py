"""The typed configuration: what every option is, which of them make a run what it is, and the run's id."""

import dataclasses
import difflib
import hashlib
import inspect
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from stablernn.errors import ConfigurationError, StableRNNError
from stablernn.signatures import as_taken, fits, hints
from stablernn.targets import find_target, targets


@dataclass
class Truncation:
    k: int | None = MISSING


@dataclass
class Model:
    name: str = MISSING
    cell: dict[str, Any] = MISSING
    embedding_size: int = MISSING
    hidden_size: int = MISSING
    num_layers: int = MISSING
    dropout: float = MISSING
    tied: bool = MISSING
    learning_rate: float = MISSING


@dataclass
class Head:
    name: str = MISSING
    softmax: dict[str, Any] = MISSING


@dataclass
class Stability:
    name: str = MISSING
    constraint: dict[str, Any] = MISSING


@dataclass
class Approximation:
    name: str = MISSING
    window: int = MISSING
    backbone: dict[str, Any] = MISSING


@dataclass
class Training:
    epochs: int = MISSING
    max_updates: int | None = None
    max_tokens: int | None = None
    batch_size: int = MISSING
    accumulate: int = 1
    clip: float = MISSING
    annealing: float = MISSING
    evaluate_every: int | None = None
    early_stop: int = MISSING
    log_every: int = MISSING
    checkpoint_seconds: float = MISSING
    snapshot_every: int | None = None
    keep_every: int | None = None
    pause_after: int | None = None


@dataclass
class Profile:
    name: str = MISSING


@dataclass
class Config:
    """Root of the configuration; conf/train.yaml says what each option does."""

    seed: int = MISSING
    truncation: Truncation = field(default_factory=Truncation)
    dataset: dict[str, Any] = MISSING
    model: Model = field(default_factory=Model)
    head: Head = field(default_factory=Head)
    stability: Stability = field(default_factory=Stability)
    approximation: Approximation = field(default_factory=Approximation)
    optimizer: dict[str, Any] = MISSING
    training: Training = field(default_factory=Training)
    profile: Profile = field(default_factory=Profile)
    tracking: dict[str, Any] = MISSING
    experiment_name: str = MISSING
    runs: str = MISSING
    device: str = MISSING
    precision: str = MISSING
    threads: int | None = None
    progress: bool = MISSING


# Where it runs, how it is watched and what it is called do not change the result.
_NOT_IDENTITY = (
    "runs",
    "device",
    "threads",
    "progress",
    "tracking",
    "experiment_name",
    "dataset.path",
    "model.learning_rate",  # only a default for optimizer.lr, which counts
    "training.log_every",
    "training.checkpoint_seconds",
    "training.keep_every",
    "training.accumulate",
    "training.pause_after",  # only where it waits to be gone on with
    "approximation.backbone.recompute",
)
_NOT_IDENTITY_IF_NULL = ("training.max_tokens", "training.snapshot_every")  # as if the option did not exist
# So is the head that every run had before there was a choice.
_FIRST_HEAD = {"name": "full", "softmax": {"_target_": "stablernn.models.softmax.FullSoftmax", "_partial_": True}}


def register() -> None:
    """Make the schema known to Hydra as ``schema``, the first entry of conf/train.yaml's defaults."""
    ConfigStore.instance().store(name="schema", node=Config)


def identity(config: DictConfig) -> dict[str, Any]:
    """The resolved configuration without what cannot change the result, every number as what takes it reads it."""
    resolved = _as_taken(OmegaConf.to_container(config, resolve=True))
    for option in (*_NOT_IDENTITY, *_NOT_IDENTITY_IF_NULL):
        *parents, last = option.split(".")
        node: Any = resolved
        for parent in parents:
            node = node[parent]
        if option in _NOT_IDENTITY or node.get(last) is None:
            node.pop(last, None)
    if resolved["head"] == _FIRST_HEAD:
        del resolved["head"]
    return typing.cast(dict[str, Any], resolved)


def digest(identity: Mapping[str, Any]) -> str:
    """A hash of an ``identity``, also of one that lies in a record, with every number as it is read today."""
    return hashlib.sha256(json.dumps(_as_taken(identity), sort_keys=True).encode()).hexdigest()[:8]


def _as_taken(node: Any) -> Any:
    """``signatures.as_taken`` for the options of every ``_target_`` below a resolved node."""
    if not isinstance(node, dict):
        return node
    taken = {key: _as_taken(value) for key, value in node.items()}
    if "_target_" not in node:
        return taken
    try:
        wants = hints(find_target("_target_", node["_target_"]))
    except ConfigurationError:  # it is for ``check`` to refuse it
        return taken
    return {key: as_taken(value, wants.get(key)) for key, value in taken.items()}


def run_id(config: DictConfig) -> str:
    """A readable prefix and the digest of ``identity``."""
    return (
        f"{config.dataset.name}-{config.model.name}-{config.stability.name}-{config.approximation.name}"
        f"-k{config.truncation.k}-s{config.seed}-{digest(identity(config))}"
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


def _check(config: DictConfig) -> None:
    _check_known(config, Config, "")
    for option in _MADE:
        node = OmegaConf.select(config, option)
        if not isinstance(node, DictConfig) or "_target_" not in node:
            raise ConfigurationError(f"{option}={node} is not a mapping with a _target_: choose one of conf/")
    if not isinstance(config.dataset.get("name"), str):
        raise ConfigurationError(f"dataset.name={config.dataset.get('name')} must be a word")
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise ConfigurationError(f"{missing[0]} is not set: give it a value, as in {missing[0]}=...")
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
    lr = OmegaConf.select(config, "optimizer.lr")
    if not isinstance(lr, int | float) or not lr > 0:
        raise ConfigurationError(f"optimizer.lr={lr} must be a positive number")
    if config.device not in ("auto", "cpu") and not config.device.startswith("cuda"):
        raise ConfigurationError(f"device={config.device} is unknown: choose auto, cpu, cuda or cuda:N")
    if config.precision not in _PRECISIONS:
        raise ConfigurationError(f"precision={config.precision} is unknown: choose {', '.join(_PRECISIONS)}")
    check_targets(config)


_MADE = ("dataset", "model.cell", "stability.constraint", "approximation.backbone", "optimizer", "tracking")
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
    "threads",
)
_RANGES = (
    ("model.dropout", 0, 1),
    ("seed", 0, 2**63),
    ("training.clip", 1e-12, float("inf")),
    ("training.annealing", 1, float("inf")),
    ("training.checkpoint_seconds", 0, float("inf")),
)


def make(node: DictConfig) -> Any:
    """``hydra.utils.instantiate`` of what ``stablernn.targets`` admits, with this package's own errors handed on."""
    for option, target in targets(node):
        find_target(f"{option}._target_".lstrip("."), target["_target_"])
    try:
        return instantiate(node)
    except InstantiationException as error:
        if isinstance(error.__cause__, StableRNNError):
            raise error.__cause__ from None
        raise ConfigurationError(str(error).replace("\n", " ")) from error


def _check_known(node: DictConfig, kind: type, path: str) -> None:
    """Hydra's ``+option=value`` adds whatever it is given; an option that nobody reads is a mistake."""
    known = {f.name: f.type for f in dataclasses.fields(kind)}
    gone = [name for name in known if OmegaConf.is_dict(node) and name not in node.keys()]  # noqa: SIM118 (??? is a key)
    if gone or not OmegaConf.is_dict(node) or node._is_none():
        name = f"{path}{gone[0]}" if gone else path.rstrip(".")
        raise ConfigurationError(f"{name} is not set: give it a value, as in {name}=...")
    for key in node:
        name = str(key)
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {path}{near[0]}?" if near else ""
            raise ConfigurationError(f"{path}{name} is not an option{hint}")
        if dataclasses.is_dataclass(known[name]):
            _check_known(node[name], typing.cast(type, known[name]), f"{path}{name}.")


def check_targets(node: DictConfig, path: str = "") -> None:
    """Refuse options of a ``_target_`` that it does not take, or of another type.

    Raises:
        ConfigurationError: names the option and what it takes.
    """
    for option, target in targets(node, path):
        _check_target(option, target)


def _check_target(option: str, node: DictConfig) -> None:
    """The signature of a ``_target_`` is the schema of its options."""
    target = find_target(f"{option}._target_", node["_target_"])
    parameters, wants = inspect.signature(target).parameters, hints(target)
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    for key, value in node.items():
        name = str(key)
        if name in ("_target_", "_partial_", "_recursive_", "_convert_"):
            continue
        if name not in parameters and not open_ended:
            known = ", ".join(parameters) or "no options"
            raise ConfigurationError(f"{option}.{name} is not an option: {target.__name__} takes {known}")
        if name in wants and not fits(value, wants[name]):
            wanted = getattr(wants[name], "__name__", None) or str(wants[name])
            if isinstance(wants[name], types.UnionType):
                wanted = str(wants[name])
            raise ConfigurationError(f"{option}.{name}={value} is not of the type that it takes, {wanted}")
