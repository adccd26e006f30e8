"""A drawing of the renderer, as small as the page can have it: nothing in it can be seen less than before.

The style sheet of the page says what all drawings share, their colours, their letters and the size of these.
"""

import itertools
import re

import numpy as np

from stablernn.report.palette import COLOURS

_OFF = 0.2  # pixels that a line may run beside a point left out
_SHARED = {"#888888": "rule", "#E6E6E6": "grid", "white": "paper"}
_DEFAULTS = (
    r' (?:transform="translate\(0,0\)"|font-size="10px"|text-anchor="start"|stroke-dasharray="1,0"|stroke-width="1"'
    r'|stroke-miterlimit="10")'
)


def compact(svg: str) -> str:
    """Without what the page says itself, with its colours, and with as many digits as can be seen."""
    svg = re.sub(r'<path [^>]*(?:d=""|d="M0,0h0v0h0Z"|class="background")[^>]*/>', "", svg)
    svg = re.sub(r'<rect width="\d+" height="\d+" fill="white"/>', "", svg, count=1)
    svg = re.sub(r' (?:class|role|aria-[a-z]+|pointer-events|opacity|font-family|font-weight)="(?:1|\D[^"]*)"', "", svg)
    svg = re.sub(rf' xmlns(?::xlink)?="[^"]*"| version="[^"]*"|{_DEFAULTS}', "", svg)
    svg = re.sub(r' (?:d|transform|x2|y2)="[^"]*"', lambda place: re.sub(r"(\.[1-9])\d+|\.0\d+", r"\1", place[0]), svg)
    svg = re.sub(r'<line transform="translate\(([-\d.,]+)\)" x2="([-\d.]+)" y2="([-\d.]+)"', _straight, svg)
    svg = re.sub(r"(?<=[ML])[-\d.]+,[-\d.]+(?:L[-\d.]+,[-\d.]+)+", lambda line: _thinned(line[0]), svg)
    for name, (light, _) in COLOURS.items():
        svg = svg.replace(f'"{light}"', f'"var(--{name})"')
    for value, name in _SHARED.items():
        svg = svg.replace(f'"{value}"', f'"var(--{name})"')
    svg = re.sub(r'(<text[^>]*?) fill="var\(--ink\)"', r"\1", svg)
    svg = svg.replace('text-anchor="middle"', 'class="mid"').replace('text-anchor="end"', 'class="end"')
    return _joined(_unwrapped(_clipped_once(svg)))


def _straight(line: re.Match) -> str:
    """Grid and ticks as paths, which take half of the letters."""
    place, across, down = line.groups()
    way = f"v{down}" if across == "0" else f"h{across}" if down == "0" else f"l{across},{down}"
    return f'<path d="M{place}{way}"'


def _thinned(line: str) -> str:
    """A line without the points that it passes as near as nobody sees; its ends stay.

    Each point is written by its distance from the one before, in tenths of a pixel as all are: it has fewer digits.
    """
    places = line.split("L")
    points = np.array([[float(at) for at in place.split(",")] for place in places])
    tenths = np.rint(10 * points[_needed(points)]).astype(int).tolist()
    steps = ([(b - a) / 10 for a, b in zip(*pair, strict=True)] for pair in itertools.pairwise(tenths))
    return f"{places[0]}l{' '.join(','.join(_short(at) for at in step) for step in steps)}"


def _needed(points: np.ndarray) -> np.ndarray:
    """Which points (N, 2) a line needs that keeps its ends and comes near all (Ramer 1972, Douglas & Peucker 1973)."""
    needed = np.zeros(len(points), dtype=bool)
    needed[[0, -1]] = True
    parts = [(0, len(points) - 1)]
    while parts:
        start, end = parts.pop()
        along, others = points[end] - points[start], points[start + 1 : end] - points[start]
        if not len(others):
            continue
        nearest = np.clip(others @ along / max(along @ along, 1e-12), 0, 1)[:, None] * along
        apart = np.linalg.norm(others - nearest, axis=1)
        if apart.max() > _OFF:
            furthest = start + 1 + int(apart.argmax())
            needed[furthest] = True
            parts += [(start, furthest), (furthest, end)]
    return needed


def _short(number: float) -> str:
    """0.5 as .5"""
    return re.sub(r"^(-?)0\.", r"\1.", f"{number:g}")


def _clipped_once(svg: str) -> str:
    """One clip for all that is cut off alike; the renderer has one for each curve."""
    names: dict[str, str] = {}
    for whole, name, shape in re.findall(r'(<clipPath id="([^"]+)">(.*?)</clipPath>)', svg):
        if names.setdefault(shape, name) != name:
            svg = svg.replace(whole, "").replace(f"url(#{name})", f"url(#{names[shape]})")
    return svg.replace("<defs></defs>", "")


def _unwrapped(svg: str) -> str:
    """Without groups that say nothing of what is in them."""
    parts, said = [], []
    for part in re.split(r"(<g\b[^>]*>|</g>)", svg):
        if part == "</g>":
            parts.append(part if said.pop() else "")
        elif part.startswith("<g") and part[2:3] in (" ", ">"):
            said.append(part != "<g>")
            parts.append(part if said[-1] else "")
        else:
            parts.append(part)
    return re.sub(r"<g [^>]*></g>", "", "".join(parts))


def _joined(svg: str) -> str:
    """Grid lines and ticks of one colour as one path, and neighbours under one clip as one group."""
    svg = _until_stable(r'(<g clip-path="([^"]+)">(?:<[^>]*/>)*)</g><g clip-path="\2">', r"\1", svg)
    return _until_stable(r'(<path d="[^"]*)"( stroke="[^"]*"/>)<path d="([^"]*)"\2', r'\1\3"\2', svg)


def _until_stable(pattern: str, new: str, text: str) -> str:
    before = None
    while before != text:
        before, text = text, re.sub(pattern, new, text)
    return text
