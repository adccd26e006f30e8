"""How far the gates of an LSTM can open: bounds over every input that it can see and every state that it can be in.

The inputs of a language model are the rows of its embedding, a finite set, so a supremum over them is a maximum over
the vocabulary, attained and far below ‖U‖_∞ B_x. The states are those reached from zero: with C_j >= |c_j| and
H_j >= |h_j| by induction over time,

    |c'_j| <= f_j |c_j| + i_j |z_j|  gives  C_j = max i_j |z_j| / (1 - f_j),    |h'_j| <= o_j tanh(C_j) = H_j.

The bounds on the gates depend on H through W h, and H on the gates: each round starts from what the one before proved,
and H = 1 holds at the start.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from stablernn.models.cells.base import Cell
from stablernn.models.cells.lstm import LSTMCell

# Of the size of the terms, so much is what float64 sums of some thousand of them round by. It counts only where large
# terms cancel.
ROUNDING = 1e-12
_LEAST = 1e-30  # bounds below are raised to this: no norm divides by zero, and no claim is changed
# Bounds are raised to this: what float64 rounds to zero, as the slope of a saturated unit, is not zero. The square of
# its product with a weight of float32 is no zero either.
UNDERFLOW = 1e-100
_LEAST_RATIO = 1e-200  # of smaller numbers no ratio is taken, as float64 has few digits of them
_LEAST_SIGMOID = 1e-300  # e^f may be as large as this is small
_ENTRIES_A_CHUNK = 2**23  # numbers in the pre-activations of as many words as are looked at together


class Box(NamedTuple):
    """All vectors with entries in [low, high]."""

    low: float
    high: float


Seen = Tensor | Box | None  # all inputs of a cell: a finite set (V, E), a box, or a hidden state's |x_j| <= 1


class Reach(NamedTuple):
    """Least and greatest value of each row of U x + b over the inputs: (G,) each."""

    low: Tensor
    high: Tensor


def input_reach(cell: Cell, inputs: Seen, dropout: float = 0.0, dtype: torch.dtype = torch.float64) -> Reach:
    """The range of U x + b, attained.

    Args:
        cell: whose U (G, E) and b (G,).
        inputs: all x that it can see, (V, E) or a box; None: every x with |x_j| <= 1 (a hidden state).
        dropout: rate p of the dropout between inputs and cell. Its masks remove entries and multiply the
            others by 1 / (1 - p); the worst mask of a row keeps the entries that push it one way.
        dtype: of the computation.
    """
    first, second = (bias.detach().to(dtype) for bias in cell.input_biases())
    return product_reach(cell.weight_ih, first + second, inputs, dropout)


def product_reach(weight: Tensor, bias: Tensor, inputs: Seen, dropout: float = 0.0) -> Reach:
    """``input_reach`` of any U (G, E) and b (G,), in the precision of b."""
    weight, bias = weight.detach().to(bias.dtype), bias.detach()
    if inputs is None:
        inputs = Box(-1.0, 1.0)
    if isinstance(inputs, Box):
        low, high = inputs.low / (1 - dropout), inputs.high / (1 - dropout)
        if dropout:  # a mask may set any entry to zero
            low, high = min(low, 0.0), max(high, 0.0)
        above, below = weight.clamp_min(0).sum(1), weight.clamp_max(0).sum(1)
        return Reach(bias + low * above + high * below, bias + high * above + low * below)
    low = weight.new_full((len(weight),), float("inf"))
    high = -low
    for chunk in _chunks(len(weight), inputs):
        below, above = preactivations(weight, chunk.to(bias.dtype), dropout)
        torch.minimum(low, below.amin(0), out=low)
        torch.maximum(high, above.amax(0), out=high)
    return Reach(low + bias, high + bias)


def term_sizes(
    cell: Cell, inputs: Seen, dropout: float = 0.0, dtype: torch.dtype = torch.float64, one_bias: bool = False
) -> Tensor:
    """A bound of the sum of the absolute terms of each row of U x + b, (G,); ``one_bias``: both parts of b as one."""
    first, second = (bias.detach().to(dtype) for bias in cell.input_biases())
    biases = (first + second).abs() if one_bias else first.abs() + second.abs()
    return product_terms(cell.weight_ih, biases, inputs, dropout)


def product_terms(weight: Tensor, biases: Tensor, inputs: Seen, dropout: float = 0.0) -> Tensor:
    """``term_sizes`` of any U (G, E), with |b| (G,), in the precision of b."""
    if isinstance(inputs, Tensor):
        largest = float(inputs.detach().to(biases.dtype).abs().max())
    else:
        largest = max(map(abs, inputs)) if inputs else 1.0
    return weight.detach().to(biases.dtype).abs().sum(1) * largest / (1 - dropout) + biases


def word_chunks(cell: Cell, inputs: Tensor) -> tuple[Tensor, ...]:
    """The inputs in pieces whose pre-activations fit into memory."""
    return _chunks(len(cell.weight_ih), inputs)


def _chunks(rows: int, inputs: Tensor) -> tuple[Tensor, ...]:
    return inputs.detach().split(max(1, _ENTRIES_A_CHUNK // rows))


def preactivations(weight: Tensor, words: Tensor, dropout: float) -> Reach:
    """The range of U x for each word (n, E) over the masks of a dropout: two tensors (n, G)."""
    product = words @ weight.T
    if not dropout:
        return Reach(product, product)
    total = words.abs() @ weight.abs().T  # sum of positive parts = (total + product) / 2
    return Reach((product - total) / (2 * (1 - dropout)), (product + total) / (2 * (1 - dropout)))


class GateBounds(NamedTuple):
    """Bounds for each unit, (D,) each.

    i, f, z, o bound the gates (|z| for z), c and h the state. ``by_*`` bound how fast the new state moves with the
    pre-activation of a gate: |∂c'/∂f| ..., that is C sup σ', z sup σ', i sup tanh', and for o tanh(C) sup σ' of h'.
    """

    i: Tensor
    f: Tensor
    z: Tensor
    o: Tensor
    c: Tensor
    h: Tensor
    by_i: Tensor
    by_f: Tensor
    by_z: Tensor
    by_o: Tensor


def gate_bounds(
    cell: LSTMCell,
    reach: Reach,
    forget_limit: float = 1.0,
    rounds: int = 1,
    words: Tensor | None = None,
    dropout: float = 0.0,
) -> GateBounds:
    """Bounds on gates and states, from the range of U x + b over the inputs.

    Args:
        cell: whose recurrent matrices (their row ℓ1 norms times H bound W h).
        reach: of its inputs; its dtype is that of the result.
        forget_limit: take f for no more than this (for a caller that will see to it).
        rounds: see the head of this file; more are tighter and every one is valid.
        words, dropout: with the inputs (V, E) and their dropout, C_j is the greatest i |z| / (1 - f) of any one word,
            and not made of the greatest i, z and f of different ones.
    """
    weight = cell.weight_hh.detach().to(reach.low.dtype).abs()
    hidden = weight.new_ones(cell.hidden_size)
    bounds = None
    for _ in range(rounds):
        spread = weight @ hidden
        memory = None if words is None else _memory(cell, words, spread, dropout)
        bounds = _bounds((reach.low - spread).chunk(4), (reach.high + spread).chunk(4), forget_limit, memory)
        hidden = bounds.h
    assert bounds is not None
    return bounds


def _bounds(
    low: tuple[Tensor, ...], high: tuple[Tensor, ...], forget_limit: float, memory: Tensor | None
) -> GateBounds:
    i, f, o = (torch.sigmoid(high[gate]) for gate in (0, 1, 3))
    f = f.clamp_max(forget_limit)
    z = torch.tanh(torch.maximum(high[2], -low[2]))
    # σ' and tanh' are greatest at zero and fall off on both sides: the point of the range that is nearest to it.
    steepest = [torch.zeros_like(lo).clamp(lo, hi) for lo, hi in zip(low, high, strict=True)]
    slope_i, slope_f, slope_o = (sigmoid_slope(steepest[gate]) for gate in (0, 1, 3))
    slope_z = tanh_slope(steepest[2])
    if memory is None:  # σ(-x) is 1 - σ(x) without the loss of digits near 1
        c = (i * z / torch.sigmoid(-high[1]).clamp_min(1 - forget_limit)).nan_to_num(nan=math.inf, posinf=math.inf)
    else:
        c = memory
    squashed = torch.tanh(c)
    f, o = f.clamp_min(_LEAST), o.clamp_min(_LEAST)
    bounds = GateBounds(i, f, z, o, c, o * squashed, z * slope_i, c * slope_f, i * slope_z, squashed * slope_o)
    return GateBounds(*(bound.clamp_min(UNDERFLOW) for bound in bounds))


def is_coupled(cell: LSTMCell) -> bool:
    """Whether i = 1 - f whatever the state and the input: the rows of the two gates are each other's negatives."""
    return all(
        torch.equal(rows[0], -rows[1]) for rows in (part.detach().chunk(4) for part in cell.parameters(recurse=False))
    )


