"""The baseline of language models, interpolated Kneser-Ney models of a text: where it stands and what it decides."""

import math
import random
from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from test_report import curve, only_section, record
from test_verdicts import contracting, horizon, spread_over

from stablernn.config.compose import compose
from stablernn.config.instantiate import make
from stablernn.report.judgement import Outcome, combined
from stablernn.report.sections.perplexity import perplexity_table
from stablernn.report.sections.price import price_table
from stablernn.tasks.embedded import BASELINE
from stablernn.tasks.published import PUBLISHED

TOKENS = {"train": 2088628, "valid": 217646, "test": 245569}
TRIGRAM = PUBLISHED["wikitext2"].baseline[TOKENS["test"]][3]


def kneser_ney(train, test, order):
    """nats of each word of ``test`` under an interpolated Kneser-Ney model of ``train`` (one discount an order).

    Chen & Goodman 1998, section 2.7; D = n₁ / (n₁ + 2 n₂). Order 1 has the counts of words, and below the discounted
    words all types are alike. Lines are not cut: their end is a word, as it is for the networks.
    """
    types = max(train) + 1
    grams = {n: Counter(zip(*(train[i:] for i in range(n)), strict=False)) for n in range(1, order + 1)}
    levels = []
    for n in range(1, order + 1):
        # Below the highest order: how many words stand before it.
        counts = grams[n] if n == order else Counter(gram[1:] for gram in grams[n + 1])
        once, twice = (sum(count == times for count in counts.values()) for times in (1, 2))
        totals, kinds = defaultdict(int), defaultdict(int)
        for gram, count in counts.items():
            totals[gram[:-1]] += count
            kinds[gram[:-1]] += 1
        levels.append((counts, totals, kinds, once / (once + 2 * twice) if once else 0.0))
    nats = []
    for t in range(1, len(test)):  # the first is the end of the line before
        probability = 1 / types
        for n, (counts, totals, kinds, discount) in enumerate(levels, start=1):
            if t < n - 1:
                break
            gram = tuple(test[t - n + 1 : t + 1])
            total = totals.get(gram[:-1], 0)
            if total:
                seen = max(counts.get(gram, 0) - discount, 0)
                probability = (seen + discount * kinds[gram[:-1]] * probability) / total
        nats.append(-math.log(probability))
    return nats


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wikitext2", "ptb", "ptb_char"])
def test_the_baselines_are_those_of_the_text(name, data_folder):
    corpus = make(compose("train", [f"dataset={name}", f"dataset.path={data_folder}"]).dataset).load()
    train, test = (corpus.splits[split].ids.tolist() for split in ("train", "test"))
    for order in next(iter(PUBLISHED[name].baseline.values())):
        nats = kneser_ney(train, test, order)
        for tokens, baseline in PUBLISHED[name].baseline.items():
            assert corpus.metric.value(math.fsum(nats[:tokens]), tokens) == pytest.approx(baseline[order], abs=0.005)


@pytest.mark.parametrize("profile", ["smoke", "quick"])
def test_the_baselines_of_the_embedded_corpus_are_those_of_its_words(profile):
    corpus = make(compose("train", ["dataset=embedded", f"profile={profile}"]).dataset).load()
    train, test = (corpus.splits[split].ids.tolist() for split in ("train", "test"))
    for order, perplexity in BASELINE[corpus.fingerprint].items():
        nats = kneser_ney(train, test, order)
        assert math.exp(math.fsum(nats) / len(nats)) == pytest.approx(perplexity, abs=0.005)


def test_what_computes_the_baselines_is_a_law_of_the_next_word():
    """Probabilities of all words that may come next add up to one, after a context that was seen or was not."""
    draw = random.Random(0)
    train = [0, *(draw.randrange(7) for _ in range(300)), 7]
    for order in (1, 2, 3, 4):
        for before in ([1, 2, 3], [7, 7, 7]):
            total = math.fsum(math.exp(-kneser_ney(train, [*before, word], order)[-1]) for word in range(8))
            assert total == pytest.approx(1, abs=1e-12)


def on_all_of_the_text(perplexity, **changes):
    made = record(perplexity, **changes)
    return replace(made, data=made.data | {"tokens": TOKENS})


def runs(unstable, stable, **changes):
    kinds = (("unstable", unstable), ("stable", stable))
    return [
        on_all_of_the_text(value, stability=kind, seed=seed, **changes)
        for kind, values in kinds
        for seed, value in enumerate(values)
    ]


