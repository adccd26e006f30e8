"""Speed of feed-forward against recurrent by the length of the sequence; truncation curves against cut windows."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stablernn.report.curves import model_name
from stablernn.report.evidence import Evidence
from stablernn.report.figure import Axis, Curve, Drawing, Figure, Level
from stablernn.report.names import rank
from stablernn.report.palette import shades
from stablernn.report.section import Block, Section, block
from stablernn.report.sections.peer_speed import peer_table
from stablernn.report.table import Column, Entry, Table, key, text
from stablernn.report.text import short
from stablernn.utils.wording import counted


def sequence_tables(measured: Mapping[str, Any]) -> list[Table]:
    """Every table of a file of measurements."""
    tables = [sequence_table(measured)] if measured.get("cases") else []
    return tables + [table for table in (memory_table(measured), curve_table(measured)) if table is not None]


def sequence_table(measured: Mapping[str, Any]) -> Table:
    """A line for each model, work, batch and length: the recurrent model's rate, and the ratios to it."""
    cases = _sorted(measured)
    names = {name for case in cases for name in (*case["seconds"], *case["left_out"])}
    ks = _contexts(names)
    columns = [text("model"), text("work"), key("batch"), key("steps", ",d")]
    columns.append(Column("recurrent", ",.0f", unit="tokens/s"))
    columns += [Column(f"{whole}k={k}", short, unit="times") for whole in ("", "whole ") for k in ks]
    entries: list[list[Entry]] = []
    for case in cases:
        seconds, tokens = case["seconds"], case["batch"] * case["steps"]
        ratios = [ratio(measured, case, k, whole) for whole in (False, True) for k in ks]
        rate = tokens / seconds["recurrent"] if "recurrent" in seconds else None
        entries.append([model_name(case["model"]), case["work"], case["batch"], case["steps"], rate, *ratios])
    notes = [
        f"d = {cases[0]['size']}, {measured['hardware']}, {counted(measured['threads'], 'thread')}, float32; "
        "recurrent: tokens/s of its hidden states",
        "k=...: how many times faster the feed-forward model's states are; below 1 they are slower",
        "whole: with the softmax over 33,278 types; medians of alternating runs; training: forward and gradient",
    ]
    left_out = {
        f"{case['model'].upper()} {case['work']} batch {case['batch']} steps {case['steps']:,}, {name}: {reason}"
        for case in cases
        for name, reason in case["left_out"].items()
    }
    remarks = [f"not measured: {case}" for case in sorted(left_out)]
    return Table("Feed-forward against recurrent", columns, entries, notes, remarks, name="speed")


def memory_table(measured: Mapping[str, Any]) -> Table | None:
    """What a training step keeps for its gradient."""
    cases = [case for case in _sorted(measured) if case["memory"]]
    if not cases:
        return None
    names = list(cases[0]["memory"])
    columns = [text("model"), key("batch"), key("steps", ",d")]
    columns += [Column(name, ",.0f", unit="MB") for name in names]
    entries: list[list[Entry]] = [
        [model_name(case["model"]), case["batch"], case["steps"]]
        + [case["memory"].get(name, 0) / 2**20 for name in names]
        for case in cases
    ]
    notes = [
        "MB at the peak of the states and their gradient, beyond the weights; recomputed: "
        "approximation.backbone.recompute=true",
    ]
    return Table("Memory of a training step", columns, entries, notes, name="training_memory")


def curve_table(measured: Mapping[str, Any]) -> Table | None:
    """The whole truncation curve against cut windows."""
    curves = measured.get("curves", {})
    if not curves:
        return None
    columns = [text("run"), key("k up to"), *(Column(f"{name} μs", ",.0f", unit="μs") for name in ("ours", "plain"))]
    columns += [Column(head, ".1f") for head in ("plain / ours", "whole", "every softmax", "swept %")]
    entries: list[list[Entry]] = [
        [
            *(curve["run"], curve["k_max"]),
            *(1e6 * curve["seconds"][name] for name in ("states", "plain_states")),
            *(curve[name] for name in ("states_ratio", "curve_ratio", "exact_ratio")),
            100 * curve["swept"],
        ]
        for curve in curves.values()
    ]
    notes = [
        "microseconds a word of the hidden states for all k; plain: windows cut for every position and k; whole: with "
        "the softmax on both sides; every softmax: without the first-order scores, swept: rows that they leave",
        f"medians of alternating rounds on {measured['hardware']}, {counted(measured['threads'], 'thread')}",
    ]
    return Table("All truncation lengths at once", columns, entries, notes, name="speed_of_all_k")


