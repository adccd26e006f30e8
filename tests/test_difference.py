"""Intervals of differences of perplexity: over seeds, over stretches of test words, over both."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter
from test_report import record

from stablernn.records.neutral import neutral_blocks
from stablernn.records.record import BLOCKS_FILE, RECORD_FILE, read_record
from stablernn.report import difference as module
from stablernn.report.data import Replicates
from stablernn.report.difference import Difference, absolute, certainty, difference, half_width, relative, student
from stablernn.report.load import load_records
from stablernn.utils.errors import RecordError


def scored(nats, seed=0, length=100, tokens=None, **changes):
    """A run that lost so many nats on each block of so many test words, the last of which may be shorter."""
    tokens = tokens or length * len(nats)
    total = math.fsum(nats)
    entry = record(math.exp(total / tokens), seed=seed, **changes)
    entry.metrics["test"] |= {"total": total, "count": tokens}
    return replace(
        entry, blocks=neutral_blocks({"length": length, "tokens": tokens, "nats": [float(one) for one in nats]})
    )


def cell(*nats, **changes):
    return Replicates.of(tuple(scored(one, seed, **changes) for seed, one in enumerate(nats)))


def correlated(generator, words, memory, spread):
    """A stationary series of words with mean 0, a standard deviation, and a correlation that falls as memory^lag."""
    noise = generator.normal(size=words)
    noise[0] /= math.sqrt(1 - memory**2)
    return spread * math.sqrt(1 - memory**2) * lfilter([1.0], [1.0, -memory], noise)


def blocks_of(words, length):
    return words.reshape(-1, length).sum(1)


def test_the_interval_over_words_covers_the_truth_where_blocks_are_long_beside_the_correlation():
    """Two laws of text whose perplexities are known: 95 of 100 intervals hold the true difference."""
    generator = np.random.default_rng(1)
    truth = math.exp(4.53) - math.exp(4.5)
    covered = {100: [], 1: []}
    for trial in range(400):
        text = correlated(generator, 2400, 0.9, 2.0)
        losses = [4.5 + mean + text + correlated(generator, 2400, 0.9, 0.5) for mean in (0.0, 0.03)]
        for length, hits in covered.items():
            if length == 100 or trial < 100:
                found = difference(*(cell(blocks_of(loss, length), length=length) for loss in losses))
                hits.append(abs(found.mean - truth) <= found.over_words)
    assert 0.92 <= np.mean(covered[100]) <= 0.98
    assert np.mean(covered[1]) < 0.85  # stretches of 8 words are shorter than the correlation


def test_articles_longer_than_a_block_need_stretches_of_blocks(monkeypatch):
    """240 blocks in 60 articles, each of which favours a model: 95 of 100 intervals hold the true difference."""
    covered = {8: [], 1: []}
    for stretch, hits in covered.items():
        monkeypatch.setattr(module, "_STRETCH", stretch)
        generator = np.random.default_rng(6)
        for _ in range(300):
            favour = np.repeat(generator.normal(0.03, 0.05, 60), 4) + generator.normal(0, 0.03, 240)
            text = 4.5 + np.repeat(generator.normal(0, 0.3, 60), 4)
            found = difference(cell(100 * text), cell(100 * (text + favour)), relative)
            hits.append(abs(found.mean - 100 * math.expm1(0.03)) <= found.over_words)
    assert 0.9 <= np.mean(covered[8]) <= 0.98
    assert np.mean(covered[1]) < 0.8


def test_the_interval_over_both_covers_what_seeds_alone_miss():
    """Trainings differ, texts favour one kind of model, and texts favour single trainings: all three count."""
    generator = np.random.default_rng(2)
    truth = math.exp(4.53) - math.exp(4.5)
    both, seeds = [], []
    for _ in range(400):
        text, favour = generator.normal(0, 0.5, 24), generator.normal(0, 0.03, 24)
        base, other = [], []
        for _ in range(3):
            of_the_training = generator.normal(0, 0.003, 2)
            of_the_pair = generator.normal(0, 0.005, (2, 24))
            base.append(100 * (4.5 + text + of_the_training[0] + of_the_pair[0]))
            other.append(100 * (4.53 + text + favour + of_the_training[1] + of_the_pair[1]))
        found = difference(cell(*base), cell(*other))
        both.append(abs(found.mean - truth) <= found.half)
        seeds.append(abs(found.mean - truth) <= found.over_seeds)
    assert np.mean(both) >= 0.93
    assert np.mean(seeds) < 0.85


@pytest.mark.parametrize(("blocks", "stretch"), [(8, 1), (43, 5), (90, 8)])
def test_the_bootstrap_is_what_the_spread_of_the_stretches_says(blocks, stretch):
    """To first order, in per cent, the error is that of the mean of the stretches' differences, wherever they begin."""
    generator = np.random.default_rng(3)
    base = 450 + generator.normal(0, 20, blocks)
    apart = 2 + generator.normal(0, 1, blocks)
    found = difference(cell(base), cell(base + apart), relative)
    ratio = math.exp(apart.mean() / 100)
    around = [np.mean([apart[(first + step) % blocks] for step in range(stretch)]) for first in range(blocks)]
    error = np.std(around) / math.sqrt(blocks / stretch - 1)
    assert found.over_words == pytest.approx(student(blocks // stretch - 1) * ratio * error, rel=0.04)
    assert found.mean == pytest.approx(100 * (ratio - 1))
    assert found.words == f"other text (bootstrap over stretches of {100 * stretch} of {100 * blocks:,} test words)"


def test_what_makes_a_text_hard_for_both_models_cancels():
    hard = 100 * np.random.default_rng(4).normal(4.5, 0.5, 24)
    assert difference(cell(hard), cell(hard + 3), relative).over_words < 1e-9
    assert difference(cell(hard), cell(hard + 3), absolute).over_words > 0.1  # 3 % of more, or of less


def test_all_seeds_get_the_same_blocks():
    generator = np.random.default_rng(5)
    base, other = (100 * generator.normal(4.5, 0.1, 24) for _ in range(2))
    alone = difference(cell(base), cell(other))
    thrice = difference(cell(base, base, base), cell(other, other, other))
    assert thrice.over_words == pytest.approx(alone.over_words)  # the same text three times is no more text
    assert thrice.over_seeds == 0
    assert thrice.half == thrice.over_words
    assert alone.half == math.inf


def test_a_short_last_block_weighs_its_words():
    """Where every word loses the same no text differs from another, however often a short block is drawn."""
    base, other = (cell([loss * 100] * 23 + [loss * 7], tokens=2307) for loss in (4.5, 4.6))
    assert difference(base, other).over_words < 1e-9


def test_the_same_records_give_the_same_interval():
    base, other = (100 * np.random.default_rng(n).normal(4.5, 0.1, 24) for n in (7, 8))
    first = difference(cell(base), cell(other))
    module._weights.cache_clear()
    assert difference(cell(base), cell(other)) == first


def test_where_words_say_nothing_seeds_alone_decide_and_the_reason_is_told():
    nats = [450.0 + n for n in range(9)]
    few = difference(cell(nats[:7], nats[1:8]), cell(nats[1:8], nats[:7]))
    old = difference(cell(nats, nats), Replicates.of((scored(nats, 0), replace(scored(nats, 1), blocks=None))))
    other_text = difference(cell(nats, nats), cell(nats, nats, length=99))
    for found in (few, old, other_text):
        assert found.over_words is None
        assert found.half == found.over_seeds == half_width(found.values)
    assert "not other text, as 7 blocks of 100 test words are too few" in certainty([few])
    assert "not other text, as not every record keeps the sums over blocks of test words" in certainty([old])
    eight = difference(cell(nats[:8], nats[:8]), cell(nats[1:], nats[1:]))
    assert eight.over_words > 0
    assert "; other text (bootstrap over stretches of 100 of 800 test words)" in certainty([eight, old])
    assert certainty([]) == "no two runs of the same seed, so nothing is compared"


def test_only_seeds_that_finished_in_both_are_compared():
    nats = [450.0 + n for n in range(9)]
    worse = [one * 1.01 for one in nats]
    base = cell(nats, nats, nats)
    broken = Replicates.of((scored(worse, 2), record(None, seed=0), scored(worse, 9)))
    found = difference(base, broken)
    assert found.values == (pytest.approx(broken.values[0] - base.values[2]),)
    assert difference(base, Replicates()) is None


def test_block_sums_lie_beside_the_record_and_old_records_go_without(tmp_path):
    entry = scored([450.0 + n / 3 for n in range(9)])
    entry.write(tmp_path / "a")
    assert read_record(tmp_path / "a") == entry
    assert "blocks" not in json.loads((tmp_path / "a" / RECORD_FILE).read_text())
    (tmp_path / "a" / BLOCKS_FILE).unlink()
    with pytest.raises(RecordError, match=f"{BLOCKS_FILE}, which its record names, is missing"):
        read_record(tmp_path / "a")
    values = json.loads((tmp_path / "a" / RECORD_FILE).read_text())
    (tmp_path / "a" / RECORD_FILE).write_text(json.dumps({k: v for k, v in values.items() if k != "checksum"}))
    assert read_record(tmp_path / "a").blocks is None, "of a version that had no checksums"
    replace(entry, blocks=entry.blocks | {"totals": [*entry.blocks["totals"][:-1], math.inf]}).write(tmp_path / "b")
    assert read_record(tmp_path / "b").blocks is None


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        "[]",
        '{"length": 100, "tokens": 900, "nats": [2025, 2025]}',
        '{"length": 0, "tokens": 900, "nats": [4050]}',
        "moved",
    ],
)
def test_block_sums_of_another_score_are_refused_with_a_remedy(damaged, tmp_path, caplog):
    entry = scored([450.0] * 9)
    entry.write(tmp_path / "a")
    path = tmp_path / "a" / BLOCKS_FILE
    path.write_text(path.read_text().replace("450.0", "450.1") if damaged == "moved" else damaged)
    with pytest.raises(RecordError, match="train the run again"):
        read_record(tmp_path / "a")
    assert load_records(tmp_path) == []
    assert BLOCKS_FILE in caplog.text


@pytest.mark.parametrize(
    ("half", "shown"), [(17.6, "17.6"), (0.05, "0.1"), (0.04, "0.04"), (0.003, "0.003"), (0, "0.0")]
)
def test_a_half_is_shown_with_decimals_that_show_it(half, shown):
    apart = 2 * half / half_width([0.0, 2.0])  # two seeds, so far apart that the interval is that wide
    assert Difference((0.0, apart), None, "").format().endswith(f"± {shown}")
    assert Difference((2.0,), float(half), "").sources == f"±{shown} over test words"
    assert Difference((2.0,), None, "").sources == ""
