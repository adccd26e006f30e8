"""The model and the constraint of a configuration, on its device."""

import torch
from omegaconf import DictConfig

from stablernn.config.instantiate import make
from stablernn.models.backbone import BackboneFactory, stack_of
from stablernn.models.both_directions import both_directions
from stablernn.models.heads.softmax import FullSoftmax
from stablernn.models.precision import choose_precision, set_up_products
from stablernn.models.sequence_model import SequenceModel, build_model
from stablernn.stability.constraints.base import Constraint, check, project
from stablernn.tasks.base import Interface
from stablernn.tasks.splits import Corpus, Task
from stablernn.utils.console import warn_once
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.machine import memory
from stablernn.utils.wording import counted


def pick_device(name: str) -> torch.device:
    """``auto`` is the GPU where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigurationError(f"device={name}: this machine has no CUDA GPU that PyTorch can use; choose device=cpu")
    if name != "cpu" and not name.startswith("cuda"):
        raise ConfigurationError(f"device={name} is unknown: choose auto, cpu, cuda or cuda:N")
    return torch.device(name)


def check_memory(config: DictConfig, interface: Interface) -> None:
    """Refuse a model whose weights and gradients cannot fit into the memory of this machine, before it is made.

    Raises:
        ConfigurationError: says how much it would take and how much there is.
    """
    try:
        with torch.device("meta"):  # shapes alone
            needed = 8 * _model(config, interface).size()  # float32, once for the weights and once for the gradient
    except RuntimeError:  # more than PyTorch can count
        needed = 2**63
    have = memory()
    size = config.model.get("embedding_size")
    if have is not None and needed > have:
        raise ConfigurationError(
            f"model.hidden_size={config.model.hidden_size}, model.embedding_size={size} and "
            f"{counted(interface.outputs.size, 'output')} needs {'more than ' if needed == 2**63 else ''}"
            f"{needed / 2**30:,.0f} GiB for weights and gradients, and this machine has {have / 2**30:,.0f} GiB: "
            "choose a smaller model"
        )


def _note_layers(config: DictConfig, interface: Interface) -> None:
    """Say where a network without cells seems to make nothing of ``model.num_layers``, which it may."""
    layers = config.model.num_layers
    if config.model.get("backbone") is None or layers == 1 or "k" in config.model.backbone:
        return  # of one with an option k, k and the layers belong together
    single = config.copy()
    single.model.num_layers = 1
    with torch.device("meta"):
        alike = _model(config, interface).size() == _model(single, interface).size()
    if alike:
        warn_once(
            f"model.num_layers={layers}: model={config.model.name} has as many parameters with one layer, so its "
            "backbone seems to ignore it: leave it at 1, or each value is a run of its own"
        )


def _check_field(config: DictConfig, model: SequenceModel) -> None:
    """Refuse a network without cells that is called feed-forward of k inputs, and sees another number of them."""
    k, field = config.truncation.k, model.backbone.receptive_field
    if config.model.get("backbone") is not None and config.approximation.name == "feedforward" and field != k:
        sees = counted(field or "all earlier", "input")
        raise ConfigurationError(
            f"truncation.k={k}: an output of model={config.model.name} sees {sees}: its receptive_field must be its "
            "option k"
        )


def build(config: DictConfig, interface: Interface) -> tuple[SequenceModel, Constraint]:
    """The model at its initial weights, made from the seed and already on the constraint's set."""
    check_memory(config, interface)
    _note_layers(config, interface)
    torch.manual_seed(config.seed)
    model = _model(config, interface)
    _check_field(config, model)
    constraint: Constraint = make(config.stability.constraint)
    check(constraint, model)
    device = pick_device(config.device)
    model.objective.precision = choose_precision(config.precision, device)
    set_up_products(device)
    model.to(device)
    project(constraint, model)  # there, where it takes least
    return model, constraint


def _model(config: DictConfig, interface: Interface) -> SequenceModel:
    head = config.get("head", {}).get("name", "full")
    if interface.outputs.kind != "categorical" and head != "full":
        raise ConfigurationError(f"head={head} is for models of words, not for vectors: choose head=full")
    options = {key: config.model[key] for key in ("hidden_size", "num_layers", "dropout", "tied")}
    return build_model(
        interface,
        embedding_size=config.model.get("embedding_size"),  # without one nothing is embedded
        backbone=backbone_of(config),
        head=make(config.head.softmax) if "head" in config else FullSoftmax,
        **options,
    )


def backbone_of(config: DictConfig) -> BackboneFactory:
    """(input size, hidden size, layers, dropout) -> backbone: the model's own, or a stack of its cells."""
    if config.model.get("backbone") is not None:
        return make(config.model.backbone)
    cell = make(config.model.cell)
    if config.model.get("directions", 1) == 2:  # records of before there was a choice have none
        return both_directions(cell, config.truncation.k if config.approximation.name == "feedforward" else None)
    return stack_of(cell, make(config.approximation.backbone))


def build_for(config: DictConfig, task: Task) -> tuple[SequenceModel, Constraint]:
    """``build`` for a task, arranged by the frequencies of its words where that matters.

    Raises:
        ConfigurationError: the model reads ahead, and the task does not let it.
    """
    model, constraint = build(config, task.interface)
    if model.backbone.whole_sequences and not getattr(task, "whole", False):
        raise ConfigurationError(
            f"model={config.model.name} reads later inputs too, and on {task.name} an answer comes before they are "
            "there: choose a model of one direction, as model=lstm, or a task that is read to its end first "
            "(dataset=atis, atis_count, slot_folder or adding)"
        )
    if model.objective.needs_frequencies:
        assert isinstance(task, Corpus)
        model.objective.arrange(torch.from_numpy(task.frequencies()))
    return model, constraint
