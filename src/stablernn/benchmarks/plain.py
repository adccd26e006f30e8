"""The loop that everybody writes, with nothing of this package in it: the measure of correctness and of speed."""

import torch
from torch import Tensor, nn

from stablernn.models.heads.softmax import FullSoftmax
from stablernn.models.sequence_model import SequenceModel
from stablernn.utils.errors import ConfigurationError


class PlainModel(nn.Module):
    """``nn.Embedding`` -> ``nn.RNN``, ``nn.LSTM`` or ``nn.GRU`` -> ``nn.Linear``."""

    def __init__(self, embedding: nn.Embedding, recurrent: nn.RNNBase, decoder: nn.Linear) -> None:
        super().__init__()
        self.embedding = embedding
        self.recurrent = recurrent
        self.decoder = decoder

    @classmethod
    def like(cls, model: SequenceModel) -> "PlainModel":
        """A plain model with a copy of the weights of ``model`` (one without dropout), on its device.

        Raises:
            ConfigurationError: the model has not one full softmax, or PyTorch has no layer of its cells.
        """
        if not isinstance(model.objective, FullSoftmax):
            raise ConfigurationError("head=adaptive has no plain counterpart to be compared with: choose head=full")
        cells = model.cells
        layer = cells[0].torch_layer
        if layer is None:
            raise ConfigurationError(f"{type(cells[0]).__name__} has no plain counterpart: PyTorch has no such layer")
        recurrent = layer(cells[0].input_size, cells[0].hidden_size, num_layers=len(cells))
        recurrent.load_state_dict(
            {f"{name}_l{layer}": value for layer, cell in enumerate(cells) for name, value in cell.state_dict().items()}
        )
        types, size = model.embedding.weight.shape
        embedding, decoder = nn.Embedding(types, size), nn.Linear(cells[-1].hidden_size, types)
        embedding.load_state_dict(model.inputs.state_dict())
        decoder.load_state_dict({"weight": model.objective.weight, "bias": model.objective.bias})
        return cls(embedding, recurrent, decoder).to(model.device)

    def forward(self, x: Tensor, state) -> tuple[Tensor, object]:
        """x (T, B) word ids -> logits (T, B, V) and the state."""
        features, state = self.recurrent(self.embedding(x), state)
        return self.decoder(features), state

    def forward_windows(self, x: Tensor, k: int) -> Tensor:
        """x (k - 1 + T, B) word ids -> logits (T, B, V), each from the k words up to it alone, started from zero."""
        windows = self.embedding(x).unfold(0, k, 1)  # (T, B, E, k)
        steps = windows.permute(3, 0, 1, 2).flatten(1, 2)
        features, _ = self.recurrent(steps)
        return self.decoder(features[-1]).unflatten(0, windows.shape[:2])


def plain_step(
    model: PlainModel,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    state,
    clip: float,
    clipping=nn.utils.clip_grad_norm_,
    k: int | None = None,
) -> tuple[float, object]:
    """One update; returns the loss before it (nats a token) and the detached state.

    ``clipping`` may be replaced: PyTorch's sums the squares of a large float32 matrix to three or four digits only.
    With ``k`` a window is cut for every position, and x has k - 1 more rows than y.
    """
    optimizer.zero_grad()
    logits, state = model(x, state) if k is None else (model.forward_windows(x, k), ())
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())
    loss.backward()
    clipping(model.parameters(), clip)
    optimizer.step()
    return loss.item(), state.detach() if isinstance(state, Tensor) else tuple(part.detach() for part in state)


@torch.no_grad()
def plain_projection(model: PlainModel) -> None:
    """Onto the stable set: an SVD for an RNN, the rows of the four blocks rescaled for an LSTM; defaults of both.

    Of another layer all rows are rescaled alike: what such a loop costs, on a set of no particular meaning.
    """
    weight = model.recurrent.weight_hh_l0
    assert isinstance(weight, Tensor)
    if isinstance(model.recurrent, nn.LSTM):
        for gate, limit in zip(weight.chunk(4), (0.36, 0.128, 0.09, 0.36), strict=True):
            gate *= (limit / gate.abs().sum(1, keepdim=True)).clamp_max(1)
    elif isinstance(model.recurrent, nn.RNN):
        u, s, vt = torch.linalg.svd(weight)
        weight.copy_((u * s.clamp_max(0.999)) @ vt)
    else:
        weight *= (0.25 / weight.abs().sum(1, keepdim=True)).clamp_max(1)
