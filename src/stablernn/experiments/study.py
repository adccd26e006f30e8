"""One study of `make reproduce`: its sweeps run, analysed, and published where reports read them."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from omegaconf import DictConfig

from stablernn.analysis.runner import analyse
from stablernn.experiments.parts import AnalysisPart, LinearPart, Part, SearchPart, analysis_of, text_of
from stablernn.records.record import HISTORY_FILE
from stablernn.report.load import LINEAR_SYSTEMS, load_records
from stablernn.report.write import print_linear_systems, print_report
from stablernn.training.trained import Trained
from stablernn.utils.console import display, log, open_bar
from stablernn.utils.errors import StableRNNError
from stablernn.utils.files import copy_file, refuse_links


@dataclass
class Study:
    """A study at one profile."""

    name: str
    profile: str
    parts: list[Part]
    linear: list[LinearPart]
    options: DictConfig

    def analyses(self) -> list[AnalysisPart]:
        """What its runs are looked into by, in the order of the plan."""
        return [AnalysisPart(entry, self.profile, self.parts) for entry in self.options.analyses[self.name]]

    @property
    def home(self) -> Path:
        """The folder of its published records; a diagnostic's are those of the study that its runs belong to."""
        return self._records / self.profile / self.options.published_with.get(self.name, self.name)

    @property
    def _records(self) -> Path:
        return Path(self.options.results) / "records"

    def run(self) -> list[str]:
        """Do what is left and publish; one line for each run that failed.

        Raises:
            StableRNNError: its search did not come to an end, so that nothing was published.
        """
        failures = [failed for part in self.parts for failed in part.run()]
        runs = [trained for part in self.parts for trained in part.trained()]
        failures += _analyse(self.options.analyses[self.name], runs, self.profile)
        for part in self.linear:
            part.run()
        own = self.home.name == self.name
        publish(runs, self.home, set().union(*(part.texts() for part in self.parts)) if own else set())
        for part in self.parts:
            if isinstance(part, SearchPart):
                part.publish(self._records / self.profile / "search")
        return failures

    def print(self) -> None:
        """Its tables in the terminal."""
        print_report(self.home, self.name)
        for part in self.linear if self.name == LINEAR_SYSTEMS else []:
            print_linear_systems(part.folder)


def _analyse(entries: Sequence[DictConfig], runs: Sequence[Trained], profile: str) -> list[str]:
    """Carry out a study's analyses; the ids of the runs whose analysis failed."""
    failed = []
    with display():
        for entry in entries:
            analysis = analysis_of(entry, profile)
            looked_into = [trained for trained in runs if fnmatch(trained.record.id, entry.run)]
            bar = open_bar(f"{analysis.name}s", len(looked_into))
            for number, trained in enumerate(looked_into):
                bar.update(number)
                try:
                    list(analyse(analysis, [trained]))
                except Exception as error:  # also a bug, or a device that fails: the records are published all the same
                    bug = not isinstance(error, StableRNNError)
                    log.error(f"{analysis.name} of {trained.record.id} failed: {error}", exc_info=bug)
                    failed.append(trained.record.id)
            bar.close()
    return failed


def publish(runs: Sequence[Trained], folder: Path, texts: set[tuple[str, str | None]]) -> None:
    """Copy the study's records and analyses to where reports read them; older ones of the same data make room."""
    refuse_links(folder)
    for old in load_records(folder) if folder.is_dir() else []:
        if text_of(old.config["dataset"]) in texts:
            shutil.rmtree(folder / old.id, ignore_errors=True)
    for trained in runs:
        target = folder / trained.record.id
        refuse_links(trained.folder)
        for path in (*trained.folder.glob("*.json"), trained.folder / HISTORY_FILE):
            copy_file(path, target / path.name)
