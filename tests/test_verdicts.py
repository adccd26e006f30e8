"""Verdicts: their words are decided by numbers, and by how many runs those rest on."""

import math
import shutil
from dataclasses import replace
from zlib import crc32

import numpy as np
import pytest
from test_report import curve, only_section, record

from stablernn.report.claims.gradients import _vanishing
from stablernn.report.contents import CLAIMS, chapters, verdicts
from stablernn.report.evidence import gather
from stablernn.report.judgement import Outcome, combined
from stablernn.report.page import page
from stablernn.report.sections.sweep import sweep_table
from stablernn.utils.files import write_json

CLAIM = {claim.name: claim for claim in CLAIMS}


def cells(unstable, stable, spread=None, **changes):
    """Runs of seeds 0, 1, ... of both kinds; None diverges. ``spread``: keeps block sums, as ``in_blocks`` does."""
    kinds = (("unstable", unstable), ("stable", stable))
    made = [record(value, stability=kind, seed=n, **changes) for kind, by in kinds for n, value in enumerate(by)]
    return made if spread is None else [in_blocks(entry, spread) for entry in made]


def in_blocks(entry, spread):
    """The record with its score in 24 blocks of 1,024 words.

    Some blocks are harder than others for every model; beside that, blocks differ from model to model by ``spread``
    nats a word.
    """
    if "test" not in entry.metrics:
        return entry
    hard = np.random.default_rng(0).normal(0, 0.3, 24)
    noise = hard + np.random.default_rng(crc32(entry.id.encode())).normal(0, spread, 24)
    nats = 1024 * (math.log(entry.metrics["test"]["value"]) + noise - noise.mean())
    entry.metrics["test"] |= {"total": math.fsum(nats), "count": 24 * 1024}
    return replace(entry, blocks={"counts": [1024] * 24, "totals": nats.tolist()})


# Perplexities over seeds, unstable and stable; how the blocks spread; and what is said of it. The margin is 0.02 nats.
NEAR = [91.9, 92.0, 92.1]
WORDED = {
    "no loss": (NEAR, [92.2, 92.1, 92.4], 0.001, "supported", "no loss: +0.003 ± 0.003 nats"),
    "a loss": (NEAR, [96.0, 97.1, 98.2], 0.001, "not supported", "loss: +0.054 ± 0.019 nats"),
    "a small loss": (NEAR, [92.8, 92.9, 93.0], 0.001, "supported", "no loss: +0.010 ± 0.002 nats"),
    "a gain": (NEAR, [87.0, 87.1, 87.2], 0.001, "supported", "gain: −0.055 ± 0.002 nats"),
    "a loss but for the words": (NEAR, [96.0, 97.1, 98.2], 0.5, "undecided", "undecided (no number of seeds decides)"),
    "seeds far apart": (
        [80.0, 90.0, 100.0],
        [85.0, 92.0, 103.0],
        0.001,
        "undecided",
        "seeds a cell would decide): +0.037 ± 0.183 nats",
    ),
    "no text": (NEAR, [96.0, 97.1, 98.2], None, "not supported", "loss (by seeds alone: other test data might"),
    "two seeds": (NEAR, [93.1, 93.2], 0.02, "undecided", "undecided, too few seeds (2 of 10 seeds)"),
    "diverged": ([90.0, 91.0], [None, None], 0.01, "not supported", "2 of 2 stable runs diverged"),
    "one diverged": (NEAR, [90.1, 90.9, None], 0.01, "undecided", ", 1 of 3 stable runs diverged"),
    "unstable diverged": ([None], [90.0], 0.01, "undecided", "1 of 1 unstable run diverged"),
    "no stable run": ([90.0, 91.0], [], 0.01, "undecided", "undecided, no stable run"),
    "no unstable run": ([], [91.0], 0.01, "undecided", "undecided, no unstable model to compare with"),
}


