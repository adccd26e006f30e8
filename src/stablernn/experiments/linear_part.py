"""The linear systems as a part of `make reproduce`: what is missing of a grid, how long it takes, carrying it out."""

import dataclasses
import time
from pathlib import Path
from typing import Any, cast

from stablernn.analysis.linear.matrix import Study, carry_out
from stablernn.analysis.runner import stored
from stablernn.config.compose import compose
from stablernn.config.instantiate import make
from stablernn.records.schemas import check_linear
from stablernn.report.load import LINEAR_SYSTEMS
from stablernn.utils.console import display, open_bar
from stablernn.utils.timing import one_thread

_MEASURED_STEPS = 25


class LinearPart:
    """Settings of a grid, computed as far as the records do not have them.

    Attributes:
        folder: of their results.
        kept: results of a larger grid are there; the smallest does not take their place.
        to_do: settings that are missing, each with its study.
    """

    def __init__(self, grid: str, records: Path) -> None:
        options = compose("linear_systems", [f"grid={grid}"])
        self.grid = grid
        self.folder = records / LINEAR_SYSTEMS
        self.studies: list[Study] = [make(options.matrix), make(options.scalar)]
        every = [(study, name, values) for study in self.studies for name, values in study.settings()]
        missing = [
            (study, values)
            for study, name, values in every
            if stored(self.folder / f"{name}.json", values, check_linear) is None
        ]
        self.settings = len(every)
        self.kept = grid == "smoke" and len(missing) == len(every) and any(self.folder.glob("*.json"))
        self.to_do: list[tuple[Study, dict[str, Any]]] = [] if self.kept else missing
        self.seconds = 0.0

    @property
    def title(self) -> str:
        return f"linear systems, grid={self.grid}" + (" (those of a larger grid are here)" if self.kept else "")

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

    def carry_out(self) -> None:
        """Compute what is missing; a kill loses the setting under way."""
        if not self.to_do:
            return
        with display():
            bar = open_bar("linear systems", self.settings)
            carry_out(self.studies, self.folder, on_setting=bar.update)
            bar.close()