def open_gates(forget: Tensor) -> GateBounds:
    """Bounds with nothing known but f (D,): i, |z|, o <= 1 and the steepest slopes."""
    one = torch.ones_like(forget)
    c = 1 / (1 - forget)
    return GateBounds(one, forget, one, one, c, torch.tanh(c), one / 4, c / 4, one, torch.tanh(c) / 4)


def coupled(bounds: GateBounds) -> GateBounds:
    """The bounds for i = 1 - f, where c' = f c + (1 - f) z lies between c and z: so C_j = max |z_j|.

    ``by_f`` and ``by_z`` stand for the moment at which the gate is as far open as it ever is. With p the
    pre-activations, c' changes by at most f |δc| + f (1 - f) (C + |z|) |δp_f| + (1 - f) |δp_z|, and the weights of the
    loop gain, (1 - f) / (λ - f) and f (1 - f) / (λ - f), grow with f below λ. So where each unit has its own bound (the
    ∞-norm), what holds at its largest f holds at all of them: the drive is damped as much as the memory is long.
    """
    slope_z, slope_o = _ratio(bounds.by_z, bounds.i, 1.0), _ratio(bounds.by_o, torch.tanh(bounds.c), 0.25)
    c, left = bounds.z, 1 - bounds.f
    squashed = torch.tanh(c)
    return bounds._replace(
        c=c,
        h=bounds.o * squashed,
        by_i=torch.zeros_like(c),
        by_f=bounds.f * left * (c + bounds.z),
        by_z=left * slope_z,
        by_o=squashed * slope_o,
    )


