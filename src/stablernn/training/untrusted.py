"""Configurations that come out of a folder: read, but never able to execute anything."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch.optim import Optimizer

from stablernn.config.targets import find_target
from stablernn.config.validate import check_targets, network_option
from stablernn.models.backbone import Backbone
from stablernn.models.cells.base import Cell
from stablernn.models.heads.base import Head
from stablernn.stability.constraints.base import Constraint
from stablernn.tasks.splits import DataSet
from stablernn.utils.errors import ConfigurationError

# All that is ever made of such a configuration, and what each must turn out to be.
MODEL = {
    "model.cell": Cell,
    "model.backbone": Backbone,
    "model.backbone.cell": Cell,
    "approximation.backbone": Backbone,
    "stability.constraint": Constraint,
    "head.softmax": Head,
}
RUN = MODEL | {"dataset": DataSet, "optimizer": Optimizer}
_OPTIONAL = ("head.softmax", "model.cell", "model.backbone", "model.backbone.cell")  # the first head; one of the two
_SIZES = ("model.embedding_size", "model.hidden_size", "model.num_layers", "truncation.k")


def checked(values: Any, made: Mapping[str, type]) -> DictConfig:
    """``values`` as a configuration, unless building a model of it could execute something or choke on it.

    Raises:
        ConfigurationError: it is not resolved, or an option is not what it must be.
    """
    if not isinstance(values, dict):
        raise ConfigurationError("its configuration is not a mapping")
    for option, value in _leaves(values, ""):
        if isinstance(value, str) and ("${" in value or value == "???"):
            raise ConfigurationError(f"{option}={value} is not resolved")
        parent, _, name = option.rpartition(".")
        special = name.startswith("_") and (name not in ("_target_", "_partial_") or parent not in made)
        if special or any(part.startswith("_") for part in parent.split(".")):
            raise ConfigurationError(f"{option} is not an option of a trained model")
    try:
        config = OmegaConf.create(values)
        for option, kind in made.items():
            if option in _OPTIONAL and OmegaConf.select(config, option) is None:
                continue
            _check_kind(f"{option}._target_", OmegaConf.select(config, f"{option}._target_"), kind)
            check_targets(OmegaConf.select(config, option), option)
        network_option(config)
        sizes = [(option, OmegaConf.select(config, option)) for option in _SIZES]
    except OmegaConfBaseException as error:
        raise ConfigurationError(str(error).splitlines()[0]) from None
    for option, value in sizes:
        # Frames are not embedded, and layers may follow from k.
        if option not in ("model.embedding_size", "model.num_layers") or value is not None:
            check_size(option, value)
    return config


def check_classes(config: DictConfig) -> None:
    """Refuse a configuration of a run that names a class of another kind than an option takes."""
    for option, kind in RUN.items():
        name = OmegaConf.select(config, f"{option}._target_")
        if name is not None:
            _check_kind(f"{option}._target_", name, kind)


def check_size(option: str, value: Any) -> None:
    """Raises ConfigurationError unless ``value`` is a whole number above zero."""
    if type(value) is not int or value < 1:
        raise ConfigurationError(f"{option}={value} must be a whole number >= 1")


def _check_kind(option: str, name: Any, kind: type) -> None:
    target = find_target(option, name)
    if not inspect.isclass(target) or not issubclass(target, kind):
        raise ConfigurationError(f"{option}={name} is no {kind.__name__} of this package ({kind.__module__})")


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings and lists with their dotted names."""
    if not isinstance(node, dict | list):
        yield path, node
        return
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        yield from _leaves(value, f"{path}.{key}" if path else str(key))
