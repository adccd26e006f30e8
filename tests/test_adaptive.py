"""The adaptive softmax: PyTorch's own as the reference, its bound under attack, a run with it from end to end."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from stablernn.analysis.conversion.convert import Conversion
from stablernn.analysis.truncation import truncation_curve
from stablernn.config.compose import compose
from stablernn.config.identity import identity, run_id
from stablernn.config.instantiate import make
from stablernn.config.validate import check
from stablernn.models.heads.adaptive_softmax import AdaptiveSoftmax
from stablernn.models.precision import Precision
from stablernn.report.slices import slices
from stablernn.stability import certify
from stablernn.training import loop
from stablernn.training.build import build_for
from stablernn.training.evaluate import score
from stablernn.training.run import run
from stablernn.training.trained import find_runs
from stablernn.utils.errors import ConfigurationError

TYPES, SIZE, CUTOFFS = 60, 64, [10, 25, 40]
ADAPTIVE = ["head=adaptive", "head.softmax.cutoffs=[20,60,120]"]


def head(**options) -> AdaptiveSoftmax:
    made = AdaptiveSoftmax(TYPES, SIZE, **({"cutoffs": CUTOFFS} | options))
    made.initialise(0.5)
    return made


def pytorch(ours: AdaptiveSoftmax) -> nn.AdaptiveLogSoftmaxWithLoss:
    """PyTorch's, with a copy of the weights. It has no bias within clusters."""
    theirs = nn.AdaptiveLogSoftmaxWithLoss(SIZE, TYPES, CUTOFFS, div_value=4.0, head_bias=True)
    with torch.no_grad():
        theirs.head.weight.copy_(ours.first.weight)
        theirs.head.bias.copy_(ours.first.bias)
        for tail, projection, cluster in zip(theirs.tail, ours.projections, ours.clusters, strict=True):
            tail[0].weight.copy_(projection.weight)
            tail[1].weight.copy_(cluster.weight)
    return theirs


@pytest.mark.parametrize("targets", [torch.arange(TYPES), torch.tensor([3, 3, 30, 9, 10])], ids=["all", "few"])
def test_losses_gradients_and_scores_are_pytorchs(targets):
    ours = head()
    with torch.no_grad():
        ours.first.bias.uniform_(-1, 1)
    theirs = pytorch(ours)
    x = torch.randn(len(targets), SIZE)
    mine, reference = (x.clone().requires_grad_() for _ in range(2))
    ours(mine, targets).backward()
    found = theirs(reference, targets)
    (found.loss * len(targets)).backward()
    assert_close(ours(mine, targets).float(), found.loss * len(targets))
    assert_close(mine.grad, reference.grad)
    assert_close(ours.first.weight.grad, theirs.head.weight.grad)
    assert_close(ours.first.bias.grad, theirs.head.bias.grad)
    for tail, projection, cluster in zip(theirs.tail, ours.projections, ours.clusters, strict=True):
        assert_close(projection.weight.grad, tail[0].weight.grad)
        assert_close(cluster.weight.grad, tail[1].weight.grad)
    assert_close(ours.log_probabilities(x, targets), found.output.detach())
    assert_close(ours.logits(x).log_softmax(-1), theirs.log_prob(x))
    with torch.no_grad():
        assert_close(float(ours(x, targets)), -float(found.output.sum()))


def test_types_are_ranked_by_frequency_and_their_names_stay():
    ours, same = head(), head()
    same.load_state_dict(ours.state_dict())
    frequencies = torch.randint(0, 5, (TYPES,), generator=torch.Generator().manual_seed(0))
    ours.arrange(frequencies)
    by_rank = torch.empty(TYPES, dtype=torch.int64)
    by_rank[ours.ranks] = torch.arange(TYPES)
    assert (frequencies[by_rank].diff() <= 0).all()
    x = torch.randn(TYPES, SIZE)
    assert_close(ours.log_probabilities(x, by_rank), same.log_probabilities(x, torch.arange(TYPES)))
    assert_close(ours.logits(x)[:, by_rank], same.logits(x))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_no_log_probability_moves_by_more_than_the_sensitivity(seed):
    torch.manual_seed(seed)
    ours = head().double()
    ours.initialise(3.0)
    before = torch.randn(SIZE, dtype=torch.float64)
    step = torch.randn(SIZE, dtype=torch.float64) * 10 ** torch.empty(()).uniform_(-3, 1).item()

    def diameter(rows):
        return float(torch.cdist(rows, rows).max())

    def change(after):
        return (ours.logits(after) - ours.logits(before)).abs().max()

    # Along the gradient of a rare word's log-probability, too: there it moves the fastest.
    bound = ours.sensitivity(diameter)
    assert change(before + step) <= bound * step.norm() * (1 + 1e-9)
    leaf = before.clone().requires_grad_()
    ours.logits(leaf)[-1].backward()
    along = 1e-4 * leaf.grad / leaf.grad.norm()
    assert change(before + along) <= bound * 1e-4 * (1 + 1e-6)
    # A bound of the first softmax alone would not do.
    assert bound > ours.first.sensitivity(diameter)


