"""Feed-forward against recurrent by the length of the sequence, and the truncation curve against cut windows."""

from collections.abc import Mapping
from typing import Any

from stablernn.report.formats import markdown
from stablernn.report.names import MODEL_NAMES, rank
from stablernn.report.sections.truncation import short
from stablernn.report.tables import Table
from stablernn.utils.escaping import markdown_text
from stablernn.utils.wording import counted


def sequence_table(measured: Mapping[str, Any]) -> Table:
    """A line for each model, work, batch and length: the recurrent model's rate, and the ratios to it."""
    cases = _sorted(measured)
    ks = _contexts(measured)
    heads = ["model", "work", "batch", "steps", "recurrent", *(f"k={k}" for k in ks), *(f"whole k={k}" for k in ks)]
    lines = []
    for case in cases:
        seconds, tokens = case["seconds"], case["batch"] * case["steps"]
        line = [MODEL_NAMES.get(case["model"], case["model"]), case["work"], str(case["batch"]), f"{case['steps']:,}"]
        line += [f"{tokens / seconds['recurrent']:,.0f}" if "recurrent" in seconds else "–"]
        lines.append(line + [_ratio(ratio(measured, case, k, whole)) for whole in (False, True) for k in ks])
    size = cases[0]["size"]
    notes = [
        f"d = {size}, {measured['hardware']}, {counted(measured['threads'], 'thread')}, float32; recurrent: tokens/s "
        "of its hidden states",
        "k=...: how many times faster the feed-forward model's states are; below 1 they are slower",
        "whole: the same with the softmax over 33,278 types, whose time a token was measured beside them",
        "medians of alternating runs in one process; training: forward and gradient",
    ]
    left_out = {
        f"{case['model'].upper()} {case['work']} batch {case['batch']} steps {case['steps']:,}, {name}: {why}"
        for case in cases
        for name, why in case["left_out"].items()
    }
    return Table(
        "Feed-forward against recurrent", heads, lines, notes, [f"not measured: {x}" for x in sorted(left_out)]
    )


def memory_table(measured: Mapping[str, Any]) -> Table | None:
    """What a training step keeps for its gradient."""
    cases = [case for case in _sorted(measured) if case["memory"]]
    if not cases:
        return None
    names = list(cases[0]["memory"])
    heads = ["model", "batch", "steps", *names]
    lines = [
        [MODEL_NAMES.get(case["model"], case["model"]), str(case["batch"]), f"{case['steps']:,}"]
        + [f"{case['memory'].get(name, 0) / 2**20:,.0f}" for name in names]
        for case in cases
    ]
    notes = [
        "MB at the peak of the states and their gradient, beyond the weights; a feed-forward model takes the "
        "sequence in pieces, so a longer one needs no more",
        "recomputed: approximation.backbone.recompute=true",
    ]
    return Table("Memory of a training step", heads, lines, notes)


def curve_table(measured: Mapping[str, Any]) -> Table | None:
    """The whole truncation curve against cut windows."""
    curves = measured.get("curves", {})
    if not curves:
        return None
    heads = ["run", "k up to", "ours μs", "plain μs", "plain / ours", "whole", "every softmax", "swept %"]
    lines = []
    for found in curves.values():
        seconds = found["seconds"]
        lines.append(
            [
                found["run"],
                str(found["k_max"]),
                f"{seconds['states'] * 1e6:,.0f}",
                f"{seconds['plain_states'] * 1e6:,.0f}",
                f"{found['states_ratio']:.1f}",
                f"{found['curve_ratio']:.1f}",
                f"{found['exact_ratio']:.1f}",
                f"{100 * found['swept']:.1f}",
            ]
        )
    notes = [
        "microseconds a word of the hidden states for all k; plain: windows cut for every position and k, run by "
        "PyTorch's own layers",
        "whole: plain / ours with the softmax counted on both sides; every softmax: without the first-order scores, "
        "swept: share of softmax rows that they leave",
        f"medians of alternating rounds on {measured['hardware']}, {counted(measured['threads'], 'thread')}",
    ]
    return Table("All truncation lengths at once", heads, lines, notes)


def sequences_markdown(measured: Mapping[str, Any], title: str) -> str:
    """Every table of the file as one document."""
    tables = [sequence_table(measured)] if measured.get("cases") else []
    tables += [table for table in (memory_table(measured), curve_table(measured)) if table is not None]
    return f"# {title} on {markdown_text(measured['hardware'])}\n\n" + "\n".join(markdown(table) for table in tables)


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


def _ratio(value: float | None) -> str:
    return "–" if value is None else short(value)


def contexts_of(case: Mapping[str, Any]) -> list[int]:
    """The k that were timed in a case."""
    return sorted(int(name[2:]) for name in case["seconds"] if name.startswith("k=") and name[2:].isdigit())


def _contexts(measured: Mapping[str, Any]) -> list[int]:
    names = {name for case in measured["cases"].values() for name in (*case["seconds"], *case["left_out"])}
    return sorted(int(name[2:]) for name in names if name.startswith("k=") and name[2:].isdigit())


def _sorted(measured: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    keys = ("model", "work", "batch", "steps")
    return sorted(measured["cases"].values(), key=lambda c: (rank(c["model"]), *(c[key] for key in keys)))
