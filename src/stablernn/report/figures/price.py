"""What stability costs: perplexity against the certified rate."""

import statistics

from stablernn.report.figure import Axis, Curve, Drawing, Figure
from stablernn.report.figures.shared import constraint_colours
from stablernn.report.judgement import typeset
from stablernn.report.load import Section
from stablernn.report.sections.price import prices


def price_curves(section: Section) -> Figure | None:
    """Test perplexity against 1 - λ, a curve for each constraint, the unstable model as a level."""
    drawing, found = Drawing(), prices(section)
    colours = constraint_colours((price.constraint, price.label) for price in found)
    for name in dict.fromkeys(price.name for price in found):
        here = [price for price in found if price.name == name and price.cell.values]
        certified = [1 - max(price.rates) for price in here if price.rates]
        for price in here if certified else []:
            mean, runs = statistics.mean(price.cell.values), [run.id for run in price.runs]
            label = typeset(price.label)
            colour = colours[price.label]
            if price.constraint == "unstable":
                ends = (min(certified), max(certified)) if len(certified) > 1 else (certified[0] / 2, certified[0] * 2)
                drawing.line(name, Curve(label, colour, (2, 3)), [(end, mean) for end in ends], runs)
            elif price.rates:
                drawing.point(name, Curve(label, colour), 1 - max(price.rates), mean, runs)
    return drawing.figure(
        "price_of_stability",
        "What stability costs",
        "Test perplexity against the certified rate of contraction; what is not certified is in the table alone.",
        Axis("1 − λ, certified (longer memory to the right)", powers=True, reverse=True),
        Axis("test perplexity"),
    )
