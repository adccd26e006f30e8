"""The figure that carries the answer: score against k of the model that most is known of, beside the baseline."""

from collections import Counter

from stablernn.report.curves import WORDS, coloured, mean_over_seeds, model_name
from stablernn.report.evidence import Evidence
from stablernn.report.figure import Axis, Curve, Drawing, Figure, Level
from stablernn.report.frame import select
from stablernn.report.load import Analyses, setting
from stablernn.report.replicates import Replicates
from stablernn.report.section import Block, Section, minor, of_slice
from stablernn.report.sections.truncation import EPSILON, measured_context, split, with_interval
from stablernn.report.slices import TITLES, Slice

# Of ``conf/stability``: the curves, in order.
NAMES = {"unstable": "unstable", "stable": "stable", "lstm_gated_linear": "W = 0", "gru_gated_linear": "W = 0"}
_ALIKE = ["model", "approximation", "k", "stability", "note"]


def answer_figure(data: Slice, analyses: Analyses) -> Figure | None:
    """Truncated models against k, and the recurrent ones over all seeds, of the model with most constraints."""
    models = Counter(setting(record, "model.name") for record, _ in analyses)
    model = max(models, key=lambda name: (models[name], name))
    metric, drawing, contexts, runs = analyses[0][0].metric, Drawing(), {}, data.runs
    of_loss = metric.of_loss
    panel = f"{model_name(model)}: feed-forward (lines), recurrent (dots)"
    for _, _, colour, record, result in coloured(analyses):
        stability = str(setting(record, "stability.name"))
        if setting(record, "model.name") != model or stability not in NAMES:
            continue
        curve = Curve(NAMES[stability], colour)
        drawing.band(panel, curve, with_interval(result, of_loss), (record.id,))
        contexts.setdefault(curve.label, []).append(measured_context(result))
        if metric is of_loss:
            alike = (runs[_ALIKE] == select(runs, runs.id == record.id)[_ALIKE].iloc[0]).all(axis=1)
            mean_over_seeds(drawing, panel, curve, result["k"][-1], Replicates(select(runs, alike)))
        else:  # the scores of the runs are on another scale
            drawing.point(panel, curve, result["k"][-1], result["recurrent"]["value"], (record.id,))
    needed = [f"{_most(ks, analyses)} ({name})" for name, ks in contexts.items()]
    bar = data.best_baseline if metric is of_loss else None
    return drawing.figure(
        "answer",
        f"{TITLES.get(data.data, data.data)}: the score takes the last {', '.join(needed)} {of_loss.items}",
        f"{data.caption}: the same weights, seeing the last k {of_loss.items} alone, against {of_loss.title}; dots: "
        "the recurrent models, which see all of them, mean and standard deviation over seeds. The score: within "
        f"{EPSILON:g} nats of the recurrent model. W = 0: no recurrent matrices."
        + (f" Baseline: {bar[0]}." if bar else "")
        + " Bands: 95 % intervals of the change against the recurrent model, where they are known.",
        Axis(WORDS.title.replace("words", of_loss.items), ticks=WORDS.ticks),
        Axis(f"{split(analyses)} {of_loss.name}"),
        levels=[Level(bar[1], "baseline")] if bar else [],
    )


def _most(contexts: list[int | None], analyses: Analyses) -> str:
    known = [k for k in contexts if k is not None]
    return str(max(known)) if len(known) == len(contexts) else f"> {analyses[0][1]['k'][-1]}"


def _blocks(evidence: Evidence) -> list[Block]:
    analysed = [(data, evidence.of(data, "truncation")) for data in evidence.analysed]
    known = [(data, analyses) for data, analyses in analysed if analyses]
    if not known:
        return []
    data, analyses = max(known, key=lambda one: (not minor(one[0]), len(one[0].records)))
    return [of_slice(data, [answer_figure(data, analyses)], None)]


SECTION = Section("answer", "Score against k", "The figure that carries the answer.", _blocks, claims=("C2", "C4"))