@pytest.mark.parametrize(("unstable", "stable", "spread", "label", "words"), WORDED.values(), ids=WORDED)
def test_the_rule_of_decision_words_what_stability_costs(judged, unstable, stable, spread, label, words):
    (judgement,) = judged("C1", cells(unstable, stable, spread))
    print(f"{judgement.label}: {judgement.verdict} | {judgement.evidence} | {judgement.certainty}")
    assert judgement.label == label
    assert words in judgement.verdict.replace("\u00a0", " ")
    assert "profile" not in judgement.verdict


def test_a_record_that_is_gone_rewords_the_verdict_and_the_page(tmp_path):
    """No text stands anywhere but what the records that are there make of it."""
    entries = cells(NEAR, [96.0, 97.1, 98.2], 0.001)
    for entry in entries:
        entry.write(tmp_path / "records" / "perplexity" / entry.id)
    gone = [entry.id for entry in entries if entry.config["stability"]["name"] == "stable"]
    told = ["loss: +0.054 ± 0.019 nats", "too few seeds (2 of 10 seeds)", "too few seeds (1 of 10", "no stable run"]
    for verdict in told:
        evidence = gather(tmp_path / "records", tmp_path)
        text = page(evidence, chapters(evidence)).replace("\u00a0", " ").lower()
        assert [other for other in told if other in text] == [verdict]
        if gone:
            shutil.rmtree(tmp_path / "records" / "perplexity" / gone.pop())


@pytest.mark.parametrize(
    ("outcomes", "all_of_them"),
    [
        ([Outcome.HOLDS, Outcome.HOLDS, None], Outcome.HOLDS),
        ([Outcome.HOLDS, Outcome.FAILS], Outcome.MIXED),
        ([Outcome.HOLDS, Outcome.UNDECIDED], Outcome.MIXED),
        ([Outcome.UNDECIDED, Outcome.FAILS], Outcome.FAILS),
        ([Outcome.UNDECIDED, Outcome.FAILS, Outcome.MIXED], Outcome.MIXED),
        ([Outcome.UNDECIDED, None], Outcome.UNDECIDED),
    ],
)
def test_a_failure_stands_unless_something_holds(outcomes, all_of_them):
    assert combined(outcomes) is all_of_them


def test_away_from_the_protocol_nothing_supports_the_studys_claim(judged):
    (judgement,) = judged("C1", cells(NEAR, NEAR, profile="quick"))
    assert judgement.label == "seen at quick"
    assert judgement.verdict.startswith("At profile quick, which trains for 2 epochs: LSTM, ")
    cut = cells(NEAR, NEAR, dataset__max_tokens={"train": None, "valid": None, "test": 20})
    assert all(j.scope for j in judged("C1", cut) if "only the first" in j.where)


def test_the_longest_k_of_each_model_is_judged_and_recurrent_runs_alone(judged):
    longest = cells(NEAR, [93.0, 93.1, 93.2])
    entries = cells(NEAR, [99.0] * 3, truncation__k=10) + longest
    entries += cells(NEAR, [77.0] * 3, approximation="feedforward", truncation__k=65)
    (judgement,) = judged("C1", entries)
    assert "no loss" in judgement.verdict
    assert set(judgement.runs) == {entry.id for entry in longest}


def test_without_evidence_every_claim_is_without_judgement(tmp_path):
    assert [found for _, found in verdicts(gather(tmp_path, tmp_path))] == [[]] * 8
    assert [claim.name for claim in CLAIMS] == [f"C{n}" for n in range(1, 9)]


def bounded(perplexities, bounds, gaps):
    """A truncation curve with bounds on the state, and gaps measured."""
    result = curve(perplexities, certified=bounds)
    return result | {"state": {"mean": gaps, "p99": gaps, "largest": gaps}, "largest": [0.0] * len(gaps)}


