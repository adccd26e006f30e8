"""What each mechanism solves against how far it remembers: the synthetic tasks together, and each real one."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean

from stablernn.report.curves import DOTTED
from stablernn.report.figure import Axis, Curve, Drawing, Figure, Level
from stablernn.report.frame import EPSILON
from stablernn.report.palette import OTHERS
from stablernn.report.sections.atlas_questions import PLAIN, Mapped, families, family
from stablernn.report.sections.synthetic import SOLVED
from stablernn.report.text import listed
from stablernn.utils.wording import counted

_KINDS = [name for name in dict.fromkeys(families().values()) if name != PLAIN]
_COLOURS = {PLAIN: "ink"} | dict(zip(_KINDS, OTHERS, strict=False))
_REST = OTHERS[len(_KINDS) :]  # of what is of no listed kind
_LEAST = 1e-6  # of the baseline: smaller shares are drawn there
_CONTEXT = Axis(f"k({EPSILON}) (inputs)", own=True)


def atlas_figures(every: Sequence[Mapped]) -> list[Figure]:
    """One of all synthetic tasks, and one for each other task, on the scale of its score."""
    real = {one.data.text: one.data for one in every if not one.data.synthetic}.values()
    made = [synthetic_figure(every)]
    made += [_real_figure([one for one in every if one.data is data]) for data in real]
    return [figure for figure in made if figure]


def synthetic_figure(every: Sequence[Mapped]) -> Figure | None:
    """Scores by the exact baseline, a panel a task."""
    drawing = Drawing()
    made = [one for one in every if one.data.synthetic]
    drawn, how = _dots(drawing, made, lambda one, score: max(score / one.bar, _LEAST))
    return drawing.figure(
        "atlas",
        f"{sum(one.solved for one in drawn)} of {counted(len(drawn), 'pair')} of a mechanism and a synthetic task "
        f"{'is' if len(drawn) == 1 else 'are'} solved",
        f"A dot is a mechanism: its mean score by the exact baseline’s, against k({EPSILON}), the inputs after "
        f"which the trained model is feed-forward. Below the dotted line a task counts as solved.{how}",
        _CONTEXT,
        Axis("score / baseline", powers=True),
        levels=[Level(1, "baseline"), Level(1 / SOLVED, "solved", dash=DOTTED)],
    )


def _real_figure(every: Sequence[Mapped]) -> Figure | None:
    """Scores of one task with its baselines; of those of texts, the best n-gram alone."""
    data, drawing = every[0].data, Drawing()
    drawn, how = _dots(drawing, every, lambda one, score: score)
    best = data.best_baseline
    baselines = dict([best] if best else []) if data.baseline else data.baselines
    figure = drawing.figure(
        "atlas",
        f"{sum(one.mark == '✓' for one in drawn)} of {counted(len(drawn), 'mechanism')} better than the baseline",
        f"A dot is a mechanism: its mean score against k({EPSILON}), the inputs after which the trained model is "
        f"feed-forward. Dotted: models that know next to nothing of the past; the best of them is the baseline.{how}",
        _CONTEXT,
        Axis(f"test {data.metric.title}", logarithmic=False),
        levels=[Level(value, f"{name}: {value:.2f}", dash=DOTTED) for name, value in baselines.items()],
    )
    return figure and replace(figure, place=data.name, where=data.caption)


def _dots(
    drawing: Drawing, every: Sequence[Mapped], height: Callable[[Mapped, float], float]
) -> tuple[list[Mapped], str]:
    """Draws each mechanism with its name; returns which are drawn, and the end of the caption."""
    families = dict.fromkeys(family(one.model) for one in every)
    rest = iter(_REST)
    curves = {name: Curve(name, _COLOURS.get(name) or next(rest)) for name in families}
    drawn: list[Mapped] = []
    beyond: list[str] = []
    for one in every:
        if not (one.of("truncation") and one.cell.values):
            continue
        if not isinstance(one.context, int):
            beyond.append(f"{one.label} ({one.task})")
            continue
        y, name = height(one, fmean(one.cell.values)), f"{one.label} ({one.context})"
        drawing.point(one.task, curves[family(one.model)], one.context, y, one.cell.ids, line=one.label, name=name)
        drawn.append(one)
    kinds_of = {name: dict.fromkeys(one.plain_name for one in drawn if family(one.model) == name) for name in families}
    said = "; ".join(f"{name}: {listed(list(some))}" for name, some in kinds_of.items() if some)
    left = f" Not drawn, as their k is larger than was looked at: {listed(beyond)}." if beyond else ""
    return drawn, f" In brackets: k({EPSILON}). A colour is a kind of mechanism: {said}.{left}"
