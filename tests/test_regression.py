"""Numbers as outputs: the squared error, its gradient, and what can be proven of it and what not."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stablernn.analysis.truncation import truncation_curve, truncation_result
from stablernn.models.backbone import stack_of
from stablernn.models.cells.rnn import RNNCell
from stablernn.models.feed_forward import truncations
from stablernn.models.heads.regression import Regression
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_model
from stablernn.stability import certify
from stablernn.stability.certificates import summarise
from stablernn.stability.constraints.base import project
from stablernn.stability.constraints.spectral import SpectralNormBall
from stablernn.tasks.base import Inputs, Interface, Outputs
from stablernn.tasks.sequences import Sequences
from stablernn.utils.metrics import SQUARED_ERROR, Score

INTERFACE = Interface(Inputs("box", 2, -1.0, 1.0), Outputs("real", 3))


def head() -> Regression:
    torch.manual_seed(3)
    made = Regression(3, 5).double()
    made.initialise(0.5)
    return made


def stable():
    """A float32 RNN of numbers whose states are proven to contract by a half."""
    torch.manual_seed(1)
    model = build_model(INTERFACE, stack_of(RNNCell, Recurrent), None, 6)
    project(SpectralNormBall(0.5), model)
    return model.eval()


def test_the_loss_is_the_squared_error_summed_over_outputs():
    made, features, targets = head(), torch.randn(4, 2, 5).double(), torch.randn(4, 2, 3).double()
    made.requires_grad_(False)
    expected = sum(
        (float(made.weight[j] @ features[t, b] + made.bias[j]) - float(targets[t, b, j])) ** 2
        for t in range(4)
        for b in range(2)
        for j in range(3)
    )
    assert float(made(features, targets)) == pytest.approx(expected, rel=1e-12)
    assert float(made.losses(features, targets).sum()) == pytest.approx(expected, rel=1e-12)
    flat = made.log_probabilities(features.flatten(0, 1), targets.flatten(0, 1))
    assert flat.shape == (8,)
    assert float(flat.sum()) == pytest.approx(-expected, rel=1e-12)
    assert Score(expected, 8, SQUARED_ERROR).value == pytest.approx(expected / 8)


def test_the_gradient_is_that_of_finite_differences():
    made, features, targets = head(), torch.randn(3, 5).double().requires_grad_(), torch.randn(3, 3).double()
    assert torch.autograd.gradcheck(lambda h, w, c: functional(h, w, c, targets), (features, made.weight, made.bias))
    made(features, targets).backward()
    torch.testing.assert_close(features.grad, 2 * (made.logits(features) - targets) @ made.weight)


def functional(features, weight, bias, targets):
    made = Regression(3, 5).double()
    return torch.func.functional_call(made, {"weight": weight, "bias": bias}, (features, targets))


@given(st.integers(0, 2**31), st.floats(1e-3, 10))
def test_no_output_moves_by_more_than_the_sensitivity(seed, length):
    torch.manual_seed(seed)
    made, one = head(), torch.randn(5).double()
    step = torch.randn(5).double()
    step *= length / step.norm()
    most = made.sensitivity(lambda rows: float((rows[0] - rows[1]).norm()))
    moved = (made.logits(one + step) - made.logits(one)).abs().amax()
    assert float(moved.detach()) <= most * length * (1 + 1e-9)
    along = made.weight[made.weight.norm(dim=1).argmax()].detach()
    reached = (made.logits(one + along / along.norm() * length) - made.logits(one)).abs().amax()
    assert float(reached.detach()) == pytest.approx(most * length)


def test_of_the_outputs_a_bound_is_proven_and_of_the_loss_none():
    model = stable()
    certificate = certify(model)
    assert certificate.holds
    assert certificate.context(0.01) is None
    assert math.isinf(certificate.gap(50))
    assert certificate.output_gap(50) < 1e-10
    assert "not applicable" in summarise(model)["loss"]
    assert summarise(model)["context"]["0.01"] is None
    x = torch.rand(40, 4, 2) * 2 - 1
    whole, _ = model(x, model.initial_state(4))
    for k, states in truncations(list(model.cells), x, [1, 2, 4, 8]):
        moved = (model.objective.logits(states[-1].h) - model.objective.logits(whole)).abs().amax()
        assert float(moved) <= certificate.output_gap(k) + 1e-6


def test_a_truncation_curve_has_bounds_of_the_state_alone():
    model = stable()
    pieces = tuple(torch.rand(9, 2).numpy() for _ in range(3))
    split = Sequences(pieces, tuple(torch.rand(9, 3).numpy() for _ in range(3)))
    curve = truncation_curve(model, split, [1, 3, 9], metric=SQUARED_ERROR)
    result = truncation_result(model, curve)
    assert result["value"][-1] == pytest.approx(result["recurrent"]["value"], abs=1e-6)
    assert result["certified"]["nats"] is None
    assert "not applicable" in result["certified"]["reason"]
    assert all(
        gap <= bound + 1e-6 for gap, bound in zip(result["state"]["largest"], result["certified"]["state"], strict=True)
    )
