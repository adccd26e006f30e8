"""Several runs at once, and runs that a scheduler ends and starts again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, SMALL
from omegaconf import OmegaConf
from test_training import comparable, folder

from stablernn.config.compose import compose
from stablernn.config.identity import run_id
from stablernn.experiments import sweep
from stablernn.experiments.sweep import share_machine
from stablernn.records.record import read_record
from stablernn.training import checkpoint, loop
from stablernn.training.run import run


@pytest.mark.parametrize(
    ("launcher", "chosen", "threads"),
    [
        ({}, None, None),  # one run after another: PyTorch's own choice
        ({"n_jobs": 1}, None, 8),
        ({"n_jobs": 2}, None, 4),
        ({"n_jobs": 3}, None, 2),
        ({"n_jobs": 20}, None, 1),
        ({"n_jobs": -1}, None, 1),
        ({"n_jobs": -7}, None, 4),
        ({"n_jobs": 2}, 3, 3),
        ({"cpus_per_task": 5}, None, 5),
        ({"cpus_per_task": None}, None, None),
    ],
)
def test_runs_side_by_side_divide_the_cores_unless_threads_are_chosen(launcher, chosen, threads, monkeypatch):
    monkeypatch.setattr(sweep, "cores", lambda: 8)
    config = OmegaConf.create({"threads": chosen, "progress": True, "device": "cpu"})
    share_machine(config, OmegaConf.create(launcher))
    assert config.threads == threads
    assert config.progress == (threads is None), "bars of several processes would write over each other"


def test_runs_side_by_side_on_one_gpu_divide_its_memory(monkeypatch):
    shares = []
    monkeypatch.setattr(sweep.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(sweep.torch.cuda, "set_per_process_memory_fraction", shares.append)
    for jobs, device in ((4, "auto"), (1, "auto"), (4, "cpu")):
        config = OmegaConf.create({"threads": None, "progress": True, "device": device})
        share_machine(config, OmegaConf.create({"n_jobs": jobs}))
    assert shares == [0.25]


def test_jobs_on_slurm_go_back_to_the_queue_when_their_time_is_over():
    launcher = compose("train", ["hydra/launcher=slurm"], with_hydra=True).hydra.launcher
    assert launcher._target_.endswith("SlurmLauncher")
    assert launcher.max_num_timeout > 0
    assert launcher.additional_parameters.requeue
    assert 0 < launcher.signal_delay_s < 60 * launcher.timeout_min


@pytest.mark.parametrize("ends", [True, False], ids=["ends the process", "returns"])
def test_a_schedulers_signal_does_what_it_does_when_the_checkpoint_is_written(ends, small, monkeypatch):
    config = small("training.epochs=3")
    whole = run(small("training.epochs=3", f"runs={config.runs}-whole"))
    last = folder(config) / checkpoint.LAST
    seen = []

    def scheduler(number, frame):
        seen.append(checkpoint.load(last)[1]["counters"]["update"])
        if ends:
            raise SystemExit(144)

    def signalled(self, step=loop.Trainer.step):
        if self.counters.update == 3 and not seen:
            os.kill(os.getpid(), signal.SIGUSR2)
        return step(self)

    monkeypatch.setattr(loop.Trainer, "step", signalled)
    before = signal.signal(signal.SIGUSR2, scheduler)
    try:
        if ends:
            with pytest.raises(SystemExit, match="144"):
                run(config)
        record = run(config)
        assert signal.getsignal(signal.SIGUSR2) is scheduler
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert seen == [4]
    assert comparable(record) == comparable(whole)


def test_a_second_signal_does_not_wait_for_the_checkpoint(small, monkeypatch):
    def impatient(self):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("went on")

    monkeypatch.setattr(loop.Trainer, "step", impatient)
    with pytest.raises(KeyboardInterrupt):
        run(small())


@pytest.mark.slow
def test_a_job_of_submitit_is_sent_away_comes_back_and_ends_as_if_nothing_had_been(small, tmp_path):
    options = ["training.epochs=40", "training.early_stop=100", "training.checkpoint_seconds=0", "model.dropout=0.2"]
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), "-m", *SMALL, *options, "runs=runs"]
    launcher = ["hydra/launcher=submitit_local", "hydra.launcher.cpus_per_task=1"]
    process = subprocess.Popen([*command, *launcher], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    config = compose("train", [*SMALL, *options, f"runs={tmp_path / 'runs'}"])
    deadline = time.monotonic() + 120
    while not (folder(config) / checkpoint.LAST).exists():
        assert process.poll() is None, "the run was over before it could be sent away"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (job,) = [pid for pid in _descendants(process.pid) if b"submitit.core._submit" in _command(pid)]
    os.kill(job, signal.SIGUSR2)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    log = "".join(path.read_text() for path in tmp_path.glob("runs/.sweep/.submitit/*/*_log.out"))
    assert log.count("Requeued job") == 1
    whole = run(small(*options))
    assert comparable(read_record(tmp_path / "runs" / run_id(config))) == comparable(whole)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib", "packed", "submitit_local"])
def test_a_run_that_fails_is_told_and_the_others_end_whatever_launches_them(launcher, tmp_path):
    options = ["-m", *SMALL, "training.max_updates=2", "truncation.k=0,3,4", "runs=runs", f"hydra/launcher={launcher}"]
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), *options]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert answer.returncode == 2, answer.stderr
    assert "some runs of the sweep failed" in answer.stderr
    assert "Traceback" not in answer.stderr
    logs = "".join(path.read_text() for path in tmp_path.glob("runs/.sweep/.submitit/*/*_log.err"))
    assert "truncation.k=0 must be a whole number >= 1" in answer.stderr + logs
    assert len(list(tmp_path.glob("runs/*/record.json"))) == 2


def _descendants(pid: int) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [found for child in children for found in (child, *_descendants(child))]


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
