"""The parts of the plan of `make reproduce`: what is left of each, how long it takes, carrying it out."""

import dataclasses
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import DictConfig

from stablernn.analysis.estimate import Planned, Subject, analysis_seconds
from stablernn.analysis.linear import matrix
from stablernn.analysis.runner import Analysis, is_missing, stored
from stablernn.config.compose import compose, literal
from stablernn.config.identity import identity, run_id
from stablernn.config.instantiate import make
from stablernn.config.validate import check_nothing_missing
from stablernn.experiments.grids import winner_file
from stablernn.experiments.search import Search
from stablernn.experiments.sweep import Settings, cores, expand, run_all
from stablernn.experiments.winners import write_winners
from stablernn.records.record import read_run
from stablernn.records.schemas import check_linear
from stablernn.report.load import LINEAR_SYSTEMS, TRIAL_FILE, load_trials
from stablernn.training.build import pick_device
from stablernn.training.estimate import estimate_seconds
from stablernn.training.outcome import finished
from stablernn.training.trained import Trained
from stablernn.utils.console import display, open_bar
from stablernn.utils.files import json_digest, refuse_links
from stablernn.utils.timing import one_thread

_MEASURED_STEPS = 25


def text_of(dataset: Mapping[str, Any]) -> tuple[str, str | None]:
    """The name of a data set as a record has it, and the fingerprint of a text of one's own, as names repeat."""
    return dataset["name"], dataset.get("fingerprint")


def trained_run(config: DictConfig) -> Trained:
    """A run that is finished."""
    folder = Path(config.runs) / run_id(config)
    return Trained(folder, read_run(folder), config.dataset.get("path"), pick_device(config.device))


class Part:
    """One sweep of the plan.

    Attributes:
        configs: of its runs, as far as they are known before the search.
        to_do: those of them that are not finished.
        counted: those of ``to_do`` that no part before it has as well (``count_once``).
        seconds: that ``counted`` takes, about; once the plan has measured it.

    Args:
        sweep: what follows ``scripts/train.py -m``.
        side_by_side: whether a core each is enough for its runs.
        options: of the plan, conf/reproduce/plan.yaml.
        search: the one before it in the plan; a sweep that starts from its winners waits for it.
    """

    def __init__(
        self, sweep: Sequence[str], side_by_side: bool, options: DictConfig, search: "SearchPart | None" = None
    ) -> None:
        self.sweep = list(sweep)
        self.side_by_side = side_by_side
        self.options = options
        self.before = search
        gpu = torch.cuda.is_available()
        self.jobs = cores() if side_by_side and not gpu else 1
        self.at_once = options.at_once if gpu else 1
        self.configs = self._expand()
        self.to_do = self._left()
        self.counted = self.to_do
        self.seconds = 0.0

    @cached_property
    def named(self) -> dict[str, DictConfig]:
        """``configs`` as the plan has them, by their ids."""
        return {run_id(config): config for config in self.configs}

    @cached_property
    def named_to_do(self) -> dict[str, DictConfig]:
        """The same of ``to_do``."""
        left = {id(config) for config in self.to_do}
        return {name: config for name, config in self.named.items() if id(config) in left}

    @cached_property
    def planned(self) -> dict[str, Planned]:
        """The same as analyses will look into them; one for all analyses."""
        return {name: Planned(config) for name, config in self.named_to_do.items()}

    @property
    def command(self) -> list[str]:
        """All arguments of the sweep."""
        arguments = [*self.sweep, literal(f"runs={self.options.runs}")]
        if not self.options.progress:
            arguments.append("progress=false")
        if self.options.winners and self.before:
            arguments.append(literal(f"hydra.sweeper.winners={self.options.winners}"))
        return arguments

    @property
    def data(self) -> str:
        return self.configs[0].dataset.name

    def texts(self) -> set[tuple[str, str | None]]:
        """The texts of its runs (``text_of``)."""
        return {text_of(identity(config)["dataset"]) for config in self.configs}

    @property
    def shared(self) -> int:
        """How many of its runs a part before it will have done."""
        return len(self.to_do) - len(self.counted)

    def _left(self) -> list[DictConfig]:
        for config in self.configs:
            check_nothing_missing(config)
        return [config for config in self.configs if not finished(config)]

    def _expand(self) -> list[DictConfig]:
        return expand(self.command, self.before.settings() if self.before else None)

    def estimate(self) -> float:
        """About how many seconds ``counted`` takes."""
        return sum(estimate_seconds(self.counted)) / self.jobs

    def run(self) -> list[str]:
        """Do what is left; one line for each run that failed."""
        if self.before is not None:  # by now the winners are known
            self.configs = self._expand()
        self.to_do = self._left()  # another part may have done some since
        return run_all(self.to_do, self.jobs, self.at_once)[1] if self.to_do else []

    def trained(self) -> list[Trained]:
        """Its finished runs."""
        return [trained_run(config) for config in self.configs if finished(config)]


