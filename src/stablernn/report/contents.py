"""The report's contents: every section and every claim, each once and in order."""

from stablernn.report.claims import contraction as c6
from stablernn.report.claims import gradients as c5
from stablernn.report.claims import inference as c2
from stablernn.report.claims import linear as c7
from stablernn.report.claims import practice as c4
from stablernn.report.claims import speed as c8
from stablernn.report.claims import stability as c1
from stablernn.report.claims import training as c3
from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Claim, Judgement
from stablernn.report.section import Chapter, chapter
from stablernn.report.sections import (
    certificate,
    contraction,
    gradient_horizon,
    linear_systems,
    ngram,
    perplexity,
    price,
    recurrence,
    search,
    sequences,
    sweep,
    table1,
    tasks,
    truncation,
    weight_distance,
)

SECTIONS = (
    tasks.SECTION,
    perplexity.SECTION,
    search.SECTION,
    table1.SECTION,
    price.SECTION,
    recurrence.SECTION,
    truncation.SECTION,
    ngram.SECTION,
    sweep.SECTION,
    weight_distance.SECTION,
    gradient_horizon.SECTION,
    contraction.SECTION,
    linear_systems.SECTION,
    sequences.SECTION,
    certificate.SECTION,
)
CLAIMS = (c1.CLAIM, c2.CLAIM, c3.CLAIM, c4.CLAIM, c5.CLAIM, c6.CLAIM, c7.CLAIM, c8.CLAIM)


def chapters(evidence: Evidence) -> list[Chapter]:
    """Every section of which there is a figure or a table."""
    return [made for section in SECTIONS if (made := chapter(section, evidence)).blocks]


def verdicts(evidence: Evidence) -> list[tuple[Claim, list[Judgement]]]:
    """Every claim with its judgements."""
    return [(claim, claim.judge(evidence)) for claim in CLAIMS]