@pytest.mark.parametrize(
    ("bounds", "gaps", "label", "words"),
    [
        ([1.0, 0.1, 0.001], [0.5, 0.01, 0.0001], "supported", "within 0.01 nats by its last 3 words"),
        ([1.0, 0.1, 0.001], [0.5, 0.01, 0.0001], "supported", "by its last 3 words, proven for 3"),
        ([9.0, 8.0, 7.0], [0.5, 0.01, 0.0001], "undecided", "proven only for more than 3"),
        (None, [0.5, 0.01, 0.0001], "undecided", "not proven (W is large)"),
        ([1.0, 0.1, 0.001], [0.5, 0.2, 0.0001], "not supported", "exceeds the proven bound at k = 2"),
    ],
)
def test_a_stable_model_is_held_against_its_bound(judged, bounds, gaps, label, words):
    result = bounded([100.0, 91.0, 90.0], bounds, gaps)
    (judgement,) = judged("C2", [record(90.0, stability="stable")], truncation=result)
    assert judgement.label == label
    assert words in judgement.verdict.replace("\u00a0", " ")
    assert judged("C4", []) == []


def certified(entry, context, certified=True):
    return replace(entry, certificate={"certified": certified, "rate": 0.5, "context": {"0.01": context}})


@pytest.mark.parametrize(
    ("others", "label", "words"),
    [
        ([], "supported", "proven for 2 (1 seed)"),
        ([3, 1], "supported", "proven for 3 (largest of 3 seeds)"),
        ([9876, 1], "undecided", "proven only for 9,876 (largest of 3 seeds)"),  # not a k that was examined
        ([None, 1], "undecided", "proven only for 2 (largest of 2 of 3 seeds)"),
    ],
)
def test_a_proven_k_is_the_largest_of_all_seeds_whichever_was_analysed(judged, others, label, words):
    result = bounded([100.0, 90.0, 90.0], [1.0, 0.001, 0.001], [0.5, 0.0001, 0.0001]) | spread_over(9, 0.1, 0.1, 0.1)
    made = [
        certified(record(90.0, stability="stable", seed=seed), k, k is not None) for seed, k in enumerate([2, *others])
    ]
    judged("C2", made[:1], truncation=result)
    (judgement,) = judged("C2", made[1:])
    assert (judgement.label, words in judgement.verdict) == (label, True)


@pytest.mark.parametrize(
    ("bounds", "recorded", "words"),
    [([9.0, 8.0, 7.0], 7000, "proven only for 300 (1 seed)"), (None, None, "proven only for 300 (1 seed)")],
)
def test_the_best_norms_decide_which_k_is_proven_where_they_were_searched_for(judged, bounds, recorded, words):
    options = {"lengths": [2], "epsilon": 0.01, "tokens": 20, "split": "valid", "k_max": 3}
    searched = {
        "options": options,
        "certificate": {"certified": True, "rate": 0.9, "radius": 1.0, "decoder": 1.0, "context": {"0.01": 300}},
        "certified": {"2": 1.0},
        "measured": {"2": {"largest": 0.1}},
        "measured_at": None,
        "k": 300,
    }
    result = bounded([100.0, 91.0, 90.0], bounds, [0.5, 0.01, 0.0001])
    made = certified(record(90.0, stability="stable"), recorded, recorded is not None)
    (judgement,) = judged("C2", [made], truncation=result, certificate=searched)
    assert words in judgement.verdict.replace("\u00a0", " ")


@pytest.mark.parametrize("name", ["lstm_as_coded", "lstm_cascade"])
@pytest.mark.parametrize("proves", [False, True])
def test_a_constraint_counts_as_stability_where_its_models_are_certified(judged, name, proves):
    flat = bounded([100.0, 90.0, 90.0], None, [0.5, 0.01, 0.0001]) | spread_over(9, 0.1, 0.001, 0.001)
    entry = certified(record(90.0, stability=name), 3, proves)
    found = judged("C2", [entry], truncation=flat)
    assert [judgement.label for judgement in found] == ["supported"] * proves
    both = [
        certified(record(100.0 + seed / 10, stability=name, seed=seed, truncation__k=5, approximation=way), 3, proves)
        for way in ("recurrent", "feedforward")
        for seed in range(3)
    ]
    (judgement,) = judged("C3", both, study="truncation_sweep")
    assert judgement.label == ("supported" if proves else "undecided")
    assert "no worse at any of 1 k" in judgement.verdict, "said all the same"


