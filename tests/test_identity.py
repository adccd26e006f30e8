"""What a result belongs to: its text, and the configuration as it was when its sweep began."""

import logging
import shutil
from pathlib import Path

import pytest
import torch
from conftest import ROOT, SMALL
from faults.children import Children, run_script, script, until
from omegaconf import DictConfig, OmegaConf

from stablernn.analysis.runner import analyse
from stablernn.analysis.truncation import TruncationAnalysis
from stablernn.config.compose import CONFIG_FOLDER, compose, frozen
from stablernn.config.identity import digest, result_options, run_id
from stablernn.config.instantiate import make
from stablernn.experiments.grids import winner_file
from stablernn.experiments.sweep import expand
from stablernn.experiments.winners import winner_yaml
from stablernn.records.record import RECORD_FILE, read_record
from stablernn.report.sections.perplexity import perplexity_table
from stablernn.report.slices import slices
from stablernn.tasks import hub
from stablernn.tasks.published import PUBLISHED
from stablernn.tasks.splits import SPLITS
from stablernn.tasks.words import WordCorpus
from stablernn.training import checkpoint
from stablernn.training.run import run
from stablernn.training.trained import find_runs
from stablernn.utils.errors import CheckpointError, ConfigurationError, DataError, RecordError

OWN = [option for option in SMALL if "dataset" not in option and "profile" not in option]
OWN += ["dataset=text_folder", "dataset.name=mine", "training.epochs=1", "training.batch_size=4", "model.dropout=0"]


def write(folder: Path, words: str) -> Path:
    """Three files of the same counts, whatever the words."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, lines in {"train": 60, "valid": 20, "test": 30}.items():
        (folder / f"{split}.txt").write_text(f"{words}\n" * lines)
    return folder


@pytest.fixture
def own(tmp_path):
    """Composes a run on a text of one's own."""

    def configure(path: Path | str, *overrides: str):
        return compose("train", [*OWN, f"dataset.path={path}", f"runs={tmp_path / 'runs'}", *overrides])

    return configure


@pytest.fixture
def texts(tmp_path) -> tuple[Path, Path]:
    return write(tmp_path / "A", "a b c d e f g h"), write(tmp_path / "B", "h g h e a b h d")


def test_another_text_is_another_run_and_the_same_text_elsewhere_the_same(own, texts, tmp_path):
    first, other = texts
    a, b = run(own(first)), run(own(other))
    assert a.id != b.id
    assert a.data["fingerprint"] != b.data["fingerprint"]
    moved = shutil.copytree(first, tmp_path / "moved")
    assert run_id(own(moved)) == a.id
    write(first, "a a a a e f g h")
    assert run_id(own(first)) not in (a.id, b.id), "an edited text is another one"


def test_a_text_is_its_words_and_lines_and_a_cut_of_it_does_not_hide_the_rest(own, texts):
    first, _ = texts
    cut = "dataset.max_tokens={train: 90, valid: 45, test: 45}"
    before = run_id(own(first, cut))
    path = first / "test.txt"
    path.write_text(path.read_text().replace(" ", "  ").replace("\n", " \r\n"))
    assert run_id(own(first, cut)) == before
    path.write_text(path.read_text() + "a b\n")
    assert run_id(own(first, cut)) != before


def test_the_id_of_a_record_follows_from_its_configuration(own, texts):
    record = run(own(texts[0]))
    assert record.id.endswith(digest(record.config))
    assert record.data["text"] == record.config["dataset"]["fingerprint"]
    assert str(texts[0]) not in str(record.config)


def test_a_record_of_another_text_under_the_same_id_is_refused_and_not_taken(tmp_path, monkeypatch):
    """A text on the hub is known by its address: if its words change, the runs of the old ones are no result."""
    rows = {"train": ["a b c d\n"] * 60, "valid": ["a b\n"] * 20, "test": ["c d\n"] * 30}
    monkeypatch.setattr(hub, "text_lines", lambda *_: {split: iter(lines) for split, lines in rows.items()})
    options = [*OWN, "dataset.path=null", "dataset.repository=own/text", f"runs={tmp_path / 'runs'}"]
    config = compose("train", options)
    record = run(config)
    assert run(config) == record
    rows["test"] = ["d c\n"] * 30
    monkeypatch.setenv("STABLERNN_CACHE", str(tmp_path / "other"))
    with pytest.raises(RecordError, match=r"was trained on data with the fingerprint .* those here have"):
        run(config)


