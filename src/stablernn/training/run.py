"""One run: from its configuration to its record."""

import logging
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from stablernn.config.identity import digest, identity, run_id
from stablernn.config.instantiate import make
from stablernn.config.schema import Training
from stablernn.config.validate import check
from stablernn.models.dropout import own_generator
from stablernn.models.precision import exclusive
from stablernn.records.record import DATA_PATH_FILE, DIVERGED, PAUSED, PAUSED_FILE, Record
from stablernn.tasks.splits import Corpus, Task
from stablernn.training.build import build_for, pick_device
from stablernn.training.checkpoint import BEST
from stablernn.training.interrupt import Interruption
from stablernn.training.lock import held
from stablernn.training.loop import Trainer
from stablernn.training.outcome import check_same_data, existing_record, outcome
from stablernn.training.progress import Progress
from stablernn.training.schedule import Counters
from stablernn.training.streams import own_stream
from stablernn.training.untrusted import check_classes
from stablernn.utils.console import display, log, open_bar
from stablernn.utils.errors import DataError
from stablernn.utils.files import refuse_links, remove_leftovers, write_text, writing
from stablernn.utils.wording import counted


def run(config: DictConfig, shared: Interruption | None = None, beside: int = 1) -> Record:
    """Train, score, record. A finished run is returned as it is, an unfinished one resumed.

    With ``training.pause_after`` it stops after so many epochs and leaves paused.json, without a test score; with
    a larger value, or none, the same run continues, and ends as if it had never paused.

    Args:
        config: of the run.
        shared: the interruption of all runs of this process, each of which is a thread; None: there is no other.
        beside: how many they are at most, this one included.

    Raises:
        RunInUseError: another process is at work on this run.
        RecordError: the finished run is of another text.
        StorageError: the disk is full; what was written before stays, and the run can be resumed.
        StableRNNError: the configuration, the data or a checkpoint is unusable; nothing was written.
        KeyboardInterrupt: the run was interrupted and can be resumed.
    """
    check(config)
    check_classes(config)
    name = run_id(config)
    if (record := existing_record(config)) is not None:
        with exclusive:
            check_same_data(config, record)
        log.info(f"{name}: {record.status} before, skipped{_remedy(record) or _gone(Path(config.runs) / name, record)}")
        return record
    device = pick_device(config.device)
    with own_stream(device):
        return _unfinished(config, name, device, shared, beside)


def _unfinished(
    config: DictConfig, name: str, device: torch.device, shared: Interruption | None, beside: int
) -> Record:
    folder = Path(config.runs) / name
    tracker = make(config.tracking)
    tracker.check()
    if config.threads:
        torch.set_num_threads(config.threads)
    values = identity(config)
    with exclusive:  # one thread encodes a text, and draws from PyTorch's generator
        task: Task = make(config.dataset).load()
        if run_id(config) != name or digest(values) != name.rpartition("-")[2]:
            raise DataError(
                f"{name}: its text was changed while it was read", "the same command starts a run on the new one"
            )
        model, constraint = build_for(config, task)
        generator = own_generator(device)
    options: Training = OmegaConf.to_object(config.training)  # type: ignore[assignment]
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    refuse_links(folder)
    tags = [config[group].name for group in ("model", "stability", "approximation", "dataset")]
    tags += [f"k={config.truncation.k}"]
    with (
        held(folder),
        tracker.run(name, config.experiment_name, tags, values, config.runs) as tracked,
        display(config.progress),
    ):
        remove_leftovers(folder)
        if OmegaConf.select(config, "dataset.path"):
            write_text(folder / DATA_PATH_FILE, f"{Path(config.dataset.path).expanduser().absolute()}\n")
        trainer = Trainer(
            model,
            constraint,
            make(config.optimizer)(model.parameters()),
            task,
            config.approximation.window,
            options,
            folder,
            f"{name} on {task.fingerprint}",
            tracked,
            generator=generator,
        )
        _check_context(name, config, task)
        bar = open_bar(describe(config), trainer.total_updates)
        try:
            with Progress(folder, task.fingerprint, trainer.total_updates, task.metric) as progress:

                def on_update(now: Counters, loss: float) -> None:
                    bar.update(now.update, _note(now, loss))
                    progress.update(now)

                trainer.on_update = on_update
                trainer.train(shared)
                record = outcome(config, values, trainer, constraint, beside)
        except KeyboardInterrupt:
            log.info(f"{name}: interrupted at update {trainer.counters.update}; the same command resumes it")
            raise
        finally:
            bar.close()
            trainer.release()
        tracked.summary({f"final/{key}": value for key, value in _summary(record).items()} | {"status": record.status})
        tracked.summary({f"speed/{key}": value for key, value in record.speed.items()})
        proven = ("certified", "rate", "norm", "context")
        tracked.summary({f"certificate/{key}": record.certificate.get(key) for key in proven})
        if record.status == PAUSED:
            record.write_alone(folder / PAUSED_FILE)
        else:
            record.write(folder)
            (folder / PAUSED_FILE).unlink(missing_ok=True)
    log.log(
        logging.WARNING if record.status == DIVERGED else logging.INFO,
        f"{folder}: {_describe_outcome(record)}{_remedy(record)}",
    )
    return record


def _check_context(name: str, config: DictConfig, task: Task) -> None:
    """Warn of a k beyond the words that there are: of a stream of train, or of a text that is scored."""
    if not isinstance(task, Corpus):
        return  # whole sequences ask for a k that is as long as the longest
    k, of = config.truncation.k, "a stream of train"
    longest = len(task.splits["train"]) // config.training.batch_size
    if config.approximation.name == "feedforward":
        longest, of = max((longest, of), *((len(task.splits[split]), split) for split in ("valid", "test")))
    if k > longest:
        log.warning(
            f"{name}: truncation.k={k} is more than the {counted(longest, 'word')} of {of}: the same as k = {longest}"
        )


def describe(config: DictConfig) -> str:
    """A run in a few words."""
    kind = f"{config.model.name} {config.stability.name} {config.approximation.name}"
    return f"{kind} k={config.truncation.k} seed={config.seed}"


def _note(now: Counters, loss: float) -> str:
    speed = now.trained_tokens / max(now.training_seconds, 1e-9)
    best = f", valid {now.best['value']:.4g}" if now.best else ""
    return f"{speed:,.0f} tokens/s, loss {loss:.3f}{best}"


def _describe_outcome(record: Record) -> str:
    """How it ended, and with which scores, if it got so far."""
    scores = [f"{key.replace('_', ' ')} {value:.2f}" for key, value in _summary(record).items()]
    return ", ".join([record.status, *scores])


def _remedy(record: Record) -> str:
    """What to do about a run that diverged; empty for any other."""
    if record.status != DIVERGED:
        return ""
    rate = record.config["optimizer"]["lr"]
    return f"; that is recorded as a result. Try a lower learning rate, optimizer.lr={rate / 4:g} (it was {rate:g})"


def _gone(folder: Path, record: Record) -> str:
    """What to do about a finished run of which analyses would find no weights; empty for any other."""
    if record.status == PAUSED or (folder / BEST).is_file():
        return ""
    return f"; its weights are gone, which analyses need: delete {folder} to train it again"


def _summary(record: Record) -> dict[str, float]:
    return {
        f"{split}_{record.metric.name}": record.metrics[split]["value"]
        for split in ("valid", "test")
        if split in record.metrics
    }
