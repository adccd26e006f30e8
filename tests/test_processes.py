"""Streams shared: among the processes of a run, and among parts of a step."""

import copy
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, SMALL
from torch.testing import assert_close

from stablernn.config.identity import run_id
from stablernn.config.instantiate import make
from stablernn.models.state import join_streams, split_streams
from stablernn.records.record import read_record
from stablernn.tasks.base import Interface
from stablernn.tasks.splits import Split
from stablernn.tasks.windows import Windows
from stablernn.training import checkpoint, processes
from stablernn.training.build import build
from stablernn.training.processes import ALONE, own_device
from stablernn.training.run import run
from stablernn.training.step import Step
from stablernn.utils.errors import ConfigurationError

SHARED = [*SMALL, "precision=float32", "training.batch_size=8", "training.log_every=5", "optimizer.lr=1", "threads=1"]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(
    "choice",
    [
        ["model=lstm", "stability=stable"],
        ["model=rnn", "approximation=feedforward", "truncation.k=4"],
        ["head=adaptive", "head.softmax.cutoffs=[20,60]"],
    ],
    ids=lambda choice: choice[0],
)
def test_parts_one_after_the_other_make_the_same_update(choice, optimizer, small):
    config = small(*choice, f"optimizer={optimizer}", "model.dropout=0", "precision=float32")
    corpus = make(config.dataset).load()
    model, constraint = build(config, corpus.interface)
    windows = list(Windows(corpus.splits["train"], batch=5, length=6))[:4]
    found = []
    for parts in (1, 2, 5):  # 2 does not divide the streams
        trained = copy.deepcopy(model)
        step = Step(trained, constraint, make(config.optimizer)(trained.parameters()), 0.25, accumulate=parts)
        state = trained.initial_state(5)
        for x, y in windows:
            state = step(x, y, state)
        found.append((step.collect(), state, dict(trained.named_parameters())))
    for other in found[1:]:
        assert_close(other, found[0], rtol=1e-4, atol=1e-6)
    assert not torch.equal(found[0][2]["inputs.weight"], model.inputs.weight)


def test_a_part_holds_only_its_own_streams_in_memory(small, monkeypatch):
    config = small("model.dropout=0")
    corpus = make(config.dataset).load()
    model, constraint = build(config, corpus.interface)
    seen = []
    loss = model.loss
    monkeypatch.setattr(model, "loss", lambda x, *rest: (seen.append(tuple(x.shape)), loss(x, *rest))[1])
    step = Step(model, constraint, torch.optim.SGD(model.parameters(), lr=1.0), 0.25, accumulate=4)
    step(*Windows(corpus.splits["train"], 8, 6).window(0), model.initial_state(8))
    assert seen == [(6, 2)] * 4


def test_shares_of_the_streams_are_the_streams():
    split = Split(np.arange(101, dtype=np.int32))
    whole = Windows(split, batch=6, length=7)
    shares = [Windows(split, batch=6, length=7, share=(number, 3)) for number in range(3)]
    assert {len(share) for share in shares} == {len(whole)}
    for number in range(len(whole)):
        for side, together in zip(
            zip(*(s.window(number) for s in shares), strict=True), whole.window(number), strict=True
        ):
            assert torch.equal(torch.cat(side, dim=1), together)
    with pytest.raises(ConfigurationError, match=r"training\.batch_size=6 cannot be shared by 4 processes"):
        Windows(split, batch=6, length=7, share=(0, 4))


@pytest.mark.parametrize("choice", [["model=lstm", "model.num_layers=2"], ["approximation=feedforward"]])
def test_a_state_split_and_joined_is_the_state(choice, small):
    model, _ = build(small(*choice, "truncation.k=3"), Interface.of_words(20))
    _, state = model(torch.randint(20, (4, 6)), model.initial_state(6))
    parts = split_streams(state, 3)
    assert_close(join_streams(parts), state)
    assert type(join_streams(parts)) is type(state)
    assert {tensor.shape[-2] for part in parts for tensor in torch.utils._pytree.tree_leaves(part)} == {2}


def test_one_process_needs_no_other():
    assert ALONE.by_first(lambda: 3) == ALONE.in_turn(lambda: 3) == 3
    assert ALONE.gather(4) == [4]
    assert ALONE.any(True, False) == (True, False)