def test_a_curve_that_does_not_flatten_is_told(judged):
    falling = curve([100.0, 95.0, 90.0])
    falling["loss_change"] = [0.3, 0.2, 0.1]
    (judgement,) = judged("C4", [record(90.0)], truncation=falling)
    assert judgement.label == "not supported"
    assert "still changed by more than 0.01 nats at k = 3" in judgement.verdict


def test_unconstrained_models_are_told_by_the_k_from_which_they_stay(judged):
    entries = [record(90.0, seed=0), record(91.0, seed=1)]
    (judgement,) = judged("C4", entries, truncation=curve([100.0, 90.1, 90.0]))
    assert "LSTM: within 0.01 nats by its last 2 words" in judgement.verdict
    assert "2 seeds a model" in judgement.evidence
    assert judged("C2", []) == []


def spread_over(blocks, *errors):
    """What analysis=truncation tells of other text: standard errors by k."""
    return {"error": {"blocks": blocks, "length": 1024, "loss_change": list(errors)}}


@pytest.mark.parametrize(
    ("errors", "label", "words"),
    [
        (
            spread_over(9, 0.1, 0.001, 0.001),
            "supported",
            "within 0.01 nats by its last 2 words (with the 95 % interval 2).",
        ),
        (spread_over(9, 0.1, 0.0045, 0.001), "supported", "by its last 2 words (with the 95 % interval 3)."),
        (
            spread_over(9, 0.1, 0.001, 0.005),
            "undecided",
            "by its last 2 words, undecided: the 95 % interval is wider up to k = 3",
        ),
        (spread_over(7, 0.1, 0.001, 0.001), "undecided", "undecided: too few parts of the data for an interval"),
        ({}, "undecided", "undecided: too few parts of the data for an interval"),
    ],
)
def test_a_curve_is_flat_where_its_interval_over_other_text_is(judged, errors, label, words):
    result = curve([100.0, 90.0, 90.0]) | errors
    (judgement,) = judged("C4", [record(90.0)], truncation=result)
    assert judgement.label == label
    assert words in judgement.verdict.replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("cut", "flat_from", "assured_from", "label"),
    [
        ([90, 80, 70], 2, 2, "supported"),
        ([90, 50, 20], 2, 2, "supported"),
        ([90, 49, 20], 2, 2, "undecided"),
        ([90, 50, 20], 2, 3, "undecided"),
        ([90, 80, 50], 2, 3, "supported"),
        ([90, 80, 49], None, None, "undecided"),
        ([90, 80, 50], None, None, "not supported"),
    ],
)
def test_a_k_that_cuts_fewer_than_half_of_the_positions_decides_nothing(judged, cut, flat_from, assured_from, label):
    """Whatever the longest k examined is, and whichever claim asks."""
    result = curve([100.0] * 3) | {"cut": cut, "loss_change": [0.1 if (flat_from or 4) > k else 0.0 for k in (1, 2, 3)]}
    result |= spread_over(9, *(0.1 if (assured_from or 4) > k else 0.001 for k in (1, 2, 3)))
    for claim, entry in (("C4", record(90.0)), ("C2", record(90.0, stability="stable"))):
        (judgement,) = judged(claim, [entry], truncation=result)
        assert judgement.label == label
        assert ("leaves most positions as they are" in judgement.verdict) == (label == "undecided")


