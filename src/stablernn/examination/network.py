"""A PyTorch network as a model of this package, with the same weights."""

from collections.abc import Sequence

import torch
from torch import nn

from stablernn.models.cells.base import Cell
from stablernn.models.cells.gru import GRUCell
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.cells.rnn import RNNCell
from stablernn.models.heads.base import Head
from stablernn.models.heads.bernoulli import Bernoulli
from stablernn.models.heads.features import Features
from stablernn.models.heads.softmax import FullSoftmax
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import Frames, SequenceModel
from stablernn.tasks.base import Inputs, Interface, Outputs
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.wording import counted

CELLS: Sequence[type[Cell]] = (RNNCell, LSTMCell, GRUCell)
OUTPUTS = ("categorical", "bernoulli")
LARGEST = torch.finfo(torch.float32).max  # every finite float32 number lies in ±LARGEST


@torch.no_grad()
def from_torch(
    embedding: nn.Embedding | None,
    rnn: nn.RNNBase,
    decoder: nn.Linear | None = None,
    *,
    bounds: tuple[float, float] | None = None,
    outputs: str = "categorical",
) -> SequenceModel:
    """A trained PyTorch network, its weights copied, as a model that can be examined, truncated and converted.

    It computes what ``decoder(rnn(embedding(x))[0])`` computes at inference, from the zero state; inputs are time
    first, (T, B) or (T, B, E), whatever ``rnn.batch_first``. Dropout plays no part at inference and is left out.

    Args:
        embedding: ids to vectors; None: the network reads frames (T, B, E).
        rnn: ``nn.RNN`` (tanh), ``nn.LSTM`` or ``nn.GRU``, of one direction, of any number of layers.
        decoder: features to logits; its weight may be that of the embedding. None: the features are the output.
        bounds: least and greatest entry of a frame; None: any number of float32.
        outputs: of a decoder: ``categorical``, one of its outputs comes (softmax); ``bernoulli``, each is on or off.

    Raises:
        ConfigurationError: the network is none that this package knows; says what would help.

    >>> import torch, stablernn
    >>> embedding, rnn, decoder = torch.nn.Embedding(11, 4), torch.nn.LSTM(4, 5, num_layers=2), torch.nn.Linear(5, 11)
    >>> model = stablernn.from_torch(embedding, rnn, decoder)
    >>> x = torch.randint(11, (7, 3))
    >>> features, state = model(x, model.initial_state(3))
    >>> torch.allclose(model.objective.logits(features), decoder(rnn(embedding(x))[0]), atol=1e-6)
    True
    """
    kind = _cell_of(rnn)
    for name, part, wanted in (("embedding", embedding, nn.Embedding), ("decoder", decoder, nn.Linear)):
        if part is not None and not isinstance(part, wanted):
            raise ConfigurationError(
                f"{name}: {type(part).__name__} is unknown: give the nn.{wanted.__name__} of the network, or None"
            )
    if decoder is not None and decoder.out_features < 1:
        raise ConfigurationError("decoder: it has no outputs: give the layer that predicts, or None")
    if embedding is not None and embedding.num_embeddings < 1:
        raise ConfigurationError("embedding: it has no rows: give one with a row for each id")
    if embedding is not None and embedding.embedding_dim != rnn.input_size:
        raise ConfigurationError(
            f"embedding: its vectors have {counted(embedding.embedding_dim, 'entry')}, and rnn reads {rnn.input_size}: "
            "give the embedding that feeds this rnn"
        )
    if embedding is not None and embedding.max_norm is not None:
        raise ConfigurationError(
            "embedding: max_norm changes its rows while they are read: scale the weights once, and set max_norm=None"
        )
    if decoder is not None and decoder.in_features != rnn.hidden_size:
        raise ConfigurationError(
            f"decoder: it reads {counted(decoder.in_features, 'feature')}, and rnn has {rnn.hidden_size}: give the "
            "layer that follows the rnn at once"
        )
    if embedding is not None and bounds is not None:
        raise ConfigurationError("bounds: they are for frames, and this network reads ids: leave them out")
    cells = []
    for layer in range(rnn.num_layers):
        cell = kind(rnn.input_size if layer == 0 else rnn.hidden_size, rnn.hidden_size)
        for name, parameter in cell.named_parameters():
            given = getattr(rnn, f"{name}_l{layer}", None)  # biases may be absent
            parameter.copy_(given) if given is not None else parameter.zero_()
        cells.append(cell)
    inputs: nn.Embedding | Frames
    if embedding is None:
        low, high = bounds or (-LARGEST, LARGEST)
        if not -LARGEST <= low < high <= LARGEST:
            raise ConfigurationError(f"bounds=({low}, {high}): two finite numbers are needed, the smaller one first")
        inputs = Frames(rnn.input_size, low, high)
    else:
        inputs = nn.Embedding(embedding.num_embeddings, embedding.embedding_dim)
        inputs.weight.copy_(embedding.weight)
    tied = embedding is not None and decoder is not None and decoder.weight is embedding.weight
    head = _head(decoder, rnn.hidden_size, inputs if tied else None, outputs)  # type: ignore[arg-type]
    model = SequenceModel(inputs, Recurrent(cells), head)
    for name, part in (("embedding", inputs), ("rnn", model.backbone), ("decoder", head)):
        if not all(bool(parameter.isfinite().all()) for parameter in part.parameters()):
            raise ConfigurationError(
                f"{name}: some weights are NaN or infinite: the training diverged, give an earlier state"
            )
    weight = rnn.weight_hh_l0
    return model.to(weight.device, weight.dtype).eval()  # type: ignore[arg-type]


