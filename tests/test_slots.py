"""Slot filling: reading IOB, F1 of chunks as conlleval counts them, and what a comparison of F1 rests on."""

import math
import random
import re
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_report import only_section, record

from stablernn.config.compose import compose
from stablernn.config.identity import run_id
from stablernn.config.instantiate import make
from stablernn.experiments.search import best_until
from stablernn.records.record import read_run
from stablernn.report.frame import frame
from stablernn.report.sections.search import winner
from stablernn.report.sections.tasks import task_cells
from stablernn.report.statistics import compare
from stablernn.tasks.slots import BASELINES, SlotFilling, count_chunks, hold_out, read_sentences
from stablernn.training.run import run
from stablernn.training.schedule import Counters
from stablernn.utils.errors import DataError
from stablernn.utils.metrics import F1, Score, f1
from stablernn.utils.wording import counted

TRAIN = "BOS fly to san francisco EOS\tO O O B-to I-to intent\nto boston at 838\tO B-to O B-at\n" * 10
TEST = "BOS to boston EOS\tO O B-to O\nat 915 in dallas\tO B-at O B-in\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train.iob").write_text(TRAIN)
    (tmp_path / "test.iob").write_text(TEST)
    return tmp_path


def slots(folder, **options) -> SlotFilling:
    return SlotFilling("mine", str(folder), "", {"train": "train.iob", "valid": None, "test": "test.iob"}, **options)


def small(folder, *options):
    own = ["dataset=slot_folder", "dataset.name=mine", f"dataset.path={folder}", f"runs={folder}/runs", "device=cpu"]
    return compose("train", [*own, "profile=smoke", "tracking=none", "truncation.k=9", "training.epochs=2", *options])


def test_markers_are_no_words_and_rare_words_are_unknown(folder):
    task = slots(folder).load()
    first, second = task.splits["test"].inputs
    assert len(first) == 2
    assert second.tolist()[2:] == [0, 0], "neither word comes in train"
    assert second[1] != 0, "915 is 838, as digits are alike"
    assert slots(folder, digits=False).load().splits["test"].inputs[1][1] == 0
    assert task.interface.outputs.size == 5, "O, B-to, I-to, B-at, and B-in, which train lacks; no intent"
    assert [len(task.splits[split].targets) for split in ("train", "valid", "test")] == [18, 2, 2]
    assert task.batches("train", 4, 9).batch(0).mask is not None


def test_a_tag_may_wait_for_the_words_after_its_own(folder):
    plain, delayed = (slots(folder, delay=delay).load().splits["test"] for delay in (0, 2))
    for x, y, later_x, later_y in zip(plain.inputs, plain.targets, delayed.inputs, delayed.targets, strict=True):
        assert later_x[-2:].tolist() == [1, 1]
        assert [max(n - 1, 0) for n in later_x[:-2].tolist()] == x.tolist(), "</s> is a word more"
        assert later_y.tolist() == [0, 0, *y.tolist()]
        assert delayed.tally(later_y.tolist(), later_y.tolist()) == plain.tally(y.tolist(), y.tolist())
    assert len(delayed) == len(plain) + 4


def test_valid_is_a_tenth_of_train_and_nothing_is_lost():
    sentences = list(range(4978))
    train, valid = hold_out(sentences)  # type: ignore[arg-type]
    assert (len(train), len(valid)) == (4481, 497)
    assert sorted(train + valid) == sentences
    assert hold_out(sentences) == (train, valid)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no sentences"),
        ("a b\tO O\n\na\tO\n", "line 2: a sentence is words, a tab, tags, and this line has 0 tabs"),
        ("BOS EOS\tO O\n", "line 1: the sentence is empty"),
        ("a b\tO O\na b\tO\n", "line 2 has 2 words and 1 tag"),
        ("a b\tO city\n", "the tag 'city' is neither O nor B-x nor I-x"),
        (b"a\xff\tO\n", "not UTF-8"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(tmp_path, text, message):
    file = tmp_path / "train.iob"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=re.escape(message)) as refused:
        read_sentences(file)
    assert "\n" not in str(refused.value)


def test_one_sentence_has_no_tenth_and_a_missing_file_is_named(folder):
    (folder / "train.iob").write_text("to boston\tO B-to\n")
    with pytest.raises(DataError, match="one sentence"):
        slots(folder).load()
    (folder / "test.iob").unlink()
    with pytest.raises(DataError, match=r"no train\.iob, test\.iob in .*set dataset\.path"):
        slots(folder).load()


