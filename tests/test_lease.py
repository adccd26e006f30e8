"""Table 1 in a fixed time."""

import os
import signal
import subprocess
import sys
import tarfile
import time

import pytest
from conftest import ROOT

from stablernn.records.record import RECORD_FILE, read_record


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
