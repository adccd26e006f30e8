"""Certificates: what is proven of each trained model, beside what is measured."""

from dataclasses import replace
from typing import Any

from stablernn.report.evidence import Evidence
from stablernn.report.labels import describe, of_which_seeds, on_each_side
from stablernn.report.load import Analyses, setting
from stablernn.report.section import Block, Section, block, minor
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
            norm, k = certificate["norm"].removesuffix("norm").rstrip("- "), result["k"]
            k = _beyond(certificate) if k is None else k
            proven_rate = certificate.get("gap_rate", certificate["rate"])
            proven = [proven_rate, norm, certificate["radius"], certificate["decoder"], k]
            proven.append(result["certified"][str(longest)])
        else:
            reasons.append(f"{name}, {stability}: not certified: {certificate['reason']}")
        entries.append([name, stability, *proven, result["measured"][str(longest)]["largest"]])
    notes = [
        "λ: proven rate of contraction in a norm; H, D_V: bounds of the state and of the decoder's rows in it",
        f"k({epsilon}): {metric.items} of context that provably change no log-probability by more than {epsilon} nats",
        f"gap({longest}): the same for k = {longest}; "
        f"measured: the largest change on {measured:,} {options['split']} {metric.items}",
        *on_each_side(record for record, _ in analyses),
        of_which_seeds(analyses),
    ]
    return Table(
        "Certificates", columns, entries, notes, [*dict.fromkeys(reasons)], [(record.id,) for record, _ in analyses]
    )


def rates_table(analyses: Analyses) -> Table | None:
    """A line for each kind of norm, of the first seed of each model that has a certificate by norm."""
    first: dict[tuple[str, ...], Analyses] = {}
    for record, result in analyses:
        kind = tuple(str(setting(record, option)) for option in ("model.name", "stability.name", "approximation.name"))
        limit = str(setting(record, "stability.constraint").get("limit"))
        if result.get("by_norm"):
            first.setdefault((*kind, limit), [(record, result)])  # analyses come in the order of seeds
    chosen = [entry for (entry,) in first.values()]
    if not chosen:
        return None
    epsilon, items = f"{chosen[0][1]['options']['epsilon']:g}", chosen[0][0].metric.items
    columns = [
        *(text("model"), text("stability"), text("norm")),
        *(Column("λ", _rate), Column(f"k({epsilon})", ",d", unit=items)),
    ]
    entries: list[list[Entry]] = []
    runs = []
    for names, (record, result) in zip(describe(chosen), chosen, strict=True):
        for norm, found in result["by_norm"].items():
            beyond = _beyond(result["certificate"]) if found["k"] is None else found["k"]
            k = beyond if found["certified"] else "none"
            entries.append([*names, norm, "unknown" if found["rate"] is None else found["rate"], k])
            runs.append((record.id,))
    notes = [
        "λ: the least rate of contraction found in a norm of the kind, a proof below 1; unknown: none was found",
        f"k({epsilon}): {items} that by this proof alone change no log-probability by more than {epsilon} nats",
        "2-norm: ‖W‖₂ of an RNN, the small gain by norms of an LSTM; weighted: D balances W, or falls along a cascade; "
        "best weighted: the best diagonal P; quadratic: a full P, by the linear matrix inequality; δISS: as published",
        of_which_seeds(chosen),
    ]
    return Table("Certificates by norm", columns, entries, notes, runs=runs, name="certificates_by_norm")


def _beyond(certificate: dict[str, Any]) -> str:
    """In the place of k(ε) where stability is proven."""
    return "not applicable" if "loss" in certificate else "> 10⁷"


def _rate(value: float) -> str:
    return rate(value) if value < 1 else f"{value:#.4g}"


def _nats(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-12 else "< 1e-12"


def _blocks(evidence: Evidence) -> list[Block]:
    analysed = ((data, evidence.of(data, "certificate")) for data in evidence.analysed)
    return [
        replace(block(data.caption, data.name, [], [certificate_table(here), rates_table(here)]), minor=minor(data))
        for data, here in analysed
        if here
    ]


SECTION = Section(
    "certificates",
    "Certificates",
    "What is proven of each trained model, beside what is measured.",
    _blocks,
    "certificates",
    ("C2",),
)