def test_the_published_name_is_for_the_published_sentences_alone(folder):
    named = SlotFilling("atis", str(folder), "", {"train": "train.iob", "valid": None, "test": "test.iob"})
    with pytest.raises(DataError, match=r"does not hold the published sentences: .*dataset=slot_folder"):
        named.load()


def test_a_text_is_read_again_where_its_file_has_changed_and_only_there(folder, monkeypatch):
    first = slots(folder).fingerprint_of_own()
    (folder / "test.iob").write_text(TEST.replace("dallas", "denver"))
    changed = slots(folder).fingerprint_of_own()
    assert changed != first
    monkeypatch.setattr(SlotFilling, "read", lambda self: pytest.fail("read again"))
    assert slots(folder).fingerprint_of_own() == changed


def chunks(tags):
    """By the rules of conlleval, written down once more: where a chunk of a type begins and ends."""
    found, start = set(), None
    for t, tag in enumerate([*tags, "O"]):
        kind = tag[2:]
        if start is not None and (tag[0] != "I" or kind != start[1]):
            found.add((*start, t))
            start = None
        if tag != "O" and start is None:
            start = t, kind
    return found


def test_chunks_are_those_of_conlleval_also_where_no_b_begins_them():
    draw = random.Random(0)
    tags = ("O", "B-x", "I-x", "B-y", "I-y")
    totals = [0, 0, 0]
    for _ in range(500):
        true, predicted = ([draw.randrange(5) for _ in range(draw.randrange(1, 12))] for _ in range(2))
        predicted = (predicted * 12)[: len(true)]
        there, said = (chunks([tags[n] for n in ids]) for ids in (true, predicted))
        expected = (len(there & said), len(said), len(there))
        assert count_chunks(tags, true, predicted) == expected
        totals = [a + b for a, b in zip(totals, expected, strict=True)]
    precision, recall = totals[0] / totals[1], totals[0] / totals[2]
    assert f1(totals) == pytest.approx(200 * precision * recall / (precision + recall))
    assert f1([0, 0, 0]) == 0


def test_a_run_keeps_the_chunks_of_every_sentence_and_its_value_is_their_f1(folder):
    config = small(folder)
    assert run_id(config) == run_id(
        small(folder, "dataset.path=null", "dataset.fingerprint=" + slots(folder).load().text)
    )
    made = run(config)
    found = read_run(folder / "runs" / made.id)
    test, blocks = found.metrics["test"], found.blocks
    assert found.metric is F1
    assert blocks is not None
    assert [sum(entry) for entry in zip(*blocks["tallies"], strict=True)] == test["tally"]
    assert test["value"] == pytest.approx(f1(test["tally"]))
    assert test["tally"][2] == 3
    assert blocks["counts"] == [3, 5], "words, and the position that waits"
    assert counted(test["count"], found.metric.one) == "8 positions", "of 6 words"


def test_the_best_validation_is_that_of_the_larger_f1_whatever_its_loss():
    counters = Counters()
    for total, correct, gain in ((9.0, 1, True), (5.0, 1, False), (20.0, 2, True)):
        score = Score(total, 10, F1, tallies=((correct, 3, 3),))
        assert counters.is_gain(score) == gain
    assert counters.best is not None
    assert counters.best["value"] == pytest.approx(200 / 3)
    rows = [{"epoch": 1.0, "valid": 80.0}, {"epoch": 2.0, "valid": 90.0}, {"epoch": 3.0, "valid": 70.0}]
    assert best_until(rows, 3.0, metric=F1) == -90
    assert best_until(rows, 1.0, metric=F1) == -80


def runs(stability, values):
    """Records of 40 sentences with ten chunks each, of which so many per cent are right."""
    draw = np.random.default_rng(0)
    made = []
    for seed, value in enumerate(values):
        right = np.clip(np.round(value / 10 + draw.normal(0, 0.3, 40)), 0, 10).astype(int).tolist()
        tallies = tuple((n, 10, 10) for n in right)
        score = Score(40.0, 400, F1, (1.0,) * 40, (10,) * 40, tallies)
        one = record(None, data="atis", stability=stability, seed=seed)
        one.data["metric"] = "F1"
        metrics = {"test": score.as_dict(), "valid": score.as_dict()}
        made.append(replace(one, status="finished", metrics=metrics, blocks=score.as_blocks()))
    return made


