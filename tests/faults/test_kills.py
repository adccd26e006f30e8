"""SIGKILL: at random moments, while a file is being written, in the middle of a sweep."""

import time
from pathlib import Path

import pytest
from conftest import SMALL

from faults.children import Children, command_line, dies_while_writing, moments, train
from faults.outcome import check_whole, difference, updates
from stablernn.config.compose import compose

OFTEN = ["training.checkpoint_seconds=0", "training.early_stop=100", "training.snapshot_every=7", "model.dropout=0.2"]
RUNS = {
    "short": ["model=rnn", "training.epochs=3"],
    "rnn": ["model=rnn", "training.epochs=15"],
    "lstm stable": ["model=lstm", "stability=stable", "training.epochs=12"],
    "feed-forward adam": ["approximation=feedforward", "truncation.k=4", "optimizer=adam", "training.epochs=8"],
    "lstm coupled": ["stability=lstm_coupled", "stability.constraint.every=3", "training.epochs=10"],
}
POINTS = ("half written", "before the rename", "after the rename")


def options(name: str) -> list[str]:
    return [*SMALL, *OFTEN, *RUNS[name]]


def uninterrupted(children: Children, folder: Path, name: str) -> tuple[Path, float]:
    """The run that nothing happens to, and its seconds."""
    began = time.monotonic()
    assert children.start(train, compose("train", [*options(name), f"runs={folder / 'whole'}"])).wait() == 0
    return folder / "whole", time.monotonic() - began


def test_a_kill_while_a_file_is_written(children, tmp_path, ledger):
    whole, _ = uninterrupted(children, tmp_path, "short")
    config = compose("train", [*options("short"), f"runs={tmp_path / 'runs'}"])
    for point in POINTS:  # one after the other, on the same run
        assert children.start(dies_while_writing, config, point, 5).wait() == -9
        check_whole(tmp_path / "runs")
        ledger.settle(f"SIGKILL, a file is {point}", 1)
    assert children.start(train, config).wait() == 0
    ledger.settle("SIGKILL in three places of one run", 1, difference(tmp_path / "runs", whole))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in RUNS if name != "short"])
def test_kills_at_random_moments(name, children, tmp_path, ledger, seed):
    random = moments(seed, name)
    whole, seconds = uninterrupted(children, tmp_path, name)
    kills = number = 0
    while kills < 14:
        number += 1
        assert number < 30, "the runs end before they are killed"
        runs = tmp_path / f"runs-{number}"
        config = compose("train", [*options(name), f"runs={runs}"])
        before: dict[str, int] = {}
        since = kills
        for _ in range(5):
            child = children.start(train, config)
            if not child.kill_after(random.uniform(0, 0.8 * seconds)):
                assert child.wait() == 0
                seconds *= 0.7  # something slowed the machine down while the first run was measured
                break
            kills += 1
            check_whole(runs)
            now = updates(runs)
            assert all(now[run] >= update for run, update in before.items()), "a checkpoint was lost"
            before = now
        assert children.start(train, config).wait() == 0
        ledger.settle("SIGKILL at a random moment of a run", kills - since, difference(runs, whole))


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_kills_while_every_kind_of_file_is_written(point, children, tmp_path, ledger, seed):
    """Checkpoints, best weights, snapshots, history, record: the last files of a run are its history and record."""
    random = moments(seed, point)
    whole, _ = uninterrupted(children, tmp_path, "rnn")
    for number in range(3):
        runs = tmp_path / f"runs-{number}"
        config = compose("train", [*options("rnn"), f"runs={runs}"])
        kills = 0
        while children.start(dies_while_writing, config, point, random.randint(1, 40)).wait() == -9:
            kills += 1
            check_whole(runs)
            assert kills < 100
        ledger.settle(f"SIGKILL, a file is {point}", kills, difference(runs, whole))


@pytest.mark.slow
def test_kills_in_the_middle_of_a_sweep(children, tmp_path, ledger, seed):
    random = moments(seed, "sweep")
    sweep = ["-m", *SMALL, *OFTEN, "model=rnn", "training.epochs=8", "seed=0,1,2"]
    began = time.monotonic()
    assert children.start(command_line, [*sweep, f"runs={tmp_path / 'whole'}"]).wait() == 0
    seconds = time.monotonic() - began
    every = number = 0
    while every < 10:
        number += 1
        assert number < 10, "the sweeps end before they are killed"
        runs, kills = tmp_path / f"runs-{number}", 0
        recorded: dict[Path, bytes] = {}
        for _ in range(5):
            child = children.start(command_line, [*sweep, f"runs={runs}"])
            if not child.kill_after(random.uniform(0.1 * seconds, 0.7 * seconds)):
                assert child.wait() == 0
                break
            kills += 1
            check_whole(runs)
            assert all(path.read_bytes() == text for path, text in recorded.items()), "a finished run was touched"
            recorded = {path: path.read_bytes() for path in runs.glob("*/record.json")}
        assert children.start(command_line, [*sweep, f"runs={runs}"]).wait() == 0
        ledger.settle("SIGKILL at a random moment of a sweep", kills, difference(runs, tmp_path / "whole"))
        every += kills
