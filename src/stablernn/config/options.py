"""The typed options of every command but train; the file of each in conf/ says what they do and sets their defaults."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class Analyze:
    run: str = MISSING
    runs: str = MISSING
    data: str | None = None
    device: str = MISSING
    fresh: bool = MISSING
    progress: bool = MISSING
    k_max: int | None = None
    analysis: Any = MISSING
    table: Any = MISSING
    figures: Any = None


@dataclass
class Sequences:
    size: int = MISSING
    steps: list[int] = MISSING
    batches: list[int] = MISSING
    k: list[int] = MISSING
    seconds: float = MISSING
    longest: float = MISSING
    memory_gb: float = MISSING


@dataclass
class Curve:
    run: str = MISSING
    k_max: int = MISSING
    words: int = MISSING
    plain_words: int = MISSING


@dataclass
class Large:
    text: dict[str, Any] = MISSING
    size: int = MISSING
    batches: list[int] = MISSING
    heads: list[str] = MISSING
    precisions: list[str] = MISSING
    accumulate: list[int] = MISSING
    cutoffs: list[int] = MISSING
    updates: int = MISSING


@dataclass
class Mechanisms:
    experiments: list[str] = MISSING


@dataclass
class Peers:
    experiments: list[str] = MISSING
    scored: int = MISSING


@dataclass
class Traffic:
    models: list[dict[str, Any]] = MISSING
    constraints: dict[str, list[str]] = MISSING
    sizes: list[int] = MISSING


@dataclass
class Bench:
    parts: list[str] = MISSING
    models: list[str] = MISSING
    sizes: list[int] = MISSING
    batches: list[int] = MISSING
    k: list[int | None] = MISSING
    constraints: dict[str, list[str]] = MISSING
    sequences: Sequences = field(default_factory=Sequences)
    curve: Curve = field(default_factory=Curve)
    large: Large = field(default_factory=Large)
    mechanisms: Mechanisms = field(default_factory=Mechanisms)
    peers: Peers = field(default_factory=Peers)
    traffic: Traffic = field(default_factory=Traffic)
    jobs: list[int] = MISSING
    seconds: float = MISSING
    device: str = MISSING
    fresh: bool = MISSING
    publish: bool = MISSING
    results: str | None = None
    runs: str = MISSING
    data: str | None = None
    goals: list[dict[str, Any]] = MISSING
    progress: bool = MISSING


@dataclass
class Convert:
    run: str = MISSING
    epsilon: float = MISSING
    k: int | None = None
    guarantee: str = MISSING
    k_max: int = MISSING
    split: str = MISSING
    tokens: int | None = None
    formats: list[str] | None = None
    seconds: float = MISSING
    out: str | None = None
    runs: str = MISSING
    data: str | None = None
    device: str = MISSING
    progress: bool = MISSING


@dataclass
class Examine:
    weights: str = MISSING
    data: str = MISSING
    vocabulary: str | None = None
    level: str = MISSING
    kind: str | None = None
    embedding: str | None = None
    decoder: str | None = None
    bounds: list[float] | None = None
    outputs: str = MISSING
    pickle: bool = MISSING
    epsilon: float = MISSING
    k_max: int = MISSING
    tokens: int | None = None
    positions: int = MISSING
    seconds: float = MISSING
    save: str | None = None
    export: str | None = None
    k: int | None = None
    formats: list[str] | None = None
    progress: bool = MISSING


@dataclass
class Generate:
    run: str = MISSING
    decoding: str = MISSING
    beam: int = MISSING
    normalisation: float = MISSING
    temperature: float = MISSING
    seed: int = MISSING
    length: int = MISSING
    prompt: str | None = None
    end: str | None = None
    k: int | None = None
    epsilon: float = MISSING
    k_max: int = MISSING
    out: str | None = None
    runs: str = MISSING
    data: str | None = None
    device: str = MISSING


@dataclass
class LinearSystems:
    publish: bool = MISSING
    records: str | None = None
    results: str | None = None
    runs: str = MISSING
    fresh: bool = MISSING
    progress: bool = MISSING
    matrix: Any = MISSING
    scalar: Any = MISSING


@dataclass
class Report:
    records: str = MISSING
    results: str = MISSING
    readme: str | None = None
    serve: bool = MISSING
    port: int = MISSING
    runs: str = MISSING


@dataclass
class Status:
    runs: str = MISSING
    sweep: str | None = None
    once: bool = MISSING
    seconds: float = MISSING
    dead_after: float = MISSING


@dataclass
class Sync:
    runs: str = MISSING
    entity: str | None = None
    project: str | None = None
    run_seconds: float = MISSING
    seconds: float = MISSING


@dataclass
class Only:
    dataset: str | None = None
    profile: str | None = None


@dataclass
class Workspace:
    project: str = MISSING
    entity: str | None = None
    only: Only = field(default_factory=Only)
    metric: str = MISSING
    out: str = MISSING
    push: bool = MISSING
    seconds: float = MISSING
    runs: str = MISSING


@dataclass
class Reproduce:
    study: str = MISSING
    profile: str = MISSING
    dataset: str = MISSING
    runs: str = MISSING
    publish: bool = MISSING
    results: str | None = None
    winners: str | None = None
    readme: str | None = None
    confirm: bool = MISSING
    plan_only: bool = MISSING
    at_once: int = MISSING
    overrides: str | None = None
    progress: bool = MISSING
    all: list[str] = MISSING
    plans: dict[str, Any] = MISSING
    analyses: dict[str, Any] = MISSING
    published_with: dict[str, str] = MISSING


@dataclass
class Winners:
    experiment: str = MISSING
    profile: str = MISSING
    dataset: str = MISSING
    runs: str = MISSING
    winners: str | None = None
    results: str | None = None


OPTIONS: dict[str, type] = {
    "analyze": Analyze,
    "bench": Bench,
    "convert": Convert,
    "examine": Examine,
    "generate": Generate,
    "linear_systems": LinearSystems,
    "report": Report,
    "status": Status,
    "wandb_sync": Sync,
    "wandb_workspace": Workspace,
    "reproduce/plan": Reproduce,
    "reproduce/winners": Winners,
}