class SearchPart(Part):
    """The search of the plan. Its trials are no results of the study: they are published apart."""

    over = False  # and its winners are written; a search that several studies begin with runs once

    def _expand(self) -> list[DictConfig]:
        self.search = Search.of_command(self.command)
        return [trial.config for trial in self.search.trials]

    def _left(self) -> list[DictConfig]:
        """The trials that are to be trained on, as far as that is known."""
        number, alive = self.search.alive()
        if number == len(self.search.rungs):
            return []
        return [trial.config for trial in alive if trial.until(self.search.rungs[number]).record() is None]

    def settings(self) -> Settings | None:
        """What stands for the winners' settings until those are written; then None."""
        profile = self.configs[0].profile.name
        files = [winner_file(self.options.winners, self.data, model, profile) for model in self.search.by_model()]
        written = not self.to_do and all(path.is_file() for path in files)
        return None if written else self.search.largest().__getitem__

    def estimate(self) -> float:
        if not self.counted:
            return 0.0
        seconds = dict(zip(map(run_id, self.configs), estimate_seconds(self.configs), strict=True))
        return self.search.share_left(seconds) / self.jobs

    def run(self) -> list[str]:
        if not self.over:
            self.search.run(lambda configs, jobs: run_all(configs, self.jobs, self.at_once))
            write_winners(self.search, self.options.winners, self.options.results)
            self.to_do = []
            self.over = True
        return []

    def trained(self) -> list[Trained]:
        return []

    def publish(self, folder: Path) -> None:
        """Copy the trials to where reports read them; older ones of the same data and models make room."""
        refuse_links(folder)
        models = self.search.by_model()
        for old in load_trials(folder):
            if text_of(old.config["dataset"]) in self.texts() and old.config["model"]["name"] in models:
                shutil.rmtree(folder / old.id, ignore_errors=True)
        for record in self.search.records():
            record.write_alone(folder / record.id / TRIAL_FILE)


def chain(
    sweeps: Iterable[tuple[Sequence[str], bool]], options: DictConfig, known: dict[Any, Part] | None = None
) -> list[Part]:
    """The parts of some sweeps, each with whether its runs go side by side; each knows the search before it.

    Parts that are ``known`` already are used again, and new ones are added there.
    """
    known = {} if known is None else known
    parts: list[Part] = []
    search: SearchPart | None = None
    for sweep, side_by_side in sweeps:
        key = (*sweep, side_by_side, search)
        if key not in known:
            searches = any(argument.startswith("experiment=search") for argument in sweep)
            known[key] = (
                SearchPart(sweep, side_by_side, options) if searches else Part(sweep, side_by_side, options, search)
            )
        part = known[key]
        parts.append(part)
        search = part if isinstance(part, SearchPart) else search
    return parts


def analysis_of(entry: DictConfig, profile: str) -> Analysis:
    """What an entry under ``analyses`` of conf/reproduce/plan.yaml stands for at a profile."""
    chosen = [f"analysis={entry.analysis}", *entry.get("options", []), *entry.get(profile, [])]
    return make(compose("analyze", chosen).analysis)


