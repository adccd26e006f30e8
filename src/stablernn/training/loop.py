"""The training loop."""

import math
import time
from collections import ChainMap
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from stablernn.config import Training
from stablernn.data.splits import Corpus
from stablernn.data.windows import Windows
from stablernn.errors import CheckpointError
from stablernn.models.dropout import draw_from, own_generator
from stablernn.models.language_model import SequenceModel
from stablernn.models.unroll import join_streams, rebuild, split_streams, tensors
from stablernn.record import write_history
from stablernn.stability.constraints import Constraint, project
from stablernn.training import checkpoint
from stablernn.training.evaluate import Score, Scorer
from stablernn.training.graph import make_step
from stablernn.training.interrupt import Interruption
from stablernn.training.processes import ALONE, Processes
from stablernn.training.tracking import Run
from stablernn.training.turns import Turns, arrival, finish
from stablernn.training.writer import Writer


@dataclass
class Counters:
    """Where a run stands; all that a checkpoint holds beside tensors.

    ``nats`` and ``tokens`` sum the training loss since the last evaluation, ``recent_*`` since the last row
    of the history.
    """

    update: int = 0
    nats: float = 0.0
    tokens: int = 0
    recent_nats: float = 0.0
    recent_tokens: int = 0
    best: dict[str, Any] | None = None
    best_update: int = 0
    evaluations_without_gain: int = 0
    trained_tokens: int = 0
    training_seconds: float = 0.0
    seconds: float = 0.0
    diverged: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)


