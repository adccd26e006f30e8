"""What is due after which update."""

from stablernn.config.schema import Training
from stablernn.training.counters import Counters


class Schedule:
    """When a run logs, evaluates, keeps weights, pauses and ends.

    Args:
        options: conf/train.yaml, ``training``.
        epoch: updates of a pass over train.
        tokens: of an update.
    """

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
        """Whether it would not go on later either."""
        return now.update >= self.total_updates or now.evaluations_without_gain >= self.options.early_stop

    def lr_is_lowered(self, now: Counters, gained: bool) -> bool:
        """After an evaluation: whether the learning rate is divided.

        By default where there was no gain. With ``anneal_from`` after every evaluation from that epoch on: a short
        schedule ends before a plateau would have been noticed.
        """
        start = self.options.anneal_from
        return not gained if start is None else now.update >= start * self._epoch

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
