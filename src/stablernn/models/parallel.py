"""The recurrent model, exactly, by iteration over all positions at once instead of steps through time.

For a guess s of the states let r_t = ‖s_t - φ(s_{t-1}, x_t)‖ be its residual. If φ is λ-contractive, its errors satisfy

    e_t <= λ e_{t-1} + r_t        and those of its image φ(s_{t-1}, x_t)        e'_t <= λ e_{t-1}

so the residual that the next iteration computes anyway proves how far the image is from the true states. (The maximum,
r / (1 - λ), is the well known bound of Banach's theorem; the recursion in time is tighter.) Without a certificate λ_t
is measured at every position as the growth of what the last iteration changed, and the same recursion gives an
estimate, no bound. Where it will not converge in the iterations that are worth their while, the states are computed
step by step: of that chunk where contraction is proven, and else of the whole window, as a cell that does not contract
may have made much of small errors in the chunks before.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stablernn.errors import ConfigurationError
from stablernn.models.cells import Cell, State, map_state
from stablernn.models.iterations import ITERATIONS, Iteration, newton
from stablernn.models.scan import linear_scan
from stablernn.models.unroll import Recurrent

_MARGIN = 0.1  # share of the tolerance that a state may be wrong by if others are still to be computed from it
_ROUNDINGS = 4  # units in the last place that two evaluations of one φ may differ by
_MEASURABLE = 1000  # units in the last place that a change must have for its growth to be measured
_PATIENCE = 16  # iterations after which there must be progress


@dataclass(frozen=True)
class Contracting:
    """What is proven of a cell: ‖φ(s, x) - φ(s', x)‖ <= λ ‖s - s'‖ for all s, s' within a box.

    Attributes:
        rate: λ, below 1.
        norm: of states of (..., D): (...,).
        unit: u with |s_j| <= u ‖s‖ for each entry of a state.
        box: elementwise bounds of the states, (D,) each, that no state reached from zero leaves; guesses are kept
            within it. None: the whole space.
    """

    rate: float
    norm: Callable[[State], Tensor]
    unit: float
    box: State | None = None


@dataclass(frozen=True)
class Effort:
    """What a chunk took.

    Attributes:
        layer: of the stack, from 0.
        steps: positions of the chunk.
        iterations: carried out, those of a failed attempt too.
        sequential: whether it was given up and run step by step.
        proven: whether ``error`` is a bound; else an estimate.
        error: of any entry of any state of the chunk, counted from the state that the call began with; 0 where it was
            run step by step. Above the tolerance where rounding lets no residual shrink further.
    """

    layer: int
    steps: int
    iterations: int
    sequential: bool
    proven: bool
    error: float


@dataclass(frozen=True)
class Solver:
    """How the states of a cell are found.

    Args:
        iteration: ``jacobi`` or ``newton``.
        chunk: positions that are iterated on at once; memory is in proportion, and the true state is carried on.
        tolerance: largest error of an entry of a state. In float32 one step is right to some 1e-7, and with a long
            memory, 1 / (1 - λ) steps, no bound below 1e-7 / (1 - λ) is to be had: the iteration then ends where
            residuals are nothing but rounding, which the states of the plain loop are off by as well.
        max_iterations: for a chunk; an iteration costs about what a step costs at T times the batch.
    """

    iteration: Iteration = newton
    chunk: int = 1024
    tolerance: float = 1e-5
    max_iterations: int = 100

    def __post_init__(self) -> None:
        for option in ("chunk", "max_iterations"):
            if getattr(self, option) < 1:
                raise ConfigurationError(f"{option}={getattr(self, option)} must be a whole number >= 1")
        if not self.tolerance > 0:
            raise ConfigurationError(f"tolerance={self.tolerance} must be positive; 1e-5 suits float32")

    @torch.no_grad()
    def __call__(
        self,
        cell: Cell,
        x: Tensor,
        state: State,
        proof: Contracting | None = None,
        layer: int = 0,
        guess: State | None = None,
    ) -> tuple[Tensor, State, list[Effort]]:
        """What ``cell.sequence`` gives for x (T, B, E) and a state of (B, D), to the tolerance; and what it took.

        Args:
            cell: φ.
            x: inputs.
            state: before them; within the proof's box, as every state reached from zero is.
            proof: of this cell's contraction; None: its rate is measured.
            layer: named in the efforts.
            guess: of all states, (T, B, D), from which to start, within the proof's box; None: zero.
        """
        outputs: list[Tensor] = []
        efforts: list[Effort] = []
        error = torch.zeros(x.shape[1], dtype=torch.float64, device=x.device)
        chunks = x.split(self.chunk)
        guesses = _split(guess, self.chunk) if guess is not None else [cell.zeros(*part.shape[:2]) for part in chunks]
        now = state
        for inputs, start in zip(chunks, guesses, strict=True):
            attempt = _Attempt(self, cell, cell.project_inputs(inputs), now, proof, error, start)
            found = attempt.run()
            if found is not None:
                (h, now), error, reached = found, attempt.error, attempt.largest
            elif proof is not None:
                h, now = cell.sequence(inputs, now)
                error, reached = error * proof.rate ** len(inputs), 0.0
            else:
                spent = [*(effort.iterations for effort in efforts), attempt.iterations] + [0] * len(chunks)
                return *cell.sequence(x, state), [
                    Effort(layer, len(part), iterations, True, False, 0.0)
                    for part, iterations in zip(chunks, spent, strict=False)
                ]
            outputs.append(h)
            efforts.append(Effort(layer, len(inputs), attempt.iterations, found is None, proof is not None, reached))
        return torch.cat(outputs), now, efforts


class _Attempt:
    """One chunk. Axes: T the positions that are not settled yet; all tensors begin at the first of them."""

    def __init__(
        self,
        solver: Solver,
        cell: Cell,
        projected: Tensor,
        initial: State,
        proof: Contracting | None,
        error: Tensor,
        guess: State,
    ) -> None:
        steps, batch = projected.shape[:2]
        self.solver, self.cell, self.proof = solver, cell, proof
        self.projected, self.initial = projected, initial
        self.error = error  # of the state before the first position, in the proof's norm or the 2-norm
        self.growth = torch.ones_like(error)  # that one unit of error a step would have made of itself until there
        self.rates = error.new_full((steps, batch), proof.rate if proof else 1.0)
        self.guess = guess
        self.was_rounding = torch.zeros(steps, batch, dtype=torch.bool, device=projected.device)
        self.earlier: tuple[State, State] | None = None
        self.most_growth = float(steps)
        self.iterations = 0
        self.largest = 0.0
        self.settled: list[Tensor] = []

    def run(self) -> tuple[Tensor, State] | None:
        """h at every position (T, B, D) and the last state; None if it is not worth going on or cannot be trusted."""
        history: list[float] = []
        for number in range(1, self.solver.max_iterations + 1):
            self.iterations = number
            before = type(self.initial)(
                *(torch.cat([first[None], part[:-1]]) for first, part in zip(self.initial, self.guess, strict=True))
            )
            image, following = self.solver.iteration(self.cell, self.projected, before, self.initial)
            settled, largest, digits, growth, error = self._examine(before, image)
            if not math.isfinite(digits + largest):
                return None
            self.largest = max(self.largest, largest)
            self.settled.append(image.h[:settled])
            last = map_state(lambda part, at=settled - 1: part[at], image)
            self.error, self.growth = error, growth
            if settled == len(self.projected):
                return torch.cat(self.settled), last
            self._advance(settled, last, following, before, image)
            history.append(digits)
            if self._hopeless(history):
                return None
        return None

    def _examine(self, before: State, image: State) -> tuple[int, float, float, Tensor, Tensor]:
        """How many positions of the image are settled, and what is known of them.

        Returns:
            Positions from the first on; the largest error of an entry among them, infinite if one is neither within
            the tolerance nor settled by rounding (then it grows from what went before); the binary digits that the
            residuals of all positions together are still to lose, not finite if one is not; growth and error of the
            last settled position, (B,).
        """
        residual = _difference(image, self.guess)
        epsilon = torch.finfo(image.h.dtype).eps
        off = _in_roundings(residual, image)
        rounding = off <= _ROUNDINGS
        if self.earlier is not None:
            rounding &= _in_roundings(_difference(image, self.earlier[1]), image) <= _ROUNDINGS
        if self.proof is None:
            self._measure(before, image, epsilon)
            norm, unit = _length, 1.0
        else:
            norm, unit = self.proof.norm, self.proof.unit
        terms = torch.stack([norm(residual).double(), torch.ones_like(self.rates)])
        rates = self.rates.expand_as(terms).transpose(0, 1)
        start = torch.stack([self.error, self.growth])
        sums = torch.cat([start[None], linear_scan(rates, terms.transpose(0, 1).contiguous(), start)])
        errors, growths = self.rates * sums[:-1, 0], sums[1:, 1]
        trusted = torch.ones_like(rounding) if self.proof else growths <= self.most_growth
        quiet = rounding.cumprod(0).bool()  # what follows a position that still moves is about to move as well
        fixed = quiet & self.was_rounding & trusted
        self.was_rounding = rounding
        exact = (unit * errors <= _MARGIN * self.solver.tolerance) | fixed
        good = (unit * errors <= self.solver.tolerance) | fixed
        steps = len(exact)
        prefix = exact.all(1).cumprod(0).sum()
        everything = good.all() & exact[-1].all()
        settled = torch.where(everything, steps, prefix.clamp_min(1))  # φ of the state before is exact
        enough = (_MARGIN * self.solver.tolerance / (unit * epsilon) * (1 - self.rates)).clamp_min(_ROUNDINGS)
        known = good | (errors <= self.error)  # what rounding has left above the tolerance may stay, but not grow
        reached = torch.where(known, unit * errors, math.inf).amax(1).cummax(0).values[settled - 1]
        count, largest, digits = torch.stack([settled, reached, (off / enough).clamp_min(1).log2().sum()]).tolist()
        last = int(count) - 1
        return last + 1, largest, digits, growths[last], errors[last]

    def _measure(self, before: State, image: State, epsilon: float) -> None:
        """λ_t: how much more the image has changed since the last iteration than the guess that it comes from."""
        if self.earlier is not None:
            cause, effect = (
                _length(_difference(now, then)) for now, then in zip((before, image), self.earlier, strict=True)
            )
            measurable = cause > _MEASURABLE * epsilon
            self.rates = torch.where(measurable, (effect / cause.clamp_min(epsilon)).double(), self.rates)

    def _advance(self, settled: int, last: State, following: State, before: State, image: State) -> None:
        """Leave the settled positions behind."""

        def rest(state: State) -> State:
            return map_state(lambda part: part[settled:], state)

        box = self.proof.box if self.proof else None
        if box is not None:
            limits = (bound.to(part.dtype) for bound, part in zip(box, following, strict=True))
            following = type(following)(
                *(torch.clamp(part, -limit, limit) for part, limit in zip(following, limits, strict=True))
            )
        self.guess, self.initial = rest(following), last
        self.projected = self.projected[settled:]
        self.rates, self.was_rounding = self.rates[settled:], self.was_rounding[settled:]
        self.earlier = rest(before), rest(image)

    def _hopeless(self, history: Sequence[float]) -> bool:
        """Whether the digits still to be gained are more than the iterations left gain at the pace of the last ones."""
        if len(history) <= _PATIENCE:
            return False
        pace = (history[-1 - _PATIENCE] - history[-1]) / _PATIENCE
        return history[-1] > pace * (self.solver.max_iterations - self.iterations)


def _split(state: State, size: int) -> list[State]:
    return [type(state)(*parts) for parts in zip(*(part.split(size) for part in state), strict=True)]


def _difference(first: State, second: State) -> State:
    return type(first)(*(a - b for a, b in zip(first, second, strict=True)))


def _in_roundings(difference: State, state: State) -> Tensor:
    """The largest entry of a difference of states (T, B, D) in units in the last place of theirs, or of 1: (T, B)."""
    epsilon = torch.finfo(state.h.dtype).eps
    parts = [off.abs() / (epsilon * part.abs().clamp_min(1)) for off, part in zip(difference, state, strict=True)]
    return torch.stack([part.amax(-1) for part in parts]).amax(0)


def _length(state: State) -> Tensor:
    return torch.linalg.vector_norm(torch.cat(tuple(state), dim=-1), dim=-1)


class ParallelInTime(Recurrent):
    """The recurrent model, evaluated by iteration: the weights, the state and the result are those of ``Recurrent``.

    Each layer is solved for the whole window before the next. An iteration has no gradient of its own, so where
    gradients are recorded or dropout is active (training) the window is run step by step, as ``Recurrent`` does.

    Args:
        cells: the stack.
        dropout: rate between the layers.
        iteration: a name in ``ITERATIONS``.
        chunk, tolerance, max_iterations: see ``Solver``. Errors are counted from the start of a window: what a
            contractive cell is handed wrong it forgets.
        proofs: for each cell what is proven of it; None: nothing of any.

    Attributes:
        efforts: of the last window that was evaluated by iteration, by layer and chunk.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        dropout: float = 0.0,
        *,
        iteration: str = "newton",
        chunk: int = 1024,
        tolerance: float = 1e-5,
        max_iterations: int = 100,
        proofs: Sequence[Contracting | None] | None = None,
    ) -> None:
        super().__init__(cells, dropout)
        if iteration not in ITERATIONS:
            raise ConfigurationError(f"iteration={iteration} does not exist: choose {' or '.join(ITERATIONS)}")
        if proofs is not None and len(proofs) != len(cells):
            raise ConfigurationError(f"{len(proofs)} proofs for {len(cells)} cells: give one, or None, for each cell")
        self.solver = Solver(ITERATIONS[iteration], chunk, tolerance, max_iterations)
        self.proofs = list(proofs) if proofs is not None else [None] * len(cells)
        self.efforts: list[Effort] = []

    def forward(self, x: Tensor, state: tuple[State, ...]) -> tuple[Tensor, tuple[State, ...]]:
        if self.training or torch.is_grad_enabled():
            return super().forward(x, state)
        final, efforts = [], []
        for layer, (cell, before, proof) in enumerate(zip(self.cells, state, self.proofs, strict=True)):
            x, after, took = self.solver(cell, x, before, proof, layer)
            final.append(after)
            efforts += took
        self.efforts = efforts
        return x, tuple(final)
