"""The examination of one model on one text: what each analysis says, at sizes that minutes allow."""

import copy
import math
import statistics
from dataclasses import asdict, replace
from numbers import Integral, Real
from typing import Any

import torch

from stablernn.analysis.certificate_on_text import summary as contexts
from stablernn.analysis.conversion.scoring import best_speed
from stablernn.analysis.gradient_horizon import gradient_norms
from stablernn.analysis.gradient_horizon import summary as gradients
from stablernn.analysis.truncation import truncation_curve, truncation_result
from stablernn.examination.api import truncate
from stablernn.examination.chance import by_chance
from stablernn.examination.data import CHARACTER, WORD, Data, Texts, check_level, read
from stablernn.examination.examination import Examination
from stablernn.models.heads.bernoulli import Bernoulli
from stablernn.models.heads.features import Features
from stablernn.models.heads.regression import Regression
from stablernn.models.heads.softmax import FullSoftmax
from stablernn.models.sequence_model import Frames, SequenceModel
from stablernn.stability.certificates import Certificate, certify
from stablernn.stability.measured import largest_expansion, lyapunov_exponent
from stablernn.stability.on_text import text_bounds
from stablernn.tasks.sequences import Sequences
from stablernn.tasks.splits import Split
from stablernn.utils.console import display, log, open_bar
from stablernn.utils.errors import ConfigurationError, NotApplicableError
from stablernn.utils.metrics import BITS_A_CHARACTER, NATS_A_FRAME, PERPLEXITY, SQUARED_ERROR, Metric
from stablernn.utils.timing import one_thread
from stablernn.utils.wording import counted

FEWEST, _SHORTEST = 64, 8  # positions, and those of the longest sequence
_STREAMS, _LEAD, _LONGEST, _ALONG, _STEPS = 16, 64, 64, 500, 20  # of the search for λ_r, and of the exponent
_ENDS, _HORIZON, _LEAST_ENDS = 128, 100, 16  # of the gradient
_OUTPUTS_OF_IDS = replace(NATS_A_FRAME, item="token", items="tokens")  # nothing says what they stand for
_FIRST, _LONGEST_PROVEN = 8, 256  # positions and k on the text, at most


