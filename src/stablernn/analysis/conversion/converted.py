"""A converted model in its folder: weights without pickle, and a description that is read but never executed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from stablernn.models.feed_forward import FeedForward
from stablernn.models.sequence_model import Frames, SequenceModel
from stablernn.records import schemas
from stablernn.records.record import Record
from stablernn.stability.constraints.base import Unconstrained
from stablernn.tasks.base import Interface
from stablernn.training import checkpoint
from stablernn.training.build import build
from stablernn.training.untrusted import MODEL, check_size, checked
from stablernn.utils.errors import CheckpointError, ConfigurationError, DamagedFileError, RecordError
from stablernn.utils.files import file_digest, read_json, write_json

DESCRIPTION = "feedforward.json"
WEIGHTS = "model.safetensors"
VOCABULARY = "vocabulary.txt"  # a type a line, in the order of ids
SCHEMA = 2
_OURS = (CheckpointError, ConfigurationError, DamagedFileError)


def feedforward_config(record: Record, k: int) -> dict[str, Any]:
    """What builds the model: the run's configuration with ``approximation=feedforward truncation.k=k``."""
    config = {name: record.config[name] for name in ("seed", "model", "stability", "approximation")}
    if "backbone" in config["model"]:
        return config | {"truncation": {"k": k}}
    target = f"{FeedForward.__module__}.{FeedForward.__name__}"
    backbone = {"_target_": target, "_partial_": True, "k": k}
    approximation = config["approximation"] | {"name": "feedforward", "backbone": backbone}
    return config | {"truncation": {"k": k}, "approximation": approximation}


def own_config(model: SequenceModel, k: int) -> dict[str, Any]:
    """The same for a model that no run of this package trained."""

    def target(kind: type) -> dict[str, Any]:
        return {"_target_": f"{kind.__module__}.{kind.__qualname__}"}

    cell = model.cells[0]
    tied = getattr(model.objective, "weight", None) is getattr(model.inputs, "weight", cell)
    return {
        "seed": 0,
        "model": {
            "name": type(cell).__name__,
            "cell": {**target(type(cell)), "_partial_": True},
            "embedding_size": None if isinstance(model.inputs, Frames) else cell.input_size,
            "hidden_size": cell.hidden_size,
            "num_layers": len(model.cells),
            "dropout": 0.0,
            "tied": tied,
        },
        "stability": {"name": "unstable", "constraint": target(Unconstrained)},
        "approximation": {"name": "feedforward", "backbone": {**target(FeedForward), "_partial_": True, "k": k}},
        "truncation": {"k": k},
    }


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

    >>> import os, tempfile, stablernn, torch
    >>> model = stablernn.from_torch(torch.nn.Embedding(11, 4), torch.nn.RNN(4, 5), torch.nn.Linear(5, 11))
    >>> examination = stablernn.examine(model, torch.randint(11, (200,)), k_max=8, seconds=0.01, positions=8)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = examination.export(os.path.join(folder, "feedforward"), k=3, formats=())
    ...     stablernn.load_converted(written).backbone.k
    3
    """
    folder = Path(folder)
    path = folder / DESCRIPTION
    try:
        values = read_json(path)
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
