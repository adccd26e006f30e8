"""analysis=certificate_on_text: what is proven for the inputs of a split, whatever others would do."""

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from torch import Tensor

from stablernn.analysis.estimate import Subject
from stablernn.analysis.runner import check_split
from stablernn.analysis.truncation import TruncationAnalysis, chosen
from stablernn.records.schemas import analysis_check
from stablernn.stability.certificates import EPSILONS, certify
from stablernn.stability.on_text import text_bounds
from stablernn.tasks.sequences import Sequences
from stablernn.tasks.splits import Split
from stablernn.training.evaluate import BLOCK
from stablernn.training.trained import Trained
from stablernn.utils.console import open_bar
from stablernn.utils.errors import ConfigurationError, DamagedFileError
from stablernn.utils.files import read_json
from stablernn.utils.timing import seconds_of
from stablernn.utils.wording import counted

_SAMPLE, _FEW, _MORE = 128, 4, 12  # positions and k, to tell the time by


@dataclass(frozen=True)
class CertificateOnTextAnalysis:
    """k(ε) at each position of a split, and beside it what is proven for all texts and what is measured.

    Args:
        split: of the data.
        tokens: its first so many items; None: all.
        pieces: of a text so many pieces of 1,024 words, spread evenly; None: all.
        k_max: the largest k.
    """

    split: str = "test"
    tokens: int | None = None
    pieces: int | None = 2
    k_max: int = 512
    name: ClassVar[str] = "certificate_on_text"
    needs: ClassVar[tuple[str, ...]] = ("cells",)

    def __post_init__(self) -> None:
        check_split(self.split)
        for option in ("tokens", "pieces", "k_max"):
            if (value := getattr(self, option)) is not None and value < 1:
                raise ConfigurationError(f"analysis.{option}={value} must be a whole number >= 1")

    @property
    def options(self) -> dict[str, Any]:
        return asdict(self)

    def _chosen(self, subject: Subject) -> tuple[Split | Sequences, list[range], int]:
        """The split, the positions of a text that are looked at, and the largest k that is."""
        split = subject.corpus.splits[self.split].first(self.tokens)
        if isinstance(split, Sequences):
            return split, [range(len(split))], min(self.k_max, split.longest)
        return split, chosen(len(split), BLOCK, self.pieces), min(self.k_max, len(split))

    def seconds(self, subject: Subject) -> float:
        """About how long a run takes at most, one in which nothing is proven, by a few positions and few k."""
        model = subject.model("best").double()
        split, pieces, most = self._chosen(subject)
        sample = split.first(_SAMPLE)
        certificate = certify(model)

        def each_position(k: int) -> float:
            whole = [range(len(sample))]
            return seconds_of(lambda: text_bounds(model, certificate, sample, whole, k), subject.device) / len(sample)

        each_position(1)  # the first time is that of a cold machine
        few, more = each_position(_FEW), each_position(_MORE)
        each = max(0.0, more - few) / (_MORE - _FEW)
        if isinstance(split, Sequences):
            steps = sum(min(len(target), most) * len(target) / 2 for target in split.targets)
            return len(split) * few + steps * each
        read = sum(len(piece) + min(most, piece.start) for piece in pieces)
        return read * (few + most * each)

    def __call__(self, trained: Trained) -> dict[str, Any]:
        model = trained.model("best").double()
        certificate = certify(model)
        split, pieces, most = self._chosen(trained)
        count = sum(map(len, pieces))
        bar = open_bar(f"{self.name} {trained.record.id}", count)
        bounds = text_bounds(model, certificate, split, pieces, most, min(EPSILONS), bar.update)
        bar.close()
        longest = split.longest if isinstance(split, Sequences) else None
        named = dict(zip(("any", "targets"), bounds, strict=True))
        shown = min(most, 1 + int((bounds[0].amax(1) > min(EPSILONS)).sum()))
        return {
            "positions": count,
            "of": len(split),
            "longest": longest,
            "proven": {
                name: {f"{epsilon:g}": summary(values, epsilon, longest) for epsilon in EPSILONS}
                for name, values in named.items()
            },
            "largest": {
                name: [value if math.isfinite(value) else None for value in values[:shown].amax(1).tolist()]
                for name, values in named.items()
            },
            "on_all_texts": {f"{epsilon:g}": certificate.context(epsilon) for epsilon in EPSILONS},
            "measured": self._measured(trained),
        }

    def _measured(self, trained: Trained) -> dict[str, int | None] | None:
        """The least k from which on the truncation of this run moved no target by more than ε; None: not known."""
        try:
            curve = read_json(
                trained.folder / f"{TruncationAnalysis.name}.json", analysis_check(TruncationAnalysis.name)
            )
        except (FileNotFoundError, DamagedFileError):
            return None
        if curve["options"]["split"] != self.split or curve.get("run") != trained.record.id:
            return None
        result = {}
        for epsilon in EPSILONS:
            above = [k for k, value in zip(curve["k"], curve["largest"], strict=True) if value > epsilon]
            k = above[-1] + 1 if above else 1
            result[f"{epsilon:g}"] = k if k <= curve["k"][-1] else None
        return result


def proven_on_text(trained: Trained, epsilon: float) -> tuple[int | None, str] | None:
    """The k that changes no log-probability by more than ``epsilon`` on inputs of this run's data, and which these are.

    By the analysis that lies in the run's folder, which may prove none; None: there is no analysis.
    """
    name = CertificateOnTextAnalysis.name
    try:
        result = read_json(trained.folder / f"{name}.json", analysis_check(name))
    except (FileNotFoundError, DamagedFileError):
        return None
    known = [each for each in EPSILONS if each <= epsilon]
    k = result["proven"]["any"][f"{max(known):g}"]["max"] if known else None
    if result.get("run") != trained.record.id:
        return None
    of = f"{counted(result['of'], 'position')} of {result['options']['split']}"
    return k and int(k), f"{result['positions']:,} of {of}"


def summary(bounds: Tensor, epsilon: float, longest: int | None) -> dict[str, float | None]:
    """k(ε) over the positions, from bounds (K, N) that fall with k.

    Args:
        longest: inputs of the longest sequence; None: a text.

    Returns:
        mean, p99 and max, each None where it is not proven: a text's position may need more than K, and that a sequence
        has no more inputs than it has is no proof. ``shorter``: the share of positions at which fewer inputs are enough
        than there are.
    """
    needed = 1 + (bounds > epsilon).sum(0)  # a bound is 0 only where all inputs are seen
    reached = bounds.gather(0, (needed - 1).clamp_max(len(bounds) - 1)[None])[0]
    proven = needed <= len(bounds)
    shorter = float((proven & (reached > 0)).double().mean())
    values = needed.double().masked_fill(~proven, math.inf)
    values_of_k = {"mean": values.mean(), "p99": values.quantile(0.99, interpolation="higher"), "max": values.max()}
    known = shorter and (longest or math.inf)  # no k is known if no position needs fewer inputs than there are
    return {name: float(k) if float(k) < known else None for name, k in values_of_k.items()} | {"shorter": shorter}