def test_a_checkpoint_of_another_text_is_not_resumed(own, texts, tmp_path):
    a, b = own(texts[0], "training.pause_after=1", "training.epochs=2"), own(texts[1], "training.epochs=2")
    paused = run(a)
    target = Path(b.runs) / run_id(b)
    shutil.copytree(Path(a.runs) / paused.id, target)
    with pytest.raises(Exception, match=r"another run|cannot be resumed") as refused:
        run(b)
    assert type(refused.value).__module__ == "stablernn.utils.errors"


@pytest.mark.parametrize(
    "options",
    [
        ["dataset=wikitext2", "dataset.expected=null"],
        ["dataset=wikitext103", "dataset.expected={types: 9, tokens: {train: 540, valid: 180, test: 270}}"],
        ["dataset=ptb", "dataset.name=wikitext2"],
        ["dataset=text_folder", "dataset.name=ptb"],
        ["dataset=text_folder", "dataset.name=embedded"],
    ],
)
def test_the_name_of_a_published_text_is_for_that_text(options, texts):
    with pytest.raises(ConfigurationError, match=r"dataset\.name=\w+ is for .* dataset=text_folder dataset\.name="):
        make(compose("train", [*options, f"dataset.path={texts[0]}"]).dataset)


def test_a_corpus_that_is_made_has_no_published_name():
    with pytest.raises(ConfigurationError, match=r"dataset\.name=wikitext2 is for WikiText-2 alone"):
        make(compose("train", ["dataset=embedded", "dataset.name=wikitext2"]).dataset)


def test_what_names_no_text_says_which_option_does():
    for given, missing in ((["dataset.path=x"], "dataset.name"), (["dataset.name=x"], "dataset.path")):
        with pytest.raises(ConfigurationError, match=f"{missing} is not set"):
            run(compose("train", ["dataset=text_folder", *given]))


def test_analyses_find_the_text_that_the_run_was_trained_on(own, texts, tmp_path):
    record = run(own(texts[0]))
    cpu = torch.device("cpu")
    runs = Path(own(texts[0]).runs)
    for data in (None, str(tmp_path), str(texts[1])):  # nothing said; no such text there; another text there
        (trained,) = find_runs(record.id, runs, data, cpu)
        assert trained.corpus.fingerprint == record.data["fingerprint"]
        ((_, result),) = analyse(TruncationAnalysis(k_max=2), [trained], fresh=True)
        assert result["count"] == record.data["tokens"]["test"]
    texts[0].rename(tmp_path / "moved")
    (trained,) = find_runs(record.id, runs, None, cpu)
    with pytest.raises(RecordError, match=r"data=\.\.\.") as refused:
        _ = trained.corpus
    assert "dataset.path" not in str(refused.value), "an analysis has no such option"
    (trained,) = find_runs(record.id, runs, str(tmp_path / "moved"), cpu)
    assert trained.corpus.fingerprint == record.data["fingerprint"]


def test_a_report_calls_a_text_by_its_own_name(own, texts):
    records = [run(own(path)) for path in texts]
    found = list(slices(records))
    assert len(found) == 2, "two texts of one name are never in one table"
    assert len({section.name for section in found}) == 2
    for section in found:
        shown = perplexity_table(section)
        assert "mine" in shown.title
        assert not any(published.title in str(shown) for published in PUBLISHED.values())


def test_a_record_that_only_claims_a_published_name_is_not_shown_under_it(own, texts):
    """As earlier versions wrote it, under dataset.expected=null."""
    record = run(own(texts[0]))
    record.data["name"] = record.config["dataset"]["name"] = "wikitext2"
    (section,) = slices([record])
    assert not section.protocol
    assert "WikiText-2" not in str(perplexity_table(section))


