"""How fast feed-forward networks train and score beside the LSTM of their task, from the JSON of a benchmark."""

from collections.abc import Mapping
from typing import Any

from stablernn.report.curves import model_name
from stablernn.report.slices import TITLES
from stablernn.report.table import Column, Entry, Table, key, text
from stablernn.report.text import short
from stablernn.utils.wording import counted

WORKS = ("training", "scoring")


def peer_table(measured: Mapping[str, Any]) -> Table:
    """A line for each task, network and k: items a second, and how many times as many as the LSTM's."""
    order = ("dataset", "model", "k")
    entries: list[list[Entry]] = [
        [
            *(TITLES.get(case["dataset"], case["dataset"]), model_name(case["model"]), case["k"]),
            *(case["parameters"][name] for name in ("this", "lstm")),
            *(1 / case[work]["this"] for work in WORKS),
            *(case[work]["ratio"] for work in WORKS),
        ]
        for case in sorted(measured["cases"].values(), key=lambda case: tuple(case[name] for name in order))
    ]
    columns = [text("task"), text("model"), key("k"), Column("parameters", ",d"), Column("LSTM’s parameters", ",d")]
    columns += [Column(f"{work} items/s", ",.0f") for work in WORKS]
    columns += [Column(f"{work} against LSTM", short, unit="times") for work in WORKS]
    precisions = " and ".join(dict.fromkeys(case["precision"] for case in measured["cases"].values()))
    notes = [
        "training: updates as the experiments of the task have them; scoring: one stream from the zero state; items: "
        "words, characters or frames",
        "against LSTM: how many times as many items a second as the unconstrained LSTM of the task, the median over "
        "alternating pairs in one process; below 1 the network is slower",
        f"{measured['hardware']}, {counted(measured['threads'], 'thread')}, products of the softmax in {precisions}",
    ]
    return Table("Feed-forward networks against the LSTM", columns, entries, notes, name="speed_of_peers")
