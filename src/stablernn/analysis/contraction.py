"""analysis=contraction: how contractive a run's model is on the data, before, during and after training (claim C6)."""

import statistics
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch

from stablernn.analysis.analyse import check_split
from stablernn.console import open_bar
from stablernn.errors import ConfigurationError
from stablernn.stability.contraction import largest_expansion, lyapunov_exponent
from stablernn.training.trained import STAGES, Trained


@dataclass(frozen=True)
class ContractionAnalysis:
    """λ_r and the largest Lyapunov exponent on a split.

    Args:
        split: of the data.
        streams: stretches of it, and pairs of states.
        lead: words before a pair or a tangent is looked at.
        longest: the largest r; pairs are searched for r = 1, 2, 4, ... up to it.
        steps: of the search, for each r.
        words: of each stream for the Lyapunov exponent.
    """

    split: str = "valid"
    streams: int = 32
    lead: int = 64
    longest: int = 128
    steps: int = 40
    words: int = 500
    name: ClassVar[str] = "contraction"

    def __post_init__(self) -> None:
        check_split(self.split)
        for option in ("streams", "lead", "longest", "steps", "words"):
            if getattr(self, option) < 1:
                raise ConfigurationError(f"analysis.{option}={getattr(self, option)} must be a whole number >= 1")
        if self.streams < 2:
            raise ConfigurationError("analysis.streams must be at least 2: a pair of states comes from two streams")

    @property
    def options(self) -> dict[str, Any]:
        return asdict(self)

    def __call__(self, trained: Trained) -> dict[str, Any]:
        ids = torch.as_tensor(trained.corpus.splits[self.split].inputs.astype("int64"), device=trained.device)
        length = min(self.lead + max(self.longest, self.words), len(ids) // self.streams)
        if length < self.lead + self.longest:
            raise ConfigurationError(
                f"analysis.streams={self.streams}: stretches of {self.lead + self.longest} words need "
                f"{self.streams * (self.lead + self.longest):,} words, and {self.split} has {len(ids):,}: fewer streams"
            )
        words = ids[: length * self.streams].view(self.streams, length).T
        targets = [2**power for power in range(self.longest.bit_length()) if 2**power <= self.longest]
        if targets[-1] != self.longest:
            targets.append(self.longest)
        result: dict[str, Any] = {"words": len(words) - self.lead, "stages": {}}
        bar = open_bar(f"contraction {trained.record.id}", len(STAGES) * len(targets) * self.steps)
        done = 0

        def on_step() -> None:
            nonlocal done
            done += 1
            bar.update(done)

        for stage in STAGES:
            model = trained.model(stage)
            expansion = largest_expansion(
                model, words[: self.lead + self.longest], self.lead, targets, self.steps, on_step=on_step
            )
            exponents = lyapunov_exponent(model, words, self.lead)
            result["stages"][stage] = asdict(expansion) | {
                "contracts_from": expansion.contracts_from,
                "lyapunov": statistics.mean(exponents),
                "lyapunov_deviation": statistics.stdev(exponents),
            }
        bar.close()
        return result
