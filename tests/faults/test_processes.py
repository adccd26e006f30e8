"""SIGTERM, two processes on one run, a data set that goes away."""

import os
import shutil
import signal
import socket
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL

from faults.children import command_line, moments, train, until
from faults.outcome import difference, updates
from faults.test_kills import OFTEN, options, uninterrupted
from stablernn.config.compose import compose
from stablernn.config.identity import run_id
from stablernn.experiments import sweep
from stablernn.training import lock
from stablernn.training.lock import held, holder
from stablernn.training.run import run
from stablernn.utils.errors import RunInUseError


def test_a_folder_has_one_holder_at_a_time_and_tells_who(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_PATIENCE_SECONDS", 0.05)
    assert holder(tmp_path) is None
    assert list(tmp_path.iterdir()) == [], "looking leaves nothing behind"
    with held(tmp_path):
        assert holder(tmp_path) == f"process {os.getpid()} on {socket.gethostname()}"
        with (
            pytest.raises(RunInUseError, match=rf"{tmp_path.name} is in use by process {os.getpid()} on"),
            held(tmp_path),
        ):
            pass
        assert holder(tmp_path) is not None, "who was refused took the lock along"
    assert holder(tmp_path) is None
    with held(tmp_path):
        pass


def test_who_merely_looks_does_not_turn_a_run_away(tmp_path):
    import threading

    with held(tmp_path):
        pass
    file = os.open(tmp_path / lock.LOCK_FILE, os.O_RDONLY)
    lock.fcntl.flock(file, lock.fcntl.LOCK_SH)
    threading.Timer(0.1, os.close, [file]).start()
    with held(tmp_path):
        assert holder(tmp_path) is not None


def test_without_locks_a_run_goes_on_with_a_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(lock.log, "propagate", True)

    def none(file, kind):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(lock.fcntl, "flock", none)
    with held(tmp_path):
        assert holder(tmp_path) is None
    assert "on a file system without locks" in caplog.text


def test_a_run_that_is_in_use_is_not_touched(small, monkeypatch):
    monkeypatch.setattr(lock, "_PATIENCE_SECONDS", 0.05)
    config = small("training.max_updates=2", "truncation.k=3")
    folder = Path(config.runs) / run_id(config)
    folder.mkdir(parents=True)
    (folder / ".half.part").touch()
    with held(folder), pytest.raises(RunInUseError):
        run(config)
    assert sorted(path.name for path in folder.iterdir()) == [".half.part", lock.LOCK_FILE]
    assert run(config).status == "finished"
    assert not (folder / ".half.part").exists()


def test_a_sweep_waits_for_a_run_that_is_in_use_and_counts_it_when_it_is_done(children, small):
    command = ["-m", *SMALL, "model=rnn", "training.max_updates=2", "seed=0,1"]
    config = small("model=rnn", "training.max_updates=2")
    folder = Path(config.runs) / run_id(config)
    folder.mkdir(parents=True)
    with held(folder):
        child = children.start(command_line, [*command, f"runs={config.runs}"])
        until(lambda: f"waiting for 1 run that other processes train: {folder.name}" in child.printed(), child)
        assert len(list(folder.parent.glob("*/record.json"))) == 1
    assert child.wait() == 0, child.printed()
    assert "2 runs in" in child.printed()
    assert "2 finished" in child.printed()


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_plan_waits_for_a_run_that_is_in_use(at_once, small, monkeypatch):
    monkeypatch.setattr(lock, "_PATIENCE_SECONDS", 0.05)
    configs = [small("model=rnn", "training.max_updates=2", f"seed={seed}") for seed in (0, 1)]
    folder = Path(configs[0].runs) / run_id(configs[0])
    folder.mkdir(parents=True)
    other = held(folder)
    other.__enter__()

    def waited(folders, least):
        assert folders == [folder]
        other.__exit__(None, None, None)

    monkeypatch.setattr(sweep, "wait_until_free", waited)
    records, failures = sweep.run_all(configs, at_once=at_once)
    assert not failures
    assert {record.id for record in records} == {run_id(config) for config in configs}


@pytest.mark.slow
def test_one_of_two_processes_has_the_run_and_a_dead_one_is_not_in_the_way(children, tmp_path, ledger):
    whole, _ = uninterrupted(children, tmp_path, "rnn")
    runs = tmp_path / "runs"
    config = compose("train", [*options("rnn"), f"runs={runs}"])
    folder = runs / run_id(config)
    for how in (signal.SIGSTOP, signal.SIGKILL):
        first = children.start(train, config)
        who = f"process {first.process.pid} on {socket.gethostname()}"
        until(lambda who=who: holder(folder) == who and bool(updates(runs)), first)
        first.send(signal.SIGSTOP)
        assert holder(folder) == who
        second = children.start(train, config)
        assert second.wait() == 2
        assert f"{folder.name} is in use by {who}: leave it to that process" in second.printed()
        assert holder(folder) == who
        if how is signal.SIGKILL:
            first.send(signal.SIGKILL)
            assert first.wait() == -9
            assert holder(folder) is None
        else:
            first.send(signal.SIGCONT)
            first.send(signal.SIGTERM)
            assert first.wait() in (0, 130)
    assert children.start(train, config).wait() == 0
    ledger.settle("two processes on one run, the first killed after", 2, difference(runs, whole))


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher", [[], ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]], ids=["serial", "joblib"]
)
def test_a_sweep_leaves_a_run_that_is_in_use_for_its_end(launcher, children, tmp_path, ledger):
    sweep = ["-m", *options("rnn"), "seed=0,1,2"]
    assert children.start(command_line, [*sweep, f"runs={tmp_path / 'whole'}"]).wait() == 0
    runs = tmp_path / "runs"
    config = compose("train", [*options("rnn"), "seed=1", f"runs={runs}"])
    first = children.start(train, config)
    until(lambda: bool(updates(runs)), first)
    first.send(signal.SIGSTOP)
    second = children.start(command_line, [*sweep, *launcher, f"runs={runs}"])
    until(lambda: "waiting for 1 run" in second.printed(), second)
    assert f"left for the end: {run_id(config)} is in use by process {first.process.pid} on" in second.printed()
    assert len(list(runs.glob("*/record.json"))) == 2
    first.send(signal.SIGCONT)
    assert first.wait() == 0
    assert second.wait() == 0
    assert f"{run_id(config)}: finished before, skipped" in second.printed()
    assert "3 runs in" in second.printed()
    ledger.settle("two processes on one sweep", 1, difference(runs, tmp_path / "whole"))


