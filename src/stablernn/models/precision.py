"""The precision of matrix products: what is asked for, and what the machine does in hardware.

``float32``: operands and results in float32. ``bf16``: the operands of the softmax layer's three products are
rounded to bfloat16 (8 bits of precision); softmax, sums and weights stay float32. ``mixed``: its logits in float32,
its two gradients with bfloat16 operands. The recurrence is float32 in all of them.

On a GPU all but ``float32`` let the float32 products of an update run as TF32 (11 bits of precision, summed in
float32). Only of an update: scores, projections, certificates and analyses are float32 whatever that of training.
"""

import enum
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch
from torch import Tensor

from stablernn.utils.errors import ConfigurationError

# Runs that share a process are threads. Whoever changes what they all share holds this, and so does whoever relies on
# it: TF32 is a switch of the process, so are PyTorch's own generators, and one CUDA graph is captured at a time.
exclusive = threading.RLock()


class Precision(enum.StrEnum):
    FLOAT32 = "float32"
    MIXED = "mixed"
    BF16 = "bf16"


def choose_precision(name: str, device: torch.device) -> Precision:
    """The precision of a name; ``auto`` is mixed where the device multiplies bfloat16 in hardware, float32 elsewhere.

    bf16 would be faster still, but bfloat16 logits move single losses by up to 3e-4 within 300 updates, mixed by less
    than 1e-5. A rule, not a race: the same machine always answers the same, so a resumed run continues as it began.

    Raises:
        ConfigurationError: the name is unknown.
    """
    if name == "auto":
        return Precision.MIXED if multiplies_bf16(device) else Precision.FLOAT32
    try:
        return Precision(name)
    except ValueError:
        raise ConfigurationError(f"precision={name} is unknown: choose auto, {', '.join(Precision)}") from None


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for products of bfloat16 numbers."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def set_up_products(device: torch.device) -> None:
    """Choose the library that multiplies float32 matrices in this process; accuracy decides before speed.

    CPU: PyTorch multiplies by MKL, which is slow on AMD processors; there oneDNN takes its place. The switch for
    it is named after bfloat16, to which oneDNN may round operands where a processor has tile instructions (AMX), so the
    result is checked, and a rounded one turns the switch back.

    CUDA: float32 means float32, in cuDNN too, whose recurrences PyTorch lets run as TF32.
    """
    # MKL's vector exponential chooses its kernel in its first call. Where two threads make that call together, one
    # may compute with another kernel, and a run would differ in the last bit from the same run started again.
    torch.ones(64).exp_()
    if device.type == "cuda":
        use_tf32(False)
    elif _is_amd() and torch.cpu._is_avx512_supported():
        use_onednn(True)


def use_tf32(matrices: bool, recurrences: bool | None = None) -> None:
    """Whether a GPU's float32 products run as TF32: those of matrices by cuBLAS, and those of cuDNN's recurrences.

    These are the switches that PyTorch calls old. They set the new ones as well; the other way round, whoever
    reads an old one gets an error.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Please use the new API settings to control TF32")
        torch.backends.cuda.matmul.allow_tf32 = matrices
        torch.backends.cudnn.allow_tf32 = matrices if recurrences is None else recurrences


@contextmanager
def products_of_training(precision: Precision, device: torch.device) -> Iterator[None]:
    """Inside, float32 products on a GPU run as an update in this precision has them; outside they are float32.

    No other thread is inside meanwhile: TF32 is a switch of the process.
    """
    if device.type != "cuda":
        yield
        return
    with exclusive:
        if precision is Precision.FLOAT32:
            yield
            return
        use_tf32(True)
        try:
            yield
        finally:
            use_tf32(False)


def float32_products(device: torch.device) -> AbstractContextManager[None]:
    """Inside, float32 products on a GPU are float32, whatever another thread trains in."""
    return products_of_training(Precision.FLOAT32, device)


def use_onednn(on: bool) -> bool:
    """Multiply float32 matrices by oneDNN (or by PyTorch's default); says whether oneDNN is in use.

    It is not where it would round the operands.
    """
    matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    if on and matmul.fp32_precision == "bf16":  # and found accurate; another thread may be computing
        return True
    matmul.fp32_precision = "bf16" if on else "none"
    if on and not _is_float32():
        matmul.fp32_precision = "none"
        return False
    return on


def _is_float32() -> bool:
    """Whether a product of float32 matrices is accurate to float32; a bfloat16 one is off by some 1e-3."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 256, 256, generator=generator)
    exact = a.double() @ b.double()
    return all(float((product.double() - exact).norm() / exact.norm()) < 1e-6 for product in (a @ b, (b.T @ a.T).T))


def _is_amd() -> bool:
    information = Path("/proc/cpuinfo")
    return information.is_file() and "AuthenticAMD" in information.read_text(encoding="utf-8")


def product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b, summed in float32. Of bfloat16 matrices the result is float32 on a GPU and bfloat16 on a CPU.

    (PyTorch has no CPU product of bfloat16 matrices with a float32 result.)
    """
    return torch.mm(a, b, out_dtype=torch.float32) if a.is_cuda and a.dtype is torch.bfloat16 else torch.mm(a, b)
