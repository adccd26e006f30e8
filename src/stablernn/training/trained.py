"""Finished runs as analyses read them: the configuration, the corpus, and the model at chosen weights."""

import inspect
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from stablernn.config.compose import choices
from stablernn.config.instantiate import make
from stablernn.config.targets import find_target
from stablernn.models.sequence_model import SequenceModel
from stablernn.records.record import DATA_PATH_FILE, RECORD_FILE, Record, read_run
from stablernn.tasks.base import Interface
from stablernn.tasks.splits import Corpus, Split, Task
from stablernn.training import checkpoint
from stablernn.training.build import build
from stablernn.training.untrusted import RUN, checked
from stablernn.utils.console import warn_once
from stablernn.utils.errors import (
    CheckpointError,
    ConfigurationError,
    DataError,
    NotApplicableError,
    RecordError,
    StorageError,
)
from stablernn.utils.files import refuse_links
from stablernn.utils.project import command
from stablernn.utils.wording import counted

STAGES = ("initial", "best", "last")


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Attributes:
        folder: where its record and weights are.
        record: its record.
        data: folder of the data sets, looked into before the folder that the run was trained from; None: that one
            alone, or the hub where the run was trained from there.
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
        return config

    @cached_property
    def _read(self) -> tuple[DictConfig, Task]:
        """The data set that holds the run's data, and these."""
        expected, problems = self.record.data["fingerprint"], []
        for dataset in self._datasets():
            try:
                corpus: Task = make(dataset).load()
            except DataError as error:
                problems.append(error.reason)
                continue
            if corpus.fingerprint == expected:
                return dataset, corpus
            problems.append(
                f"those {f'in {dataset.path}' if dataset.get('path') else 'here'} have {corpus.fingerprint}"
            )
        raise RecordError(
            f"{self.record.id} was trained on data with the fingerprint {expected}, which were not found: "
            f"{'; '.join(dict.fromkeys(problems))}. Name the folder that has them with data=..."
        )

    def _datasets(self) -> list[DictConfig]:
        """The run's data set, for each folder where its text may be."""
        dataset = self.config.dataset
        if "path" not in inspect.signature(find_target("dataset._target_", dataset["_target_"])).parameters:
            return [dataset]  # made from its options
        recorded = self.folder / DATA_PATH_FILE
        try:
            known = recorded.read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            known = None
        folders = [folder for folder in dict.fromkeys((self.data, known)) if folder] or [None]
        # As text, ${A} in the name of a folder would be looked up.
        paths = [Path(folder) if folder else None for folder in folders]
        return [OmegaConf.merge(dataset, {"path": path}) for path in paths]  # type: ignore[misc]

    @property
    def corpus(self) -> Task:
        """Raises RecordError if the data that it was trained on are not here."""
        return self._read[1]

    def text(self, split: str) -> Split:
        """A split that is running text; raises NotApplicableError where it is many sequences."""
        return running_text(self.corpus, split)

    def whole_split(self, name: str) -> Split:
        """All of a split, also of one that training cut short; raises as ``corpus`` does."""
        return whole_split(*self._read, name)

    @property
    def saved_updates(self) -> tuple[int, ...]:
        """The updates after which training kept all weights (``training.keep_every``), in order."""
        return tuple(int(path.stem) for path in sorted((self.folder / checkpoint.KEPT).glob("*.safetensors")))

    def model(self, stage: str | int = "best") -> SequenceModel:
        """The model at chosen weights.

        Args:
            stage: before training (``initial``), at the best evaluation (``best``), at the end (``last``), or after
                so many updates, one of ``kept``.

        Raises:
            RecordError: its weights are not here.
            CheckpointError: they are damaged, or those of another run or of another update.
        """
        model, _ = build(self.config, Interface.of_record(self.record.data))
        if stage != "initial":
            path = self._weights(stage)
            saved, values = checkpoint.load(path)
            self._check_own(path, stage, values)
            checkpoint.load_model(model, saved)
        elif model.objective.needs_frequencies:
            assert isinstance(self.corpus, Corpus)
            model.objective.arrange(torch.from_numpy(self.corpus.frequencies()))
        return model.eval()

    def _check_own(self, path: Path, stage: str | int, values: dict[str, Any]) -> None:
        run, update = values.get("run"), values.get("update")
        if stage == "last":  # a checkpoint
            run, update = str(values.get("identity")).partition(" on ")[0], (values.get("counters") or {}).get("update")
        progress = self.record.progress
        expected = {"best": progress.get("best_update"), "last": progress.get("updates")}.get(str(stage), stage)
        if run != self.record.id or update != expected:
            raise CheckpointError(
                f"{path} holds the weights of {run!r:.240} after update {update!r:.20}, and the record beside it is of "
                f"{self.record.id} after update {expected}: {checkpoint.REMEDY}"
            )

    def _weights(self, stage: str | int) -> Path:
        if isinstance(stage, int):
            if stage not in self.saved_updates:
                raise RecordError(
                    f"{self.record.id} kept no weights after update {stage}: delete {self.folder} and train again with "
                    "training.keep_every=1"
                )
            return checkpoint.file_after(self.folder, checkpoint.KEPT, stage)
        path = self.folder / {"best": checkpoint.BEST, "last": checkpoint.LAST}[stage]
        if not path.is_file():
            raise RecordError(f"{path} is missing (weights are not committed): delete {self.folder} and train again")
        return path