def test_what_is_proven_needs_no_interval_and_what_is_measured_does(judged):
    proven = bounded([100.0, 90.0, 90.0], [1.0, 0.1, 0.001], [0.5, 0.01, 0.0001])
    measured = bounded([100.0, 90.0, 90.0], [9.0, 8.0, 7.0], [0.5, 0.01, 0.0001])
    wide = spread_over(9, 0.1, 0.1, 0.1)
    (judgement,) = judged("C2", [record(90.0, stability="stable")], truncation=proven | wide)
    assert (judgement.label, "is wider up to" in judgement.verdict) == ("supported", False)
    (judgement,) = judged("C2", [record(90.0, stability="stable")], truncation=measured | wide)
    assert judgement.label == "undecided"
    assert "interval is wider up to k = 3, proven only for more than 3" in judgement.verdict


def contracting(exponent, deviation, start):
    values = {"largest": [1.5, 0.5], "contracts_from": start, "lyapunov": exponent, "lyapunov_deviation": deviation}
    stages = {"initial": values, "best": values, "last": values}
    return {"options": {"longest": 2, "streams": 16, "split": "valid"}, "stages": stages}


@pytest.mark.parametrize(
    ("exponent", "start", "label", "words"),
    [
        (-0.1, 2, "supported", "closer after 2 words"),
        (-0.1, None, "in part", "may still be further apart after 2 words"),
        (0.1, None, "not supported", "+0.100 ± 0.005"),
        (-0.004, 2, "undecided", "−0.004 ± 0.005"),
    ],
)
def test_contraction_on_the_data_needs_an_exponent_that_is_surely_below_zero(judged, exponent, start, label, words):
    (judgement,) = judged("C6", [record(90.0)], contraction=contracting(exponent, 0.01, start))
    assert judgement.label == label
    assert words in judgement.verdict.replace("\u00a0", " ")


def test_seeds_count_more_than_stretches_of_text(judged):
    for seed, exponent in enumerate((-0.1, -0.3)):
        found = judged("C6", [record(90.0, seed=seed)], contraction=contracting(exponent, 0.01, 2))
    assert "−0.200 ± 1.271" in found[0].verdict
    assert found[0].label == "undecided"


BOTH_WAYS = {
    "too far apart": ({0: 90.0, 1: 101.1, 2: 111.9}, "undecided", "leaves room for a loss and for none"),
    "close": ({0: 100.9, 1: 101.0, 2: 101.1}, "supported", "no worse at any of 1 k, at most +0.000 ± 0.002 nats"),
    "worse": ({0: 105.0, 1: 106.0, 2: 107.2}, "not supported", "worse at 1 of 1 k, by +0.049 ± "),
    "one seed": (
        {0: 103.0},
        "undecided",
        "undecided with 1 of 10 seeds (feed-forward against recurrent +1.98 %, k = 5)",
    ),
    "diverged": ({0: None, 1: 101.1, 2: 101.0}, "undecided", "1 of 6 runs diverged"),
}


@pytest.mark.parametrize(("feedforward", "label", "words"), BOTH_WAYS.values(), ids=BOTH_WAYS)
def test_training_both_ways_is_compared_at_the_same_k(judged, feedforward, label, words):
    recurrent = {0: 100.9, 1: 101.0, 2: 101.1}
    entries = [
        record(value, stability="stable", seed=seed, truncation__k=5, approximation=name)
        for name, by in (("recurrent", recurrent), ("feedforward", feedforward))
        for seed, value in by.items()
    ]
    (judgement,) = judged("C3", entries, study="truncation_sweep")
    print(judgement.label, judgement.verdict)
    assert judgement.label == label
    assert words in judgement.verdict.replace("\u00a0", " ")