def test_winners_belong_to_the_text_that_they_were_searched_on(own, texts, tmp_path):
    for model in ("rnn", "lstm"):
        record = run(own(texts[0], f"model={model}", "profile=smoke"))
        path = winner_file(tmp_path / "best", "mine", model, "smoke")
        path.parent.mkdir(exist_ok=True)
        path.write_text(winner_yaml(record, 2, ["experiment=search"], tmp_path))
        assert "dataset: text_folder" in path.read_text()
    command = ["experiment=table1", "profile=smoke", "dataset=text_folder", "dataset.name=mine", "seed=0"]
    command.append(f"hydra.sweeper.winners={tmp_path / 'best'}")
    found = expand([*command, f"dataset.path={texts[0]}"])
    assert len({run_id(config) for config in found}) == len(found) >= 4
    for config in expand([*command, f"dataset.path={texts[1]}"]):
        with pytest.raises(DataError, match="it is another text"):
            run_id(config)


def rows_of(words: str) -> dict[str, list[str]]:
    return {split: [f"{words}\n"] * 3 for split in SPLITS}


def test_the_cache_of_the_hub_tells_repositories_and_configurations_apart(monkeypatch):
    answers = {("r", "v1"): "a b", ("r", "raw"): "a c", ("s", "v1"): "b b"}
    monkeypatch.setattr(
        hub,
        "text_lines",
        lambda name, repository, configuration: {
            split: iter(lines) for split, lines in rows_of(answers[repository, configuration]).items()
        },
    )
    files = {split: split for split in SPLITS}

    def load(repository, configuration):
        return WordCorpus("own", None, "", files, repository, configuration).load().text

    first = {key: load(*key) for key in answers}
    assert len(set(first.values())) == 3
    assert {key: load(*key) for key in reversed(answers)} == first


def test_the_cache_of_files_tells_apart_which_file_is_which_split(texts):
    (texts[0] / "test.txt").write_text("only here\n" * 30)
    for number, files in enumerate((("train", "valid", "test"), ("test", "valid", "train"))):
        named = {split: f"{file}.txt" for split, file in zip(reversed(SPLITS), reversed(files), strict=True)}
        loaded = WordCorpus("own", str(texts[0]), "", named).load()
        assert len(loaded.splits["train"]) == (540, 90)[number]


def test_a_byte_order_mark_is_no_part_of_the_first_word_and_is_said(texts, monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("stablernn"), "propagate", True)
    files = {split: f"{split}.txt" for split in SPLITS}
    plain = WordCorpus("own", str(texts[0]), "", files).load()
    assert "byte-order" not in caplog.text
    path = texts[0] / "train.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    marked = WordCorpus("own", str(texts[0]), "", files).load()
    assert (marked.types, marked.fingerprint, marked.text) == (plain.types, plain.fingerprint, plain.text)
    assert "the byte-order mark at the beginning of train was left out" in caplog.text


def test_an_eos_that_is_in_the_text_already_is_refused_with_its_place(texts):
    path = texts[0] / "valid.txt"
    path.write_text("a b\na b <eos>\n" * 10)
    with pytest.raises(DataError, match=r"valid\.txt, line 2: the word <eos> .*sed"):
        WordCorpus("own", str(texts[0]), "", {split: f"{split}.txt" for split in SPLITS}).load()


