"""Where a run stands, in numbers."""

from dataclasses import dataclass, field
from typing import Any

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
