"""The report's contents: every section and every claim, each a file with one line here, in order."""

from importlib import import_module

from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Claim, Judgement
from stablernn.report.section import Chapter, Section, chapter

_SECTIONS = (
    "answer",
    "tasks",
    "longer",
    "perplexity",
    "search",
    "table1",
    "price",
    "recurrence",
    "truncation",
    "ngram",
    "context",
    "synthetic",
    "atlas",
    "sweep",
    "weight_distance",
    "gradient_horizon",
    "patterns",
    "contraction",
    "linear_systems",
    "sequences",
    "certificate",
    "certificate_on_text",
)
_CLAIMS = (
    "stability",
    "inference",
    "training",
    "practice",
    "gradients",
    "contraction",
    "linear",
    "speed",
)
SECTIONS: list[Section] = [import_module(f"stablernn.report.sections.{name}").SECTION for name in _SECTIONS]
CLAIMS: list[Claim] = [import_module(f"stablernn.report.claims.{name}").CLAIM for name in _CLAIMS]


def chapters(evidence: Evidence) -> list[Chapter]:
    """Every section of which there is a figure or a table."""
    return [made for section in SECTIONS if (made := chapter(section, evidence)).blocks]


def verdicts(evidence: Evidence) -> list[tuple[Claim, list[Judgement]]]:
    """Every claim with its judgements."""
    return [(claim, claim.judge(evidence)) for claim in CLAIMS]
