"""Analyses of trained runs: each once, its result as JSON beside the run's record."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from stablernn.records.record import DIVERGED
from stablernn.records.schemas import analysis_check
from stablernn.training.trained import Trained
from stablernn.utils.console import log, warn_once
from stablernn.utils.errors import (
    CheckpointError,
    ConfigurationError,
    DamagedFileError,
    DataError,
    NotApplicableError,
    RecordError,
)
from stablernn.utils.files import json_digest, read_json, write_json
from stablernn.utils.provenance import commit, versions

_OF_ONE_RUN = (CheckpointError, ConfigurationError, DataError, RecordError)


class Analysis(Protocol):
    """What `analysis=` chooses.

    Attributes:
        name: the result is ``<name>.json`` in the run's folder.
        options: all that changes the result; with others it is computed anew.
        needs: what a run must have: ``cells`` that recur, one running ``text``.

    One that takes a model of both directions too has an attribute ``both_directions`` that is true. One whose options
    depend on the data, where they are left open, has a method ``fit``, which returns it with these chosen for a run.
    """

    name: str
    needs: tuple[str, ...]

    @property
    def options(self) -> dict[str, Any]: ...

    def __call__(self, trained: Trained) -> dict[str, Any]: ...


def analyse(analysis: Analysis, runs: Sequence[Trained], fresh: bool = False) -> Iterator[tuple[Trained, dict]]:
    """The result of an analysis for each run, read where it is there already; diverged runs are left out,
    and those to which it does not apply. Where there are several, so is one whose weights or data are not here, or that
    is too short; a line says why.

    Args:
        analysis: to run.
        runs: finished ones.
        fresh: compute again what is there.

    Raises:
        StableRNNError: the only run cannot be analysed.
    """
    for trained in runs:
        if trained.record.status == DIVERGED:
            log.info(f"{trained.record.id}: diverged, not analysed")
            continue
        path = trained.folder / f"{analysis.name}.json"
        result = None if fresh else _stored(analysis, trained)
        if result is not None and result.get("run") != trained.record.id:
            log.warning(f"computed again: {path} is of another run ({result.get('run')!r:.240})")
            result = None
        if result is None:
            try:
                check_applies(analysis, trained)
                ours = fitted(analysis, trained)
                if changed := {key: value for key, value in ours.options.items() if value != analysis.options[key]}:
                    said = ", ".join(f"analysis.{option}={value}" for option, value in changed.items())
                    log.info(f"{trained.record.id}: {said}, as far as its data go")
                result = {"run": trained.record.id, "options": ours.options} | ours(trained)
            except NotApplicableError as error:
                log.info(f"{trained.record.id}: {error}")
                continue
            except _OF_ONE_RUN as error:
                if len(runs) == 1:
                    raise
                log.warning(f"{trained.record.id}: left out: {error}")
                continue
            write_json(path, result | {"versions": versions(), "commit": commit()})
        yield trained, result


def check_applies(analysis: Analysis, trained: Trained) -> None:
    """Raises NotApplicableError if the run has not what the analysis needs, and what its ``check`` of a run raises."""
    config = trained.config
    if "cells" in analysis.needs and config.model.get("backbone") is not None:
        why = trained.model("best").backbone.unproven
        if "k" in config.model.backbone:
            why = f"it is its own truncation, exact at k = {config.truncation.k}"
        raise NotApplicableError(
            f"not applicable: model={config.model.name} is no stack of recurrent cells{': ' * bool(why)}{why}"
        )
    if config.model.get("directions", 1) == 2 and not getattr(analysis, "both_directions", False):
        raise NotApplicableError(
            f"not applicable: model={config.model.name} reads in both directions, and analysis={analysis.name} is of a "
            "state that is carried forwards"
        )
    if "text" in analysis.needs:
        trained.text("valid")
    if check := getattr(fitted(analysis, trained), "check", None):
        check(trained)


def fitted(analysis: Analysis, subject: Any) -> Analysis:
    """The analysis as it is of a run: options that were left open are chosen by its data."""
    fit = getattr(analysis, "fit", None)
    return fit(subject) if fit else analysis


def _stored(analysis: Analysis, trained: Trained) -> dict[str, Any] | None:
    """The result that is there. The data are read only where those options were left open that they decide."""
    path = trained.folder / f"{analysis.name}.json"
    if (result := stored(path, analysis.options)) is not None or not path.exists():
        return result
    try:
        ours = fitted(analysis, trained)
    except RecordError:  # the data are not here
        return None
    return stored(path, ours.options) if ours is not analysis else None


def is_missing(analysis: Analysis, trained: Trained) -> bool:
    """Whether ``analyse`` would compute something for this run."""
    if trained.record.status == DIVERGED:
        return False
    result = _stored(analysis, trained)
    return result is None or result.get("run") != trained.record.id


def check_split(split: str) -> None:
    """Raises ConfigurationError for a split that no corpus has."""
    if split not in ("train", "valid", "test"):
        raise ConfigurationError(f"analysis.split={split} does not exist: choose train, valid or test")


def check_least(analysis: object, **least: int) -> None:
    """Raises ConfigurationError for an option of an analysis that lies below its least value; None was left open."""
    for option, value in least.items():
        if (given := getattr(analysis, option)) is not None and given < value:
            raise ConfigurationError(f"analysis.{option}={given} must be a whole number >= {value}")


def stored(
    path: Path, options: dict[str, Any], check: Callable[[dict[str, Any]], object] | None = None
) -> dict[str, Any] | None:
    """The result that is there, unless it was computed with other options; one that is damaged counts as none."""
    try:
        result = read_json(path, check or analysis_check(path.stem))
    except FileNotFoundError:
        return None
    except DamagedFileError as error:
        warn_once(f"computed again: {error}")
        return None
    return result if json_digest(result["options"]) == json_digest(options) else None
