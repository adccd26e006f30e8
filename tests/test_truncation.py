"""Scores for every truncation length at once."""

import pytest
import torch
from torch.testing import assert_close

from stablernn.analysis import truncation
from stablernn.analysis.truncation import score_truncations
from stablernn.models.cells import LSTMCell, RNNCell
from stablernn.models.language_model import build_language_model
from stablernn.models.truncated import FeedForward
from stablernn.models.unroll import Recurrent
from stablernn.training.evaluate import score


@pytest.mark.parametrize("rows", [1, 90, 8192])
@pytest.mark.parametrize("cell", [RNNCell, LSTMCell])
def test_all_lengths_at_once_score_what_each_model_alone_scores(cell, rows, corpus, monkeypatch):
    monkeypatch.setattr(truncation, "_ROWS_A_CHUNK", rows)
    split = corpus.splits["valid"].first(211)
    torch.manual_seed(0)
    recurrent = build_language_model(corpus.types, cell, Recurrent, 5, 6, num_layers=2, dropout=0.4)
    found = score_truncations(recurrent, split, [7, 1, 3, 7])  # in chunks of 7, 30 and all positions
    assert list(found) == [1, 3, 7]
    for k, ours in found.items():

        def backbone(cells, dropout, k=k):
            return FeedForward(cells, dropout, k=k)

        alone = build_language_model(corpus.types, cell, backbone, 5, 6, num_layers=2, dropout=0.4)
        alone.load_state_dict(recurrent.state_dict())
        theirs = score(alone, split)
        assert ours.tokens == theirs.tokens == 211
        assert_close(ours.nats, theirs.nats, rtol=1e-6, atol=0)
    whole = score_truncations(recurrent, split, [2, 400])[400]  # sees all there is
    assert_close(whole.nats, score(recurrent, split).nats, rtol=1e-6, atol=0)
