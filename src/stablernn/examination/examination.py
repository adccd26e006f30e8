"""What an examination found: a screen, figures, a page, and the way to the feed-forward network."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stablernn.analysis.conversion.network import Unrolled
from stablernn.models.heads.features import Features
from stablernn.models.sequence_model import SequenceModel
from stablernn.report.sections.truncation import assured_context, has_errors, measured_context
from stablernn.stability.certificates import Certificate
from stablernn.tasks.sequences import Sequences
from stablernn.tasks.splits import Split
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.metrics import Metric

ANY_TEXT, THIS_TEXT, MEASURED = "proven for any text", "proven on this text", "measured on this text"


@dataclass(frozen=True)
class Examination:
    """All that ``examine`` found; ``print`` shows it on a screen of 80 columns.

    Attributes:
        model: that was examined.
        split: on these inputs and targets.
        words: of the vocabulary, in the order of ids; None: the data were no text.
        name, data: of the network and of the data.
        metric: of the scores.
        epsilon: nats an item that a replacement may change.
        certificate: for all inputs.
        on_text: k(ε) over ``positions`` of this text: mean, p99, max, None where it is not proven up to ``most``; and
            the largest bound by k. None: nothing is known of a cell.
        dynamics: λ_r (``largest`` for r = 1, 2, ..., ``contracts_from``), ``lyapunov`` and its standard ``error``.
        gradient: norms of the gradient of the loss by the inputs before; None: there is no loss.
        curve: score, its change with standard error, and state gap by ``k``.
        chance: nats an item of a model that knows the frequencies of the outputs alone; None: there is no score.
        speed: items a second of the recurrent and of the feed-forward model of ``k`` inputs, by threads.
    """

    model: SequenceModel
    split: Split | Sequences = field(repr=False)
    words: tuple[str, ...] | None = field(repr=False)
    name: str
    data: str
    metric: Metric
    epsilon: float
    certificate: Certificate = field(repr=False)
    on_text: dict[str, Any] | None = field(repr=False)
    dynamics: dict[str, Any] = field(repr=False)
    gradient: dict[str, Any] | None = field(repr=False)
    curve: dict[str, Any] = field(repr=False)
    chance: float | None = field(repr=False)
    speed: dict[str, Any] = field(repr=False)

    @property
    def scored(self) -> bool:
        """Whether the network predicts anything."""
        return not isinstance(self.model.objective, Features)

    @property
    def has_learnt(self) -> bool:
        """Whether it predicts better than the frequencies of the outputs do, so that context can matter to it."""
        total, count = self.curve["recurrent"]["total"], self.curve["recurrent"]["count"]
        return self.chance is None or total / count < self.chance

    @property
    def proven(self) -> int | None:
        """k(ε) for all inputs; None: nothing is proven, or it is above ten million."""
        k = self.certificate.context(self.epsilon)
        return None if k is None else max(1, k)

    @property
    def proven_on_text(self) -> int | None:
        """k(ε) at every position of this text that was looked at; None: not proven."""
        if self.on_text is None or self.on_text["max"] is None:
            return None
        return int(self.on_text["max"])

    @property
    def measured(self) -> int | None:
        """The least k from which on the score stays within ε (without a decoder: any state); None: above all k.

        Where the text has blocks enough, its whole 95 % interval does.
        """
        if not self.scored:
            ks = self.curve["k"]
            above = [k for k, gap in zip(ks, self.curve["state"]["largest"], strict=True) if gap > self.epsilon]
            least = above[-1] + 1 if above else 1
            return least if least <= ks[-1] else None
        return (assured_context if has_errors(self.curve) else measured_context)(self.curve, self.epsilon)

    @property
    def choice(self) -> tuple[int | None, str]:
        """The k that ``convert`` takes, and what stands behind it: the strongest guarantee among the k examined."""
        known = ((self.proven, ANY_TEXT), (self.proven_on_text, THIS_TEXT), (self.measured, MEASURED))
        most = self.curve["k"][-1]
        return next(((k, how) for k, how in known if k is not None and k <= most), (None, ""))

    @property
    def k(self) -> int | None:
        """See ``choice``."""
        return self.choice[0]

    def __str__(self) -> str:
        from stablernn.examination.screen import screen

        return screen(self)

    def plot(self, folder: Path | str | None = None) -> list[Any]:
        """Altair charts: score against k; what truncation changes, measured and proven; gradient norms.

        Args:
            folder: write each as SVG and PNG too.
        """
        from stablernn.examination.drawn import charts

        return charts(self, folder)

    def save(self, path: Path | str) -> Path:
        """Write all of it as a page, one HTML file that asks nothing of any network."""
        from stablernn.examination.drawn import save

        return save(self, Path(path))

    def convert(self, k: int | None = None) -> Unrolled:
        """The feed-forward network as a module: inputs (T, B) or (T, B, E) to log-probabilities (T, B, V).

        Args:
            k: inputs of context; None: ``choice``.

        Raises:
            ConfigurationError: no k among those examined does, and none is given.
        """
        from stablernn.examination.api import convert

        return convert(self.model, self._context(k))

    def export(self, folder: Path | str, k: int | None = None, formats: Sequence[str] | None = None) -> Path:
        """Write the feed-forward network: ``model.pt2`` and ``model.onnx``, weights, vocabulary and a model card.

        ``formats``: of ``export`` and ``onnx``; None: both, without ``onnx`` where its packages are not installed.

        Each form is held against the PyTorch model before it is called done; ``load_converted`` reads the folder.

        Raises:
            ConfigurationError: see ``convert``; or the folder is in use for something else.
            ExportError: a form computes something else.
        """
        from stablernn.examination.exported import export

        return export(self, Path(folder), self._context(k), formats)

    def _context(self, k: int | None) -> int:
        chosen = k if k is not None else self.k
        if chosen is None:
            raise ConfigurationError(
                f"k is not set, and none up to k_max={self.curve['k'][-1]} stays within epsilon={self.epsilon:g}: give "
                "k, or examine with a larger k_max or epsilon"
            )
        return chosen
