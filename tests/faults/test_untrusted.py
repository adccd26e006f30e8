"""What comes from elsewhere, token files to overrides: accepted, or refused with the project's own error."""

import json
import struct
import tempfile
from pathlib import Path

import pytest
import torch
from conftest import SMALL
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from faults.children import command_line
from stablernn.config.compose import compose
from stablernn.config.identity import run_id
from stablernn.config.instantiate import make
from stablernn.config.validate import check
from stablernn.records.record import read_record
from stablernn.report.load import load_records
from stablernn.report.slices import slices
from stablernn.tasks.hub import cache_root
from stablernn.tasks.splits import SPLITS
from stablernn.tasks.words import WordCorpus
from stablernn.training import checkpoint
from stablernn.training.build import build
from stablernn.training.loop import Trainer
from stablernn.training.run import run
from stablernn.training.tracking import SilentRun
from stablernn.training.trained import Trained
from stablernn.utils.errors import CheckpointError, ConfigurationError, DataError, RecordError
from stablernn.utils.files import json_digest, write_sealed

FEW, MANY = 40, 3000
AMOUNTS = [FEW, pytest.param(MANY, marks=pytest.mark.slow)]

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["${x}", "???", ".."]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def fuzz(inputs: st.SearchStrategy, body, amount: int) -> None:
    @settings(max_examples=amount, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(inputs)
    def try_one(value):
        body(value)

    try_one()


@st.composite
def altered(draw, whole: dict):
    """A copy of nested mappings with one to three entries, at any depth, replaced, removed or added."""
    copy = json.loads(json.dumps(whole))
    for _ in range(draw(st.integers(1, 3))):
        node = copy
        while True:
            key = draw(st.sampled_from(sorted(node)) if node else st.text(max_size=8))
            if isinstance(node.get(key), dict) and draw(st.integers(0, 3)):
                node = node[key]
                continue
            change = draw(st.integers(0, 4))
            if change == 0:
                node.pop(key, None)
            elif change == 1:
                node[draw(st.text(max_size=8) | st.sampled_from(["_target_", "_args_"]))] = draw(anything)
            else:
                node[key] = draw(anything)
            break
    return copy


@pytest.fixture
def quick():
    """A folder in memory where there is one: thousands of files are flushed to it."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run: its configuration and folder."""
    config = compose("train", [*SMALL, f"runs={tmp_path_factory.mktemp('runs')}", "training.max_updates=2"])
    run(config)
    return config, Path(config.runs) / run_id(config)


@pytest.mark.parametrize("amount", AMOUNTS)
def test_records(amount, finished, quick, ledger):
    whole = json.loads((finished[1] / "record.json").read_text())
    del whole["checksum"]
    (quick / "run").mkdir()

    def body(inputs):
        record, history = inputs
        (quick / "run" / "record.json").write_bytes(record)
        (quick / "run" / "history.jsonl").write_bytes(history)
        try:
            found = read_record(quick / "run")
            config = Trained(quick / "run", found, None, torch.device("cpu")).config
            assert make(config.stability.constraint) is not None
        except RecordError:
            pass
        except ConfigurationError:
            pass
        for section in slices(load_records(quick)):
            assert section.name
            assert section.caption
            assert section.protocol in (True, False)
        ledger.settle("input: run record", 1)

    lines = st.lists(anything.map(json.dumps), max_size=3).map("\n".join).map(str.encode) | st.binary(max_size=30)
    parts = st.sampled_from(["data", "config", "metrics"])
    some = parts.flatmap(lambda part: altered(whole[part]).map(lambda value: whole | {part: value}))
    data = altered(whole["config"]["dataset"]).map(
        lambda value: whole | {"config": whole["config"] | {"dataset": value}}
    )
    records = (altered(whole) | some | data).map(lambda value: json.dumps(value).encode())
    noise = anything.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200)
    deep = st.integers(1, 20_000).map(lambda depth: b"[" * depth)
    fuzz(st.tuples(records | records | records | noise | deep, st.just(b"") | lines), body, amount)


@pytest.mark.parametrize("amount", AMOUNTS)
def test_token_files(amount, quick, ledger, monkeypatch):
    monkeypatch.setenv("STABLERNN_CACHE", str(quick / "cache"))
    corpus = WordCorpus("own", str(quick), "", {split: split for split in SPLITS})

    def body(inputs):
        texts, cached = inputs
        for split, text in zip(SPLITS, texts, strict=True):
            (quick / split).write_bytes(text)
        try:
            counts = {split: len(corpus.load().splits[split]) for split in SPLITS}
            for split, text in zip(SPLITS, texts, strict=True):
                lines = text.decode().split("\n")
                lines = lines[:-1] if lines[-1] == "" else lines
                assert counts[split] == sum(len(line.split()) + 1 for line in lines)
            for folder in cache_root().iterdir():  # what somebody else may have put there
                (folder / "counts.json").write_bytes(cached)
            assert {split: len(corpus.load().splits[split]) for split in SPLITS} == counts
        except DataError as error:
            refused = str(error)
            assert str(quick) in refused or "is empty" in refused
        for folder in cache_root().iterdir():
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()
        ledger.settle("input: token files and their cache", 1)

    text = st.text(max_size=60).map(str.encode) | st.binary(max_size=60)
    words = st.sampled_from(["a", "b", "\n", "\r", "\t", "<eos>", "\x85", "\u2028", "é", "\x1c"])
    text |= st.lists(words, max_size=20).map(lambda chosen: " ".join(chosen).encode())
    cached = anything.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=30)
    fuzz(st.tuples(st.tuples(text, text, text), cached), body, amount)