def examine(
    model: SequenceModel,
    data: Data,
    *,
    vocabulary: Texts | None = None,
    epsilon: float = 0.01,
    k_max: int = 64,
    tokens: int | None = 10_000,
    positions: int = 256,
    seconds: float = 2.0,
    name: str = "the network",
    level: str = WORD,
    progress: bool = True,
) -> Examination:
    """May this network be replaced by a feed-forward one, with which k, and is that guaranteed?

    Args:
        model: of ``from_torch``, or any trained model of this package that has cells; examined in float32, what is
            proven in float64.
        data: a text file, a .npy file, ids (N,), frames (N, E) or a list of such sequences, or a split of a task; text
            that the network has not been trained on.
        vocabulary: of a text: a file with a word a line in the order of ids, or the texts that the network was trained
            on. None: those beside the text, numbered as word_language_model numbers them.
        epsilon: nats an item that a replacement may change; without a decoder, of any entry of the output.
        k_max: the longest context that is measured, and looked for in a proof for this text.
        tokens: the first so many items of the data; None: all.
        positions: of these, so many get a proof for this text.
        seconds: the speed is measured for so long.
        name: of the network, for the screen.
        level: what a text is read as: ``word`` or ``character``, whose score is in bits.
        progress: show a bar, on a terminal.

    Raises:
        ConfigurationError: the data are not what the model reads, or too short.

    >>> import torch, stablernn
    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <torch._C.Generator object at ...>
    >>> embedding, rnn, decoder = torch.nn.Embedding(11, 4), torch.nn.RNN(4, 5), torch.nn.Linear(5, 11)
    >>> model = stablernn.from_torch(embedding, rnn, decoder)
    >>> examination = stablernn.examine(model, torch.randint(11, (600,)), k_max=8, seconds=0.01)
    >>> examination.k <= 8
    True
    >>> feedforward = examination.convert()
    >>> feedforward(torch.randint(11, (20, 1))).shape
    torch.Size([20, 1, 11])
    """
    if not isinstance(model, SequenceModel):
        raise ConfigurationError(
            f"examine takes a SequenceModel, not {type(model).__name__}: make one with stablernn.from_torch(embedding, "
            "rnn, decoder)"
        )
    check_sizes(epsilon, k_max, tokens, positions, seconds, level)
    if model.dtype is not torch.float32:
        model = copy.deepcopy(model).float()
    examined = read(model, data, vocabulary, tokens, level)
    metric = BITS_A_CHARACTER if level == CHARACTER else metric_of(model)
    split = examined.split
    longest = split.longest if isinstance(split, Sequences) else len(split)
    if len(split) < FEWEST:
        raise ConfigurationError(
            f"data={examined.name} has {counted(len(split), metric.one)} to predict, too few to examine a network on: "
            f"give {FEWEST} or more"
        )
    if longest < _SHORTEST:
        raise ConfigurationError(
            f"data={examined.name}: the longest sequence has {counted(longest, metric.one)} to predict, too few to "
            f"tell one context from another: give one of {_SHORTEST} or more"
        )
    was_training = model.training
    model.eval()
    with display(progress):
        found = _Examining(model, split, metric, epsilon, min(k_max, longest), positions)
        certificate = certify(model)
        curve = found.curve(certificate)
        mean = curve["recurrent"]["total"] / curve["recurrent"]["count"]
        if isinstance(model.objective, FullSoftmax) and mean > math.log(len(model.objective.weight)):
            log.warning(
                f"the network is worse than a guess among its {len(model.objective.weight):,} ids: is vocabulary the "
                "one that it was trained on?"
            )
        result = Examination(
            model=model,
            split=split,
            words=examined.words,
            name=name,
            data=examined.name,
            metric=metric,
            epsilon=epsilon,
            certificate=certificate,
            on_text=found.on_text(certificate),
            dynamics=found.dynamics(),
            gradient=found.gradient(),
            curve=curve,
            chance=by_chance(model.objective, split),
            speed={},
        )
        k = result.k or curve["k"][-1]
        speed = best_speed(model, truncate(model, k), dict, split, seconds) | {"k": k}
    model.train(was_training)
    return replace(result, speed=speed)


def check_sizes(epsilon: float, k_max: int, tokens: int | None, positions: int, seconds: float, level: str) -> None:
    """Refuse arguments of ``examine`` that have no meaning: raises ConfigurationError."""
    if not isinstance(epsilon, Real) or not 0 < epsilon < math.inf:
        raise ConfigurationError(f"epsilon={epsilon} must be a positive number of nats")
    for option, value in (("k_max", k_max), ("tokens", tokens), ("positions", positions)):
        least = FEWEST if option == "tokens" else 1
        if value is not None and (not isinstance(value, Integral) or value < least):
            raise ConfigurationError(f"{option}={value} must be a whole number >= {least}")
    if not isinstance(seconds, Real) or not 0 <= seconds < math.inf:
        raise ConfigurationError(f"seconds={seconds} must be a number of seconds >= 0")
    check_level(level)


def metric_of(model: SequenceModel) -> Metric:
    """How its scores are shown."""
    if isinstance(model.objective, Regression):
        return SQUARED_ERROR
    if isinstance(model.objective, Features) and not isinstance(model.inputs, Frames):
        return _OUTPUTS_OF_IDS
    return NATS_A_FRAME if isinstance(model.objective, Bernoulli | Features) else PERPLEXITY


