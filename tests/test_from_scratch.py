"""The notebook of recurrence from scratch: its code runs, and its formulas agree with autograd for other sizes."""

import altair
import numpy as np
import pytest
import torch
from conftest import ROOT
from test_docs import cells

from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.cells.lstm_fixed import FixedForgetLSTMCell
from stablernn.models.cells.state import LSTMState


@pytest.fixture(scope="module")
def notebook():
    """All names of the notebook, after its code ran at full length."""
    names: dict = {}
    before = altair.renderers.active
    for code in cells(ROOT / "docs" / "recurrence_from_scratch.ipynb", "code"):
        exec(code, names)
    altair.renderers.enable(before)
    return names


@pytest.mark.parametrize(("units", "inputs", "steps", "scale"), [(1, 1, 1, 1.0), (3, 5, 7, 0.3), (7, 2, 40, 2.5)])
def test_both_recursions_of_the_gradient_are_autograd(notebook, units, inputs, steps, scale):
    draw = np.random.default_rng(units)
    w = scale * draw.normal(size=(units, units + inputs + 1))
    x, by_state = draw.normal(size=(steps, inputs)), draw.normal(size=(steps, units))
    rnn = torch.nn.RNN(inputs, units).double()
    with torch.no_grad():
        for name, part in zip(("weight_hh", "weight_ih"), np.split(w[:, :-1], [units], axis=1), strict=True):
            getattr(rnn, f"{name}_l0").copy_(torch.tensor(part))
        rnn.bias_ih_l0.copy_(torch.tensor(w[:, -1]))
        rnn.bias_hh_l0.zero_()
    (rnn(torch.tensor(x))[0] * torch.tensor(by_state)).sum().backward()
    parts = [rnn.weight_hh_l0.grad, rnn.weight_ih_l0.grad, rnn.bias_ih_l0.grad[:, None]]
    expected = torch.cat(parts, dim=1).numpy()
    size = max(1.0, np.abs(expected).max())
    assert np.abs(notebook["forward_gradient"](w, x, by_state) - expected).max() <= 1e-10 * size
    assert np.abs(notebook["backward_terms"](w, x, by_state).sum(0) - expected).max() <= 1e-10 * size
    assert np.abs(notebook["by_autograd"](w, x, by_state) - expected).max() <= 1e-10 * size


@pytest.mark.parametrize("forget", [None, 0.7, 1.0])
def test_the_factors_of_the_lstm_are_those_of_the_cell_of_the_package(notebook, forget):
    cell = LSTMCell(4, 5) if forget is None else FixedForgetLSTMCell(4, 5, forget)
    cell = cell.double().requires_grad_(False)
    cell.weight_hh.mul_(4)
    x, state = torch.randn(4).double(), torch.randn(10).double()
    W, drive = cell.weight_hh, cell.project_inputs(x)
    if forget is not None:  # the cell has no rows of a forget gate, and any will do
        W, drive = (torch.cat([part[:5], torch.randn_like(part[:5]), part[5:]]) for part in (W, drive))

    def step(state):
        return torch.cat(list(cell(x, LSTMState(*state.chunk(2)))))

    h, c, jacobian = notebook["lstm_step"](W.numpy(), drive.numpy(), *np.split(state.numpy(), 2), forget)
    assert np.abs(np.concatenate([h, c]) - step(state).numpy()).max() <= 1e-12
    assert np.abs(jacobian - torch.autograd.functional.jacobian(step, state).numpy()).max() <= 1e-10


def test_gradients_vanish_and_explode_as_the_notebook_says(notebook):
    products = notebook["products"]
    assert all(norms[0] == 1 and len(norms) == 101 for norms in products.values())
    end = {name: norms[-1] for name, norms in products.items()}
    assert max(end["RNN, small weights"], end["LSTM, free"], end["LSTM, saturated shut"]) < 1e-12
    assert end["RNN, large weights"] > 1e6
    assert 0.1 < end["LSTM, saturated open"] < 100
    assert 1 <= end["LSTM, forget gate at 1"] < 100


def test_a_cut_gradient_of_the_stable_network_stays_under_its_bound(notebook):
    stable, bound, weights = (notebook[name] for name in ("stable", "bound", "stable_w"))
    assert (np.array(stable) <= bound).all()
    assert np.linalg.norm(weights[:, :16], 2) <= 0.8 + 1e-6
    assert max(notebook["free_loss"], notebook["stable_loss"]) < 0.01, "both learn the task; its variance is 1/12"
    assert notebook["free"][notebook["DELAY"]] > 0.1, "a shorter gradient cannot see what was to be remembered"
