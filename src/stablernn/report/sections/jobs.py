"""The table of throughput against the number of runs side by side."""

from collections.abc import Mapping
from typing import Any

from stablernn.report.names import MODEL_NAMES
from stablernn.report.tables import Table


def jobs_table(measured: Mapping[str, Any]) -> Table:
    """A line for each case and number of runs."""
    in_turns = measured.get("in_turns", False)
    heads = ["model", "d", "runs", "threads", "tokens/s", "against one"]
    lines = []
    for name, rates in measured["cases"].items():
        model, _, _, size, _ = name.split("-")
        for count in sorted(map(int, rates)):
            rate = rates[str(count)]
            against = f"{rate / rates['1']:.2f}" if "1" in rates else "–"
            threads = "–" if in_turns else str(max(1, measured["threads"] // count))
            lines.append([MODEL_NAMES.get(model, model), size[1:], str(count), threads, f"{rate:,.0f}", against])
    how = "threads of one process, each with a stream of its own" if in_turns else "a process each"
    launcher = "packed hydra.launcher.at_once" if in_turns else "joblib hydra.launcher.n_jobs"
    notes = [
        f"runs: so many train at once, {how}; threads: of each; tokens/s: of all of them together",
        "unstable recurrent models, 33,278 types, 20 streams, windows of 35 steps",
        f"as `scripts/train.py -m hydra/launcher={launcher}=...` runs them",
    ]
    return Table(f"Several runs at once on {measured['hardware']}", heads, lines, notes)
