"""Certificates on a text: k(ε) for the inputs of a split, beside the proof for all texts and what is measured."""

from stablernn.report.curves import DOTTED, coloured
from stablernn.report.figure import Axis, Curve, Drawing, Figure
from stablernn.report.labels import describe, of_which_seeds
from stablernn.report.load import Analyses
from stablernn.report.section import Section, of_analysis
from stablernn.report.table import Column, Entry, Table, text
from stablernn.report.text import span, typeset

EPSILON = "0.01"


def certificate_on_text_table(analyses: Analyses) -> Table:
    """A line for each run."""
    options, metric = analyses[0][1]["options"], analyses[0][0].metric
    shown = [("any", "max", 0), ("targets", "mean", 2), ("targets", "p99", 1), ("targets", "max", 0)]
    columns = [
        *(text("model"), text("stability")),
        Column("positions", ",d", drop=1),
        Column(f"k({EPSILON}), all texts", ",d", unit=metric.items),
        *(Column(f"{what}, {name}", ",.0f", unit=metric.items, drop=drop) for what, name, drop in shown),
        Column("fewer, %", ".1f"),
        Column("measured", ",d", unit=metric.items),
    ]
    entries: list[list[Entry]] = []
    for names, (_, result) in zip(describe(analyses), analyses, strict=True):
        proven = {what: values[EPSILON] for what, values in result["proven"].items()}
        contexts = [result["on_all_texts"][EPSILON], *(proven[what][name] for what, name, _ in shown)]
        fewer, measured = 100 * proven["targets"]["shorter"], result["measured"]
        seen = None if measured is None else "beyond" if measured[EPSILON] is None else measured[EPSILON]
        entries.append([*names, result["positions"], *("none" if k is None else k for k in contexts), fewer, seen])
    notes = [
        f"k({EPSILON}): so many {metric.items} of context provably determine a log-probability to {EPSILON} nats; "
        "none: not proven, or no fewer than the longest sequence has",
        f"all texts: by the certificate, for any inputs; any, targets: at the positions of {options['split']}, "
        "of any output and of the one that comes",
        f"fewer: the share of {metric.items} of which fewer than all before provably determine the target so far",
        "measured: from there on no target is off by more, at the positions of analysis=truncation (beyond: more than "
        "was looked at; –: not measured)",
        of_which_seeds(analyses),
    ]
    return Table("Certificates on the text", columns, entries, notes, runs=[(record.id,) for record, _ in analyses])


def certificate_on_text_figure(analyses: Analyses) -> Figure | None:
    """Context against ε of each run that something is proven of on the text: for any input, on the text, measured."""
    metric, drawing, factors = analyses[0][0].metric, Drawing(), []
    any_input, on_text = Curve("proven, any input", "unstable"), Curve("proven, these inputs", "stable")
    measured = Curve("measured", "ink", DOTTED)
    for model, constraint, _, record, result in coloured(analyses):
        targets, everywhere, seen = result["proven"]["targets"], result["on_all_texts"], result["measured"]
        if targets[EPSILON]["max"] is None or seen is None or seen[EPSILON] is None:
            continue
        here = {epsilon: values["max"] for epsilon, values in targets.items()}
        for curve, contexts in ((any_input, everywhere), (on_text, here), (measured, seen)):
            known = sorted((float(epsilon), k) for epsilon, k in contexts.items() if k)
            drawing.line(f"{model}, {typeset(constraint)}", curve, known, (record.id,))
        factors.append(here[EPSILON] / seen[EPSILON])
    times = span([f"{factor:.1f}" for factor in (min(factors), max(factors))]) if factors else ""
    return drawing.figure(
        "certificates_on_text",
        f"On the text, a proof asks for {times} times the context that is measured to be needed",
        f"Context that determines every target to ε, at the worst position of the first {metric.items} of "
        f"{analyses[0][1]['options']['split']}; measured: on the whole split. Models of which nothing is proven are in "
        "the table alone.",
        Axis("ε (nats)", powers=True, reverse=True),
        Axis(f"k ({metric.items})"),
    )


SECTION = Section(
    "certificates_on_text",
    "Certificates on the text",
    "What is proven of each trained model for the inputs of one text, beside the proof for all texts.",
    of_analysis(
        "certificate_on_text", certificate_on_text_table, lambda analyses: [certificate_on_text_figure(analyses)]
    ),
    "certificates_on_text",
    ("C2",),
)
