r"""Tables as LaTeX for ``\usepackage{booktabs}``: plain ASCII, so that any engine and any encoding takes them."""

import re
import unicodedata

import pandas as pd

from stablernn.report.table import Table
from stablernn.report.text import typeset
from stablernn.utils.escaping import latex_label, visible

_PLAIN = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "`": "",
    "…": r"\dots{}",
    "–": "--",
    "—": "---",
    "“": "``",
    "”": "''",
    "’": "'",
    "\u00a0": "~",
}
_MATHS = {
    "±": r"\pm",
    "−": "-",
    "×": r"\times",
    "·": r"\cdot",
    "≤": r"\leq",
    "≥": r"\geq",
    "≈": r"\approx",
    "∞": r"\infty",
    "∂": r"\partial",
    "‖": r"\|",
    "α": r"\alpha",
    "ε": r"\varepsilon",
    "λ": r"\lambda",
    "μ": r"\mu",
    "ρ": r"\rho",
    "σ": r"\sigma",
    "φ": r"\varphi",
    "ℓ": r"\ell",
}
# ‖W − W_k‖_F, λ_r and a norm alone are one formula; so is a letter with a raised or lowered index.
_FORMULA = re.compile(
    r"‖[^‖\\{}$~^\x00-\x1f]*‖(?:_\w+|[₀-₉])?"
    r"|(?<!\w)[A-Za-zα-ω]_\w+|(?<!\w)[A-Za-z]\*(?!\w)|\w*[⁰¹²³⁴-⁹⁻⁺⁽ᵏ⁾₀-₉₋ᵣₜ]+|∂ ?[a-z]\w*"
)
_WIDEST, _LETTER, _GAP = 397, 4.2, 4  # points: a text column of 5.5 inches; a letter of 8 points; beside a column
_UP, _DOWN = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺⁽⁾ᵏ", "0123456789-+()k"), str.maketrans("₀₁₂₃₄₅₆₇₈₉₋ᵣₜ", "0123456789-rt")


def latex(table: Table) -> str:
    r"""A ``table`` with caption, label and notes; to be had by ``\input``. One too wide leaves columns out."""
    table = table.narrowed(lambda narrower: _width(narrower) <= _WIDEST)
    lines = pd.DataFrame([[escape(cell) for cell in line] for line in table.lines], columns=[*map(escape, table.heads)])
    format = "".join("l" if column.kind == "text" else "r" for column in table.columns)
    notes = escape("; ".join([*table.notes, *table.remarks]))
    parts = [
        r"\begin{table}",
        r"\centering",
        f"\\caption{{{escape(table.full_title)}.}}",
        f"\\label{{tab:{latex_label(table.stem)}}}",
        f"\\footnotesize\\setlength{{\\tabcolsep}}{{{_GAP}pt}}",
        lines.to_latex(index=False, escape=False, column_format=format).rstrip(),
        *([f"\n\\medskip\\raggedright {notes}."] if notes else []),
        r"\end{table}",
    ]
    return "\n".join(parts) + "\n"


def _width(table: Table) -> float:
    """About, in points."""
    letters = sum(max(map(len, column)) for column in zip(table.heads, *table.lines, strict=True))
    return letters * _LETTER + len(table.heads) * 2 * _GAP


def escape(text: str) -> str:
    """Text as LaTeX, in ASCII: formulas in dollars, and what LaTeX would take for a command escaped."""
    text, out, at = typeset(visible(text)), [], 0
    for match in _FORMULA.finditer(text):
        out += [*map(_plain, text[at : match.start()]), f"${_formula(match[0])}$"]
        at = match.end()
    return "".join([*out, *map(_plain, text[at:])])


def _plain(character: str) -> str:
    if character in _PLAIN:
        return _PLAIN[character]
    if character in _MATHS:
        return f"${_MATHS[character]}$"
    if character.isascii():
        return character
    # An accent is lost rather than the whole document.
    return unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode() or "?"


def _formula(text: str) -> str:
    """What stands between the dollars; a name of several letters is no product."""
    text = re.sub(r"(?<![A-Za-z])[A-Za-z]{2,}(?![A-Za-z])", lambda match: rf"\mathrm{{{match[0]}}}", text)
    text = re.sub(r"_(\\mathrm\{\w+\}|\w+)", r"_{\1}", text)
    text = re.sub(r"[⁰¹²³⁴-⁹⁻⁺⁽⁾ᵏ]+", lambda match: "^{" + match[0].translate(_UP) + "}", text)
    text = re.sub(r"[₀-₉₋ᵣₜ]+", lambda match: "_{" + match[0].translate(_DOWN) + "}", text)
    text = text.replace("*", "^{*}").replace("%", r"\%").replace("&", r"\&").replace("#", r"\#")
    return re.sub(r"([^\x00-\x7f])( ?[a-z])?", _symbol, text)


def _symbol(match: re.Match) -> str:
    command, after = _MATHS.get(match[1]) or _plain(match[1]), match[2] or ""
    return command + (" " + after.lstrip() if after and command[-1].isalpha() else after)
