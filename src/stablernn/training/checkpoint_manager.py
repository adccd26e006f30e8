"""What a run in training leaves in its folder, and how it resumes from there."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stablernn.models.sequence_model import SequenceModel
from stablernn.models.state import rebuild, tensors
from stablernn.records.record import write_history
from stablernn.training import checkpoint
from stablernn.training.schedule import Counters
from stablernn.utils.errors import CheckpointError


@dataclass(eq=False)
class Saves:
    """The checkpoint of a run, its weights at chosen updates and its history.

    Args:
        folder: of the run.
        identity: the run's id, " on ", and the fingerprint of its data; saved with the checkpoint, and one that differs
            is refused on resume. All other weights name the run.
        model, optimizer, generator: whose states are saved, the last one that training draws from.
    """

    folder: Path
    identity: str
    model: SequenceModel
    optimizer: torch.optim.Optimizer
    generator: torch.Generator

    def __post_init__(self) -> None:
        self.device = self.model.device
        self.run = self.identity.partition(" on ")[0]
        self._best: dict[str, Tensor] | None = None
        self._unwritten: int | None = None  # update of best weights that are not on the disk yet

    def checkpoint(self, counters: Counters, state: Any) -> None:
        """All that training resumes from, and the best weights so far."""
        if self._best is not None and self._unwritten is not None:
            self._save(self.folder / checkpoint.BEST, self._best, self._unwritten)
            self._unwritten = None
        optimizer_tensors, optimizer_values = checkpoint.optimizer_state(self.optimizer)
        checkpoint.save(
            self.folder / checkpoint.LAST,
            checkpoint.model_tensors(self.model)
            | optimizer_tensors
            | {f"state.{number}": tensor for number, tensor in enumerate(tensors(state))}
            | {f"random.{self.generator.device.type}": self.generator.get_state()},
            {"identity": self.identity, "counters": asdict(counters), "optimizer": optimizer_values},
        )

    def resume(self, counters: Counters, state: Any) -> tuple[Counters, Any]:
        """The counters and the state of the last checkpoint, the rest of it restored; those given if there is none.

        Raises:
            CheckpointError: it is damaged, or of another run or other data.
        """
        path = self.folder / checkpoint.LAST
        if not path.is_file():
            return counters, state
        saved, values = checkpoint.load(path)
        if values.get("identity") != self.identity:
            raise CheckpointError(f"{path} is of another run or of other data; delete {self.folder} to start it anew")
        with checkpoint.restoring(path):
            checkpoint.load_model(self.model, saved)
            checkpoint.load_optimizer(self.optimizer, saved, values["optimizer"])
            counters = Counters(**values["counters"])
            carried = [saved[f"state.{number}"].to(self.device) for number, _ in enumerate(tensors(state))]
            state = rebuild(state, iter(carried))
            # One that came from another kind of device draws on from its own seed.
            if (name := f"random.{self.generator.device.type}") in saved:
                self.generator.set_state(saved[name])
        return counters, state

    def best(self, update: int) -> None:
        """Keep all weights as those of the best evaluation, on the device: the next checkpoint writes them.

        So those on the disk are the best of the run that resumes there; on a GPU it may come to others.
        """
        self._best = {name: tensor.detach().clone() for name, tensor in checkpoint.model_tensors(self.model).items()}
        self._unwritten = update

    def save(self, update: int) -> None:
        """All weights, beside those of other updates."""
        self._save(
            checkpoint.file_after(self.folder, checkpoint.KEPT, update), checkpoint.model_tensors(self.model), update
        )

    def snapshot(self, update: int) -> None:
        """The recurrent matrices; the same update always gives the same file."""
        path = checkpoint.file_after(self.folder, checkpoint.SNAPSHOTS, update)
        self._save(path, checkpoint.recurrent_matrices(self.model.cells), update)

    def history(self, rows: list[dict[str, Any]]) -> None:
        write_history(self.folder, rows)

    def load_best(self, update: int) -> None:
        """Give the model the weights of the best evaluation, which was after this update."""
        if self._best is not None:
            checkpoint.load_model(self.model, self._best)
            return
        path = self.folder / checkpoint.BEST
        saved, values = checkpoint.load(path)
        checkpoint.check_run(path, values, self.run)
        if values["update"] != update:
            # By a run that was killed between the two and has come to other numbers since (on a GPU).
            raise CheckpointError(f"{path} is not of the best update {update}: {checkpoint.REMEDY}")
        checkpoint.load_model(self.model, saved)

    def _save(self, path: Path, saved: Mapping[str, Tensor], update: int) -> None:
        checkpoint.save(path, saved, {"run": self.run, "update": update})
