"""Text from records as each format shows it and never obeys it: one function a format, used by every writer.

HTML is escaped by the template engine, LaTeX by ``report.latex.escape``; both take ``visible`` text.
"""

import re

# Control characters, marks that turn the direction of text around, and what XML cannot hold. New lines are among them:
# a cell, a caption and a note are one line each.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]")
_NUMBER = re.compile(r"[+-]?(\d[\d,]*\.?\d*|\.\d+|inf|nan)(e[+-]?\d+)?", re.IGNORECASE)


def visible(text: str) -> str:
    r"""Text whose every character is seen, as ``\x1b`` where it has no sign of its own."""
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def terminal(text: str) -> str:
    """``visible``, with the new lines and tabs that lay text out."""
    return "".join(part if part in "\n\t" else visible(part) for part in re.split(r"([\n\t])", text))


def drawn(text: str) -> str:
    r"""``visible`` text for the drawing library, which takes ``\\x1b`` for the character again."""
    return visible(text).replace("\\", "/")


def csv_cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula: text that begins like one gets an apostrophe, a number none."""
    text = visible(text)
    formula = text.lstrip()[:1] in tuple("=+-@") and not _NUMBER.fullmatch(text)
    return f"'{text}" if formula else text


def markdown_text(text: str) -> str:
    """A line without tags, links and images; code between backticks stays."""
    text = re.sub(r"<(?=[A-Za-z/!?])", r"\\<", visible(text))
    return re.sub(r"&(?=#|\w+;)", "&amp;", text.replace("](", r"]\("))


def markdown_cell(text: str) -> str:
    """``markdown_text`` that ends no column."""
    return markdown_text(text).replace("|", r"\|")


def latex_label(text: str) -> str:
    r"""The key of a ``\label``: letters, digits, ``.`` and ``-`` alone."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text)
