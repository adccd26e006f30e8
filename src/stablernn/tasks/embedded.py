"""The embedded corpus: a hidden Markov model over words, whose best perplexity is known for every context k."""

import math
from bisect import bisect_left
from collections.abc import Mapping

import numpy as np

from stablernn.tasks.published import PUBLISHED
from stablernn.tasks.splits import SPLITS, Corpus, Split, check_lengths
from stablernn.utils.errors import ConfigurationError

# Test perplexity of interpolated Kneser-Ney models of the train split by their order, for the corpora of the profiles
# smoke and quick, by fingerprint; tests/test_baseline.py computes them again.
BASELINE: Mapping[str, Mapping[int, float]] = {
    "2bf20a428b6018e4": {1: 76.43, 2: 57.68, 3: 63.98, 5: 64.39},
    "03e9bfbed6e79856": {1: 82.74, 2: 51.13, 3: 58.37, 5: 61.40},
}
_STEPS_A_BLOCK = 1 << 20


class HiddenMarkovModel:
    """States s with transition matrix A (S, S), words with emission matrix E (S, V), rows summing to one.

    The exact predictor of a model that sees k words is the forward filter started from the stationary law π
    k words back. With b the law of the current state it is a recurrent network of its own::

        b_t^(0) = π,   b_t^(j) ∝ (A^T b_{t-1}^(j-1)) ⊙ E[:, x_t],   p(x_{t+1}) = (A^T b_t^(k))^T E[:, x_{t+1}]

    the layered recursion of the k-truncated network, so it is computed the same way: all positions at once.
    """

    def __init__(self, transition: np.ndarray, emission: np.ndarray) -> None:
        self.transition = transition
        self.emission = emission
        self.stationary = _stationary(transition)

    def sample(self, tokens: int, first_word: int, rng: np.random.Generator) -> np.ndarray:
        """``first_word`` followed by ``tokens`` words drawn from the stationary chain given that word.

        Memory beyond the result: a byte or two a token for its state, and what the words of the commonest state take.
        """
        start = self.stationary * self.emission[:, first_word]
        states = self._walk(int(rng.choice(len(start), p=start / start.sum())), tokens, rng)
        words = np.empty(tokens + 1, dtype=np.int32)
        words[0] = first_word
        for state in range(len(start)):
            at = np.flatnonzero(states == state)
            words[1 + at] = rng.choice(self.emission.shape[1], size=len(at), p=self.emission[state])
        return words

    def _walk(self, state: int, steps: int, rng: np.random.Generator) -> np.ndarray:
        """The states (steps,) of the chain after ``state``, in the narrowest integers that hold them."""
        last = len(self.transition) - 1
        # The last state also takes what rounding leaves above the sum.
        cumulative = [row[:-1] for row in np.cumsum(self.transition, axis=1).tolist()]
        states = np.empty(steps, dtype=np.min_scalar_type(last))
        for begin in range(0, steps, _STEPS_A_BLOCK):
            # Step by step, as each depends on the one before; Python's own floats and bisection are then the fastest.
            walked = [
                state := bisect_left(cumulative[state], draw)
                for draw in rng.random(min(_STEPS_A_BLOCK, steps - begin)).tolist()
            ]
            states[begin : begin + len(walked)] = walked
        return states

    def log_probabilities(self, split: Split, k: int | None) -> np.ndarray:
        """Log-probability (nats) that the best predictor with k words of context gives each token, shape (N,).

        k = None is the filter over the whole past. Context never reaches before the split's first input.
        """
        if k is None:
            return self._whole_past(split)
        return self._layers(split, k)[-1]

    def perplexities(self, split: Split, k: int) -> list[float]:
        """The best perplexity with 1, 2, ..., k words of context: one pass of depth k for all of them."""
        return [float(np.exp(-layer.mean())) for layer in self._layers(split, k)]

    def perplexity(self, split: Split, k: int | None) -> float:
        """exp of the mean negative log-probability of ``log_probabilities``."""
        return float(np.exp(-self.log_probabilities(split, k).mean()))

    def _filter(self, belief: np.ndarray, likelihood: np.ndarray) -> np.ndarray:
        belief = (belief @ self.transition) * likelihood
        return belief / belief.sum(axis=-1, keepdims=True)

    def _layers(self, split: Split, k: int) -> np.ndarray:
        """Log-probabilities with 1..k words of context, (k, N)."""
        if k < 1:
            raise ConfigurationError(f"k={k}: a context has at least 1 word")
        seen, next_seen = self.emission.T[split.inputs], self.emission.T[split.targets]
        result = np.empty((k, len(split)))
        belief = self._filter(np.broadcast_to(self.stationary, seen.shape), seen)
        for layer in range(k):
            # Position t < layer has had all the past that there is: only the later ones see one word more.
            if layer:
                belief = self._filter(belief[:-1], seen[layer:])
                result[layer, :layer] = result[layer - 1, :layer]
            result[layer, layer:] = _log(((belief @ self.transition) * next_seen[layer:]).sum(axis=-1))
        return result

    def _whole_past(self, split: Split) -> np.ndarray:
        beliefs = np.empty((len(split), len(self.stationary)))
        belief = self.stationary
        for t, word in enumerate(split.inputs):
            belief = beliefs[t] = self._filter(belief, self.emission[:, word])
        return _log(((beliefs @ self.transition) * self.emission.T[split.targets]).sum(axis=-1))