def running_text(task: Task, split: str) -> Split:
    """A split that is running text; raises NotApplicableError where it is many sequences."""
    chosen = task.splits[split]
    if not isinstance(chosen, Split):
        raise NotApplicableError(
            f"not applicable: {task.name} is a set of sequences, and this analysis needs one running text"
        )
    return chosen


def whole_split(dataset: DictConfig, corpus: Task, name: str) -> Split:
    """All of a split of a data set, of which ``corpus`` may be cut short."""
    if corpus.source is not None:
        return corpus.splits[name]  # a law has no whole text
    dataset = dataset.copy()
    dataset.max_tokens = None
    return make(dataset).load().splits[name]


def find_runs(pattern: str, runs: Path, data: str | None, device: torch.device) -> list[Trained]:
    """The finished runs below ``runs`` whose id begins with ``pattern`` or matches it as a shell pattern.

    A folder of a run, wherever it is, is that run.

    Where there are several, one that is damaged, or holds a link, is named and left out.

    Raises:
        RecordError: there is none, or none that can be read.
        StorageError: the only one holds a link.
    """
    folders = [path.parent for path in sorted(runs.glob(f"*/{RECORD_FILE}"))]
    if os.path.isfile(os.path.join(pattern, RECORD_FILE)):
        chosen = [Path(pattern)]
    else:
        chosen = [folder for folder in folders if folder.name.startswith(pattern) or folder.match(pattern)]
    if not chosen:
        if pattern in choices("analysis"):
            raise RecordError(
                f"run={pattern}: {pattern} is an analysis: write analysis={pattern}, and name a run by run="
            )
        known = "".join(f"\n  {folder.name}" for folder in folders)
        raise RecordError(
            f"run={pattern}: no finished run below {runs} has this id"
            + (f"; there are{known}" if known else f", and there is no other: {command('train')} trains one")
        )
    whole = []
    for folder in chosen:
        try:
            refuse_links(folder)
            whole.append((folder, read_run(folder)))
        except (RecordError, StorageError) as error:
            if len(chosen) == 1:
                raise
            warn_once(f"left out: {error}")
    if not whole:
        raise RecordError(f"run={pattern}: none of {counted(len(chosen), 'run')} below {runs} can be read (see above)")
    return [Trained(folder, record, data, device) for folder, record in whole]


def find_run(options: DictConfig, device: torch.device) -> Trained:
    """The one finished run that a command's ``run``, ``runs`` and ``data`` name.

    Raises:
        ConfigurationError: ``run`` is not set, or names several.
        RecordError: see ``find_runs``.
    """
    if OmegaConf.is_missing(options, "run"):
        raise ConfigurationError("run is not set: name a finished run or its folder, as in run=wikitext2-lstm-stable")
    found = find_runs(options.run, Path(options.runs), options.data, device)
    if len(found) > 1:
        ids = "".join(f"\n  {trained.record.id}" for trained in found)
        raise ConfigurationError(f"run={options.run} names {counted(len(found), 'run')}; give more of one id:{ids}")
    return found[0]
