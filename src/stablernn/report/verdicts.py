"""A verdict on each claim of the study, worded by the numbers; a further claim is one entry and one function."""

from collections.abc import Callable
from dataclasses import dataclass

from stablernn.report.claims.contraction import contraction_on_data
from stablernn.report.claims.gradients import vanishing_gradients
from stablernn.report.claims.inference import effectively_feedforward, inference_bound
from stablernn.report.claims.linear import outside_the_stable_regime
from stablernn.report.claims.speed import speed
from stablernn.report.claims.stability import price_of_stability
from stablernn.report.claims.tasks import stable_on_tasks
from stablernn.report.claims.training import trained_feedforward
from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Judgement


@dataclass(frozen=True)
class Claim:
    """One claim of the study.

    Attributes:
        name: as the design counts them.
        question: what a reader would ask.
        statement: what is claimed.
        judge: the judgements, one for each text and profile (or machine), the weightiest first; none without evidence.
        remedy: the command that makes the evidence.
    """

    name: str
    question: str
    statement: str
    judge: Callable[[Evidence], list[Judgement]]
    remedy: str


CLAIMS = (
    Claim(
        "C1",
        "Is stability free?",
        "Stability can be imposed on benchmark models without loss.",
        lambda evidence: [*stable_on_tasks(evidence), *price_of_stability(evidence)],
        "make reproduce PROFILE=paper",
    ),
    Claim(
        "C2",
        "Is a stable model feed-forward at inference?",
        "A stable model is its feed-forward truncation at inference.",
        inference_bound,
        "scripts/analyze.py analysis=truncation run='*-stable-recurrent-*'",
    ),
    Claim(
        "C3",
        "Does feed-forward training come to the same?",
        "A stable model trained recurrently and one trained feed-forward come to the same.",
        trained_feedforward,
        "make reproduce STUDY=truncation_sweep",
    ),
    Claim(
        "C4",
        "Are unstable models feed-forward in practice?",
        "Models trained in practice are effectively feed-forward, stable or not.",
        effectively_feedforward,
        "scripts/analyze.py analysis=truncation run='*-unstable-recurrent-*'",
    ),
    Claim(
        "C5",
        "Do gradients vanish?",
        "The gradients of models trained in practice vanish over time.",
        vanishing_gradients,
        "scripts/analyze.py analysis=gradient_horizon run='*-unstable-recurrent-*'",
    ),
    Claim(
        "C6",
        "Are unstable models stable on the data?",
        "“Unstable” models are stable on the data.",
        contraction_on_data,
        "scripts/analyze.py analysis=contraction run='*-unstable-recurrent-*'",
    ),
    Claim(
        "C7",
        "Does training need stability?",
        "Outside the stable regime gradient descent fails.",
        outside_the_stable_regime,
        "scripts/linear_systems.py",
    ),
    Claim(
        "C8",
        "What does feed-forward buy?",
        "Feed-forward buys parallelism.",
        speed,
        "make bench",
    ),
)


def verdicts(evidence: Evidence) -> list[tuple[Claim, list[Judgement]]]:
    """Every claim with its judgements."""
    return [(claim, claim.judge(evidence)) for claim in CLAIMS]
