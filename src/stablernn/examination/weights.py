"""A network from a file of weights: nothing in it is executed unless the user asks for that."""

import io
import pickle
import pickletools
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from stablernn.examination.checks import WEIGHTS, check_file
from stablernn.examination.network import check_outputs, from_torch
from stablernn.models.sequence_model import SequenceModel
from stablernn.utils.console import log
from stablernn.utils.errors import CheckpointError, ConfigurationError
from stablernn.utils.project import command

KINDS: Mapping[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
_GATES = {1: "rnn", 3: "gru", 4: "lstm"}
_OF_RNN = re.compile(r"(.*?)((?:weight|bias)_(?:ih|hh|hr)_l\d+(?:_reverse)?)$")
_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # at the beginning of older files of torch.save,
_PICKLES = 5  # which are so many pickles, and the numbers of each storage behind them, of so many bytes
_STORAGES = {
    f"torch {name}Storage": size
    for size, names in ((1, "Bool Byte Char"), (2, "Half BFloat16 Short"), (4, "Float Int"), (8, "Double Long"))
    for name in names.split()
}
_EMBEDDINGS = ("encoder", "embedding", "embeddings", "embed", "emb", "wte", "lookup")
_DECODERS = ("decoder", "head", "output", "out", "fc", "linear", "proj", "lm_head", "classifier")


def load_network(
    path: Path,
    *,
    kind: str | None = None,
    embedding: str | None = None,
    decoder: str | None = None,
    bounds: tuple[float, float] | None = None,
    outputs: str = "categorical",
    unpickle: bool = False,
) -> SequenceModel:
    """The network decoder(rnn(embedding(x))) of a file: a state dict of torch.save or of safetensors.

    Kind, layers and sizes are those of the tensors' names and shapes, as in word_language_model of pytorch/examples:
    ``encoder.weight``, ``rnn.weight_ih_l0``, ..., ``decoder.weight``, ``decoder.bias``.

    Args:
        path: of the file.
        kind: rnn (tanh), gru or lstm; needed for an RNN, as its weights do not tell tanh from relu.
        embedding, decoder: the tensors' names without ``.weight``; None: found by name and shape; "none": no such part.
        bounds, outputs: see ``from_torch``.
        unpickle: read a whole pickled module too, which can execute anything; only for a file that you trust.

    Raises:
        CheckpointError: the file is damaged, or holds what is read with ``unpickle`` alone.
        ConfigurationError: there is no such file, or the tensors are not those of such a network, or of several; says
            which option decides.
    """
    if kind is not None and kind not in KINDS:
        raise ConfigurationError(f"kind={kind} is unknown: choose rnn (tanh), gru or lstm")
    check_outputs(outputs)
    tensors, read_kind = _read(path, unpickle)
    layers, others, prefix = _sorted(path, tensors)
    found = _kind(path, layers)
    if kind is not None and kind != found:
        raise ConfigurationError(f"kind={kind}: {path} has the weights of {found}: leave kind out")
    if found == "rnn" and (kind or read_kind) is None:
        raise ConfigurationError(
            f"kind is not set, and the weights in {path} do not say whether the RNN is one of tanh or of relu: say "
            "kind=rnn if it is tanh; of relu nothing can be proven"
        )
    read, size = layers.get("weight_ih_l0"), layers["weight_hh_l0"].shape[1]
    if read is None or read.dim() != 2:
        raise ConfigurationError(f"{path}: weight_ih_l0 is missing, or no matrix: save all weights of the network")
    inputs = read.shape[1]
    depth = 1 + max(int(name.rpartition("_l")[2]) for name in layers)
    if depth != sum(name.startswith("weight_ih_l") for name in layers):
        raise ConfigurationError(
            f"{path}: the weights of some of {depth} recurrent layers are missing: save all of them"
        )
    rnn = KINDS[found](inputs, size, depth, bias="bias_ih_l0" in layers)
    _load(path, rnn, layers, prefix)
    first, last, tied = _ends(path, others, inputs, size, embedding, decoder)
    weights = others.pop(f"{first}.weight", None) if first else None
    read_by = nn.Embedding.from_pretrained(weights) if weights is not None else None
    predicts = None
    if last is not None:
        weight, bias = others.pop(f"{last}.weight", None), others.pop(f"{last}.bias", None)
        weight = weights if tied else weight
        assert weight is not None
        predicts = nn.Linear(size, len(weight), bias=bias is not None)
        _load(path, predicts, {"weight": weight} | ({} if bias is None else {"bias": bias}), last)
        if tied and read_by is not None:
            predicts.weight = read_by.weight
    if others:
        raise ConfigurationError(
            f"{path}: {_listed(others)} belong to no embedding, {prefix or 'rnn'} (of {inputs} to {size}) or decoder, "
            "so the network computes something else than decoder(rnn(embedding(x))): name the ends with embedding=NAME "
            "and decoder=NAME (none: there is none), or build the network in Python and call stablernn.from_torch"
        )
    chain = f"rnn({first}(x))" if first else "rnn(x)"
    log.info(
        f"{path.name}: read as {f'{last}({chain})' if last else chain}{', tied' if tied else ''}, with {found} as rnn"
    )
    return from_torch(read_by, rnn, predicts, bounds=bounds, outputs=outputs)


def _read(path: Path, unpickle: bool) -> tuple[dict[str, Tensor], str | None]:
    """The tensors of a file by name, and the kind that a pickled module says it is."""
    check_file("weights", path, WEIGHTS)
    try:
        if path.suffix == ".safetensors":
            return load_file(path), None
        with warnings.catch_warnings(action="ignore"):  # of the pickle's version: what is wrong is said below
            content = torch.load(path, map_location="cpu", weights_only=not unpickle)
    except pickle.UnpicklingError:
        if (found := _names(path)) is None:
            raise _damaged(path) from None
        if not any(map(_OF_RNN.match, found)):
            raise CheckpointError(
                f"weights={path} is a pickle without the weights of an nn.RNN, nn.LSTM or nn.GRU (weight_ih_l0, ...), "
                "and was not executed: save model.state_dict() of such a network"
            ) from None
        raise CheckpointError(
            f"weights={path} holds more than tensors, as a whole pickled module does, and reading that can execute "
            "anything: save model.state_dict() instead, or say pickle=true if you trust the file"
        ) from None
    except (AttributeError, ImportError) as error:
        raise CheckpointError(
            f"weights={path}: its classes are not here ({error}): set PYTHONPATH to the folder of its code, or "
            "save model.state_dict()"
        ) from None
    except PermissionError as error:
        raise CheckpointError(f"weights={path} cannot be read ({error.strerror}): change its permissions") from None
    except Exception as error:  # what a damaged pickle raises may be anything
        if "TorchScript" in str(error):
            raise CheckpointError(f"weights={path} is a TorchScript archive: save model.state_dict() instead") from None
        raise _damaged(path) from None
    kind = None
    if isinstance(content, nn.Module):
        layers = [module for module in content.modules() if isinstance(module, nn.RNNBase)]
        for layer in layers:
            if getattr(layer, "nonlinearity", "tanh") != "tanh":
                from_torch(None, layer)  # says what is wrong with it
        kind, content = type(content).__name__, content.state_dict()
    return _state_dict(path, content), kind


def _damaged(path: Path) -> CheckpointError:
    return CheckpointError(
        f"weights={path} is damaged, or no file of torch.save or of safetensors: save model.state_dict() again"
    )


def _names(path: Path) -> set[str] | None:
    """The texts in a file that has the form of torch.save or pickle; None: it has another, or is cut short.

    Nothing of it is executed.
    """
    found: set[str] = set()
    try:
        content = path.read_bytes()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                (name,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
                content = archive.read(name)
        pickles = io.BytesIO(content)
        older = _MAGIC in content[:32]
        storages, sizes = 0, set()
        for _ in range(_PICKLES if older else 1):
            storages = 0
            for opcode, argument, _ in pickletools.genops(pickles):
                if "UNICODE" in opcode.name:
                    found.add(str(argument))
                    storages += 1  # the last pickle lists them by name
                elif opcode.name == "GLOBAL" and argument in _STORAGES:
                    sizes.add(_STORAGES[argument])
        if older and not _ends_with_numbers(content, pickles.tell(), storages, sizes):
            return None
    except (OSError, ValueError, zipfile.BadZipFile):
        return None
    return found


def _ends_with_numbers(content: bytes, begin: int, storages: int, sizes: set[int]) -> bool:
    """Whether so many storages, each a count in 8 bytes and numbers of one of these sizes, go from there to the end."""
    ends = {begin}
    for _ in range(storages):
        counts = {end: int.from_bytes(content[end : end + 8], "little") for end in ends if end + 8 <= len(content)}
        ends = {end + 8 + size * count for end, count in counts.items() for size in sizes}
    return len(content) in ends


def _state_dict(path: Path, content: Any) -> dict[str, Tensor]:
    """The state dict in what was read: itself, or the only one in a checkpoint."""

    def is_one(value: Any) -> bool:
        return isinstance(value, Mapping) and any(
            _OF_RNN.match(str(name)) for name, tensor in value.items() if isinstance(tensor, Tensor)
        )

    found = [content] if is_one(content) else []
    if not found and isinstance(content, Mapping):
        found = [value for value in content.values() if is_one(value)]
    if len(found) != 1:
        raise ConfigurationError(
            f"weights={path}: {len(found) or 'no'} state dicts with the weights of an nn.RNN, nn.LSTM or nn.GRU "
            "(weight_ih_l0, ...) in it: save the state_dict() of the network alone"
        )
    tensors = {str(name): tensor.detach() for name, tensor in found[0].items() if isinstance(tensor, Tensor)}
    for name, tensor in tensors.items():
        if tensor.layout is not torch.strided or tensor.is_meta or not tensor.is_floating_point():
            raise ConfigurationError(
                f"{path}: {name} is sparse, without values, or of {tensor.dtype}: save a dense tensor of "
                "floating-point numbers"
            )
    return tensors


def _listed(tensors: Mapping[str, Tensor]) -> str:
    """Some of them with their shapes."""
    return ", ".join(f"{name} {tuple(tensors[name].shape)}" for name in sorted(tensors)[:4])


def _sorted(path: Path, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor], str]:
    """The tensors of the recurrent layers without their prefix, the others, and the prefix."""
    by_prefix: dict[str, dict[str, Tensor]] = {}
    others = {}
    for name, tensor in tensors.items():
        if match := _OF_RNN.match(name):
            by_prefix.setdefault(match[1], {})[match[2]] = tensor
        else:
            others[name] = tensor
    if len(by_prefix) > 1:
        raise ConfigurationError(
            f"{path} has several recurrent networks ({', '.join(sorted(by_prefix))}): build the one that is meant in "
            "Python and call stablernn.from_torch"
        )
    if not by_prefix:
        raise ConfigurationError(
            f"{path} has no weights of an nn.RNN, nn.GRU or nn.LSTM (it has {_listed(tensors)}); a run of this package "
            f"is read by {command('convert')} run=..."
        )
    ((prefix, layers),) = by_prefix.items()
    if any(name.endswith("_reverse") for name in layers):
        from_torch(None, nn.LSTM(1, 1, bidirectional=True))  # says why it is refused
    if "weight_hr_l0" in layers:
        size, hidden = layers["weight_hr_l0"].shape
        from_torch(None, nn.LSTM(1, hidden, proj_size=size))
    return layers, others, prefix.rstrip(".")


def _kind(path: Path, layers: Mapping[str, Tensor]) -> str:
    try:
        rows, size = layers["weight_hh_l0"].shape
        return _GATES[rows // size] if rows % size == 0 else _GATES[0]
    except (KeyError, ValueError, ZeroDivisionError):
        raise ConfigurationError(
            f"{path}: weight_hh_l0 is not that of an nn.RNN, nn.GRU or nn.LSTM, which has 1, 3 or 4 blocks of (D, D)"
        ) from None


def _load(path: Path, module: nn.Module, tensors: Mapping[str, Tensor], part: str) -> None:
    """Take over the tensors of a part of the network, by their names without its own."""
    shapes, expected = ({n: tuple(t.shape) for n, t in each.items()} for each in (tensors, module.state_dict()))
    wrong = sorted(name for name in shapes | expected if shapes.get(name) != expected.get(name))
    if wrong:
        start = f"{part}." if part else ""
        which = "; ".join(
            f"{start}{name} is {shapes.get(name, 'missing')}, {expected.get(name, 'nothing')} fits" for name in wrong
        )
        raise ConfigurationError(f"{path}: its tensors do not fit together: {which}")
    module.load_state_dict(tensors)


def _ends(
    path: Path, others: Mapping[str, Tensor], inputs: int, size: int, embedding: str | None, decoder: str | None
) -> tuple[str | None, str | None, bool]:
    """The names of embedding and decoder, and whether they are tied."""
    matrices = {
        name.removesuffix(".weight"): m for name, m in others.items() if name.endswith(".weight") and m.dim() == 2
    }
    biases = [name.removesuffix(".bias") for name in others if name.endswith(".bias")]
    first = _end(path, "embedding", embedding, {n: m for n, m in matrices.items() if m.shape[1] == inputs}, _EMBEDDINGS)
    rest = {name: matrix for name, matrix in matrices.items() if matrix.shape[1] == size and name != first}
    last = _end(path, "decoder", decoder, rest, _DECODERS)
    if first is None or decoder == "none":
        return first, last, False
    shared = [name for name in biases if f"{name}.weight" not in others]
    if last is None and len(shared) == 1 and inputs == size:  # a file that keeps a shared matrix once
        return first, shared[0], True
    return first, last, last is not None and torch.equal(matrices[first], matrices[last])


def _end(
    path: Path, option: str, given: str | None, fitting: Mapping[str, Tensor], names: tuple[str, ...]
) -> str | None:
    """The one matrix that is meant: as given, by its name, or the only one that fits and has no other's name."""
    if given == "none":
        return None
    if given is not None:
        if given not in fitting:
            raise ConfigurationError(
                f"{option}={given}: {path} has no {given}.weight that fits the recurrent layers; of that size are: "
                f"{', '.join(sorted(fitting)) or 'none'}"
            )
        return given
    named = [name for name in fitting if name.rpartition(".")[2].lower() in names]
    others = _EMBEDDINGS + _DECODERS
    found = named or [name for name in fitting if name.rpartition(".")[2].lower() not in others]
    if len(found) > 1:
        raise ConfigurationError(
            f"{option} is not set, and {path} has {', '.join(f'{name}.weight' for name in sorted(found))}, each of a "
            f"fitting size: say {option}={sorted(found)[0]}, or none"
        )
    return found[0] if found else None
