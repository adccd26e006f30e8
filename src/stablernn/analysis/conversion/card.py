"""The model card of a converted network: what it is, what it replaces, what is guaranteed, how it is run."""

from collections.abc import Mapping
from typing import Any

from stablernn.analysis.conversion.choice import OWN
from stablernn.analysis.conversion.converted import VOCABULARY
from stablernn.analysis.conversion.export import EXPORT, FILES, ONNX, input_name
from stablernn.tasks.base import Interface
from stablernn.utils.metrics import METRICS, PERPLEXITY
from stablernn.utils.wording import counted

CARD = "README.md"


def card(values: Mapping[str, Any], interface: Interface, about: str, has_vocabulary: bool) -> str:
    """Markdown.

    Args:
        values: of the description, with the ``parity`` of each written form.
        interface: of the network.
        about: what it was made of, and how well that does.
        has_vocabulary: whether the words are in a file beside it.
    """
    own = values["choice"]["how"] == OWN
    k = f"k = {counted(values['k'], 'input')}"
    made = "It was trained feed-forward" if own else "It has the weights of a recurrent one"
    parts = [
        f"# {values['run']} without recurrence",
        f"A feed-forward network that sees the last {k}. {made}. It keeps no state: a stream can be scored in pieces\n"
        "that begin k - 1 inputs early, whose first k - 1 outputs are dropped.",
        "## What it was made of" if own else "## What it replaces, and how well",
        about,
        f"k = {values['k']}: {values['choice']['reason']}.",
        *([] if own else [_change(values)]),
        *_parity(values),
        "## Use",
        f"{values['order']}.",
        *([f"`{VOCABULARY}`: a line for each id, in their order."] if has_vocabulary else []),
        _use(values, input_name(interface)),
    ]
    return "\n\n".join(parts) + "\n"


def _change(values: Mapping[str, Any]) -> str:
    choice, metric = values["choice"], METRICS.get(values["metric"], PERPLEXITY)
    proven, gap = choice["certified_gap"], choice["gap"]
    return (
        (
            f"Proven: on any input no log-probability differs from the recurrent network's by more than {proven:.3g} "
            "nats, but for rounding.\n"
            if proven is not None
            else "Nothing is proven for every input.\n"
        )
        + f"Measured on {counted(choice['tokens'], metric.one)} of {choice['split']}: the mean changes by "
        f"{gap['loss_change']:.2g} nats, and a single {metric.one} by at most {gap['largest']:.2g}."
    )


def _parity(values: Mapping[str, Any]) -> list[str]:
    """Each form against PyTorch; nothing where none was written."""
    found = [f"`{FILES[name]}` by at most {parity['nats']:.2g} nats" for name, parity in values["parity"].items()]
    return [f"On these inputs it differs from the same network in PyTorch: {', '.join(found)}."] if found else []


def _use(values: Mapping[str, Any], name: str) -> str:
    forms = {
        EXPORT: f'import torch\n\nnats = torch.export.load("{FILES[EXPORT]}").module()({name})',
        ONNX: f'import onnxruntime\n\nsession = onnxruntime.InferenceSession("{FILES[ONNX]}")\n'
        f'(nats,) = session.run(None, {{"{name}": {name}.numpy()}})',
    }
    ours = (
        'import stablernn\n\nmodel = stablernn.load_converted(".")\n'
        f"features, state = model({name}, model.initial_state({name}.shape[1]))  # state: for the next piece\n"
        "nats = model.objective.distribution(features)"
    )
    blocks = [ours, *(forms[form] for form in values["parity"])]
    return "\n\n".join(f"```python\n{block}\n```" for block in blocks)