def test_a_lower_f1_is_a_loss_and_resampled_sentences_give_its_variance():
    better, worse = runs("unstable", [95.0, 94.0, 95.0, 96.0]), runs("stable", [80.0, 81.0, 80.0, 79.0])
    found = compare(frame(better), frame(worse))
    assert found is not None
    means = [np.mean([one.metrics["test"]["value"] for one in side]) for side in (better, worse)]
    assert found.mean == pytest.approx(means[0] - means[1])
    assert (found.verdict, found.unit, found.margin) == ("loss", "F1 points", 0.5)
    back = compare(frame(worse), frame(better))
    assert back is not None
    assert back.verdict == "gain"
    # Sentences have as many chunks each, so F1 is the mean of theirs, whose variance is known.
    each = [
        np.mean([[10 * n for n, _, _ in one.blocks["tallies"]] for one in side], axis=0) for side in (better, worse)
    ]
    assert math.sqrt(found.text_variance) == pytest.approx((each[0] - each[1]).std(ddof=1) / math.sqrt(40), rel=0.5)
    assert winner([*worse, *better]) == max(better, key=lambda one: one.metrics["valid"]["value"])


def test_a_model_below_the_baseline_is_not_trained_far_enough():
    low, high = runs("unstable", [50.0]), runs("unstable", [95.0])
    assert only_section(low).best_baseline == max(BASELINES["atis"].items(), key=lambda item: item[1])
    assert [bool(cell.shortfall) for made in (low, high) for cell in task_cells(only_section(made))] == [True, False]


def atis(data_folder, *options):
    return make(compose("train", ["dataset=atis", f"dataset.path={data_folder}", *options]).dataset)


def test_atis_has_its_published_sentences_words_and_tags(data_folder):
    dataset = atis(data_folder)
    task = dataset.load()
    assert dataset.fingerprint_of_own() is None
    assert task.description()["sequences"] == {"train": 4481, "valid": 497, "test": 893}
    assert task.interface.outputs.size == 127
    assert sum(task.splits["test"].tally(y.tolist(), y.tolist())[2] for y in task.splits["test"].targets) == 2837
    assert sum(len(split) for split in task.splits.values()) == 56200 + 4978 + 9164 + 893


def test_the_baselines_are_those_of_the_sentences(data_folder):
    task = atis(data_folder, "dataset.delay=0").load()
    train, test = task.splits["train"], task.splits["test"]
    for order, (name, expected) in enumerate(list(BASELINES["atis"].items())[:3], 1):
        assert name.startswith("most frequent tag")
        seen = defaultdict(Counter)
        for x, y in zip(train.inputs, train.targets, strict=True):
            for t, tag in enumerate(y.tolist()):
                for n in range(max(0, t + 1 - order), t + 1):
                    seen[tuple(x[n : t + 1].tolist())][tag] += 1
        tallies = []
        for x, y in zip(test.inputs, test.targets, strict=True):
            after = [[tuple(x[n : t + 1].tolist()) for n in range(max(0, t + 1 - order), t + 1)] for t in range(len(x))]
            tags = [seen[next(words for words in each if words in seen)].most_common(1)[0][0] for each in after]
            tallies.append(test.tally(y.tolist(), tags))
        assert f1(torch.tensor(tallies).sum(0).tolist()) == pytest.approx(expected, abs=0.005)


def test_a_network_on_a_window_of_three_words_reaches_its_baseline(data_folder):
    """On two words it has some 76, on five some 90: both lie outside the tolerance."""
    task, size = atis(data_folder).load(), 3
    words, tags = task.interface.inputs.size, task.interface.outputs.size

    def windows(x) -> torch.Tensor:
        return torch.cat([torch.full((size - 1,), words), torch.as_tensor(x).long()]).unfold(0, size, 1)

    def score(name: str) -> float:
        split, found = task.splits[name], []
        network.eval()
        for x, y in zip(split.inputs, split.targets, strict=True):
            found.append(split.tally(y.tolist(), network(windows(x)).argmax(-1).tolist()))
        return f1(torch.tensor(found).sum(0).tolist())

    train = task.splits["train"]
    x, y = torch.cat([windows(x) for x in train.inputs]), torch.cat([torch.as_tensor(y).long() for y in train.targets])
    torch.manual_seed(0)
    hidden = [torch.nn.Linear(64 * size, 200), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(200, tags)]
    network = torch.nn.Sequential(torch.nn.Embedding(words + 1, 64), torch.nn.Flatten(), torch.nn.Dropout(0.3), *hidden)
    optimizer = torch.optim.Adam(network.parameters(), lr=6e-3)
    for _ in range(5):
        for part in torch.randperm(len(x)).split(512):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x[part]), y[part]).backward()
            optimizer.step()
    assert score("test") == pytest.approx(BASELINES["atis"]["network on the last 3 words"], abs=1.5)
