"""analysis=contraction: how contractive a run's model is on the data, before, during and after training (claim C6)."""

import statistics
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import torch

from stablernn.analysis.estimate import Subject
from stablernn.analysis.runner import check_least, check_split
from stablernn.stability.measured import largest_expansion, lyapunov_exponent
from stablernn.training.trained import STAGES, Trained
from stablernn.utils.console import open_bar
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.timing import seconds_of

LEAD, LONGEST = 64, 128  # positions
_BACKWARD = 3  # steps that one takes the time of, whose gradient is wanted
_SAMPLE = 8  # positions, to tell the time by


@dataclass(frozen=True)
class ContractionAnalysis:
    """λ_r and the largest Lyapunov exponent on a split.

    Args:
        split: of the data.
        streams: stretches of it, and pairs of states; of a set of sequences, the beginnings of so many longest ones.
        lead: positions before a pair or a tangent is looked at; None: ``LEAD``, or a third of shorter stretches.
        longest: the largest r; pairs are searched for r = 1, 2, 4, ... up to it; None: ``LONGEST``, or what is left.
        steps: of the search, for each r.
        tokens: positions of each stream for the Lyapunov exponent, where it has so many.
    """

    split: str = "valid"
    streams: int = 32
    lead: int | None = None
    longest: int | None = None
    steps: int = 40
    tokens: int = 500
    name: ClassVar[str] = "contraction"
    needs: ClassVar[tuple[str, ...]] = ("cells",)

    def __post_init__(self) -> None:
        check_split(self.split)
        check_least(self, streams=1, lead=1, longest=1, steps=1, tokens=1)
        if self.streams < 2:
            raise ConfigurationError("analysis.streams must be at least 2: a pair of states comes from two streams")

    @property
    def options(self) -> dict[str, Any]:
        return asdict(self) | {"lead": self._lead, "longest": self._longest}

    @property
    def targets(self) -> list[int]:
        """The r that pairs are searched for."""
        results = [2**power for power in range(self._longest.bit_length()) if 2**power <= self._longest]
        return results if results[-1] == self._longest else [*results, self._longest]

    @property
    def _lead(self) -> int:
        return LEAD if self.lead is None else self.lead

    @property
    def _longest(self) -> int:
        return LONGEST if self.longest is None else self.longest

    def fit(self, subject: Subject) -> "ContractionAnalysis":
        """With the lengths that the stretches have, where none were asked for."""
        room = subject.corpus.splits[self.split].room_beside(self.streams)
        if None not in (self.lead, self.longest) or room >= self._lead + self._longest:
            return self
        lead = self.lead or max(1, min(LEAD, room // 3 if self.longest is None else room - self.longest))
        return replace(self, lead=lead, longest=self.longest or max(1, min(LONGEST, room - lead)))

    def check(self, trained: Trained) -> None:
        """Raises ConfigurationError if the data have fewer or shorter stretches than are asked for."""
        self._streams(trained)

    def seconds(self, subject: Subject) -> float:
        """About how long a run takes, by a search of few steps over few positions."""
        model, inputs = subject.model("best"), self._streams(subject)
        few = replace(self, lead=1, longest=min(self._longest, 8), steps=2)
        ahead = inputs[: 1 + few._longest]

        def search_few() -> None:
            largest_expansion(model, ahead, 1, few.targets, few.steps)

        search = min(seconds_of(search_few, subject.device) for _ in range(2))  # the first is that of a cold machine
        sample = inputs[:_SAMPLE]
        along = seconds_of(lambda: lyapunov_exponent(model, sample, 1), subject.device) / len(sample)
        return len(STAGES) * (search * self._work() / few._work() + along * len(inputs))

    def _work(self) -> float:
        """Of the search, in steps of a pair forward: those of the ascent go back as well."""
        ascent = _BACKWARD * self.steps * sum(self.targets)
        return ascent + 2 * self._longest * len(self.targets) + self._lead + self._longest

    def _streams(self, subject: Subject) -> torch.Tensor:
        """Inputs of the split, (T, streams, ...)."""
        least = self._lead + self._longest
        return subject.corpus.splits[self.split].beside(self.streams, least, max(least, self._lead + self.tokens)).x

    def __call__(self, trained: Trained) -> dict[str, Any]:
        inputs, targets = self._streams(trained), self.targets
        result: dict[str, Any] = {"count": len(inputs) - self._lead, "stages": {}}
        bar = open_bar(f"contraction {trained.record.id}", len(STAGES) * len(targets) * self.steps)
        done = 0

        def on_step() -> None:
            nonlocal done
            done += 1
            bar.update(done)

        for stage in STAGES:
            model = trained.model(stage)
            expansion = largest_expansion(
                model, inputs[: self._lead + self._longest], self._lead, targets, self.steps, on_step=on_step
            )
            exponents = lyapunov_exponent(model, inputs, self._lead)
            result["stages"][stage] = asdict(expansion) | {
                "contracts_from": expansion.contracts_from,
                "lyapunov": statistics.mean(exponents),
                "lyapunov_deviation": statistics.stdev(exponents),
            }
        bar.close()
        return result
