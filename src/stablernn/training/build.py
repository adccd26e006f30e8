"""The model and the constraint of a configuration, on its device."""

import torch
from omegaconf import DictConfig

from stablernn.config import make
from stablernn.data.splits import Corpus
from stablernn.errors import ConfigurationError
from stablernn.models.language_model import SequenceModel, build_language_model
from stablernn.models.precision import choose_precision, set_up_products
from stablernn.models.softmax import FullSoftmax
from stablernn.stability.constraints import Constraint, constrained_cells, project
from stablernn.training.processes import own_device


def pick_device(name: str) -> torch.device:
    """``auto`` is the GPU where there is one; under torchrun each process gets its own."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigurationError(f"device={name}: this machine has no CUDA GPU that PyTorch can use; choose device=cpu")
    return own_device(torch.device(name))


def stream_device(name: str) -> torch.device:
    """Where a run would have a stream of its own; a device that is not here is for the run itself to refuse."""
    return pick_device(name) if torch.cuda.is_available() else torch.device("cpu")


def build(config: DictConfig, types: int) -> tuple[SequenceModel, Constraint]:
    """The model at its initial weights, made from the seed and already on the constraint's set."""
    torch.manual_seed(config.seed)
    options = {key: config.model[key] for key in ("embedding_size", "hidden_size", "num_layers", "dropout", "tied")}
    model = build_language_model(
        types=types,
        cell=make(config.model.cell),
        backbone=make(config.approximation.backbone),
        head=make(config.head.softmax) if "head" in config else FullSoftmax,
        **options,
    )
    constraint: Constraint = make(config.stability.constraint)
    for cell, _ in constrained_cells(model):
        constraint.check(cell)
    project(constraint, model)
    device = pick_device(config.device)
    precision = choose_precision(config.precision, device)
    set_up_products(device)
    model.objective.precision = precision
    return model.to(device), constraint


def build_for(config: DictConfig, corpus: Corpus) -> tuple[SequenceModel, Constraint]:
    """``build`` for the words of a corpus, told how frequent they are where that matters."""
    model, constraint = build(config, corpus.types)
    if model.objective.needs_frequencies:
        model.objective.arrange(torch.from_numpy(corpus.frequencies()))
    return model, constraint
