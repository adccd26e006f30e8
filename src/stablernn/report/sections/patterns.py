"""Patterns of sequence models: what a step reads, in which direction, and whose outputs; and how gradients go back."""

from collections.abc import Mapping
from dataclasses import replace

from stablernn.report.evidence import Evidence
from stablernn.report.labels import describe_constraint
from stablernn.report.load import EXPOSURE, PATTERNS
from stablernn.report.section import Block, Section, of_analysis, of_slice
from stablernn.report.sections.exposure import exposure_table, scheduled_sampling
from stablernn.report.sections.free_running import free_running_table
from stablernn.report.sections.tasks import TaskCell, task_cells
from stablernn.report.sections.truncated_gradient import truncated_gradient_figures, truncated_gradient_table
from stablernn.report.slices import Slice, slices
from stablernn.report.statistics import compare, format_seeds
from stablernn.report.table import Column, Entry, Table, Value, text


def both_directions_table(data: Slice) -> Table | None:
    """A line for each model that reads in both directions and has its like in one; None where there is none."""
    cells = [cell for cell in task_cells(data) if cell.approximation == "recurrent"]
    one_way: Mapping[tuple[str, str], TaskCell] = {_kind(cell): cell for cell in cells if cell.directions == 1}
    entries: list[list[Entry]] = []
    runs = []
    for cell in cells:
        one = one_way.get(_kind(cell))
        if cell.directions == 1 or one is None:
            continue
        few, many = (len(each.replicates.finished) for each in (one, cell))
        loss = compare(one.replicates.finished, cell.replicates.finished, cell.required)
        metric = cell.metric
        scores = [replace(each.replicates.mean, runs=None, format=f".{metric.places}f") for each in (one, cell)]
        fewest = min(few, many)
        seeds = "" if fewest >= cell.required else format_seeds(fewest, cell.required)
        entries.append(
            [
                *(one.name, describe_constraint(cell.replicates.first)),
                *(replace(score, seeds=number) for score, number in zip(scores, (few, many), strict=True)),
                Value(loss.mean, loss.half()) if loss else None,
                loss.format_verdict(seeds) if loss else f"too few seeds ({seeds})",
            ]
        )
        runs.append((*one.replicates.ids, *cell.replicates.ids))
    if not entries:
        return None
    columns = [
        *(text("model"), text("constraint"), Column("one direction", ".2f"), Column("both directions", ".2f")),
        *(Column("loss", "+.3f", spread="half of the 95 % interval"), text("verdict")),
    ]
    notes = [
        f"{cells[0].metric.title} on test, mean ± standard deviation (seeds)",
        "loss: of both directions against one, ± what leads to the ends of the one-sided 95 % intervals; verdict: by "
        "the rule of decision (docs/protocol.md)",
    ]
    return Table("Both directions", columns, entries, notes, runs=runs, name="both_directions")


def _kind(cell: TaskCell) -> tuple[str, str]:
    """Cell and constraint, whatever the directions."""
    return cell.model.removeprefix("bi"), describe_constraint(cell.replicates.first)


def _blocks(evidence: Evidence) -> list[Block]:
    """One for each text or task, with what there is of it."""
    exposed = slices(record for record, _ in evidence.analyses(EXPOSURE))
    made = [
        *(of_slice(data, [], both_directions_table(data)) for data in evidence.tasks),
        *of_analysis("free_running", free_running_table)(evidence),
        *of_analysis("truncated_gradient", truncated_gradient_table, truncated_gradient_figures)(evidence),
        *(of_slice(data, [], exposure_table(evidence.of(data, EXPOSURE))) for data in exposed),
    ]
    blocks: dict[str, Block] = {}
    for block in made:
        if other := blocks.get(block.title):
            block = replace(other, figures=other.figures + block.figures, tables=other.tables + block.tables)
        blocks[block.title] = block
    return list(blocks.values())


def answers(evidence: Evidence) -> list[str]:
    """What models say by themselves, and what scheduled sampling makes of it, a sentence for each data set."""
    said = []
    for data in slices(record for record, _ in evidence.analyses("free_running")):
        right = {}
        for model, attention, _, _, *_, whole in free_running_table(evidence.of(data, "free_running")).rows:
            assert isinstance(whole, Value)
            right[f"{model} ({attention})" if attention != "none" else str(model)] = float(whole.value or 0)
        in_order = sorted(right.items(), key=lambda item: -item[1])
        shares = "; ".join(f"{name}: {per_cent:.0f} %" for name, per_cent in in_order)
        said.append(f"How many whole targets are right, said by the model itself ({data.caption})? {shares}")
    for data in slices(record for record, _ in evidence.analyses(EXPOSURE)):
        if sentence := scheduled_sampling(evidence.of(data, EXPOSURE)):
            said.append(f"What does scheduled sampling buy ({data.caption})? {sentence}")
    return said


SECTION = Section(
    PATTERNS,
    "Patterns of sequence models",
    "Both directions, a source and its target, own outputs in the place of true ones, and gradients that stop early.",
    _blocks,
    PATTERNS,
    studies=(PATTERNS,),
    answers=answers,
)
