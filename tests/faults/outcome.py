"""What two runs of one configuration must share, bit for bit."""

from pathlib import Path

import torch

from stablernn.records.record import RECORD_FILE, read_record
from stablernn.training import checkpoint
from stablernn.utils.errors import StableRNNError

_OF_THE_CLOCK = ("seconds", "training_seconds")


def difference(runs: Path, reference: Path) -> str:
    """How the runs below ``runs`` differ from those below ``reference``; "" if in nothing."""
    for whole in sorted(path.parent for path in reference.glob(f"*/{RECORD_FILE}")):
        found = _difference(runs / whole.name, whole)
        if found:
            return found
    return ""


def check_whole(runs: Path) -> None:
    """Everything that has its final name can be read, whatever moment the process was killed at."""
    for path in runs.glob("*/*.safetensors"):
        checkpoint.load(path)
    for path in runs.glob(f"*/{RECORD_FILE}"):
        read_record(path.parent)


def updates(runs: Path) -> dict[str, int]:
    """Updates that the checkpoint of each run holds."""
    return {
        path.parent.name: checkpoint.load(path)[1]["counters"]["update"] for path in runs.glob(f"*/{checkpoint.LAST}")
    }


def _difference(folder: Path, whole: Path) -> str:
    try:
        ours, theirs = read_record(folder), read_record(whole)
    except StableRNNError as error:
        return f"lost: {error}"
    for name in ("id", "status", "config", "data", "model", "certificate", "metrics", "progress", "history", "blocks"):
        if getattr(ours, name) != getattr(theirs, name):
            return f"{name} of {folder.name} differs"
    for path in whole.rglob("*.safetensors"):
        name = path.relative_to(whole)
        saved, expected = checkpoint.load(folder / name), checkpoint.load(path)
        if saved[0].keys() != expected[0].keys() or _timeless(saved[1]) != _timeless(expected[1]):
            return f"{name} of {folder.name} holds other values"
        if not all(torch.equal(saved[0][key], expected[0][key]) for key in saved[0]):
            return f"{name} of {folder.name} holds other weights"
    left = [path.name for path in folder.rglob(".*.part")]
    return f"{left} was left behind" if left else ""


def _timeless(values: dict) -> dict:
    counters = {name: value for name, value in values.get("counters", {}).items() if name not in _OF_THE_CLOCK}
    return values | {"counters": counters}
