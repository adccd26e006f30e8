"""`make reproduce`: the plan, the runs, the report."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig
from rich.text import Text

from stablernn.config.compose import choices, literal, nearest
from stablernn.config.instantiate import make
from stablernn.config.validate import check
from stablernn.experiments.destinations import located
from stablernn.experiments.parts import LinearPart, Part, chain
from stablernn.experiments.plan import print_plan
from stablernn.experiments.study import Study
from stablernn.report.write import around_answer, print_conclusions, write_report
from stablernn.utils.console import console, display, duration, log
from stablernn.utils.errors import ConfigurationError, DataError, MissingPackageError, StableRNNError
from stablernn.utils.wording import counted

ALL = "all"
DAY = 24 * 3600.0  # seconds


def reproduce(options: DictConfig) -> None:
    """Print the plan, carry it out study by study, publish the records, write and print the report.

    Raises:
        StableRNNError: the plan cannot be made, or some of its runs or one of several studies failed.
        ConfigurationError: ``readme`` has no place for the table; nothing is run.
    """
    with nullcontext() if options.progress else display(False):
        _reproduce(located(options))


def _reproduce(options: DictConfig) -> None:
    profile = options.profile
    if profile == "auto":
        profile = "paper" if torch.cuda.is_available() else "quick"
    readme = Path(options.readme) if options.readme else None
    if readme is not None:
        around_answer(readme)  # refused now, and not after hours of training
    console.print(f"Planning: composing the runs of profile {profile} and looking for their data")
    studies = _available(studies_of(options, profile), asked=options.dataset != "auto")
    seconds = print_plan(profile, options.profile != "auto", studies)
    if options.plan_only:
        return
    if seconds > DAY and not options.confirm:
        _ask(seconds)

    failures = []
    for number, study in enumerate(studies, start=1):
        if len(studies) > 1:
            console.print(f"{study.name} (study {number} of {len(studies)})", style="bold")
        try:
            failed = study.run()
        except Exception as error:  # the other studies have a right to continue
            if len(studies) == 1:
                raise
            log.error(f"{study.name} failed: {error}", exc_info=not isinstance(error, StableRNNError))
            failures.append(f"{study.name} failed")
            continue
        if failed:
            of = f" of {study.name}" if len(studies) > 1 else ""
            failures.append(f"{counted(len(failed), 'run')}{of} failed")
    results = Path(options.results)
    files, undrawn = [], None
    try:
        files = write_report(results / "records", results, readme)
    except MissingPackageError as error:  # the runs are done all the same
        undrawn = error
    for study in studies:
        study.print()
    if (results / "records").is_dir():
        print_conclusions(results / "records", results, {study.name for study in studies}, options.runs, profile)
    if files:
        console.print(f"tables and figures: {results / 'tables'}, {results / 'figures'}", soft_wrap=True)
        console.print(f"the page with the verdicts: {files[-1]}", soft_wrap=True)
    if failures:
        raise StableRNNError(f"{', '.join(failures)} (see above); the same command tries them again")
    if undrawn:
        raise undrawn


def _ask(seconds: float) -> None:
    """Go on only if somebody says so; raises ConfigurationError otherwise."""
    said = f"this plan takes about {duration(seconds)} on this machine"
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigurationError(f"{said}: add confirm=true (make CONFIRM=1) to start it, or choose another profile")
    if console.input(f"{said}. Start it? [y/N] ", markup=False).strip().lower() not in ("y", "yes"):
        raise ConfigurationError("not started: confirm=true starts it without a question")


def studies_of(options: DictConfig, profile: str) -> list[Study]:
    """The studies that ``options.study`` names, ``all`` or one; sweeps that they share are the same parts.

    Raises:
        ConfigurationError: there is no such study or profile, or a run cannot be made.
    """
    options = located(options)
    if options.study not in (*options.plans, ALL):
        raise _unknown("study", options.study, (ALL, *options.plans))
    overrides = [literal(option) for option in shlex.split(options.overrides or "")]
    # Of a data set that is chosen, so that not every text of the plan has them: dataset.path of text_folder.
    own = [option for option in overrides if options.dataset != "auto" and option.startswith("dataset.")]
    overrides = [option for option in overrides if option not in own]
    known: dict[Any, Part] = {}
    results = []
    for name in options.all if options.study == ALL else [options.study]:
        if profile not in options.plans[name]:
            if profile == "lease":
                raise ConfigurationError("profile=lease: scripts/gpu_lease.py carries it out (docs/gpu.md)")
            raise _unknown("profile", profile, ("auto", *options.plans[name]))
        entries = list(_flat(options.plans[name][profile]))
        sweeps = [
            ([*_at(entry.sweep, profile), *overrides], entry.side_by_side) for entry in entries if "sweep" in entry
        ]
        parts = _on_dataset(chain(sweeps, options, known), options.dataset, known, own)
        grids = [entry.linear_systems for entry in entries if "linear_systems" in entry]
        linear = [LinearPart(grid, Path(options.results) / "records") for grid in grids]
        results.append(Study(name, profile, parts, linear, options))
    for part in dict.fromkeys(part for study in results for part in study.parts):
        for config in part.configs:
            check(config)
    return results


def _unknown(option: str, value: object, known: Sequence[str]) -> ConfigurationError:
    return ConfigurationError(f"{option}={value} does not exist: choose {', '.join(known)}{nearest(str(value), known)}")


def _flat(entries: ListConfig) -> Iterator[DictConfig]:
    """The entries of a plan; one that is a list stands for its own, as a list of YAML cannot be put into another."""
    for entry in entries:
        yield from entry if isinstance(entry, ListConfig) else [entry]


def _at(sweep: Sequence[str], profile: str) -> list[str]:
    """A sweep with its experiment's variant for a profile, where there is one: experiment=x -> experiment=x_cpu."""

    def variant(option: str) -> str:
        name = f"{option}_{profile}"
        group, _, choice = name.partition("=")
        return name if group == "experiment" and choice in choices(group) else option

    return [variant(option) for option in sweep]