class Trainer:
    """Trains one model on one corpus, and can be killed at any moment.

    Masks come from a generator of its own, which goes on where PyTorch's stands when the trainer is made.

    Args:
        model, constraint: the model and the set of weights that it is kept on after every update.
        optimizer: over the model's parameters.
        corpus: its train split is read in ``options.batch_size`` streams, its valid split decides.
        window: steps between two updates T.
        options: conf/train.yaml, ``training``.
        folder: of the run; checkpoints go there.
        identity: saved with the checkpoint; one that differs is refused on resume.
        tracker: gets the training and validation curves.
        on_update: called with the counters and the last loss (nats a token), for a progress bar.
        processes: that share the streams of the run; the first one scores and writes.
    """

    def __init__(
        self,
        model: SequenceModel,
        constraint: Constraint,
        optimizer: torch.optim.Optimizer,
        corpus: Corpus,
        window: int,
        options: Training,
        folder: Path,
        identity: str,
        tracker: Run,
        on_update: Callable[[Counters, float], None] = lambda counters, loss: None,
        processes: Processes = ALONE,
    ) -> None:
        self.model = model
        self.constraint = constraint
        self.optimizer = optimizer
        self.corpus = corpus
        self.options = options
        self.folder = folder
        self.identity = identity
        self.tracker = tracker
        self.on_update = on_update
        self.processes = processes
        self.device = model.inputs.weight.device
        share = (processes.rank, processes.size)
        self.windows = Windows(corpus.splits["train"], options.batch_size, window, self.device, share)
        self.streams = options.batch_size // processes.size  # of this process
        passes = options.epochs * len(self.windows)
        enough = -(-(options.max_tokens or math.inf) // (options.batch_size * window))
        self.total_updates = int(min(passes, options.max_updates or passes, enough))
        pause = options.pause_after or options.epochs
        self.pause_update = min(self.total_updates, pause * len(self.windows))
        self.counters = Counters()
        self.state = model.initial_state(self.streams)
        self.generator = own_generator(self.device)
        draw_from(model, self.generator)
        self.update = make_step(
            model, constraint, optimizer, options.clip, options.accumulate, processes, self.generator
        )
        self.scorer = Scorer(model)
        self.writer = Writer(beside=self.device.type == "cuda")
        self._issued: list[int] = []  # tokens of each update whose loss was not collected yet
        self._reports_every_update = self._repeats_itself = self.device.type == "cpu"

    def fit(self) -> Counters:
        """Train to the end, from the last checkpoint if there is one.

        Raises:
            KeyboardInterrupt: after SIGINT or SIGTERM; the checkpoint is written, so the run can be resumed.
            SystemExit: after a signal whose handler, a scheduler's, ends the process; likewise.
        """
        return finish(self.turns())

    def turns(self, shared: Interruption | None = None) -> Turns[Counters]:
        """``fit``, giving way after each update and wherever the device is waited for.

        Args:
            shared: the interruption of all runs that take turns.
        """
        self._resume()
        now = self.counters
        saved = time.monotonic()
        started = saved - now.seconds
        self.model.train()
        if now.update == 0:
            self._take_snapshot()
        with nullcontext(shared) if shared else Interruption() as interruption:
            began = time.monotonic()
            while not self._finished():
                self.step()
                finite = yield from self.report()
                now.training_seconds += time.monotonic() - began
                if not finite:
                    now.diverged = True
                    break
                self._take_snapshot()
                now.seconds = time.monotonic() - started
                if self._evaluation_is_due():
                    yield from self._evaluate()
                    now.seconds = time.monotonic() - started
                stop, due = self.processes.any(
                    interruption.requested,
                    time.monotonic() - saved >= self.options.checkpoint_seconds or self._has_new_best(),
                )
                if stop or due:
                    yield from arrival(self.device)
                    self.save()
                    saved = time.monotonic()
                if stop:
                    self.writer.finish()
                    interruption.act()
                began = time.monotonic()
                yield  # what passes here is of the rate at which this run trains beside others
            self.save()  # the weights at the end, for whoever compares them with the best
            yield from self.writer.turns()
        return now

    def step(self) -> None:
        """One update on the next window."""
        now = self.counters
        number = now.update % len(self.windows)
        if number == 0:
            self.state = self.model.initial_state(self.streams)
        x, y = self.windows.window(number)
        self.state = self.update(x, y, self.state)
        now.update += 1
        self._issued.append(y.numel() * self.processes.size)

    def report(self) -> Turns[bool]:
        """Collect the losses, if it is time; False if an update since then was not finite (it changed nothing).

        On a CPU every update is reported, on a GPU those before a row of the history: asking more often
        would let the device wait for the host.
        """
        if not (self._reports_every_update or self._row_is_due() or self._evaluation_is_due()):
            return True
        yield from arrival(self.device)
        return self.collect()

    def collect(self) -> bool:
        """Take the losses since the last report into the counters; False if an update was not finite."""
        now = self.counters
        if not self._issued:
            return True
        nats, done = self.update.collect()
        finite = done == len(self._issued)
        now.update -= len(self._issued) - done
        tokens = sum(self._issued[:done])
        self._issued.clear()
        now.trained_tokens += tokens
        now.nats += nats
        now.tokens += tokens
        now.recent_nats += nats
        now.recent_tokens += tokens
        if finite:
            if self._row_is_due():
                row = {"update": now.update, "train_perplexity": _perplexity(now.recent_nats, now.recent_tokens)}
                now.history.append(row)
                now.recent_nats, now.recent_tokens = 0.0, 0
                self.tracker.log({"update": now.update, "train/perplexity": row["train_perplexity"]})
            self.on_update(now, nats / tokens)
        return finite

    @property
    def paused(self) -> bool:
        """Whether this is not the end of the run, but as far as it may go now."""
        return self.pause_update <= self.counters.update and not self._ended()

    def _finished(self) -> bool:
        return self.paused or self._ended()

    def _ended(self) -> bool:
        now = self.counters
        return now.update >= self.total_updates or now.evaluations_without_gain >= self.options.early_stop

    def _row_is_due(self) -> bool:
        return self.counters.update % self.options.log_every == 0

    def _evaluation_is_due(self) -> bool:
        every = self.options.evaluate_every or len(self.windows)
        return self.counters.update % every == 0 or self.counters.update == self.total_updates

    def _has_new_best(self) -> bool:
        """Whether best weights were written that a run which goes on from an older checkpoint may not come to."""
        return not self._repeats_itself and self.counters.best_update == self.counters.update

    def _take_snapshot(self) -> None:
        """Copy the recurrent matrices, if it is time; the same update always gives the same file."""
        every, update = self.options.snapshot_every, self.counters.update
        if self.processes.first and every and (update % every == 0 or update == self.total_updates):
            matrices = checkpoint.recurrent_matrices(self.model.backbone.cells)
            self.writer.save(checkpoint.snapshot_file(self.folder, update), matrices, {"update": update})

    def _evaluate(self) -> Turns[None]:
        """Score valid; keep the best weights, divide the learning rate if there was no gain."""
        now = self.counters
        project(self.constraint, self.model)
        scoring = self.scorer.turns(self.corpus.splits["valid"])
        valid = yield from self.processes.turns_of_first(scoring)
        lr = self.optimizer.param_groups[0]["lr"]
        row = {
            "update": now.update,
            "epoch": round(now.update / len(self.windows), 4),
            "train_perplexity": _perplexity(now.nats, now.tokens),
            "valid_perplexity": valid.perplexity,
            "lr": lr,
        }
        now.history.append(row)
        now.nats, now.tokens = 0.0, 0
        self.tracker.log(
            {
                "update": now.update,
                "epoch": row["epoch"],
                "valid/perplexity": valid.perplexity,
                "valid/train_perplexity": row["train_perplexity"],
                "valid/lr": lr,
            }
        )
        if now.best is None or valid.nats < now.best["nats"]:
            now.best, now.best_update, now.evaluations_without_gain = valid.as_dict(), now.update, 0
            if self.processes.first:
                weights = checkpoint.model_tensors(self.model)
                self.writer.save(self.folder / checkpoint.BEST, weights, {"update": now.update})
        else:
            now.evaluations_without_gain += 1
            for group in self.optimizer.param_groups:
                group["lr"] /= self.options.annealing
        if self.processes.first:
            self._keep_weights()
            write_history(self.folder, now.history)

    def _keep_weights(self) -> None:
        """Copy all weights, if this evaluation is one to keep; those at the end stay in the checkpoint anyway."""
        every = self.options.keep_every
        evaluations = sum("valid_perplexity" in row for row in self.counters.history)
        if every and evaluations % every == 0 and not self._ended():
            path = checkpoint.kept_file(self.folder, self.counters.update)
            self.writer.save(path, checkpoint.model_tensors(self.model), {"update": self.counters.update})

    def release(self) -> None:
        """Give up what the device holds beside the model; nothing comes after it."""
        self.update.release()
        self.scorer.release()

    def load_best(self) -> None:
        """Give the model the weights of the best evaluation."""
        path = self.folder / checkpoint.BEST
        saved, values = checkpoint.load(path)
        if values["update"] != self.counters.best_update:
            # Written after the checkpoint, by a run that was killed and has come to other numbers since (on a GPU).
            raise CheckpointError(f"{path} is not of the best update {self.counters.best_update}: {checkpoint.REMEDY}")
        checkpoint.load_model(self.model, saved)

    def score_best(self, split: str) -> Turns[Score]:
        """Score a split with the weights of the best evaluation, in one process alone."""
        self.load_best()
        return (yield from self.scorer.turns(self.corpus.splits[split]))

    def save(self) -> None:
        """Write the checkpoint that ``fit`` resumes from, on whatever number of processes."""
        self.collect()
        shares = self.processes.gather([tensor.cpu() for tensor in tensors(self.state)])
        generators = self.processes.gather(checkpoint.generator_state(self.generator, self.processes.rank))
        if not self.processes.first:
            return
        optimizer_tensors, optimizer_values = checkpoint.optimizer_state(self.optimizer)
        state = {f"state.{number}": tensor for number, tensor in enumerate(join_streams(shares))}
        self.writer.save(
            self.folder / checkpoint.LAST,
            checkpoint.model_tensors(self.model) | optimizer_tensors | state | dict(ChainMap(*generators)),
            {"identity": self.identity, "counters": asdict(self.counters), "optimizer": optimizer_values},
        )

    def _resume(self) -> None:
        path = self.folder / checkpoint.LAST
        if not path.is_file():
            return
        saved, values = checkpoint.load(path)
        if values.get("identity") != self.identity:
            raise CheckpointError(f"{path} is of another run or of other data; delete {self.folder} to start it anew")
        with checkpoint.restoring(path):
            checkpoint.load_model(self.model, saved)
            checkpoint.load_optimizer(self.optimizer, saved, values["optimizer"])
            self.counters = Counters(**values["counters"])
            self.update.number = self.counters.update
            count = sum(1 for _ in tensors(self.state))
            whole = rebuild(self.state, (saved[f"state.{number}"].to(self.device) for number in range(count)))
            self.state = split_streams(whole, self.processes.size)[self.processes.rank]
            checkpoint.load_generator_state(self.generator, saved, self.processes.rank)


def _perplexity(nats: float, tokens: int) -> float:
    return Score(nats, tokens).perplexity if tokens else math.nan
