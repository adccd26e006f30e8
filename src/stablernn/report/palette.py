"""Colours of all figures, on light and on dark: distinct with any colour vision (after Okabe & Ito 2008)."""

from collections.abc import Sequence
from typing import Any

# By name: the colour on a light page and in print, and on a dark page. The page defines a CSS variable of each.
COLOURS = {
    "unstable": ("#D55E00", "#F58B4C"),
    "stable": ("#0072B2", "#5FB0EA"),
    "green": ("#009E73", "#3CC79E"),
    "pink": ("#B95F92", "#E29FC3"),
    "amber": ("#C98A00", "#F0B84A"),
    "sky": ("#3F9CD4", "#8CCBF2"),
    "wine": ("#882255", "#CF6D9C"),
    "grey": ("#8A8A8A", "#9A9A9A"),
    "violet": ("#6A51A3", "#A996D8"),
    "olive": ("#77772B", "#C5C24F"),
    "ink": ("#222222", "#E6E3DC"),
    # An order from dark to bright that stays in sight on both.
    "k0": ("#440154", "#B48AE0"),
    "k1": ("#46327E", "#8F9BE8"),
    "k2": ("#365C8D", "#6FB3E0"),
    "k3": ("#277F8E", "#56C7CF"),
    "k4": ("#1FA187", "#4FD6AC"),
    "k5": ("#4AB06D", "#7FDF7E"),
    "k6": ("#8AA61F", "#B9E05A"),
    "k7": ("#C29A00", "#F2DD4D"),
}
OTHERS = ("pink", "amber", "green", "sky", "wine", "violet", "olive", "grey")
_SHADES = tuple(name for name in COLOURS if name[0] == "k" and name[1:].isdigit())


def shades(values: Sequence[Any]) -> dict[Any, str]:
    """A colour of the ordered ones for each value, from the first to the last."""
    last = max(len(values) - 1, 1)
    return {value: _SHADES[round(n * (len(_SHADES) - 1) / last)] for n, value in enumerate(values)}
