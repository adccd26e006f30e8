"""Making the object that a configuration names, and nothing that it must not name."""

import copy
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from stablernn.config.targets import find_target, path_of, targets
from stablernn.utils.errors import ConfigurationError, StableRNNError


def make(node: DictConfig) -> Any:
    """``hydra.utils.instantiate`` of what ``config.targets`` admits, with this package's own errors handed on."""
    here = copy.deepcopy(node)
    for option, target in targets(here):
        find_target(f"{option}._target_".lstrip("."), target["_target_"])
        target["_target_"] = path_of(target["_target_"])
    try:
        return instantiate(here, **_folders(here))
    except InstantiationException as error:
        if isinstance(error.__cause__, StableRNNError):
            raise error.__cause__ from None
        raise ConfigurationError(str(error).replace("\n", " ")) from error


def _folders(node: DictConfig) -> dict[str, Path | None]:
    """The option ``path`` as what it is: Hydra would look for interpolations in a folder that is called ``${A}``."""
    path = OmegaConf.select(node, "path")  # without a path ``get`` leaves a cycle behind that holds who called it
    return {"path": Path(path) if path else None} if isinstance(path, str) else {}  # STABLERNN_DATA may be empty
