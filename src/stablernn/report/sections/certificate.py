"""Certificates: what is proven of each trained model, beside what is measured."""

from stablernn.report.labels import describe, of_which_seeds
from stablernn.report.load import Analyses
from stablernn.report.section import Section, of_analysis
from stablernn.report.table import Column, Entry, Table, text
from stablernn.report.text import rate


def certificate_table(analyses: Analyses) -> Table:
    """A line for each run."""
    options, metric = analyses[0][1]["options"], analyses[0][0].metric
    measured = min(options["tokens"], *(record.data["tokens"][options["split"]] for record, _ in analyses))
    longest, epsilon = max(options["lengths"]), f"{options['epsilon']:g}"
    columns = [
        *(text("model"), text("stability")),
        *(Column("λ", rate), Column("norm"), Column("H", ".3g"), Column("D_V", ".3g")),
        Column(f"k({epsilon})", ",d", unit=metric.items),
        *(Column(head, _nats, unit="nats") for head in (f"gap({longest}) ≤", "measured")),
    ]
    entries: list[list[Entry]] = []
    reasons = []
    for (name, stability), (_, result) in zip(describe(analyses), analyses, strict=True):
        certificate = result["certificate"]
        proven: list[Entry] = ["not certified", *[None] * 5]
        if certificate["certified"]:
            norm, k = certificate["norm"].removesuffix("-norm"), result["k"] if result["k"] is not None else "> 10⁷"
            proven = [certificate["rate"], norm, certificate["radius"], certificate["decoder"], k]
            proven.append(result["certified"][str(longest)])
        else:
            reasons.append(f"{name}, {stability}: not certified: {certificate['reason']}")
        entries.append([name, stability, *proven, result["measured"][str(longest)]["largest"]])
    notes = [
        "λ: proven rate of contraction; H, D_V: bounds of the state and of the decoder's rows",
        f"k({epsilon}): {metric.items} of context that provably change no log-probability by more than {epsilon} nats",
        f"gap({longest}): the same for k = {longest}; "
        f"measured: the largest change on {measured:,} {options['split']} {metric.items}",
        of_which_seeds(analyses),
    ]
    return Table("Certificates", columns, entries, notes, reasons, [(record.id,) for record, _ in analyses])


def _nats(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-12 else "< 1e-12"


SECTION = Section(
    "certificates",
    "Certificates",
    "What is proven of each trained model, beside what is measured.",
    of_analysis("certificate", certificate_table),
    "certificates",
    ("C2",),
)