@pytest.mark.slow
def test_on_the_command_line_no_text_stands_for_another(texts, tmp_path):
    refused = script("train", "dataset=wikitext2", "dataset.expected=null", f"dataset.path={texts[0]}", cwd=tmp_path)
    assert refused.returncode == 2
    assert "choose dataset=text_folder dataset.name=... dataset.path=..." in refused.stderr
    told = [script("train", *OWN, f"dataset.path={path}", cwd=tmp_path) for path in (*texts, texts[0])]
    assert [answer.returncode for answer in told] == [0, 0, 0]
    assert ["finished before, skipped" in answer.stderr for answer in told] == [False, False, True]
    runs = sorted(path.parent.name for path in (tmp_path / "runs").glob(f"*/{RECORD_FILE}"))
    assert len(runs) == 2

    plain = ["device=cpu", "progress=false", "figures=null"]
    shown = script("analyze", "analysis=truncation", "k_max=2", "run=mine*", *plain, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    fingerprints = {read_record(tmp_path / "runs" / run).data["fingerprint"] for run in runs}
    assert all(shown.stderr.count(f"on mine, fingerprint {each}") == 1 for each in fingerprints), "a table for each"
    converted = script("convert", f"run={runs[0]}", "guarantee=measured", "formats=[]", "seconds=0.01", cwd=tmp_path)
    assert converted.returncode == 0, converted.stderr

    shown = script("report", "records=runs", f"results={tmp_path / 'results'}", "readme=null", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    tables = "".join(path.read_text() for path in (tmp_path / "results" / "tables").glob("perplexity*.md"))
    assert all(f"Test perplexity on mine, profile `quick`, fingerprint {each[:8]}" in tables for each in fingerprints)
    assert "WikiText" not in tables


# The published texts themselves.


@pytest.fixture
def wikitext(data_folder, tmp_path) -> Path:
    return shutil.copytree(data_folder / "wikitext-2", tmp_path / "wikitext")


def wikitext_at(path: Path, *options: str):
    return compose("train", ["dataset=wikitext2", f"dataset.path={path}", *options])


@pytest.mark.parametrize("name", ["wikitext2", "ptb"])
def test_a_published_text_is_recognised_by_its_words_and_lines(name, data_folder):
    config = compose("train", [f"dataset={name}", f"dataset.path={data_folder}"])
    loaded = make(config.dataset).load()
    assert loaded.recognised == dict.fromkeys(SPLITS, "text")
    assert OmegaConf.to_container(config.dataset.expected) == PUBLISHED[name].expected
    here = run_id(config)
    config.dataset.path = None
    assert run_id(config) == here, "its runs have the ids that they have without the text"


def test_the_published_wikitext_103_has_the_counts_of_its_configuration():
    config = compose("train", ["dataset=wikitext103"])
    assert OmegaConf.to_container(config.dataset.expected) == PUBLISHED["wikitext103"].expected


def test_lines_in_another_order_are_recognised_by_their_counts_alone(wikitext, data_folder, small):
    path = wikitext / "wiki.train.tokens"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(reversed(lines)), encoding="utf-8")
    options = ["dataset=wikitext2", "training.max_updates=2", "training.batch_size=2", "truncation.k=5"]
    cut = "dataset.max_tokens={train: 300, valid: 60, test: 60}"
    whole, reversed_ = (run(small(*options, cut, f"dataset.path={where}")) for where in (data_folder, wikitext))
    assert whole.id != reversed_.id
    assert whole.data["recognised"] == dict.fromkeys(SPLITS, "text")
    assert reversed_.data["recognised"] == {"train": "counts", "valid": "text", "test": "text"}
    published, counts = (str(perplexity_table(next(slices([record])))) for record in (whole, reversed_))
    assert "text: the published WikiText-2, recognised by a fingerprint" in published
    assert "train recognised by the counts of WikiText-2 alone" in counts
    assert "WikiText-2 (by its counts)" in counts


def test_valid_and_test_of_wikitext_103_beside_the_train_split_of_wikitext_2_are_named(wikitext, data_folder):
    for split in ("valid", "test"):
        shutil.copyfile(data_folder / "wikitext-103" / f"wiki.{split}.tokens", wikitext / f"wiki.{split}.tokens")
    mixed = "train is that of WikiText-2, valid is that of WikiText-103, test is that of WikiText-103"
    with pytest.raises(DataError, match=f"it is a mixture, {mixed}"):
        run(wikitext_at(wikitext))


def test_blank_lines_that_were_stripped_are_named(wikitext):
    path = wikitext / "wiki.test.tokens"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if line.strip()), encoding="utf-8")
    with pytest.raises(DataError, match=r"test has its words in 2,891 lines and not in 4,358 \(blank lines"):
        run(wikitext_at(wikitext))


def test_a_finished_run_is_not_skipped_where_the_named_text_is_not_the_published_one(wikitext, data_folder, small):
    options = ["dataset=wikitext2", "training.max_updates=2", "training.batch_size=2", "truncation.k=5"]
    options.append("dataset.max_tokens={train: 300, valid: 60, test: 60}")
    record = run(small(*options, f"dataset.path={data_folder}"))
    assert run(small(*options, f"dataset.path={data_folder}")) == record
    (wikitext / "wiki.test.tokens").write_text("other words\n")
    with pytest.raises(DataError, match="not the published text"):
        run(small(*options, f"dataset.path={wikitext}"))
    with pytest.raises(DataError, match="no such data"):
        run(small(*options, f"dataset.path={wikitext / 'nowhere'}"))


