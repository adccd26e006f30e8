"""The winners of the search, trained again under each constraint."""

from dataclasses import replace

from stablernn.report.section import Section, of_slice
from stablernn.report.sections.perplexity import perplexity_table
from stablernn.report.slices import Slice
from stablernn.report.table import Table


def winners_table(data: Slice) -> Table:
    """The perplexity table of runs that start from the winners."""
    table = perplexity_table(data)
    return replace(table, title=table.title.replace(" on ", ", hyperparameters of the search, on ", 1))


SECTION = Section(
    "table1",
    "With the hyperparameters of the search",
    "The winners of the search, trained again under each constraint.",
    lambda evidence: [of_slice(data, [], winners_table(data)) for data in evidence.winners],
    "table1",
    ("C1",),
    ("table1",),
)
