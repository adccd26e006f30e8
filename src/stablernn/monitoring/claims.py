"""What Weights & Biases shows of each claim: panels by the names of what runs log, for the workspace and the report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import wandb_workspaces.reports.v2.interface as wr

from stablernn.utils.metrics import Metric

# What a panel may show (training/loop.py and training/run.py log it; a test holds the two against each other).
UPDATE = "update"
RATE = "valid/lr"
LAMBDA, CERTIFIED = "certificate/rate", "certificate/certified"
SPEED, SECONDS, STATUS = "speed/train_tokens_per_second", "speed/seconds", "status"

TEXT, PROFILE = "dataset.name", "profile.name"
MODEL, STABILITY, APPROXIMATION, K, SEED = "model.name", "stability.name", "approximation.name", "truncation.k", "seed"

NOT_TRACKED = (
    "Gradients (C5), contraction on data (C6), linear systems (C7) and truncation after training (C2) are analyses of "
    "finished runs, which W&B does not see: `make report` writes them, with a verdict on every claim, to "
    "results/report/index.html."
)


@dataclass(frozen=True)
class Claim:
    """Panels that bear on one claim.

    Attributes:
        title: the claim.
        reading: what to look for.
        panels: makes them anew; a panel belongs to one place.
        groupby: configuration that tells curves and bars apart; seeds are averaged.
        only: runs with these values alone, by option.
    """

    title: str
    reading: str
    panels: Callable[[], Sequence[wr.PanelTypes]]
    groupby: tuple[str, ...] = (MODEL, STABILITY)
    only: Mapping[str, str] = field(default_factory=dict)


def _curve(metric: str, title: str, of: Metric) -> wr.LinePlot:
    """A score by update, log scale; mean and range over the seeds of a group."""
    return wr.LinePlot(
        title=title,
        x=UPDATE,
        y=[metric],
        log_y=True,
        title_x="update",
        title_y=f"{of.name} (log scale)",
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
        max_runs_to_show=100,
        smoothing_type="none",
    )


def _bars(metric: str, title: str, unit: str) -> wr.BarPlot:
    return wr.BarPlot(
        title=title,
        metrics=[metric],
        title_x=unit,
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
        max_runs_to_show=100,
        max_bars_to_show=40,
    )


def _scatter(x: wr.Config | wr.SummaryMetric, y: str, title: str) -> wr.ScatterPlot:
    return wr.ScatterPlot(title=title, x=x, y=wr.SummaryMetric(y), log_y=True)


def claims(metric: Metric) -> tuple[Claim, ...]:
    """Of runs that are scored by ``metric``, in order."""
    name, loss = metric.name, metric.of_loss
    valid, train, by_epoch = f"valid/{name}", f"train/{loss.name}", f"valid/train_{loss.name}"
    test, best = f"final/test_{name}", f"final/valid_{name}"
    return (
        Claim(
            "C1: stability costs nothing",
            f"Stable and unstable models of one kind should end at the same {name}, within the spread of the seeds.",
            lambda: [
                _curve(valid, f"Validation {name} by update", metric),
                _curve(train, f"Training {loss.name} by update", loss),
                _bars(test, f"Test {name} at the best validation", name),
                _bars(best, f"Best validation {name}", name),
            ],
            only={APPROXIMATION: "recurrent"},
        ),
        Claim(
            "C1 and C2: what a certificate costs",
            "Each point is a run with a proven λ; runs without one have no place on the axis. The smaller λ, the "
            "shorter the memory that the proof allows.",
            lambda: [
                _scatter(wr.SummaryMetric(LAMBDA), test, f"Test {name} against the proven λ"),
                _bars(LAMBDA, "Proven λ", "λ"),
            ],
        ),
        Claim(
            "C3 and C4: feed-forward training, and k",
            "At the same k, feed-forward and recurrent models should come out alike; beyond some k more "
            f"{metric.items} should not help.",
            lambda: [
                _scatter(wr.Config(K), test, f"Test {name} against k"),
                _curve(valid, f"Validation {name} by update", metric),
                _bars(test, f"Test {name} by approximation and k", name),
            ],
            groupby=(MODEL, STABILITY, APPROXIMATION, K),
        ),
        Claim(
            "C8: speed of training",
            f"{metric.items.capitalize()} a second on the machine of each run: compare runs of one machine alone.",
            lambda: [
                _bars(SPEED, "Training speed", f"{metric.items} a second"),
                _bars(SECONDS, "Time of a run", "seconds"),
            ],
            groupby=(MODEL, APPROXIMATION, K),
        ),
        Claim(
            "Is training in order?",
            "The learning rate falls by a factor whenever validation does not improve; training far below validation "
            "is overfitting.",
            lambda: [
                _curve(by_epoch, f"Training {loss.name} between validations", loss),
                wr.LinePlot(
                    title="Learning rate", x=UPDATE, y=[RATE], log_y=True, title_x="update", max_runs_to_show=100
                ),
            ],
        ),
    )


def stored(option: str) -> str:
    """An option's place in the configuration as W&B stores it: model.name -> model.value.name."""
    first, _, rest = option.partition(".")
    return f"{first}.value.{rest}" if rest else f"{first}.value"


def columns(metric: Metric) -> tuple[str, ...]:
    """Of the table of runs, from the left."""
    return (
        f"summary:{STATUS}",
        f"summary:final/test_{metric.name}",
        f"summary:final/valid_{metric.name}",
        f"summary:{CERTIFIED}",
        f"summary:{LAMBDA}",
        *(f"config:{stored(name)}" for name in (TEXT, MODEL, STABILITY, APPROXIMATION, K, SEED)),
    )
