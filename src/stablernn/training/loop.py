"""The training loop."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch

from stablernn.config.schema import Training
from stablernn.models.dropout import draw_from, own_generator
from stablernn.models.sequence_model import SequenceModel
from stablernn.records.record import FINISHED, PAUSED, STOPPED
from stablernn.stability.constraints.base import Constraint
from stablernn.tasks.splits import Task
from stablernn.training.checkpoint_manager import Saves
from stablernn.training.evaluate import Scorer, valid_streams
from stablernn.training.graph import make_step
from stablernn.training.interrupt import Interruption
from stablernn.training.sampling import mixed_inputs
from stablernn.training.schedule import Counters, Schedule
from stablernn.training.streams import wait
from stablernn.training.tracking import Run
from stablernn.utils.console import log
from stablernn.utils.metrics import Score


class Trainer:
    """Trains one model on one task, and can be killed at any moment.

    Args:
        model, constraint: the model and the set of weights that it is kept on after every update.
        optimizer: over the model's parameters.
        task: its train split is read in batches of ``options.batch_size``, its valid split decides.
        window: steps between two updates T.
        options: conf/train.yaml, ``training``.
        folder: of the run; checkpoints go there.
        identity: saved with the checkpoint; one that differs is refused on resume.
        tracker: gets the training and validation curves.
        on_update: called with the counters and the last loss (nats a token), for a progress bar.
        generator: that masks come from, and whose seed is that of drawn inputs; None: one with the
            present state of PyTorch's.
    """

    def __init__(
        self,
        model: SequenceModel,
        constraint: Constraint,
        optimizer: torch.optim.Optimizer,
        task: Task,
        window: int,
        options: Training,
        folder: Path,
        identity: str,
        tracker: Run,
        on_update: Callable[[Counters, float], None] = lambda counters, loss: None,
        generator: torch.Generator | None = None,
    ) -> None:
        self.model, self.optimizer = model, optimizer
        self.task, self.options, self.folder = task, options, folder
        self.tracker, self.on_update = tracker, on_update
        self.device = model.device
        if model.backbone.receptive_field is None:
            task.check_window(window)
        self.batches = task.batches("train", options.batch_size, window, self.device)
        self.schedule = Schedule(options, len(self.batches), self.batches.items)
        self.total_updates = self.schedule.total_updates
        self.rates = [group["lr"] for group in optimizer.param_groups]
        self.counters = Counters()
        self.state = model.initial_state(options.batch_size)
        generator = generator or own_generator(self.device)
        draw_from(model, generator)
        self.mixed = mixed_inputs(options.sampling, model, task, generator.initial_seed())
        graphs = options.graphs and task.fixed_shapes and not model.backbone.whole_sequences
        self.update = make_step(model, constraint, optimizer, options.clip, options.accumulate, generator, graphs)
        self.scorer = Scorer(model, graphs, task.metric)
        self.saves = Saves(folder, identity, model, optimizer, generator)
        self._issued: list[int] = []  # tokens of each update whose loss was not collected yet
        self._reports_every_update = self.device.type == "cpu"

    def train(self, shared: Interruption | None = None) -> Counters:
        """Train to the end, from the last checkpoint if there is one.

        Raises:
            KeyboardInterrupt: after SIGINT or SIGTERM; the checkpoint is written, so the run can be resumed.
            SystemExit: after a signal whose handler, a scheduler's, ends the process; likewise.
        """
        self.resume()
        now, schedule = self.counters, self.schedule
        if now.update:
            log.info(f"{self.folder.name}: resumed at update {now.update} of {self.total_updates}")
        saved = time.monotonic()
        started = saved - now.seconds
        self.model.train()
        if now.update == 0 and schedule.snapshot_is_due(now):
            self.saves.snapshot(now.update)

        with nullcontext(shared) if shared else Interruption() as interruption:
            while not (schedule.is_over(now) or self._is_late()):
                if interruption.abandoned:
                    raise KeyboardInterrupt
                began = time.monotonic()
                self.step()
                finite = self.report()
                now.training_seconds += time.monotonic() - began
                if not finite:
                    now.diverged = True
                    break

                if schedule.snapshot_is_due(now):
                    self.saves.snapshot(now.update)
                if schedule.evaluation_is_due(now):
                    self.evaluate()

                now.seconds = time.monotonic() - started
                interrupted = interruption.requested
                if interrupted or time.monotonic() - saved >= self.options.checkpoint_seconds:
                    self.save()
                    saved = time.monotonic()
                if interrupted:
                    interruption.act()

            self.save()  # the weights at the end, for whoever compares them with the best
        return now

    def _is_late(self) -> bool:
        return self.options.deadline is not None and time.time() >= self.options.deadline

    def step(self) -> None:
        """One update on the next batch."""
        now = self.counters
        if (share := self.schedule.warm_up_share(now)) is not None:
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * share
        batch = self.batches.batch(now.update)
        if batch.reset:
            self.state = self.model.initial_state(batch.x.shape[1], batch.lengths)
        x = batch.x if self.mixed is None else self.mixed(batch.x, self.state, now.update, batch.mask)
        self.state = self.update(x, batch.y, self.state, batch.mask)
        now.update += 1
        self._issued.append(batch.count)

    def report(self) -> bool:
        """``collect``, if it is time; True if it is not.

        On a CPU every update is reported, on a GPU those before a row of the history: asking more often
        would let the device wait for the host.
        """
        now, schedule = self.counters, self.schedule
        if not (self._reports_every_update or schedule.row_is_due(now) or schedule.evaluation_is_due(now)):
            return True
        return self.collect()

    def collect(self) -> bool:
        """Count the losses since the last report; False if an update since then was not finite (it changed nothing)."""
        now = self.counters
        if not self._issued:
            return True
        wait(self.device)
        nats, done = self.update.collect()
        finite = done == len(self._issued)
        now.update -= len(self._issued) - done
        tokens = sum(self._issued[:done])
        self._issued.clear()
        now.count(nats, tokens)
        if finite:
            if self.schedule.row_is_due(now):
                row = now.add_row(self.task.metric)
                self.tracker.log({"update": now.update, f"train/{self.task.metric.of_loss.name}": row["train"]})
            self.on_update(now, nats / tokens)
        return finite

    def evaluate(self) -> None:
        """Score valid; keep the best weights, divide the learning rate if there was no gain."""
        now = self.counters
        self.update.project()
        split, metric = self.task.splits["valid"], self.task.metric.name
        valid = self.scorer.score(split, valid_streams(self.device))
        epoch = round(now.update / len(self.batches), 4)
        row = now.add_evaluation(epoch, valid, self.optimizer.param_groups[0]["lr"])
        self.tracker.log(
            {
                "update": now.update,
                "epoch": epoch,
                f"valid/{metric}": valid.value,
                f"valid/train_{self.task.metric.of_loss.name}": row["train"],
                "valid/lr": row["lr"],
            }
        )
        gained = now.is_gain(valid)
        if gained:
            self.saves.best(now.update)
        if self.schedule.lr_is_lowered(now, gained):
            for group in self.optimizer.param_groups:
                group["lr"] /= self.options.annealing
        if self.schedule.keeping_is_due(now):
            self.saves.save(now.update)
        self.saves.history(now.history)

    def save(self) -> None:
        """Write the checkpoint that ``resume`` reads."""
        self.collect()
        self.saves.checkpoint(self.counters, self.state)

    def resume(self) -> None:
        """Go on from the last checkpoint, if there is one; raises as ``Saves.resume``."""
        self.counters, self.state = self.saves.resume(self.counters, self.state)
        self.update.number = self.counters.update

    @property
    def status(self) -> str:
        """Whether this is the end of the run, or as far as it may go now."""
        if self.schedule.is_at_its_end(self.counters):
            return FINISHED
        # A deadline before the first validation leaves nothing to score.
        return PAUSED if self.schedule.is_over(self.counters) or self.counters.best is None else STOPPED

    def load_best(self) -> None:
        """Give the model the weights of the best evaluation."""
        self.saves.load_best(self.counters.best_update)

    def score_best(self, split: str) -> Score:
        """Score a split with the weights of the best evaluation."""
        self.load_best()
        return self.scorer.score(self.task.splits[split])

    def release(self) -> None:
        """Give up what the device holds beside the model; nothing comes after it."""
        self.update.release()
        self.scorer.release()
