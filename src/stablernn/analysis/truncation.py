"""What a recurrent model loses when it sees the last k words alone: every k in one pass.

The pass goes down the layers of the k-truncated network, h_t^(j) = φ(h_{t-1}^(j-1), x_t), with all positions of a
stretch of text side by side; the recurrent states h_t stand beside them.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from stablernn.analysis.estimate import Subject
from stablernn.analysis.fewer_softmaxes import FewerSoftmaxes
from stablernn.analysis.runner import check_split
from stablernn.analysis.truncation_curve import Gap, Sums, TruncationCurve
from stablernn.models.both_directions import BothDirections
from stablernn.models.feed_forward import truncations
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import SequenceModel
from stablernn.stability.certificates import Certificate, certify
from stablernn.tasks.sequences import Sequences
from stablernn.tasks.splits import Split
from stablernn.training.evaluate import BLOCK
from stablernn.training.trained import Trained
from stablernn.utils.console import open_bar
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.metrics import PERPLEXITY, Metric

POSITIONS = 4096
TOLERANCE = 1e-5
_SWEPT = 0.5  # of the softmaxes; what trained models need lies between a tenth and all
_SAMPLE, _SAMPLED = 512, 8  # words and lengths, to tell the time by


@torch.no_grad()
def truncation_curve(
    model: SequenceModel,
    split: Split | Sequences,
    lengths: Sequence[int],
    tolerance: float = TOLERANCE,
    positions: int = POSITIONS,
    on_position: Callable[[int], None] = lambda position: None,
    pieces: int | None = None,
    metric: Metric = PERPLEXITY,
) -> TruncationCurve:
    """Score a split by the recurrent model of these cells and by all its truncations.

    A text is one stream; of sequences each is scored alone, whole, from the zero state. A network of both directions is
    truncated to k inputs on each side.

    Every token is scored exactly once for each k, by k words of context or by all there are before it.

    Args:
        model: its weights count; whether its own backbone is recurrent or feed-forward does not. A float64 model
            sees gaps far below float32's rounding.
        split: of any length.
        lengths: the k.
        tolerance: nats by which a log-probability may be off where no softmax is computed for it; 0: it always is, as
            under a head that is not one full softmax.
        positions: held in memory at once; at least the largest k are.
        on_position: called with the number of positions done, for a progress bar.
        pieces: score so many pieces of the split only (``chosen``), after all the words before them.
        metric: of the scores.
    """
    was_training = model.training
    model.eval()
    device = model.device
    wanted = sorted(set(lengths))
    if not wanted or wanted[0] < 1:
        raise ConfigurationError(f"truncation lengths {wanted}: each must be a whole number >= 1")
    step = max(wanted[-1], positions)
    both = model.backbone if isinstance(model.backbone, BothDirections) else None
    scored = chosen(len(split), step, None if isinstance(split, Sequences) else pieces)
    sums = Sums(len(wanted), _parts(split, sum(map(len, scored))), device, metric)
    scorer = FewerSoftmaxes(model.objective, tolerance, sums)

    if isinstance(split, Sequences):
        done = 0
        for place, sequence in enumerate(split):
            x = model.inputs(sequence.x.to(device, model.dtype if sequence.x.is_floating_point() else None))
            whole, *views = _both_ways(both, x, wanted) if both else _one_way(model, x, wanted)
            first = split.before(place)
            scorer.begin(whole[first:, 0], sequence.y[first:, 0].to(device))
            for number, features in enumerate(views):
                scorer.add(number, features[first:, 0])
            done += sequence.count
            on_position(done)
        scorer.flush()
        model.train(was_training)
        return sums.curve(wanted, cut_positions(split, wanted, scored, both is not None), scorer.swept)

    cells = list(model.cells)
    backbone = Recurrent(cells)
    before = backbone.initial_state(1)

    def inputs(start: int, stop: int) -> Tensor:
        return model.inputs(_ids(split.inputs[start:stop], device)[:, None])

    done = reached = 0
    for piece in scored:
        for start in range(reached, piece.start, step):
            _, before = backbone(inputs(start, min(start + step, piece.start)), before)
        first = max(0, piece.start - wanted[-1] + 1)
        x, lead = inputs(first, piece.stop), piece.start - first
        whole, before = backbone(x[lead:], before)
        scorer.begin(whole[:, 0], _ids(split.targets[piece.start : piece.stop], device))
        for number, (_, states) in enumerate(truncations(cells, x, wanted, time=first)):
            scorer.add(number, states[-1].h[lead:, 0])
            on_position(done + len(piece) * (number + 1) // len(wanted))
        reached = piece.stop
        done += len(piece)
        on_position(done)
    scorer.flush()
    model.train(was_training)
    return sums.curve(wanted, cut_positions(split, wanted, scored, both is not None), scorer.swept)


def cut_positions(
    split: Split | Sequences, lengths: Sequence[int], scored: Sequence[range], both: bool = False
) -> list[int]:
    """Of the scored positions those that have more than k inputs, for each k; in both directions on either side."""
    if isinstance(split, Sequences):
        return [split.room(k, both) for k in lengths]
    return [sum(max(0, part.stop - max(part.start, k)) for part in scored) for k in lengths]


def _parts(split: Split | Sequences, scored: int) -> list[int]:
    """The sizes of the parts that other data of the kind would have: sequences, or of a text blocks."""
    if isinstance(split, Sequences):
        return [len(items) for items in split.items]
    return [min(BLOCK, scored - start) for start in range(0, scored, BLOCK)]


def _one_way(model: SequenceModel, x: Tensor, lengths: Sequence[int]) -> Iterator[Tensor]:
    """The features of a sequence x (T, 1, E), (T, 1, D), whole and by each k."""
    cells = list(model.cells)
    backbone = Recurrent(cells)
    yield backbone(x, backbone.initial_state(1))[0]
    yield from (states[-1].h for _, states in truncations(cells, x, lengths))


def _both_ways(backbone: BothDirections, x: Tensor, lengths: Sequence[int]) -> Iterator[Tensor]:
    """The same of both directions."""
    length = torch.tensor([len(x)], device=x.device)
    whole = backbone.whole(x, length)
    yield whole
    yield from (backbone.truncated(x, length, k) if k < len(x) else whole for k in lengths)


def chosen(length: int, step: int, pieces: int | None = None) -> list[range]:
    """The positions that are scored, in stretches of at most ``step``.

    Neighbouring words are of one article, and the next one is another. So where not all of a text can be had, pieces of
    ``BLOCK`` words in the middles of equal parts of it tell more about it than as many words from its beginning.
    """
    if pieces is None or pieces * BLOCK >= length:
        return [range(start, min(start + step, length)) for start in range(0, length, step)]
    starts = [(2 * number + 1) * length // (2 * pieces) - BLOCK // 2 for number in range(pieces)]
    return [range(start, start + BLOCK) for start in starts]


def _ids(words: Any, device: torch.device) -> Tensor:
    return torch.as_tensor(words.astype("int64"), device=device)


def measure_gaps(model: SequenceModel, split: Split | Sequences, lengths: Sequence[int]) -> dict[int, Gap]:
    """``truncation_curve`` in float64 with every softmax computed: differences far below float32's rounding count."""
    curve = truncation_curve(copy.deepcopy(model).double(), split, lengths, tolerance=0.0)
    return {k: at.gap for k, at in curve.truncated.items()}