def _log(probabilities: np.ndarray) -> np.ndarray:
    """Of sums that rounding may have brought above 1."""
    return np.minimum(np.log(probabilities), 0.0)


def _stationary(transition: np.ndarray) -> np.ndarray:
    """The law π with π A = π."""
    states = len(transition)
    system = np.vstack([transition.T - np.eye(states), np.ones(states)])
    law = np.linalg.lstsq(system, np.append(np.zeros(states), 1.0), rcond=None)[0]
    return np.maximum(law, 0.0) / np.maximum(law, 0.0).sum()


class EmbeddedCorpus:
    """Slow topics × fast syntax states with Zipf-like emissions, made from a seed: no download.

    A state is a pair (topic, syntax). Syntax moves at every word along a sparse random graph; the topic is
    kept with probability ``persistence``, so evidence about it accumulates over some 1 / (1 - persistence)
    words and a longer context keeps paying. Each syntax state owns a share of the vocabulary and each
    topic prefers its own words within the share; syntax state 0 emits only ``<eos>``.

    Args:
        name: what tables call it.
        seed: of the chain and of the text.
        types: vocabulary size V, ``<eos>`` included.
        topics, syntax: number of slow and of fast states.
        persistence: probability that the topic stays, in [0, 1).
        concentration: how strongly a topic prefers its own words; 0 makes topics alike.
        max_tokens: length of each split.

    Raises:
        ConfigurationError: a count or a size is none that a text can have.
    """

    def __init__(
        self,
        name: str,
        seed: int,
        types: int,
        topics: int,
        syntax: int,
        persistence: float,
        concentration: float,
        max_tokens: Mapping[str, int],
    ) -> None:
        if name in PUBLISHED:
            raise ConfigurationError(
                f"dataset.name={name} is for {PUBLISHED[name].title} alone: give a corpus that is made from a seed "
                "another name"
            )
        for option, value, least in (("types", types, 2), ("topics", topics, 1), ("syntax", syntax, 2)):
            if value < least:
                raise ConfigurationError(f"dataset.{option}={value} must be a whole number >= {least}")
        if seed < 0:
            raise ConfigurationError(f"dataset.seed={seed} must be a whole number >= 0")
        if not 0 <= concentration < math.inf:
            raise ConfigurationError(f"dataset.concentration={concentration} must be a number >= 0")
        check_lengths(max_tokens, needed=True)
        if types <= syntax:
            raise ConfigurationError(f"dataset.types={types} must exceed dataset.syntax={syntax}")
        if not 0 <= persistence < 1:
            raise ConfigurationError(f"dataset.persistence={persistence} must lie in [0, 1)")
        self.name = name
        self.seed = seed
        self.types = types
        self.topics = topics
        self.syntax = syntax
        self.persistence = persistence
        self.concentration = concentration
        self.max_tokens = dict(max_tokens)

    def model(self) -> HiddenMarkovModel:
        rng = np.random.default_rng(self.seed)
        syntax = rng.dirichlet(np.full(self.syntax, 0.2), size=self.syntax)
        syntax = 0.98 * syntax + 0.02 / self.syntax
        topic = np.full((self.topics, self.topics), (1 - self.persistence) / max(self.topics - 1, 1))
        np.fill_diagonal(topic, self.persistence if self.topics > 1 else 1.0)
        emission = np.zeros((self.topics, self.syntax, self.types))
        emission[:, 0, 0] = 1.0
        owner = 1 + rng.permutation(np.arange(self.types - 1) % (self.syntax - 1))
        for state in range(1, self.syntax):
            words = 1 + np.flatnonzero(owner == state)
            zipf = 1.0 / np.arange(1, len(words) + 1)
            for number in range(self.topics):
                taste = np.exp(self.concentration * rng.standard_normal(len(words)))
                emission[number, state, words] = zipf * taste / (zipf * taste).sum()
        return HiddenMarkovModel(np.kron(topic, syntax), emission.reshape(-1, self.types))

    def load(self) -> Corpus:
        model = self.model()
        splits = {
            split: Split(model.sample(self.max_tokens[split], 0, np.random.default_rng([self.seed, number])))
            for number, split in enumerate(SPLITS, start=1)
        }
        return Corpus(self.name, self.types, splits, model)
