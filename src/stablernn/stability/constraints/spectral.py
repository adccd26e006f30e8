"""Constraints on the 2-norm of a recurrent matrix, and clipping of singular values without an SVD."""

from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor

from stablernn.models.cells.base import Cell
from stablernn.models.cells.rnn import RNNCell
from stablernn.stability.constraints.base import Constraint, checked_limit, two_norm

# Weights are float32, and float32 knows singular values to some 1e-6. So they are put this little inside the limit. It
# is squared where they are put and not where they are tested: what was projected passes the test with as much to spare
# on either side, and the bound holds in exact arithmetic on the weights as they are stored.
_INSIDE = 1 - 6e-6
# The same where products alone must do, as on a GPU: where they put singular values, and how far beyond it rounding may
# leave them before the matrix is scaled.
_INSIDE_BY_PRODUCTS = 1 - 2e-5
_INSIDE_AFTER_PRODUCTS = 1 - 1e-5
# So many times the limit is as far outside as products of float32 numbers still tell the singular values near the limit
# beside the largest one: a Gram matrix has their squares.
_FARTHEST = 60
# The same for a Gram matrix in float64.
_FARTHEST_OF_GRAM = 1e4
_LARGEST_ENTRY = 1e4  # the Gram matrix of a Gram matrix of such entries is still far from float32's largest number
_SIGN_FROM = 1e-5  # the sign of an eigenvalue is known from this part of the largest on; below it does not matter
_ROOT_FROM = 1 / 128  # the least root of an eigenvalue: 1 / 60, and the largest one is bounded from above
_BALANCINGS = 200
_SQUARINGS = 20
# From this size on it pays to look for the few singular values beyond the limit: in a block of a fifth of the size, by
# a polynomial of degree 8 that damps all below three quarters of the squared limit.
_LARGE = 256
_BLOCK_SHARE = 5
_DEGREE = 8
_DAMPED = 0.75


class SpectralNormBall(Constraint):
    """‖W‖_2 <= limit: then the tanh-RNN is limit-contractive in the 2-norm, as tanh is 1-Lipschitz.

    The projection is the Euclidean one: singular values are clipped at the limit, singular vectors kept.

    Args:
        limit: λ, in (0, 1).
    """

    cell_type = RNNCell

    def __init__(self, limit: float = 0.999) -> None:
        self.limit = self.rate = checked_limit(limit)

    @torch.no_grad()
    def project(self, cell: Cell, inputs: Tensor | None) -> None:
        weight = cell.recurrent_blocks()["W"]
        clip_singular_values(weight, self.limit)


class RNNAsCoded(Constraint):
    """What code published by the paper's first author in September 2018 does: singular values are clipped at exactly 1.

    That makes the tanh-RNN non-expansive and no more: a contraction needs ‖W‖_2 < 1, so nothing is proven. The code is
    a month younger than the blog of August 2018, so it is not known that the published numbers come from it.
    """

    cell_type = RNNCell
    synchronizes = True

    @torch.no_grad()
    def project(self, cell: Cell, inputs: Tensor | None) -> None:
        weight = cell.recurrent_blocks()["W"]
        if not bool(weight.isfinite().all()):
            return
        left, singular, right = torch.linalg.svd(weight.double())
        if float(singular[0]) > 1:
            weight.copy_((left * singular.clamp_max(1)) @ right)


class RNNDiagonal(SpectralNormBall):
    """‖D W D⁻¹‖_2 <= limit for the diagonal D that balances W: the tanh-RNN is limit-contractive in the norm ‖D h‖_2.

    tanh acts on each unit alone, so any positive diagonal D will do, and the set is larger than the spectral-norm
    ball: units may drive others strongly if little comes back. The singular values of D W D⁻¹ are clipped (the nearest
    point in the norm ‖D ΔW D⁻¹‖_F); where the clipped matrix is not quite balanced and its own D would say more than
    the limit, it is scaled. D does not change with the scale of W, so what was projected is left alone.

    Args:
        limit: λ, in (0, 1).
    """

    synchronizes = True

    @torch.no_grad()
    def project(self, cell: Cell, inputs: Tensor | None) -> None:
        weight = cell.recurrent_blocks()["W"]
        exact = weight.double()
        units = balance(exact)
        balanced = units[:, None] * exact / units
        if float(two_norm(balanced)) <= self.limit:
            return
        clip_singular_values(balanced, self.limit)
        exact = balanced / units[:, None] * units
        units = balance(exact)
        norm = two_norm(units[:, None] * exact / units)
        weight.copy_(exact * (self.limit * _INSIDE / norm).clamp_max(1))