@pytest.mark.parametrize("amount", AMOUNTS)
def test_checkpoint_files(amount, quick, ledger):
    path = quick / "a.safetensors"
    metadata = {"values": json.dumps({"update": 1})}
    whole = save({"a": torch.randn(3, 2), "b": torch.ones(4, dtype=torch.int64)}, metadata)
    length = struct.unpack("<Q", whole[:8])[0]
    header, data = json.loads(whole[8 : 8 + length]), whole[8 + length :]

    def body(content):
        path.write_bytes(content)
        try:
            tensors, values = checkpoint.load(path)
            assert isinstance(values, dict)
            assert all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())
        except CheckpointError as error:
            refused = str(error)
            assert str(path) in refused
        ledger.settle("input: checkpoint file", 1)

    def packed(values) -> bytes:
        text = json.dumps(values).encode()
        return struct.pack("<Q", len(text)) + text + data

    deep = st.integers(1, 20_000).map(lambda depth: packed(header | {"__metadata__": {"values": "[" * depth}}))
    headers = altered(header).map(packed) | anything.map(packed)
    lengths = st.integers(0, 2**64 - 1).map(lambda number: struct.pack("<Q", number) + whole[8:])
    cut = st.integers(0, len(whole)).map(lambda end: whole[:end])
    fuzz(headers | headers | deep | lengths | cut | st.binary(max_size=100), body, amount)


@pytest.mark.parametrize("amount", AMOUNTS)
def test_checkpoints_that_are_whole_and_make_no_sense(amount, finished, quick, ledger):
    """Somebody else's values under a checksum that fits: refused before a step is made with them."""
    config, folder = finished
    corpus = make(config.dataset).load()
    model, constraint = build(config, corpus.interface)
    tensors, whole = checkpoint.load(folder / checkpoint.LAST)
    optimizer = make(config.optimizer)(model.parameters())
    training = compose("train", SMALL).training
    identity = whole["identity"]
    trainer = Trainer(model, constraint, optimizer, corpus, 35, training, quick, identity, SilentRun())

    def body(inputs):
        values, missing, odd = inputs
        kept = {name: tensor for number, (name, tensor) in enumerate(tensors.items()) if number != missing}
        if odd is not None:
            kept[sorted(kept)[odd % len(kept)]] = torch.zeros(odd, dtype=torch.int64)
        checkpoint.save(quick / checkpoint.LAST, kept, values)
        try:
            trainer.resume()
        except CheckpointError as error:
            refused = str(error)
            assert str(quick) in refused
        ledger.settle("input: checkpoint of another making", 1)

    few = st.none() | st.integers(0, 40)
    fuzz(st.tuples(st.just(whole) | altered(whole), few, few), body, amount)


OPTIONS = """
seed truncation truncation.k model model.name model.cell model.cell._target_ model.hidden_size model.dropout
model.tied dataset dataset.name dataset.path dataset.types dataset.max_tokens dataset._target_ stability
stability.constraint stability.constraint._target_ stability.constraint.limit approximation approximation.window
approximation.backbone optimizer optimizer.lr optimizer._target_ training training.epochs training.clip
training.max_tokens training.annealing training.checkpoint_seconds profile profile.name tracking tracking._target_
tracking.mode runs device precision threads progress experiment experiment_name hydra hydra.run.dir nonsense"""
VALUES = """
0 1 -1 3.5 1e400 nan inf null true false lstm rnn stable unstable smoke quick ptb wikitext2 embedded none cpu
cuda:99 tpu ??? ${seed} ${nothing} ${oc.env:HOME} ${oc.create:{_target_:os.system}} ${oc.decode:'[1'} [] {} [1,2] {a:1}
{_target_:os.system} os.system
stablernn.utils.files.os.system stablernn.utils.files.write_text torch.optim.Adam torch.load
torch.optim.sgd.torch.load stablernn.records.record
stablernn.nothing 1,2 choice(1,2) range(1,3) glob(*) 'a "a a=b \\ü ("""


@pytest.mark.parametrize("amount", [20, pytest.param(2500, marks=pytest.mark.slow)])
def test_overrides(amount, ledger, monkeypatch):
    monkeypatch.setattr("os.system", lambda *_: pytest.fail("executed"))

    def body(overrides):
        try:
            config = compose("train", overrides)
            check(config)
            run_id(config)
        except (ConfigurationError, DataError) as error:
            refused = str(error)
            assert refused
            assert "\n" not in refused
        ledger.settle("input: command-line overrides", 1)

    value = st.sampled_from(VALUES.split()) | st.text(max_size=8) | st.integers().map(str) | st.floats().map(str)
    override = st.builds(
        lambda sign, name, value: f"{sign}{name}={value}",
        st.sampled_from(["", "", "", "+", "++", "~"]),
        st.sampled_from(OPTIONS.split()) | st.text(max_size=6),
        value,
    )
    override |= st.sampled_from(OPTIONS.split()).map("~{}".format) | st.text(max_size=12)
    fuzz(st.lists(override, min_size=1, max_size=3), body, amount)


