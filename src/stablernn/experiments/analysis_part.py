"""An analysis as a part of `make reproduce`: of which runs it is missing, and how long it takes."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path

from omegaconf import DictConfig

from stablernn.analysis.estimate import Planned, Subject, analysis_seconds
from stablernn.analysis.runner import Analysis, is_missing
from stablernn.config.compose import compose
from stablernn.config.identity import run_id
from stablernn.config.instantiate import make
from stablernn.experiments.sweep_part import Part, SearchPart
from stablernn.records.record import read_run
from stablernn.training.build import pick_device
from stablernn.training.outcome import finished
from stablernn.training.trained import Trained
from stablernn.utils.files import json_digest


def analysis_of(entry: DictConfig, profile: str) -> Analysis:
    """What an entry under ``analyses`` of conf/reproduce/plan.yaml stands for at a profile."""
    chosen = [f"analysis={entry.analysis}", *entry.get("options", []), *entry.get(profile, [])]
    return make(compose("analyze", chosen).analysis)


class AnalysisPart:
    """One analysis of a study's runs.

    Attributes:
        title: what ``analysis=`` chooses.
        analysis: with its options.
        runs: how many it is of.
        to_do: those runs of which it is not known yet, by their ids.
        counted: those of ``to_do`` that no part before it has as well (``count_analyses_once``).
        seconds: about so many that ``counted`` takes, as far as that is known; once the plan has measured it.
        unknown: how many of ``counted`` nobody knows the time of.
    """

    def __init__(self, entry: DictConfig, profile: str, parts: Iterable[Part]) -> None:
        self.title: str = entry.analysis
        self.analysis = analysis_of(entry, profile)
        configs = {
            run_id(config): config for part in parts if not isinstance(part, SearchPart) for config in part.configs
        }
        chosen = {name: config for name, config in configs.items() if fnmatch(name, entry.run)}
        self.runs = len(chosen)
        subjects = {name: self._subject(name, config) for name, config in chosen.items()}
        self.to_do: dict[str, Subject] = {name: subject for name, subject in subjects.items() if subject is not None}
        self.counted = self.to_do
        self.seconds = 0.0
        self.unknown = 0

    def _subject(self, name: str, config: DictConfig) -> Subject | None:
        """The run as it is to be looked into; None if there is nothing to do."""
        if not finished(config):
            return Planned(config)
        folder = Path(config.runs) / name
        trained = Trained(folder, read_run(folder), config.dataset.get("path"), pick_device(config.device))
        return trained if is_missing(self.analysis, trained) else None

    def estimate(self) -> None:
        """Measure ``seconds``."""
        result = analysis_seconds([(self.analysis, subject) for subject in self.counted.values()])
        self.seconds = sum(seconds for seconds in result if seconds is not None)
        self.unknown = result.count(None)


def count_analyses_once(parts: Sequence[AnalysisPart]) -> None:
    """Leave what several studies look into, or look at in several ways, to the first: sets ``counted`` of each."""
    seen: set[tuple[str, str]] = set()
    for part in parts:
        what = f"{part.analysis.name} {json_digest(part.analysis.options)}"
        part.counted = {name: subject for name, subject in part.to_do.items() if (name, what) not in seen}
        seen |= {(name, what) for name in part.to_do}
