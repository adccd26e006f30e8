"""Scheduled sampling: its decays, inputs drawn as the model would go on, and runs with and without."""

import itertools
import math
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from stablernn.config.identity import result_options, run_id
from stablernn.config.schema import DECAYS, Sampling
from stablernn.models.backbone import stack_of
from stablernn.models.cells.gru import GRUCell
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.feed_forward import FeedForward
from stablernn.models.heads.adaptive_softmax import AdaptiveSoftmax
from stablernn.models.heads.bernoulli import Bernoulli
from stablernn.models.heads.regression import Regression
from stablernn.models.heads.softmax import FullSoftmax
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_model
from stablernn.models.state import tensors
from stablernn.tasks.base import Inputs, Interface, Outputs
from stablernn.training.run import run
from stablernn.training.sampling import MixedInputs, true_share
from stablernn.utils.errors import ConfigurationError

INTERFACES = {
    "words": Interface.of_words(11),
    "music": Interface(Inputs("box", 5), Outputs("bernoulli", 5)),
}
LENGTH, STREAMS = 12, 6


def network(kind="words", cell=LSTMCell, stack=Recurrent, dropout=0.0, scale=1.0):
    torch.manual_seed(1)
    model = build_model(INTERFACES[kind], stack_of(cell, stack), 4, 8, dropout=dropout)
    with torch.no_grad():
        model.objective.weight.mul_(scale)
    return model


def inputs(kind="words"):
    torch.manual_seed(2)
    if kind == "words":
        return torch.randint(11, (LENGTH, STREAMS))
    return torch.randint(2, (LENGTH, STREAMS, 5)).float()


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("half", [1, 7, 1000])
def test_a_decay_falls_from_1_through_a_half_to_its_least_value(decay, half):
    shares = [true_share(Sampling(decay, half), update) for update in range(20 * half + 1)]
    assert shares[half] == pytest.approx(0.5)
    assert shares[0] == (pytest.approx(1) if decay != "inverse_sigmoid" else pytest.approx(1 / (1 + 1 / scale(half))))
    assert all(0 <= later <= earlier <= 1 for earlier, later in itertools.pairwise(shares))
    assert shares[-1] < 1e-3
    assert true_share(Sampling(decay, half, least=0.25), 20 * half) == 0.25


def scale(half):
    """κ with κ ln κ = half, by bisection."""
    low, high = 1.0, half + 2.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if middle * math.log(middle) < half else (low, middle)
    return low


def test_the_inverse_sigmoid_is_the_formula_of_the_paper():
    k = scale(500)
    for update in (0, 10, 400, 500, 900):
        expected = k / (k + math.exp(update / k))
        assert true_share(Sampling("inverse_sigmoid", 500), update) == pytest.approx(expected)
    assert true_share(Sampling("inverse_sigmoid", 5), 10**7) == 0, "where the exponential overflows"
    assert true_share(Sampling(), 10**7) == 1


@pytest.mark.parametrize("kind", INTERFACES)
@pytest.mark.parametrize("stack", [Recurrent, partial(FeedForward, k=3)])
def test_an_input_is_the_true_one_or_what_the_model_says_after_the_inputs_before_it(kind, stack):
    """With outputs that are as good as certain what is drawn is known."""
    model, x = network(kind, GRUCell, stack, scale=1e6), inputs(kind)
    _, before = model(inputs(kind).flip(0), model.initial_state(STREAMS))
    mixed = MixedInputs(Sampling("linear", 1, least=0.4), model, seed=5)(x, before, 9)
    scores = model.objective.logits(model(mixed, before)[0][:-1])
    said = scores.argmax(-1) if kind == "words" else (scores > 0).float()
    own, true = ((mixed[1:] == other).reshape(LENGTH - 1, STREAMS, -1).all(-1) for other in (said, x[1:]))
    assert bool((own | true).all())
    assert bool(own.logical_not().any()), "some are true"
    assert bool(true.logical_not().any()), "some are its own"
    assert bool((mixed[0] == x[0]).all())


@pytest.mark.parametrize("kind", INTERFACES)
def test_an_update_has_the_loss_and_the_gradient_of_a_loop_that_decides_at_every_step(kind):
    model, x = network(kind, dropout=0), inputs(kind)
    state = model.initial_state(STREAMS)
    targets = torch.roll(x, -1, 0)
    mixed = MixedInputs(Sampling("linear", 1, least=0.5), model, seed=3)(x, state, 0)
    assert not mixed.requires_grad
    loss, _ = model.loss(mixed, targets, state)
    gradients = torch.autograd.grad(loss, list(model.parameters()))

    replaced = ~(mixed == x).reshape(LENGTH, STREAMS, -1).all(-1)
    total, read = torch.zeros((), dtype=torch.float64), x[0]
    for t in range(LENGTH):
        features, state = model(read[None], state)
        total = total + model.objective(features[0], targets[t])
        if t + 1 < LENGTH:
            choice = replaced[t + 1].reshape(STREAMS, *[1] * (x.dim() - 2))
            read = torch.where(choice, mixed[t + 1], x[t + 1])
    assert_close(total, loss, rtol=1e-6, atol=0)
    assert_close(torch.autograd.grad(total, list(model.parameters())), gradients, rtol=1e-4, atol=1e-5)


