"""One output at the end: the number of slots of a sentence."""

import numpy as np
import pytest

from stablernn.config.compose import compose
from stablernn.config.instantiate import make
from stablernn.records.record import read_run
from stablernn.tasks.slot_count import SlotCount
from stablernn.tasks.slots import SlotFilling
from stablernn.training.run import run
from stablernn.utils.errors import ConfigurationError, DataError
from stablernn.utils.metrics import ACCURACY, Score

TRAIN = "BOS fly to san francisco EOS\tO O O B-to I-to O\nto boston at 838\tO B-to O B-at\nfly\tO\n" * 10
TEST = "to boston boston at 838\tO B-to B-to O B-at\nfly to boston\tO O B-to\nfly fly\tO O\n"
FILES = {"train": "train.iob", "valid": None, "test": "test.iob"}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train.iob").write_text(TRAIN)
    (tmp_path / "test.iob").write_text(TEST)
    return tmp_path


def test_the_target_of_the_last_word_is_the_number_of_chunks_and_nothing_else_is_an_item(folder):
    slots = SlotFilling("mine", str(folder), "", FILES).load().splits["test"]
    task = SlotCount("mine", str(folder), "", FILES, most=2).load()
    test = task.splits["test"]
    assert all(np.array_equal(x, y) for x, y in zip(test.inputs, slots.inputs, strict=True)), "the same words"
    assert [y.tolist() for y in test.items] == [[2], [1], [0]], "adjacent chunks are two; three count as two or more"
    assert len(test) == 3
    assert task.interface.outputs.size == 3
    assert test.tally([2], [2]) == (1, 1)
    assert test.tally([2], [1]) == (0, 1)
    batch = task.batches("train", 5, 9).batch(0)
    assert batch.mask.sum(0).tolist() == [1] * 5


def test_the_baseline_says_the_most_frequent_number_of_train(folder):
    (folder / "train.iob").write_text(TRAIN + "fly fly\tO O\n" * 30)
    task = SlotCount("mine", str(folder), "", FILES, most=2).load()
    assert task.baselines == {"most frequent number": pytest.approx(100 / 3)}


def test_accuracy_is_of_all_sentences_and_the_larger_the_better():
    score = Score(3.0, 4, ACCURACY, tallies=((1, 1), (0, 1), (1, 1), (1, 1)))
    assert score.value == 75
    assert ACCURACY.rank(score.as_dict()) < ACCURACY.rank(score.as_dict() | {"value": 50.0})
    assert ACCURACY.of_tally(np.array([[1, 0], [2, 0]])).tolist() == [50, 0]


def test_a_run_is_scored_by_sentences(folder):
    (folder / "train.iob").write_text(TRAIN * 5)
    own = ["dataset=atis_count", "dataset.name=mine", f"dataset.path={folder}", "dataset.folder=''"]
    files = ["dataset.file_names.train=train.iob", "dataset.file_names.test=test.iob", "dataset.most=2"]
    small = ["profile=smoke", "tracking=none", "progress=false", "truncation.k=9", "training.epochs=8", "device=cpu"]
    chosen = compose("train", [*own, *files, *small, f"runs={folder}/runs", "model=lstm", "optimizer.lr=0.03"])
    record = read_run(folder / "runs" / run(chosen).id)
    assert record.metric is ACCURACY
    assert record.metrics["test"]["count"] == record.data["sequences"]["test"] == 3
    assert record.metrics["valid"]["value"] == 100, "valid is as train, which can be learnt"
    assert "most frequent number" in record.data["baselines"]


def test_the_published_name_is_for_the_published_sentences_alone(folder, data_folder):
    with pytest.raises(DataError, match=r"atis_count: .*does not hold the published sentences"):
        SlotCount("atis_count", str(folder), "", FILES, most=2).load()
    with pytest.raises(ConfigurationError, match=r"dataset\.most=0"):
        SlotCount("mine", str(folder), "", FILES, most=0)
    task = make(compose("train", ["dataset=atis_count", f"dataset.path={data_folder}"]).dataset).load()
    assert len(task.splits["test"]) == 893
    assert 20 < task.baselines["most frequent number"] < 30
