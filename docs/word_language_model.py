"""The network whose examination docs/your_model.md shows: word_language_model of pytorch/examples, after a short epoch.

    python docs/word_language_model.py FOLDER model.pt

FOLDER holds train, valid and test of WikiText-2 (wiki.train.tokens, ...). The first 250,000 words are gone through
once, with the settings of that example: some four minutes of one core.
"""

import sys
from pathlib import Path

import torch
from torch import nn

WORDS, BATCH, WINDOW = 250_000, 20, 35


class RNNModel(nn.Module):
    """As in that example, with its names: encoder, rnn, decoder."""

    def __init__(self, types: int, size: int = 200, layers: int = 2, dropout: float = 0.2) -> None:
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(types, size)
        self.rnn = nn.LSTM(size, size, layers, dropout=dropout)
        self.decoder = nn.Linear(size, types)
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)

    def forward(self, x, state):
        features, state = self.rnn(self.drop(self.encoder(x)), state)
        return self.decoder(self.drop(features)), state


def main(folder: Path, out: Path) -> None:
    torch.manual_seed(1111)
    numbers: dict[str, int] = {}
    train: list[int] = []
    for split in ("train", "valid", "test"):  # words are numbered as they first appear
        for line in (folder / f"wiki.{split}.tokens").open(encoding="utf-8"):
            ids = [numbers.setdefault(word, len(numbers)) for word in [*line.split(), "<eos>"]]
            train += ids if split == "train" else []
    used = min(WORDS, len(train)) // BATCH * BATCH
    streams = torch.tensor(train[:used]).view(BATCH, -1).t().contiguous()
    model, state = RNNModel(len(numbers)), None
    for start in range(0, len(streams) - 1, WINDOW):
        x, y = streams[start : start + WINDOW], streams[start + 1 : start + 1 + WINDOW]
        logits, state = model(x[: len(y)], state)
        state = tuple(part.detach() for part in state)
        model.zero_grad()
        nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 20 * parameter.grad
    torch.save(model.state_dict(), out)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python docs/word_language_model.py FOLDER model.pt")
    main(*map(Path, sys.argv[1:]))
