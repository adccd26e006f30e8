"""Proofs from one nonnegative matrix: |δs'| <= M |δs|, entry by entry or block by block, for the same input.

With M w <= λ w and Mᵀ v <= λ v for positive w and v (``perron``), differences shrink by λ in two norms: the ∞-norm of
δs_j / w_j, and the 2-norm of δs_j √(v_j / w_j), by Schur's test. Where an entry of M bounds the 2-norm of a block of
δs' by that of another block, the latter holds with one weight a block.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from stablernn.models.cells.state import State
from stablernn.stability.proofs.gates import UNDERFLOW, Reach, Seen, product_reach, product_terms
from stablernn.stability.proofs.norms import OUTWARD, Contraction, StateNorm, up, widened
from stablernn.stability.proofs.rates import least_rate, perron, rates, spectral_radius

_LOWERINGS = 30


def contractions(
    gain: Tensor,
    box: State,
    moved: Callable[[Tensor], State],
    reason: str,
    blocks: Sequence[int] | None = None,
) -> list[Contraction]:
    """One in each norm and for each of several λ; or one that says why there is none.

    Args:
        gain: M (S, S), float64, of all parts of a state side by side; (n, n) for ``blocks``.
        box: bounds of the states reached from zero, of (D,) float64 tensors: M holds within it, and it sets the scale.
        moved: what a change of the input (E,) does to the next state at most, entry by entry.
        reason: why nothing is proven; ``{rate}`` is the spectral radius of M.
        blocks: sizes of the blocks; None: every entry is one.
    """
    entries = torch.cat(tuple(box)).clamp_min(UNDERFLOW)
    units = entries if blocks is None else torch.stack([part.norm() for part in entries.split(list(blocks))])
    scaled = gain * units / units[:, None]
    least = least_rate(0.0, lambda rate: perron(scaled, rate) is not None)
    if least is None:
        radius = spectral_radius(scaled)
        return [Contraction("weighted 2-norm", up(radius), reason.format(rate=f"{radius:.6g}"))]
    result = []

    def add(name: str, rate: float, p: float, weights: Tensor) -> None:
        if blocks is not None:
            weights = weights.repeat_interleave(torch.tensor(blocks, device=weights.device))
        norm = StateNorm(p, type(box)(*weights.split([len(part) for part in box])))

        def input_gain(change: Tensor) -> float:
            return norm.over(moved(change.double()))

        result.append(Contraction(name, rate, "", norm, norm.over(box), input_gain))

    for rate in rates(least):
        right, left = _least_weights(scaled, rate), _least_weights(scaled.T, rate)
        if right is None or left is None:
            continue
        add("weighted 2-norm", rate, 2, (left / right).sqrt() / units)
        if blocks is None:
            add("weighted ∞-norm", rate, math.inf, 1 / (units * right))
    return result


def _least_weights(matrix: Tensor, rate: float) -> Tensor | None:
    """Weights w >= 1 with matrix w <= rate w, not far above the least such ones: small weights make a small radius.

    From any such w, the larger of 1 and what each row needs, given the others, is one that is nowhere larger.
    """
    weights = perron(matrix, rate)
    if weights is None:
        return None
    outward = matrix * (1 + 2 * OUTWARD)
    room = rate - outward.diagonal()
    others = outward - outward.diag().diag()
    lower = weights
    for _ in range(_LOWERINGS):
        lower = (others @ lower / room).clamp_min(1)
    sound = bool((room > 0).all()) and bool((matrix @ lower * (1 + OUTWARD) <= rate * lower).all())
    return lower if sound else weights


def reach_of(weight: Tensor, bias: Tensor | None, inputs: Seen, dropout: float) -> Reach:
    """The range of U x + b over the inputs, rounded outward, for any U (G, E) and b (G,) or none."""
    offset = weight.new_zeros(len(weight), dtype=torch.float64) if bias is None else bias.detach().double()
    return widened(product_reach(weight, offset, inputs, dropout), product_terms(weight, offset.abs(), inputs, dropout))


def joined(rows: Sequence[Sequence[Tensor | None]], sizes: Sequence[int]) -> Tensor:
    """A matrix of blocks; None: zeros."""
    like = next(block for row in rows for block in row if block is not None)
    return torch.cat(
        [
            torch.cat(
                [
                    like.new_zeros(height, width) if block is None else block
                    for block, width in zip(row, sizes, strict=True)
                ],
                dim=1,
            )
            for row, height in zip(rows, sizes, strict=True)
        ]
    )
