"""Short forms for Python of what the commands do; ``stablernn.__all__`` lists them."""

import copy
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from stablernn.analysis.conversion.network import Unrolled
from stablernn.analysis.truncation import chosen, truncation_curve
from stablernn.analysis.truncation_curve import TruncationCurve
from stablernn.config.compose import compose
from stablernn.config.instantiate import make
from stablernn.examination.data import Data, Texts, read
from stablernn.models.feed_forward import FeedForward
from stablernn.models.sequence_model import SequenceModel
from stablernn.records.record import Record
from stablernn.stability.certificates import certify
from stablernn.stability.on_text import text_bounds
from stablernn.tasks.sequences import Sequences
from stablernn.tasks.splits import Task
from stablernn.training.run import run
from stablernn.training.trained import Trained


def truncate(model: SequenceModel, k: int) -> SequenceModel:
    """The feed-forward model of k layers that sees the last k inputs alone, with the same weights, shared.

    As any model: inputs (T, B) or (T, B, E) and a state, the last k - 1 inputs, to features (T, B, D) and the state
    after them.

    >>> import stablernn, torch
    >>> model = stablernn.from_torch(torch.nn.Embedding(11, 4), torch.nn.RNN(4, 5), torch.nn.Linear(5, 11))
    >>> feedforward = stablernn.truncate(model, k=3)
    >>> x = torch.randint(11, (7, 2))
    >>> last, _ = feedforward(x, feedforward.initial_state(2))
    >>> of_three, _ = model(x[-3:], model.initial_state(2))
    >>> torch.allclose(last[-1], of_three[-1], atol=1e-6)
    True
    """
    return SequenceModel(model.inputs, FeedForward(list(model.cells), k=k), model.objective).eval()


def convert(model: SequenceModel, k: int) -> Unrolled:
    """One plain module from inputs (T, B) or (T, B, E) to log-probabilities (T, B, V), without state, weights copied.

    Time comes first. An id that the embedding has no row for is an error, and so is a frame outside its bounds.

    >>> import stablernn, torch
    >>> model = stablernn.from_torch(torch.nn.Embedding(11, 4), torch.nn.GRU(4, 5), torch.nn.Linear(5, 11))
    >>> network = stablernn.convert(model, k=3)
    >>> network(torch.randint(11, (7, 2))).exp().sum(-1).round().unique()
    tensor([1.], grad_fn=...)
    """
    return Unrolled(copy.deepcopy(model), k).eval()


def curve(
    model: SequenceModel,
    data: Data,
    lengths: Iterable[int] = range(1, 65),
    *,
    vocabulary: Texts | None = None,
    tokens: int | None = None,
    level: str = "word",
) -> TruncationCurve:
    """The score of the recurrent model and of its truncations to each of ``lengths``, in one pass.

    Args:
        model: with cells.
        data, vocabulary, level: as for ``examine``.
        lengths: the k.
        tokens: the first so many items; None: all.

    >>> import stablernn, torch
    >>> model = stablernn.from_torch(torch.nn.Embedding(11, 4), torch.nn.LSTM(4, 5), torch.nn.Linear(5, 11))
    >>> curve = stablernn.curve(model, torch.randint(11, (300,)), lengths=[1, 2, 4, 8])
    >>> list(curve.truncated), curve.recurrent.count
    ([1, 2, 4, 8], 299)
    """
    return truncation_curve(model, read(model, data, vocabulary, tokens, level).split, list(lengths))


@dataclass(frozen=True)
class TextCertificate:
    """What is proven for the inputs of one text, whatever others would do.

    Attributes:
        bounds: (K, N), nats that truncation to k = 1 .. K can change any log-probability at each of N positions;
            without a decoder, any entry of the output.
        targets: the same for the items of the text alone.
    """

    bounds: Tensor
    targets: Tensor

    def gap(self, k: int) -> float:
        """The largest bound at k, over the positions."""
        return float(self.bounds[k - 1].max())

    def context(self, epsilon: float) -> int | None:
        """k(ε): the least k for which ``gap`` is at most ε; None: above K."""
        return next((k for k in range(1, len(self.bounds) + 1) if self.gap(k) <= epsilon), None)


def certify_on(
    model: SequenceModel,
    data: Data,
    *,
    vocabulary: Texts | None = None,
    tokens: int | None = None,
    k_max: int = 512,
    epsilon: float = 0.0,
    level: str = "word",
) -> TextCertificate:
    """What truncation can change on a text: sound for its inputs, and far below what ``certify`` says of all inputs.

    Args:
        model: with cells.
        data, vocabulary, level: as for ``examine``.
        tokens: the first so many items; None: all. Each costs up to ``k_max`` steps in float64.
        k_max: the largest k.
        epsilon: a bound that is enough; beyond, the last one stands for larger k.

    Raises:
        NotApplicableError: nothing is known of a cell.

    >>> import stablernn, torch
    >>> _ = torch.manual_seed(0)
    >>> model = stablernn.from_torch(torch.nn.Embedding(11, 4), torch.nn.RNN(4, 5), torch.nn.Linear(5, 11))
    >>> certificate = stablernn.certify_on(model, torch.randint(11, (100,)), k_max=64)
    >>> certificate.context(0.01) <= stablernn.certify(model).context(0.01)
    True
    """
    split = read(model, data, vocabulary, tokens, level).split
    most = min(k_max, split.longest if isinstance(split, Sequences) else len(split))
    pieces = [range(len(split))] if isinstance(split, Sequences) else chosen(len(split), 1024)
    double = copy.deepcopy(model).double()
    return TextCertificate(*text_bounds(double, certify(model), split, pieces, most, epsilon))


def task(name: str, /, **options: Any) -> Task:
    """A data set by the name that ``dataset=`` takes, loaded: ``splits``, ``batches``, ``interface``, ``metric``.

    Args:
        name: as in conf/dataset: embedded, wikitext2, ptb, jsb, atis, text_folder, ...
        options: of the data set, as in ``path="folder"``.

    Raises:
        DataError: the data are not here.

    >>> import stablernn
    >>> embedded = stablernn.task("embedded", max_tokens={"train": 2000, "valid": 500, "test": 500})
    >>> embedded.types, len(embedded.splits["test"])
    (256, 500)
    """
    dataset = OmegaConf.merge(compose("train", [f"dataset={name}"]).dataset, options)
    return make(dataset).load()  # type: ignore[arg-type]


def train(*overrides: str, runs: str | os.PathLike[str] = "runs") -> Trained:
    """Train one run, or find it finished: what ``stablernn train`` does with the same overrides.

    ``record`` of the result has its scores, ``model("best")`` its best weights, ``corpus`` its data.

    Args:
        overrides: ``option=value``, as on the command line.
        runs: folder of the run's record and weights.

    >>> import stablernn, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> short = ["profile=smoke", "tracking=none", "training.max_updates=2", "progress=false"]
    >>> trained = stablernn.train("model=rnn", "stability=stable", "dataset=embedded", *short, runs=folder.name)
    >>> trained.record.status
    'finished'
    >>> stablernn.certify(trained.model("best")).rate < 1
    True
    >>> folder.cleanup()
    """
    config = compose("train", list(overrides))
    config.runs = str(runs)
    record: Record = run(config)
    return Trained(Path(runs) / record.id, record, None, torch.device("cpu"))
