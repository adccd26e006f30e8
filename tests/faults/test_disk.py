"""A disk that is full, and is freed."""

import os
import shutil
import subprocess

import pytest

from faults.children import Child, command_line, moments, on_a_small_disk, train, until
from faults.outcome import check_whole, difference
from faults.test_kills import options, uninterrupted
from stablernn.config.compose import compose

FULL = "cannot be written (No space left on device): free some space, and run the same command again"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=300k", "none", str(disk)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no small file system can be mounted here: run as root; test_a_file_that_may_not_grow needs none")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk, child: Child) -> None:
    """Take every block that is free until the child has ended: one that it gives up is taken as well."""
    with (disk / "ballast").open("ab", buffering=0) as ballast:
        while child.running():
            try:
                ballast.write(bytes(4096))
            except OSError:
                child.process.join(0.002)


@pytest.mark.slow
@pytest.mark.parametrize("entry", ["run", "sweep"])
def test_a_full_disk_costs_nothing_but_the_time_to_free_it(entry, small_disk, children, tmp_path, ledger, seed):
    random = moments(seed, f"disk {entry}")
    whole, seconds = uninterrupted(children, tmp_path, "rnn")
    every = number = 0
    while every < 6:
        number += 1
        assert number < 20, "the runs end before the disk is full"
        runs, full = small_disk / f"runs-{number}", 0
        command = [*options("rnn"), f"runs={runs}"]
        arguments = (train, compose("train", command)) if entry == "run" else (command_line, ["-m", *command])
        for _ in range(3):
            child = children.start(*arguments)
            until(lambda runs=runs: any(runs.glob("*/.lock")), child)
            child.process.join(random.uniform(0, seconds / 4))
            fill(small_disk, child)
            os.unlink(small_disk / "ballast")
            if child.wait() == 0:
                break
            assert child.wait() == 2
            assert FULL in child.printed()
            assert "Traceback" not in child.printed()
            full += 1
            check_whole(runs)
        assert children.start(*arguments).wait() == 0
        every += full
        ledger.settle(f"disk full in the middle of a {entry} (tmpfs), freed", full, difference(runs, whole))
        shutil.rmtree(runs)


def test_a_file_that_may_not_grow(children, tmp_path, ledger):
    """The limit on the size of a file: needs no rights, and stops a write in its middle as a full disk does."""
    config = compose("train", [*options("short"), f"runs={tmp_path / 'runs'}"])
    whole, _ = uninterrupted(children, tmp_path, "short")
    largest = max(path.stat().st_size for path in whole.glob("*/*.safetensors"))
    refused = children.start(on_a_small_disk, config, largest // 2)
    assert refused.wait() == 2
    assert "cannot be written (File too large): free some space" in refused.printed()
    check_whole(tmp_path / "runs")
    assert children.start(train, config).wait() == 0
    ledger.settle("a file may not grow (RLIMIT_FSIZE), then may", 1, difference(tmp_path / "runs", whole))
