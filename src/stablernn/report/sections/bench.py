"""The table of step times, from the JSON that a benchmark leaves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from stablernn.report.formats import markdown
from stablernn.report.load import load_bench
from stablernn.report.sections.jobs import jobs_table
from stablernn.report.sections.sequences import curve_table, memory_table, sequence_table, sequences_markdown
from stablernn.report.write import rich_table
from stablernn.utils.console import console
from stablernn.utils.escaping import markdown_cell, markdown_text
from stablernn.utils.files import write_text

_HEADS = (
    "model",
    "stability",
    "approximation",
    "d",
    "batch",
    "ours ms",
    "tokens/s",
    "plain ms",
    "plain / ours",
    "at most",
    "plain oneDNN / ours",
    "head %",
    "recurrence %",
    "update %",
    "projection %",
    "GFLOP/s",
    "of ceiling %",
    "products %",
    "memory MB",
    "plain MB",
)
_LEFT = 3


def write_bench(steps: Path, lengths: Path, jobs: Path, goals: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Tables and figures of the measurements that there are, printed and written; returns the files."""
    written = []
    if (measured := load_bench(steps, "step")) is not None:
        print_bench(measured)
        write_text(steps.with_suffix(".md"), bench_markdown(measured, goals))
        written.append(steps.with_suffix(".md"))
    if (measured := load_bench(lengths, "sequences")) is not None:
        shown = [sequence_table(measured)] if measured.get("cases") else []
        for table in (*shown, memory_table(measured), curve_table(measured)):
            if table is not None:
                console.print(rich_table(table))
        write_text(lengths.with_suffix(".md"), sequences_markdown(measured, "Feed-forward against recurrent"))
        written.append(lengths.with_suffix(".md"))
    if (measured := load_bench(jobs, "jobs")) is not None:
        shown = jobs_table(measured)
        console.print(rich_table(shown))
        write_text(jobs.with_suffix(".md"), markdown(shown))
        written.append(jobs.with_suffix(".md"))
    return written


