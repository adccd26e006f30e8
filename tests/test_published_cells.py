"""Cells against the code that their authors, or others, published: its outputs on weights that a formula gives.

The numbers below were computed once with that code, on a CPU in float64. Nothing of it is needed to compare with them.
"""

import pytest
import torch
from torch.testing import assert_close

from stablernn.models.cells.fru import FRUCell
from stablernn.models.cells.indrnn import IndRNNCell
from stablernn.models.cells.min_gru import MinGRUCell
from stablernn.models.cells.min_lstm import MinLSTMCell
from stablernn.models.cells.qrnn import QRNNCell
from stablernn.models.cells.sru import SRUCell
from stablernn.models.cells.statistical import StatisticalCell


def numbers(count, start):
    return 0.9 * torch.sin(1.3 * torch.arange(count, dtype=torch.float64) + start)


def outputs(cell, x):
    """At the second and at the last of the inputs, from the zero state."""
    cell = cell.double()
    h, _ = cell.sequence(x, cell.zeros(1))
    return h[[1, 4], 0]


def filled(cell):
    for place, parameter in enumerate(cell.parameters(), 1):
        parameter.data = numbers(parameter.numel(), place).view(parameter.shape)
    return cell


X = numbers(15, 7).view(5, 1, 3)
PUBLISHED = {
    "SRU, as wide as its input (taolei87/sru 4f691ec)": (
        lambda: SRUCell(3, 3, highway_bias=-1.0),
        [[-0.5040185, -0.3955675, 0.397215], [-0.4318088, -0.1345789, -0.2838501]],
    ),
    "SRU, wider (taolei87/sru 4f691ec)": (
        lambda: SRUCell(3, 4),
        [[-0.3146988, -1.0638828, -0.2142355, 0.0028089], [-0.3385862, -0.4958761, -0.2375134, 0.19161]],
    ),
    # of that code 1 - f is the gate that keeps: the rows of f have the other sign
    "QRNN (salesforce/pytorch-qrnn 1634991)": (
        lambda: QRNNCell(3, 4, width=2),
        [[0.0840908, 0.7746548, -0.0912687, -0.006419], [0.0723552, 0.6466279, -0.0542384, 0.0346779]],
    ),
    "IndRNN (Sunnydreamrain/IndRNN_pytorch 9b9cb4c)": (
        lambda: IndRNNCell(3, 4),
        [[0.0, 1.2849927, 0.0, 0.0], [0.0, 0.0983435, 0.0, 0.0]],
    ),
    # of that code time begins at 0, here at 1: it was begun at 1
    "FRU (limbo018/FRU 010b399)": (
        lambda: FRUCell(3, 4, length=20, frequencies=[1.0, 2.0, 4.0], statistics=2, summary=3),
        [[0.5809492, 0.7973624, 0.0, 0.0], [0.5770769, 0.8158511, 0.0, 0.0]],
    ),
    "statistical recurrent unit (limbo018/FRU 010b399)": (
        lambda: StatisticalCell(3, 4, alphas=[0.0, 0.5, 0.9], statistics=2, summary=3),
        [[1.3622328, 0.859988, 0.0, 0.0], [0.7150285, 0.7437598, 0.0, 0.0]],
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_cell_computes_what_the_published_code_does(name):
    make, expected = PUBLISHED[name]
    assert_close(outputs(filled(make()), X), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (MinGRUCell, [[1.0880901, 1.0461754, 1.144749], [1.3396876, 1.4022963, 1.273798]]),
        (MinLSTMCell, [[1.2554522, 0.7920986, 1.2396893], [1.3974958, 1.215239, 1.4416663]]),
    ],
)
def test_minimal_cells_compute_what_the_published_code_does_where_candidates_are_positive(make, expected):
    """lucidrains/minGRU-pytorch 38b26e1 has h~ = g(a), the paper's second form, which is a + 1/2 for positive a."""
    cell = filled(make(3, 3))
    with torch.no_grad():
        cell.bias_ih.zero_()
        cell.bias_ih[-3:] = 0.5
        cell.weight_ih[-3:].abs_()
    assert_close(outputs(cell, X.abs()), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-7)
