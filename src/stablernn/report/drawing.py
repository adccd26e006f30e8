"""What all figures share: style, colours, legends, saving; the same bytes from the same records."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stablernn.files import replacing
from stablernn.record import Record
from stablernn.report.load import setting
from stablernn.report.tables import MODEL_NAMES

Found = Sequence[tuple[Record, dict[str, Any]]]

# Okabe & Ito 2008: told apart by readers with any colour vision.
COLOURS = {"unstable": "#D55E00", "stable": "#0072B2"}
_OTHERS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999999")
MARKERS = {"recurrent": "o", "feedforward": "s"}
STYLE: Any = {
    "svg.hashsalt": "stablernn",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "figure.dpi": 150,
}


def rank(model: str) -> tuple[int, str]:
    """The order of panels: that of the tables."""
    return (list(MODEL_NAMES).index(model) if model in MODEL_NAMES else len(MODEL_NAMES)), model


def coloured(found: Found) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Label, colour and result of each run; constraints beyond the study's two get colours of their own."""
    others = iter(_OTHERS)
    for record, result in found:
        stability = setting(record, "stability.name")
        yield stability, COLOURS.get(stability) or next(others, "black"), result


def save_all(figures: Sequence[tuple[str, Figure]], suffix: str, folder: Path) -> list[Path]:
    """Save every named figure as ``<name>_<suffix>`` and close it; returns the files."""
    written = []
    for name, figure in figures:
        written += save(figure, folder / f"{name}_{suffix}")
    return written


def save(figure: Figure, stem: Path) -> list[Path]:
    """Save as SVG and PNG, and close; returns the files."""
    paths = []
    for kind, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
        path = stem.with_name(f"{stem.name}.{kind}")
        with replacing(path) as temporary:
            figure.savefig(temporary, format=kind, metadata=metadata, bbox_inches="tight")
        paths.append(path)
    plt.close(figure)
    return paths


def legend_for_all(figure: Figure, axes: Sequence[Axes], labels: Sequence[str] | None = None) -> None:
    """One legend beside all panels, each label once; in the order of ``labels``, or as they come."""
    handles: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    names = list(handles) if labels is None else [label for label in labels if label in handles]
    figure.legend([handles[name] for name in names], names, loc="center left", bbox_to_anchor=(1.0, 0.5))
