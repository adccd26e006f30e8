"""How many inputs of context replace a recurrent state: proven where that is possible, else measured."""

from dataclasses import asdict, dataclass
from typing import Any

from stablernn.analysis.truncation import measure_gaps
from stablernn.analysis.truncation_curve import Gap
from stablernn.models.backbone import CellStack
from stablernn.models.feed_forward import FeedForward
from stablernn.models.peers.base import FeedForwardNetwork
from stablernn.models.sequence_model import SequenceModel
from stablernn.stability.certificates import Certificate, certify
from stablernn.tasks.sequences import Sequences
from stablernn.tasks.splits import Split
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.project import command
from stablernn.utils.wording import counted

CERTIFIED, ON_TEXT, MEASURED, GIVEN, OWN = "certified", "on_text", "measured", "given", "own"
GUARANTEES = ("auto", CERTIFIED, ON_TEXT, MEASURED)


@dataclass(frozen=True)
class Choice:
    """A k, and what stands behind it.

    Attributes:
        k: inputs of context.
        how: ``certified``: k(ε) for all inputs; ``on_text``: proven for those of one split; ``measured``: by the inputs
            of a split alone; ``given``: by whoever asked; ``own``: the model was trained with this context and is
            feed-forward already.
        reason: in words, why so.
        epsilon: what was asked for, in nats an item; None where k was given.
        certified_gap: the proven bound at k of the change of any log-probability, in nats; None: nothing is proven.
        certified_k: k(ε); None: nothing is proven, or epsilon was not asked for.
        gap: what was measured at k.
        tokens: on so many items.
        examined: the change of the mean log-probability, in nats, by the k that were looked at (measured alone).
    """

    k: int
    how: str
    reason: str
    epsilon: float | None
    certified_gap: float | None
    certified_k: int | None
    gap: Gap
    tokens: int
    examined: dict[int, float]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def choose(
    model: SequenceModel,
    split: Split | Sequences,
    epsilon: float,
    k: int | None,
    guarantee: str,
    k_max: int = 256,
    on_text: tuple[int | None, str] | None = None,
    certificate: Certificate | None = None,
) -> Choice:
    """The context with which ``model`` may be replaced.

    Args:
        model: a trained model.
        split: measured on it.
        epsilon: nats an item. A certified k changes no log-probability by more, on any inputs that the task allows; a
            measured one changes the mean log-probability by no more, on these.
        k: use this context, whatever it costs.
        guarantee: ``auto``: certified if k(ε) <= k_max, else proven on a text if that k is, else measured; or one of
            them and no other.
        k_max: no longer context is chosen.
        on_text: the k that is proven on a text, None where none is, and for what of it; None: nobody tried.
        certificate: as ``check_guarantee`` returned it; None: nobody asked.

    Raises:
        ConfigurationError: there is no such k; says what is known and what would help.
    """
    if isinstance(model.backbone, FeedForward | FeedForwardNetwork):
        check_context(model, k)
        return _own(model.backbone, split)
    certificate = certificate or check_guarantee(model, epsilon, k, guarantee, k_max, on_text)
    assert certificate is not None
    proven = certificate.context(epsilon) if k is None else None
    examined: dict[int, float] = {}
    if k is not None:
        how, reason = GIVEN, "by the command line, whatever it costs"
    elif guarantee in ("auto", CERTIFIED) and proven is not None and proven <= k_max:
        k, how, reason = max(1, proven), CERTIFIED, f"k({epsilon:g}) = {max(1, proven)} is proven"
    elif guarantee != MEASURED and on_text is not None and on_text[0] is not None and on_text[0] <= k_max:
        k, how = on_text[0], ON_TEXT
        reason = f"k = {k} is proven for {on_text[1]}; for all inputs: {_unproven(certificate, proven, epsilon, k_max)}"
    else:
        k, examined = _search(model, split, epsilon, k_max)
        how, items = MEASURED, counted(len(split), "item")
        reason = f"{k} and every larger k examined stay within {epsilon:g} nats in the mean of {items}"
        if caution := seldom_cut(split, k):
            reason += f", but {caution}"
        if guarantee != MEASURED:
            reason += f"; {_unproven(certificate, proven, epsilon, k_max)}"
    return Choice(
        k=k,
        how=how,
        reason=reason,
        epsilon=None if how == GIVEN else epsilon,
        certified_gap=certificate.gap(k) if certificate.holds else None,
        certified_k=proven,
        gap=measure_gaps(model, split, [k])[k],
        tokens=len(split),
        examined=examined,
    )


def seldom_cut(split: Split | Sequences, k: int) -> str:
    """A caution where fewer than half of a split's positions have more than ``k`` inputs; nothing where more do.

    The others are the same with ``k`` inputs whatever the model: a measurement on short sequences says little of long.
    """
    share = split.room(k) / len(split)
    few = f"only {share:.0%} of the positions have" if share else "no position has"
    return "" if 2 * share >= 1 else f"{few} more inputs before, so longer sequences may need more"