class AnalysisPart:
    """One analysis of a study's runs; attributes as those of ``Part``, and of ``unknown`` nobody knows the time."""

    def __init__(self, entry: DictConfig, profile: str, parts: Iterable[Part]) -> None:
        self.title: str = entry.analysis
        self.analysis = analysis_of(entry, profile)
        every = [part for part in parts if not isinstance(part, SearchPart)]
        chosen = {name: config for part in every for name, config in part.named.items() if fnmatch(name, entry.run)}
        planned = {name: subject for part in every for name, subject in part.planned.items()}
        self.runs = len(chosen)
        subjects = {name: planned.get(name) or self._finished(config) for name, config in chosen.items()}
        self.to_do: dict[str, Subject] = {name: subject for name, subject in subjects.items() if subject is not None}
        self.counted = self.to_do
        self.seconds = 0.0
        self.unknown = 0

    def _finished(self, config: DictConfig) -> Subject | None:
        """The run as it is to be looked into; None if there is nothing to do."""
        trained = trained_run(config)
        return trained if is_missing(self.analysis, trained) else None

    def estimate(self) -> None:
        """Measure ``seconds``."""
        result = analysis_seconds([(self.analysis, subject) for subject in self.counted.values()])
        self.seconds = sum(seconds for seconds in result if seconds is not None)
        self.unknown = result.count(None)


def count_once(parts: Iterable[Part], analyses: Iterable[AnalysisPart] = ()) -> None:
    """Leave every run and every analysis of one that is to do to the first part that has it: sets their ``counted``."""
    seen: set[str] = set()
    for part in parts:
        names = part.named_to_do
        part.counted = [config for name, config in names.items() if name not in seen]
        seen |= names.keys()
    looked: set[tuple[str, str]] = set()
    for each in analyses:
        what = f"{each.analysis.name} {json_digest(each.analysis.options)}"
        each.counted = {name: subject for name, subject in each.to_do.items() if (name, what) not in looked}
        looked |= {(name, what) for name in each.to_do}


class LinearPart:
    """Linear systems of a grid, computed as far as the records do not have them.

    Attributes:
        folder: of their results.
        kept: results of a larger grid are there; the smallest does not take their place.
        to_do: settings that are missing, each with its study.
    """

    def __init__(self, grid: str, records: Path) -> None:
        options = compose("linear_systems", [f"grid={grid}"])
        self.folder = records / LINEAR_SYSTEMS
        self.studies: list[matrix.Study] = [make(options.matrix), make(options.scalar)]
        every = [(study, name, values) for study in self.studies for name, values in study.settings()]
        missing = [
            (study, values)
            for study, name, values in every
            if stored(self.folder / f"{name}.json", values, check_linear) is None
        ]
        self.settings = len(every)
        self.superseded = grid == "smoke" and len(missing) == len(every) and any(self.folder.glob("*.json"))
        self.to_do: list[tuple[matrix.Study, dict[str, Any]]] = [] if self.superseded else missing
        self.seconds = 0.0
        self.title = f"linear systems, grid={grid}" + (" (those of a larger grid are here)" if self.superseded else "")

    @one_thread()
    def estimate(self) -> None:
        """Measure ``seconds``: a setting of each kind for a few steps."""
        measured: dict[str, float] = {}
        for study, values in self.to_do:
            if study.kind not in measured:
                few = dataclasses.replace(cast(Any, study), steps=_MEASURED_STEPS)
                few(values)
                began = time.perf_counter()
                few(values)
                measured[study.kind] = (time.perf_counter() - began) / _MEASURED_STEPS * cast(Any, study).steps
            self.seconds += measured[study.kind]

    def run(self) -> None:
        """Compute what is missing; a kill loses the setting under way."""
        if not self.to_do:
            return
        with display():
            bar = open_bar("linear systems", self.settings)
            matrix.run_studies(self.studies, self.folder, on_setting=bar.update)
            bar.close()
