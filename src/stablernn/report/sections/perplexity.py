"""Table 1: test perplexity of each model under each constraint, and what the constraint costs."""

import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from stablernn.records.record import STOPPED, Record
from stablernn.report.difference import Difference, certainty, difference, relative, signed
from stablernn.report.judgement import span
from stablernn.report.labels import describe_constraint
from stablernn.report.load import NGRAMS, Section, setting
from stablernn.report.names import CONSTRAINTS, STUDIED, approximation_name, own_constraints
from stablernn.report.rows import Cell, Row, rows
from stablernn.report.sections.certificate import rate
from stablernn.report.tables import Table
from stablernn.utils.wording import counted

EPSILON = "0.01"  # nats, as certificates name it
_DIFFERENCE = "− unstable"


@dataclass(frozen=True)
class _Line:
    """One cell of Table 1: a model under a constraint, beside the unstable model of its kind."""

    row: Row
    name: str
    cell: Cell
    seeds: frozenset[int]  # of all lines with its approximation and k
    bar: tuple[int, float] | None = None  # ``Section.bar``

    @property
    def constraint(self) -> str:
        return constraint_name(self.cell.runs[0], self.name)

    @property
    def counted(self) -> str:
        """The seeds that finished, of those that lines of the kind have."""
        finished = len(self.cell.values)
        return str(finished) if finished == len(self.seeds) else f"{finished} of {len(self.seeds)}"

    @property
    def difference(self) -> Difference | None:
        return None if self.name == "unstable" else difference(self.row.cells.get("unstable", Cell(())), self.cell)

    @property
    def untrained(self) -> bool:
        return self.bar is not None and bool(self.cell.values) and statistics.mean(self.cell.values) > self.bar[1]

    @property
    def percent(self) -> float | None:
        found = difference(self.row.cells.get("unstable", Cell(())), self.cell, relative)
        return None if self.name == "unstable" or found is None else found.mean

    @property
    def epochs(self) -> str:
        told = sorted(run.progress["epochs"] for run in self.cell.finished)
        return span([f"{value:.2g}" for value in told]).replace(" to ", "–") if told else "–"

    @property
    def _stopped(self) -> list[Record]:
        return [run for run in self.cell.finished if run.status == STOPPED]

    @property
    def _planned(self) -> list[str]:
        return [str(epochs) for epochs in sorted({run.config["training"]["epochs"] for run in self._stopped})]

    def remark(self) -> str:
        """What sets the cell apart from its neighbours, empty for nothing."""
        ran, finished = ({setting(run, "seed") for run in runs} for runs in (self.cell.runs, self.cell.finished))
        refused = [run for run in self.cell.finished if run.certificate.get("certified") is False]
        found = self.difference
        told = [
            f"{_seeds(ran - finished)} diverged" if ran - finished else "",
            f"no run of {_seeds(self.seeds - ran)}" if self.seeds - ran else "",
            f"stopped by a deadline after {self.epochs} of {counted(span(self._planned), 'epoch')}"
            if self._stopped
            else "",
            f"difference over the {found.seeds} of {counted(len(finished), 'seed')} that the unstable model has as well"
            if found and found.seeds < len(finished)
            else "",
            f"worse than a {NGRAMS[self.bar[0]]}, so not trained far enough" if self.bar and self.untrained else "",
            f"nothing is proven of {len(refused)} of {len(finished)}"
            if 0 < len(refused) < len(finished)
            else f"nothing is proven (seed {setting(refused[0], 'seed')}: {refused[0].certificate['reason']})"
            if refused and self.name != "unstable" and refused[0].certificate.get("reason")
            else "",
        ]
        where = f"{self.row.name}, {self.constraint}, {approximation_name(self.row.approximation)}, k = {self.row.k}"
        return f"{where}: {', '.join(filter(None, told))}" if any(told) else ""


