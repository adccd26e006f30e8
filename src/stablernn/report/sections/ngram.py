"""A trained recurrent model as an n-gram, from its truncation curve: the last n - 1 words, or a reset every n words.

The n-gram of Chelba, Norouzi & Bengio 2017 (arXiv 1703.10724) predicts every word from the n - 1 words before it: it is
the model truncated to k = n - 1. A model whose state is set to zero every n words sees j words at the j-th place of a
block; over the n places where blocks may begin, every position is at every place once. So the mean over the n grids is

    log ppl_n = (1 / n) Σ_{j=1..n} log ppl^(j)          ppl^(j): truncated to the last j words

exactly, the beginning of the text included, and so with every other mean loss: the whole table needs no scoring of its
own.
"""

from typing import Any

from stablernn.report.curves import coloured
from stablernn.report.evidence import Evidence
from stablernn.report.figure import Axis, Curve, Drawing, Figure
from stablernn.report.labels import describe
from stablernn.report.load import Analyses
from stablernn.report.section import Block, Section, of_slice
from stablernn.report.sections.truncation import split
from stablernn.report.table import Column, Entry, Table, text
from stablernn.utils.metrics import PERPLEXITY, Metric

SHOWN = (2, 3, 5, 10, 20, 35)
_N_MAX = 35  # in the figure


def reset_values(result: dict[str, Any], metric: Metric) -> list[float]:
    """Scores with the state set to zero every n = 1, 2, ... inputs, mean over the grids, of a truncation curve.

    Args:
        result: of analysis=truncation. Its curve must hold k = 1, 2, ... without a gap; so far as it does, n goes.
        metric: of the curve's values.
    """
    whole = result["recurrent"]["total"] / result["recurrent"]["count"]
    values, changes = [], 0.0
    for n, (k, change) in enumerate(zip(result["k"], result["loss_change"], strict=True), 1):
        if k != n:
            break
        changes += change
        values.append(metric.of_mean(whole + changes / n))
    return values


def ngram_table(analyses: Analyses) -> Table:
    """Two lines for each run: n-gram, and reset every n words."""
    metric = analyses[0][0].metric.of_loss
    resets = [reset_values(result, metric) for _, result in analyses]
    shown = [n for n in SHOWN if all(n <= len(reset) for reset in resets)]
    columns = [text("model"), text("stability"), text("context")]
    columns += [Column(head, f".{metric.places}f", unit=metric.name) for head in (*(f"n={n}" for n in shown), "all")]
    entries: list[list[Entry]] = []
    for names, (_, result), reset in zip(describe(analyses), analyses, resets, strict=True):
        whole = result["recurrent"]["value"]
        entries.append([*names, f"n - 1 {metric.items}", *(result["value"][n - 2] for n in shown), whole])
        entries.append([*names, "reset every n", *(reset[n - 1] for n in shown), whole])
    notes = [
        f"{metric.name} of the same weights on {split(analyses)}; all: the recurrent model as trained",
        *_notes(metric),
    ]
    runs = [(record.id,) for record, _ in analyses for _ in range(2)]
    return Table("Recurrent models as n-grams", columns, entries, notes, runs=runs)


def _notes(metric: Metric) -> list[str]:
    """What the two lines of a run are."""
    one, items = metric.one, metric.items
    if metric is PERPLEXITY:
        alone, mean = f"each {one} predicted from the n - 1 before it, as an n-gram", "mean (of the log)"
    else:  # also of an answer that is said at its own input
        alone, mean = "each answer from the last n - 1 inputs alone", "mean"
    return [
        f"n - 1 {items}: {alone}",
        f"reset every n: state set to zero every n {items}, so 1 to n {items} of context; {mean} over where the resets "
        "fall",
    ]


def ngram_figures(analyses: Analyses) -> list[Figure]:
    """Perplexity against n."""
    drawing, lost, n = Drawing(), [], 1
    metric = analyses[0][0].metric.of_loss
    for model, constraint, colour, record, result in coloured(analyses):
        reset, runs = reset_values(result, metric)[:_N_MAX], (record.id,)
        ngram = result["value"][: len(reset) - 1]
        drawing.line(model, Curve(f"{constraint}, reset", colour), enumerate(reset, 1), runs)
        drawing.line(model, Curve(f"{constraint}, n-gram", colour, (5, 3)), enumerate(ngram, 2), runs)
        if ngram:
            lost.append(100 * (ngram[-1] / result["recurrent"]["value"] - 1))
            n = max(n, len(reset))
    figure = drawing.figure(
        "ngram",
        f"As {n}-grams the models come within {max(map(abs, lost), default=0):.1f} % of the recurrent {metric.name}",
        f"The same weights: dashed, with n − 1 {metric.items} of context; with their state set to zero every n "
        f"{metric.items}.",
        Axis(f"n ({metric.items})", logarithmic=False),
        Axis(f"{split(analyses)} {metric.name}"),
    )
    return [figure] if figure else []


def _blocks(evidence: Evidence) -> list[Block]:
    analysed = [(data, evidence.of(data, "truncation")) for data in evidence.slices]
    return [of_slice(data, ngram_figures(here), ngram_table(here)) for data, here in analysed if here]


SECTION = Section(
    "ngram",
    "As n-grams",
    "The same models as n-grams: with n − 1 words of context, or with a state that is forgotten every n words.",
    _blocks,
    "ngram",
    ("C2", "C4"),
    ("ngram",),
)
