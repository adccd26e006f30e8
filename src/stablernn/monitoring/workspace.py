"""The W&B project's workspace and a report in it: built without a network, written as JSON, pushed if asked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wandb
import wandb_workspaces.reports.v2.interface as wr
import wandb_workspaces.workspaces as ws
from wandb_workspaces import expr

from stablernn.monitoring.claims import NOT_TRACKED, PROFILE, TEXT, Claim, claims, columns, stored
from stablernn.utils.files import write_text
from stablernn.utils.metrics import PERPLEXITY, Metric

_NAME = "Stable recurrent models: the claims"
_COLUMNS_OF_A_GRID, _HEIGHT = 24, 9  # W&B's own units


@dataclass(frozen=True)
class Dashboard:
    """Workspace and report of one project.

    An entity is never looked up while building: the package would ask the server for it, and for a run set's project if
    that were named. Left out, a run set is of the report's own project.

    Attributes:
        entity: user or team; '' stands for the account's default until it is pushed.
        project: the project's name there.
        only: runs with these values alone, by option (``dataset.name``, ``profile.name``);
            what is not named tells groups apart.
        metric: that the runs are scored by; those of tasks with another one stay empty.
    """

    entity: str
    project: str
    only: Mapping[str, str]
    metric: Metric = PERPLEXITY

    @property
    def _claims(self) -> tuple[Claim, ...]:
        return claims(self.metric)

    def workspace(self) -> ws.Workspace:
        """A section for each claim; runs grouped by text, profile, model and stability."""
        return ws.Workspace(
            entity=self.entity,
            project=self.project,
            name=_NAME,
            sections=[
                *(ws.Section(name=claim.title, panels=_fresh(claim), is_open=True) for claim in self._claims),
                ws.Section(name="Not tracked", panels=[wr.MarkdownPanel(markdown=NOT_TRACKED)]),
            ],
            settings=ws.WorkspaceSettings(x_axis="update", smoothing_type="none", max_runs=100),
            runset_settings=ws.RunsetSettings(
                filters=self._filters({}),
                groupby=[expr.Config(name) for name in self._groupby(self._claims[0])],
                pinned_columns=list(columns(self.metric)),
            ),
        )

    def report(self) -> wr.Report:
        """A heading, a sentence and a grid for each claim, on the runs that bear on it."""
        blocks: list[Any] = [wr.TableOfContents(), wr.P(NOT_TRACKED)]
        for claim in self._claims:
            runs = wr.Runset(
                name=claim.title,
                filters=self._filters(claim.only),
                groupby=[f"config.{name}" for name in self._groupby(claim)],
                pinned_columns=list(columns(self.metric)),
            )
            blocks += [
                wr.H2(claim.title),
                wr.P(claim.reading),
                wr.PanelGrid(runsets=[runs], panels=_in_two_columns(_fresh(claim))),
            ]
        return wr.Report(
            entity=self.entity,
            project=self.project,
            title=_NAME,
            description="Scores, certificates and speed of the tracked runs, claim by claim.",
            blocks=blocks,
            width="fluid",
        )

    def write(self, folder: Path) -> list[Path]:
        """Write ``workspace.json`` and ``report.json`` as they would be pushed; returns the files."""
        models = {"workspace.json": self.workspace()._to_model(), "report.json": self.report()._to_model()}
        for name, model in models.items():
            values = json.loads(model.model_dump_json(by_alias=True, exclude_none=True))
            write_text(folder / name, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
        return [folder / name for name in models]

    def _groupby(self, claim: Claim) -> list[str]:
        """Perplexities on different texts or profiles are never averaged."""
        return [*(name for name in (TEXT, PROFILE) if name not in self.only), *claim.groupby]

    def _filters(self, only: Mapping[str, str]) -> str:
        chosen = {**self.only, **only}
        return " and ".join(f"Config('{stored(name)}') in ['{value}']" for name, value in chosen.items())


def push(entity: str, project: str, only: dict[str, str], metric: Metric) -> list[str]:
    """Save a new workspace view and a new report with W&B, which needs account and network; returns their addresses."""
    dashboard = Dashboard(entity or wandb.Api().default_entity or "", project, only, metric)
    report = dashboard.report()
    report.save()  # first: it makes the project if there is none
    workspace = dashboard.workspace()
    workspace.save()
    return [workspace.url, report.url]


def _fresh(claim: Claim) -> list[Any]:
    return list(claim.panels())


def _in_two_columns(panels: list[Any]) -> list[Any]:
    width = _COLUMNS_OF_A_GRID // 2
    for number, panel in enumerate(panels):
        panel.layout = wr.Layout(x=number % 2 * width, y=number // 2 * _HEIGHT, w=width, h=_HEIGHT)
    return panels