def ratio(measured: Mapping[str, Any], case: Mapping[str, Any], k: int, whole: bool) -> float | None:
    """How many times faster than the recurrent model; ``whole``: with the softmax. None: one was not measured."""
    seconds, ours = case["seconds"], f"k={k}"
    if "recurrent" not in seconds or ours not in seconds:
        return None
    head = 0.0
    if whole:
        softmax = measured["softmax"][f"{case['model']}-{case['work']}-d{case['size']}"]
        head = softmax * case["batch"] * case["steps"]
    return (seconds["recurrent"] + head) / (seconds[ours] + head)


def contexts_of(case: Mapping[str, Any]) -> list[int]:
    """The k that were timed in a case."""
    return _contexts(case["seconds"])


def _contexts(names) -> list[int]:
    return sorted(int(name[2:]) for name in names if name.startswith("k=") and name[2:].isdigit())


def _sorted(measured: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    keys = ("model", "work", "batch", "steps")
    return sorted(measured["cases"].values(), key=lambda c: (rank(c["model"]), *(c[key] for key in keys)))


def speed_curves(file: str, measured: Mapping[str, Any]) -> Figure | None:
    """Times as fast as the recurrent model against the length of the sequence; ``file``: of the measurements."""
    drawing, ratios = Drawing(), []
    cases = list(measured["cases"].values())
    colours = shades(sorted({k for case in cases for k in contexts_of(case)}))
    batches = sorted({case["batch"] for case in cases})
    dashes = {batch: ((1, 0), (6, 3), (2, 3))[min(n, 2)] for n, batch in enumerate(batches)}
    curves = {(k, b): Curve(f"k = {k}, batch {b}", colours[k], dashes[b]) for k in colours for b in batches}
    for case in sorted(cases, key=lambda case: (case["work"], rank(case["model"]), case["steps"])):
        for k in contexts_of(case):
            value = ratio(measured, case, k, whole=True)
            if value is not None:
                panel = f"{model_name(case['model'])}, {case['work']}"
                drawing.point(panel, curves[k, case["batch"]], case["steps"], value, (file,))
                ratios.append(value)
    faster = sum(value > 1 for value in ratios)
    return drawing.figure(
        "speed",
        f"Feed-forward is faster in {faster} of {counted(len(ratios), 'case')} on {measured['hardware']}",
        "Feed-forward against recurrent, whole models with their softmax; above the line at 1 feed-forward is faster.",
        Axis("steps of the sequence"),
        Axis("times as fast as recurrent"),
        levels=[Level(1)],
    )


def _blocks(evidence: Evidence) -> list[Block]:
    """A block for each machine and file; all numbers of a table come from one file."""
    made = []
    for file, measured in evidence.lengths.items():
        tables = [replace(table, runs=[(file,)] * len(table.rows)) for table in sequence_tables(measured)]
        place = file.removeprefix("sequences-").removesuffix(".json")
        made.append(block(measured["hardware"], place, [speed_curves(file, measured)], tables))
    for file, measured in evidence.peers.items():
        table = peer_table(measured)
        place = file.removeprefix("peers-").removesuffix(".json")
        title = f"{measured['hardware']}, networks that are feed-forward by construction"
        made.append(block(title, place, [], [replace(table, runs=[(file,)] * len(table.rows))]))
    return made


SECTION = Section(
    "speed",
    "Speed",
    "Time and memory of feed-forward models, which do k times the work but all positions at once.",
    _blocks,
    claims=("C8",),
)
