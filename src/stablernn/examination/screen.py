"""An examination in plain text, on one screen of 80 columns."""

import math
import textwrap
from collections.abc import Iterator

from stablernn.analysis.conversion.choice import seldom_cut
from stablernn.examination.examination import ANY_TEXT, MEASURED, THIS_TEXT, Examination
from stablernn.examination.network import is_unbounded, kind_of
from stablernn.models.sequence_model import Frames
from stablernn.report.sections.truncation import has_errors
from stablernn.report.statistics import student
from stablernn.stability.measured import LEAST_GROWTH
from stablernn.utils.metrics import SQUARED_ERROR
from stablernn.utils.wording import counted

WIDTH = 80
_LABEL = 20
_SHOWN = (1, 2, 3, 5, 10, 20, 35, 64, 100, 128, 256, 512)
_MOST_SHOWN = 7
_CLEARLY = 0.05  # a smaller difference of two speeds is none


def screen(examination: Examination) -> str:
    """All lines; none is longer than 80 columns."""
    return "\n".join(_lines(examination))


def _lines(e: Examination) -> Iterator[str]:
    yield from _wrapped(f"{e.name}: {_network(e)}")
    yield from _wrapped(f"examined on {e.data}: {counted(len(e.split), e.metric.one)}; ε = {e.epsilon:g} {_unit(e)}")
    yield _rule("May it be replaced by a feed-forward network?")
    yield from _wrapped(recommendation(e))
    yield _rule("How many inputs are enough?")
    yield from _labelled("proven, any input", _for_all(e))
    yield from _labelled("proven, this text", _for_text(e))
    yield from _labelled("measured", _by_measure(e))
    if e.scored:
        yield _rule(f"{_begun(e.metric.name)} with the last k inputs alone")
        yield from _scores(e)
    yield _rule("How stable is it on this text?")
    yield from _labelled("Lyapunov exponent", _lyapunov(e))
    yield from _labelled("λ_r", _expansion(e))
    if e.gradient is not None:
        yield from _labelled("gradient horizon", _horizon(e))
    if e.speed:
        yield _rule(f"{_begun(e.metric.items)} a second, one stream, this machine")
        yield from _speeds(e)


def recommendation(e: Examination) -> str:
    """What to do, and why; none of a network that has learnt nothing."""
    if e.has_learnt or e.chance is None:
        return _answer(e)
    values = (
        e.metric.value(mean, 1) for mean in (e.curve["recurrent"]["total"] / e.curve["recurrent"]["count"], e.chance)
    )
    network, chance = (f"{value:,.{e.metric.places}f}" for value in values)
    return (
        f"No answer yet, as the network has learnt nothing that context could serve: its {e.metric.name} is {network}, "
        f"and {chance} is that of {_simplest(e)}. Train it further"
        + (", or read the text with the vocabulary that is its own" if e.words is not None else "")
        + ", and examine it again. What follows is true of these weights alone."
    )


def _simplest(e: Examination) -> str:
    if e.metric is SQUARED_ERROR:
        return "the mean alone"
    return f"how often each {'output' if isinstance(e.model.inputs, Frames) else e.metric.one} comes in these data"


def _answer(e: Examination) -> str:
    k, how = e.choice
    if k is None:
        most = e.curve["k"][-1]
        what = "score" if e.scored else "state"
        return (
            f"Not with up to {counted(most, e.metric.one)}: the {what} is not within ε at k = {most}, and nothing "
            "shorter is proven. Keep it recurrent, or examine with a larger k_max, or train it under a stability "
            "constraint."
        )
    sentences = {
        ANY_TEXT: f"Yes, with k = {k}, and it is guaranteed: on no input does any output change by more than ε.",
        THIS_TEXT: f"Yes, with k = {k}: at every position looked at no output changes by more than ε, which is proven "
        "for this text; on other text it is not.",
        MEASURED: f"Yes, with k = {k}, by measurement: on this text the "
        + ("score in the mean" if e.scored else "state")
        + f" stays within ε{_single(e, k)}{_seldom(e, k)}. No such k is proven, so test it on data of your own use.",
    }
    return f"{sentences[how]} {_gain(e)}".strip()


def _single(e: Examination, k: int) -> str:
    if not e.scored:
        return ""
    largest = e.curve["largest"][e.curve["k"].index(k)]
    return f" (a single {e.metric.one} moves by up to {largest:.2g} nats)"


def _seldom(e: Examination, k: int) -> str:
    caution = seldom_cut(e.split, k)
    return f"; but {caution}" if caution else ""


def _gain(e: Examination) -> str:
    if not e.speed:
        return ""
    recurrent, feedforward = (e.speed["tokens_per_second"][form] for form in ("recurrent", "feedforward"))
    if max(recurrent, feedforward) < min(recurrent, feedforward) * (1 + max(e.speed["scatter"], _CLEARLY)):
        return (
            f"Which of the two scores one stream faster is undecided: {feedforward / recurrent:.2f} times as fast "
            f"feed-forward, in rounds that scatter by {e.speed['scatter']:.0%}."
        )
    if feedforward > recurrent:
        return f"One stream is scored {feedforward / recurrent:.1f} times as fast here."
    return (
        f"For speed here keep it recurrent: with k = {e.speed['k']} one stream takes {recurrent / feedforward:.1f} "
        "times as long. Convert it where no state may be kept, or where positions run in parallel (GPU)."
    )