def _ratio(value: Tensor, by: Tensor, otherwise: float) -> Tensor:
    """value / by, or ``otherwise`` where nothing is left of it to divide by."""
    return torch.where(by > _LEAST_RATIO, value / by, otherwise)


def _memory(cell: LSTMCell, words: Tensor, spread: Tensor, dropout: float) -> Tensor:
    """C (D,): the greatest i |z| / (1 - f) of a word, with W h anywhere within ±spread (4D,).

    Infinite where f rounds to 1 and i to 0: nothing is known of their ratio.
    """
    spread = spread + ROUNDING * (term_sizes(cell, words, dropout, spread.dtype) + spread)
    weight = cell.weight_ih.detach().to(spread.dtype)
    bias = cell.bias_ih.detach().to(spread.dtype) + cell.bias_hh.detach().to(spread.dtype)
    most = spread.new_zeros(cell.hidden_size)
    for chunk in word_chunks(cell, words):
        low, high = preactivations(weight, chunk.to(spread.dtype), dropout)
        i, f, z, _ = (high + (bias + spread)).chunk(4, dim=1)
        deepest = (low + (bias - spread)).chunk(4, dim=1)[2]
        # 1 / (1 - σ(f)) = 1 + e^f
        held = torch.sigmoid(i).clamp_min(_LEAST_SIGMOID) * torch.tanh(torch.maximum(z, -deepest)) * (1 + f.exp())
        torch.maximum(most, held.nan_to_num(nan=math.inf, posinf=math.inf).amax(0), out=most)
    return most


def sigmoid_slope(x: Tensor) -> Tensor:
    """σ(x) (1 - σ(x)), with all its digits also where σ(x) rounds to 1."""
    return torch.sigmoid(x) * torch.sigmoid(-x)


def tanh_slope(x: Tensor) -> Tensor:
    """1 - tanh²(x), with all its digits also where tanh(x) rounds to 1."""
    return 4 * sigmoid_slope(2 * x)