def _cell_of(rnn: nn.RNNBase) -> type[Cell]:
    """The cell that a layer of PyTorch is made of; refuses what has none."""
    kind = next((cell for cell in CELLS if cell.torch_layer is type(rnn)), None)
    if kind is None:
        raise ConfigurationError(
            f"rnn: {type(rnn).__name__} is unknown: give a torch.nn.RNN, LSTM or GRU (a cell of your own: "
            "docs/extending.md)"
        )
    if rnn.bidirectional:
        raise ConfigurationError(
            "rnn: bidirectional=True reads what comes after, so its state is not determined by the past, and no "
            "truncation to the last k inputs exists: give one of one direction"
        )
    if rnn.proj_size:
        raise ConfigurationError(
            f"rnn: proj_size={rnn.proj_size} puts a projection into the recurrence, for which nothing is known: give "
            "an LSTM without one (proj_size=0)"
        )
    if isinstance(rnn, nn.RNN) and rnn.nonlinearity != "tanh":
        raise ConfigurationError(
            f"rnn: nonlinearity={rnn.nonlinearity} lets the state grow without bound, and every certificate here needs "
            "a bounded one: give an nn.RNN with tanh"
        )
    return kind


def check_outputs(outputs: str) -> None:
    if outputs not in OUTPUTS:
        raise ConfigurationError(
            f"outputs={outputs} is unknown: choose {', '.join(OUTPUTS)}; of real numbers (regression) no "
            "score is bounded: give no decoder, and the features are examined"
        )


def _head(decoder: nn.Linear | None, size: int, tied: nn.Embedding | None, outputs: str) -> Head:
    check_outputs(outputs)
    if decoder is None:
        return Features(size)
    if outputs == "categorical" and decoder.out_features == 1:
        raise ConfigurationError(
            "decoder: of a single output the probability is always 1, so nothing is predicted: outputs=bernoulli for a "
            "switch, or no decoder"
        )
    if outputs == "bernoulli":
        head = Bernoulli(decoder.out_features, size)
    else:
        head = FullSoftmax(decoder.out_features, size, tied_to=tied)
    if tied is None:
        head.weight.copy_(decoder.weight)
    if decoder.bias is not None:
        head.bias.copy_(decoder.bias)
    return head


def interface_of(model: SequenceModel) -> Interface:
    """What a model reads and predicts."""
    inputs, head = model.inputs, model.objective
    if isinstance(inputs, Frames):
        seen = Inputs("box", inputs.embedding_dim, inputs.low, inputs.high)
    else:
        seen = Inputs("finite", inputs.num_embeddings)
    if not isinstance(head, FullSoftmax | Bernoulli):
        raise ConfigurationError(
            f"decoder: a model with {type(head).__name__} in its place predicts nothing that could be exported: give "
            "from_torch a decoder"
        )
    return Interface(seen, Outputs("bernoulli" if isinstance(head, Bernoulli) else "categorical", len(head.weight)))


def kind_of(model: SequenceModel) -> str:
    """LSTM, RNN, GRU, or the name of the cell."""
    return type(model.cells[0]).__name__.removesuffix("Cell")


def is_unbounded(model: SequenceModel) -> bool:
    """Whether frames may have any entries."""
    return isinstance(model.inputs, Frames) and model.inputs.high == LARGEST