def test_a_loss_at_one_of_many_k_is_one_by_holms_correction(judged):
    """One k of nine whose chance is 3 % alone; and one whose loss is beyond doubt."""

    def at(k, mean, name, steps=(-0.1, 0.0, 0.1)):
        return [
            record(mean + step, stability="stable", seed=seed, truncation__k=k, approximation=name)
            for seed, step in enumerate(steps)
        ]

    def verdict(worse, steps=(-0.1, 0.0, 0.1)):
        entries = [entry for k in range(2, 11) for entry in at(k, 100.0, "recurrent")]
        entries += [
            entry
            for k in range(2, 11)
            for entry in (at(5, worse, "feedforward", steps) if k == 5 else at(k, 100.0, "feedforward"))
        ]
        (judgement,) = judged("C3", entries, study="truncation_sweep")
        return judgement.verdict

    assert "worse at 1 of 9 k, by +0.049" in verdict(105.0)
    assert "no worse at any of 9 k" in verdict(100.2)
    unsure = verdict(103.4, steps=(-1.4, -0.2, 1.5))
    assert "undecided, +0.033 ± 0.0" in unsure, "alone it would be a loss"


def test_on_sequences_feed_forward_models_stand_beside_those_of_whole_sequences(judged):
    def music(losses, approximation, k, experiment="table1_jsb"):
        for seed, loss in enumerate(losses):
            kind = {"approximation": approximation, "truncation__k": k, "stability": "stable"}
            entry = record(1.0, data="jsb", seed=seed, profile="cpu", **kind)
            entry.data |= {"metric": "NLL", "sequences": {"test": 10}}
            entry.metrics["test"] = {"total": 1000 * loss, "count": 1000, "value": loss}
            yield replace(entry, id=f"{experiment}-{approximation}-{k}-{seed}", experiment=experiment)

    entries = [*music([8.20, 8.21, 8.19], "recurrent", 200), *music([8.0], "recurrent", 200, "search_jsb")]
    entries += [*music([8.22, 8.23, 8.21], "feedforward", 5), *music([8.6, 8.61, 8.62], "feedforward", 2)]
    (judgement,) = judged("C3", entries, study="tasks")
    assert judgement.label == "in part at cpu"
    assert "worse at 1 of 2 k, by +0.410 ± 0.017 nats at k = 2 (3 of 10 seeds)" in judgement.verdict
    assert not any("search" in run for run in judgement.runs)


@pytest.mark.parametrize("both", [False, True])
def test_the_verdict_on_training_says_where_its_baseline_is_missing(judged, both):
    names = ["stable", *["lstm_gated_linear"] * both]
    made = [
        record(100.0 + seed, stability=name, seed=seed, truncation__k=5, approximation=approximation)
        for name in names
        for approximation in ("recurrent", "feedforward")
        for seed in range(3)
    ]
    (judgement,) = judged("C3", made, study="truncation_sweep")
    assert ("W = 0" in judgement.evidence) != both
    assert any("W = 0" in note for note in sweep_table(only_section(made)).notes) != both


def test_a_k_with_one_seed_decides_nothing_where_others_have_several(judged):
    entries = [
        record(value + step, stability="stable", seed=seed, truncation__k=k, approximation=name)
        for k, seeds, name, value in (
            (5, 3, "recurrent", 100.0),
            (5, 3, "feedforward", 100.1),
            (65, 1, "recurrent", 100.0),
            (65, 1, "feedforward", 150.0),
        )
        for seed, step in enumerate((0.0, 0.1, 0.2)[:seeds])
    ]
    (judgement,) = judged("C3", entries, study="truncation_sweep")
    assert judgement.label == "supported"
    assert "no worse at any of 1 k" in judgement.verdict


def measured(training):
    """Two lengths; the softmax takes as long as the recurrent states."""
    case = {
        "model": "lstm",
        "work": "scoring",
        "size": 8,
        "batch": 1,
        "steps": 10,
        "rounds": {"recurrent": 5, "k=3": 7},
    }
    case |= {"seconds": {"recurrent": 1.0, "k=3": 0.5}, "left_out": {}, "memory": {}, "commit": "abc"}
    slow = case | {"work": "training", "seconds": {"recurrent": 1.0, "k=3": training}}
    return {
        "hardware": "a processor",
        "threads": 2,
        "softmax": {"lstm-scoring-d8": 0.1, "lstm-training-d8": 0.1},
        "cases": {"a": case, "b": slow},
    }


