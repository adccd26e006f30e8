"""One run: from its configuration to its record."""

import datetime
import math
from contextlib import nullcontext
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from stablernn.config import Training, check, identity, make, run_id
from stablernn.console import display, log, open_bar
from stablernn.data.splits import Corpus
from stablernn.errors import ConfigurationError, DamagedRecordError
from stablernn.files import remove_leftovers, writing
from stablernn.models.language_model import SequenceModel, build_language_model
from stablernn.models.precision import choose_precision, set_up_products
from stablernn.models.softmax import FullSoftmax
from stablernn.record import (
    DIVERGED,
    FINISHED,
    PAUSED,
    PAUSED_FILE,
    RECORD_FILE,
    Record,
    commit,
    processor,
    read_alone,
    read_record,
    versions,
)
from stablernn.stability.certificates import summarise
from stablernn.stability.constraints import Constraint, constrained_cells, project
from stablernn.training.lock import held
from stablernn.training.loop import Counters, Trainer
from stablernn.training.processes import Processes, joined, own_device
from stablernn.training.progress import Progress
from stablernn.training.tracking import NoTracking

_OPTIMAL_CONTEXTS = 64
_SEEDS_APART = 0x9E3779B9


def pick_device(name: str) -> torch.device:
    """``auto`` is the GPU where there is one; under torchrun each process gets its own."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigurationError(f"device={name}: this machine has no CUDA GPU that PyTorch can use; choose device=cpu")
    return own_device(torch.device(name))


def build(config: DictConfig, types: int) -> tuple[SequenceModel, Constraint]:
    """The model at its initial weights, made from the seed and already on the constraint's set."""
    torch.manual_seed(config.seed)
    options = {key: config.model[key] for key in ("embedding_size", "hidden_size", "num_layers", "dropout", "tied")}
    model = build_language_model(
        types=types,
        cell=make(config.model.cell),
        backbone=make(config.approximation.backbone),
        head=make(config.head.softmax) if "head" in config else FullSoftmax,
        **options,
    )
    constraint: Constraint = make(config.stability.constraint)
    for cell, _ in constrained_cells(model):
        constraint.check(cell)
    project(constraint, model)
    device = pick_device(config.device)
    precision = choose_precision(config.precision, device)
    set_up_products(precision, device)
    model.objective.precision = precision
    return model.to(device), constraint


def build_for(config: DictConfig, corpus: Corpus) -> tuple[SequenceModel, Constraint]:
    """``build`` for the words of a corpus, told how frequent they are where that matters."""
    model, constraint = build(config, corpus.types)
    if model.objective.needs_frequencies:
        model.objective.arrange(torch.from_numpy(corpus.frequencies()))
    return model, constraint


def finished(config: DictConfig) -> bool:
    """Whether this run has a record already, as it was written."""
    return _recorded(Path(config.runs) / run_id(config)) is not None


def _recorded(folder: Path) -> Record | None:
    """The record of a run; None if there is none or it is damaged, which is said. Raises RecordError otherwise."""
    if not (folder / RECORD_FILE).is_file():
        return None
    try:
        return read_record(folder)
    except DamagedRecordError as error:
        log.warning(str(error))
        return None


def standing_record(config: DictConfig) -> Record | None:
    """What there is of a run that is finished, or that has paused as late as ``training.pause_after`` says; else None.

    A damaged record counts as none, which is said.

    Raises:
        RecordError: it is of another version.
    """
    folder, pause = Path(config.runs) / run_id(config), config.training.pause_after
    record = _recorded(folder)
    if record is not None or pause is None or not (folder / PAUSED_FILE).is_file():
        return record
    try:
        record = read_alone(folder / PAUSED_FILE)
    except DamagedRecordError as error:
        log.warning(str(error))
        return None
    return record if record.progress["epochs"] >= pause else None


def run(config: DictConfig) -> Record:
    """Train, score, record. A finished run is returned as it is, an unfinished one resumed.

    With ``training.pause_after`` it stops after so many epochs and leaves paused.json, without a test score; with
    a larger value, or none, the same run goes on, and ends as if it had never paused.

    Raises:
        RunInUseError: another process is at work on this run.
        StorageError: the disk is full; what was written before stays, and the run can be resumed.
        StableRNNError: the configuration, the data or a checkpoint is unusable; nothing was written.
        KeyboardInterrupt: the run was interrupted and can be resumed.
    """
    check(config)
    name = run_id(config)
    folder = Path(config.runs) / name
    if (record := standing_record(config)) is not None:
        log.info(f"{name}: {record.status} before, skipped")
        return record
    device = pick_device(config.device)
    with joined(device) as processes:
        return _run(config, name, folder, device, processes)


