"""The table of a conversion."""

from typing import Any

from stablernn.report.table import Entry, Table, Value, text
from stablernn.utils.metrics import METRICS, PERPLEXITY
from stablernn.utils.wording import counted

_FORMS = {
    "recurrent": "recurrent, PyTorch",
    "feedforward": "feed-forward, PyTorch",
    "export": "torch.export",
    "onnx": "onnxruntime",
}


def conversion_table(description: dict[str, Any]) -> Table:
    """What was chosen, what it changes, and what became of it in each form; of the folder's description."""
    choice, speed, hardware = description["choice"], description["speed"], description["hardware"]
    proven, metric = choice["certified_gap"], METRICS.get(description.get("metric", ""), PERPLEXITY)
    split = f"{choice['split']} {metric.items}"
    gaps: list[list[Entry]] = [
        ["certified k", Value(choice["certified_k"], format=",d"), "k(ε)"],
        ["certified gap", Value(proven, format=lambda nats: f"≤ {_nats(nats)}"), f"of any {metric.item}, on any input"],
        ["measured gap, mean", Value(choice["gap"]["loss_change"], format=_nats), metric.loss],
        ["measured gap, largest", Value(choice["gap"]["largest"], format=_nats), f"of any {metric.item} of these"],
    ]
    # A run that was trained feed-forward is exported as it is: it has no gap.
    lines: list[list[Entry]] = [
        ["context", f"k = {choice['k']}", choice["how"].replace("_", " ")],
        *(gaps if choice["how"] != "own" else []),
        ["parameters", Value(description["parameters"], format=",d"), "as the run's"],
    ]
    for name, parity in description["parity"].items():
        lines.append([f"parity, {_FORMS[name]}", Value(parity["nats"], format=_nats), "largest difference"])
    for name, file in description["files"].items():
        lines.append([name, Value(file["bytes"], format=_size), ""])
    rates = speed["tokens_per_second"]
    baseline = "recurrent" if "recurrent" in rates else "feedforward"  # what has no cells has no recurrent form
    for name, rate in rates.items():
        ratio = rate / rates[baseline]
        against = f"{ratio:.2f} x faster" if ratio >= 1 else f"{1 / ratio:.2f} x slower"
        lines.append(
            [
                _FORMS[name],
                Value(rate, format=lambda rate: f"{rate:,.0f} {metric.items}/s"),
                against if name != baseline else "baseline",
            ]
        )
    threads = ", ".join(f"{_FORMS[name]} {count}" for name, count in speed.get("threads", {}).items())
    notes = [
        f"{choice['how'].replace('_', ' ')}: {choice['reason']}"
        + (f"; gaps on {choice['tokens']:,} {split}" if choice["how"] != "own" else ""),
        f"speed: all log-probabilities of one stream of {speed['tokens']:,} {metric.items}, in pieces of "
        f"{speed['piece']:,}; medians of {counted(speed['rounds'], 'alternating round')}, each form on the number of "
        f"threads that serves it best ({threads or hardware['threads']}); {hardware['device']}, exported forms on "
        f"{hardware['processor']}",
        f"a ratio to the {_FORMS[baseline].split(',')[0]} model in PyTorch is also one of runtimes",
    ]
    return Table(
        f"{description['run']} without recurrence", [text("quantity"), text("value"), text("of")], lines, notes
    )


def _nats(value: float) -> str:
    return f"{value:.2g} nats" if abs(value) >= 1e-12 else "< 1e-12 nats"


def _size(count: int) -> str:
    return f"{count / 2**20:.2f} MiB" if count >= 2**20 else f"{count / 2**10:.1f} KiB"
