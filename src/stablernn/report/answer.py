"""The answer in three sentences, made of the verdicts."""

from collections.abc import Iterable, Mapping, Sequence

from stablernn.report.evidence import Evidence
from stablernn.report.judgement import NOTHING_LEARNT, Claim, Judgement, Outcome
from stablernn.report.section import minor
from stablernn.report.text import listed

Verdicts = Sequence[tuple[Claim, list[Judgement]]]
# Of each sentence: a claim, and what is said of the tasks on which it holds.
SENTENCES: Sequence[Mapping[str, str]] = (
    {"C1": "Stability comes without loss"},
    {"C2": "a stable model scores the same by its last inputs alone", "C4": "an unconstrained one does"},
    {"C3": "Trained feed-forward, a model comes to the same score as recurrent"},
)
_ON = {
    Outcome.MIXED: "in part on",
    Outcome.FAILS: "not on",
    Outcome.UNDECIDED: "undecided on",
    Outcome.UNTRAINED: "not trained far enough to tell on",
    Outcome.WORSE: "worse than a baseline on",
}


def leading_of(evidence: Evidence, verdicts: Verdicts) -> dict[str, list[Judgement]]:
    """By claim the judgements that the page shows first: of whole data at a larger profile, where there are any."""
    small = {data.caption for data in evidence.analysed if minor(data)}
    large = {claim.name: [one for one in made if one.where not in small] for claim, made in verdicts}
    return {claim.name: large[claim.name] or made[:1] for claim, made in verdicts}


def answer(judgements: Mapping[str, Sequence[Judgement]]) -> list[tuple[list[str], str]]:
    """Three sentences, each with the names of its claims."""
    made = []
    for claims in SENTENCES:
        parts = [f"{about} {_where(judgements[name])}{_beside(judgements[name])}" for name, about in claims.items()]
        text = "; ".join(parts)
        made.append((list(claims), f"{text[0].upper()}{text[1:]}."))
    return made


def _where(judgements: Iterable[Judgement]) -> str:
    """The tasks by outcome, each once: by its first verdict on models that decide something."""
    outcomes: dict[str, Outcome] = {}
    for judgement in judgements:
        if outcomes.get(judgement.subject, Outcome.UNTRAINED) in NOTHING_LEARNT:
            outcomes[judgement.subject] = judgement.outcome
    if not outcomes:
        return "(not measured yet)"
    subjects = {outcome: [s for s, one in outcomes.items() if one is outcome] for outcome in Outcome}
    holds = f"on {listed(subjects[Outcome.HOLDS])}" if subjects[Outcome.HOLDS] else "on no task so far"
    return ", ".join(
        [holds, *(f"{on} {listed(subjects[outcome])}" for outcome, on in _ON.items() if subjects[outcome])]
    )


def _beside(judgements: Iterable[Judgement]) -> str:
    """The tasks on which what stands beside the claim reaches what the claim does not."""
    reached = [one.subject for one in judgements if one.otherwise and one.outcome is not Outcome.HOLDS]
    return f"; under other certified conditions on {listed(list(dict.fromkeys(reached)))} too" if reached else ""
