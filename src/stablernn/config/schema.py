"""The typed configuration: what every option is, which of them make a run what it is, and the run's id."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from stablernn.config.options import OPTIONS
from stablernn.utils.project import CHECKOUT, CONFIG_FOLDER, command


@dataclass
class Truncation:
    k: int | None = MISSING


@dataclass
class Model:
    name: str = MISSING
    cell: Any = None  # one of the two, a mapping with a _target_
    backbone: Any = None
    embedding_size: int = MISSING
    hidden_size: int = MISSING
    num_layers: int | None = MISSING  # None: a backbone's own, that follows from truncation.k
    directions: int = 1  # 2: each layer has a cell that reads backwards too, and hidden_size is the state of each
    dropout: float = MISSING
    tied: bool = MISSING
    learning_rate: float = MISSING


@dataclass
class Head:
    name: str = MISSING
    softmax: dict[str, Any] = MISSING


@dataclass
class Stability:
    name: str = MISSING
    constraint: dict[str, Any] = MISSING


@dataclass
class Approximation:
    name: str = MISSING
    window: int = MISSING
    backbone: dict[str, Any] = MISSING


DECAYS = ("linear", "exponential", "inverse_sigmoid")


@dataclass
class Sampling:
    decay: str | None = None
    half: int = 1000
    least: float = 0.0


@dataclass
class Training:
    epochs: int = MISSING
    max_updates: int | None = None
    max_tokens: int | None = None
    batch_size: int = MISSING
    accumulate: int = 1
    clip: float = MISSING
    annealing: float = MISSING
    evaluate_every: int | None = None
    early_stop: int = MISSING
    log_every: int = MISSING
    checkpoint_seconds: float = MISSING
    snapshot_every: int | None = None
    keep_every: int | None = None
    pause_after: int | None = None
    anneal_from: int | None = None
    warm_up: int | None = None
    sampling: Sampling = field(default_factory=Sampling)
    deadline: float | None = None
    certify: bool = True
    graphs: bool = True


@dataclass
class Profile:
    name: str = MISSING


@dataclass
class Config:
    """Root of the configuration; conf/train.yaml says what each option does."""

    seed: int = MISSING
    truncation: Truncation = field(default_factory=Truncation)
    dataset: dict[str, Any] = MISSING
    model: Model = field(default_factory=Model)
    head: Head = field(default_factory=Head)
    stability: Stability = field(default_factory=Stability)
    approximation: Approximation = field(default_factory=Approximation)
    optimizer: dict[str, Any] = MISSING
    training: Training = field(default_factory=Training)
    profile: Profile = field(default_factory=Profile)
    tracking: dict[str, Any] = MISSING
    experiment_name: str = MISSING
    runs: str = MISSING
    device: str = MISSING
    precision: str = MISSING
    threads: int | None = None
    progress: bool = MISSING


def _listed(group: str) -> str:
    from stablernn.config.compose import choices  # which imports this module

    return ", ".join(choices(group))


def register() -> None:
    """Make the schemas known to Hydra: ``schema`` for conf/train.yaml, ``NAME_options`` for that of another command.

    For the texts of ``--help`` also ``${command:train}``, the command as it is typed, and ``${conf:}``, the folder.
    """
    store = ConfigStore.instance()
    if "schema.yaml" not in store.repo:  # it is there for the whole process, and takes a sixth of composing
        for name, node in OPTIONS.items():
            store.store(name=f"{name.rpartition('/')[2]}_options", node=node)
        store.store(name="schema", node=Config)
    OmegaConf.register_new_resolver("command", command, replace=True)
    OmegaConf.register_new_resolver("choices", _listed, replace=True)
    OmegaConf.register_new_resolver("conf", lambda: "conf" if CHECKOUT else str(CONFIG_FOLDER), replace=True)