def _run(config: DictConfig, name: str, folder: Path, device: torch.device, processes: Processes) -> Record:
    """A run that is not finished."""
    tracker = make(config.tracking) if processes.first else NoTracking()
    tracker.check()
    if config.threads:
        torch.set_num_threads(config.threads)
    corpus: Corpus = processes.in_turn(make(config.dataset).load)  # the first one encodes the text, the others map it
    model, constraint = build_for(config, corpus)
    options: Training = OmegaConf.to_object(config.training)  # type: ignore[assignment]
    if processes.first:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
    else:
        torch.manual_seed(config.seed + processes.rank * _SEEDS_APART)  # each draws masks of its own
    tags = [
        config.model.name,
        config.stability.name,
        config.approximation.name,
        f"k={config.truncation.k}",
        config.dataset.name,
    ]
    with (
        held(folder) if processes.first else nullcontext(),
        tracker.run(name, config.experiment_name, tags, identity(config), config.runs) as tracked,
        display(config.progress and processes.first),
    ):
        if processes.first:
            remove_leftovers(folder)
        trainer = Trainer(
            model,
            constraint,
            make(config.optimizer)(model.parameters()),
            corpus,
            config.approximation.window,
            options,
            folder,
            f"{name} on {corpus.fingerprint}",
            tracked,
            processes=processes,
        )
        bar = open_bar(describe(config), trainer.total_updates)
        try:
            progress = Progress(folder, corpus.fingerprint, trainer.total_updates) if processes.first else None
            with progress or nullcontext():

                def on_update(now: Counters, loss: float) -> None:
                    bar.update(now.update, _note(now, loss))
                    if progress:
                        progress.update(now)

                trainer.on_update = on_update
                counters = trainer.fit()
                record = processes.by_first(lambda: _record(config, corpus, trainer, constraint, counters, device))
        except KeyboardInterrupt:
            log.info(f"{name}: interrupted at update {trainer.counters.update}; the same command resumes it")
            raise
        finally:
            bar.close()
        tracked.summary({f"final/{key}": value for key, value in _summary(record).items()} | {"status": record.status})
        tracked.summary({f"speed/{key}": value for key, value in record.speed.items()})
        proven = ("certified", "rate", "norm", "context")
        tracked.summary({f"certificate/{key}": record.certificate.get(key) for key in proven})
        if processes.first and record.status == PAUSED:
            record.write_alone(folder / PAUSED_FILE)
        elif processes.first:
            record.write(folder)
            (folder / PAUSED_FILE).unlink(missing_ok=True)
    log.info(f"{name}: {record.status}, " + ", ".join(f"{key} {value:.2f}" for key, value in _summary(record).items()))
    return record


def describe(config: DictConfig) -> str:
    """A run in a few words."""
    kind = f"{config.model.name} {config.stability.name} {config.approximation.name}"
    return f"{kind} k={config.truncation.k} seed={config.seed}"


def _note(now: Counters, loss: float) -> str:
    speed = now.trained_tokens / max(now.training_seconds, 1e-9)
    best = f", valid {now.best['perplexity']:.1f}" if now.best else ""
    return f"{speed:,.0f} tokens/s, loss {loss:.3f}{best}"


def _summary(record: Record) -> dict[str, float]:
    return {
        f"{split}_perplexity": record.metrics[split]["perplexity"]
        for split in ("valid", "test")
        if split in record.metrics
    }


def _record(
    config: DictConfig,
    corpus: Corpus,
    trainer: Trainer,
    constraint: Constraint,
    counters: Counters,
    device: torch.device,
) -> Record:
    metrics: dict = {}
    blocks = None
    status = DIVERGED if counters.diverged else PAUSED if trainer.paused else FINISHED
    if counters.best is not None:
        metrics["valid"] = counters.best
        if status == PAUSED:
            trainer.load_best()
        else:
            test = trainer.score_best("test")
            metrics["test"], blocks = test.as_dict(), test.as_blocks()
    if corpus.source is not None and status != PAUSED:
        # A recurrent model carries its state on, so it may use the whole past whatever its k in training.
        context = config.truncation.k if config.approximation.name == "feedforward" else None
        test = corpus.splits["test"]
        metrics["optimal"] = {
            "context": context,
            "test": corpus.source.perplexity(test, context),
            "test_by_context": corpus.source.perplexities(test, _OPTIMAL_CONTEXTS),
        }
    certificate = summarise(trainer.model)
    if constraint.rate is not None and (certificate["rate"] or math.inf) > constraint.rate * (1 + 1e-6):
        log.warning(f"{trainer.folder.name}: λ is certified as {certificate['rate']}, not as {constraint.rate}")
    return Record(
        id=trainer.folder.name,
        status=status,
        experiment=config.experiment_name,
        config=identity(config),
        data={
            "name": corpus.name,
            "fingerprint": corpus.fingerprint,
            "types": corpus.types,
            "tokens": {name: len(split) for name, split in corpus.splits.items()},
        },
        model={
            "parameters": trainer.model.size(),
            "norms": [constraint.norms(cell) for cell, _ in constrained_cells(trainer.model)],
        },
        metrics=metrics,
        progress={
            "updates": counters.update,
            "epochs": round(counters.update / len(trainer.windows), 4),
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
        | ({"processes": trainer.processes.size} if trainer.processes.size > 1 else {}),
        versions=versions(),
        commit=commit(),
        finished_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        certificate=certificate,
        history=counters.history,
        blocks=blocks,
    )
