"""The states of a cell by iteration over all positions at once, to a tolerance, instead of steps through time.

``residuals`` says how far an iteration has come. Where it will not converge in the iterations that are worth their
while, the states are computed step by step: of that chunk where contraction is proven, and else of the whole window, as
a cell that does not contract may have made much of small errors in the chunks before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stablernn.models.cells.base import Cell
from stablernn.models.cells.state import State, map_state
from stablernn.models.parallel.iterations import Iteration, newton
from stablernn.models.parallel.residuals import Contracting, Residuals, rest_of
from stablernn.utils.errors import ConfigurationError

_PATIENCE = 16  # iterations after which there must be progress


@dataclass(frozen=True)
class Effort:
    """What a chunk took.

    Attributes:
        layer: of the stack, from 0.
        steps: positions of the chunk.
        iterations: of all solves, failed ones too.
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
            residuals = Residuals(proof, error, len(inputs), self.tolerance)
            result, iterations = self._iterate(cell, cell.project_inputs(inputs), now, start, residuals)
            if result is not None:
                (h, now), error, reached = result, residuals.error, residuals.largest
            elif proof is not None:
                h, now = cell.sequence(inputs, now)
                error, reached = error * proof.rate ** len(inputs), 0.0
            else:
                spent = [*(effort.iterations for effort in efforts), iterations] + [0] * len(chunks)
                return *cell.sequence(x, state), [
                    Effort(layer, len(part), iterations, True, False, 0.0)
                    for part, iterations in zip(chunks, spent, strict=False)
                ]
            outputs.append(h)
            efforts.append(Effort(layer, len(inputs), iterations, result is None, proof is not None, reached))
        return torch.cat(outputs), now, efforts

    def _iterate(
        self, cell: Cell, projected: Tensor, initial: State, guess: State, residuals: Residuals
    ) -> tuple[tuple[Tensor, State] | None, int]:
        """One chunk: h at every position (T, B, D) and the last state, and how many iterations it took.

        None in their place if more iterations are not worth while, or what came out cannot be trusted.
        """
        outputs: list[Tensor] = []
        digits: list[float] = []
        for number in range(1, self.max_iterations + 1):
            before = type(initial)(
                *(torch.cat([first[None], part[:-1]]) for first, part in zip(initial, guess, strict=True))
            )
            image, following = self.iteration(cell, projected, before, initial)
            finding = residuals.examine(guess, before, image)
            if not finding.sound:
                return None, number
            settled = finding.settled
            outputs.append(image.h[:settled])
            initial = map_state(lambda part, last=settled - 1: part[last], image)
            if settled == len(projected):
                return (torch.cat(outputs), initial), number
            if residuals.proof is not None:
                following = residuals.proof.within(following)
            guess, projected = rest_of(following, settled), projected[settled:]
            residuals.leave(settled, before, image)
            digits.append(finding.digits)
            if self._is_hopeless(digits):
                return None, number
        return None, self.max_iterations

    def _is_hopeless(self, digits: Sequence[float]) -> bool:
        """Whether more digits are still to be gained than the iterations left gain at the pace of the last ones."""
        if len(digits) <= _PATIENCE:
            return False
        pace = (digits[-1 - _PATIENCE] - digits[-1]) / _PATIENCE
        return digits[-1] > pace * (self.max_iterations - len(digits))


def _split(state: State, size: int) -> list[State]:
    return [type(state)(*parts) for parts in zip(*(part.split(size) for part in state), strict=True)]