def check_guarantee(
    model: SequenceModel,
    epsilon: float,
    k: int | None,
    guarantee: str,
    k_max: int = 256,
    on_text: tuple[int | None, str] | None = None,
) -> Certificate | None:
    """The model's certificate, of the arguments of ``choose``; None where it needs none. Nothing is measured.

    Raises:
        ConfigurationError: what is asked for is not proven; says what is known and what would help.
    """
    check_context(model, k)
    if isinstance(model.backbone, FeedForward | FeedForwardNetwork):
        return None
    certificate = certify(model)
    proven = certificate.context(epsilon) if k is None else None
    if k is not None or guarantee not in (CERTIFIED, ON_TEXT):
        return certificate
    if guarantee == CERTIFIED:
        if proven is not None and proven <= k_max:
            return certificate
        raise ConfigurationError(f"guarantee=certified: {_shortfall(certificate, proven, epsilon, k_max)}")
    known = f"no such proof is at hand; compute one with {command('analyze')} analysis=certificate_on_text"
    if on_text is not None:
        k, where = on_text
        if k is not None and k <= k_max:
            return certificate
        known = f"no k is proven for {where}" if k is None else f"k = {k:,} is proven, above k_max={k_max}"
    raise ConfigurationError(f"guarantee=on_text: {known}; or choose guarantee=measured")


def check_context(model: SequenceModel, k: int | None) -> None:
    """Refuse what cannot be replaced by a model of k inputs.

    Raises:
        ConfigurationError: the model is feed-forward already and is to see another number of inputs, it reads later
            inputs too, or it depends on the time.
    """
    backbone = model.backbone
    if backbone.whole_sequences:
        raise ConfigurationError(
            "not applicable: the model reads later inputs too, and what is written sees its last k inputs alone: name "
            "a run of one direction"
        )
    if isinstance(backbone, CellStack) and any(cell.timed for cell in backbone.cells):
        raise ConfigurationError(
            "not applicable: the model depends on the time since the start of the sequence, which its last k inputs do "
            "not tell: name a run of another model"
        )
    if isinstance(backbone, FeedForward | FeedForwardNetwork) and k not in (None, backbone.k):
        raise ConfigurationError(
            f"k={k}: the run was trained as a feed-forward model of {counted(backbone.k, 'input')}; leave k=null to "
            "keep that"
        )


def _own(backbone: FeedForward | FeedForwardNetwork, split: Split | Sequences) -> Choice:
    reason = f"it was trained as a feed-forward model of {counted(backbone.k, 'input')} and is exported as it is"
    return Choice(backbone.k, OWN, reason, None, 0.0, None, Gap(0.0, 0.0), len(split), {})


def _unproven(certificate: Certificate, proven: int | None, epsilon: float, k_max: int) -> str:
    if not certificate.holds:
        return f"nothing is proven of this model ({certificate.summary()['reason']})"
    if proven is None:
        return f"λ = {certificate.rate:.9g} is proven, but k({epsilon:g}) is above ten million"
    return f"k({epsilon:g}) = {proven:,} is proven" + (f", but above k_max={k_max}" if proven > k_max else "")


def _shortfall(certificate: Certificate, proven: int | None, epsilon: float, k_max: int) -> str:
    remedy = "choose guarantee=measured, or train under a stability constraint"
    if certificate.holds:
        instead = "a larger epsilon, or guarantee=measured"
        further = f"set k_max={proven} (each output takes as many steps)"
        remedy = f"choose {instead}" if proven is None else f"{further}, {instead}"
    return f"{_unproven(certificate, proven, epsilon, k_max)}; {remedy}"


def _search(model: SequenceModel, split: Split | Sequences, epsilon: float, k_max: int) -> tuple[int, dict[int, float]]:
    """The k such that it and every larger k examined change the mean log-probability by at most ``epsilon``.

    Examined are the powers of two below ``k_max``, ``k_max`` itself, and by bisection what lies between the largest of
    them that fails and the next: k - 1 is always among them, and fails. The gap need not fall with k, so a
    still smaller k might do by chance; it would not be trusted.
    """

    def gaps(lengths: list[int]) -> dict[int, float]:
        return {k: gap.loss_change for k, gap in measure_gaps(model, split, lengths).items()}

    examined = gaps([*(2**power for power in range(k_max.bit_length()) if 2**power < k_max), k_max])
    if abs(examined[k_max]) > epsilon:
        raise ConfigurationError(
            f"k_max={k_max}: so much context changes the mean log-probability by {examined[k_max]:.2g} nats on "
            f"{counted(len(split), 'item')}, more than epsilon={epsilon:g}: choose a larger k_max or epsilon"
        )
    fails = max((k for k, gap in examined.items() if abs(gap) > epsilon), default=0)
    holds = min(k for k in examined if k > fails)
    while holds - fails > 1:
        middle = (fails + holds) // 2
        examined |= gaps([middle])
        fails, holds = (fails, middle) if abs(examined[middle]) <= epsilon else (middle, holds)
    return holds, dict(sorted(examined.items()))
