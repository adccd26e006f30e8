"""Table 1 in a fixed time."""

import os
import re
import runpy
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from conftest import ROOT

from stablernn.experiments import lease
from stablernn.records.record import RECORD_FILE, read_record
from stablernn.utils.errors import ConfigurationError, StableRNNError


@pytest.mark.slow
def test_of_a_table_that_is_killed_the_archive_holds_what_was_finished(tmp_path):
    out, runs = tmp_path / "out", tmp_path / "runs"
    archive = out / "records.tar.gz"
    options = ["--deadline", "900", "profile=smoke", "device=cpu", f"out={out}", f"runs={runs}"]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "gpu_lease.py"), "table", *options], start_new_session=True
    )

    def archived() -> list[str]:
        if not archive.is_file():
            return []
        with tarfile.open(archive) as tar:
            return [name for name in tar.getnames() if name.endswith(RECORD_FILE)]

    try:
        deadline = time.monotonic() + 900
        while not archived():
            assert process.poll() is None, "it ended before anything was archived"
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "home", filter="data")
    homes = sorted((tmp_path / "home").glob(f"*/{RECORD_FILE}"))
    assert homes
    for home in homes:
        assert read_record(home.parent).metrics == read_record(runs / home.parent.name).metrics
    late = [path for path in runs.glob(f"*/{RECORD_FILE}") if path.stat().st_mtime > archive.stat().st_mtime - 1]
    assert len(homes) + len(late) >= len(list(runs.glob(f"*/{RECORD_FILE}")))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tabel"], "tabel is no command"),
        (["table", "profil=smoke"], "profil=smoke is no option"),
        (["table", "--deadline", "abc"], "--deadline abc: give it a whole number"),
        (["table", "--deadline", "-5"], "--deadline -5: give it a whole number"),
        (["table", "--deadline"], "--deadline : give it a whole number"),
    ],
)
def test_a_lease_is_refused_before_it_costs_anything(arguments, said):
    read = runpy.run_path(str(ROOT / "scripts" / "gpu_lease.py"))["read"]
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        read(arguments)


def test_an_archive_of_an_earlier_lease_is_not_replaced_by_an_empty_one(tmp_path):
    (tmp_path / "records.tar.gz").write_bytes(b"of yesterday")
    assert lease.archive(lease.Options(out=tmp_path, runs=tmp_path / "runs", profile="smoke")) == 0
    assert (tmp_path / "records.tar.gz").read_bytes() == b"of yesterday"


@pytest.mark.parametrize(
    ("tests", "speed", "said"), [(0, True, ""), (1, True, "tests failed"), (1, False, "tests and speed failed")]
)
def test_a_check_says_by_its_exit_code_that_something_failed(tests, speed, said, monkeypatch, tmp_path):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=tests))
    monkeypatch.setattr(lease, "phase", lambda *_: speed)
    check = runpy.run_path(str(ROOT / "scripts" / "gpu_lease.py"))["check"]
    with pytest.raises(StableRNNError, match=f"check: {said}") if said else nullcontext():
        check(lease.Options(out=tmp_path, runs=tmp_path))
