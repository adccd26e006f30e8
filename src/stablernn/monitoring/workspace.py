"""The W&B project's workspace, a section for each claim: built without a network, written as JSON, pushed if asked.

Panels name what runs log (training/loop.py and training/run.py; a test holds the two against each other).
"""

import json
from collections.abc import Mapping
from pathlib import Path

import wandb
import wandb_workspaces.reports.v2.interface as wr
import wandb_workspaces.workspaces as ws
from wandb_workspaces import expr

from stablernn.utils.files import write_text
from stablernn.utils.metrics import Metric

_LAMBDA = "certificate/rate"
_GROUPS = ("model.name", "stability.name", "approximation.name", "truncation.k")
_NOT_TRACKED = (
    "Gradients (C5), contraction on data (C6), linear systems (C7) and truncation after training (C2) are analyses of "
    "finished runs, which W&B does not see: the report's page has them, with a verdict on every claim."
)


def _curve(metric: str, title: str, unit: str) -> wr.LinePlot:
    """A score by update, log scale; mean and range over the seeds of a group."""
    return wr.LinePlot(
        title=title,
        x="update",
        y=[metric],
        log_y=True,
        title_x="update",
        title_y=f"{unit} (log scale)",
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


def sections(metric: Metric) -> dict[str, list[wr.PanelTypes]]:
    """Panels by the claim that they bear on, of runs that are scored by ``metric``."""
    name, loss, test = metric.name, metric.of_loss.name, f"final/test_{metric.name}"
    return {
        "C1: stability costs nothing (stable and unstable models of a kind should end at the same score)": [
            _curve(f"valid/{name}", f"Validation {name} by update", name),
            _curve(f"train/{loss}", f"Training {loss} by update", loss),
            _bars(test, f"Test {name} at the best validation", name),
            _bars(f"final/valid_{name}", f"Best validation {name}", name),
        ],
        "C1 and C2: what a certificate costs (the smaller λ, the shorter the memory that the proof allows)": [
            _scatter(wr.SummaryMetric(_LAMBDA), test, f"Test {name} against the proven λ"),
            _bars(_LAMBDA, "Proven λ", "λ"),
        ],
        "C3 and C4: feed-forward training, and k (beyond some k more context should not help)": [
            _scatter(wr.Config("truncation.k"), test, f"Test {name} against k"),
        ],
        "C8: speed of training (compare runs of one machine alone)": [
            _bars("speed/train_tokens_per_second", "Training speed", f"{metric.items} a second"),
            _bars("speed/seconds", "Time of a run", "seconds"),
        ],
        "Is training in order?": [
            _curve(f"valid/train_{loss}", f"Training {loss} between validations", loss),
            _curve("valid/lr", "Learning rate", "learning rate"),
        ],
        "Not tracked": [wr.MarkdownPanel(markdown=_NOT_TRACKED)],
    }


def stored(option: str) -> str:
    """An option's place in the configuration as W&B stores it: model.name -> model.value.name."""
    first, _, rest = option.partition(".")
    return f"{first}.value.{rest}" if rest else f"{first}.value"


def workspace(entity: str, project: str, only: Mapping[str, str], metric: Metric) -> ws.Workspace:
    """A section for each claim; perplexities on different texts or profiles are never averaged, seeds are.

    Args:
        entity: user or team; '' stands for the account's default until it is pushed.
        project: the project's name there.
        only: runs with these values alone, by option (``dataset.name``, ``profile.name``); what is not named tells
            groups apart.
        metric: that the runs are scored by; panels of tasks with another one stay empty.
    """
    groups = [*(name for name in ("dataset.name", "profile.name") if name not in only), *_GROUPS]
    summary = ("status", f"final/test_{metric.name}", f"final/valid_{metric.name}", "certificate/certified", _LAMBDA)
    columns = [*(f"summary:{name}" for name in summary), *(f"config:{stored(name)}" for name in (*groups, "seed"))]
    return ws.Workspace(
        entity=entity,
        project=project,
        name="Stable recurrent models: the claims",
        sections=[ws.Section(name=name, panels=panels, is_open=True) for name, panels in sections(metric).items()],
        settings=ws.WorkspaceSettings(x_axis="update", smoothing_type="none", max_runs=100),
        runset_settings=ws.RunsetSettings(
            filters=" and ".join(f"Config('{stored(name)}') in ['{value}']" for name, value in only.items()),
            groupby=[expr.Config(name) for name in groups],
            pinned_columns=columns,
        ),
    )


def write(made: ws.Workspace, path: Path) -> None:
    """Write a workspace as it would be pushed."""
    values = json.loads(made._to_model().model_dump_json(by_alias=True, exclude_none=True))
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def push(entity: str, project: str, only: Mapping[str, str], metric: Metric) -> str:
    """Save a new workspace view with W&B, which needs account and network; returns its address."""
    made = workspace(entity or wandb.Api().default_entity or "", project, only, metric)
    made.save()
    return made.url
