"""analysis=parallel: a run's model evaluated in parallel in time, and step by step: equal states, at what price."""

import copy
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from stablernn.analysis.estimate import Subject
from stablernn.analysis.runner import check_least, check_split
from stablernn.models.backbone import Backbone
from stablernn.models.parallel.backbone import ParallelInTime
from stablernn.models.parallel.iterations import ITERATIONS
from stablernn.models.parallel.residuals import Contracting
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import SequenceModel
from stablernn.models.state import tensors
from stablernn.stability.certificates import Certificate, certify
from stablernn.training.trained import Trained
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.timing import seconds_of

_SAMPLE = 256  # words, to tell the time by


@dataclass(frozen=True)
class ParallelAnalysis:
    """The best weights by iteration, over the first words of a split as one stream.

    Args:
        split: of the data,
        tokens: so many words of it.
        methods: names of iterations.
        chunk, tolerance, max_iterations: see ``Solver``.
        rounds: of timing, each of all variants in turn; 0: none.
    """

    split: str = "valid"
    tokens: int = 4096
    methods: tuple[str, ...] = ("jacobi", "newton")
    chunk: int = 1024
    tolerance: float = 1e-5
    max_iterations: int = 100
    rounds: int = 5
    name: ClassVar[str] = "parallel"
    needs: ClassVar[tuple[str, ...]] = ("cells", "text")

    def __post_init__(self) -> None:
        check_split(self.split)
        check_least(self, tokens=1, chunk=1, max_iterations=1, rounds=0)
        if not self.tolerance > 0:
            raise ConfigurationError(f"analysis.tolerance={self.tolerance} must be positive; 1e-5 suits float32")
        object.__setattr__(self, "methods", tuple(self.methods))
        unknown = [method for method in self.methods if method not in ITERATIONS]
        if unknown or not self.methods:
            raise ConfigurationError(f"analysis.methods={list(self.methods)}: choose from {', '.join(ITERATIONS)}")

    @property
    def options(self) -> dict[str, Any]:
        return asdict(self) | {"methods": list(self.methods)}

    def seconds(self, subject: Subject) -> float:
        """About how long a run takes, by the first words, which need as many iterations a chunk."""
        model, words = subject.model("best"), self._words(subject)
        sample, once = words[:_SAMPLE], replace(self, rounds=1)
        once._measure(model, sample[:8])  # the first time is that of a cold machine
        evaluated = seconds_of(lambda: replace(self, rounds=0)._measure(model, sample), subject.device)
        timed = seconds_of(lambda: once._measure(model, sample), subject.device) - evaluated
        return (evaluated + self.rounds * max(0.0, timed)) * len(words) / len(sample)

    def __call__(self, trained: Trained) -> dict[str, Any]:
        return self._measure(trained.model("best"), self._words(trained))

    def _words(self, subject: Subject) -> Tensor:
        """Ids (T,)."""
        words = subject.text(self.split).first(self.tokens).inputs.astype("int64")
        return torch.as_tensor(words, device=subject.device)

    @torch.no_grad()
    def _measure(self, model: SequenceModel, words: Tensor) -> dict[str, Any]:
        x = model.inputs(words[:, None])
        cells = list(model.cells)
        proofs = proofs_of(certify(model), self.tolerance)
        sequential = Recurrent(cells).eval()
        exact = Recurrent([copy.deepcopy(cell).double() for cell in cells]).eval()
        expected, true = _evaluate(sequential, x), _evaluate(exact, x.double())
        backbones = {method: self._backbone(cells, method, proofs) for method in self.methods}
        methods = {}
        for method, backbone in backbones.items():
            value = _evaluate(backbone, x)
            efforts = backbone.efforts
            iterations = [effort.iterations for effort in efforts]
            double = _evaluate(self._backbone(list(exact.cells), method, proofs), x.double())
            methods[method] = {
                "chunks": len(efforts),
                "iterations": statistics.mean(iterations),
                "most_iterations": max(iterations),
                "fallbacks": sum(effort.sequential for effort in efforts),
                "error": max(effort.error for effort in efforts),
                "difference": _largest(value, expected),
                "difference_float64": _largest(double, true),
                "efforts": [asdict(effort) for effort in efforts],
            }
        result = {
            "count": len(words),
            "rules": ["certificate" if proof else "measured" for proof in proofs],
            "rates": [proof.rate if proof else None for proof in proofs],
            "rounding": _largest(expected, true),
            "methods": methods,
        }
        if self.rounds:
            times = self._time({"sequential": sequential, **backbones}, x, model.device)
            result["seconds"] = times.pop("sequential")
            for method, seconds in times.items():
                methods[method] |= {"seconds": seconds, "speedup": result["seconds"] / seconds}
        return result

    def _backbone(self, cells: Sequence, method: str, proofs: Sequence[Contracting | None]) -> ParallelInTime:
        return ParallelInTime(
            cells,
            iteration=method,
            chunk=self.chunk,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            proofs=proofs,
        ).eval()

    def _time(self, variants: dict[str, Any], x: Tensor, device: torch.device) -> dict[str, float]:
        """Medians in seconds of alternating evaluations."""
        times: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(self.rounds):
            for name, backbone in variants.items():
                times[name].append(seconds_of(lambda backbone=backbone: _evaluate(backbone, x), device))
        return {name: statistics.median(values) for name, values in times.items()}


def proofs_of(certificate: Certificate, tolerance: float) -> list[Contracting | None]:
    """For each layer the proven contraction with which the fewest Jacobi iterations suffice; None without one."""
    chosen: list[Contracting | None] = []
    for proofs in certificate.proofs:
        results: list[tuple[float, Contracting]] = []
        for candidate in proofs.candidates:
            if candidate.holds and candidate.norm is not None:
                unit = 1 / min(float(weights.min()) for weights in candidate.norm.weights)
                needed = math.log(max(candidate.radius * unit / tolerance, 1.0)) / -math.log(max(candidate.rate, 1e-9))
                results.append((needed, Contracting(candidate.rate, candidate.norm, unit, proofs.box)))
        chosen.append(min(results, key=lambda pair: pair[0])[1] if results else None)
    return chosen


def _evaluate(backbone: Backbone, x: Tensor) -> tuple[Tensor, Any]:
    return backbone(x, backbone.initial_state(x.shape[1]))


def _largest(first: Any, second: Any) -> float:
    """The largest difference of an entry of the outputs and of the final states."""
    return max(float((a - b).abs().max()) for a, b in zip(tensors(first), tensors(second), strict=True))
