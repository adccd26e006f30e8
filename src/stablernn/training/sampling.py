"""Scheduled sampling: in training a model reads more and more of its own outputs (Bengio et al. 2015, 1506.03099).

With probability ε_i at update i an input is the true one, else what the model, given what it has read so far, draws in
its place. No gradient flows through a draw. So the inputs of a window can be made first, step by step and without a
gradient, and the update on them is that of any other window. Draws are made without dropout, as the model is when it
runs by itself. The first input of a window is always true, and scores always are of true inputs.

The decays of the paper, all with ε = 1/2 after ``half`` updates, so that they can be compared:

- linear: 1 - i / (2 half);
- exponential: cⁱ, c = 2^(-1/half);
- inverse sigmoid: κ / (κ + exp(i / κ)), κ ln κ = half.
"""

import math
from typing import Any

import numpy as np
import torch
from scipy.special import expit, lambertw
from torch import Tensor

from stablernn.config.schema import Sampling
from stablernn.models.precision import float32_products
from stablernn.models.sequence_model import SequenceModel
from stablernn.tasks.base import Generative
from stablernn.tasks.splits import Task
from stablernn.utils.errors import ConfigurationError


def true_share(options: Sampling, update: int) -> float:
    """ε_i: the probability that an input of an update, counted from 0, is the true one."""
    half = options.half
    if options.decay == "linear":
        share = 1 - update / (2 * half)
    elif options.decay == "exponential":
        share = 0.5 ** (update / half)
    elif options.decay == "inverse_sigmoid":
        scale = half / float(lambertw(half).real)
        share = float(expit(math.log(scale) - update / scale))
    else:
        share = 1.0
    return max(options.least, share)


class MixedInputs:
    """The inputs of a window, some of them replaced by outputs of the model.

    Args:
        options: conf/train.yaml, ``training.sampling``.
        model: reads what it predicts.
        seed: of the draws; those of an update depend on it and on the update's number alone, so that a run can be
            resumed.
    """

    def __init__(self, options: Sampling, model: SequenceModel, seed: int) -> None:
        self.options, self.model, self.seed = options, model, seed

    @torch.no_grad()
    def __call__(self, x: Tensor, state: Any, update: int, mask: Tensor | None = None) -> Tensor:
        """For true inputs x, ids (T, B) or frames (T, B, E), and the state before them: inputs of the same shape.

        Args:
            mask: (T, B), True where an item is predicted, which may take the place of the next input; None: everywhere.
        """
        (seed,) = np.random.SeedSequence([self.seed, update]).generate_state(1, np.uint64).tolist()
        coins = torch.rand(x.shape[:2], generator=torch.Generator().manual_seed(seed))  # on the CPU: nobody waits
        given = coins < true_share(self.options, update)
        if mask is not None:
            given[1:] |= ~mask[:-1].cpu()
        if given[1:].all():  # the first one always is
            return x
        generator = torch.Generator(x.device).manual_seed(seed)
        true = given.to(x.device).reshape(*given.shape, *[1] * (x.dim() - 2))
        was_training = self.model.training
        self.model.eval()
        with float32_products(x.device):
            read = [x[0]]
            for following, is_true in zip(x[1:], true[1:], strict=True):
                features, state = self.model(read[-1][None], state)
                own = self.model.objective.draw(features[0], generator)
                read.append(torch.where(is_true, following, own.to(x.dtype)))
        self.model.train(was_training)
        return torch.stack(read)


def mixed_inputs(options: Sampling, model: SequenceModel, task: Task, seed: int) -> MixedInputs | None:
    """What makes the inputs of training; None where they are the true ones.

    Raises:
        ConfigurationError: the models of this task do not read what they predict.
    """
    if options.decay is None:
        return None
    if not isinstance(task, Generative):
        raise ConfigurationError(
            f"training.sampling.decay={options.decay}: models of {task.name} do not read what they predict: set it to "
            "null, or choose words, characters, music or transduction"
        )
    return MixedInputs(options, model, seed)
