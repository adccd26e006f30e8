"""Piano rolls as pictures, one below the other on one axis of time."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt

from stablernn.report.draw import rendered, save, styled
from stablernn.report.palette import COLOURS

Note = tuple[int, int, int]  # key as MIDI counts, first frame, frame after the last
_WIDTH, _HEIGHT = 470, 150
_OCTAVE = 12


def export(title: str, rolls: Mapping[str, Sequence[Note]], prompt: int, differ: int | None, stem: Path) -> list[Path]:
    """Write a picture as SVG and PNG; returns the files.

    Args:
        title: of it.
        rolls: notes by the name of their panel.
        prompt: frames that were given.
        differ: the first frame in which they differ; None: in none.
        stem: path of the files without their endings.
    """
    every = [note for notes in rolls.values() for note in notes] or [(60, 0, 1)]
    low, high = min(key for key, *_ in every) - 1, max(key for key, *_ in every) + 1
    last = max([prompt + 1, *(end for *_, end in every)])
    marks: list[tuple[int, dict[str, Any]]] = [(prompt, {"text": "prompt ", "align": "right"})]
    if differ is not None:
        marks.append((differ, {"text": " differ", "align": "left"}))
    x = alt.X("begin:Q", scale=alt.Scale(domain=[0, last], nice=False), title="frame")
    octaves = [key for key in range(0, 128, _OCTAVE) if low <= key <= high]
    y = alt.Y(
        "low:Q",
        scale=alt.Scale(domain=[low, high], nice=False),
        title="key",
        axis=alt.Axis(values=octaves, labelExpr=f"'C' + (datum.value / {_OCTAVE} - 1)"),
    )
    panels = []
    for name, notes in rolls.items():
        bars = alt.Chart(alt.Data(values=list(_bars(notes)))).mark_rect(color=COLOURS["stable"][0])
        layers: list[alt.Chart] = [bars.encode(x=x, x2="end:Q", y=y, y2="high:Q")]
        for at, label in marks:
            base = alt.Chart(alt.Data(values=[{"at": at}])).encode(x="at:Q")
            layers.append(base.mark_rule(color=COLOURS["ink"][0], strokeWidth=0.8, strokeDash=[3, 3]))
            layers.append(base.mark_text(**label, baseline="bottom", y=-1, fontSize=9, color="#666666"))
        panels.append(
            alt.layer(*layers).properties(width=_WIDTH, height=_HEIGHT, title=alt.TitleParams(name, offset=12))
        )
    chart = alt.vconcat(*panels, spacing=16, title=alt.TitleParams(title, fontWeight="bold", offset=10))
    return save(rendered(styled(chart)), stem)


def _bars(notes: Sequence[Note]) -> Iterator[dict[str, float]]:
    for key, begin, end in notes:
        yield {"low": key - 0.4, "high": key + 0.4, "begin": begin + 0.05, "end": end - 0.05}
