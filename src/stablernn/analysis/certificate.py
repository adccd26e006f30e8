"""analysis=certificate: what is proven about a run's model, and beside it what truncation changes."""

import copy
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch

from stablernn.analysis.estimate import Subject
from stablernn.analysis.runner import check_least, check_split
from stablernn.analysis.truncation import measure_gaps
from stablernn.analysis.truncation_cost import CurveCost, both_ways_seconds
from stablernn.models.both_directions import BothDirections
from stablernn.models.sequence_model import SequenceModel
from stablernn.stability.certificates import SEARCH_UNITS, by_norm, certify, finite, summarise
from stablernn.stability.constraints.base import constrained_cells
from stablernn.training.trained import Trained
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.timing import seconds_of


@dataclass(frozen=True)
class CertificateAnalysis:
    """The certificate of the best weights, and the gap measured at the k that it asks for.

    Args:
        epsilon: nats; k(ε) is the least k for which no log-probability can change by more.
        split: measured on it,
        tokens: on its first so many words,
        lengths: at these k and at k(ε),
        k_max: but at no k beyond this.
        search_units: proofs that take a search are tried for layers of at most so many units; 0: none are.
    """

    epsilon: float = 0.01
    split: str = "valid"
    tokens: int = 2000
    lengths: tuple[int, ...] = (10, 35)
    k_max: int = 256
    search_units: int = SEARCH_UNITS
    name: ClassVar[str] = "certificate"
    needs: ClassVar[tuple[str, ...]] = ("cells",)
    both_directions: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_split(self.split)
        if not self.epsilon > 0:
            raise ConfigurationError(f"analysis.epsilon={self.epsilon} must be a positive number of nats")
        check_least(self, tokens=1, k_max=1, search_units=0)
        object.__setattr__(self, "lengths", tuple(self.lengths))

    @property
    def options(self) -> dict[str, Any]:
        return asdict(self) | {"lengths": list(self.lengths)}

    def seconds(self, subject: Subject) -> float:
        """About how long a run takes of which nothing is proven: one with a smaller k(ε) takes less."""
        model, split = subject.model("best"), subject.corpus.splits[self.split].first(self.tokens)
        proofs = seconds_of(lambda: certify(model, search_units=self.search_units), subject.device)
        exact, lengths = copy.deepcopy(model).double(), sorted({*self.lengths, self.k_max})
        if isinstance(model.backbone, BothDirections):
            return 2 * proofs + both_ways_seconds(exact, split, lengths, tolerance=0.0)
        cost = CurveCost.measured(exact, split)
        return 2 * proofs + cost.seconds(len(split), lengths[-1], len(split) * len(lengths))

    def __call__(self, trained: Trained) -> dict[str, Any]:
        """``certificate`` and what is measured of the best weights; the rest also of the initial ones."""
        model, initial = trained.model("best"), trained.model("initial")
        certificate = certify(model, search_units=self.search_units)
        k = certificate.context(self.epsilon)
        at = min(k or self.k_max, self.k_max)
        gaps = measure_gaps(model, trained.corpus.splits[self.split].first(self.tokens), [*self.lengths, at])
        return {
            "certificate": summarise(model, certificate, self.search_units),
            "initial": summarise(initial, search_units=self.search_units),
            "singular_values": {"initial": singular_values(initial), "best": singular_values(model)},
            "by_norm": {
                name: {"rate": finite(alone.rate), "certified": alone.holds, "k": alone.context(self.epsilon)}
                for name, alone in by_norm(model, certificate).items()
            },
            "k": k,
            "measured_at": at if k is not None else None,
            "measured": {str(length): asdict(gap) for length, gap in gaps.items()},
            "certified": {str(length): certificate.gap(length) if certificate.bounds_loss else None for length in gaps},
        }


def singular_values(model: SequenceModel) -> dict[str, list[float]]:
    """The least and the largest singular value of the recurrent matrices of each name, over all layers, in float64."""
    found: dict[str, list[float]] = {}
    for cell, _ in constrained_cells(model):
        for name, block in cell.recurrent_blocks().items():
            found.setdefault(name, []).extend(torch.linalg.svdvals(block.detach().double()).tolist())
    return {name: [min(values), max(values)] for name, values in found.items()}
