"""Where drawing begins. What draws is imported here and not before: training needs none of it, nor do tables."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stablernn.report.chapters import Chapter
from stablernn.report.evidence import Evidence
from stablernn.report.figure import Figure
from stablernn.utils.errors import MissingPackageError

PAGE = "index.html"
_PACKAGES = {"altair": "altair", "vl_convert": "vl-convert-python"}


def export(figure: Figure, folder: Path) -> list[Path]:
    """``printed.export``; raises MissingPackageError."""
    with _told():
        from stablernn.report import printed
    return printed.export(figure, folder)


def page(evidence: Evidence, chapters: Sequence[Chapter]) -> str:
    """``page.page``; raises MissingPackageError."""
    with _told():
        from stablernn.report import page
    return page.page(evidence, list(chapters))


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in _PACKAGES:
            raise
        raise MissingPackageError(
            f"figures and the page are drawn with {_PACKAGES[error.name]}, which is not installed: pip install "
            f"{' '.join(_PACKAGES.values())}, or make setup. Records and tables are written; make report draws the rest"
        ) from None