def test_draws_depend_on_seed_and_update_alone_and_leave_model_and_masks_alone():
    model, x = network(dropout=0.5), inputs()
    model.train()
    state = model.initial_state(STREAMS)
    before = [part.clone() for part in tensors(state)]
    masks = torch.get_rng_state()
    half = Sampling("exponential", 1, least=0.3)
    first, again = (MixedInputs(half, model, seed=4)(x, state, 8) for _ in range(2))
    assert bool((first == again).all())
    assert bool((first != MixedInputs(half, model, seed=5)(x, state, 8)).any())
    assert bool((first != MixedInputs(half, model, seed=4)(x, state, 9)).any())
    assert bool((torch.get_rng_state() == masks).all())
    assert model.training
    assert_close(list(tensors(state)), before)


def heads():
    torch.manual_seed(0)
    adaptive = AdaptiveSoftmax(12, 4, cutoffs=(4, 8))
    adaptive.arrange(torch.arange(12).flip(0))
    return {"full": FullSoftmax(6, 4), "adaptive": adaptive}


@pytest.mark.parametrize("name", ["full", "adaptive"])
def test_ids_are_drawn_as_often_as_they_are_probable(name):
    head, number = heads()[name], 40_000
    head.initialise(1.5)
    with torch.no_grad():
        features = torch.randn(4).expand(number, 4)
        expected = head.distribution(features[:1])[0].exp()
        drawn = head.draw(features, torch.Generator().manual_seed(1))
    shares = torch.bincount(drawn, minlength=len(expected)) / number
    assert_close(shares, expected, atol=4 * (0.25 / number) ** 0.5, rtol=0)


@torch.no_grad()
def test_switches_and_numbers_are_drawn_from_their_laws():
    features, generator = torch.randn(4).expand(40_000, 4), torch.Generator().manual_seed(1)
    head = Bernoulli(3, 4)
    head.initialise(1.5)
    drawn = head.draw(features, generator)
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert_close(drawn.mean(0), head.distribution(features[0]).exp(), atol=0.01, rtol=0)
    real = Regression(2, 4)
    real.initialise(1.5)
    numbers = real.draw(features, generator)
    assert_close(numbers.mean(0), real.logits(features[0]), atol=0.02, rtol=0)
    assert_close(numbers.var(0), torch.full((2,), 0.5), atol=0.02, rtol=0)


def test_a_run_without_it_is_what_it_was_and_one_with_it_another(small):
    plain = small()
    assert "sampling" not in result_options(plain)["training"], "runs from before there was a choice have their ids"
    assert run_id(small("training.sampling.half=7")) == run_id(plain), "of nothing"
    linear = small("training.sampling.decay=linear")
    assert len({run_id(one) for one in (plain, linear, small("training.sampling.decay=exponential"))}) == 3
    assert run_id(small("training.sampling.decay=linear", "training.sampling.half=7")) != run_id(linear)
    assert result_options(linear)["training"]["sampling"] == {"decay": "linear", "half": 1000, "least": 0.0}


def test_a_run_whose_inputs_are_all_true_is_the_plain_run_and_another_one_is_not(small):
    records = [
        run(small("model.dropout=0.3", "training.epochs=1", *options))
        for options in (
            [],
            ["training.sampling.decay=linear", "training.sampling.half=1000000000000"],
            ["training.sampling.decay=linear", "training.sampling.half=1"],
        )
    ]
    plain, true, own = (record.metrics for record in records)
    assert plain == true
    assert plain != own
    assert records[2].config["training"]["sampling"]["half"] == 1


def test_a_run_that_paused_ends_as_if_it_had_not(small, tmp_path):
    sampling = ["training.sampling.decay=exponential", "training.sampling.half=2", "model.dropout=0.3"]
    options = [*sampling, "approximation=feedforward", "truncation.k=5", "training.max_updates=30"]
    whole = run(small(*options, f"runs={tmp_path / 'whole'}"))
    run(small(*options, "training.pause_after=1"))
    assert run(small(*options)).metrics == whole.metrics


@pytest.mark.parametrize(
    "options",
    [
        ["training.sampling.decay=cosine"],
        ["training.sampling.half=0"],
        ["training.sampling.least=1"],
        ["dataset=copy_memory", "training.sampling.decay=linear", "dataset.sequences={train: 40, valid: 4, test: 4}"],
    ],
)
def test_what_makes_no_sense_is_refused_by_the_name_of_the_option(options, small):
    with pytest.raises(ConfigurationError, match=r"training\.sampling\."):
        run(small(*options))