def test_the_baseline_stands_in_the_tables_of_its_text_and_no_other():
    shown = perplexity_table(only_section(runs([100.0], [101.0])))
    baseline = {line[1]: line[4] for line in shown.lines if line[0] == "Kneser-Ney"}
    assert baseline == {"order 1": "911.7", "order 2": "267.4", "order 3": "230.1", "order 5": "223.7"}
    dear = [*runs([100.0], []), on_all_of_the_text(101.0, stability="lstm_cascade")]
    assert any("230.1 (order 3)" in note for note in price_table(only_section(dear), []).notes)
    a_part = {"dataset__max_tokens": {"train": 1000, "valid": None, "test": None}}
    for others in ([record(100.0)], [record(100.0, data="embedded")], runs([100.0], [], **a_part)):
        assert "Kneser-Ney" not in [line[0] for line in perplexity_table(only_section(others)).lines]


@pytest.mark.parametrize(
    ("unstable", "stable", "label"),
    [
        ([TRIGRAM - 9, TRIGRAM - 8.9, TRIGRAM - 9.1], [TRIGRAM - 8.7, TRIGRAM - 8.8, TRIGRAM - 8.6], "supported"),
        ([TRIGRAM + 5, TRIGRAM + 7], [TRIGRAM + 5.3, TRIGRAM + 7.3], "not trained far enough"),
        ([TRIGRAM - 9, TRIGRAM - 7], [TRIGRAM + 5, TRIGRAM + 7], "not trained far enough"),
        ([TRIGRAM - 9, TRIGRAM - 7], [TRIGRAM - 3, TRIGRAM + 1], "undecided"),  # one seed of several is no matter
        ([TRIGRAM + 9], [], "not trained far enough"),
        ([None], [None], "undecided"),
    ],
)
def test_a_model_that_a_trigram_beats_is_not_judged(judged, unstable, stable, label):
    (judgement,) = judged("C1", runs(unstable, stable))
    assert judgement.label == label
    assert ("against 230.1 (Kneser-Ney trigram)" in judgement.verdict) == (label == "not trained far enough")


@pytest.mark.parametrize(
    ("profile", "fingerprint", "reached", "label"),
    [
        ("smoke", "2bf20a428b6018e4", 57.7, "not trained far enough at smoke"),
        ("smoke", "2bf20a428b6018e4", 57.6, "undecided at smoke"),
        ("quick", "03e9bfbed6e79856", 51.2, "not trained far enough at quick"),
        ("quick", "another", 51.2, "undecided at quick"),
        ("smoke", "another", 57.6, "not trained far enough at smoke"),
    ],
)
def test_on_the_embedded_corpus_a_bigram_is_the_baseline(judged, profile, fingerprint, reached, label):
    made = [
        record(reached, data="embedded", profile=profile, stability=kind, seed=0) for kind in ("unstable", "stable")
    ]
    made = [replace(run, data=run.data | {"fingerprint": fingerprint}) for run in made]
    (judgement,) = judged("C1", made)
    assert judgement.label == label
    if fingerprint in BASELINE:
        best = BASELINE[fingerprint][2]
        assert (f"against {best:.1f} (Kneser-Ney bigram)" in judgement.verdict) == (reached > best)
        assert any("worse than the bigram (order 2)" in note for note in perplexity_table(only_section(made)).notes)


def test_a_certificate_that_was_not_computed_is_told_from_one_that_proves_nothing():
    for certified in (False, True, None):
        made = replace(record(100.0), certificate={"certified": certified, "rate": 0.5})
        table = perplexity_table(only_section([made]))
        assert table.lines[0][table.heads.index("λ")] == {False: "no", True: "0.500", None: "–"}[certified]


def test_a_remark_names_what_a_trigram_beats():
    told = perplexity_table(only_section(runs([TRIGRAM + 1], [TRIGRAM - 1]))).remarks
    assert [remark.partition(":")[0] for remark in told if "against 230.1 (Kneser-Ney trigram)" in remark] == [
        "LSTM, unstable, recurrent, k = 35"
    ]