def test_each_process_needs_a_gpu_of_its_own(monkeypatch):
    for name, value in {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert own_device(torch.device("cuda")) == torch.device("cuda", 1)
    assert own_device(torch.device("cpu")) == torch.device("cpu")
    with pytest.raises(ConfigurationError, match="device=cuda:0"):
        own_device(torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigurationError, match="no larger than the 1 GPU here"):
        own_device(torch.device("cuda"))
    assert processes.world_size() == 2


def torchrun(*arguments: str, count: int = 2) -> list[str]:
    program = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    return [*program, str(ROOT / "scripts" / "train.py"), *arguments]


def train(*arguments: str, count: int = 2, code: int = 0) -> str:
    answer = subprocess.run(torchrun(*arguments, count=count), capture_output=True, text=True, timeout=300, check=False)
    assert (answer.returncode == 0) == (code == 0), answer.stderr
    return answer.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "choice",
    [
        ["model=lstm", "stability=stable"],
        ["model=rnn", "approximation=feedforward", "truncation.k=4", "optimizer=adam", "optimizer.lr=0.01"],
        ["head=adaptive", "head.softmax.cutoffs=[20,60]", "training.accumulate=2"],
    ],
    ids=["recurrent", "feedforward", "adaptive"],
)
def test_two_processes_train_as_one_with_all_the_streams(choice, small, tmp_path):
    options = [*SHARED, "model.dropout=0", *choice]
    one = run(small(*options[len(SMALL) :]))
    said = train(*options, f"runs={tmp_path / 'two'}")
    (folder,) = (tmp_path / "two").iterdir()
    two = read_record(folder)
    assert two.id == one.id
    assert two.hardware["processes"] == 2
    assert two.progress == one.progress
    assert_close(two.history, one.history, rtol=1e-4, atol=0)
    for split in ("valid", "test"):
        assert two.metrics[split]["value"] == pytest.approx(one.metrics[split]["value"], rel=1e-4)
        assert two.metrics[split]["tokens"] == one.metrics[split]["tokens"]
    assert said.count("finished") == 1  # one process speaks


def killed_and_resumed(options: list[str], folder: Path, number: signal.Signals) -> str:
    """Start on two processes, send them a signal in the middle, start again; what the second start said."""
    process = subprocess.Popen(torchrun(*options), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (folder / checkpoint.LAST).exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    process.communicate(timeout=120)
    assert not (folder / "record.json").exists()
    return train(*options)


@pytest.mark.slow
def test_two_processes_resume_with_the_same_numbers_and_one_can_go_on_alone(small, tmp_path):
    options = [*SHARED, "model.dropout=0.3", "training.epochs=8", "training.early_stop=100"]
    config = small(*options[len(SMALL) :])
    train(*options, f"runs={tmp_path / 'whole'}")
    whole = read_record(tmp_path / "whole" / run_id(config))
    stopped = [*options, "training.checkpoint_seconds=0", f"runs={tmp_path / 'stopped'}"]
    folder = tmp_path / "stopped" / run_id(config)
    killed_and_resumed(stopped, folder, signal.SIGTERM)
    # Masks drawn by each process, states and all: the same to the last bit.
    assert read_record(folder).history == whole.history
    assert read_record(folder).metrics == whole.metrics
    # The checkpoint at the end belongs to no number of processes.
    saved, _ = checkpoint.load(folder / checkpoint.LAST)
    assert {saved[name].shape[-2] for name in saved if name.startswith("state.")} == {8}
    assert {name for name in saved if name.startswith("random.")} == {"random.cpu", "random.cpu.1"}
    assert not torch.equal(saved["random.cpu"], saved["random.cpu.1"])
    os.remove(folder / "record.json")
    alone = run(small(*options[len(SMALL) :], f"runs={tmp_path / 'stopped'}"))
    assert alone.metrics["test"]["value"] == pytest.approx(whole.metrics["test"]["value"])
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert history == whole.history


@pytest.mark.slow
def test_what_torchrun_cannot_share_is_refused_in_one_line(tmp_path):
    for options, message in (
        (["-m", "seed=0,1"], "torchrun shares one run among its processes"),
        (["training.batch_size=5"], "training.batch_size=5 streams cannot be shared by 2 processes"),
        (["dataset=wikitext2", "dataset.path=/nowhere", "dataset.max_tokens.train=9"], "no such data in /nowhere"),
    ):
        said = train(*SMALL, f"runs={tmp_path}", *options, code=2)
        assert said.count("error: ") == 1
        assert message in said


@pytest.mark.parametrize("own", [None, "77"])
def test_threads_do_not_wait_by_spinning_for_long_unless_told_to(own):
    """Set before torch is imported, as libgomp reads it then; in a fresh process."""
    code = "import sys, stablernn, os; assert 'torch' not in sys.modules; print(os.environ['GOMP_SPINCOUNT'])"
    others = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    environment = others | ({"GOMP_SPINCOUNT": own} if own else {})
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.split() == [own or "10000"]
