"""The plan of `make reproduce` in the terminal: what is there, what is to do, and how long it will take."""

import shlex
from collections.abc import Sequence

import torch
from rich.table import Table as RichTable
from rich.text import Text

from stablernn.experiments.parts import AnalysisPart, LinearPart, Part, count_once
from stablernn.experiments.study import Study
from stablernn.utils.console import console, duration
from stablernn.utils.wording import counted


def print_plan(profile: str, chosen: bool, studies: Sequence[Study]) -> float:
    """Measure the time of what is left and print the plan; a run of several sweeps is counted with the first.

    Returns:
        About how many seconds all of it takes: the runs, the linear systems and the analyses.
    """
    why = "a GPU is here" if torch.cuda.is_available() else "no GPU is here"
    console.print(Text.assemble(("Plan", "bold"), f": profile {profile}{'' if chosen else f' ({why})'}"))
    parts = list(dict.fromkeys(part for study in studies for part in study.parts))
    linear = [part for study in studies for part in study.linear]
    analyses = [part for study in studies for part in study.analyses()]
    count_once(parts, analyses)
    if any(part.counted for part in (*parts, *analyses)) or any(part.to_do for part in linear):
        said = "measuring a few updates and a little of each analysis that is to do, which may take some minutes"
        console.print(f"Planning: {said}")
        _measure(parts, linear, analyses)
    for data in dict.fromkeys(part.data for part in parts):
        console.print(f"  {data}: {_why(data, parts)}", soft_wrap=True)
    console.print(_table(studies, shared=any(part.shared for part in parts)))
    if studies[0].options.overrides:
        console.print(f"all of them with {studies[0].options.overrides}")
    if analyses:
        console.print(_analyses_table(analyses))
    to_do, systems = sum(len(part.counted) for part in parts), sum(len(part.to_do) for part in linear)
    seconds = sum(part.seconds for part in (*parts, *linear))
    looked_into = sum(len(part.counted) for part in analyses)
    if to_do or systems:
        total = _duration(seconds)
        what = [counted(count, kind) for count, kind in ((to_do, "run"), (systems, "linear system")) if count]
        console.print(f"{' and '.join(what)} to do, about {total} (measured on this machine)")
    else:
        only = "" if looked_into else ", only the report is written anew"
        console.print(f"Every run of this plan is done: nothing to train{only}.")
    if looked_into:
        after = sum(part.seconds for part in analyses)
        known = f"about {_duration(after)}" if after else "which takes a time that is not known"
        console.print(f"Then {counted(looked_into, 'analysis')} of the runs, {known}")
        if unknown := dict.fromkeys(part.title for part in analyses if part.unknown):
            console.print(f"  not in this time, as it is not known: {', '.join(unknown)}")
        seconds += after
        if seconds > after > 0:
            console.print(f"About {_duration(seconds)} in all")
    return seconds


def _measure(parts: Sequence[Part], linear: Sequence[LinearPart], analyses: Sequence[AnalysisPart]) -> None:
    threads = torch.get_num_threads()
    for part in parts:
        torch.set_num_threads(max(1, threads // part.jobs))
        part.seconds = part.estimate()
    torch.set_num_threads(threads)
    for part in (*linear, *analyses):
        part.estimate()


def _columns(*texts: str, numbers: Sequence[str]) -> RichTable:
    shown = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in texts:
        shown.add_column(head, overflow="fold")
    for head in numbers:
        shown.add_column(head, justify="right")
    return shown


def _table(studies: Sequence[Study], shared: bool) -> RichTable:
    """A line for each sweep, under the first study that has it."""
    several = len(studies) > 1
    shown = _columns("corpus", "sweep", numbers=("runs", "done", *(["above"] if shared else []), "about"))
    everywhere = shlex.split(studies[0].options.overrides or "")
    listed: set[Part] = set()
    for study in studies:
        new = [part for part in study.parts if part not in listed]
        if several:
            shown.add_row("", f"[bold]{study.name}[/]" + ("" if new or study.linear else ": the sweeps above"))
        for part in new:
            own = " ".join(option for option in part.sweep if option not in everywhere)
            counts = [len(part.configs), len(part.configs) - len(part.to_do), *([part.shared] if shared else [])]
            shown.add_row(part.data, own, *map(str, counts), _duration(part.seconds))
        for part in study.linear:
            counts = [part.settings, part.settings - len(part.to_do), *([0] if shared else [])]
            shown.add_row("no data", part.title, *map(str, counts), _duration(part.seconds))
        listed.update(study.parts)
    return shown


def _analyses_table(analyses: Sequence[AnalysisPart]) -> RichTable:
    """A line for each analysis, of all studies together; ngram is a view of truncation, which counts once."""
    shown = _columns("analysis", numbers=("runs", "to do", "about"))
    for title in dict.fromkeys(part.title for part in analyses):
        alike = [part for part in analyses if part.title == title]
        to_do, unknown = sum(len(part.counted) for part in alike), sum(part.unknown for part in alike)
        seconds = sum(part.seconds for part in alike)
        duration = _duration(seconds) if seconds or not unknown else "not known"
        shown.add_row(title, str(sum(part.runs for part in alike)), str(to_do), duration)
    return shown


def _why(data: str, parts: Sequence[Part]) -> str:
    if data == "embedded":
        return "made here from a seed; its best possible perplexity is known, which shows whether the harness is right"
    dataset = next(part.configs[0].dataset for part in parts if part.data == data)
    if "path" not in dataset:
        return f"made by {dataset['_target_']}"
    return f"real text, read from {dataset.path}" if dataset.path else "real text, from the hub"


def _duration(seconds: float) -> str:
    return "–" if seconds == 0 else duration(seconds)