def _network(e: Examination) -> str:
    model, inputs, cells = e.model, e.model.inputs, list(e.model.cells)
    text = f"{kind_of(model)}, {counted(len(cells), 'layer')} of {counted(cells[0].hidden_size, 'unit')}, "
    if isinstance(inputs, Frames):
        where = "of any real numbers" if is_unbounded(model) else f"in [{inputs.low:g}, {inputs.high:g}]"
        text += f"frames of {counted(inputs.embedding_dim, 'entry')} {where}, "
    else:
        tied = getattr(model.objective, "weight", None) is inputs.weight
        text += f"{inputs.num_embeddings:,} ids{' (tied)' if tied else ''}, "
    return text + f"{counted(model.size(), 'parameter')}"


def _unit(e: Examination) -> str:
    return f"nats a {e.metric.item}" if e.scored else "of any entry of the output"


def _for_all(e: Examination) -> str:
    if not e.certificate.holds:
        bounds = "; frames may have any entries: give their bounds, if there are some" if is_unbounded(e.model) else ""
        return f"nothing: {e.certificate.summary()['reason']}{bounds}"
    rate = f"λ = {e.certificate.rate:.6g}"
    return f"k = {e.proven:,} ({rate})" if e.proven is not None else f"k above ten million ({rate})"


def _for_text(e: Examination) -> str:
    found = e.on_text
    if found is None:
        return "not applicable: no bound along a text is known of this cell"
    where = f"at {counted(found['positions'], 'position')}"
    if found["max"] is not None:
        return f"k = {found['max']:,.0f} {where}; mean {found['mean']:,.1f}, 99 % {found['p99']:,.0f}"
    share = "" if not found["shorter"] else f"; for {found['shorter']:.0%} of them it is"
    return f"not with k up to {found['most']} {where}{share}"


def _by_measure(e: Examination) -> str:
    most = e.curve["k"][-1]
    if e.measured is None:
        return f"k > {most} (k_max)"
    if not e.scored:
        return f"k = {e.measured}: ‖h − h^(k)‖ stays within ε from there on"
    of_what = "the mean, with its 95 % interval," if has_errors(e.curve) else "the mean (too short for an interval)"
    return f"k = {e.measured}: {of_what} stays within ε from there on"


def _scores(e: Examination) -> Iterator[str]:
    ks = [k for k in dict.fromkeys((*_SHOWN, e.curve["k"][-1])) if k <= e.curve["k"][-1]]
    ks = sorted([*ks[: _MOST_SHOWN - 1], ks[-1]] if len(ks) > _MOST_SHOWN else ks)
    at = [e.curve["k"].index(k) for k in ks]
    places, values = e.metric.places, [e.curve["value"][n] for n in at]
    rows = [
        ("k", [str(k) for k in ks] + ["all"]),
        (e.metric.name, [f"{value:.{places}f}" for value in (*values, e.curve["recurrent"]["value"])]),
        ("change, nats", [f"{e.curve['loss_change'][n]:+.4f}" for n in at] + [""]),
    ]
    if has_errors(e.curve):
        quantile = student(e.curve["error"]["blocks"] - 1)
        rows.append(("± (95 %)", [f"{quantile * e.curve['error']['loss_change'][n]:.4f}" for n in at] + [""]))
    rows.append(("largest of any", [f"{e.curve['largest'][n]:.2g}" for n in at] + [""]))
    for name, values in rows:
        yield (f"  {name:<14}" + "".join(f"{value:>8}" for value in values)).rstrip()


def _lyapunov(e: Examination) -> str:
    value, error = e.dynamics["lyapunov"], e.dynamics["error"]
    if value == -math.inf:
        return "none: the two states became equal, to the last bit"
    half = "" if error is None else f" ± {student(e.dynamics['streams'] - 1) * error:.3f}"
    text = f"{value:+.3f}{half} a {e.metric.one}: differences "
    if value < 0:
        return text + f"halve every {math.log(2) / -value:.1f} {e.metric.items}"
    return text + "grow: no k is enough for every state"


def _expansion(e: Examination) -> str:
    largest = e.dynamics.get("largest")
    if largest is None:
        return "not measured: it compares two sequences, and the data have one of that length"
    first, last = e.dynamics["contracts_from"], len(largest)
    end = f"λ_{last} {'=' if largest[-1] > LEAST_GROWTH else '<='} {largest[-1]:.2g}"
    return f"below 1 from r = {first} on; {end}" if first is not None else f"not below 1 up to r = {last}: {end}"


def _horizon(e: Examination) -> str:
    assert e.gradient is not None
    fallen, reach = e.gradient["fallen"], len(e.gradient["mean"]) - 1
    if fallen is None:
        return f"beyond {reach} {e.metric.items}: the gradient has not fallen to a thousandth"
    return f"a thousandth of the gradient is left after {counted(fallen, e.metric.one)}"


def _speeds(e: Examination) -> Iterator[str]:
    threads = e.speed["by_threads"]
    yield f"  {'':<{_LABEL}}" + "".join(f"{counted(int(count), 'thread'):>12}" for count in threads)
    for form, label in (("recurrent", "recurrent"), ("feedforward", f"feed-forward, k={e.speed['k']}")):
        yield f"  {label:<{_LABEL}}" + "".join(f"{rates[form]:>12,.0f}" for rates in threads.values())


def _rule(title: str) -> str:
    return f"── {title} " + "─" * (WIDTH - len(title) - 4)


def _begun(text: str) -> str:
    return text[0].upper() + text[1:]


def _labelled(label: str, text: str) -> Iterator[str]:
    lines = textwrap.wrap(text, WIDTH - _LABEL - 2)
    for number, line in enumerate(lines):
        yield f"  {label if number == 0 else '':<{_LABEL}}{line}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ")
