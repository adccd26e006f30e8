"""Finished runs as analyses read them: the configuration, the corpus, and the model at chosen weights."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from omegaconf import DictConfig

from stablernn.config import make
from stablernn.data.splits import Corpus, Split
from stablernn.errors import ConfigurationError, RecordError
from stablernn.models.language_model import SequenceModel
from stablernn.record import RECORD_FILE, Record, read_record
from stablernn.training import checkpoint
from stablernn.training.build import build
from stablernn.training.foreign import RUN, checked

STAGES = ("initial", "best", "last")


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Attributes:
        folder: where its record and weights are.
        record: its record.
        data: folder of the data sets; None: as the data set itself finds them.
        device: where the model goes.
    """

    folder: Path
    record: Record
    data: str | None
    device: torch.device

    @cached_property
    def config(self) -> DictConfig:
        """The configuration that the run was trained with, made to run here.

        Raises:
            RecordError: it is none that a run has; nothing of it was executed.
        """
        try:
            config = checked(self.record.config, RUN)
        except ConfigurationError as error:
            raise RecordError(f"{self.folder / RECORD_FILE} is not of a run of this package: {error}") from None
        config.device = str(self.device)
        if self.record.data["name"] != "embedded":
            config.dataset.path = Path(self.data) if self.data else None  # as text, ${A} would be looked up
        return config

    @cached_property
    def corpus(self) -> Corpus:
        """Raises RecordError if the data here are not those that it was trained on."""
        corpus: Corpus = make(self.config.dataset).load()
        if corpus.fingerprint != self.record.data["fingerprint"]:
            raise RecordError(
                f"{self.record.id} was trained on data with the fingerprint {self.record.data['fingerprint']}, "
                f"and those here have {corpus.fingerprint}"
            )
        return corpus

    def whole_split(self, name: str) -> Split:
        """All of a split, also of one that training cut short; raises as ``corpus`` does."""
        known = self.corpus.splits[name]
        if self.record.data["name"] == "embedded":
            return known  # a law has no whole text
        dataset = self.config.dataset.copy()
        dataset.max_tokens = None
        return make(dataset).load().splits[name]

    @property
    def kept(self) -> tuple[int, ...]:
        """The updates after which training kept all weights (``training.keep_every``), in order."""
        return tuple(checkpoint.kept(self.folder))

    def model(self, stage: str | int = "best") -> SequenceModel:
        """The model at chosen weights.

        Args:
            stage: before training (``initial``), at the best evaluation (``best``), at the end (``last``), or after
                so many updates, one of ``kept``.

        Raises:
            RecordError: its weights are not here.
        """
        model, _ = build(self.config, self.record.data["types"])
        if stage != "initial":
            saved, _ = checkpoint.load(self._weights(stage))
            checkpoint.load_model(model, saved)
        elif model.objective.needs_frequencies:
            model.objective.arrange(torch.from_numpy(self.corpus.frequencies()))
        return model.eval()

    def _weights(self, stage: str | int) -> Path:
        if isinstance(stage, int):
            if stage not in self.kept:
                raise RecordError(
                    f"{self.record.id} kept no weights after update {stage}: delete {self.folder} and train again with "
                    "training.keep_every=1"
                )
            return checkpoint.kept(self.folder)[stage]
        path = self.folder / {"best": checkpoint.BEST, "last": checkpoint.LAST}[stage]
        if not path.is_file():
            raise RecordError(f"{path} is missing (weights are not committed): delete record.json and train again")
        return path


def find_runs(pattern: str, runs: Path, data: str | None, device: torch.device) -> list[Trained]:
    """The finished runs below ``runs`` whose id begins with ``pattern`` or matches it as a shell pattern.

    Raises:
        RecordError: there is none.
    """
    folders = [path.parent for path in sorted(runs.glob(f"*/{RECORD_FILE}"))]
    chosen = [folder for folder in folders if folder.name.startswith(pattern) or folder.match(pattern)]
    if not chosen:
        known = "\n".join(f"  {folder.name}" for folder in folders) or "  none: run `make reproduce` first"
        raise RecordError(f"run={pattern}: no finished run below {runs} has this id; there are\n{known}")
    return [Trained(folder, read_record(folder), data, device) for folder in chosen]
