"""A network in formats that others run: ``torch.export`` and ONNX, dynamic in time and batch."""

import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stablernn.analysis.conversion.network import Network
from stablernn.tasks.base import Interface
from stablernn.utils.console import log
from stablernn.utils.errors import ConfigurationError

Program = Callable[[Tensor], Tensor]  # ids (T, B) or frames (T, B, E) -> log-probabilities (T, B, V), on the CPU

EXPORT, ONNX = "export", "onnx"
FILES = {EXPORT: "model.pt2", ONNX: "model.onnx"}
OUTPUT = "log_probabilities"
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_MOST_IN_ONE_FILE = 2**31 - 2**24  # bytes of weights; a protobuf ends at 2 GiB


def choose_formats(formats: Sequence[str] | None) -> list[str]:
    """The formats to write, before anything is computed; None: all for which packages are installed.

    Raises:
        ConfigurationError: a format is unknown, or the packages for it are not installed.
    """
    lacking = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if formats is None and lacking:
        log.info(f"without {ONNX}, which needs {', '.join(lacking)}: pip install 'stablernn[export]'")
    if formats is None:
        return [EXPORT] if lacking else [EXPORT, ONNX]
    unknown = [name for name in formats if name not in FILES]
    if unknown:
        raise ConfigurationError(f"formats=[{','.join(formats)}]: {unknown[0]} is unknown: choose of [export,onnx]")
    if ONNX in formats and lacking:
        raise ConfigurationError(
            f"formats: onnx needs {', '.join(lacking)}: pip install 'stablernn[export]', or choose formats=[export]"
        )
    return list(formats)


def write_programs(network: Network, interface: Interface, folder: Path, formats: Sequence[str]) -> None:
    """Write ``network``, which is on the CPU, in each format: from ``input_name`` to ``log_probabilities``."""
    if not formats:
        return
    x = torch.arange(2 * (network.k + 1)).view(-1, 2) % interface.inputs.size
    if interface.inputs.kind == "box":
        x = torch.zeros(*x.shape, interface.inputs.size)
    # At least 1, not 2: PyTorch's own default would refuse a single input or a single stream.
    axes = ({0: torch.export.Dim("time", min=1), 1: torch.export.Dim("batch", min=1)},)
    with torch.no_grad(), _quiet():
        program = torch.export.export(network.eval(), (x,), dynamic_shapes=axes)
        if EXPORT in formats:
            torch.export.save(program, folder / FILES[EXPORT])
        if ONNX in formats:
            names: dict[str, Any] = {"input_names": [input_name(interface)], "output_names": [OUTPUT]}
            try:
                exported = torch.onnx.export(program, (x,), dynamo=True, dynamic_shapes=axes, verbose=False, **names)
            except torch.onnx.OnnxExporterError as error:
                raise ConfigurationError(
                    "formats: onnx lacks an operation of this network: nothing was written; choose formats=[export]"
                ) from error
            assert exported is not None
            exported.model.graph.doc_string = order(interface)
            weights = sum(value.numel() * value.element_size() for value in network.parameters())
            exported.save(folder / FILES[ONNX], external_data=weights > _MOST_IN_ONE_FILE)


def input_name(interface: Interface) -> str:
    """Of a written network."""
    return "words" if interface.inputs.kind == "finite" else "frames"


def order(interface: Interface) -> str:
    """What the input must be; its axes are dynamic, so no runtime can tell when the two are swapped."""
    inputs, outputs = interface.inputs, interface.outputs
    if inputs.kind == "finite":
        wanted = f"int64 ids 0 to {inputs.size - 1}, (time, batch), time first; an id outside is an error"
    else:
        wanted = (
            f"float32, (time, batch, {inputs.size}), time first, entries in [{inputs.low:g}, {inputs.high:g}]; one "
            "outside is an error"
        )
    of_what = "" if outputs.kind == "categorical" else " that each output is on"
    return f"{input_name(interface)}: {wanted}. {OUTPUT}: nats{of_what}, (time, batch, {outputs.size})"


def read_program(folder: Path, name: str) -> Program:
    """A written network as its own runtime runs it, on as many threads as PyTorch uses."""
    path = folder / FILES[name]
    if name == EXPORT:
        return torch.export.load(path).module()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    (given,) = session.get_inputs()

    def run(x: Tensor) -> Tensor:
        (result,) = session.run([OUTPUT], {given.name: x.numpy()})
        return torch.from_numpy(result)

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
