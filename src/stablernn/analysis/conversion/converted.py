"""A converted model in its folder: weights without pickle, and a description that is read but never executed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from stablernn.models.feed_forward import FeedForward
from stablernn.models.sequence_model import SequenceModel
from stablernn.records import schemas
from stablernn.records.record import Record
from stablernn.tasks.base import Interface
from stablernn.training import checkpoint
from stablernn.training.build import build
from stablernn.training.untrusted import MODEL, check_size, checked
from stablernn.utils.errors import CheckpointError, ConfigurationError, DamagedFileError, RecordError
from stablernn.utils.files import file_digest, read_json, write_json

DESCRIPTION = "feedforward.json"
WEIGHTS = "model.safetensors"
SCHEMA = 1
_OURS = (CheckpointError, ConfigurationError, DamagedFileError)


def feedforward_config(record: Record, k: int) -> dict[str, Any]:
    """What builds the model: the run's configuration with ``approximation=feedforward truncation.k=k``."""
    config = {name: record.config[name] for name in ("seed", "model", "stability", "approximation")}
    target = f"{FeedForward.__module__}.{FeedForward.__name__}"
    backbone = {"_target_": target, "_partial_": True, "k": k}
    approximation = config["approximation"] | {"name": "feedforward", "backbone": backbone}
    return config | {"truncation": {"k": k}, "approximation": approximation}


def save_weights(folder: Path, model: SequenceModel, run: str) -> None:
    """Write the weights; they count once a description names them."""
    checkpoint.save(folder / WEIGHTS, checkpoint.model_tensors(model), {"run": run})


def describe(folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``values``, with the ``config``, and ``types`` or ``interface``, beside size and hash of each file."""
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": file_digest(path)}
        for path in sorted(folder.iterdir())
        if path.name != DESCRIPTION
    }
    whole = {"schema": SCHEMA, **values, "files": files}
    write_json(folder / DESCRIPTION, whole)
    return whole


def load_converted(folder: Path | str, device: torch.device | str = "cpu") -> SequenceModel:
    """The feed-forward model of a folder that ``scripts/convert.py`` wrote, ready to score.

    Nothing of the folder is executed: its description may name classes of this package alone, and only such as make a
    cell, a backbone and a constraint. Log-probabilities of inputs x, (T, B) or (T, B, E)::

        features, state = model(x, model.initial_state(x.shape[1]))
        nats = model.objective.distribution(features)

    Raises:
        RecordError: the folder is not such a one, is of another version, or is damaged.
    """
    folder = Path(folder)
    path = folder / DESCRIPTION
    try:
        values = read_json(path, unsealed=True)
        if values["schema"] != SCHEMA:
            raise RecordError(
                f"{path} has schema {values['schema']}, this version reads {SCHEMA}: convert the run again"
            )
        if file_digest(folder / WEIGHTS) != values["files"][WEIGHTS]["sha256"]:
            raise RecordError(f"{folder / WEIGHTS} is not the file that {DESCRIPTION} describes: convert the run again")
        schemas.check(values, schemas.CONVERTED)
        if "interface" not in values:
            check_size("types", values["types"])
        config = checked(values["config"], MODEL)
        config.device, config.precision = str(device), "float32"
        with torch.random.fork_rng(devices=[]):
            model, _ = build(config, Interface.of_record(values))
        tensors, _ = checkpoint.load(folder / WEIGHTS)
        checkpoint.load_model(model, tensors)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, *_OURS) as error:
        raise RecordError(f"{folder} is not a whole converted model ({error}): convert the run again") from None
    return model.eval()
