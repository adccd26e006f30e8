"""Checkpoints: one safetensors file, whole or absent, with the numbers that go with it as JSON in its header.

Nothing is pickled, so reading a checkpoint cannot run code. A checksum in the header covers every tensor and value, so
a checkpoint is read as it was written or not at all.
"""

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from stablernn.models.cells.base import Cell
from stablernn.utils.errors import CheckpointError
from stablernn.utils.files import parse_json, replacing

LAST = "last.safetensors"
BEST = "best.safetensors"
SNAPSHOTS = "snapshots"
KEPT = "kept"
REMEDY = "delete the folder of its run, and the run starts anew"
_UNREADABLE = (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OverflowError, MemoryError)


def save(path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Write named tensors and JSON values in one step.

    Raises:
        StorageError: it cannot be written; an older checkpoint of this name is as it was.
    """
    whole = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    text = json.dumps(values)
    with replacing(path) as temporary:
        try:
            save_file(whole, temporary, metadata={"values": text, "sha256": _digest(whole, text)})
        except SafetensorError as error:  # it says "(os error 28)" for a full disk, and is no OSError
            number = int(match.group(1)) if (match := re.search(r"os error (\d+)", str(error))) else errno.EIO
            raise OSError(number, os.strerror(number)) from error


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors (on the CPU) and values of a checkpoint.

    Raises:
        CheckpointError: the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = dict(file.metadata() or {})
            # Copied, because a tensor that lies in the mapped file is not aligned as PyTorch's own are, and the
            # last bit of a matrix product can depend on that.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (no mapping)
        if header["sha256"] != _digest(tensors, header["values"]):
            raise ValueError("its checksum does not fit")
        values = parse_json(header["values"])
        if not isinstance(values, dict):
            raise ValueError("its values are no mapping")
        return tensors, values
    except _UNREADABLE as error:
        raise CheckpointError(f"{path} is damaged ({error}): {REMEDY}") from None


def _digest(tensors: Mapping[str, Tensor], values: str) -> str:
    """SHA-256 of names, types, shapes and bytes of the tensors, and of the values' text."""
    digest = hashlib.sha256(values.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_run(path: Path, values: Mapping[str, Any], run: str) -> None:
    """Raises CheckpointError if these values do not name the run."""
    if (named := values.get("run")) != run:
        raise CheckpointError(f"{path} is of another run ({named!r:.240}): {REMEDY}")


@contextmanager
def restoring(path: Path) -> Iterator[None]:
    """What is whole but not what this version writes becomes a CheckpointError that names ``path``."""
    try:
        yield
    except (CheckpointError, KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"{path} cannot be resumed from ({error}): {REMEDY}") from None


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name, a tied parameter once."""
    return {f"model.{name}": tensor for name, tensor in _named_tensors(model)}


def _named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    persistent = model.state_dict()
    yield from ((name, buffer) for name, buffer in model.named_buffers() if name in persistent)


@torch.no_grad()
def load_model(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copy what ``model_tensors`` gave into ``model``."""
    for name, parameter in _named_tensors(model):
        saved = tensors.get(f"model.{name}")
        if saved is None or saved.shape != parameter.shape:
            raise CheckpointError(
                f"the checkpoint has no {name} of shape {tuple(parameter.shape)}: it is of another model"
            )
        parameter.copy_(saved)


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's state as named tensors and JSON values."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {"param_groups": state["param_groups"], "state": {}}
    for number, entries in state["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{number}.{name}"] = value
            else:
                values["state"].setdefault(str(number), {})[name] = value
    return tensors, values


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Restore what ``optimizer_state`` gave."""
    state: dict[int, dict[str, Any]] = {int(number): dict(entries) for number, entries in values["state"].items()}
    for key, tensor in tensors.items():
        if key.startswith("optimizer."):
            _, number, name = key.split(".", 2)
            state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": values["param_groups"]})


def file_after(folder: Path, kind: str, update: int) -> Path:
    """Where the recurrent matrices (``SNAPSHOTS``) or all weights (``KEPT``) after an update are."""
    return folder / kind / f"{update:08d}.safetensors"


def recurrent_matrices(cells: Sequence[Cell]) -> dict[str, Tensor]:
    """Those of every layer by name."""
    return {
        f"{layer}.{name}": block for layer, cell in enumerate(cells) for name, block in cell.recurrent_blocks().items()
    }


def load_snapshots(folder: Path) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Update and recurrent matrices of each snapshot of a run, in order."""
    for path in sorted((folder / SNAPSHOTS).glob("*.safetensors")):
        matrices, values = load(path)
        check_run(path, values, folder.absolute().name)
        yield values["update"], matrices
