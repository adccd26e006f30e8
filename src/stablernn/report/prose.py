"""Text whose numbers are those of the tables: Jinja templates, filled in when the report is written."""

import re
import textwrap
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from stablernn.report.frame import select
from stablernn.report.names import PUBLISHED
from stablernn.utils.errors import RecordError
from stablernn.utils.wording import counted


class Number(float):
    """A number as its table prints it; in a calculation a float."""

    printed: str

    def __new__(cls, printed: str) -> "Number":
        number = super().__new__(cls, printed.replace(",", ""))
        number.printed = printed
        return number

    def __str__(self) -> str:
        return self.printed


class Lines:
    """Lines of a table, narrowed by a call and read by a column's name once one is left.

    Args:
        name: of the table, for messages.
        frame: its lines, all of them text.
    """

    def __init__(self, name: str, frame: pd.DataFrame) -> None:
        self.name, self._frame = name, frame

    def __call__(self, **beginnings: str) -> "Lines":
        """The lines whose columns begin with these words."""
        frame = self._frame
        for column, words in beginnings.items():
            frame = select(frame, frame[column].map(re.compile(rf"{re.escape(words)}(?![\w.])").match).notna())
        return Lines(f"{self.name} {beginnings}", frame)

    def __getitem__(self, column: str) -> Number | str:
        """What the only line has in a column.

        Raises:
            RecordError: there is no such column, or not one line.
        """
        if len(self._frame) != 1 or column not in self._frame:
            raise RecordError(
                f"the text quotes the column {column!r} of {self.name}, which has {len(self._frame)} such lines: "
                "mend the template, or make the missing records"
            )
        return _value(self._frame[column].iloc[0])

    def all(self, column: str) -> list[Number | str]:
        """What every line has in a column, from top to bottom."""
        return [_value(printed) for printed in self._frame[column]]


def fill_in(template: Path, tables: Path) -> str:
    """A template's text, with the numbers of the CSV files in ``tables``.

    In a template ``table(name, column=words, ...)`` are ``Lines`` of ``<name>.csv``, ``published`` the values of the
    study by model and stability, ``says(words, true)`` is the words, ``seeds(lines, ...)`` how many seeds each of these
    lines has, in words, and ``number | f(".2f")`` formats.

    Raises:
        RecordError: a table, line or column is missing, or the tables no longer bear the words out.
    """
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["f"] = _rounded
    read = cache(partial(_read, tables))
    environment.globals |= {
        "says": _says,
        "seeds": _seeds,
        "published": PUBLISHED,
        "table": lambda name, **of: read(name)(**of),
    }
    try:
        text = environment.from_string(template.read_text(encoding="utf-8")).render()
    except jinja2.TemplateError as error:
        raise RecordError(f"{template}: {error}") from error
    except RecordError as error:
        raise RecordError(f"{template}: {error}") from None
    blocks = re.split(r"\n(?=\n|- |#|\||!)", text.strip())
    return "\n".join(map(_wrap, blocks)) + "\n"


def _wrap(block: str) -> str:
    """A paragraph or an item of a list in lines of at most 120 columns; it may begin with an empty line."""
    indent = "  " if block.startswith("- ") else ""
    words = " ".join(block.split()).replace(" %", "\u00a0%")  # a number keeps its sign
    filled = textwrap.fill(words, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    filled = filled.replace("\u00a0", " ")
    return f"\n{filled}" if block.startswith("\n") else filled


def _read(tables: Path, name: str) -> Lines:
    path = tables / f"{name}.csv"
    if not path.is_file():
        raise RecordError(f"the text quotes {path.name}, which the records do not make")
    return Lines(name, pd.read_csv(path, dtype=str, keep_default_na=False))


def _rounded(number: float | str, spec: str) -> str:
    """A number of a table with fewer digits; refused where these do not tell whether it rounds up or down."""
    digits = re.search(r"\.(\d+)f$", spec)
    exact = isinstance(number, Number) and Decimal(number.printed.replace(",", ""))
    if digits and exact and (abs(exact) * 10 ** int(digits[1])) % 1 == Decimal("0.5"):
        raise RecordError(f"{exact} was rounded before: it may be above or below the half, so say it with more digits")
    return format(float(number), spec)


def _says(words: str, true: Any) -> str:
    if not true:
        raise RecordError(f"the text says {words!r}, and the tables no longer do: rewrite it")
    return words


def _seeds(*lines: Lines, column: str = "seeds") -> str:
    """``three seeds``, which each of the lines has in a column."""
    counts = [{int(count) for count in each.all(column)} for each in lines]
    if len(set().union(*counts)) != 1:
        found = "; ".join(f"{each.name}: {sorted(count)}" for each, count in zip(lines, counts, strict=True))
        raise RecordError(f"the text says that each of these has as many seeds, and they have not: {found}")
    ((number, *_), *_) = counts
    words = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return "one seed" if number == 1 else counted(dict(enumerate(words, 2)).get(number, str(number)), "seed")


def _value(printed: str) -> Number | str:
    try:
        return Number(printed)
    except ValueError:
        return printed
