"""`make reproduce`: the plan, the runs, the report."""

import shutil
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

import torch
from omegaconf import DictConfig
from rich.table import Table as RichTable

from stablernn.analysis.analyse import analyse
from stablernn.compose import CONFIG_FOLDER, compose
from stablernn.config import check, make
from stablernn.console import console, display, log, open_bar
from stablernn.errors import ConfigurationError, DataError, StableRNNError
from stablernn.linear_part import LinearPart
from stablernn.parts import Part, SearchPart, chain
from stablernn.record import HISTORY_FILE
from stablernn.report.linear_systems import NAME as LINEAR_SYSTEMS
from stablernn.report.load import load_records
from stablernn.report.write import print_linear_systems, print_report, write_report
from stablernn.training.trained import Trained


def reproduce(options: DictConfig) -> None:
    """Print the plan, carry it out, publish the records, write and print the report.

    Raises:
        StableRNNError: the plan cannot be made, or some of its runs failed.
    """
    profile = options.profile
    if profile == "auto":
        profile = "paper" if torch.cuda.is_available() else "quick"
    study = options.study
    if study not in options.plans:
        raise ConfigurationError(f"study={study} does not exist: choose {', '.join(options.plans)}")
    plans = options.plans[study]
    if profile not in plans:
        raise ConfigurationError(f"profile={profile} does not exist: choose {', '.join(('auto', *plans))}")
    results = Path(options.results)
    sweeps = [(_at(entry.sweep, profile), entry.side_by_side) for entry in plans[profile] if "sweep" in entry]
    parts = chain(sweeps, options)
    linear = [
        LinearPart(entry.linear_systems, results / "records") for entry in plans[profile] if "linear_systems" in entry
    ]
    parts = _on_dataset(parts, options.dataset)
    for part in parts:
        for config in part.configs:
            check(config)
    if parts:
        parts = _available(parts, asked=options.dataset != "auto")
    _print_plan(profile, options, parts, linear)

    failures, left = [], 0
    for part in parts:
        failed, in_use = part.carry_out()
        failures += failed
        left += in_use
    runs = [trained for part in parts for trained in part.trained()]
    failures += _analyse(options.analyses[study], runs, profile)
    for part in linear:
        part.carry_out()
    home = options.published_with.get(study, study)
    _publish(runs, results / "records" / profile / home, {part.data for part in parts} if home == study else set())
    for part in parts:
        if isinstance(part, SearchPart):
            part.publish(results / "records" / profile / "search")
    files = write_report(results / "records", results, Path(options.readme) if options.readme else None)
    print_report(results / "records" / profile / home, study)
    for part in linear if study == LINEAR_SYSTEMS else []:
        print_linear_systems(part.folder)
    *others, page = files
    tables = [path for path in others if path.suffix == ".md"]
    console.print(
        f"written: {', '.join(map(str, tables))} (and .csv, .tex) and the figures in {results / 'figures'}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"the page with the verdicts: {page}", highlight=False, soft_wrap=True)
    if left:
        console.print(
            f"{left} runs are left to other processes (see above); the same command adds them once they are done"
        )
    if failures:
        raise StableRNNError(f"{len(failures)} runs failed (see above); the same command tries them again")


def _at(sweep: Sequence[str], profile: str) -> list[str]:
    """A sweep with its experiment's variant for a profile, where there is one: experiment=x -> experiment=x_cpu."""

    def variant(option: str) -> str:
        name = f"{option}_{profile}"
        exists = (CONFIG_FOLDER / "experiment" / f"{name.removeprefix('experiment=')}.yaml").is_file()
        return name if option.startswith("experiment=") and exists else option

    return [variant(option) for option in sweep]


def _analyse(entries: Sequence[DictConfig], runs: Sequence[Trained], profile: str) -> list[str]:
    """Carry out a study's analyses; the ids of the runs whose analysis failed."""
    failed = []
    with display():
        for entry in entries:
            chosen = [f"analysis={entry.analysis}", *entry.get("options", []), *entry.get(profile, [])]
            analysis = make(compose("analyze", chosen).analysis)
            looked_into = [trained for trained in runs if fnmatch(trained.record.id, entry.run)]
            bar = open_bar(f"{analysis.name}s", len(looked_into))
            for number, trained in enumerate(looked_into):
                bar.update(number)
                try:
                    list(analyse(analysis, [trained]))
                except StableRNNError as error:
                    log.error(f"{analysis.name} of {trained.record.id} failed: {error}")
                    failed.append(trained.record.id)
            bar.close()
    return failed


def _on_dataset(parts: list[Part], dataset: str) -> list[Part]:
    """The plan's parts for one data set; one that the plan does not name takes the place of the text that it does."""
    if dataset == "auto" or not parts:
        return parts
    named = [part for part in parts if part.data == dataset]
    replaced = [part for part in parts if part.data != "embedded"] or parts
    return named or chain([([*p.sweep, f"dataset={dataset}"], p.side_by_side) for p in replaced], parts[0].options)


def _available(parts: list[Part], asked: bool) -> list[Part]:
    """The parts whose data can be had; says what is left out and why.

    Raises:
        DataError: a data set that was asked for by name, or a folder that was named, is not there.
    """
    kept: list[Part] = []
    missing: dict[str, str] = {}
    for part in parts:
        config = part.configs[0].dataset
        if part.to_do and part.data not in {p.data for p in kept} | missing.keys():
            try:
                make(config).load()
            except DataError as error:
                if asked or config.get("path"):
                    raise
                missing[part.data] = str(error)
        if part.data not in missing:
            kept.append(part)
    for data, why in missing.items():
        console.print(f"[yellow]Left out: {data}[/]. {why}", soft_wrap=True, highlight=False)
    if not kept:
        raise ConfigurationError("nothing of this plan can be run here; add DATASET=embedded for what needs no data")
    return kept


def _print_plan(profile: str, options: DictConfig, parts: list[Part], linear: list[LinearPart]) -> None:
    why = "a GPU is here" if torch.cuda.is_available() else "no GPU is here"
    console.print(
        f"[bold]Plan[/]: profile {profile}" + (f" ({why})" if options.profile == "auto" else ""),
        highlight=False,
    )
    to_do = [config for part in parts for config in part.to_do]
    if to_do:
        threads = torch.get_num_threads()
        for part in parts:
            torch.set_num_threads(max(1, threads // part.jobs))
            part.seconds = part.estimate()
        torch.set_num_threads(threads)
    for part in linear:
        part.estimate()
    for data in dict.fromkeys(part.data for part in parts):
        console.print(f"  {data}: {_why(data, parts)}", soft_wrap=True, highlight=False)
    shown = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head, justify in (
        ("corpus", "left"),
        ("sweep", "left"),
        ("runs", "right"),
        ("done", "right"),
        ("at most", "right"),
    ):
        shown.add_column(head, justify=justify)  # type: ignore[arg-type]
    for part in parts:
        done = len(part.configs) - len(part.to_do)
        shown.add_row(part.data, " ".join(part.sweep), str(len(part.configs)), str(done), _duration(part.seconds))
    for part in linear:
        done = part.settings - len(part.to_do)
        shown.add_row("no data", part.title, str(part.settings), str(done), _duration(part.seconds))
    console.print(shown)
    systems = sum(len(part.to_do) for part in linear)
    if to_do or systems:
        total = _duration(sum(part.seconds for part in (*parts, *linear)))
        what = [f"{count} {kind}" for count, kind in ((len(to_do), "runs"), (systems, "linear systems")) if count]
        console.print(f"{' and '.join(what)} to do, about {total} (measured on this machine)", highlight=False)
    else:
        console.print("Every run of this plan is done: nothing to train, only the report is written anew.")
    if analyses := options.analyses[options.study]:
        names = ", ".join(entry.analysis for entry in analyses)
        console.print(f"Then what is not known yet of the runs, not in this time: {names}", highlight=False)


def _why(data: str, parts: Sequence[Part]) -> str:
    if data == "embedded":
        return "made here from a seed; its best possible perplexity is known, which shows whether the harness is right"
    path = next(part.configs[0].dataset.path for part in parts if part.data == data)
    return f"real text, read from {path}" if path else "real text, from the hub"


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    if seconds == 0:
        return "–"
    return f"{minutes / 60:.1f} h" if minutes >= 90 else f"{max(minutes, 0.1):.1f} min"


def _publish(runs: Sequence[Trained], folder: Path, data: set[str]) -> None:
    """Copy the study's records and analyses to where reports read them; older ones of the same data make room."""
    for old in load_records(folder) if folder.is_dir() else []:
        if old.data["name"] in data:
            shutil.rmtree(folder / old.id, ignore_errors=True)
    for trained in runs:
        target = folder / trained.record.id
        target.mkdir(parents=True, exist_ok=True)
        for path in (*trained.folder.glob("*.json"), trained.folder / HISTORY_FILE):
            shutil.copyfile(path, target / path.name)
