"""The loop that everybody writes, with nothing of this package in it: the measure of correctness and of speed."""

import torch
from torch import Tensor, nn

from stablernn.models.cells import LSTMCell
from stablernn.models.language_model import SequenceModel


class PlainModel(nn.Module):
    """``nn.Embedding`` -> ``nn.RNN`` or ``nn.LSTM`` -> ``nn.Linear``."""

    def __init__(self, embedding: nn.Embedding, recurrent: nn.RNNBase, decoder: nn.Linear) -> None:
        super().__init__()
        self.embedding = embedding
        self.recurrent = recurrent
        self.decoder = decoder

    @classmethod
    def like(cls, model: SequenceModel) -> "PlainModel":
        """A plain model with a copy of the weights of ``model`` (one with a recurrent backbone and no dropout)."""
        cells = model.backbone.cells
        kind = nn.LSTM if isinstance(cells[0], LSTMCell) else nn.RNN
        recurrent = kind(cells[0].input_size, cells[0].hidden_size, num_layers=len(cells))
        recurrent.load_state_dict(
            {f"{name}_l{layer}": value for layer, cell in enumerate(cells) for name, value in cell.state_dict().items()}
        )
        types, size = model.inputs.weight.shape
        embedding, decoder = nn.Embedding(types, size), nn.Linear(cells[-1].hidden_size, types)
        embedding.load_state_dict(model.inputs.state_dict())
        decoder.load_state_dict({"weight": model.objective.weight, "bias": model.objective.bias})
        return cls(embedding, recurrent, decoder)

    def forward(self, x: Tensor, state) -> tuple[Tensor, object]:
        """x (T, B) word ids -> logits (T, B, V) and the state."""
        features, state = self.recurrent(self.embedding(x), state)
        return self.decoder(features), state


def plain_step(
    model: PlainModel, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, state, clip: float
) -> tuple[float, object]:
    """One update; returns the loss before it (nats a token) and the detached state."""
    optimizer.zero_grad()
    logits, state = model(x, state)
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    state = state.detach() if isinstance(state, Tensor) else tuple(part.detach() for part in state)
    return loss.item(), state