def test_models_that_are_not_trained_far_enough_decide_nothing_beside_others():
    assert combined([Outcome.UNTRAINED, Outcome.HOLDS]) == Outcome.HOLDS
    assert combined([Outcome.UNTRAINED, Outcome.FAILS, Outcome.UNDECIDED]) == Outcome.FAILS
    assert combined([Outcome.UNTRAINED, None]) == Outcome.UNTRAINED
    assert combined([Outcome.WORSE, Outcome.HOLDS]) == Outcome.HOLDS
    assert combined([Outcome.WORSE, Outcome.UNTRAINED]) == Outcome.WORSE, "which is true of both"


def with_evaluations(entry, best, patience):
    """The record of a run that was evaluated after each of 10 updates."""
    history = [{"update": n, "epoch": float(n), "valid": 500.0 - 10 * min(n, best)} for n in range(1, 11)]
    config = entry.config | {"training": {"epochs": 10, "early_stop": patience}}
    return replace(entry, history=history, config=config, progress=entry.progress | {"best_update": best})


@pytest.mark.parametrize(
    ("bests", "patience", "label"),
    [
        ([4, 3], 6, "worse than its baseline"),  # six evaluations and more without a gain ended both
        ([5, 6], 6, "worse than its baseline"),  # nothing was gained in the last quarter
        ([8, 9], 6, "not trained far enough"),
        ([10, 10], 6, "not trained far enough"),
        ([4, 10], 6, "worse than its baseline"),  # more training is no remedy for all of them
        ([10, 10], None, "worse than its baseline"),  # the record does not tell
    ],
)
def test_more_training_is_asked_for_only_where_its_end_was_not_a_plateau(judged, bests, patience, label):
    made = [
        with_evaluations(entry, best, patience)
        for entry, best in zip(runs([TRIGRAM + 5, TRIGRAM + 6], []), bests, strict=True)
    ]
    (judgement,) = judged("C4", made, truncation=curve([100.0, 90.1, 90.0]))
    assert judgement.label == label
    assert perplexity_table(only_section(made)).remarks[0].partition(": ")[2].startswith(label)


@pytest.mark.parametrize(
    ("valid", "label"),
    [
        ([105, 104, 103, 102], "not trained far enough"),  # 1 % in the last quarter, so 4 % in as many again
        ([100, 99.7, 99.4, 99.1], "worse than its baseline"),  # 1.2 % in as many again, of the 1.3 % that it lacks
        ([103, 102, 101.9, 103], "worse than its baseline"),
        ([None, None, None, 102], "not trained far enough"),  # nothing tells that more would not do
    ],
)
def test_more_training_is_asked_for_only_where_as_much_again_would_reach_the_baseline(judged, valid, label):
    (run,) = runs([TRIGRAM + 3], [])
    history = [{"update": 25 * quarter, "epoch": 1.0, "valid": value} for quarter, value in enumerate(valid, start=1)]
    config = run.config | {"training": {"epochs": 10, "early_stop": 6}}
    run = replace(run, history=history, config=config, progress=run.progress | {"best_update": 100})
    (judgement,) = judged("C4", [run], truncation=curve([100.0, 90.1, 90.0]))
    assert judgement.label == label


ANALYSES = {
    "C2": ("stable", "truncation", curve([100.0, 90.1, 90.0]) | spread_over(9, 0.1, 0.001, 0.001)),
    "C4": ("unstable", "truncation", curve([100.0, 90.1, 90.0]) | spread_over(9, 0.1, 0.001, 0.001)),
    "C5": ("unstable", "gradient_horizon", horizon(-0.08, 0.001, 43)),
    "C6": ("unstable", "contraction", contracting(-0.1, 0.01, 2)),
}


@pytest.mark.parametrize("claim", ANALYSES)
@pytest.mark.parametrize(("seeds", "label"), [((-1, 2, 3), "not trained far enough"), ((1, -2, -3), "supported")])
def test_the_mean_over_seeds_is_held_against_the_baseline_whichever_was_analysed(judged, claim, seeds, label):
    """One seed of three was analysed, which alone lies on the other side of the baseline."""
    stability, name, result = ANALYSES[claim]
    first, *others = [
        on_all_of_the_text(TRIGRAM + above, stability=stability, seed=seed) for seed, above in enumerate(seeds)
    ]
    judged(claim, [first], **{name: result})
    (judgement,) = judged(claim, others)
    assert judgement.label == label
    trial = replace(on_all_of_the_text(TRIGRAM + 99, stability=stability, seed=1000), experiment="search_wikitext2")
    assert judged(claim, [trial])[0].label == label, "trials of a search are no seeds"
