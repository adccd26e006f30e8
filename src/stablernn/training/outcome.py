"""What there is of a run: the record that it leaves, and whether it is there already."""

import datetime
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from stablernn.config.identity import StoredText, run_id
from stablernn.config.instantiate import make
from stablernn.models.cells.base import Cell
from stablernn.records.record import DIVERGED, PAUSED, PAUSED_FILE, RECORD_FILE, STOPPED, Record, read_alone, read_run
from stablernn.stability.certificates import summarise
from stablernn.stability.constraints.base import Constraint
from stablernn.training.checkpoint import LAST
from stablernn.training.loop import Trainer
from stablernn.utils.console import log, warn_once
from stablernn.utils.errors import DamagedRecordError, MissingDataError, RecordError
from stablernn.utils.provenance import commit, processor, versions

_OPTIMAL_CONTEXTS = 64
# Neither proven nor refuted.
_NOT_ASKED_FOR = {"certified": None, "rate": None, "norm": None, "reason": "not computed (training.certify=false)"}


def finished(config: DictConfig) -> bool:
    """Whether this run has a record already, as it was written."""
    return _recorded(Path(config.runs) / run_id(config)) is not None


def _recorded(folder: Path) -> Record | None:
    """The record of a run; None if there is none or it is damaged, which is said. Raises RecordError otherwise."""
    return _read_or_warn(read_run, folder) if (folder / RECORD_FILE).is_file() else None


def _read_or_warn(read: Callable[[Path], Record], path: Path) -> Record | None:
    try:
        return read(path)
    except DamagedRecordError as error:
        warn_once(str(error))
        return None


def existing_record(config: DictConfig) -> Record | None:
    """What there is of a run that is finished, or that has paused as late as ``training.pause_after`` says; else None.

    A damaged record counts as none, which is said.

    Raises:
        RecordError: it is of another version.
    """
    folder, pause = Path(config.runs) / run_id(config), config.training.pause_after
    record = _recorded(folder)
    if record is not None and record.status == STOPPED and (folder / LAST).is_file():
        return None  # it resumes from its checkpoint
    if record is not None or pause is None or not (folder / PAUSED_FILE).is_file():
        return record
    record = _read_or_warn(read_alone, folder / PAUSED_FILE)
    if record is not None and record.id != folder.name:
        warn_once(f"{folder / PAUSED_FILE} is of another run ({record.id}): delete it")
        return None
    return record if record is not None and record.progress["epochs"] >= pause else None


def check_same_data(config: DictConfig, record: Record) -> None:
    """Refuse a record as the result of ``config`` if it is of another text; without the text here, that is logged.

    Raises:
        RecordError: it is of another text.
        DataError: the folder that ``dataset.path`` names has not that text.
    """
    dataset = make(config.dataset)
    if not isinstance(dataset, StoredText):
        return
    try:
        fingerprint = make(config.dataset).load().fingerprint
    except MissingDataError as error:
        if OmegaConf.select(config, "dataset.path"):
            raise
        log.info(f"{record.id}: not compared with its text, which is not here ({error.reason})")
        return
    if fingerprint != record.data["fingerprint"]:
        raise RecordError(
            f"{record.id} in {config.runs} was trained on data with the fingerprint {record.data['fingerprint']}, and "
            f"those here have {fingerprint}: choose another folder with runs=..., or name its text with "
            "dataset.path=..."
        )


def _equations(cells: Sequence[Cell]) -> dict[str, str]:
    """What the docstring of a class of another package says; those of this package are in its source."""
    kinds = {type(cell) for cell in cells if type(cell).__module__.partition(".")[0] != __name__.partition(".")[0]}
    said = {inspect.cleandoc(kind.__doc__) for kind in kinds if kind.__doc__}
    return {"equations": "\n\n".join(sorted(said))} if said else {}


def outcome(
    config: DictConfig, values: Mapping[str, Any], trainer: Trainer, constraint: Constraint, beside: int
) -> Record:
    """The record of a run that has come as far as it may, scored on test unless it has paused.

    Args:
        config, trainer, constraint: of the run.
        values: its ``identity`` when it began; its text may have changed on disk since.
        beside: runs that shared the device with it at most, itself included.
    """
    task, counters, device = trainer.task, trainer.counters, trainer.device
    metrics: dict = {}
    blocks = None
    status = DIVERGED if counters.diverged else trainer.status
    if counters.best is not None:
        metrics["valid"] = counters.best
        if status == PAUSED:
            trainer.load_best()
        else:
            test = trainer.score_best("test")
            metrics["test"], blocks = test.as_dict(), test.as_blocks()
            reached = (counters.best["value"], test.value)  # an infinite one is read back as null
            if not all(value is not None and math.isfinite(value) for value in reached):
                status = DIVERGED  # every update was finite, and yet it gives the text no probability
    if task.source is not None and status != PAUSED:
        # A recurrent model carries its state on, so it may use the whole past whatever its k in training.
        context = config.truncation.k if config.approximation.name == "feedforward" else None
        test = task.splits["test"]
        metrics["optimal"] = {
            "context": context,
            "test": task.source.perplexity(test, context),
            "test_by_context": task.source.perplexities(test, _OPTIMAL_CONTEXTS),
        }
    cells = [cell for layer in trainer.model.backbone.cells_by_layer for cell in layer]
    # The search for the best norms would hold up each run of a sweep; analyses do it, once for a trained model.
    certificate = summarise(trainer.model, search_units=0) if config.training.certify else _NOT_ASKED_FOR
    expected = constraint.rate if config.training.certify else None
    if expected is not None and (certificate["rate"] or math.inf) > expected * (1 + 1e-6):
        log.warning(f"{trainer.folder.name}: λ is certified as {certificate['rate']}, not as {constraint.rate}")
    return Record(
        id=trainer.folder.name,
        status=status,
        experiment=config.experiment_name,
        config=dict(values),
        data=task.description(),
        model={"parameters": trainer.model.size(), "norms": [constraint.norms(cell) for cell in cells]}
        | _equations(cells),
        metrics=metrics,
        progress={
            "updates": counters.update,
            "epochs": round(counters.update / len(trainer.batches), 4),
            "best_update": counters.best_update,
        },
        speed={
            "seconds": round(counters.seconds, 2),
            "train_tokens_per_second": round(counters.trained_tokens / max(counters.training_seconds, 1e-9), 1),
        },
        hardware={
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
            "threads": torch.get_num_threads(),
            "precision": str(trainer.model.objective.precision),
        }
        | ({"beside": beside} if beside > 1 else {}),
        versions=versions(),
        commit=commit(),
        finished_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        certificate=certificate,
        history=counters.history,
        blocks=blocks,
    )