@dataclass(frozen=True)
class TruncationAnalysis:
    """analysis=truncation: perplexity and state gap for k = 1 .. k_max, and beside them what is proven or optimal.

    Args:
        k_max: the largest k.
        split: of the data,
        whole: all of it, also where the run's own data are cut short.
        tokens: its first so many words; None: all.
        pieces: of that so many pieces of 1,024 words, spread evenly; None: all. Not on the embedded corpus, whose
            optimum is that of a whole text.
        tolerance: nats by which a single log-probability may be off (see ``fewer_softmaxes``).
        positions: held in memory at once.
    """

    k_max: int = 64
    split: str = "test"
    whole: bool = True
    tokens: int | None = None
    pieces: int | None = None
    tolerance: float = TOLERANCE
    positions: int = POSITIONS
    name: ClassVar[str] = "truncation"
    needs: ClassVar[tuple[str, ...]] = ("cells",)
    both_directions: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_split(self.split)
        for option in ("k_max", "positions"):
            if getattr(self, option) < 1:
                raise ConfigurationError(f"{option}={getattr(self, option)} must be a whole number >= 1")
        for option in ("tokens", "pieces"):
            if (value := getattr(self, option)) is not None and value < 1:
                raise ConfigurationError(f"analysis.{option}={value} must be a whole number >= 1, or null for all")
        if not self.tolerance >= 0:
            raise ConfigurationError(f"analysis.tolerance={self.tolerance} must be a number of nats >= 0")

    @property
    def options(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key != "positions"}

    def _text(self, subject: Subject) -> Split | Sequences:
        split = subject.whole_split(self.split) if self.whole else subject.corpus.splits[self.split]
        return split.first(self.tokens)

    def seconds(self, subject: Subject) -> float:
        """About how long a run takes: ``k_max`` layers a word, and as many softmaxes as its weights need.

        Those of weights that are there are counted on a few words and lengths.
        """
        from stablernn.analysis.truncation_cost import CurveCost, both_ways_seconds

        model, split = subject.model("best"), self._text(subject)
        if isinstance(model.backbone, BothDirections) and isinstance(split, Sequences):
            return both_ways_seconds(model, split, range(1, self.k_max + 1), self.tolerance)
        scored = chosen(len(split), self.positions, None if isinstance(split, Sequences) else self.pieces)
        words = sum(map(len, scored))
        cost = CurveCost.measured(model, split)
        share = 1.0 if self.tolerance == 0 or isinstance(split, Sequences) else _SWEPT
        if isinstance(subject, Trained) and isinstance(split, Split):
            lengths = sorted({-(-self.k_max * part // _SAMPLED) for part in range(1, _SAMPLED + 1)})
            share = truncation_curve(model, split.first(_SAMPLE), lengths, self.tolerance).swept
        led = words * (1 + (self.k_max - 1) / max(map(len, scored)))
        return cost.seconds(words, self.k_max, share * words * self.k_max, before=len(split) - words) + (
            (led - words) * self.k_max * cost.layer
        )

    def __call__(self, trained: Trained) -> dict[str, Any]:
        model = trained.model("best")
        split = self._text(trained)
        source = trained.corpus.source if isinstance(split, Split) else None
        if source is not None and self.pieces:
            raise ConfigurationError("analysis.pieces is for real text: on the embedded corpus take analysis.tokens")
        pieces = None if isinstance(split, Sequences) else self.pieces
        words = sum(map(len, chosen(len(split), self.positions, pieces)))
        bar = open_bar(f"truncation {trained.record.id}", words)
        lengths = range(1, self.k_max + 1)
        curve = truncation_curve(
            model, split, lengths, self.tolerance, self.positions, bar.update, pieces, trained.record.metric.of_loss
        )
        bar.close()
        return truncation_result(model, curve) | {
            "optimal": source.perplexities(split, self.k_max)
            if source is not None and isinstance(split, Split)
            else None,
            "optimal_whole_past": source.perplexity(split, None)
            if source is not None and isinstance(split, Split)
            else None,
        }


def truncation_result(model: SequenceModel, curve: TruncationCurve, certificate: Certificate | None = None) -> dict:
    """A curve of a model as JSON, and beside it what is proven; ``certificate``: the model's, where it is there."""
    certificate = certificate or certify(model)
    return {
        "count": curve.recurrent.count,
        "recurrent": curve.recurrent.as_dict(),
        "swept": curve.swept,
        "k": list(curve.truncated),
        "cut": [at.cut for at in curve.truncated.values()],
        "value": [at.score.value for at in curve.truncated.values()],
        "loss_change": [at.gap.loss_change for at in curve.truncated.values()],
        "error": {
            "blocks": curve.parts,
            "loss_change": [None if math.isnan(at.error) else at.error for at in curve.truncated.values()],
        },
        "largest": [at.gap.largest for at in curve.truncated.values()],
        "state": {name: [at.state[name] for at in curve.truncated.values()] for name in ("mean", "p99", "largest")},
        "certified": {
            "state": [certificate.state_gap(k) for k in curve.truncated] if certificate.holds else None,
            "nats": [certificate.gap(k) for k in curve.truncated]
            if certificate.holds and certificate.bounds_loss
            else None,
            "reason": certificate.summary().get("reason" if not certificate.holds else "loss"),
        },
    }
