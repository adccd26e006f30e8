"""An examined network as a folder: torch.export, ONNX, weights, vocabulary and a model card."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stablernn.analysis.conversion.choice import CERTIFIED, GIVEN
from stablernn.analysis.conversion.convert import check_free, write_converted
from stablernn.analysis.conversion.converted import own_config
from stablernn.analysis.conversion.export import choose_formats, order
from stablernn.analysis.truncation_curve import Gap
from stablernn.examination.api import curve
from stablernn.examination.examination import ANY_TEXT, Examination
from stablernn.examination.network import interface_of
from stablernn.utils.console import log, open_bar

_SECONDS = 1.0


def export(examination: Examination, folder: Path, k: int, formats: Sequence[str] | None) -> Path:
    """See ``Examination.export``."""
    formats = choose_formats(formats)
    check_free(folder)
    e, interface = examination, interface_of(examination.model)
    if not e.has_learnt:
        log.warning("the network has learnt nothing that context could serve, and is exported all the same")
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
    words = None if e.words is None else "".join(f"{word}\n" for word in e.words)
    bar = open_bar(f"export {e.name}", 3 + len(formats))
    write_converted(
        folder, e.model, interface, e.split, values, formats, _SECONDS, bar, f"```\n{e}\n```", vocabulary=words
    )
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
