"""Finished runs as analyses read them: the configuration, the corpus, and the model at chosen weights."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from stablernn.config import make
from stablernn.console import log
from stablernn.data.splits import Corpus, Split
from stablernn.errors import CheckpointError, ConfigurationError, RecordError, StorageError
from stablernn.files import refuse_links
from stablernn.models.language_model import SequenceModel
from stablernn.record import RECORD_FILE, Record, read_run
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
            config.dataset.path = self.data
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
            CheckpointError: they are damaged, or those of another run or of another update.
        """
        model, _ = build(self.config, self.record.data["types"])
        if stage != "initial":
            path = self._weights(stage)
            saved, values = checkpoint.load(path)
            self._check_own(path, stage, values)
            checkpoint.load_model(model, saved)
        elif model.objective.needs_frequencies:
            model.objective.arrange(torch.from_numpy(self.corpus.frequencies()))
        return model.eval()

    def _check_own(self, path: Path, stage: str | int, values: dict[str, Any]) -> None:
        """Weights that an earlier version wrote name their update alone."""
        if stage == "last":
            identity, counters = values.get("identity"), values.get("counters")
            run = identity.partition(" on ")[0] if isinstance(identity, str) else None
            update = counters.get("update") if isinstance(counters, dict) else None
        else:
            run, update = values.get("run", self.record.id), values.get("update")
        wanted = {"best": "best_update", "last": "updates"}
        expected = stage if isinstance(stage, int) else self.record.progress.get(wanted[stage])
        if run != self.record.id or update != expected:
            raise CheckpointError(
                f"{path} holds the weights of {run!r:.240} after update {update!r:.20}, and the record beside it is of "
                f"{self.record.id} after update {expected}: {checkpoint.REMEDY}"
            )

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

    Where there are several, one that is damaged, or holds a link, is named and left out.

    Raises:
        RecordError: there is none, or none that can be read.
        StorageError: the only one holds a link.
    """
    folders = [path.parent for path in sorted(runs.glob(f"*/{RECORD_FILE}"))]
    chosen = [folder for folder in folders if folder.name.startswith(pattern) or folder.match(pattern)]
    if not chosen:
        known = "\n".join(f"  {folder.name}" for folder in folders) or "  none: run `make reproduce` first"
        raise RecordError(f"run={pattern}: no finished run below {runs} has this id; there are\n{known}")
    whole = []
    for folder in chosen:
        try:
            refuse_links(folder)
            whole.append((folder, read_run(folder)))
        except (RecordError, StorageError) as error:
            if len(chosen) == 1:
                raise
            log.warning(f"left out: {error}")
    if not whole:
        raise RecordError(f"run={pattern}: none of the {len(chosen)} runs below {runs} can be read (see above)")
    return [Trained(folder, record, data, device) for folder, record in whole]
