"""analysis=weight_distance: how far the recurrent matrices of k-truncated models come apart (claim C3)."""

import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from stablernn.analysis.estimate import Subject
from stablernn.records.record import RECORD_FILE, Record, read_run
from stablernn.training.checkpoint import load_snapshots
from stablernn.training.trained import Trained
from stablernn.utils.console import warn_once
from stablernn.utils.errors import ConfigurationError, RecordError
from stablernn.utils.timing import seconds_of


@dataclass(frozen=True)
class WeightDistance:
    """‖W_k - W_reference‖_F through training, of runs that differ in k alone: same initial weights, same batches.

    Args:
        reference: the k that the others are held against.
    """

    reference: int = 65
    name: ClassVar[str] = "weight_distance"
    needs: ClassVar[tuple[str, ...]] = ("cells",)

    def __post_init__(self) -> None:
        if self.reference < 1:
            raise ConfigurationError(f"analysis.reference={self.reference} must be a whole number >= 1")

    @property
    def options(self) -> dict[str, Any]:
        return asdict(self)

    def seconds(self, subject: Subject) -> float:
        """About how long a run takes, by reading its snapshots; raises RecordError before there are any."""
        if not isinstance(subject, Trained):
            raise RecordError("no snapshots of its weights yet")
        return 2 * seconds_of(lambda: _matrices(subject.folder), subject.device)

    def __call__(self, trained: Trained) -> dict[str, Any]:
        """Raises RecordError if there is no run at the reference k, or one of the two left no snapshots."""
        reference = self._reference(trained)
        ours, theirs = _matrices(trained.folder), _matrices(reference)
        updates = [update for update in ours if update in theirs]
        start = theirs[min(theirs)]
        return {
            "reference_run": reference.name,
            "updates": updates,
            "distance": [_norm(ours[update] - theirs[update]) for update in updates],
            "reference_norm": [_norm(theirs[update]) for update in updates],
            "reference_moved": [_norm(theirs[update] - start) for update in updates],
        }

    def _reference(self, trained: Trained) -> Path:
        wanted = _at(trained.record, self.reference)
        for path in sorted(trained.folder.parent.glob(f"*/{RECORD_FILE}")):
            try:
                record = read_run(path.parent)
            except RecordError as error:
                warn_once(f"left out: {error}")
                continue
            if record.config == wanted:
                return path.parent
        raise RecordError(
            f"{trained.record.id}: no run beside it that differs in truncation.k={self.reference} alone; "
            "train one, or name another k by analysis.reference=..."
        )


def _at(record: Record, k: int) -> dict[str, Any]:
    """The configuration of a run at another k."""
    config = copy.deepcopy(record.config)
    config["truncation"]["k"] = k
    if "k" in config["approximation"]["backbone"]:
        config["approximation"]["backbone"]["k"] = k
    return config


def _matrices(folder: Path) -> dict[int, torch.Tensor]:
    """All recurrent matrices of each snapshot, as one vector in float64."""
    results = {
        update: torch.cat([matrix.double().flatten() for matrix in matrices.values()])
        for update, matrices in load_snapshots(folder)
    }
    if not results:
        raise RecordError(f"{folder} has no snapshots of its weights: train with training.snapshot_every=...")
    return results


def _norm(vector: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(vector))
