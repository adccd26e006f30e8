"""Truncated files and flipped bits: detected, named, and mended where that needs nobody."""

import json
import logging
import random
import shutil
from pathlib import Path

import pytest
import torch
from conftest import SMALL

from faults.outcome import difference
from stablernn.config.compose import compose
from stablernn.config.identity import run_id
from stablernn.records.record import read_record
from stablernn.tasks.hub import cache_root
from stablernn.tasks.splits import SPLITS
from stablernn.tasks.words import WordCorpus
from stablernn.training import checkpoint
from stablernn.training.run import run
from stablernn.utils.errors import CheckpointError, DataError, RecordError
from stablernn.utils.files import parse_json, read_json, replacing, write_json


def damages(whole: bytes, draw: random.Random, count: int):
    """The bytes of a file, damaged in ``count`` ways."""
    for number in range(count):
        at = draw.randrange(len(whole))
        if number % 4 == 0:
            yield whole[:at]
        elif number % 4 == 1:
            yield whole[:at] + bytes(min(512, len(whole) - at)) + whole[at + 512 :]
        else:
            yield whole[:at] + bytes([whole[at] ^ 1 << draw.randrange(8)]) + whole[at + 1 :]


AMOUNTS = [40, pytest.param(2000, marks=pytest.mark.slow)]


@pytest.mark.parametrize("amount", AMOUNTS)
def test_a_damaged_checkpoint_is_never_read_as_whole(amount, tmp_path, ledger, seed):
    path = tmp_path / "a.safetensors"
    tensors = {"matrix": torch.randn(6, 5), "count": torch.tensor(3), "half": torch.randn(3).bfloat16()}
    checkpoint.save(path, tensors, {"update": 3, "text": "ü"})
    for bits in damages(path.read_bytes(), random.Random(seed), amount):
        path.write_bytes(bits)
        outcome, message = "", str(path)
        try:
            found, values = checkpoint.load(path)
            if values != {"update": 3, "text": "ü"} or any(not torch.equal(found[n], tensors[n]) for n in tensors):
                outcome = "other weights were read"
        except CheckpointError as error:
            message = str(error)
        assert str(path) in message
        ledger.settle("checkpoint truncated, zeroed or with a bit flipped", 1, outcome)


