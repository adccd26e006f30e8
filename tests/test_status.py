"""The state of a sweep from its folder: every state told apart, nothing damaged ends the view, nothing runs off it."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT
from rich.console import Console
from test_report import record

from stablernn.config.compose import compose, literal
from stablernn.config.identity import identity, run_id
from stablernn.experiments.sweep import expand
from stablernn.monitoring import folder as folder_module
from stablernn.monitoring.folder import (
    DIVERGED,
    DONE,
    FAILED,
    RUNNING,
    STOPPED,
    TO_DO,
    Runs,
    RunState,
    is_alive,
    kind,
    time_left,
)
from stablernn.monitoring.status import status
from stablernn.monitoring.view import duration, view
from stablernn.training import loop
from stablernn.training.progress import PROGRESS_FILE, Progress
from stablernn.training.run import run
from stablernn.training.schedule import Counters
from stablernn.utils.console import Terminal
from stablernn.utils.errors import ConfigurationError, RecordError, StorageError
from stablernn.utils.files import write_json

LONG_AGO = 10_000.0


def name(number: int, stability: str = "stable", data: str = "embedded") -> str:
    return f"{data}-lstm-{stability}-recurrent-k5-s{number}-{number:08x}"


def finished(runs: Path, number: int, perplexity: float | None, **options) -> None:
    entry = replace(record(perplexity), id=name(number, **options))
    entry.write(runs / entry.id)


def under_way(runs: Path, number: int, age: float = 0.0, **changes) -> Path:
    """A run's folder with a progress file that was written some seconds ago."""
    values = {
        "fingerprint": "f",
        "total": 1000,
        "host": socket.gethostname(),
        "process": os.getpid(),
        "ended": None,
        "update": 250,
        "valid": 80.0,
        "best": 75.0,
        "tokens_per_second": 12345.0,
        "seconds": 10.0,
        "seconds_left": 30.0,
    }
    folder = runs / name(number)
    write_json(folder / PROGRESS_FILE, values | changes)
    grow_old(folder, age)
    return folder


def grow_old(folder: Path, age: float) -> None:
    for path in folder.iterdir():
        os.utime(path, (time.time() - age,) * 2)


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def look(runs: Path, planned=None) -> dict[str, RunState]:
    return {state.id: state for state in Runs(runs, planned, dead_after=300).states()}


def printed(states, width: int = 120) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(view(list(states), "runs"))
    return out.getvalue()


@pytest.fixture
def runs(tmp_path):
    """One run in each state, a damaged one of each kind, and what is no run."""
    runs = tmp_path / "runs"
    finished(runs, 0, 90.0)
    finished(runs, 1, None)
    under_way(runs, 2)
    under_way(runs, 3, age=LONG_AGO, process=dead_process())
    under_way(runs, 4, ended="dataset.path=/x: gone")
    (runs / name(5)).mkdir()
    (runs / name(5) / "record.json").write_text('{"schema": 1, "id": "half')
    (runs / name(6)).mkdir()
    (runs / name(6) / PROGRESS_FILE).write_text('{"total": 1')
    (runs / name(7)).mkdir()
    (runs / name(7) / "record.json").write_text('{"schema": 1}')
    entry = replace(record(90.0), id=name(8), metrics={"valid": 3}, progress={})
    entry.write(runs / entry.id)
    (runs / "wandb" / "offline-run-1" / "files").mkdir(parents=True)
    (runs / ".sweep").mkdir()
    return runs


PLANNED = {name(number): "kind" for number in (*range(9), 9)}


def test_every_state_is_told_apart(runs):
    found = look(runs, PLANNED)
    assert {state.id[-1]: state.state for state in found.values()} == {
        "0": DONE,
        "1": DIVERGED,
        "2": RUNNING,
        "3": STOPPED,
        "4": FAILED,
        "5": FAILED,
        "6": RUNNING,  # it was written just now, by whom nobody can read
        "7": FAILED,
        "8": FAILED,
        "9": TO_DO,
    }
    running = found[name(2)]
    assert (running.update, running.total, running.share) == (250, 1000, 0.25)
    assert (running.best, running.speed, running.left) == (75.0, 12345.0, 30.0)
    assert found[name(0)].best == 90.0
    assert found[name(3)].speed is None


def test_without_a_sweep_what_lies_there_is_shown_and_with_one_only_its_runs(runs):
    assert set(look(runs)) == set(PLANNED) - {name(9)}
    assert set(look(runs, {name(0): "", name(9): ""})) == {name(0), name(9)}


def test_what_is_damaged_is_named_and_hides_nothing(runs):
    found = look(runs)
    for number, file in ((5, "record.json"), (6, PROGRESS_FILE), (7, "record.json")):
        assert file in found[name(number)].note
    assert "dataset.path=/x: gone" in found[name(4)].note
    text = re.sub(r"\s+", "", printed(found.values()))
    assert all(f"{name(number)}:" in text for number in (4, 5, 6, 7))
    assert "…and1more" in text
    assert str(runs) not in found[name(5)].note


def test_records_are_read_in_the_folders_of_a_published_report(tmp_path):
    finished(tmp_path / "quick" / "perplexity", 0, 90.0)
    assert [state.state for state in look(tmp_path).values()] == [DONE]


