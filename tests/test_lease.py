"""Table 1 in a fixed time."""

import copy
import os
import re
import runpy
import signal
import subprocess
import sys
import tarfile
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT

from stablernn.benchmarks import lease_speed
from stablernn.benchmarks.lease_speed import PlainRun
from stablernn.config.instantiate import make
from stablernn.experiments import lease
from stablernn.models.precision import use_tf32
from stablernn.records.record import RECORD_FILE, read_record
from stablernn.records.schemas import bench_check
from stablernn.report.sections.lease import write_lease
from stablernn.tasks.windows import Windows
from stablernn.utils.errors import ConfigurationError, StableRNNError
from stablernn.utils.files import read_json, write_json

H200 = ROOT / "results" / "bench" / "lease-nvidia-h200.json"


@pytest.fixture(scope="module")
def plans() -> dict:
    """Options and runs of both profiles: composing them takes seconds."""
    options = {profile: lease.Options(Path(), Path("runs"), profile, "cpu") for profile in lease.EXPERIMENTS}
    return {profile: (each, lease.configurations(each)) for profile, each in options.items()}


@pytest.mark.parametrize("profile", lease.EXPERIMENTS)
def test_the_longest_runs_come_first_and_of_equal_ones_the_first_seeds(profile, plans):
    options, configs = plans[profile]
    ranks = [(-config.training.epochs, config.seed) for config in configs]
    assert ranks == sorted(ranks)
    cells = {(config.model.name, config.stability.name) for config in configs}
    began = {(c.model.name, c.stability.name) for c in configs[: options.at_once] if c.seed == 0}
    assert began == cells, "what a deadline cuts off is of another seed"


@pytest.mark.parametrize("seconds", [1e9, 0.4, 0.3, 0.0])
def test_epochs_are_cut_to_fit_the_time_and_the_annealed_ones_stay(seconds, plans):
    rates = read_json(H200)["updates_per_second"]
    planned = plans["smoke"][1]
    configs = copy.deepcopy(planned)
    share = lease.choose_epochs(configs, rates, seconds)
    windows = len(Windows(make(planned[0].dataset).load().splits["train"], 20, 35))
    needed = 0.0
    for config, plan in zip(configs, planned, strict=True):
        kind = f"{config.model.name} {config.stability.name}"
        needed += config.training.epochs * windows / rates.get(kind, rates[f"{config.model.name} unstable"])
        before, after = plan.training, config.training
        assert after.epochs - after.anneal_from == before.epochs - before.anneal_from
        assert 1 <= after.anneal_from <= before.anneal_from
    assert needed <= seconds or share <= 0.05
    assert (share == 1) == (seconds == 1e9)


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
        (["table", "at_once=all"], "at_once=all: give it a whole number"),
        (["table", "deadline=100"], "deadline=100 is no option: choose of --deadline S, out=,"),
        (["table", "out="], "out= is no option"),
        (["table", "until=5"], "until=5 is no option"),
    ],
)
def test_a_lease_is_refused_before_it_costs_anything(arguments, said):
    read = runpy.run_path(str(ROOT / "scripts" / "gpu_lease.py"))["read"]
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        read(arguments)


@pytest.mark.parametrize("option", ["out", "runs"])
def test_a_folder_that_cannot_be_is_named_before_anything_is_measured(option, tmp_path):
    (tmp_path / "file").write_text("")
    folders = {"out": tmp_path / "out", "runs": tmp_path / "runs"} | {option: tmp_path / "file"}
    with pytest.raises(StableRNNError, match=rf"{option}=.*file: no folder can be there \(File exists\): name another"):
        lease.Options(**folders)


def test_a_speed_of_another_device_or_profile_is_none(tmp_path):
    options = lease.Options(tmp_path, tmp_path / "runs", "smoke", "cpu")
    for device, profile in (("NVIDIA H200", "smoke"), ("cpu", "lease")):
        speed = {"device": device, "profile": profile, "updates_per_second": {"rnn unstable": 5.0}}
        write_json(tmp_path / "speed.json", speed)
        assert lease.read_speed(options) == {}
    lease.write_speed(options, "updates_per_second", {"lstm unstable": 3.0})
    for section in ("plain", "plain_tf32"):
        lease.write_speed(options, section, {"lstm": 2.0})
    expected = {"updates_per_second": {"lstm unstable": 3.0}, "plain": {"lstm": 2.0}, "plain_tf32": {"lstm": 2.0}}
    assert lease.read_speed(options) == {"device": "cpu", "profile": "smoke"} | expected, "nothing of the other is left"
    with pytest.raises(StableRNNError, match=r"speed\.json has no speed of rnn unstable: delete it"):
        lease.choose_epochs(lease.configurations(options), {"lstm unstable": 3.0}, 10.0)


def test_a_damaged_speed_is_named_with_what_to_do(tmp_path):
    (tmp_path / "speed.json").write_text("{}")
    with pytest.raises(StableRNNError, match=r"speed\.json is damaged.*: delete it, and all are measured again"):
        lease.read_speed(lease.Options(tmp_path, tmp_path / "runs", "smoke", "cpu"))