def test_committed_records_keep_their_ids_and_are_of_the_published_text(data_folder):
    """Composed from the configuration in the record, with the published text at hand: the same id, the same ids."""
    fingerprints, checked = {}, 0
    for path in sorted((ROOT / "results" / "records").rglob(RECORD_FILE)):
        record = read_record(path.parent)
        assert record.id.endswith(digest(record.config)), record.id
        dataset = DictConfig(record.config["dataset"])
        if "file_names" not in dataset:
            continue
        dataset.path = str(data_folder)
        key = str(dataset)
        if key not in fingerprints:
            fingerprints[key] = make(dataset).load().fingerprint, make(dataset).fingerprint_of_own()
        assert fingerprints[key] == (record.data["fingerprint"], None), record.id
        whole = not any((record.config["dataset"].get("max_tokens") or {}).values())
        if whole and record.data["name"] in PUBLISHED:  # of others the fingerprint of their own says it
            assert record.data["fingerprint"] in PUBLISHED[record.data["name"]].ids
        checked += 1
    assert checked > 50


# A sweep is made of the configuration as it was when it began.


@pytest.mark.parametrize("launcher", [[], ["hydra/launcher=joblib", "hydra.launcher.n_jobs=1"]])
def test_a_configuration_that_is_edited_during_a_sweep_is_for_the_next_one(tmp_path, launcher):
    for name in ("src", "conf"):  # of src that which the processes of joblib import
        shutil.copytree(ROOT / name, tmp_path / "checkout" / name)
    conf = tmp_path / "checkout" / "conf"
    options = ["-m", *SMALL, "model=rnn", "training.epochs=4", f"runs={tmp_path / 'runs'}", "seed=0,1,2", *launcher]
    environment = {"PYTHONPATH": str(tmp_path / "checkout" / "src")}
    with Children(tmp_path) as children:
        sweep = children.start(run_script, "train", options, tmp_path, conf, environment)
        until(lambda: bool(list((tmp_path / "runs").glob("*-s0-*"))), sweep, seconds=240)
        path = conf / "train.yaml"
        path.write_text(path.read_text().replace("clip: 0.25 ", "clip: 0.125 "))
        assert "clip: 0.125" in path.read_text()
        assert sweep.wait(240) == 0, sweep.printed()
    records = [read_record(file.parent) for file in (tmp_path / "runs").glob(f"*/{RECORD_FILE}")]
    assert sorted(record.config["seed"] for record in records) == [0, 1, 2]
    assert {record.config["training"]["clip"] for record in records} == {0.25}
    assert not list((tmp_path / "runs" / ".sweep").glob("conf-*"))


def test_what_is_composed_in_a_frozen_sweep_is_what_conf_was_and_the_copy_goes(tmp_path):
    before = result_options(compose("train", []))
    with frozen(tmp_path / "runs" / ".sweep"):
        (copy,) = (tmp_path / "runs" / ".sweep").iterdir()
        assert result_options(compose("train", [])) == before
        path = copy / "train.yaml"
        path.write_text(path.read_text().replace("clip: 0.25 ", "clip: 0.125 "))
        assert compose("train", []).training.clip == 0.125, "composed from the copy alone"
    assert compose("train", []).training.clip == 0.25
    assert not (tmp_path / "runs").exists()
    assert CONFIG_FOLDER.is_dir()


def test_the_checkpoint_alone_of_another_text_is_not_resumed_either(own, texts):
    """Nothing else in the folder tells it: no record, no progress."""
    a, b = own(texts[0], "training.pause_after=1", "training.epochs=2"), own(texts[1], "training.epochs=2")
    target = Path(b.runs) / run_id(b)
    source = Path(a.runs) / run(a).id / checkpoint.LAST
    target.mkdir()
    shutil.copy(source, target)
    with pytest.raises(CheckpointError, match="is of another run or of other data"):
        run(b)
