"""Adam on a device that nobody waits for: what depends on numbers of the device happens inside its one kernel."""

from typing import Any

import torch
from torch import Tensor


def is_plain_adam(optimizer: torch.optim.Optimizer) -> bool:
    """Whether PyTorch's fused kernel makes all of its update."""
    if type(optimizer) not in (torch.optim.Adam, torch.optim.AdamW) or len(optimizer.param_groups) != 1:
        return False
    return not any(optimizer.param_groups[0][option] for option in ("foreach", "differentiable"))


class FusedAdam:
    """The update of an ``Adam`` by one kernel, which reads learning rate, scale and whether to update on the device.

    The optimizer stays the one that a checkpoint holds, and its learning rate, a number of the host, the one that
    schedules change.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer
        self._fuse()
        optimizer.register_load_state_dict_post_hook(self._fuse)  # a checkpoint of a CPU is not fused

    def _fuse(self, *_: Any) -> None:
        self.optimizer.param_groups[0]["fused"] = True
        for weight, state in self.optimizer.state.items():
            state["step"] = state["step"].to(weight.device, torch.float32)

    def __call__(self, lr: Tensor, factor: Tensor, finite: Tensor) -> None:
        """Step along the gradients times ``factor``; nothing is changed, the count of steps neither, unless ``finite``.

        Args:
            lr, factor, finite: scalars on the device of the weights.
        """
        group = self.optimizer.param_groups[0]
        before = {name: group[name] for name in ("lr", "capturable")}
        capturing = lr.device.type == "cuda" and torch.cuda.is_current_stream_capturing()
        # By these two names PyTorch's scaler of gradients hands an optimizer what it must not wait for.
        scaled: Any = self.optimizer
        scaled.grad_scale, scaled.found_inf = factor.reciprocal().float(), (~finite).float()
        group |= {"lr": lr.float(), "capturable": capturing}
        try:
            self.optimizer.step()
        finally:
            group |= before
            del scaled.grad_scale, scaled.found_inf
