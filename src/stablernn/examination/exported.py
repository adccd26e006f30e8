"""An examined network as a folder: torch.export, ONNX, weights, vocabulary and a model card."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stablernn.analysis.conversion.choice import CERTIFIED, GIVEN
from stablernn.analysis.conversion.convert import check_free, write_converted
from stablernn.analysis.conversion.converted import VOCABULARY, own_config
from stablernn.analysis.conversion.export import EXPORT, FILES, ONNX, choose_formats, input_name, order
from stablernn.analysis.truncation_curve import Gap
from stablernn.examination.api import curve
from stablernn.examination.examination import ANY_TEXT, Examination
from stablernn.examination.network import interface_of
from stablernn.tasks.base import Interface
from stablernn.utils.console import open_bar

CARD = "README.md"
_SECONDS = 1.0


def export(examination: Examination, folder: Path, k: int, formats: Sequence[str] | None) -> Path:
    """See ``Examination.export``."""
    formats = choose_formats(formats)
    check_free(folder)
    e, interface = examination, interface_of(examination.model)
    at = curve(e.model, e.split, [k]).truncated[k]
    choice = _choice(e, k, at.gap)
    values: dict[str, Any] = {
        "run": e.name,
        "config": own_config(e.model, k),
        "data": {"name": e.data},
        "interface": interface.as_dict(),
        "metric": e.metric.name,
        "order": order(interface),
        "parameters": e.model.size(),
        "k": k,
        "choice": choice,
    }
    texts = {CARD: card(e, k, choice, interface, formats)}
    if e.words is not None:
        texts[VOCABULARY] = "".join(f"{word}\n" for word in e.words)
    bar = open_bar(f"export {e.name}", 3 + len(formats))
    write_converted(folder, e.model, interface, e.split, values, formats, _SECONDS, bar, texts)
    return folder


def _choice(e: Examination, k: int, gap: Gap) -> dict[str, Any]:
    chosen, how = e.choice
    proven = e.certificate.holds
    reason = f"k({e.epsilon:g}) = {k}, {how}" if k == chosen else "given, whatever it costs"
    kind = GIVEN if k != chosen else CERTIFIED if how == ANY_TEXT else "measured"
    return {
        "k": k,
        "how": kind,
        "reason": reason,
        "epsilon": e.epsilon,
        "certified_gap": e.certificate.gap(k) if proven else None,
        "certified_k": e.proven,
        "gap": asdict(gap),
        "tokens": len(e.split),
        "examined": {},
        "split": e.data,
    }


def card(e: Examination, k: int, choice: dict[str, Any], interface: Interface, formats: Sequence[str]) -> str:
    """What the network is, what it replaces, what is guaranteed and how it is run, as Markdown."""
    proven = choice["certified_gap"]
    guarantee = (
        f"proven: on any input no log-probability differs from the recurrent network's by more than {proven:.3g} nats"
        if proven is not None
        else "nothing is proven for every input"
    )
    name = input_name(interface)
    use = ["model = stablernn.load_converted('.')  # features, state = model(x, model.initial_state(batch))"]
    if EXPORT in formats:
        use.append(f"network = torch.export.load('{FILES[EXPORT]}').module()  # network({name})")
    if ONNX in formats:
        use.append(f"session = onnxruntime.InferenceSession('{FILES[ONNX]}')  # session.run(None, {{'{name}': array}})")
    words = [f"`{VOCABULARY}`: a word a line in the order of ids.", ""] if e.words is not None else []
    gap = choice["gap"]
    about = f"""# {e.name} without recurrence

A feed-forward network that sees the last k = {k} inputs, with the weights of a recurrent one. It keeps no state: a
stream can be scored in pieces that begin k - 1 inputs early.

## What it replaces, and how well

```
{e}
```

k = {k}: {choice["reason"]}; {guarantee}.
Measured on {len(e.split):,} {e.metric.items} of {e.data}: the mean changes by {gap["log_perplexity"]:.2g} nats, any one
by at most {gap["largest"]:.2g}.

## Use

{order(interface)}.

"""
    return about + "\n".join([*words, "```python", *use, "```", ""])