def _on_dataset(
    parts: list[Part], dataset: str, known: dict[Any, Part] | None = None, own: Sequence[str] = ()
) -> list[Part]:
    """The plan's parts for one data set; one that the plan does not name takes the place of the text that it does."""
    if dataset == "auto" or not parts:
        return parts
    named = [part for part in parts if part.data == dataset]
    if named and not own:
        return named
    replaced = named or [part for part in parts if part.data != "embedded"] or parts
    sweeps = [([*part.sweep, f"dataset={dataset}", *own], part.side_by_side) for part in replaced]
    return chain(sweeps, parts[0].options, known)


def _available(studies: list[Study], asked: bool) -> list[Study]:
    """The studies with the parts whose data can be had; says what is left out and why.

    Raises:
        DataError: a data set that was asked for by name, or a folder that was named, is not there.
    """
    tried: set[str] = set()
    missing: dict[str, str] = {}
    for part in (part for study in studies for part in study.parts):
        config = part.configs[0].dataset
        if part.to_do and part.data not in tried:
            tried.add(part.data)
            try:
                make(config).load()
            except DataError as error:
                if asked or config.get("path"):
                    raise
                missing[part.data] = str(error)
    for data, why in missing.items():
        console.print(Text.assemble((f"Left out: {data}", "yellow"), f". {why}"), soft_wrap=True)
    possible = []
    for study in studies:
        parts = [part for part in study.parts if part.data not in missing]
        if parts or not study.parts:
            study.parts = parts
            possible.append(study)
        elif len(studies) > 1:
            console.print(f"Left out: the study {study.name}, which has no other data", style="yellow")
    if not possible:
        raise ConfigurationError("nothing of this plan can be run here; add dataset=embedded for what needs no data")
    return possible