@pytest.mark.parametrize("cutoffs", [[], [0, 5], [5, 5], [7, 3], [10, TYPES]])
def test_cutoffs_that_cut_nothing_are_refused(cutoffs):
    with pytest.raises(ConfigurationError, match=r"head\.softmax\.cutoffs"):
        head(cutoffs=cutoffs)


def test_tied_weights_are_refused(small):
    with pytest.raises(ConfigurationError, match=r"model\.tied=true needs head=full"):
        run(small(*ADAPTIVE, "model.tied=true"))


def test_the_precision_reaches_every_softmax():
    ours = head()
    ours.precision = Precision.BF16
    assert {softmax.precision for softmax in (ours.first, *ours.clusters)} == {Precision.BF16} == {ours.precision}


def test_the_full_softmax_is_what_a_run_was_before_there_was_a_choice():
    full, adaptive, other = (compose("train", head) for head in ([], ADAPTIVE, [ADAPTIVE[0]]))
    assert "head" not in identity(full)
    assert len({run_id(config) for config in (full, adaptive, other)}) == 3
    full.head.softmax._target_ = "another.Softmax"
    assert "head" in identity(full)
    check(adaptive)


def test_a_run_with_it_learns_resumes_and_can_be_analysed(small, monkeypatch, tmp_path):
    options = [*ADAPTIVE, "model.dropout=0", "optimizer.lr=5", "training.clip=1"]
    record = run(small(*options))
    assert record.metrics["optimal"]["test"] < record.metrics["test"]["value"] < 200
    assert record.config["head"]["name"] == "adaptive"
    # Killed after a few updates and resumed it ends the same.
    config = small(*options, "training.checkpoint_seconds=0", f"runs={tmp_path / 'again'}")
    step, left = loop.Trainer.step, [5]

    def limited(self):
        left[0] -= 1
        if left[0] < 0:
            raise InterruptedError
        return step(self)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "step", limited)
        with pytest.raises(InterruptedError):
            run(config)
    assert run(config).metrics == record.metrics
    # Loaded without its corpus, it knows the ranks.
    (trained,) = find_runs(record.id, tmp_path / "runs", None, torch.device("cpu"))
    model, split = trained.model("best"), trained.corpus.splits["test"]
    assert score(model, split).total == pytest.approx(record.metrics["test"]["total"])
    assert not torch.equal(model.objective.ranks, torch.arange(256))
    assert_close(trained.model("initial").objective.ranks, model.objective.ranks)
    curve = truncation_curve(model, split.first(300), [1, 300])
    assert curve.truncated[300].gap.largest < 1e-4
    assert curve.swept == 1
    with pytest.raises(ConfigurationError, match="head=adaptive"):
        Conversion()(trained)
    full = run(small())
    assert {(section.data, len(section.records)) for section in slices([record, full])} == {
        ("embedded+adaptive", 1),
        ("embedded", 1),
    }
    assert "embedded corpus (hidden Markov model) with adaptive softmax" in next(slices([record])).caption


def test_its_certificate_bounds_what_truncation_changes(small):
    config = small(*ADAPTIVE, "model=rnn", "stability=stable", "stability.constraint.limit=0.5", "model.dropout=0")
    corpus = make(config.dataset).load()
    model, _ = build_for(config, corpus)
    model.double()
    certificate = certify(model)
    assert certificate.holds
    k = certificate.context(0.1)
    assert k is not None
    curve = truncation_curve(model, corpus.splits["test"].first(200), [2, k], tolerance=0)
    for length, at in curve.truncated.items():
        assert 0 < at.gap.largest <= certificate.gap(length) < math.inf
