"""Word corpora: reading, counting, caching, refusing."""

import logging
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from stablernn.config.compose import compose
from stablernn.config.instantiate import make
from stablernn.tasks import hub, splits
from stablernn.tasks.hub import cache_root
from stablernn.tasks.splits import SPLITS, Corpus, Split
from stablernn.tasks.tokens import TokenWriter, narrow, read_tokens
from stablernn.tasks.windows import Windows
from stablernn.tasks.words import WordCorpus
from stablernn.utils.errors import ConfigurationError, DataError

FILES = {split: f"{split}.txt" for split in SPLITS}


def corpus(path, **options) -> WordCorpus:
    return WordCorpus("tiny", str(path), "tiny-folder", FILES, **options)


def write(folder, train="the cat sat\n\n", valid="a cat\n", test="the dog"):
    folder.mkdir(parents=True, exist_ok=True)
    for split, text in {"train": train, "valid": valid, "test": test}.items():
        (folder / FILES[split]).write_text(text)
    return folder


def test_types_are_numbered_by_first_appearance_and_every_line_ends(tmp_path):
    loaded = corpus(write(tmp_path / "data")).load()
    #                          <eos> the cat sat <eos> <eos>
    assert loaded.splits["train"].ids.tolist() == [0, 1, 2, 3, 0, 0]
    assert loaded.splits["valid"].ids.tolist() == [0, 4, 2, 0]
    assert loaded.splits["test"].ids.tolist() == [0, 1, 5, 0]
    assert loaded.types == 6
    assert [len(loaded.splits[split]) for split in SPLITS] == [5, 3, 3]


def test_words_that_train_never_shows_are_told(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("stablernn"), "propagate", True)
    corpus(write(tmp_path / "data")).load()
    assert "tiny: 2 of 6 types come in valid or test and never in train" in caplog.text
    caplog.clear()
    corpus(write(tmp_path / "known", valid="the cat\n", test="sat")).load()
    assert not caplog.text


def test_a_collection_of_data_sets_can_be_named(tmp_path):
    write(tmp_path / "all" / "tiny-folder")
    assert corpus(tmp_path / "all").load().types == 6


def test_the_second_load_reads_the_encoded_copy(tmp_path, monkeypatch):
    source = corpus(write(tmp_path / "data"))
    first = source.load()
    monkeypatch.setattr(WordCorpus, "_encode", lambda *_: pytest.fail("encoded twice"))
    assert source.load().fingerprint == first.fingerprint


def test_changed_files_are_not_served_from_the_cache(tmp_path):
    source = corpus(write(tmp_path / "data"))
    before = source.load().fingerprint
    write(tmp_path / "data", valid="a dog\n")
    assert source.load().fingerprint != before


def test_a_limit_cuts_a_split_but_not_the_vocabulary(tmp_path):
    loaded = corpus(write(tmp_path / "data"), max_tokens={"train": 2, "valid": None}).load()
    assert loaded.splits["train"].ids.tolist() == [0, 1, 2]
    assert loaded.types == 6


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "train.txt").unlink(), "lacks train.txt"),
        (lambda f: (f / "train.txt").write_bytes(b"\xff\xfe\x00 not text"), "not UTF-8 text"),
        (lambda f: (f / "train.txt").write_bytes(b"the cat\0sat\n"), "NUL bytes"),
        (lambda f: (f / "train.txt").write_text("the cat\n"), "train has 3 tokens, expected 5"),
    ],
)
def test_a_damaged_corpus_is_refused_and_leaves_nothing_behind(tmp_path, damage, message):
    folder = write(tmp_path / "data")
    damage(folder)
    with pytest.raises(DataError, match=message):
        corpus(folder, expected={"types": 6, "tokens": {"train": 5, "valid": 3, "test": 3}}).load()
    assert not cache_root().exists() or not any(cache_root().iterdir())


def test_a_folder_without_the_data_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"set dataset\.path \(or STABLERNN_DATA\)"):
        corpus(tmp_path / "nowhere").load()


def test_without_a_network_the_hub_is_given_up_at_once_and_the_message_helps():
    hub.reachable.cache_clear()
    source = WordCorpus(
        "tiny", None, "tiny-folder", FILES, repository="Salesforce/wikitext", configuration="wikitext-2-v1"
    )
    with pytest.raises(DataError, match=r"the hub does not answer .* dataset=embedded"):
        source.load()