class _Examining:
    """The analyses of one model on one split, each at a size that the split has and that minutes allow."""

    def __init__(
        self,
        model: SequenceModel,
        split: Split | Sequences,
        metric: Metric,
        epsilon: float,
        k_max: int,
        positions: int,
    ) -> None:
        self.model, self.split, self.metric = model, split, metric
        self.epsilon, self.k_max, self.positions = epsilon, k_max, positions

    def curve(self, certificate: Certificate) -> dict[str, Any]:
        bar = open_bar("score against k", len(self.split))
        curve = truncation_curve(
            self.model,
            self.split,
            range(1, self.k_max + 1),
            tolerance=1e-5 if isinstance(self.model.objective, FullSoftmax) else 0.0,
            on_position=bar.update,
            metric=self.metric,
        )
        bar.close()
        return truncation_result(self.model, curve, certificate)

    def on_text(self, certificate: Certificate) -> dict[str, Any] | None:
        """k(ε) at some positions; None where no bound along a text is known of the cells."""
        count = min(self.positions, len(self.split))
        found = self._on_text(certificate, min(_FIRST, count))
        # Where none of the first positions has a k, more of them would take minutes to say the same.
        return found if found is None or not found["shorter"] or count <= _FIRST else self._on_text(certificate, count)

    def _on_text(self, certificate: Certificate, count: int) -> dict[str, Any] | None:
        split, longest = self.split, min(self.k_max, _LONGEST_PROVEN)
        if isinstance(split, Sequences):
            split = split.first(count, cut=True)
            pieces, most = [range(len(split))], min(longest, split.longest)
        else:  # two stretches, to the middle and to the end
            most, each = min(longest, len(split)), -(-count // 2)
            middle = max(len(split) // 2, each)
            pieces = [range(middle - each, middle), range(max(middle, len(split) - each), len(split))]
        bar = open_bar("certificate on this text", sum(map(len, pieces)))
        model = copy.deepcopy(self.model).double()
        try:
            bounds = text_bounds(model, certificate, split, pieces, most, self.epsilon, bar.update)
        except NotApplicableError:
            return None
        finally:
            bar.close()
        longest = split.longest if isinstance(split, Sequences) else None
        return {
            "positions": bounds[0].shape[1],
            "most": most,
            "bounds": bounds[0].amax(1).tolist(),
            **contexts(bounds[0], self.epsilon, longest),
        }

    def dynamics(self) -> dict[str, Any]:
        """λ_r and the largest Lyapunov exponent."""
        split = self.split
        if isinstance(split, Sequences):
            lengths = sorted(map(len, split.targets), reverse=True)
            streams = max(1, min(_STREAMS, sum(length >= lengths[0] // 2 for length in lengths)))
            room = lengths[streams - 1]
        else:
            streams = max(2, min(_STREAMS, len(split) // (_LEAD + _LONGEST)))
            room = len(split) // streams
        lead = min(_LEAD, room // 3)
        longest = min(_LONGEST, room - lead)
        inputs = split.beside(streams, lead + longest, min(room, lead + _ALONG)).x
        if inputs.is_floating_point():
            inputs = inputs.to(self.model.dtype)
        with one_thread():
            exponents = lyapunov_exponent(self.model, inputs, lead)
            targets = [4**power for power in range(longest.bit_length()) if 4**power <= longest]
            bar, done = open_bar("contraction on the text", len(targets) * _STEPS), iter(range(1, 10**9))
            found = {}
            if streams > 1:  # a pair of states comes from two streams
                expansion = largest_expansion(
                    self.model, inputs[: lead + longest], lead, targets, _STEPS, on_step=lambda: bar.update(next(done))
                )
                found = asdict(expansion) | {"contracts_from": expansion.contracts_from}
            bar.close()
        sure = len(exponents) > 1 and all(map(math.isfinite, exponents))  # states that became equal give -inf
        deviation = statistics.stdev(exponents) / len(exponents) ** 0.5 if sure else None
        return found | {"lyapunov": statistics.mean(exponents), "error": deviation, "streams": streams}

    def gradient(self) -> dict[str, Any] | None:
        """Of the loss by the inputs before; None without a loss, or on too short a text."""
        if isinstance(self.model.objective, Features):
            return None
        split = self.split
        if isinstance(split, Sequences):
            horizon = min(_HORIZON, split.longest // 2)
            room = split.room(horizon)
            lead = min(_LEAD, horizon)
        else:
            horizon, lead = min(_HORIZON, len(split) // 4), min(_LEAD, len(split) // 4)
            room = len(split) - horizon - lead
        ends = min(_ENDS, room)
        if ends < _LEAST_ENDS or horizon < 2:
            return None
        bar = open_bar("gradient horizon", ends)
        with one_thread():
            norms = gradient_norms(self.model, split, horizon, ends, lead, bar.update)
        bar.close()
        return gradients(norms)
