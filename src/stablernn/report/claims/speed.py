"""C8: what feed-forward buys in speed, on each machine that was measured."""

from collections.abc import Mapping
from typing import Any

from stablernn.report.curves import model_name
from stablernn.report.evidence import Evidence
from stablernn.report.judgement import Claim, Finding, Judgement, Outcome, judgement
from stablernn.report.sections.peer_speed import WORKS
from stablernn.report.sections.sequences import contexts_of, ratio
from stablernn.report.slices import TITLES
from stablernn.report.text import short
from stablernn.utils.wording import counted


def speed(evidence: Evidence) -> list[Judgement]:
    """How many times faster a whole feed-forward model is at best, and how often it is, on each machine."""
    truncated = [_judged(name, measured) for name, measured in evidence.lengths.items()]
    return truncated + [_of_peers(name, measured) for name, measured in evidence.peers.items()]


def _judged(file: str, measured: Mapping[str, Any]) -> Judgement:
    works = dict.fromkeys(case["work"] for case in measured["cases"].values())
    parts = [part for work in works if (part := _part(measured, work, file)) is not None]
    return judgement(
        measured["hardware"],
        "on one machine",
        parts or [Finding(Outcome.UNDECIDED, "no two rivals were measured at the same length")],
        "whole models, with their softmax",
        "medians of alternating runs in one process, on one machine",
        (file,),
    )


def _part(measured: Mapping[str, Any], work: str, file: str) -> Finding | None:
    ratios = [
        (value, case, k)
        for case in measured["cases"].values()
        if case["work"] == work
        for k in contexts_of(case)
        if (value := ratio(measured, case, k, whole=True)) is not None
    ]
    if not ratios:
        return None
    value, case, k = max(ratios, key=lambda entry: entry[0])
    where = f"{model_name(case['model'])}, k = {k}, batch {case['batch']}, {counted(case['steps'], 'step')}"
    won = sum(value > 1 for value, _, _ in ratios)
    share = f"faster in {won} of {counted(len(ratios), 'case')}"
    text = f"{work}: feed-forward at best {short(value)} times as fast ({where}), {share}"
    outcome = Outcome.HOLDS if won == len(ratios) else Outcome.MIXED if won else Outcome.FAILS
    return Finding(outcome, text, (file,))


def _of_peers(file: str, measured: Mapping[str, Any]) -> Judgement:
    """Networks that are feed-forward by construction against the LSTM of their task."""
    cases = list(measured["cases"].values())
    parts = []
    for work in WORKS:
        best = max(cases, key=lambda case: case[work]["ratio"])
        won = sum(case[work]["ratio"] > 1 for case in cases)
        where = f"{model_name(best['model'])}, k = {best['k']}, {TITLES.get(best['dataset'], best['dataset'])}"
        value, share = short(best[work]["ratio"]), f"faster in {won} of {counted(len(cases), 'case')}"
        text = f"{work}: at best {value} times as fast as the LSTM ({where}), {share}"
        outcome = Outcome.HOLDS if won == len(cases) else Outcome.MIXED if won else Outcome.FAILS
        parts.append(Finding(outcome, text, (file,)))
    return judgement(
        f"{measured['hardware']}, networks that are feed-forward by construction",
        "on one machine",
        parts,
        "items a second of whole models, each as the experiments of its task train it",
        "medians over alternating pairs in one process, on one machine",
        (file,),
    )


CLAIM = Claim(
    "C8",
    "What does feed-forward buy?",
    "Feed-forward buys parallelism.",
    speed,
    "bench",
)