def test_hub_rows_encode_as_the_lines_of_the_files(tmp_path, monkeypatch):
    rows = {"train": ["the cat sat\n", ""], "valid": ["a cat\n"], "test": ["the dog"]}
    monkeypatch.setattr(hub, "text_lines", lambda *_: {split: iter(lines) for split, lines in rows.items()})
    from_hub = WordCorpus("tiny", None, "x", FILES, repository="r", configuration="c").load()
    assert from_hub.fingerprint == corpus(write(tmp_path / "data")).load().fingerprint


@pytest.mark.parametrize("name", ["wikitext2", "ptb"])
def test_the_published_counts(name, data_folder):
    config = compose("train", [f"dataset={name}", f"dataset.path={data_folder}"])
    loaded = make(config.dataset).load()
    expected = OmegaConf.to_container(config.dataset.expected)
    assert {"types": loaded.types, "tokens": {s: len(loaded.splits[s]) for s in SPLITS}} == expected


def test_wikitext_103_without_its_train_split_is_refused(data_folder):
    config = compose("train", ["dataset=wikitext103", f"dataset.path={data_folder}"])
    with pytest.raises(DataError, match=r"lacks wiki\.train\.tokens"):
        make(config.dataset).load()


@pytest.mark.parametrize("types", [2**16, 2**16 + 1])
def test_ids_take_two_bytes_where_these_hold_them_all(types, tmp_path):
    ids = [0, 1, types // 2, types - 1]
    with TokenWriter(tmp_path / "x.ids") as out:
        out.write(ids[:1])
        out.write(ids[1:])
    narrow(tmp_path / "x.ids", types)
    found = read_tokens(tmp_path / "x.ids", types)
    assert found.tolist() == ids
    assert (tmp_path / "x.ids").stat().st_size == 4 * (2 if types == 2**16 else 4)
    assert len(list(tmp_path.iterdir())) == 1


def test_the_width_and_the_pieces_of_the_ids_change_nothing(monkeypatch):
    ids = np.random.default_rng(0).integers(0, 50, 1000)
    wide, cut = (Corpus("x", 50, dict.fromkeys(SPLITS, Split(ids.astype(kind)))) for kind in ("<i4", "<u2"))
    expected, counts = wide.fingerprint, np.bincount(ids[1:], minlength=50)
    monkeypatch.setattr(splits, "_IDS_A_BLOCK", 7)
    assert cut.fingerprint == expected
    assert cut.frequencies().tolist() == wide.frequencies().tolist() == counts.tolist()


@settings(max_examples=60, deadline=None)
@given(tokens=st.integers(1, 200), batch=st.integers(1, 8), length=st.integers(1, 40))
def test_windows_tile_the_streams(tokens, batch, length):
    split = Split(np.arange(tokens + 1, dtype=np.int32))
    if tokens < batch:
        with pytest.raises(ConfigurationError, match="batch_size"):
            Windows(split, batch, length)
        return
    windows = list(Windows(split, batch, length))
    x = torch.cat([w[0] for w in windows])
    y = torch.cat([w[1] for w in windows])
    assert torch.equal(y, x + 1)  # each target is the next word of its own stream
    # Streams side by side are the text, less the remainder that fills no row.
    assert y.T.flatten().tolist() == list(range(1, tokens // batch * batch + 1))


def test_the_windows_of_the_docstring():
    (x1, y1), (x2, y2) = Windows(Split(np.arange(7, dtype=np.int32)), batch=2, length=2)
    assert x1.tolist() == [[0, 3], [1, 4]]
    assert y1.tolist() == [[1, 4], [2, 5]]
    assert x2.tolist() == [[2, 5]]
    assert y2.tolist() == [[3, 6]]


_ENCODE = """
import random, resource, sys
from pathlib import Path
from stablernn.tasks.vocabulary import Vocabulary

words = [f"word{number}" for number in range(267_735)]
lines = (" ".join(random.choices(words, k=1000)) for _ in range(int(sys.argv[1]) // 1001))
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
tokens = Vocabulary().encode(lines, Path(sys.argv[2]))
print(tokens, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) / 1024)
"""


@pytest.mark.slow
def test_encoding_103_million_tokens_would_stay_far_below_2_gb(tmp_path):
    """The memory is that of the vocabulary and one buffer: ten times the text needs no more."""

    def peak_megabytes(tokens: int) -> float:
        command = [sys.executable, "-c", _ENCODE, str(tokens), str(tmp_path / "ids")]
        counted, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        assert int(counted) > 0.99 * tokens
        return float(peak)

    short, long = peak_megabytes(2_000_000), peak_megabytes(20_000_000)
    assert long < 500
    assert long < short + 50