@pytest.mark.parametrize("amount", AMOUNTS)
def test_a_damaged_record_or_history_is_never_read_as_whole(amount, tmp_path, ledger, seed):
    record = run(compose("train", [*SMALL, f"runs={tmp_path}", "training.max_updates=3", "training.log_every=1"]))
    folder = tmp_path / record.id
    for name in ("record.json", "history.jsonl", "test_blocks.json"):
        whole = (folder / name).read_bytes()
        for bits in damages(whole, random.Random(seed), amount // 2):
            (folder / name).write_bytes(bits)
            outcome, message = "", str(folder / name)
            try:
                outcome = "" if read_record(folder) == record else "other numbers were read"
            except RecordError as error:
                message = str(error)
            assert str(folder / name) in message
            ledger.settle(f"{name} truncated, zeroed or with a bit flipped", 1, outcome)
        (folder / name).write_bytes(whole)
    assert read_record(folder) == record


def test_a_damaged_record_is_named_and_its_run_made_again(tmp_path, ledger, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("stablernn"), "propagate", True)
    config = compose("train", [*SMALL, f"runs={tmp_path / 'runs'}", "training.max_updates=3"])
    run(config)
    shutil.copytree(tmp_path / "runs", tmp_path / "whole")
    path = tmp_path / "runs" / run_id(config) / "record.json"
    path.write_text(path.read_text().replace('"value": ', '"value": 1'))
    run(config)
    assert f"{path} is not a whole run record (its checksum does not fit)" in caplog.text
    ledger.settle("record damaged, its run made again", 1, difference(tmp_path / "runs", tmp_path / "whole"))


def test_a_damaged_checkpoint_is_named_and_the_run_starts_anew_without_it(tmp_path, ledger):
    config = compose("train", [*SMALL, f"runs={tmp_path / 'runs'}", "training.max_updates=3"])
    run(config)
    shutil.copytree(tmp_path / "runs", tmp_path / "whole")
    folder = tmp_path / "runs" / run_id(config)
    for name in (checkpoint.LAST, checkpoint.BEST):
        (folder / "record.json").unlink()
        path = folder / name
        bits = bytearray(path.read_bytes())
        bits[-1] ^= 1
        path.write_bytes(bits)
        with pytest.raises(CheckpointError, match=rf"{name} is damaged .*: delete the folder of its run"):
            run(config)
        shutil.rmtree(folder)
        run(config)
        ledger.settle(
            f"{name} damaged, removed as the message says", 1, difference(tmp_path / "runs", tmp_path / "whole")
        )


def test_best_weights_of_another_update_are_not_scored(tmp_path):
    config = compose("train", [*SMALL, f"runs={tmp_path}", "training.max_updates=3"])
    run(config)
    folder = tmp_path / run_id(config)
    (folder / "record.json").unlink()
    tensors, values = checkpoint.load(folder / checkpoint.BEST)
    checkpoint.save(folder / checkpoint.BEST, tensors, values | {"update": values["update"] - 1})
    with pytest.raises(CheckpointError, match=r"is not of the best update 3: delete the folder of its run"):
        run(config)


def text_corpus(folder: Path) -> WordCorpus:
    folder.mkdir(exist_ok=True)
    for split in SPLITS:
        (folder / split).write_text(f"the cat of {split} sat\non a mat\n" * 9)
    return WordCorpus("tiny", str(folder), "", {split: split for split in SPLITS})


@pytest.mark.parametrize("amount", [20, pytest.param(600, marks=pytest.mark.slow)])
def test_a_damaged_cache_is_made_again_by_itself(amount, tmp_path, ledger, seed):
    draw = random.Random(seed)
    source = text_corpus(tmp_path / "data")
    fingerprint = source.load().fingerprint
    (cache,) = cache_root().iterdir()
    whole = {path: path.read_bytes() for path in sorted(cache.iterdir())}
    for number in range(amount):
        path = draw.choice(list(whole))
        for bits in damages(whole[path], draw, 4):
            path.write_bytes(bits)
        if number % 7 == 0:
            path.unlink()
        found = source.load().fingerprint
        now = {path: path.read_bytes() for path in sorted(cache.iterdir())}
        outcome = "other words were read" if found != fingerprint else "" if now == whole else "it was not mended"
        if path.name == "counts.json" and found == fingerprint:
            outcome = ""  # a flipped blank changes nothing
        ledger.settle("file of the cache truncated, zeroed, flipped or removed", 1, outcome)
    assert [path.name for path in cache_root().iterdir()] == [cache.name]


def test_a_file_keeps_its_old_content_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"n": 1})
    with pytest.raises(RuntimeError), replacing(path) as new:  # noqa: PT012
        new.write_text("half")
        assert read_json(path) == {"n": 1}
        raise RuntimeError
    assert read_json(path) == {"n": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_json_without_end_is_a_value_error():
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 100_000)


def test_an_empty_split_is_refused(tmp_path):
    source = text_corpus(tmp_path / "data")
    (tmp_path / "data" / "valid").write_text("")
    with pytest.raises(DataError, match="the valid split is empty"):
        source.load()


def test_a_count_in_the_cache_that_was_altered_is_not_believed(tmp_path):
    source = text_corpus(tmp_path / "data")
    types = source.load().types
    (path,) = cache_root().glob("*/counts.json")
    path.write_text(path.read_text().replace(f'"types": {types}', f'"types": {types + 1}'))
    assert source.load().types == types


def test_a_cache_without_checksums_is_made_again_and_a_checkpoint_without_one_is_refused(tmp_path):
    source = text_corpus(tmp_path / "data")
    fingerprint = source.load().fingerprint
    (cache,) = cache_root().iterdir()
    counts = json.loads((cache / "counts.json").read_text())
    write_json(cache / "counts.json", {"types": counts["types"], "tokens": counts["tokens"]})
    assert source.load().fingerprint == fingerprint
    assert json.loads((cache / "counts.json").read_text()) == counts
    from safetensors.torch import save_file

    for metadata in ({"values": '{"update": 1}'}, {"values": "{}", "sha257": "0"}):
        save_file({"w": torch.ones(2)}, tmp_path / "other.safetensors", metadata=metadata)
        with pytest.raises(CheckpointError):
            checkpoint.load(tmp_path / "other.safetensors")