def test_a_record_is_read_once_and_again_when_it_changes(tmp_path, monkeypatch):
    finished(tmp_path, 0, 90.0)
    seen, read = [], folder_module.read_run
    monkeypatch.setattr(folder_module, "read_run", lambda path: seen.append(path) or read(path))
    watched = Runs(tmp_path, None, 300)
    watched.states()
    watched.states()
    assert len(seen) == 1
    finished(tmp_path, 0, None)
    os.utime(tmp_path / name(0) / "record.json", (1, 1))
    assert [state.state for state in watched.states()] == [DIVERGED]


@pytest.mark.parametrize(
    ("age", "changes", "alive"),
    [
        (LONG_AGO, {}, True),  # a long evaluation writes nothing
        (LONG_AGO, {"process": "dead"}, False),
        (1, {"process": "dead"}, False),
        (100, {"host": "elsewhere", "process": "dead"}, True),
        (LONG_AGO, {"host": "elsewhere"}, False),
        (0, {"ended": "interrupted"}, False),
    ],
)
def test_a_process_here_is_looked_up_and_one_elsewhere_judged_by_its_files(age, changes, alive, tmp_path):
    if changes.get("process") == "dead":
        changes = changes | {"process": dead_process()}
    assert is_alive(under_way(tmp_path, 0, age, **changes), dead_after=300) is alive


def test_a_checkpoint_alone_is_judged_by_its_age(tmp_path):
    folder = tmp_path / name(0)
    folder.mkdir()
    (folder / "last.safetensors").write_bytes(b"")
    assert look(tmp_path)[name(0)].state == RUNNING
    grow_old(folder, LONG_AGO)
    assert look(tmp_path)[name(0)].state == STOPPED


def states(*pairs, **changes) -> list[RunState]:
    return [replace(RunState(name(n), state, kind="a"), **values) for n, (state, values) in enumerate(pairs)]


def test_the_time_left_is_that_of_like_runs_shared_by_as_many_as_run():
    done = (DONE, {"seconds": 100.0, "left": 0.0})
    other = (DONE, {"seconds": 900.0, "left": 0.0, "kind": "b"})
    going = (RUNNING, {"seconds": 40.0, "left": 60.0})
    to_do = (TO_DO, {})
    assert time_left(states(done, other, to_do, to_do)) == 200.0
    assert time_left(states(done, other, going, going, to_do)) == (60 + 60 + 100) / 2
    assert time_left(states(done, (TO_DO, {"kind": "c"}), other)) == 500.0  # of a kind that nobody knows: the mean
    assert time_left(states(going, (RUNNING, {"seconds": 1.0, "left": 999.0}))) == 999.0
    stopped = (STOPPED, {"seconds": 10.0, "left": 20.0})
    assert time_left(states(stopped, to_do)) == 20 + 30  # what it did before it stopped tells of the others
    assert time_left(states(to_do)) is None
    assert time_left(states((DIVERGED, {"seconds": 1.0, "left": 0.0}), to_do)) is None  # it ended before its time
    assert time_left(states(done, (FAILED, {}))) == 0.0


def test_runs_of_one_kind_differ_in_seed_and_stability_alone():
    base = compose("train", [])
    same = compose("train", ["seed=3", "stability=stable"])
    other = compose("train", ["truncation.k=7"])
    assert kind(identity(base)) == kind(identity(same)) != kind(identity(other))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_view_fits_the_terminal_counts_every_run_and_shows_first_what_asks_for_attention(width, runs):
    many = list(look(runs, PLANNED).values())
    many += [RunState(name(n, "lstm_gated_linear", "wikitext2"), TO_DO) for n in range(100, 140)]
    lines = printed(many, width).splitlines()
    assert all(len(line) <= width for line in lines)
    assert all(sum(run.id in line.split() for line in lines) == 1 for run in many), "no id is broken"
    text = " ".join(" ".join(lines).split())
    assert "50 runs: 1 done, 41 to do, 1 diverged, 1 stopped, 4 failed, 2 running" in text
    rows = [line for line in lines if re.search(r" (running|failed|stopped|diverged|to do|done) +", line + " ")]
    states = [re.search(r" (running|failed|stopped|diverged|to do|done) ", line + " ")[1] for line in rows[-50:]]
    assert states == ["running"] * 2 + ["failed"] * 4 + ["stopped", "diverged"] + ["to do"] * 41 + ["done"]
    assert "250/1,000" in text


def test_a_length_of_time_has_the_unit_that_suits_it():
    assert [duration(seconds) for seconds in (0, 89, 91, 5399, 5401)] == ["0 s", "89 s", "2 min", "90 min", "1.5 h"]


def options(*overrides: str):
    return compose("status", list(overrides))


def test_the_runs_of_a_sweep_that_have_no_folder_are_to_do(tmp_path, capsys):
    sweep = "experiment=perplexity_smoke model=rnn approximation=recurrent seed=0,1"
    config = expand(sweep.split())[0]
    entry = replace(record(90.0), id=run_id(config))
    entry.write(tmp_path / entry.id)
    status(options(literal(f"sweep={sweep}", ["sweep"]), f"runs={tmp_path}"))
    text = capsys.readouterr().out
    assert "4 runs: 1 done, 3 to do" in text
    assert "rnn-stable-recurrent-k5-s1" in "".join(text.split())