def clip_singular_values(
    matrix: Tensor, limit: float, row_scale: Tensor | None = None, waits: bool | None = None
) -> None:
    """Clip the singular values of diag(r) M at ``limit``, by changing M in place.

    With diag(r) M = P Σ Qᵀ it is multiplied by Q min(1, limit / Σ) Qᵀ. That is the nearest point of the ball
    ‖diag(r) M‖_2 <= limit in the norm ‖diag(r) ΔM‖_F, for r = 1 the Euclidean projection. The Gram matrix tells all
    that is needed.

    Without a look at a number the result is in the ball as well, but no longer the nearest point if
    ‖diag(r) M‖_2 > 60 limit: M is scaled to 60 limit first.

    Args:
        matrix: M (N, D).
        limit: of the singular values.
        row_scale: r (N,), positive; None: 1.
        waits: whether to look at numbers on the way and do no more than is needed; by default not on a GPU.
    """
    if not (not matrix.is_cuda if waits is None else waits):
        _clip_by_products(matrix, limit, row_scale)
        return
    gram = _gram(matrix, row_scale)
    if not float(gram.trace()) <= (_FARTHEST_OF_GRAM * limit) ** 2:
        _clip_by_svd(matrix, limit, row_scale)
        return
    if len(gram) >= _LARGE and _clip_few(matrix, gram, limit):
        return
    if _is_inside(gram, limit):
        return
    exact = matrix
    eigenvalues, vectors = torch.linalg.eigh(gram)
    if eigenvalues[-1] > 1.5 * limit**2:
        # So far outside that float32 would lose the values near the limit beside the largest.
        exact = matrix.double()
        eigenvalues, vectors = torch.linalg.eigh(_gram(exact, None if row_scale is None else row_scale.double()))
    bound = limit * _INSIDE
    singular = eigenvalues.clamp_min(0).sqrt()
    vectors = vectors[:, singular > bound]
    shrink = bound / singular[singular > bound] - 1
    matrix.copy_(exact + (exact @ vectors * shrink) @ vectors.T)


def _clip_by_svd(matrix: Tensor, limit: float, row_scale: Tensor | None) -> None:
    """``clip_singular_values`` for a matrix of any size: it rounds relative to the limit, and no square overflows.

    What is not finite is left alone: training refuses it by its loss.
    """
    if not bool(matrix.isfinite().all()):
        return
    scale = matrix.new_ones(len(matrix)) if row_scale is None else row_scale
    left, singular, right = torch.linalg.svd(matrix.double() * scale.double()[:, None], full_matrices=False)
    matrix.copy_((left * singular.clamp_max(limit * _INSIDE)) @ right / scale.double()[:, None])


def _clip_by_products(matrix: Tensor, limit: float, row_scale: Tensor | None) -> None:
    """``clip_singular_values`` without a look at a number."""
    largest = (matrix if row_scale is None else matrix * row_scale[:, None]).abs().amax()
    matrix.mul_((_LARGEST_ENTRY / largest).clamp_max(1))
    gram = _gram(matrix, row_scale)
    norm = largest_eigenvalue(gram).sqrt()
    nearer = (_FARTHEST * limit / norm).clamp_max(1).to(matrix.dtype)
    clipped = (nearer * matrix) @ clip_factor(nearer**2 * gram, limit * _INSIDE_BY_PRODUCTS)
    # The farther outside, the more the products round.
    after = largest_eigenvalue(_gram(clipped, row_scale)).sqrt()
    clipped *= (limit * _INSIDE_AFTER_PRODUCTS / after).clamp_max(1).to(matrix.dtype)
    matrix.copy_(torch.where(norm**2 <= limit**2 * _INSIDE, matrix, clipped))


def _margin(gram: Tensor, limit: float) -> Tensor:
    """b² I - G: positive definite exactly when ‖·‖_2 < b, and a Cholesky factorisation, far cheaper than an
    eigendecomposition, tells."""
    margin = -gram
    margin.diagonal().add_(limit**2 * _INSIDE)
    return margin


def _is_inside(gram: Tensor, limit: float) -> bool:
    return int(torch.linalg.cholesky_ex(_margin(gram, limit)).info) == 0


def _clip_few(matrix: Tensor, gram: Tensor, limit: float) -> bool:
    """Clip where few singular values are beyond the limit; False, and nothing done, where they were not all found.

    A polynomial that is small on [0, ``_DAMPED`` b²] and large above (Chebyshev's) lets a fixed block of vectors turn
    towards the largest eigenvectors of G, and Rayleigh and Ritz find them in it. An eigenvector near the limit that the
    block misses would hardly have been moved; any other one shows in the Cholesky factorisation of the new Gram matrix.
    """
    bound = limit * _INSIDE
    centre = 0.5 * _DAMPED * bound**2
    before = _block(len(gram))
    block = torch.addmm(before, gram, before, beta=-1, alpha=1 / centre)
    for _ in range(_DEGREE - 1):
        before, block = block, torch.addmm(2 * block + before, gram, block, beta=-1, alpha=2 / centre)
    wide = block.double()
    root, info = torch.linalg.cholesky_ex(wide.T @ wide)
    if int(info):
        return False
    basis = torch.linalg.solve_triangular(root, wide.T, upper=False).T.to(matrix.dtype)
    image = gram @ basis
    eigenvalues, turn = torch.linalg.eigh((basis.T @ image).double())
    if eigenvalues[-1] <= limit**2 * _INSIDE:  # what was put on the bound may lie a rounding beyond it, but not so far
        return _is_inside(gram, limit)
    beyond = eigenvalues > bound**2
    turn = turn[:, beyond].to(matrix.dtype)
    vectors, image = basis @ turn, image @ turn
    shrink = (bound / eigenvalues[beyond].sqrt() - 1).to(matrix.dtype)
    scaled = vectors * shrink
    after = gram + scaled @ image.T + image @ scaled.T + scaled @ (vectors.T @ image) @ scaled.T
    if not _is_inside(after, limit):
        return False
    matrix.add_((matrix @ scaled) @ vectors.T)
    return True


