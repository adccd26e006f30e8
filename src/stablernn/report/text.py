"""How numbers and text are written: for every format of a table, for verdicts and for figures."""

import math
import re
from collections.abc import Sequence

RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def short(value: float) -> str:
    """Two digits, one where it is small."""
    if value == 0:
        return "0"
    return f"{value:.0e}" if value < 0.0095 or value >= 9999 else f"{value:.2g}" if value < 100 else f"{value:.0f}"


def rate(value: float) -> str:
    """λ with as many digits as tell it from 1."""
    digits = 3 if value < 0.99 else min(9, 2 + math.ceil(-math.log10(max(1 - value, 1e-9))))
    return f"{value:.{digits}f}"


def signed(value: float) -> str:
    """One decimal with its sign; what rounds to zero has none."""
    return f"{value:+.1f}" if abs(value) >= 0.05 else "0.0"


def span(values: Sequence[str]) -> str:
    """First to last, once if they are the same."""
    return " to ".join(dict.fromkeys((values[0], values[-1])))


def listed(names: Sequence[str]) -> str:
    """a, b and c; nothing of none."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def sentence(text: str) -> str:
    text = typeset(text)
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def typeset(text: str) -> str:
    """Minus signs, powers of ten in the place of 1e-07, and per cent signs that stay with their number."""

    def power(match: re.Match) -> str:
        raised = f"10{str(int(match[2])).translate(RAISED)}"
        return raised if match[1] == "1" else f"{match[1]}·{raised}"

    text = re.sub(r"(?<![\w.])(\d[\d.]*)e([+-]\d+)", power, text)
    return re.sub(r"(?<![\w-])-(?=\d)|(?<= )-(?= )", "−", text).replace(" %", "\u00a0%")