def test_an_archive_of_an_earlier_lease_is_not_replaced_by_an_empty_one(tmp_path):
    (tmp_path / "records.tar.gz").write_bytes(b"of yesterday")
    assert lease.archive(lease.Options(out=tmp_path, runs=tmp_path / "runs", profile="smoke")) == 0
    assert (tmp_path / "records.tar.gz").read_bytes() == b"of yesterday"


@pytest.mark.parametrize(
    ("tests", "speeds", "said"),
    [(0, [], ""), (1, [], "tests: failed"), (1, ["speed", "plain loop"], "tests, speed, plain loop: failed")],
)
def test_a_check_says_by_its_exit_code_that_something_failed(tests, speeds, said, monkeypatch, tmp_path):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=tests))
    monkeypatch.setattr(lease_speed, "measure", lambda _: speeds)
    check = runpy.run_path(str(ROOT / "scripts" / "gpu_lease.py"))["check"]
    with pytest.raises(StableRNNError, match=f"check: {said}") if said else nullcontext():
        check(lease.Options(out=tmp_path, runs=tmp_path))


def test_so_many_runs_at_once_as_asked_for_train_to_one_deadline(plans, monkeypatch, tmp_path):
    options = lease.Options(tmp_path, tmp_path / "runs", "smoke", "cpu", deadline=time.time() + 500, at_once=3)
    trained = []
    monkeypatch.setattr(lease, "configurations", lambda _: copy.deepcopy(plans["smoke"][1]))
    monkeypatch.setattr(lease, "run_all", lambda configs, at_once: trained.append((configs, at_once)))
    lease.write_speed(options, "updates_per_second", read_json(H200)["updates_per_second"])
    lease.train(options)
    ((configs, at_once),) = trained
    assert at_once == 3
    assert len(configs) == len(plans["smoke"][1])
    assert len({config.training.deadline for config in configs}) == 1
    assert time.time() < configs[0].training.deadline < options.deadline, "there is time left for the scores"


def test_each_number_of_runs_and_the_plain_loop_are_measured_and_shown(plans, monkeypatch, tmp_path):
    monkeypatch.setattr(lease_speed, "configurations", lambda _: plans["smoke"][1])
    monkeypatch.setattr(lease_speed, "updates_per_second", lambda makers, *_: 10.0 * len(makers))
    options = lease.Options(tmp_path, tmp_path, "smoke", "cpu")
    lease.write_speed(options, "updates_per_second", read_json(H200)["updates_per_second"])
    lease_speed.measure_at_once(options)
    for tf32 in (False, True):
        lease_speed.measure_plain(options, tf32)
    measured = read_json(tmp_path / lease.SPEED_FILE, bench_check("lease"))
    assert measured["at_once"] == {model: {"1": 10.0, "2": 20.0} for model in ("lstm", "rnn")}
    assert measured["plain"] == measured["plain_tf32"] == {"lstm": 10.0, "rnn": 10.0}
    (table,) = write_lease(tmp_path / lease.SPEED_FILE)
    assert "| LSTM | 2 | 20 | 2.00 | 2.00 | 2.00 |" in table.read_text(encoding="utf-8")
    assert write_lease(tmp_path / "no.json") == []


def test_a_failed_measurement_costs_itself_alone_and_none_gets_more_than_its_time(monkeypatch, tmp_path):
    asked = []

    def phase(work, limit, *arguments):
        asked.append((work.__name__, limit, arguments[1:]))
        return work is not lease_speed.measure_at_once

    monkeypatch.setattr(lease_speed, "phase", phase)
    monkeypatch.setattr(lease_speed, "pick_device", lambda _: torch.device("cuda"))
    assert lease_speed.measure(lease.Options(tmp_path, tmp_path)) == ["runs at once"]
    names = ["measure_speed", "measure_at_once", "measure_plain", "measure_plain"]
    assert [name for name, *_ in asked] == names
    assert [arguments for *_, arguments in asked] == [(), (), (False,), (True,)]
    assert all(limit <= 60 for _, limit, _ in asked)


@pytest.mark.parametrize("tf32", [False, True])
def test_a_plain_run_has_the_batches_of_its_run_a_tied_decoder_and_tf32_if_asked_for(tf32, small):
    config = small("model=lstm", "model.tied=true", "model.dropout=0.3", "device=cpu")
    corpus = make(config.dataset).load()
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        run = PlainRun(config, corpus, tf32)
        assert torch.backends.cuda.matmul.allow_tf32 == tf32
    finally:
        use_tf32(*before)
    assert run.model.decoder.weight is run.model.embedding.weight
    weights = run.model.decoder.weight.detach().clone()
    for _ in range(len(run.batches) + 1):
        run.step()
    assert not torch.equal(weights, run.model.decoder.weight)


def test_the_committed_speeds_can_be_read():
    for path in H200.parent.glob("lease-*.json"):
        read_json(path, bench_check("lease"))