@cache
def _block(size: int) -> Tensor:
    """Where the search for the largest eigenvectors begins: always the same, so that a run repeats itself."""
    return torch.randn(size, size // _BLOCK_SHARE, generator=torch.Generator().manual_seed(0))


def _gram(matrix: Tensor, row_scale: Tensor | None) -> Tensor:
    scaled = matrix if row_scale is None else matrix * row_scale[:, None]
    return scaled.T @ scaled


def largest_eigenvalue(gram: Tensor) -> Tensor:
    """λ of the largest eigenvalue of a symmetric positive semidefinite G (D, D), at most 1e-5 λ too small or too large.

    By squaring alone, which a CUDA graph can hold (cuSOLVER's factorisations it cannot): with p = 2^20,
    λ <= ‖G^p‖_F^(1/p) <= λ D^(1/2p), and the rounding of the j-th square counts 2^-j.
    """
    logarithm = gram.new_zeros((), dtype=torch.float64)
    for number in range(_SQUARINGS + 1):
        norm = torch.linalg.matrix_norm(gram).clamp_min(torch.finfo(gram.dtype).tiny)
        logarithm += norm.double().log() / 2**number
        if number < _SQUARINGS:
            gram = gram / norm
            gram = gram @ gram
    return logarithm.exp()


def clip_factor(gram: Tensor, bound: float) -> Tensor:
    """X = bound · max(G, bound²)^(-1/2), by products alone: nothing of it waits for the device.

    max(G, b²) = b² + (Y + |Y|) / 2 with Y = G - b² and |Y| = Y sign(Y). The sign comes from Newton's and Schulz's
    iteration with the scaling of Chen & Chow (2014); an eigenvalue so near to zero that its sign stays open adds no
    more than itself to the error. The inverse root is the coupled iteration of the same name (Higham 2008, section
    6.7), scaled likewise.

    Args:
        gram: symmetric positive semidefinite, (D, D) float32.
        bound: of the square roots of its eigenvalues.

    Returns:
        X (D, D), symmetric.
    """
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    square = gram @ gram
    largest = torch.linalg.matrix_norm(square @ square) ** 0.25  # at least ‖G‖_2
    scale = torch.clamp(largest - bound**2, min=bound**2)
    difference = gram - bound**2 * identity
    sign = difference / scale
    for step in _scales(_SIGN_FROM, 1 - 1e-4):
        sign = 1.5 * step * sign - (0.5 * step**3) * (sign @ (sign @ sign))
    positive = (difference + difference @ sign) / 2
    positive = (positive + positive.T) / 2
    # Z / (largest + b²) has its eigenvalues in (0, 1], where the iteration converges.
    total = torch.clamp(largest, min=bound**2) + bound**2 * 1e-3
    y, z = (bound**2 * identity + positive) / total, identity
    for number, step in enumerate(_scales(_ROOT_FROM, 1 - 1e-6)):
        squares = z @ y if number else y
        correction = 1.5 * step * identity - (0.5 * step**3) * squares
        y, z = y @ correction, correction @ z if number else correction
    return bound / total.sqrt() * z


def _scales(low: float, end: float) -> Iterator[float]:
    """The scales of Newton's and Schulz's iteration that bring all of [low, 1] beyond ``end`` soonest."""
    while low < end:
        step = (3 / (1 + low + low**2)) ** 0.5
        yield step
        low = 0.5 * step * low * (3 - (step * low) ** 2)


def balance(matrix: Tensor) -> Tensor:
    """d > 0 (D,) for which row j and column j of diag(d) W diag(d)⁻¹ have about the same 2-norm (Osborne 1960).

    That makes its Frobenius norm least. It depends on the pattern of W alone and not on its size.
    """
    squares = (matrix**2).fill_diagonal_(0)  # no D changes it
    squares = squares / squares.max().clamp_min(1e-300) + 1e-24
    weights = squares.new_ones(len(squares))  # d²
    for _ in range(_BALANCINGS):
        out, into = weights * (squares @ (1 / weights)), (squares.T @ weights) / weights
        weights = weights * (into / out) ** 0.25
        weights = weights / weights.log().mean().exp()
    return weights.sqrt()
