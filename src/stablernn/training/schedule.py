"""Where a run stands, in numbers, and what is due after which update."""

from dataclasses import dataclass, field
from typing import Any

from stablernn.config.schema import Training
from stablernn.utils.metrics import Metric, Score


@dataclass
class Counters:
    """All that a checkpoint holds beside tensors.

    ``nats`` and ``tokens`` sum the training loss since the last evaluation, ``recent_*`` since the last row of the
    history between two evaluations.
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

    def count(self, nats: float, tokens: int) -> None:
        """The training loss of further updates."""
        self.trained_tokens += tokens
        self.nats += nats
        self.tokens += tokens
        self.recent_nats += nats
        self.recent_tokens += tokens

    def add_row(self, metric: Metric) -> dict[str, Any]:
        """The training loss since the last row becomes one of the history."""
        row = {"update": self.update, "train": metric.value(self.recent_nats, self.recent_tokens)}
        self.recent_nats, self.recent_tokens = 0.0, 0
        self.history.append(row)
        return row

    def add_evaluation(self, epoch: float, valid: Score, lr: float) -> dict[str, Any]:
        """A score of valid, and the training loss since the one before, become a row of the history."""
        row = {
            "update": self.update,
            "epoch": epoch,
            "train": valid.metric.value(self.nats, self.tokens),
            "valid": valid.value,
            "lr": lr,
        }
        self.nats, self.tokens = 0.0, 0
        self.history.append(row)
        return row

    def is_gain(self, valid: Score) -> bool:
        """Count a score of valid; whether it is the best so far."""
        rank = valid.metric.rank
        if self.best is not None and not rank(valid.as_dict()) < rank(self.best):
            self.evaluations_without_gain += 1
            return False
        self.best, self.best_update, self.evaluations_without_gain = valid.as_dict(), self.update, 0
        return True

    @property
    def evaluations(self) -> int:
        return sum("valid" in row for row in self.history)


class Schedule:
    """When a run logs, evaluates, keeps weights, pauses and ends."""

    def __init__(self, options: Training, epoch: int, tokens: int) -> None:
        self.options = options
        self._epoch = epoch
        limits = [options.epochs * epoch]
        if options.max_updates:
            limits.append(options.max_updates)
        if options.max_tokens:
            limits.append(-(-options.max_tokens // tokens))
        self.total_updates = min(limits)
        self.pause_update = min(self.total_updates, (options.pause_after or options.epochs) * epoch)
        self.evaluate_every = options.evaluate_every or epoch

    @property
    def evaluations(self) -> int:
        """How many there are at most."""
        return -(-self.total_updates // self.evaluate_every)

    def is_over(self, now: Counters) -> bool:
        """Whether the run has come as far as it may go now."""
        return self.pause_update <= now.update or self.is_at_its_end(now)

    def is_at_its_end(self, now: Counters) -> bool:
        """Whether it would not continue later either."""
        return now.update >= self.total_updates or now.evaluations_without_gain >= self.options.early_stop

    def lr_is_lowered(self, now: Counters, gained: bool) -> bool:
        """After an evaluation: whether the learning rate is divided.

        Not in the warm-up. By default where there was no gain. With ``anneal_from`` after every evaluation from that
        epoch on: a short schedule ends before a plateau would have been noticed.
        """
        if now.update < (self.options.warm_up or 0):
            return False
        start = self.options.anneal_from
        return not gained if start is None else now.update >= start * self._epoch

    def warm_up_share(self, now: Counters) -> float | None:
        """What the learning rate of the next update is of the one that is asked for; None after the warm-up."""
        updates = self.options.warm_up or 0
        return (now.update + 1) / updates if now.update < updates else None

    def row_is_due(self, now: Counters) -> bool:
        return now.update % self.options.log_every == 0

    def evaluation_is_due(self, now: Counters) -> bool:
        return now.update % self.evaluate_every == 0 or now.update == self.total_updates

    def snapshot_is_due(self, now: Counters) -> bool:
        every = self.options.snapshot_every
        return bool(every) and (now.update % every == 0 or now.update == self.total_updates)

    def keeping_is_due(self, now: Counters) -> bool:
        """After an evaluation: whether all weights are kept. Those at the end stay in the checkpoint anyway."""
        every = self.options.keep_every
        return bool(every) and now.evaluations % every == 0 and not self.is_at_its_end(now)
