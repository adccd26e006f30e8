"""Texts by characters: tokens, counts, cache, metric, and where the baseline stands."""

import math

import pytest
from omegaconf import OmegaConf
from test_corpora import FILES, corpus, write
from test_report import only_section, record

from stablernn.config.compose import compose
from stablernn.config.identity import run_id
from stablernn.config.instantiate import make
from stablernn.tasks.characters import CharacterCorpus
from stablernn.tasks.published import PUBLISHED
from stablernn.tasks.splits import SPLITS
from stablernn.training.run import run
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.metrics import BITS_A_CHARACTER


def characters(path, **options) -> CharacterCorpus:
    return CharacterCorpus("tiny", str(path), "tiny-folder", FILES, **options)


def test_every_character_is_a_token_and_so_is_the_blank_between_words(tmp_path):
    loaded = characters(write(tmp_path / "data", train=" at  a\n\n", valid="_ t\n", test="a")).load()
    #                        <eos> a  t  _  a <eos> <eos>
    assert loaded.splits["train"].ids.tolist() == [0, 1, 2, 3, 1, 0, 0]
    assert loaded.splits["valid"].ids.tolist() == [0, 4, 3, 2, 0], "an underscore of the text is no blank"
    assert [len(loaded.splits[split]) for split in SPLITS] == [6, 4, 2]


def test_words_and_characters_of_the_same_files_do_not_share_a_cache(tmp_path):
    folder = write(tmp_path / "data")
    words, letters = corpus(folder).load(), characters(folder).load()
    assert (words.types, letters.types) == (6, 11)
    assert corpus(folder).load().types == 6
    assert words.text == letters.text, "it is the same text"


def test_a_text_of_ones_own_trains_and_is_scored_in_bits_a_character(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write(tmp_path / "data", train="the cat sat\n" * 40, valid="a cat\n" * 4, test="the dog\n" * 4)
    options = ["dataset=char_folder", "dataset.name=mine", f"dataset.path={folder}", "profile=smoke", "tracking=none"]
    found = run(compose("train", [*options, "device=cpu", "training.max_updates=2"]))
    assert found.metric is BITS_A_CHARACTER
    test = found.metrics["test"]
    assert test["value"] == pytest.approx(test["total"] / test["count"] / math.log(2))
    assert test["count"] == 4 * 8


def test_the_published_name_is_for_the_published_text_alone(tmp_path):
    with pytest.raises(ConfigurationError, match="dataset=char_folder"):
        CharacterCorpus("ptb_char", str(tmp_path), "", FILES)


def test_penn_treebank_has_the_counts_of_the_literature(data_folder):
    config = compose("train", ["dataset=ptb_char", f"dataset.path={data_folder}"])
    loaded = make(config.dataset).load()
    assert OmegaConf.to_container(config.dataset.expected) == PUBLISHED["ptb_char"].expected
    assert {"types": loaded.types, "tokens": {s: len(loaded.splits[s]) for s in SPLITS}} == PUBLISHED[
        "ptb_char"
    ].expected
    assert loaded.recognised == dict.fromkeys(SPLITS, "text")
    here = run_id(config)
    config.dataset.path = None
    assert run_id(config) == here


def test_the_bar_is_a_context_of_a_word():
    made = record(1.5, data="ptb_char")
    made.data["tokens"] = dict(PUBLISHED["ptb_char"].tokens)
    section = only_section([made])
    assert section.best_baseline == ("Kneser-Ney 6-gram", 1.553)
    assert len(section.baselines) == 6
