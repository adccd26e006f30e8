"""Where drawing begins. What draws is imported here and not before: training needs none of it, nor do tables."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from stablernn.report.evidence import Evidence
from stablernn.report.figure import Figure
from stablernn.report.section import Chapter
from stablernn.utils.errors import MissingPackageError

PAGE = "index.html"
_PACKAGES = {"altair": "altair", "vl_convert": "vl-convert-python"}


def export(figure: Figure, folder: Path) -> list[Path]:
    """``draw.export``; raises MissingPackageError."""
    return _module("draw").export(figure, folder)


def svg(figure: Figure) -> str:
    """``draw.svg``; raises MissingPackageError."""
    return _module("draw").svg(figure)


def chart(figure: Figure) -> Any:
    """``draw.printed`` as an Altair chart; raises MissingPackageError."""
    import altair

    return altair.Chart.from_dict(_module("draw").printed(figure))


def export_rolls(*args: Any) -> list[Path]:
    """``roll.export``; raises MissingPackageError."""
    return _module("roll").export(*args)


def page(evidence: Evidence, chapters: Sequence[Chapter]) -> str:
    """``page.page``; raises MissingPackageError."""
    return _module("page").page(evidence, list(chapters))


def examination_page(title: str, text: str, figures: Sequence[Figure]) -> str:
    """``page.examination_page``; raises MissingPackageError."""
    return _module("page").examination_page(title, text, figures)


def _module(name: str) -> Any:
    try:
        return import_module(f"stablernn.report.{name}")
    except ModuleNotFoundError as error:
        if error.name not in _PACKAGES:
            raise
        raise MissingPackageError(
            f"figures and the page are drawn with {_PACKAGES[error.name]}, which is not installed: pip install "
            f"{' '.join(_PACKAGES.values())}, or make setup. Records and tables are written; make report draws the rest"
        ) from None