@pytest.mark.slow
def test_sigterm_leaves_a_checkpoint_and_says_how_to_go_on(children, tmp_path, ledger, seed):
    random = moments(seed, "sigterm")
    seldom = ["training.checkpoint_seconds=1000"]  # so that what is there was written because of the signal
    whole, seconds = uninterrupted(children, tmp_path, "lstm stable")
    command = [*options("lstm stable"), *seldom, f"runs={tmp_path / 'runs'}"]
    config = compose("train", command)
    folder = tmp_path / "runs" / run_id(config)
    terminated = 0
    for _ in range(6):
        child = children.start(command_line, command)
        until(lambda: holder(folder) is not None or (folder / "record.json").exists(), child)
        child.process.join(random.uniform(0, seconds / 4))
        if not child.running():
            break
        child.send(signal.SIGTERM)
        if child.wait() == 0:
            break
        assert child.wait() == 130
        if "interrupted at update" in child.printed():  # else before the first update
            assert "the same command resumes" in child.printed()
        terminated += 1
    assert terminated >= 2
    assert updates(tmp_path / "runs")
    assert children.start(train, config).wait() == 0
    ledger.settle("SIGTERM at a random moment", terminated, difference(tmp_path / "runs", whole))


@pytest.mark.slow
def test_a_data_set_that_goes_away_midway(children, tmp_path, ledger):
    data = tmp_path / "data"
    data.mkdir()
    rng = np.random.default_rng(0)
    for split, lines in (("train", 200), ("valid", 30), ("test", 40)):
        text = "\n".join(" ".join(f"w{n}" for n in rng.zipf(1.5, 15) % 50) for _ in range(lines))
        (data / f"{split}.txt").write_text(text + "\n")
    own = ["dataset=text_folder", "dataset.name=own", f"dataset.path={data}"]
    small = [option for option in SMALL if not option.startswith(("dataset", "profile"))]
    sweep = ["-m", "training.epochs=8", "training.batch_size=5", *own, *small, *OFTEN, "model=rnn", "seed=0,1,2"]
    assert children.start(command_line, [*sweep, f"runs={tmp_path / 'whole'}"]).wait() == 0
    runs = tmp_path / "runs"
    child = children.start(command_line, [*sweep, f"runs={runs}"])
    until(lambda: bool(updates(runs)), child)
    shutil.move(data, tmp_path / "elsewhere")
    assert child.wait() == 2
    assert "no such data in" in child.printed()
    assert "set dataset.path (or STABLERNN_DATA)" in child.printed()
    assert len(list(runs.glob("*/record.json"))) in (1, 2), (
        "the run under way goes on, the next ones say what is missing"
    )
    shutil.move(tmp_path / "elsewhere", data)
    shutil.rmtree(tmp_path / "cache")
    assert children.start(command_line, [*sweep, f"runs={runs}"]).wait() == 0
    ledger.settle("data set (and its cache) removed midway, put back", 1, difference(runs, tmp_path / "whole"))
