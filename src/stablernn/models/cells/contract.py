"""Making a cell, and refusing one that breaks the contract of ``models.cells.base``, with what to mend in it.

A mistake in a cell of one's own would else come up anywhere between its first update and its record, as an error of
whatever met it first. One step over zeros finds it where the cell is made.
"""

import inspect
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stablernn.models.cells.base import Cell
from stablernn.utils.errors import ConfigurationError, StableRNNError

_STEPS, _BATCH = 3, 2  # of the inputs that are tried
_LIKE = "as stablernn.models.cells.state.RNNState"


def make_cell(factory: Callable[[int, int], Cell], input_size: int, hidden_size: int) -> Cell:
    """The cell that a class makes of its sizes, once it is known to keep to the contract.

    Raises:
        ConfigurationError: it does not. The message names the class, what is expected and the remedy.
    """
    made_by: Any = factory
    while isinstance(made_by, partial):
        made_by = made_by.func
    name = _name(made_by)
    if inspect.isclass(made_by):
        _check_declaration(made_by, name)
    try:
        inspect.signature(factory).bind(input_size, hidden_size)
    except TypeError as error:
        raise ConfigurationError(
            f"{name}(input_size, hidden_size) cannot be called ({error}): begin its __init__ with these two, and name "
            "the other options in model.cell"
        ) from None
    try:
        cell = factory(input_size, hidden_size)
    except (AttributeError, TypeError, ValueError, LookupError) as error:  # memory is for the caller to explain
        raise _failed(made_by, f"{name}(input_size={input_size}, hidden_size={hidden_size})", error) from error
    if not any(parameter.is_meta for parameter in cell.parameters()):  # shapes alone have no values to try
        with torch.random.fork_rng(devices=[]), torch.no_grad():  # what a step draws must not change the run
            _check_steps(cell)
    return cell


def _name(made_by: Any) -> str:
    return f"{made_by.__module__}.{made_by.__qualname__}"


def _check_declaration(kind: type, name: str) -> None:
    if missing := sorted(getattr(kind, "__abstractmethods__", ())):
        raise ConfigurationError(
            f"{name} does not define {' and '.join(missing)}: write it, as the docstring of Cell says"
        )
    gates = getattr(kind, "GATES", None)
    if not isinstance(gates, tuple) or not all(isinstance(gate, str) for gate in gates):
        said = "is not declared" if gates is None else f"is {gates!r}"
        raise ConfigurationError(
            f'{name}.GATES {said}, and a tuple of the names of its gates is expected: write GATES = ("",) for a cell '
            "with one block of rows"
        )
    state = getattr(kind, "state_type", None)
    fields = getattr(state, "_fields", ())
    if not (inspect.isclass(state) and issubclass(state, tuple) and fields[:1] == ("h",)):
        said = "is not declared" if state is None else f"is {getattr(state, '__name__', state)}"
        raise ConfigurationError(
            f"{name}.state_type {said}, and a named tuple whose first field is h is expected, {_LIKE}"
        )


def _check_steps(cell: Cell) -> None:
    """A step at one position and at several, a sequence, and the recurrent matrices."""
    x = _tried(cell, "__init__", lambda: torch.zeros(_STEPS, _BATCH, cell.input_size))
    zeros = _tried(cell, "zeros", cell.zeros, _BATCH)
    _check_state(cell, "zeros", zeros, (_BATCH,), [cell.hidden_size])
    widths = [part.shape[-1] for part in zeros]
    for inputs in (x[0], x):
        axes = tuple(inputs.shape[:-1])
        projected = _tried(cell, f"project_inputs of {tuple(inputs.shape)}", cell.project_inputs, inputs)
        what = f"step of projected {tuple(projected.shape)} and h {(*axes, cell.hidden_size)}"
        _check_state(cell, what, _tried(cell, what, cell.step, projected, cell.zeros(*axes)), axes, widths)
    y, final = _tried(cell, f"sequence of x {tuple(x.shape)}", cell.sequence, x, zeros)
    _check_shape(cell, "sequence", "y", y, (_STEPS, _BATCH, cell.hidden_size))
    _check_state(cell, "sequence", final, (_BATCH,), widths)
    _tried(cell, "recurrent_blocks", cell.recurrent_blocks)


def _check_state(cell: Cell, what: str, state: Any, axes: tuple[int, ...], widths: list[int]) -> None:
    """That it is a state of the cell, and its first parts have these widths."""
    kind = cell.state_type
    if not isinstance(state, kind):
        raise ConfigurationError(
            f"{_name(type(cell))}: {what} gives {type(state).__name__}, and state_type {kind.__name__} is expected: "
            f"return {kind.__name__}({', '.join(kind._fields)})"
        )
    for field, part, width in zip(kind._fields, state, widths, strict=False):
        _check_shape(cell, what, field, part, (*axes, width))


def _check_shape(cell: Cell, what: str, field: str, part: Any, expected: tuple[int, ...]) -> None:
    shape = tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__
    if shape != expected:
        raise ConfigurationError(
            f"{_name(type(cell))}: {what} gives {field} of {shape}, and {expected} is expected: keep the leading axes, "
            f"and the width of each part as zeros has it, of h hidden_size={cell.hidden_size}"
        )


def _tried(cell: Cell, what: str, call: Callable[..., Any], *args: Any) -> Any:
    try:
        return call(*args)
    except StableRNNError:
        raise
    except Exception as error:
        raise _failed(type(cell), f"{_name(type(cell))}: {what}", error) from error


def _failed(made_by: Any, what: str, error: Exception) -> ConfigurationError:
    """The error in one line, with the last line of the class's file that it went through."""
    try:
        file = inspect.getsourcefile(made_by)
    except TypeError:
        file = None
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    where = f" in line {lines[-1]} of {Path(str(file)).name}" if lines else ""
    return ConfigurationError(f"{what} fails{where}: {' '.join(str(error).split())}")
