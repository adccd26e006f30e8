"""The tables that a benchmark leaves beside its JSON: step times, lengths of sequences, several runs at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stablernn.report.curves import model_name
from stablernn.report.formats import markdown, rich_table
from stablernn.report.load import load_bench
from stablernn.report.sections.sequences import sequence_tables
from stablernn.report.table import Column, Entry, Table, key, text
from stablernn.utils.console import console
from stablernn.utils.escaping import markdown_text
from stablernn.utils.files import write_text

_WINDOW = 35  # steps
_PARTS = ("head", "recurrence", "update", "projection")


def write_bench(steps: Path, lengths: Path, jobs: Path, goals: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Tables of the measurements that there are, printed and written; returns the files."""
    written = []
    if (measured := load_bench(steps, "step")) is not None:
        written.append(
            write_tables(steps, f"One training step on {measured['hardware']}", step_tables(measured, goals))
        )
    if (measured := load_bench(lengths, "sequences")) is not None:
        title = f"Feed-forward against recurrent on {measured['hardware']}"
        written.append(write_tables(lengths, title, sequence_tables(measured)))
    if (measured := load_bench(jobs, "jobs")) is not None:
        written.append(write_tables(jobs, f"Several runs at once on {measured['hardware']}", [jobs_table(measured)]))
    return written


def write_tables(measurements: Path, title: str, tables: Sequence[Table]) -> Path:
    """Print tables and write them as Markdown beside the JSON that they are made of."""
    for table in tables:
        console.print(rich_table(table))
    path = measurements.with_suffix(".md")
    write_text(path, f"# {markdown_text(title)}\n\n" + "\n".join(map(markdown, tables)))
    return path