def print_bench(measured: Mapping[str, Any]) -> None:
    """What fits a terminal: case, times and ratio."""
    heads, *rows = bench_rows(measured)
    shown = [heads.index(head) for head in ("ours ms", "plain ms", "plain / ours", "at most", "projection %")]
    table = Table(title=Text(f"One training step on {measured['hardware']}"), box=None, padding=(0, 2, 0, 0))
    table.add_column("case", no_wrap=True)
    for column in shown:
        table.add_column(heads[column], justify="right")
    names = [
        name + ("" if contender == "auto" else f" ({contender})")
        for name, case in _cases(measured)
        for contender in _contenders(case)
    ]
    for name, row in zip(names, rows, strict=True):
        table.add_row(Text(name), *(Text(row[column]) for column in shown))
    console.print(table)
    heads, *rows = constraint_rows(measured)
    table = Table(title="With and without each constraint", box=None, padding=(0, 2, 0, 0))
    for column, head in enumerate(heads):
        table.add_column(head, justify="left" if column < 2 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def constraint_rows(measured: Mapping[str, Any]) -> list[list[str]]:
    """One row a constraint and size; the first is the heads."""
    rows = [["model", "stability", "d", "without ms", "projecting ms", "every", "with / without"]]
    for case in sorted(measured.get("constraints", {}).values(), key=lambda case: (case["model"], case["size"])):
        seconds = case["seconds"]
        times = [_milliseconds(seconds["without"]), _milliseconds(seconds["with"])]
        rows.append(
            [case["model"], case["stability"], str(case["size"]), *times, str(case["every"]), f"{case['ratio']:.3f}"]
        )
    return rows


def _contenders(case: Mapping[str, Any]) -> list[str]:
    return [name for name in ("auto", "float32", "bf16") if name in case["seconds"]]


def _cases(measured: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Name and case, recurrent before feed-forward, small before large."""
    keys = ("batch", "size", "model", "stability")
    return sorted(measured["cases"].items(), key=lambda item: (item[1]["k"] or 0, *(item[1][key] for key in keys)))


def bench_rows(measured: Mapping[str, Any]) -> list[list[str]]:
    """One row a case and precision; the first is the heads."""
    rows: list[list[str]] = [list(_HEADS)]
    for _, case in _cases(measured):
        rows += [_row(case, name, measured["ceiling"]) for name in _contenders(case)]
    return rows


def _row(case: Mapping[str, Any], contender: str, ceilings: Mapping[str, float]) -> list[str]:
    seconds = case["seconds"]
    ours, plain = seconds[contender], seconds["plain"]
    precision = case["precision"] if contender == "auto" else contender
    ceiling = ceilings["bfloat16"] if precision != "float32" and "bfloat16" in ceilings else ceilings["float32"]
    reached = case["products"] / ours
    parts = case["parts"] if contender == "auto" else {}
    whole = sum(parts.values())
    shares = [f"{100 * parts[part] / whole:.1f}" if parts else "" for part in _PARTS]
    tokens = case["batch"] * 35
    onednn = seconds.get("plain_onednn")
    return [
        case["model"] + ("" if contender == "auto" and precision == "float32" else f" ({precision})"),
        case["stability"],
        "recurrent" if case["k"] is None else f"feed-forward k={case['k']}",
        str(case["size"]),
        str(case["batch"]),
        _milliseconds(ours),
        f"{tokens / ours:,.0f}",
        _milliseconds(plain),
        f"{plain / ours:.2f}",
        f"{plain / (case['products'] / ceiling):.2f}",
        f"{onednn / ours:.2f}" if onednn else "",
        *shares,
        f"{reached / 1e9:.0f}",
        f"{100 * reached / ceiling:.0f}",
        f"{100 * alone / ours:.0f}" if (alone := case.get("products_seconds", {}).get(contender)) else "",
        f"{case['memory'][contender] / 1e6:.0f}",
        f"{case['memory']['plain'] / 1e6:.0f}",
    ]


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.0f}" if seconds >= 0.1 else f"{seconds * 1e3:.2f}"


_PARTS = ("head", "recurrence", "update", "projection")


def bench_markdown(measured: Mapping[str, Any], goals: Sequence[Mapping[str, Any]]) -> str:
    """Table, how to read it, and what became of the goals."""
    heads, *rows = bench_rows(measured)
    lines = [
        f"# One training step on {markdown_text(measured['hardware'])}",
        "",
        "| " + " | ".join(heads) + " |",
        "|" + "|".join(" --- " if column < _LEFT else " ---: " for column in range(len(heads))) + "|",
        *("| " + " | ".join(map(markdown_cell, row)) + " |" for row in rows),
        "",
        "33,278 types, windows of 35 steps. *plain*: the loop that everybody writes (`nn.LSTM`, `nn.Linear`, "
        "`CrossEntropyLoss`, `clip_grad_norm_`, dense SGD; a stable RNN clips its singular values by an SVD a step; a "
        "feed-forward model cuts a window for every position), in a process with the C library's own memory settings. "
        "Medians of alternating steps in one process. *at most*: plain / ours if the step were nothing but its matrix "
        f"products at the highest rate measured here ({_rates(measured['ceiling'])}). *memory*: what a step takes at "
        "its peak beyond the weights. *products*: the time of the step's matrix products alone, in the same precision "
        "and the same rounds, as a share of the step.",
        "",
        *(_verdict(measured, goal) for goal in goals if goal.get("device", "") in measured["hardware"]),
        *(_packed(measured, name, rates) for name, rates in measured.get("packed", {}).items()),
    ]
    heads, *rows = constraint_rows(measured)
    if rows:
        lines += [
            "",
            "## With and without each constraint",
            "",
            "| " + " | ".join(heads) + " |",
            "|" + "|".join(" --- " if column < 2 else " ---: " for column in range(len(heads))) + "|",
            *("| " + " | ".join(map(markdown_cell, row)) + " |" for row in rows),
            "",
            "Recurrent models, batch 20, alternating steps in one process. *projecting*: an update with a "
            "projection behind it, which is one update in *every*; *with / without*: the average update against one "
            "without.",
        ]
    return "\n".join(lines).rstrip() + "\n"


def _rates(ceilings: Mapping[str, float]) -> str:
    return ", ".join(f"{rate / 1e9:,.0f} GFLOP/s in {markdown_text(name)}" for name, rate in ceilings.items())


def _packed(measured: Mapping[str, Any], name: str, rates: Mapping[str, float]) -> str:
    """Throughput of several runs at once."""
    case = measured["cases"][name]
    plain = case["batch"] * 35 / case["seconds"]["plain"]
    shown = ", ".join(f"{jobs}: {rate:,.0f} ({rate / plain:.1f})" for jobs, rate in rates.items())
    return f"- {markdown_text(name)}, tokens/s of so many runs at once (times plain): {shown}"


def _verdict(measured: Mapping[str, Any], goal: Mapping[str, Any]) -> str:
    """What was aimed at and what was measured; where it was missed, how much of the step is products."""
    case = measured["cases"].get(goal["case"])
    if case is None:
        return f"- {goal['case']}: not measured here"
    if "projection_share" in goal:
        share = case["parts"]["projection"] / sum(case["parts"].values())
        met = "met" if share <= goal["projection_share"] else "missed"
        return f"- {goal['case']}: projection {share:.1%} of the step, goal {goal['projection_share']:.0%}: {met}"
    if "products_share" in goal:
        alone = case.get("products_seconds", {}).get(goal["precision"])
        if alone is None:
            return f"- {goal['case']}: products alone not measured here"
        share = alone / case["seconds"][goal["precision"]]
        met = "met" if share >= goal["products_share"] else "missed"
        return (
            f"- {goal['case']}, precision={goal['precision']}: products {share:.0%} of the step, goal "
            f"{goal['products_share']:.0%}: {met}"
        )
    seconds = case["seconds"]
    if "packed" in goal:
        best = max(measured["packed"].get(goal["case"], {"1": 0.0}).values())
        ratio = best * seconds["plain"] / (case["batch"] * 35)
        met = "met" if ratio >= goal["packed"] else "missed"
        return f"- {goal['case']}, runs at once: {ratio:.2f} times plain's throughput, goal {goal['packed']}: {met}"
    contender = "float32" if goal["precision"] == "float32" and "float32" in seconds else "auto"
    ratio = seconds["plain"] / seconds[contender]
    text = f"- {goal['case']}, precision={goal['precision']}: {ratio:.2f}, goal {goal['ratio']}"
    if ratio >= goal["ratio"]:
        return f"{text}: met"
    rate = measured["ceiling"]["float32" if case["precision"] == "float32" else "bfloat16"]
    products = case["products"] / rate
    return (
        f"{text}: missed by {goal['ratio'] - ratio:.2f}. auto is {case['precision']} on this processor, and the step's "
        f"products alone take {products * 1e3:.0f} ms at the highest measured rate: the most that can be reached here "
        f"is {seconds['plain'] / products:.2f}"
    )
