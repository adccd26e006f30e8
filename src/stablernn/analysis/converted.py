"""A converted model in its folder: weights without pickle, and a description that is read but never executed."""

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from stablernn.config import check_targets
from stablernn.errors import CheckpointError, ConfigurationError, RecordError
from stablernn.files import write_json
from stablernn.models.cells import Cell
from stablernn.models.language_model import SequenceModel
from stablernn.models.truncated import FeedForward
from stablernn.models.unroll import Backbone
from stablernn.record import Record
from stablernn.stability.constraints import Constraint
from stablernn.training import checkpoint
from stablernn.training.run import build

DESCRIPTION = "feedforward.json"
WEIGHTS = "model.safetensors"
SCHEMA = 1
# All that is ever made of a description, and what each must turn out to be.
_MADE = {"model.cell": Cell, "approximation.backbone": Backbone, "stability.constraint": Constraint}
_SIZES = ("model.embedding_size", "model.hidden_size", "model.num_layers", "truncation.k")


def feedforward_config(record: Record, k: int) -> dict[str, Any]:
    """What builds the model: the run's configuration with ``approximation=feedforward truncation.k=k``."""
    kept = {name: record.config[name] for name in ("seed", "model", "stability", "approximation")}
    target = f"{FeedForward.__module__}.{FeedForward.__name__}"
    backbone = {"_target_": target, "_partial_": True, "k": k}
    approximation = kept["approximation"] | {"name": "feedforward", "backbone": backbone}
    return kept | {"truncation": {"k": k}, "approximation": approximation}


def save_weights(folder: Path, model: SequenceModel, run: str) -> None:
    """Write the weights; they count once a description names them."""
    checkpoint.save(folder / WEIGHTS, checkpoint.model_tensors(model), {"run": run})


def describe(folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``values`` (with ``config`` and ``types``) as the description, with size and hash of each file."""
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": _digest(path)}
        for path in sorted(folder.iterdir())
        if path.name != DESCRIPTION
    }
    whole = {"schema": SCHEMA, **values, "files": files}
    write_json(folder / DESCRIPTION, whole)
    return whole


def load_converted(folder: Path, device: torch.device | str = "cpu") -> SequenceModel:
    """The feed-forward model of a folder that ``scripts/convert.py`` wrote, ready to score.

    Nothing of the folder is executed: its description may name classes of this package alone, and only such as make a
    cell, a backbone and a constraint.

    Raises:
        RecordError: the folder is not such a one, is of another version, or is damaged.
    """
    path = folder / DESCRIPTION
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["schema"] != SCHEMA:
            raise RecordError(
                f"{path} has schema {values['schema']}, this version reads {SCHEMA}: convert the run again"
            )
        if _digest(folder / WEIGHTS) != values["files"][WEIGHTS]["sha256"]:
            raise RecordError(f"{folder / WEIGHTS} is not the file that {DESCRIPTION} describes: convert the run again")
        types = values["types"]
        config = _checked(OmegaConf.create(values["config"]), types)
        config.device, config.precision = str(device), "float32"
        with torch.random.fork_rng(devices=[]):
            model, _ = build(config, types)
        tensors, _ = checkpoint.load(folder / WEIGHTS)
        checkpoint.load_model(model, tensors)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, CheckpointError, ConfigurationError) as error:
        raise RecordError(f"{folder} is not a whole converted model ({error}): convert the run again") from None
    return model.eval()


def _checked(config: Any, types: Any) -> DictConfig:
    """The configuration, unless ``build`` could execute something of it or choke on it."""
    if not isinstance(config, DictConfig):
        raise ConfigurationError("its configuration is not a mapping")
    for option, value in _values(OmegaConf.to_container(config, resolve=False), ""):
        if isinstance(value, str) and "${" in value:
            raise ConfigurationError(f"{option}={value} is not resolved")
        parent, _, name = option.rpartition(".")
        special = name.startswith("_") and (name not in ("_target_", "_partial_") or parent not in _MADE)
        if special or any(part.startswith("_") for part in parent.split(".")):
            raise ConfigurationError(f"{option} is not an option of a converted model")
    for option, kind in _MADE.items():
        _check_target(f"{option}._target_", OmegaConf.select(config, f"{option}._target_"), kind)
        check_targets(OmegaConf.select(config, option), option)
    for option, value in [("types", types), *((option, OmegaConf.select(config, option)) for option in _SIZES)]:
        if type(value) is not int or value < 1:
            raise ConfigurationError(f"{option}={value} must be a whole number >= 1")
    return config


def _check_target(option: str, target: Any, kind: type) -> None:
    """A name that begins with this package may still lead out of it, to a module that one of ours imports."""
    package = __name__.partition(".")[0]
    if not isinstance(target, str) or not target.startswith(f"{package}."):
        raise ConfigurationError(f"{option}={target} lies outside {package}: it is not imported")
    try:
        found = get_object(target)
    except Exception:
        raise ConfigurationError(f"{option}={target} does not exist") from None
    if not inspect.isclass(found) or not issubclass(found, kind) or not found.__module__.startswith(f"{package}."):
        raise ConfigurationError(f"{option}={target} is not a {kind.__name__} of {package}")


def _values(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings and lists with their dotted names."""
    if not isinstance(node, dict | list):
        yield path, node
        return
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        yield from _values(value, f"{path}.{key}" if path else str(key))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