def test_an_empty_folder_says_what_to_do_and_a_wrong_option_what_it_takes(tmp_path):
    with pytest.raises(RecordError, match=r"no runs below .*train\.py -m"):
        status(options(f"runs={tmp_path}"))
    with pytest.raises(ConfigurationError, match="seconds=0"):
        status(options("seconds=0"))
    with pytest.raises(ConfigurationError, match="model=rnnn does not exist"):
        status(options(literal("sweep=model=rnnn", ["sweep"])))


def test_a_sweep_is_written_as_after_train_m():
    for sweep in ("experiment=x seed=0,1", "dataset.max_tokens={train: 1}", 'a="b c" d=\\', "[x]"):
        config = compose("status", [literal(f"sweep={sweep}", ["sweep"])])
        assert config.sweep == sweep
    assert literal("once=a,b", ["sweep"]) == "once=a,b"
    assert compose("status", [literal("sweep=null", ["sweep"])]).sweep is None


class Stop(Exception):
    pass


ENDS = [(Stop("full"), "full"), (KeyboardInterrupt(), "interrupted"), (None, None)]


@pytest.mark.parametrize(("error", "ended"), ENDS)
def test_a_run_tells_where_it_stands_until_it_has_a_record(error, ended, small, monkeypatch):
    config = small("training.max_updates=4", "training.evaluate_every=2", "truncation.k=3")
    path = Path(config.runs) / run_id(config) / PROGRESS_FILE
    monkeypatch.setattr("stablernn.training.progress._SECONDS_BETWEEN_WRITES", 0.0)
    step, seen = loop.Trainer.step, []

    def watched(self):
        if self.counters.update == 3:
            seen.append(json.loads(path.read_text()))
            if error:
                raise error
        return step(self)

    monkeypatch.setattr(loop.Trainer, "step", watched)
    if error:
        with pytest.raises(type(error)):
            run(config)
        assert json.loads(path.read_text())["ended"] == ended
        assert look(Path(config.runs))[run_id(config)].state == (FAILED if ended == "full" else STOPPED)
    else:
        result = run(config)
        assert not path.exists()
        assert seen[0]["fingerprint"] == result.data["fingerprint"]
    assert {key: seen[0][key] for key in ("update", "total", "process", "ended")} == {
        "update": 3,
        "total": 4,
        "process": os.getpid(),
        "ended": None,
    }
    assert seen[0]["valid"] == seen[0]["best"] > 1


def test_a_full_disk_does_not_end_a_run_over_its_progress_file(small, monkeypatch):
    def full(*_):
        raise StorageError("no space left")

    monkeypatch.setattr("stablernn.training.progress.write_json", full)
    assert run(small("training.max_updates=2", "truncation.k=3")).status == "finished"


@pytest.mark.slow
def test_the_live_view_shows_a_run_that_starts_later_and_ends_on_ctrl_c(tmp_path):
    pty = pytest.importorskip("pty", reason="needs a POSIX terminal")
    under_way(tmp_path, 0)
    terminal, other = pty.openpty()
    command = [sys.executable, str(ROOT / "scripts" / "status.py"), f"runs={tmp_path}", "seconds=0.3"]
    process = subprocess.Popen(command, stdin=other, stdout=other, stderr=other, start_new_session=True)
    os.close(other)
    try:
        read_until(terminal, "lstm-stable-recurrent-k5-s0", process)
        under_way(tmp_path, 1)
        read_until(terminal, "lstm-stable-recurrent-k5-s1", process)
        process.send_signal(signal.SIGINT)
        read_until(terminal, "2 running", process)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def read_until(terminal: int, text: str, process: subprocess.Popen, seconds: float = 60) -> str:
    """What a terminal shows until it shows ``text``."""
    import select

    seen, deadline = "", time.monotonic() + seconds
    while text not in seen:
        assert time.monotonic() < deadline, seen
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                seen += os.read(terminal, 65536).decode(errors="replace")
            except OSError:
                raise AssertionError(f"it ended without showing {text!r}: {seen}") from None
    return seen


def test_an_interrupted_run_stands_where_its_last_update_left_it(tmp_path):
    counters = Counters(seconds=0.3, training_seconds=0.2)
    progress = Progress(tmp_path, "abc", 40)
    for counters.update in range(1, 30):
        progress.update(counters)
    progress.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)  # as a with statement does
    values = json.loads((tmp_path / PROGRESS_FILE).read_text())
    assert (values["update"], values["total"], values["ended"]) == (29, 40, "interrupted")


@pytest.mark.parametrize("name", ["a[/b]z", "ünï [x]", "[bold]y[/bold]"])
def test_a_name_with_brackets_is_printed_as_it_is(name):
    out = io.StringIO()
    Terminal(file=out, width=200).print(f"the page: {name}")
    assert out.getvalue() == f"the page: {name}\n"