def test_speed_is_told_of_whole_models(tmp_path):
    write_json(tmp_path / "bench" / "sequences-a.json", measured(training=4.0))
    (judgement,) = CLAIM["C8"].judge(gather(tmp_path, tmp_path))
    assert (
        "Scoring: feed-forward at best 1.3 times as fast (LSTM, k = 3, batch 1, 10 steps), faster in 1 of 1 case"
        in judgement.verdict
    )
    assert "raining: feed-forward at best 0.4 times" in judgement.verdict
    assert judgement.label == "in part on one machine"
    write_json(tmp_path / "bench" / "sequences-a.json", measured(training=0.4))
    assert CLAIM["C8"].judge(gather(tmp_path, tmp_path))[0].label == "seen on one machine"


def horizon(slope, error, fallen):
    stage = {"mean": [1.0, 0.5] * 51, "fallen": fallen}
    stage |= {"slope": {"mean": slope, "geometric": slope}, "error": {"mean": error, "geometric": error}}
    options = {"streams": 64, "split": "valid", "horizon": 100}
    return {"options": options, "stages": {"initial": stage, "best": stage, "last": stage}}


@pytest.mark.parametrize(
    ("slope", "error", "fallen", "label", "words"),
    [
        (
            *(-0.08, 0.001, 43, "supported"),
            "from 50 to 100 words back the mean gradient falls by 0.080 ± 0.002 nats a word, and comes to a thousandth "
            "43 words back",
        ),
        (-0.01, 0.001, None, "supported", "and has not come to a thousandth 100 words back"),
        (-0.08, None, None, "undecided", "its error is not on record"),
        (None, None, 1, "supported", "no gradient is left 50 words back"),
        (0.02, 0.001, None, "not supported", "grows by 0.020 ± 0.002"),
        (-0.001, 0.001, None, "undecided", "falls by 0.001 ± 0.002"),
    ],
)
def test_gradients_vanish_where_their_slope_is_surely_below_zero(judged, slope, error, fallen, label, words):
    (judgement,) = judged("C5", [record(90.0)], gradient_horizon=horizon(slope, error, fallen))
    assert judgement.label == label
    assert words in judgement.verdict.replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("slopes", "outcome", "words"),
    [
        ((-0.020, -0.021, -0.022), Outcome.HOLDS, "falls by 0.021 ± 0.002 nats a word"),
        ((-0.020, 0.001, -0.022), Outcome.UNDECIDED, "falls by 0.014 ± 0.032 nats a word"),
        ((0.020, 0.021, 0.022), Outcome.FAILS, "grows by 0.021 ± 0.002 nats a word"),
        ((-0.020, -0.019), Outcome.HOLDS, "falls by 0.019 ± 0.002 nats a word"),  # two seeds: the error of the slowest
    ],
)
def test_of_three_seeds_the_interval_of_a_slope_is_over_seeds(slopes, outcome, words):
    runs = [(record(90.0, seed=seed), horizon(slope, 0.001, None)) for seed, slope in enumerate(slopes)]
    finding = _vanishing("LSTM", runs)
    assert (finding.outcome, words in finding.text) == (outcome, True), finding.text


@pytest.mark.parametrize(
    ("left", "label", "words"),
    [
        (
            {0.5: 0.001, 0.9: 0.01, 1.0: 0.2, 1.1: 0.98},
            "seen here",
            "2 of 2 learned with ‖W‖₂ = ρ(W) < 1, 0 of 1 with",
        ),
        ({0.5: 0.001, 0.9: 0.4, 1.1: 0.98}, "in part here", "1 of 2 learned"),
        ({0.5: 0.001, 1.1: 0.01}, "not seen here", "1 of 1 with ‖W‖₂ = ρ(W) > 1"),
        ({0.5: 0.001, 1.1: None}, "seen here", "0 of 1 with ‖W‖₂ = ρ(W) > 1"),
    ],
)
def test_linear_systems_are_counted_on_either_side_of_one(tmp_path, left, label, words):
    for norm, error in left.items():
        taught(tmp_path, error, norm=norm)
    (judgement,) = CLAIM["C7"].judge(gather(tmp_path, tmp_path))
    assert judgement.label == label
    assert words in judgement.verdict.replace("\u00a0", " ")


