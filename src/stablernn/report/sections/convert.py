"""The table of a conversion."""

from typing import Any

from stablernn.report.tables import Table
from stablernn.utils.wording import counted

_FORMS = {
    "recurrent": "recurrent, PyTorch",
    "feedforward": "feed-forward, PyTorch",
    "export": "torch.export",
    "onnx": "onnxruntime",
}


def conversion_table(found: dict[str, Any]) -> Table:
    """What was chosen, what it changes, and what became of it in each form; ``found``: the folder's description."""
    choice, speed, hardware = found["choice"], found["speed"], found["hardware"]
    proven = choice["certified_gap"]
    gaps = [
        ["certified k", "–" if choice["certified_k"] is None else f"{choice['certified_k']:,}", "k(ε)"],
        ["certified gap", "–" if proven is None else _nats(proven, "≤ "), "any word of any text"],
        ["measured gap, mean", _nats(choice["gap"]["log_perplexity"]), "log-perplexity"],
        ["measured gap, largest", _nats(choice["gap"]["largest"]), "any word measured on"],
    ]
    # A run that was trained feed-forward is exported as it is: there is no gap to tell of.
    lines = [
        ["context", f"k = {choice['k']}", choice["how"]],
        *(gaps if choice["how"] != "own" else []),
        ["parameters", f"{found['parameters']:,}", "as the run's"],
    ]
    for name, parity in found["parity"].items():
        lines.append([f"parity, {_FORMS[name]}", _nats(parity["nats"]), "largest difference"])
    for name, file in found["files"].items():
        lines.append([name, _size(file["bytes"]), ""])
    rates = speed["tokens_per_second"]
    for name, rate in rates.items():
        ratio = rate / rates["recurrent"]
        told = f"{ratio:.2f} x faster" if ratio >= 1 else f"{1 / ratio:.2f} x slower"
        lines.append([_FORMS[name], f"{rate:,.0f} tokens/s", told if name != "recurrent" else "baseline"])
    where = hardware["processor"]
    if hardware["device"] != where:
        where = f"{hardware['device']}, exported forms on {where}"
    notes = [
        f"{choice['how']}: {choice['reason']}",
        *([f"gaps measured on {choice['tokens']:,} {choice['split']} words"] if choice["how"] != "own" else []),
        f"speed: all log-probabilities of one stream of {speed['tokens']:,} words, in pieces of {speed['piece']:,}; "
        f"medians of {counted(speed['rounds'], 'alternating round')}, {_threads(speed, hardware)}, {where}",
        *_unsure(speed),
        "a ratio to the recurrent model in PyTorch is also one of runtimes",
    ]
    return Table(f"{found['run']} without recurrence", ["quantity", "value", "of"], lines, notes)


def _threads(speed: dict[str, Any], hardware: dict[str, Any]) -> str:
    """On how many threads each form was timed; older descriptions know one number for all."""
    if "threads" not in speed:
        return f"threads: {hardware['threads']}"
    best = ", ".join(f"{_FORMS[name]} {count}" for name, count in speed["threads"].items())
    return f"each form on the number of threads that serves it best (of {' and '.join(speed['by_threads'])}): {best}"


def _unsure(speed: dict[str, Any]) -> list[str]:
    scatter = speed.get("scatter")
    return [f"half of the rounds of a form lie within {scatter:.0%} of its median"] if scatter is not None else []


def _nats(value: float, relation: str = "") -> str:
    return f"{relation}{value:.2g} nats" if abs(value) >= 1e-12 else "< 1e-12 nats"


def _size(count: int) -> str:
    return f"{count / 2**20:.2f} MiB" if count >= 2**20 else f"{count / 2**10:.1f} KiB"
