"""C8: what feed-forward buys in speed, on each machine that was measured."""

from collections.abc import Mapping
from typing import Any

from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Judgement, Outcome, Part, combined, sentence, span
from stablernn.report.names import MODEL_NAMES
from stablernn.report.sections.sequences import contexts_of, ratio
from stablernn.report.sections.truncation import short
from stablernn.utils.wording import counted


def speed(evidence: Evidence) -> list[Judgement]:
    """How many times faster a whole feed-forward model is, at best and at worst, on each machine."""
    return [_speed(name, measured) for name, measured in evidence.lengths.items()]


def _speed(file: str, measured: Mapping[str, Any]) -> Judgement:
    cases = list(measured["cases"].values())
    parts, states = [], []
    for work in dict.fromkeys(case["work"] for case in cases):
        for whole, told in ((True, parts), (False, states)):
            found = [
                (value, case, k)
                for case in cases
                if case["work"] == work
                for k in contexts_of(case)
                if (value := ratio(measured, case, k, whole)) is not None
            ]
            if found:
                value, case, k = max(found, key=lambda entry: entry[0])
                steps, of = counted(case["steps"], "step"), counted(len(found), "case")
                where = f"{MODEL_NAMES.get(case['model'], case['model'])}, k = {k}, batch {case['batch']}, {steps}"
                won = sum(value > 1 for value, _, _ in found)
                text = f"{work}: feed-forward at best {short(value)} times as fast ({where}), faster in {won} of {of}"
                outcome = Outcome.HOLDS if won == len(found) else Outcome.MIXED if won else Outcome.FAILS
                told.append(Part(outcome, text, (file,)))
    rounds = sorted(count for case in cases for count in case["rounds"].values())
    medians = counted(span([str(count) for count in rounds]), "alternating run")
    return Judgement(
        measured["hardware"],
        "on one machine",
        combined([part.outcome for part in parts]) if parts else Outcome.UNDECIDED,
        "",
        tuple(sentence(part.text) for part in parts) or ("No two rivals were measured at the same length.",),
        sentence("the hidden states alone: " + "; ".join(part.text for part in states)) if states else "",
        sentence(f"medians of {medians} in one process, on one machine"),
        (file,),
    )
