"""What makes a run what it is, and the run's id."""

import hashlib
import json
import typing
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from stablernn.config.instantiate import make
from stablernn.config.signatures import as_taken, hints
from stablernn.config.targets import alias, find_target
from stablernn.utils.errors import ConfigurationError, StableRNNError

# Where it runs, how it is watched and what it is called do not change the result.
_NOT_IDENTITY = (
    "runs",
    "device",
    "threads",
    "progress",
    "tracking",
    "experiment_name",
    "dataset.path",
    "model.learning_rate",  # only a default for optimizer.lr, which counts
    "training.log_every",
    "training.checkpoint_seconds",
    "training.keep_every",
    "training.accumulate",
    "training.pause_after",  # only where it waits to be gone on with
    "training.deadline",  # likewise
    "training.certify",
    "training.graphs",
    "approximation.backbone.recompute",
)


_NOT_IDENTITY_IF_NULL = (
    "training.max_tokens",
    "training.snapshot_every",
    "training.anneal_from",
    "training.warm_up",
    "model.backbone",
)  # as if the option did not exist


# So is the head that every run had before there was a choice.
_FIRST_HEAD = {"name": "full", "softmax": {"_target_": "stablernn.models.softmax.FullSoftmax", "_partial_": True}}


@typing.runtime_checkable
class StoredText(typing.Protocol):
    """A data set that its options alone do not make: it is read from files."""

    def fingerprint_of_own(self) -> str | None:
        """What tells the text that is here from the published one of the same options; None for that one itself."""
        ...


def identity(config: DictConfig) -> dict[str, Any]:
    """What makes a run what it is: its options, and the fingerprint of its text unless that is the published one.

    Raises:
        DataError: the text that the run would read is damaged, or is not the one that it must be.
    """
    options = result_options(config)
    try:
        dataset = make(config.dataset)
    except ConfigurationError:  # it is for ``check`` to refuse it
        dataset = None
    if not getattr(dataset, "embeds", True):
        options["model"].pop("embedding_size")  # nothing is embedded
    own = dataset.fingerprint_of_own() if isinstance(dataset, StoredText) else None
    # The published text is what its name stands for, so its runs are known without reading it.
    options["dataset"].pop("fingerprint", None)
    if own is not None:
        options["dataset"]["fingerprint"] = own
    return options


def result_options(config: DictConfig) -> dict[str, Any]:
    """The resolved configuration without what cannot change the result, every number as what takes it reads it."""
    resolved = _as_taken(OmegaConf.to_container(config, resolve=True))
    for option in (*_NOT_IDENTITY, *_NOT_IDENTITY_IF_NULL):
        *parents, last = option.split(".")
        node: Any = resolved
        for parent in parents:
            node = node[parent]
        if option in _NOT_IDENTITY or node.get(last) is None:
            node.pop(last, None)
    if resolved["training"]["sampling"]["decay"] is None:  # as every run was trained before there was a choice
        del resolved["training"]["sampling"]
    if resolved["model"].get("directions") == 1:  # likewise
        del resolved["model"]["directions"]
    if resolved["head"] == _FIRST_HEAD:
        del resolved["head"]
    return typing.cast(dict[str, Any], resolved)


def digest(identity: Mapping[str, Any]) -> str:
    """A hash of an ``identity``, also of one that lies in a record, with every number as it is read today."""
    return hashlib.sha256(json.dumps(_as_taken(identity), sort_keys=True).encode()).hexdigest()[:8]


def _as_taken(node: Any) -> Any:
    """``signatures.as_taken`` for the options of every ``_target_`` below a resolved node, which goes by its alias."""
    if not isinstance(node, dict):
        return node
    taken = {key: _as_taken(value) for key, value in node.items()}
    if "_target_" not in node:
        return taken
    taken["_target_"] = alias(node["_target_"])
    try:
        wants = hints(find_target("_target_", node["_target_"]))
    except ConfigurationError:  # it is for ``check`` to refuse it
        return taken
    return {key: as_taken(value, wants.get(key)) for key, value in taken.items()}


def run_id(config: DictConfig) -> str:
    """A readable prefix and the digest of ``identity``; raises as that does."""
    return f"{_prefix(config)}-{digest(identity(config))}"


def run_label(config: DictConfig) -> str:
    """The run's id for a message, or the readable part of it where its text cannot be read."""
    try:
        return run_id(config)
    except StableRNNError:
        return _prefix(config)


def _prefix(config: DictConfig) -> str:
    return (
        f"{config.dataset.name}-{config.model.name}-{config.stability.name}-{config.approximation.name}"
        f"-k{config.truncation.k}-s{config.seed}"
    )