def constraint_name(record: Record, name: str) -> str:
    """A constraint as readers know it, with its limit; ``name``: with the options that tell it from its like."""
    options = ", ".join(option for option in name.split(", ")[1:] if not option.startswith("limit="))
    if setting(record, "stability.name") != "stable" or setting(record, "model.name") not in STUDIED:
        return describe_constraint(record, options)
    constraint = setting(record, "stability.constraint")
    norm = f"‖W‖₂ ≤ {constraint['limit']:g}" if "limit" in constraint else "‖W‖₂ ≤ λ"
    known = f"stable ({norm if setting(record, 'model.name') == 'rnn' else CONSTRAINTS['stable']})"
    return f"{known} ({options})" if options else known


def leading(sections: Iterable[Section]) -> list[Section]:
    """The best profile of each corpus, WikiText-2 first: what a reader sees before anything else."""
    best: dict[tuple[str, str], Section] = {}
    for section in sections:
        # Texts that have a name in common are as many corpora.
        best.setdefault((section.data, section.fingerprint if section.ambiguous else ""), section)
    return sorted(best.values(), key=lambda section: section.data != "wikitext2")


def abridged(section: Section) -> Section:
    """The section at the longest k of each model and approximation alone."""

    def kind(record: Record) -> tuple[str, str]:
        return setting(record, "model.name"), setting(record, "approximation.name")

    longest: dict[tuple[str, str], int] = {}
    for record in section.records:
        longest[kind(record)] = max(setting(record, "truncation.k"), longest.get(kind(record), 0))
    kept = (r for r in section.records if setting(r, "truncation.k") == longest[kind(r)])
    return replace(section, records=tuple(kept))


def introduction(section: Section) -> str:
    """What the table shows, and what it does not say."""
    finished = [run for row in rows(section) for cell in row.cells.values() for run in cell.finished]
    told = "Each line is a model under one constraint, with the hyperparameters of the unstable model of its kind"
    if section.protocol:
        return f"{told}: the study’s protocol, with its published values beside ours."
    if section.full_size:
        return (
            f"{told}. The models are of the study’s size and the schedule is much shorter (the study trains for up to "
            "40 epochs), so the published values beside ours are a landmark and no target."
        )
    sizes = sorted({run.config["model"]["hidden_size"] for run in finished})
    epochs = [f"{value:.2g}" for value in sorted({run.progress["epochs"] for run in finished})]
    if section.data != "wikitext2" or not finished:
        return f"{told}. It is not the study’s text: only the differences between lines may be held against it."
    trained = f"{counted(span([str(size) for size in sizes]), 'unit')} and {counted(span(epochs), 'epoch')}"
    with_care = ", with one seed the large ones alone" if len({setting(run, "seed") for run in finished}) == 1 else ""
    return (
        f"{told}. With {trained} (the study trains for up to 40) its perplexities are far from the study’s and say "
        f"nothing about them; what may be read are the differences between lines{with_care}."
    )


def table(section: Section) -> Table:
    """A line for each model, approximation and constraint; columns that would be empty are left out."""
    body = rows(section)
    seeds: dict[tuple[str, int], set[int]] = {}
    for row in body:
        runs_of_row = [run for cell in row.cells.values() for run in cell.runs]
        seeds.setdefault((row.approximation, row.k), set()).update(setting(run, "seed") for run in runs_of_row)
    found = [
        _Line(row, name, cell, frozenset(seeds[row.approximation, row.k]), section.bar)
        for row in body
        for name, cell in row.cells.items()
    ]
    optimal, published = any(row.optimal for row in body), section.full_size
    heads = ["model", "constraint", "approximation", "k", "test", "seeds", _DIFFERENCE, "%", "λ", f"k({EPSILON})"]
    heads += ["optimum"] * optimal + ["published"] * published + ["parameters", "epochs"]
    columns = [{_DIFFERENCE: "difference to unstable", "%": "difference %"}.get(head, head) for head in heads]
    lines, runs = [], []
    for line in found:
        cells = [line.row.name, line.constraint, approximation_name(line.row.approximation), str(line.row.k)]
        cells += [line.cell.mean(), line.counted, *_cost(line), *_proven(line.cell)]
        cells += [f"{line.row.optimal:.1f}" if line.row.optimal else "–"] * optimal
        cells += [f"{line.row.published[line.name]:.1f}" if line.name in line.row.published else "–"] * published
        lines.append([*cells, f"{line.row.any_run.model['parameters']:,}", line.epochs])
        own = tuple(run.id for run in line.cell.runs)
        both = tuple(dict.fromkeys([*(run.id for run in line.row.cells.get("unstable", Cell(())).runs), *own]))
        compared = {heads.index(head): both for head in (_DIFFERENCE, "%")}
        runs.append(dict.fromkeys(range(4, len(heads)), own) | compared)
    for order, perplexity in section.control.items():
        cells = ["Kneser-Ney", f"order {order}", "n-gram", str(order - 1), f"{perplexity:.1f}"]
        lines.append(cells + ["–"] * (len(heads) - len(cells)))
        runs.append({})
    return Table(
        f"Test perplexity on {section.caption}",
        heads,
        lines,
        list(_notes(section, found)),
        [remark for line in found if (remark := line.remark())],
        runs,
        texts=3,
        columns=columns,
        intervals=frozenset({heads.index(_DIFFERENCE)}),
        spare=("parameters", "epochs", "%", "seeds", f"k({EPSILON})"),
    )


