"""A cell of one's own: every mistake in it is one line when it is made, which names the class and the remedy."""

import pytest
import torch

from stablernn.models.cells.base import Cell
from stablernn.models.cells.contract import make_cell
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.cells.state import LSTMState, RNNState
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_language_model
from stablernn.utils.errors import ConfigurationError


class Good(Cell):
    GATES = ("",)
    state_type = RNNState

    def step(self, projected, state):
        return RNNState(torch.tanh(projected + state.h @ self.weight_hh.T))


def cell(**written):
    """A class like ``Good`` with other attributes."""
    return type("Mine", (Good,), {"__module__": __name__} | written)


def step(result):
    return cell(step=lambda self, projected, state: result(projected, state))


def undeclared(name):
    given = {"__module__": __name__, "GATES": ("",), "state_type": RNNState, "step": Good.step}
    del given[name]
    return type("Mine", (Cell,), given)


MISTAKES = {
    "no gates": (undeclared("GATES"), r'Mine\.GATES is not declared, .* write GATES = \(""\,\)'),
    "gates that are a text": (cell(GATES="if"), r"Mine\.GATES is 'if', and a tuple"),
    "no state": (undeclared("state_type"), r"Mine\.state_type is not declared, and a named tuple"),
    "a state without names": (cell(state_type=tuple), r"Mine\.state_type is tuple, .* first field is h"),
    "no step": (undeclared("step"), "Mine does not define step"),
    "sizes that are not taken": (cell(__init__=lambda self, size: None), r"Mine\(input_size, hidden_size\) cannot be"),
    "an error in __init__": (cell(__init__=lambda self, a, b: self.missing), r"Mine\(input_size=3, .*no attribute"),
    "no super().__init__": (cell(__init__=lambda self, a, b: torch.nn.Module.__init__(self)), "Mine: __init__ fails: "),
    "h alone": (step(lambda p, s: torch.tanh(p)), r"step of .* gives Tensor, .* return RNNState\(h\)"),
    "another state": (step(lambda p, s: LSTMState(p, p)), r"gives LSTMState, and state_type RNNState is expected"),
    "wide": (step(lambda p, s: RNNState(torch.cat([p, p], -1))), r"gives h of \(2, 8\), and \(2, 4\) is expected"),
    "no batch": (step(lambda p, s: RNNState(p.sum(0))), r"gives h of \(4,\), and \(2, 4\) is expected: keep"),
    "one axis alone": (step(lambda p, s: RNNState(p.view(2, 4))), r"step of projected \(3, 2, 4\) .* fails in line"),
    "no tensor": (step(lambda p, s: RNNState(0.0)), "gives h of float, and "),
    "a product of other sizes": (step(lambda p, s: RNNState(s.h @ p)), r"fails in line \d+ of test_own_cells.py: mat1"),
    "gates and no use of them": (cell(GATES=("a", "b")), r"step of projected \(2, 8\) .* gives h of \(2, 8\)"),
    "a sequence of inputs": (cell(sequence=lambda self, x, state: (x, state)), r"sequence gives y of \(3, 2, 3\)"),
    "a state of zeros": (cell(zeros=lambda self, *axes: RNNState(torch.zeros(*axes, 9))), r"zeros gives h of \(2, 9\)"),
    "no recurrent matrix": (
        cell(shapes=lambda self: {"weight_ih": (4, 3)}, project_inputs=lambda self, x: x @ self.weight_ih.T,
             step=lambda self, projected, state: RNNState(projected)),
        "recurrent_blocks fails",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line_that_names_the_class_and_what_is_expected(kind, said):
    with pytest.raises(ConfigurationError, match=said) as refused:
        build_language_model(9, kind, Recurrent, 3, 4)
    assert len(str(refused.value).splitlines()) == 1
    assert "Mine" in str(refused.value)


def test_what_a_cell_refuses_itself_is_said_in_its_own_words():
    def refuse(self, projected, state):
        raise ConfigurationError("not today")

    with pytest.raises(ConfigurationError, match=r"^not today$"):
        make_cell(cell(step=refuse), 3, 4)


def test_the_check_changes_no_weight_and_no_random_number():
    """Not even of a cell whose step draws some."""
    drawing = step(lambda p, s: RNNState(p + torch.rand_like(p)))
    for kind in (LSTMCell, drawing):
        torch.manual_seed(1)
        plain, after = kind(3, 4).state_dict(), torch.rand(1)
        torch.manual_seed(1)
        checked = make_cell(kind, 3, 4).state_dict()
        assert all(torch.equal(plain[name], value) for name, value in checked.items())
        assert torch.equal(torch.rand(1), after)


def test_a_cell_of_shapes_alone_is_made_without_a_step():
    with torch.device("meta"):
        assert make_cell(step(lambda p, s: RNNState(p / int(p.sum() + 1))), 3, 4).weight_hh.is_meta
