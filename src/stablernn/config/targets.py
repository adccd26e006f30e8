"""What a ``_target_`` may name: a class or function of this package or of ``torch.optim``, and of those packages that
the user allows (``allow``). Nothing else is imported.

The user allows a package by ``allow=package`` on the command line, by the variable STABLERNN_ALLOW, or in code. It is
no option of a configuration, so that no file does: a record, a checkpoint or a converted model that names a class of
another package is refused until the user allows that package again.
"""

import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, ListConfig

from stablernn.utils.errors import ConfigurationError

PACKAGES = (__name__.partition(".")[0], "torch.optim")
logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)  # get_object's errors are said here, in one line
_VARIABLE = "STABLERNN_ALLOW"  # packages, with commas between them
_allowed: list[str] = []

# Where a class lies, by its alias: the name under which runs know it. An alias is part of their ids, so it never
# changes; a class that moves changes the path beside it.
ALIASES = {
    "stablernn.data.corpora.WordCorpus": "stablernn.tasks.words.WordCorpus",
    "stablernn.data.markov.EmbeddedCorpus": "stablernn.tasks.embedded.EmbeddedCorpus",
    "stablernn.models.cells.RNNCell": "stablernn.models.cells.rnn.RNNCell",
    "stablernn.models.cells.LSTMCell": "stablernn.models.cells.lstm.LSTMCell",
    "stablernn.models.softmax.FullSoftmax": "stablernn.models.heads.softmax.FullSoftmax",
    "stablernn.models.adaptive.AdaptiveSoftmax": "stablernn.models.heads.adaptive_softmax.AdaptiveSoftmax",
    "stablernn.models.unroll.Recurrent": "stablernn.models.recurrent.Recurrent",
    "stablernn.models.truncated.FeedForward": "stablernn.models.feed_forward.FeedForward",
    "stablernn.stability.constraints.Unconstrained": "stablernn.stability.constraints.base.Unconstrained",
    "stablernn.stability.spectral.SpectralNormBall": "stablernn.stability.constraints.spectral.SpectralNormBall",
    "stablernn.stability.spectral.RNNAsCoded": "stablernn.stability.constraints.spectral.RNNAsCoded",
    "stablernn.stability.spectral.RNNDiagonal": "stablernn.stability.constraints.spectral.RNNDiagonal",
    "stablernn.stability.lstm.LSTMStated": "stablernn.stability.constraints.lstm.LSTMStated",
    "stablernn.stability.lstm.LSTMAsCoded": "stablernn.stability.constraints.lstm.LSTMAsCoded",
    "stablernn.stability.comparison.LSTMComparison": "stablernn.stability.constraints.small_gain.LSTMComparison",
    "stablernn.stability.comparison.LSTMRowwise": "stablernn.stability.constraints.small_gain.LSTMRowwise",
    "stablernn.stability.comparison.LSTMSpectral": "stablernn.stability.constraints.small_gain.LSTMSpectral",
    "stablernn.stability.comparison.LSTMCoupled": "stablernn.stability.constraints.small_gain.LSTMCoupled",
    "stablernn.stability.comparison.LSTMGatedLinear": "stablernn.stability.constraints.small_gain.LSTMGatedLinear",
    "stablernn.stability.output_gate.LSTMOutputGate": "stablernn.stability.constraints.output_gate.LSTMOutputGate",
    "stablernn.stability.cascade.LSTMCascade": "stablernn.stability.constraints.cascade.LSTMCascade",
}


def allow(*packages: str) -> None:
    """Let a ``_target_`` name the classes and functions of these packages, in this process and those that it starts.

    They are imported from the environment, and what is not target there from the current folder.

    Raises:
        ConfigurationError: one is no name of a package, or is a part of Python itself.
    """
    for package in packages:
        if not all(map(str.isidentifier, package.split("."))):
            raise ConfigurationError(f"allow={package} names no package: write it as in allow=mypackage")
        if _top(package) in sys.stdlib_module_names:
            raise ConfigurationError(f"allow={package}: that is a part of Python, no package of yours")
        if package not in _allowed:
            _allowed.append(package)
    os.environ[_VARIABLE] = ",".join(_allowed)  # for the processes of a sweep


def _top(name: str) -> str:
    return name.partition(".")[0]


def find_target(option: str, name: Any) -> Callable:
    """The class or function that the option ``option`` names.

    A name that begins with this package may still lead out of it, to a module that one of ours imports; so the name
    decides what is imported, and where the object target was defined decides whether it is taken.

    Raises:
        ConfigurationError: it lies elsewhere, does not exist, or is neither class nor function.
    """
    *first, last = *PACKAGES, *_allowed
    where = f"{', '.join(first)} and {last}"
    if not isinstance(name, str) or not _inside(name):
        raise ConfigurationError(f"{option}={name} lies outside {where}: it is not imported{_remedy(name)}")
    own = name.startswith(tuple(f"{package}." for package in _allowed))
    if own and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # last, so that nothing there takes the place of an installed package
    try:
        target = get_object(path_of(name))
    except Exception as error:
        why = f": {' '.join(str(error.__cause__ or error).split())}" if own else ""
        raise ConfigurationError(f"{option}={name} does not exist{why}") from None
    if not (inspect.isclass(target) or inspect.isfunction(target)) or not _inside(f"{target.__module__}."):
        raise ConfigurationError(f"{option}={name} is no class or function of {where}")
    return target


def alias(name: Any) -> Any:
    """The name by which a class enters the identity of a run: its alias, or the name itself if it has none."""
    return next((known for known, path in ALIASES.items() if path == name), name)


def path_of(name: Any) -> Any:
    """Where the class lies that has this alias; a name that is no alias is its own path."""
    return ALIASES.get(name, name) if isinstance(name, str) else name


def targets(node: Any, path: str = "") -> Iterator[tuple[str, DictConfig]]:
    """Every mapping with a ``_target_`` below ``node``, with its dotted name."""
    if isinstance(node, DictConfig) and not node._is_none():
        if "_target_" in node:
            yield path, node
        for key in node:
            yield from targets(node[key], f"{path}.{key}" if path else str(key))
    elif isinstance(node, ListConfig) and not node._is_none():
        for number, item in enumerate(node):
            yield from targets(item, f"{path}.{number}")


def _inside(name: str) -> bool:
    return name.startswith(tuple(f"{package}." for package in (*PACKAGES, *_allowed)))


def _remedy(name: Any) -> str:
    """The end of a message on a class that may be the user's own."""
    top = _top(name) if isinstance(name, str) else ""
    if top == name or not top.isidentifier() or top in sys.stdlib_module_names:
        return ""
    return f"; if it is yours, or you trust it, add allow={top} to the command"


# Read once, as a configuration may put something into the environment of its runs. A name that is none allows nothing.
for _package in os.environ.get(_VARIABLE, "").split(","):
    with suppress(ConfigurationError):
        allow(_package)