def _cost(line: _Line) -> tuple[str, str]:
    """The difference to the unstable model with its interval, and in per cent."""
    found, percent = line.difference, line.percent
    if found is None or percent is None:
        return "–", "–"
    return found.told("+") if found.seeds > 1 else signed(found.mean), signed(percent)


def _proven(cell: Cell) -> tuple[str, str]:
    """The largest λ and k of the seeds, where all of them are certified."""
    found = [run.certificate for run in cell.finished]
    if not found:
        return "–", "–"
    found = [certificate for certificate in found if certificate.get("certified") is not None]
    if not found:
        return "–", "–"
    if not all(certificate["certified"] for certificate in found):
        return "no", "–"
    ks = [certificate.get("context", {}).get(EPSILON) for certificate in found]
    return rate(max(certificate["rate"] for certificate in found)), "–" if None in ks else f"{max(ks):,}"


def _notes(section: Section, found: list[_Line]) -> Iterator[str]:
    seeds = sorted({len(line.cell.values) for line in found})
    if seeds[-1] < 2:
        yield "1 seed a cell: how far seeds spread is not known, so small differences mean nothing"
    else:
        yield f"{counted(span([str(count) for count in seeds]), 'seed')} a cell: mean ± standard deviation"
        yield certainty([line.difference for line in found if line.difference]).partition("; ")[2]
    if any(line.difference for line in found):
        yield f"{_DIFFERENCE}, %: against the unstable model of the line’s kind, over the seeds that both have"
    yield "λ: certified rate of contraction (no: nothing is proven)"
    if any(run.certificate.get("certified") is None for line in found for run in line.cell.finished):
        yield "– under λ: no certificate was computed"
    yield f"k({EPSILON}): words of context that provably change no log-probability by more than {EPSILON} nats"
    if seeds[-1] > 1:
        yield "λ and k of the seed where they are largest"
    names = {str(setting(line.cell.runs[0], "stability.name")) for line in found}
    models = {line.row.model for line in found}
    if "stable" in names and "lstm" in models:
        yield "as stated: the study’s condition"
    if ours := own_constraints(names):
        yield ours
    if {"lstm_as_coded", "rnn_as_coded"} & set(names):
        yield "as coded: as in the first author’s code of September 2018, whose limits prove nothing"
        if section.protocol:
            yield "whether the published stable LSTM (95.1) was trained as stated or as coded is not known"
    if section.full_size and not section.protocol:
        yield "published: by the study, under its own, longer schedule"
    if any(line.row.optimal for line in found):
        yield "optimum: exact, for the words of context that the model may use"
    if section.control:
        yield f"n-gram: interpolated Kneser-Ney models of the train split, the control; {section.bar_told}"
    if section.origin:
        yield section.origin
    yield "on " + ", ".join(sorted({record.hardware["device"] for record in section.records}))


def _seeds(which: Iterable[int]) -> str:
    listed = sorted(which)
    return f"seed{'s' * (len(listed) > 1)} {', '.join(map(str, listed))}"