def taught(folder, error, **teacher):
    """Leaves what gradient descent on a matrix would."""
    options = {"kind": "matrix", "seed": 0, "size": 4, "rate": 1.0, "lengths": [5], "length": 64, "steps": 9} | teacher
    descent = {"updates": [0, 9], "error": [1.0, error], "distance": [[0.0], [0.1]]}
    result = {"options": options, "step_sizes": [1.0], "errors": [0.5], "best": descent, "proven": None}
    write_json(folder / "linear_systems" / f"m{'-'.join(map(str, teacher.values()))}.json", result)


@pytest.mark.parametrize(
    ("left", "label", "counted"),
    [
        (
            {0.5: 0.001, 0.9: 0.05},
            "in part here",
            "learned 1 of 1 with ρ(W) = 0.5, 1 of 1 with ρ(W) = 0.9",
        ),
        (
            {0.5: 0.9, 0.9: None},
            "seen here",
            "learned 0 of 1 with ρ(W) = 0.5, 0 of 1 with ρ(W) = 0.9",
        ),
        (
            {0.5: 0.001, 0.9: 0.9},
            "in part here",
            "learned 1 of 1 with ρ(W) = 0.5, 0 of 1 with ρ(W) = 0.9",
        ),
    ],
)
def test_teachers_with_norm_and_radius_on_either_side_of_one_are_counted(tmp_path, left, label, counted):
    taught(tmp_path, 0.001, norm=0.9)
    taught(tmp_path, 0.99, norm=1.1)
    for radius, error in left.items():
        taught(tmp_path, error, norm=1.2, spectral_radius=radius)
    (judgement,) = CLAIM["C7"].judge(gather(tmp_path, tmp_path))
    assert judgement.label == label
    told = judgement.verdict.replace("\u00a0", " ")
    assert f"atrices with ‖W‖₂ > 1 > ρ(W): {counted}" in told
    assert "1 of 1 learned with ‖W‖₂ = ρ(W) < 1, 0 of 1 with ‖W‖₂ = ρ(W) > 1" in told


def test_speed_that_is_won_in_some_cases_alone_is_so_in_part(tmp_path):
    found = measured(training=0.4)
    found["cases"]["c"] = found["cases"]["a"] | {"steps": 20, "seconds": {"recurrent": 1.0, "k=3": 4.0}}
    write_json(tmp_path / "bench" / "sequences-a.json", found)
    (judgement,) = CLAIM["C8"].judge(gather(tmp_path, tmp_path))
    assert "faster in 1 of 2 cases" in judgement.verdict
    assert judgement.label == "in part on one machine"


@pytest.mark.parametrize(
    ("certified", "perplexity", "free"), [(True, 92.0, True), (False, 92.0, False), (True, 99.0, False)]
)
def test_a_certified_condition_stands_beside_the_study_s_whatever_it_costs(judged, certified, perplexity, free):
    entries = cells(NEAR, [96.0, 97.1, 98.2], 0.001)
    other = [
        record(perplexity, stability="lstm_cascade", seed=n, stability__constraint={"limit": 0.9}) for n in range(3)
    ]
    other = [replace(entry, id=f"cascade-s{n}") for n, entry in enumerate(other)]
    for entry in other:
        entry.certificate = {"certified": certified, "rate": 0.9 if certified else None, "reason": "open"}
    (judgement,) = judged("C1", [*entries, *[in_blocks(entry, 0.001) for entry in other]])
    assert judgement.label == "not supported"
    assert judgement.otherwise is free
    assert any(part.startswith("Not counted: LSTM, cascade") for part in judgement.parts) is certified
