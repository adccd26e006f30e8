"""From bounds of the change of the features to bounds of the change of log-probabilities, in nats.

With a_v a bound of the change of logit v, against any vector that is the same for all:

- softmax: any log-probability moves by at most the two largest a_v together. That of one output v by at most
  log Σ_i p_i exp(a_i + a_v) without a_i + a_v for i = v: log p_v moves by log E_p exp(δ_i - δ_v) one way or the other,
  and E exp(-x) >= 1 / E exp(x);
- numbers: the squared error |e|² by at most Σ_j a_j (2 |e_j| + a_j), at the targets, which are all that is scored;
- independent switches: log σ(±z) by softplus(∓z + a) - softplus(∓z), and any by the larger one, which is that of the
  less probable outcome; summed over the switches.
"""

from functools import singledispatch

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from stablernn.models.heads.base import Head
from stablernn.models.heads.bernoulli import Bernoulli
from stablernn.models.heads.regression import Regression
from stablernn.models.heads.softmax import FullSoftmax
from stablernn.stability.diameter import diameter
from stablernn.stability.on_text.propagation import Ball, up
from stablernn.stability.proofs.gates import ROUNDING

_Linear = FullSoftmax | Bernoulli | Regression
_LOGITS = 2**23  # in memory at once


@singledispatch
def changes(head: Head, features: Tensor, targets: Tensor, ball: Ball) -> tuple[Tensor, Tensor]:
    """Bounds of the change of the log-probability of any output, and of the targets, (N,) each.

    Args:
        head: in float64.
        features: of the recurrent model, (N, D).
        targets: (N, ...).
        ball: in which other features can be around them.
    """
    bound = up(head.sensitivity(lambda rows: diameter(rows, 2.0)) * ball.norm)
    return bound, bound


@changes.register
def _(head: FullSoftmax, features: Tensor, targets: Tensor, ball: Ball) -> tuple[Tensor, Tensor]:
    low, high = head.weight.aminmax(dim=0)
    rows = head.weight - (low + high) / 2
    parts = []
    size = max(1, _LOGITS // len(rows))
    pieces = zip(*(part.split(size) for part in (features, targets, ball.radius.h, ball.norm)), strict=True)
    for feature, target, radius, norm in pieces:
        moved = _moved(head, rows, feature, radius, norm)
        most = up(moved.topk(min(2, len(rows)), dim=1).values.sum(1))
        log_probabilities = head.distribution(feature)
        growth = torch.expm1(moved + moved.gather(1, target[:, None])).scatter_(1, target[:, None], 0.0)
        of_targets = torch.log1p(up((log_probabilities.exp() * growth).sum(1)))
        parts.append((most, torch.minimum(up(of_targets).nan_to_num(nan=torch.inf), most)))
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


@changes.register
def _(head: Bernoulli, features: Tensor, targets: Tensor, ball: Ball) -> tuple[Tensor, Tensor]:
    moved = _moved(head, head.weight, features, ball.radius.h, ball.norm)
    logits = head.logits(features)

    def change(z: Tensor) -> Tensor:
        return up(torch.minimum(up(logsigmoid(-z) - logsigmoid(-z - moved)), moved).sum(1))

    return change(logits.abs()), change(torch.where(targets > 0, -logits, logits))


@changes.register
def _(head: Regression, features: Tensor, targets: Tensor, ball: Ball) -> tuple[Tensor, Tensor]:
    moved = _moved(head, head.weight, features, ball.radius.h, ball.norm)
    errors = (head.logits(features) - targets.to(features.dtype)).abs()
    bound = up((moved * (2 * errors + moved)).sum(1))
    return bound, bound


def _moved(head: _Linear, rows: Tensor, features: Tensor, radius: Tensor, norm: Tensor) -> Tensor:
    """How far a logit can move by its row (V, D), (N, V); and what both products round by."""
    noise = features.norm(dim=1, keepdim=True) * head.weight.norm(dim=1) + (head.bias.abs() + 1)
    moved = (radius @ rows.abs().T).clamp_(max=norm[:, None] * rows.norm(dim=1))
    return up(moved.add_(noise, alpha=ROUNDING))
