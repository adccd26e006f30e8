"""Certificates on a text: k(ε) for the inputs of a split, beside the proof for all texts and what is measured."""

from stablernn.report.evidence import Evidence
from stablernn.report.labels import describe
from stablernn.report.load import Analyses
from stablernn.report.section import Block, Section, of_slice
from stablernn.report.table import Column, Entry, Table, text

EPSILON = "0.01"


def certificate_on_text_table(analyses: Analyses) -> Table:
    """A line for each run."""
    options, metric = analyses[0][1]["options"], analyses[0][0].metric
    k = f"k({EPSILON})"
    columns = [
        *(text("model"), text("stability")),
        Column(f"{k}, all texts", ",d", unit=metric.items),
        *(Column(f"any, {name}", _count, unit=metric.items, drop=drop) for name, drop in (("p99", 1), ("max", 0))),
        *(
            Column(f"target, {name}", _count, unit=metric.items, drop=drop)
            for name, drop in (("mean", 2), ("p99", 3), ("max", 0))
        ),
        Column("measured", ",d", unit=metric.items),
    ]
    entries: list[list[Entry]] = []
    for names, (_, result) in zip(describe(analyses), analyses, strict=True):
        proven = result["proven"]
        found = [proven["any"][EPSILON][name] for name in ("p99", "max")]
        found += [proven["targets"][EPSILON][name] for name in ("mean", "p99", "max")]
        measured = result["measured"]
        entries.append(
            [
                *names,
                _or_none(result["on_all_texts"][EPSILON]),
                *map(_or_none, found),
                None if measured is None else measured[EPSILON] if measured[EPSILON] is not None else "beyond",
            ]
        )
    positions = " or ".join(sorted({f"{result['positions']:,} of {result['of']:,}" for _, result in analyses}))
    notes = [
        f"{k}: {metric.items} of context that provably change a log-probability by at most {EPSILON} nats; none: not "
        "proven, or no fewer than the longest sequence has",
        f"all texts: for any inputs, the certificate; any, target: for those of {options['split']}, at {positions} "
        f"positions, of any output and of the one that comes; mean, p99 and max over the positions",
        "measured: from there on no target is off by more, on the whole split (beyond: more than was looked at; –: not "
        "measured)",
    ]
    return Table("Certificates on the text", columns, entries, notes, runs=[(record.id,) for record, _ in analyses])


def _or_none(value: float | None) -> Entry:
    return "none" if value is None else value


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _blocks(evidence: Evidence) -> list[Block]:
    data = {f"{data.text} {data.profile}": data for data in (*evidence.slices, *evidence.tasks)}
    analysed = [(each, evidence.of(each, "certificate_on_text")) for each in data.values()]
    return [of_slice(each, [], certificate_on_text_table(here)) for each, here in analysed if here]


SECTION = Section(
    "certificates_on_text",
    "Certificates on the text",
    "What is proven of each trained model for the inputs of one text, beside the proof for all texts.",
    _blocks,
    "certificates_on_text",
    ("C2",),
)
