"""The embedded corpus and its exact optimum."""

import itertools
import json

import numpy as np
import pytest
from conftest import ROOT, embedded
from hypothesis import given, settings
from hypothesis import strategies as st

from stablernn.config.compose import compose
from stablernn.config.instantiate import make
from stablernn.tasks import embedded as markov
from stablernn.tasks.embedded import HiddenMarkovModel
from stablernn.tasks.splits import Split
from stablernn.utils.errors import ConfigurationError

RESULTS = ROOT / "results"


def random_model(rng: np.random.Generator, states: int, types: int) -> HiddenMarkovModel:
    return HiddenMarkovModel(rng.dirichlet(np.ones(states), size=states), rng.dirichlet(np.ones(types), size=states))


def probability(model: HiddenMarkovModel, words) -> float:
    """p(words) from the stationary law, summed over every path of states."""
    total = 0.0
    for path in itertools.product(range(len(model.stationary)), repeat=len(words)):
        p = model.stationary[path[0]]
        for before, after in itertools.pairwise(path):
            p *= model.transition[before, after]
        for state, word in zip(path, words, strict=True):
            p *= model.emission[state, word]
        total += p
    return total


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 6))
def test_the_optimum_is_bayes_rule_over_all_paths(seed, k):
    rng = np.random.default_rng(seed)
    model = random_model(rng, 3, 4)
    split = Split(rng.integers(0, 4, size=6).astype(np.int32))
    expected = []
    for t in range(len(split)):
        context = split.inputs[max(0, t - k + 1) : t + 1]
        expected.append(np.log(probability(model, [*context, split.targets[t]]) / probability(model, context)))
    np.testing.assert_allclose(model.log_probabilities(split, k), expected, rtol=1e-9)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), tokens=st.integers(1, 30))
def test_a_context_as_long_as_the_text_is_the_whole_past(seed, tokens):
    rng = np.random.default_rng(seed)
    model = random_model(rng, 4, 5)
    split = Split(rng.integers(0, 5, size=tokens + 1).astype(np.int32))
    np.testing.assert_allclose(model.log_probabilities(split, tokens), model.log_probabilities(split, None), rtol=1e-9)
    np.testing.assert_allclose(model.perplexities(split, 3)[1], model.perplexity(split, 2), rtol=1e-12)


def test_more_context_is_worth_something_and_never_costs_on_average():
    source = embedded(max_tokens={"train": 10, "valid": 10, "test": 20000})
    curve = source.model().perplexities(source.load().splits["test"], 30)
    assert curve[0] > 1.02 * curve[-1]
    # Longer contexts win in expectation; on 20,000 words the sampling error of a step is far below this.
    assert all(after < before * 1.001 for before, after in itertools.pairwise(curve))


def test_nobody_beats_the_optimum_by_knowing_the_unigrams(corpus):
    counts = np.bincount(corpus.splits["test"].targets, minlength=corpus.types) / len(corpus.splits["test"])
    oracle = np.exp(-np.log(counts[corpus.splits["test"].targets]).mean())
    assert corpus.source.perplexity(corpus.splits["test"], 1) < oracle


def test_the_text_follows_the_law():
    rng = np.random.default_rng(5)
    model = random_model(rng, 3, 4)
    words = model.sample(200_000, 0, rng)[1:]
    law = model.stationary @ model.emission
    np.testing.assert_allclose(np.bincount(words, minlength=4) / len(words), law, atol=0.01)


def test_the_same_seed_makes_the_same_text_and_a_longer_one_only_adds():
    once, again, other = embedded().load(), embedded().load(), embedded(seed=4).load()
    assert once.fingerprint == again.fingerprint != other.fingerprint


def test_the_text_of_the_committed_runs_is_still_the_same_and_blocks_change_nothing(monkeypatch):
    text = make(compose("train", []).dataset)
    records = RESULTS.glob("records/quick/perplexity/embedded-*/record.json")
    known = {json.loads(path.read_text())["data"]["fingerprint"] for path in records}
    assert {text.load().fingerprint} == known
    whole = embedded().load().fingerprint
    monkeypatch.setattr(markov, "_STEPS_A_BLOCK", 7)
    assert embedded().load().fingerprint == whole


def test_a_large_vocabulary_is_one_option():
    config = compose("train", ["dataset=embedded_large", "dataset.max_tokens={train: 2000, valid: 100, test: 100}"])
    large = make(config.dataset).load()
    assert large.types == 267_735
    assert large.splits["train"].ids.max() > 2**16
    assert 1 < large.source.perplexity(large.splits["test"], 2) < large.types


def test_impossible_shapes_are_refused():
    with pytest.raises(ConfigurationError, match=r"dataset\.types"):
        embedded(types=4)
    with pytest.raises(ConfigurationError, match=r"dataset\.persistence"):
        embedded(persistence=1.0)
    with pytest.raises(ConfigurationError, match=r"^k=0: a context"):
        embedded().model().log_probabilities(Split(np.zeros(3, dtype=np.int32)), 0)