FOREIGN = {
    "another package": ("dataset._target_", "os.system", "lies outside stablernn and torch.optim"),
    "out of this package": (
        "dataset._target_",
        "stablernn.utils.files.os.system",
        "is no class or function of stablernn",
    ),
    "of another kind": ("dataset._target_", "stablernn.records.record.Record", "is no DataSet of this package"),
    "a function that writes": (
        "dataset._target_",
        "stablernn.utils.files.write_text",
        "is no DataSet of this package",
    ),
    "a cell": ("model.cell._target_", "os.system", "lies outside stablernn"),
    "a backbone": ("approximation.backbone._target_", "stablernn.models.cells.lstm.LSTMCell", "is no Backbone"),
    "a constraint": ("stability.constraint._target_", "torch.optim.SGD", "is no Constraint"),
    "an optimizer": ("optimizer._target_", "torch.optim.sgd.torch.load", "is no class or function"),
    "nested": ("model.name", {"_target_": "os.system"}, "config.model.name is not as its type"),
    "positional": ("dataset._args_", ["x"], "dataset._args_.0 is not an option of a trained model"),
    "interpolation": ("model.name", "${oc.env:HOME}", "config.model.name is not as its pattern"),
    "made by an interpolation": ("dataset.name", "${oc.create:{_target_:os.system}}", "is not resolved"),
    "another folder": ("dataset.name", "../../elsewhere", "must be a word of letters"),
}


def seal(folder, values):
    """Somebody else's record, without a history, under a checksum that fits."""
    beside = {"history": json_digest([]), "blocks": json_digest(None)}
    write_sealed(folder / "record.json", values, beside | {"record": json_digest([values, beside])})


@pytest.mark.parametrize("case", FOREIGN)
def test_a_record_executes_nothing_and_leads_nowhere(case, finished, tmp_path, monkeypatch):
    monkeypatch.setattr("os.system", lambda *_: pytest.fail("executed"))
    option, value, message = FOREIGN[case]
    whole = json.loads((finished[1] / "record.json").read_text())
    del whole["checksum"]
    *parents, last = option.split(".")
    node = whole["config"]
    if case == "another folder":
        node["dataset"] = dict(compose("train", ["dataset=ptb"]).dataset) | {"expected": None, "file_names": {}}
        node["dataset"] |= {"max_tokens": {}}
    for parent in parents:
        node = node[parent]
    node[last] = value
    seal(tmp_path, whole)
    with pytest.raises((RecordError, ConfigurationError)) as caught:
        Trained(tmp_path, read_record(tmp_path), None, torch.device("cpu")).corpus  # noqa: B018
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["..", "../../elsewhere", "/elsewhere", "", ".", "a/b"])
def test_the_id_of_a_record_is_no_path(name, finished, tmp_path):
    """Reports make and remove folders of this name."""
    whole = json.loads((finished[1] / "record.json").read_text())
    del whole["checksum"]
    seal(tmp_path, whole | {"id": name})
    with pytest.raises(RecordError, match="id is not as its pattern"):
        read_record(tmp_path)


@pytest.mark.parametrize("schema", [1, 2, 4, None])
def test_a_record_of_another_version_is_refused_with_a_remedy(schema, finished, tmp_path):
    whole = json.loads((finished[1] / "record.json").read_text())
    del whole["checksum"]
    seal(tmp_path, whole | {"schema": schema})
    with pytest.raises(RecordError, match=rf"record schema {schema}, this version reads 3: train the run again"):
        read_record(tmp_path)


def test_the_package_unpickles_nothing():
    import stablernn

    for path in Path(stablernn.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.parts[-2:] == ("examination", "weights.py"):  # unpickles with pickle=true alone, which has a test
            text = text.replace('torch.load(path, map_location="cpu", weights_only=not unpickle)', "")
            text = text.replace("import pickle", "").replace("pickle.UnpicklingError", "")
            assert "pickle." not in text
        assert "torch.load(" not in text
        assert "import pickle" not in text


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["--experimental-rerun=config.pickle"],
        ["model=[1"],
        ["~training"],
        ["model=null"],
        ["dataset._target_=os.system"],
        ["-m", "seed=1,2", "nonsense=3"],
        ["seed=${oc.env:NOTHING}"],
        ["hydra.run.dir=/proc/nowhere"],
    ],
    ids=" ".join,
)
def test_the_command_line_says_it_in_one_line(arguments, children, ledger, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    child = children.start(command_line, arguments)
    assert child.wait() == 2
    assert child.printed().startswith("error: ")
    assert child.printed().count("\n") == 1
    ledger.settle("input: a mistaken command line", 1)
