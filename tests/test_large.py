"""The size of WikiText-103: the real splits under a vocabulary of that size, and the benchmark."""

import json
import shutil
from collections import Counter

import pytest
import torch
from conftest import embedded

from stablernn.benchmarks import large_vocabulary as large
from stablernn.benchmarks import suite
from stablernn.benchmarks.large_vocabulary import FILES, Case, load_made_text, write_made_text
from stablernn.benchmarks.suite import Benchmarks
from stablernn.config.compose import compose
from stablernn.config.instantiate import make
from stablernn.report.sections.large import write_large
from stablernn.tasks.words import WordCorpus
from stablernn.training.build import build_for
from stablernn.training.evaluate import score


def test_the_made_text_reads_as_the_corpus_that_it_was_made_of(tmp_path):
    source = embedded()
    write_made_text(tmp_path, source, first=["alpha", "beta"])
    assert (tmp_path / FILES["train"]).read_text().startswith("alpha beta w3 ")
    read, made = load_made_text(tmp_path), source.load()
    assert read.types == made.types == 40
    assert read.splits["train"].ids[40:].tolist() == [*made.splits["train"].ids.tolist(), 0]
    assert read.splits["test"].targets.tolist() == [*made.splits["test"].targets.tolist(), 0]


def test_the_benchmark_measures_writes_and_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(large, "in_a_process", lambda work, *arguments: work(*arguments))
    made, sizes = embedded(), "size: 8, batches: [2], accumulate: [2], cutoffs: [10,20], updates: 3"
    monkeypatch.setattr(suite, "make", lambda text: made)
    options = compose("bench", [f"results={tmp_path}", f"large={{{sizes}, precisions: [auto]}}"])
    todo = [Case("full", "auto", 8, 2), Case("adaptive", "auto", 8, 2), Case("full", "auto", 8, 2, 2)]
    benchmarks = Benchmarks(options, torch.device("cpu"))
    names = list(benchmarks.part("large"))
    assert names[1:] == [case.name for case in todo]
    path = benchmarks.large
    measured = json.loads(path.read_text())
    assert measured["encoding"]["types"] == 40
    full, adaptive, _ = (measured["cases"][case.name] for case in todo)
    assert full["tokens_per_second"] == 70 / full["seconds"]
    assert adaptive["parameters"] < full["parameters"]
    monkeypatch.setattr(large, "in_a_process", lambda work, *arguments: pytest.fail("measured twice"))
    list(Benchmarks(options, torch.device("cpu")).part("large"))
    assert write_large(path) == [path.with_suffix(".md")]
    assert path.with_suffix(".md").read_text().count("| adaptive |") == 1
    assert "Encoding a text" in capsys.readouterr().err
    assert write_large(tmp_path / "none.json") == []


@pytest.mark.slow
def test_the_splits_of_wikitext_103_are_scored_under_a_vocabulary_of_its_size(data_folder, tmp_path):
    """Their own train split is not to be had here: a made one holds all their words, and as many others as are missing.

    So nothing is unknown, as in the published vocabulary. What the scores are worth is another matter.
    """
    real = data_folder / "wikitext-103"
    words: Counter[str] = Counter()
    for split in ("valid", "test"):
        words.update((real / f"wiki.{split}.tokens").read_text(encoding="utf-8").split())
    config = compose("train", ["dataset=embedded_large", "dataset.max_tokens={train: 300000, valid: 10, test: 10}"])
    write_made_text(tmp_path, make(config.dataset), first=[word for word, _ in words.most_common()])
    for split in ("valid", "test"):
        shutil.copyfile(real / f"wiki.{split}.tokens", tmp_path / FILES[split])
    expected = {"types": 267_735, "tokens": {"valid": 217_646, "test": 245_569}}
    corpus = WordCorpus("standin", str(tmp_path), "none", FILES, expected=expected).load()
    for head in (["head=full"], ["head=adaptive"]):
        config = compose("train", [*head, "model.hidden_size=16", "model.embedding_size=16", "model.dropout=0"])
        model, _ = build_for(config, corpus)
        for split in ("valid", "test") if head == ["head=adaptive"] else ("valid",):
            chosen = corpus.splits[split] if head == ["head=adaptive"] else corpus.splits[split].first(20_000)
            found = score(model, chosen)
            assert found.tokens == len(chosen)
            assert 1 < found.value < 2 * corpus.types  # hardly better or worse than chance


@pytest.mark.slow
def test_the_memory_of_a_step_does_not_grow_with_batch_times_vocabulary(tmp_path):
    config = compose("train", ["dataset=embedded_large", "dataset.max_tokens={train: 60000, valid: 10, test: 10}"])
    write_made_text(tmp_path, make(config.dataset))
    few, many = (
        large.in_a_process(large.train, tmp_path, Case("full", "float32", 16, batch), [1], 3, "cpu")["step_memory"]
        for batch in (4, 32)
    )
    logits = 4 * 267_735 * 35 * (32 - 4)  # bytes of those that come with the larger batch
    assert many - few < 0.2 * logits
