"""What is known of one run, and how long a sweep will take by what is known of its runs."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stablernn.records.record import DIVERGED
from stablernn.utils.metrics import PERPLEXITY, Metric

RUNNING, FAILED, STOPPED, TO_DO, DONE = "running", "failed", "stopped", "to do", "done"
STATES = (RUNNING, FAILED, STOPPED, DIVERGED, TO_DO, DONE)  # in the order of what asks for attention

_ID = re.compile(r"(?P<data>.+?)-(?P<name>[^-]+-[^-]+-[^-]+-k\w+)-(?P<seed>s\d+)-[0-9a-f]{8}")


@dataclass(frozen=True)
class RunState:
    """One run as its folder shows it; None is what the folder does not say.

    Attributes:
        id: of the run, the name of its folder.
        state: one of ``STATES``.
        update, total: updates done, and at most to do.
        valid, best: validation score, the last and the best.
        metric: of the scores.
        speed: training tokens a second.
        seconds, left: of the run so far, and to its end at most.
        kind: runs of one kind take about the same time.
        fingerprint: of the data that it is trained and scored on.
        note: what is wrong.
    """

    id: str
    state: str
    update: int | None = None
    total: int | None = None
    valid: float | None = None
    best: float | None = None
    metric: Metric = PERPLEXITY
    speed: float | None = None
    seconds: float | None = None
    left: float | None = None
    kind: str | None = None
    fingerprint: str = ""
    note: str = ""

    @property
    def data(self) -> str:
        """The data set, from the id."""
        parts = _ID.fullmatch(self.id)
        return parts["data"] if parts else ""

    @property
    def name(self) -> str:
        """The id without data set and hash: not always unique."""
        parts = _ID.fullmatch(self.id)
        return f"{parts['name']}-{parts['seed']}" if parts else self.id

    @property
    def group(self) -> str:
        """What runs that differ in seed (or in what the id only hashes) have in common."""
        parts = _ID.fullmatch(self.id)
        return f"{parts['data']}-{parts['name']}" if parts else self.id

    @property
    def share(self) -> float | None:
        """Of its updates that are done, in [0, 1]."""
        if self.state in (DONE, DIVERGED):
            return 1.0
        if self.state == TO_DO:
            return 0.0
        return None if self.update is None or not self.total else min(1.0, self.update / self.total)


def kind(config: Mapping[str, Any]) -> str:
    """Equal for configurations (as in a record) whose runs take about the same time."""
    return json.dumps({key: value for key, value in config.items() if key not in ("seed", "stability")}, sort_keys=True)


def time_left(states: Sequence[RunState]) -> float | None:
    """Seconds until all is done, if as many runs go on at once as now; None if nothing tells how long a run takes."""
    known: dict[str | None, list[float]] = {}
    for run in states:
        if run.state in (DONE, RUNNING, STOPPED) and run.seconds is not None and run.left is not None:
            known.setdefault(run.kind, []).append(run.seconds + run.left)
    every = [seconds for value in known.values() for seconds in value]

    def of(run: RunState) -> float | None:
        if run.state in (DONE, DIVERGED, FAILED):
            return 0.0
        if run.left is not None:
            return run.left
        alike = known.get(run.kind) if run.kind else None
        result = alike or every
        return sum(result) / len(result) * (1 - (run.share or 0.0)) if result else None

    left = [of(run) for run in states]
    sure = [seconds for seconds in left if seconds is not None]
    if len(sure) < len(left):
        return None
    at_once = sum(run.state == RUNNING for run in states)
    return max([sum(sure) / max(1, at_once), *(s for s, run in zip(sure, states, strict=True) if run.state == RUNNING)])
