"""How far gradient descent on a linear system and on its truncation can come apart: a bound, and its proof.

h_t = W h_{t-1} + U x_t, y_t = C h_t, h_0 = 0. The output after T inputs is Σ_j M_j x_{T-j} over j < T, M_j = C W^j U;
truncated to k the sum ends at j < k. W is learned from a teacher's outputs, U and C are known. For inputs with
E[x_s x_t^T] = Γ_st I, half the expected squared error at the end of a sequence is a quadratic form of the residual:

    p(W) = ‖r‖_Γ² / 2,    r = M(W) - M*,        p_k(W) = ‖r_k‖_Γ² / 2,    r_k = P_k M(W) - M*

where M = (M_j) over j, P_k keeps j < k, Q_k = 1 - P_k, and ‖a‖_Γ² = Σ_st Γ_st <a_s, a_t> <= g² ‖a‖², g² = ‖Γ‖_2.
Both descents start at the same W, use the same step sizes α_n and are projected on ‖W‖_2 <= λ after each step. Norms of
matrices without index are Frobenius norms. Then with c = ‖C‖_2, u = ‖U‖_2 and, for a set J of j,

    s0² = Σ_J λ^{2j},    s1² = Σ_J j² λ^{2(j-1)},    s2² = Σ_J j² (j-1)² λ^{2(j-2)}

1. *Derivatives.* That of W^j in a direction E has j terms W^a E W^b, the second one j (j-1) terms W^a E W^b E W^d. So
   over J: ‖M‖ <= c ‖U‖ s0, ‖DM[E]‖ <= c u s1 ‖E‖, ‖D²M[E, E]‖ <= c u s2 ‖E‖².
2. *Truncation at the same weights.* As r - r_k = Q_k M,
   D(p - p_k)[E] = <r, Q_k DM[E]>_Γ + <Q_k M, P_k DM[E]>_Γ, so ‖∇p - ∇p_k‖ <= δ,
   δ = g ‖r‖_Γ c u s1(j >= k) + g² c ‖U‖ s0(j >= k) c u s1(j < k): of the order k λ^k.
3. *Smoothness.* D²p_k[E, E] = ‖P_k DM[E]‖_Γ² + <r_k, P_k D²M[E, E]>_Γ, so where ‖r_k‖_Γ <= R the gradient of p_k has
   the Lipschitz constant β = g² (c u s1(j < k))² + g R c u s2(j < k). Between W and a V at distance b in the ball,
   R = ‖r_k(W)‖_Γ + g c u s1(j < k) b will do.
4. *Descent.* The projection on a convex set brings no two points farther apart. So if the n-th weights W_n (of p) and
   V_n (of p_k) are within b_n of each other, then the next ones are within

    b_{n+1} = (1 + α_n β_n) b_n + α_n δ_n,    b_0 = 0,    and never farther than 2 λ √d, the width of the ball.

   δ_n and β_n are taken at W_n. For α_n = α/n this is the k λ^k N^{αβ} of Miller & Hardt 2018 (section 4) with its
   constants. Nothing here needs λ < 1, as T is finite; but only then do the constants stay finite as T grows.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Norms:
    """What the bound knows of a system.

    Attributes:
        radius: λ.
        size: d.
        output: c = ‖C‖_2.
        input: u = ‖U‖_2.
        input_frobenius: ‖U‖.
        covariance: g² = ‖Γ‖_2.
        length: T.
    """

    radius: float
    size: int
    output: float
    input: float
    input_frobenius: float
    covariance: float
    length: int


class Bound:
    """b_n for several truncation lengths at once.

    Args:
        norms: of the system.
        lengths: the k, each at most T.
    """

    def __init__(self, norms: Norms, lengths: Tensor) -> None:
        j = torch.arange(norms.length, dtype=torch.float64)
        before = j < lengths[:, None]
        s0 = norms.radius**j
        s1 = j * norms.radius ** (j - 1).clamp_min(0)
        s2 = j * (j - 1) * norms.radius ** (j - 2).clamp_min(0)

        def over(terms: Tensor, chosen: Tensor) -> Tensor:
            return (terms * chosen).square().sum(1).sqrt()

        gain = norms.output * norms.input
        self.g = math.sqrt(norms.covariance)
        self.slope = gain * over(s1, before)
        self.late_slope = gain * over(s1, ~before)
        self.bend = gain * over(s2, before)
        self.late = norms.output * norms.input_frobenius * over(s0, ~before)
        self.width = 2 * norms.radius * math.sqrt(norms.size)
        self.distance = torch.zeros(len(lengths), dtype=torch.float64)

    def truncation(self, error: Tensor) -> Tensor:
        """δ, given ‖r‖_Γ."""
        return self.g * error * self.late_slope + self.g**2 * self.late * self.slope

    def smoothness(self, truncated_errors: Tensor, within: Tensor) -> Tensor:
        """β within a distance of weights at which ‖r_k‖_Γ is known."""
        reached = truncated_errors + self.g * self.slope * within
        return (self.g * self.slope).square() + self.g * reached * self.bend

    def step(self, alpha: float, error: Tensor, truncated_errors: Tensor) -> None:
        """b_n to b_{n+1}.

        Args:
            alpha: α_n.
            error: ‖r(W_n)‖_Γ of the full model.
            truncated_errors: ‖r_k(W_n)‖_Γ of the truncated models at the full model's weights.
        """
        beta = self.smoothness(truncated_errors, self.distance)
        moved = (1 + alpha * beta) * self.distance + alpha * self.truncation(error)
        self.distance = moved.clamp_max(self.width)