def step_tables(measured: Mapping[str, Any], goals: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Times of a step, and of steps with and without each constraint."""
    tables = [step_table(measured, goals)]
    return [*tables, constraint_table(measured)] if measured.get("constraints") else tables


def step_table(measured: Mapping[str, Any], goals: Sequence[Mapping[str, Any]]) -> Table:
    """A line for each case and precision; goals and throughput of several runs as remarks."""
    keys = ("batch", "size", "model", "stability")
    cases = sorted(measured["cases"].values(), key=lambda case: (case["k"] or 0, *(case[key] for key in keys)))
    columns = [
        *(text("model"), text("stability"), text("approximation"), key("d"), key("batch")),
        Column("ours ms", milliseconds),
        Column("tokens/s", ",.0f", drop=9),
        Column("plain ms", milliseconds),
        *(Column("plain / ours", ".2f"), Column("at most", ".2f"), Column("plain oneDNN / ours", ".2f", drop=8)),
        *(Column(f"{part} %", ".1f", drop=4 * (part != "projection")) for part in _PARTS),
        *(Column("GFLOP/s", ".0f", drop=3), Column("of ceiling %", ".0f", drop=2), Column("products %", ".0f", drop=1)),
        *(Column(head, ".0f", drop=1) for head in ("memory MB", "plain MB")),
    ]
    entries = [
        _entries(case, variant, measured["ceiling"])
        for case in cases
        for variant in ("auto", "float32", "bf16")
        if variant in case["seconds"]
    ]
    rates = ", ".join(f"{rate / 1e9:,.0f} GFLOP/s in {name}" for name, rate in measured["ceiling"].items())
    notes = [
        "33,278 types, windows of 35 steps",
        "plain: the loop that everybody writes (`nn.LSTM`, `nn.Linear`, `CrossEntropyLoss`, `clip_grad_norm_`, dense "
        "SGD; a stable RNN clips its singular values by an SVD a step; a feed-forward model cuts a window for every "
        "position), in a process with the C library's own memory settings",
        "medians of alternating steps in one process",
        "at most: plain / ours if the step were nothing but its matrix products at the highest rate measured here "
        f"({rates})",
        "memory: what a step takes at its peak beyond the weights",
        "products: the time of the step's matrix products alone, in the same precision and the same rounds, as a share "
        "of the step",
    ]
    remarks = [_outcome(measured, goal) for goal in goals if goal.get("device", "") in measured["hardware"]]
    remarks += [_throughput(measured, name, rates) for name, rates in measured.get("packed", {}).items()]
    return Table(f"One training step on {measured['hardware']}", columns, entries, notes, remarks)


def _entries(case: Mapping[str, Any], variant: str, ceilings: Mapping[str, float]) -> list[Entry]:
    seconds, memory = case["seconds"], case["memory"]
    ours, plain = seconds[variant], seconds["plain"]
    precision = case["precision"] if variant == "auto" else variant
    ceiling = ceilings["bfloat16"] if precision != "float32" and "bfloat16" in ceilings else ceilings["float32"]
    parts = case["parts"] if variant == "auto" else {}
    whole = sum(parts.values())
    alone = case.get("products_seconds", {}).get(variant)
    return [
        case["model"] + ("" if variant == "auto" and precision == "float32" else f" ({precision})"),
        case["stability"],
        "recurrent" if case["k"] is None else f"feed-forward k={case['k']}",
        *(case["size"], case["batch"]),
        *(ours, case["batch"] * _WINDOW / ours, plain, plain / ours),
        plain / (case["products"] / ceiling),
        seconds["plain_onednn"] / ours if "plain_onednn" in seconds else None,
        *(100 * parts[part] / whole if parts else None for part in _PARTS),
        *(case["products"] / ours / 1e9, 100 * case["products"] / ours / ceiling),
        100 * alone / ours if alone else None,
        *(memory[variant] / 1e6, memory["plain"] / 1e6),
    ]


def constraint_table(measured: Mapping[str, Any]) -> Table:
    """A line a constraint and size."""
    cases = sorted(measured["constraints"].values(), key=lambda case: (case["model"], case["size"]))
    entries: list[list[Entry]] = [
        [
            *(case["model"], case["stability"], case["size"]),
            *(case["seconds"]["without"], case["seconds"]["with"], case["every"], case["ratio"]),
        ]
        for case in cases
    ]
    columns = [text("model"), text("stability"), key("d")]
    columns += [Column(head, milliseconds) for head in ("without ms", "projecting ms")]
    columns += [Column("every"), Column("with / without", ".3f")]
    notes = [
        "recurrent models, batch 20, alternating steps in one process",
        "projecting: an update with a projection behind it, which is one update in every",
        "with / without: the average update against one without",
    ]
    return Table("With and without each constraint", columns, entries, notes)


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.0f}" if seconds >= 0.1 else f"{seconds * 1e3:.2f}"


def _throughput(measured: Mapping[str, Any], name: str, rates: Mapping[str, float]) -> str:
    """Of several runs at once."""
    case = measured["cases"][name]
    plain = case["batch"] * _WINDOW / case["seconds"]["plain"]
    shown = ", ".join(f"{jobs}: {rate:,.0f} ({rate / plain:.1f})" for jobs, rate in rates.items())
    return f"{name}, tokens/s of so many runs at once (times plain): {shown}"


def _outcome(measured: Mapping[str, Any], goal: Mapping[str, Any]) -> str:
    """What was aimed at and what was measured."""
    case, name = measured["cases"].get(goal["case"]), goal["case"]
    if case is None:
        return f"{name}: not measured here"
    seconds = case["seconds"]
    if "projection_share" in goal:
        share, most = case["parts"]["projection"] / sum(case["parts"].values()), goal["projection_share"]
        return f"{name}: projection {share:.1%} of the step, goal {most:.0%}: {_met(share <= most)}"
    if "products_share" in goal:
        precision, least = goal["precision"], goal["products_share"]
        alone = case.get("products_seconds", {}).get(precision)
        if alone is None:
            return f"{name}: products alone not measured here"
        share = f"products {alone / seconds[precision]:.0%} of the step, goal {least:.0%}"
        return f"{name}, precision={precision}: {share}: {_met(alone / seconds[precision] >= least)}"
    if "packed" in goal:
        best = max(measured["packed"].get(name, {"1": 0.0}).values())
        ratio = best * seconds["plain"] / (case["batch"] * _WINDOW)
        shown = f"{ratio:.2f} times plain's throughput, goal {goal['packed']}"
        return f"{name}, runs at once: {shown}: {_met(ratio >= goal['packed'])}"
    variant = "float32" if goal["precision"] == "float32" and "float32" in seconds else "auto"
    ratio = seconds["plain"] / seconds[variant]
    return f"{name}, precision={goal['precision']}: {ratio:.2f}, goal {goal['ratio']}: {_met(ratio >= goal['ratio'])}"


def _met(reached: bool) -> str:
    return "met" if reached else "missed"


def jobs_table(measured: Mapping[str, Any]) -> Table:
    """Throughput against the number of runs side by side: a line for each case and number of runs."""
    packed = measured.get("in_turns", False)
    entries: list[list[Entry]] = []
    for name, rates in measured["cases"].items():
        model, _, _, size, _ = name.split("-")
        for count in sorted(map(int, rates)):
            threads = None if packed else max(1, measured["threads"] // count)
            against = rates[str(count)] / rates["1"] if "1" in rates else None
            entries.append([model_name(model), int(size[1:]), count, threads, rates[str(count)], against])
    how = "threads of one process, each with a stream of its own" if packed else "a process each"
    launcher = "packed hydra.launcher.at_once" if packed else "joblib hydra.launcher.n_jobs"
    notes = [
        f"runs: so many train at once, {how}; threads: of each; tokens/s: of all of them together",
        "unstable recurrent models, 33,278 types, 20 streams, windows of 35 steps",
        f"as `scripts/train.py -m hydra/launcher={launcher}=...` runs them",
    ]
    columns = [text("model"), key("d"), key("runs"), Column("threads"), Column("tokens/s", ",.0f")]
    columns.append(Column("against one", ".2f"))
    return Table(f"Several runs at once on {measured['hardware']}", columns, entries, notes)
