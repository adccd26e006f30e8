"""The unrolled network in formats that others run: ``torch.export`` and ONNX, dynamic in time and batch."""

import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stablernn.analysis.conversion.network import Unrolled
from stablernn.utils.errors import ConfigurationError

Program = Callable[[Tensor], Tensor]  # words (T, B) -> log-probabilities (T, B, V), on the CPU

EXPORT, ONNX = "export", "onnx"
FILES = {EXPORT: "model.pt2", ONNX: "model.onnx"}
INPUT, OUTPUT = "words", "log_probabilities"
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_MOST_IN_ONE_FILE = 2**31 - 2**24  # bytes of weights; a protobuf ends at 2 GiB


def check_formats(formats: Sequence[str]) -> None:
    """Before anything is computed.

    Raises:
        ConfigurationError: a format is unknown, or the packages for it are not installed.
    """
    unknown = [name for name in formats if name not in FILES]
    if unknown:
        raise ConfigurationError(f"formats=[{','.join(formats)}]: {unknown[0]} is unknown: choose of [export,onnx]")
    missing = [name for name in _PACKAGES if ONNX in formats and importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"formats: onnx needs {', '.join(missing)}: pip install 'stablernn[export]', or choose formats=[export]"
        )


def write_programs(network: Unrolled, types: int, folder: Path, formats: Sequence[str]) -> None:
    """Write ``network``, which is on the CPU, in each format: from ``words`` to ``log_probabilities``."""
    if not formats:
        return
    words = torch.arange(2 * (network.k + 1)).view(-1, 2) % types
    # At least 1, not 2: PyTorch's own default would refuse a single word or a single stream.
    axes = {INPUT: {0: torch.export.Dim("time", min=1), 1: torch.export.Dim("batch", min=1)}}
    with torch.no_grad(), _quiet():
        program = torch.export.export(network.eval(), (words,), dynamic_shapes=axes)
        if EXPORT in formats:
            torch.export.save(program, folder / FILES[EXPORT])
        if ONNX in formats:
            names: dict[str, Any] = {"input_names": [INPUT], "output_names": [OUTPUT]}
            exported = torch.onnx.export(program, (words,), dynamo=True, dynamic_shapes=axes, verbose=False, **names)
            assert exported is not None
            exported.model.graph.doc_string = order(types)
            weights = sum(value.numel() * value.element_size() for value in network.parameters())
            exported.save(folder / FILES[ONNX], external_data=weights > _MOST_IN_ONE_FILE)


def order(types: int) -> str:
    """What the input must be; its axes are dynamic, so no runtime can tell when the two are swapped."""
    return (
        f"{INPUT}: int64 ids 0 to {types - 1}, (time, batch), time first; an id outside is an error. "
        f"{OUTPUT}: nats, (time, batch, {types})"
    )


def read_program(folder: Path, name: str) -> Program:
    """A written network as its own runtime runs it, on as many threads as PyTorch uses."""
    path = folder / FILES[name]
    if name == EXPORT:
        return torch.export.load(path).module()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(words: Tensor) -> Tensor:
        (found,) = session.run([OUTPUT], {INPUT: words.numpy()})
        return torch.from_numpy(found)

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporters warn of operators and deprecations that do not concern this network."""
    noisy = logging.getLogger("torch.onnx")
    level = noisy.level
    noisy.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        noisy.setLevel(level)
