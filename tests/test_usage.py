"""What a user meets: paths, mistakes on the command line, sweeps, pauses, too little memory."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT, SMALL
from faults.children import script
from omegaconf import DictConfig

from stablernn.commands.start import COMMANDS, as_overrides, start
from stablernn.config.compose import compose
from stablernn.config.instantiate import make
from stablernn.experiments.reproduce import reproduce, studies_of
from stablernn.models.cells.rnn import RNNCell
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_language_model
from stablernn.stability.constraints.base import Constraint, project
from stablernn.tasks.sequences import Sequences
from stablernn.training.run import run
from stablernn.utils.errors import ConfigurationError, too_little_memory
from stablernn.utils.files import parse_json
from stablernn.utils.wording import counted

TINY = [*SMALL, "model=rnn", "training.max_updates=2"]


def one_line(done: subprocess.CompletedProcess) -> str:
    """The error of a command that was refused: one line and nothing else."""
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize(
    ("given", "found"), [("runs=~/x", "home/x"), ('runs="~/y"', "home/y"), ("runs=a ${A},[b]", "a ${A},[b]")]
)
def test_a_path_of_the_command_line_is_expanded_and_else_taken_literally(given, found, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    done = script("train", *TINY, given, cwd=tmp_path, HOME=str(home))
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / found).glob("*/record.json"))) == 1
    assert not (tmp_path / "~").exists()


def test_a_path_of_the_environment_is_expanded_and_else_taken_literally(tmp_path):
    folder = tmp_path / "d ${A}" / "ptb"
    folder.mkdir(parents=True)
    for split in ("train", "valid", "test"):
        (folder / f"ptb.{split}.txt").write_text("the cat sat on the mat \n" * 40)
    options = ["dataset=ptb", "profile=smoke", "tracking=none", "runs=runs"]
    where = {"HOME": str(tmp_path), "STABLERNN_DATA": "~/d ${A}", "STABLERNN_CACHE": "~/cache"}
    found = one_line(script("train", *options, cwd=tmp_path, **where))
    assert "no such data" not in found
    assert "929,589" in found  # it was read, and is not the published text
    missed = one_line(script("train", *options, cwd=tmp_path, STABLERNN_DATA="/nowhere/${A}"))
    assert "no such data in /nowhere/${A}" in missed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["modle=rnn"], "modle is not an option; did you mean model?"),
        (["optimizr=adam"], "optimizr is not an option; did you mean optimizer?"),
        (["--mutlirun"], "--mutlirun is not a flag; did you mean --multirun?"),
        (["--model=rnn"], "--model is not a flag; did you mean model=...?"),
        (["dataset.max_tokens.valid=0"], "dataset.max_tokens.valid=0 must be a whole number >= 1"),
        pytest.param(
            ["dataset.max_tokens.train=-4"],
            "dataset.max_tokens.train=-4 must be a whole number >= 1",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["dataset.max_tokens.test=null"],
            "dataset.max_tokens.test=None must be a whole number >= 1",
            marks=pytest.mark.slow,
        ),
        (["dataset.types=-3"], "dataset.types=-3 must be a whole number >= 2"),
        pytest.param(["dataset.topics=0"], "dataset.topics=0 must be a whole number >= 1", marks=pytest.mark.slow),
        pytest.param(["dataset.syntax=1"], "dataset.syntax=1 must be a whole number >= 2", marks=pytest.mark.slow),
        pytest.param(["dataset.seed=-1"], "dataset.seed=-1 must be a whole number >= 0", marks=pytest.mark.slow),
        pytest.param(
            ["dataset.concentration=-1"], "dataset.concentration=-1 must be a number >= 0", marks=pytest.mark.slow
        ),
        (["runs=" + "a/" * 3000], "has 6,059 characters, more than the system allows in a path: choose a shorter one"),
        (["runs=" + "b" * 300], "more than the system allows in a path: choose a shorter one"),
        (["model.hidden_size=1000000000"], " GiB for weights and gradients, and this machine has "),
        (["model.hidden_size=1000000000000"], " GiB for weights and gradients, and this machine has "),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_mistake_is_one_line_that_names_the_option_and_the_remedy(arguments, said, tmp_path):
    assert said in one_line(script("train", *TINY, *arguments, cwd=tmp_path))


def test_flags_may_stand_behind_the_overrides_and_a_sweep_ends_with_a_summary(tmp_path):
    done = script("train", TINY[0], "-m", *TINY[1:], "truncation.k=0,5", cwd=tmp_path)
    assert done.returncode == 2
    assert "truncation.k=0 must be a whole number >= 1" in done.stderr
    assert "Error executing job" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert re.search(r"2 runs in runs: 1 failed, 1 finished\. Tables .* records=runs", done.stderr)
    again = script("train", *TINY, "truncation.k=5,6", "--multirun", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "2 runs in runs: 2 finished." in again.stderr


def test_a_run_that_diverged_is_a_result_and_says_what_to_do(tmp_path):
    options = [*TINY, "optimizer.lr=1e30", "training.clip=1e30", "training.max_updates=5"]
    for told in (": diverged", ": diverged before, skipped"):
        done = script("train", *options, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        last = done.stderr.splitlines()[-1]
        assert told in last
        assert "recorded as a result. Try a lower learning rate, optimizer.lr=2.5e+29 (it was 1e+30)" in last
    assert "Exit code: 0 with a record of every run, also of one that diverged" in script(
        "train", "--help", cwd=tmp_path
    ).stdout.replace("\n      ", " ")


@pytest.mark.parametrize(
    ("approximation", "k", "said"),
    [
        ("recurrent", 1000000000, "truncation.k=1000000000 is more than the 150 words of a stream of train"),
        ("recurrent", 150, ""),
        ("feedforward", 701, "truncation.k=701 is more than the 700 words of test: the same as k = 700"),
        ("feedforward", 700, ""),
    ],
)
def test_a_k_beyond_the_text_is_told(approximation, k, said, small, monkeypatch, caplog):
    from stablernn.training import run as module

    monkeypatch.setattr(logging.getLogger("stablernn"), "propagate", True)
    config = small("model=rnn", f"approximation={approximation}", f"truncation.k={k}")
    module._check_context("a", config, make(config.dataset).load())
    assert (said in caplog.text) if said else not caplog.text


def test_a_text_of_ones_own_under_a_published_name_is_told_to_take_another_name(tmp_path):
    options = ["dataset=text_folder", "dataset.name=wikitext2", f"dataset.path={tmp_path}", *TINY[:3]]
    said = one_line(script("train", *options, cwd=tmp_path))
    assert "choose another dataset.name, as in dataset=text_folder dataset.name=mine" in said


class LoggedRun:
    """Stands for a run of W&B: keeps the rows that it is given."""

    def __init__(self) -> None:
        self.rows, self.summary = [], {}

    def log(self, values, step=None):
        self.rows.append((step, values["update"]))

    def define_metric(self, *_, **__):
        pass

    def finish(self, exit_code):
        pass


def test_a_resumed_run_says_where_it_goes_on_and_its_curves_do_not_begin_again(small, monkeypatch, caplog):
    """Each part is a log of its own; rows counted from 0 again would take the places of those before the pause."""
    segments: list[LoggedRun] = []
    wandb = SimpleNamespace(init=lambda **_: segments.append(LoggedRun()) or segments[-1], Settings=dict)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setattr(logging.getLogger("stablernn"), "propagate", True)
    caplog.set_level(logging.INFO)
    options = ["model=rnn", "tracking=offline", "training.log_every=1"]
    run(small(*options, "training.pause_after=1"))
    assert "resumed at" not in caplog.text
    run(small(*options))
    update = int(re.search(r"resumed at update (\d+) of \d+", caplog.text)[1])
    before, after = ([step for step, _ in segment.rows] for segment in segments)
    assert all(step == count for segment in segments for step, count in segment.rows)
    assert before
    assert after
    assert max(before) <= update < min(after)


def test_a_home_that_cannot_be_written_to_is_no_reason_to_say_anything(tmp_path):
    options = [option for option in TINY if option != "tracking=none"] + ["tracking=offline"]
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), *options]  # what is imported may look for it
    environment = os.environ | {"HOME": "/proc/none"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert ": finished, " in line


class Halving(Constraint):
    """Written as a user would: in place, without a word about gradients."""

    def project(self, cell, inputs):
        cell.weight_hh.mul_(0.5)


def test_a_constraint_may_write_in_place():
    model = build_language_model(11, RNNCell, Recurrent, 4, 4)
    (cell,) = model.cells
    before = cell.weight_hh.detach().clone()
    project(Halving(), model)
    assert torch.equal(cell.weight_hh, before / 2)
    assert cell.weight_hh.requires_grad


@pytest.mark.parametrize(
    ("error", "amount"),
    [
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 2147483648 bytes."),
            "2.0 GiB",
        ),
        (MemoryError("Unable to allocate 7.45 GiB for an array with shape (1000000000,)"), "7.45 GiB"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."), "20.00 GiB"),
    ],
)
def test_exhausted_memory_is_one_line_with_a_remedy(error, amount):
    said = too_little_memory(error)
    assert amount in said
    assert "choose a smaller model.hidden_size" in said
    assert "\n" not in said


def test_another_error_is_not_taken_for_exhausted_memory():
    assert too_little_memory(RuntimeError("a bug")) is None


def test_a_plan_of_more_than_a_day_asks_first_and_says_what_it_does_meanwhile(tmp_path, monkeypatch, capfd):
    from stablernn.experiments import reproduce as module

    options = compose("reproduce/plan", [f"runs={tmp_path / 'runs'}", "study=linear_systems", "profile=smoke"])
    began = []
    monkeypatch.setattr(module, "print_plan", lambda *_: 3 * module.DAY)
    monkeypatch.setattr(module.Study, "run", lambda study: began.append(study.name) or [])
    monkeypatch.setattr(module.Study, "print", lambda study: None)
    monkeypatch.setattr(module, "write_report", lambda *_: [tmp_path / "index.html"])
    monkeypatch.setattr(module.sys, "stdin", None)
    with pytest.raises(ConfigurationError, match=r"this plan takes about 3\.0 days .* add confirm=true"):
        module.reproduce(options)
    assert "Planning: composing the runs" in capfd.readouterr().err
    monkeypatch.setattr(module.sys, "stdin", SimpleNamespace(isatty=lambda: True))
    for answer, starts in (("", False), ("n", False), ("y", True)):
        monkeypatch.setattr(module.console, "input", lambda *_, answer=answer, **__: answer)
        if starts:
            module.reproduce(options)
        else:
            with pytest.raises(ConfigurationError, match="not started"):
                module.reproduce(options)
    options.confirm = True
    monkeypatch.setattr(module.sys, "stdin", None)
    module.reproduce(options)
    assert began == ["linear_systems"] * 2


def test_what_takes_minutes_says_so_once_without_a_terminal(monkeypatch, caplog):
    from stablernn.utils import console

    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(logging.getLogger("stablernn"), "propagate", True)
    caplog.set_level(logging.INFO)
    long, short = console.open_bar("long", 100), console.open_bar("short", 100)
    for second in (1, 10, 20):
        now[0] = float(second)
        long.update(second // 10)
        short.update(5 * second)
    said = {id(entry): entry.getMessage() for entry in caplog.records}  # once, whatever number of handlers hear it
    assert [message for message in said.values() if "left" in message] == ["long: about 16.5 min left"]


@pytest.mark.parametrize(
    ("name", "arguments", "ended", "place"),
    [
        ("report", ["port=1,2", "records=none", "results=out", "readme=null"], "2 failed", "out"),
        ("analyze", ["runs=runs", "run='*',none", "progress=false"], "1 done, 1 failed", "runs"),
        pytest.param("convert", ["runs=runs", "run=a,b"], "2 failed", "runs", marks=pytest.mark.slow),
        pytest.param("bench", ["parts=[],[nothing]"], "1 done, 1 failed", "runs/report", marks=pytest.mark.slow),
    ],
)
def test_every_sweep_ends_with_a_summary_and_says_by_its_exit_code_that_a_job_failed(
    name, arguments, ended, place, small, tmp_path
):
    if name == "analyze":
        run(small(*TINY))
    done = script(name, "-m", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert f"2 jobs of {name}: {ended}. Written to: {place}\n" in done.stderr
    assert "Error executing job" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def plan_of(tmp_path: Path, *options: str) -> DictConfig:
    folder = tmp_path / "my text"
    folder.mkdir()
    for split in ("train", "valid", "test"):
        (folder / f"{split}.txt").write_text("the cat sat on the mat\n" * 200)
    own = f"overrides=\"dataset.path='{folder}' dataset.name=mine tracking=none\""
    return compose("reproduce/plan", [f"runs={tmp_path / 'runs'}", "dataset=text_folder", own, *options])


@pytest.mark.slow
def test_the_plan_of_a_text_of_ones_own_is_what_it_has_of_text_under_the_users_name(tmp_path):
    options = plan_of(tmp_path)
    for study, profile in (("perplexity", "quick"), ("table1", "smoke")):
        options.study = study
        (found,) = studies_of(options, profile)
        assert found.parts
        for part in found.parts:
            assert part.data == "mine"
            assert {config.dataset.path for config in part.configs} == {str(tmp_path / "my text")}
            assert {config.tracking._target_ for config in part.configs} == {"stablernn.training.tracking.NoTracking"}


def test_a_plan_can_be_seen_without_being_started(tmp_path, capfd):
    reproduce(plan_of(tmp_path, "profile=smoke", "study=weight_distance", "plan_only=true"))
    said = capfd.readouterr().err
    assert re.search(r"\d+ runs to do, about .* \(measured on this machine\)", said)
    assert "mine: real text, read from" in said
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("given", [[], ['overrides="dataset.path=somewhere"'], ['overrides="dataset.name=mine"']])
def test_a_plan_on_a_text_of_ones_own_names_what_is_missing(given, tmp_path):
    options = compose("reproduce/plan", [f"runs={tmp_path}", "dataset=text_folder", "study=weight_distance", *given])
    with pytest.raises(ConfigurationError, match=r"dataset\.(name|path) is not set"):
        studies_of(options, "smoke")


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "it is empty"), ('{"a": 1', "it ends too early"), ('{"a": 1}\n{', "line 2 is no JSON")],
)
def test_a_file_that_is_no_json_is_described_without_the_words_of_the_parser(text, said):
    with pytest.raises(ValueError, match=f"^{said}$"):
        parse_json(text)


def test_the_help_of_train_lists_the_groups_that_a_run_is_made_of_alone(tmp_path):
    printed = script("train", "--help", cwd=tmp_path).stdout
    listed = printed.partition("Groups, ")[2].partition("Options at")[0]
    assert re.search(r"^ +model +(.*, )?gated_conv, gru, (.*, )?lstm, .*, wavenet$", listed, flags=re.MULTILINE)
    assert not {"analysis", "grid", "reproduce", "experiment/best"} & set(listed.split())


AFTER_AN_INTERRUPTION = {
    "train": "the same command resumes",
    "reproduce": "the same command resumes",
    "analyze": "what was finished is stored, and the same command (without fresh=true) computes the rest",
    "bench": "what was finished is stored, and the same command (without fresh=true) computes the rest",
    "linear_systems": "what was finished is stored, and the same command (without fresh=true) computes the rest",
    "wandb_sync": "the same command sends the runs that are left",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_said_after_an_interruption_is_what_the_command_does(name, monkeypatch, capfd):
    def interrupted(options):
        raise KeyboardInterrupt

    module, _, function = COMMANDS[name].task.partition(":")
    monkeypatch.setattr(f"{module}.{function}", interrupted)
    monkeypatch.setattr(sys, "argv", [name])
    with pytest.raises(SystemExit) as ended:
        start(name)
    assert ended.value.code == 130
    wanted = AFTER_AN_INTERRUPTION.get(name, "the same command begins again")
    assert capfd.readouterr().err == f"interrupted; {wanted}\n"


def test_an_interruption_while_the_command_loads_is_a_line_too(monkeypatch, capfd):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr("stablernn.commands.start.import_module", interrupted)
    monkeypatch.setattr(sys, "argv", ["report"])
    with pytest.raises(SystemExit) as ended:
        start("report")
    assert ended.value.code == 130
    assert capfd.readouterr().err == "interrupted; the same command begins again\n"


def test_flags_with_a_value_are_not_taken_for_a_run():
    given = ["--config-dir", "groups", "mine", "-c", "job", "allow=mine"]
    assert as_overrides(given, "run", {}) == ["--config-dir", "groups", "run=mine", "-c", "job", "allow=mine"]


@pytest.mark.parametrize("name", ["adding", "copy_memory", "embedded"])
def test_tasks_that_are_made_obey_the_lengths_that_they_are_given_and_refuse_those_of_no_split(name):
    given = ["profile=smoke", "dataset.max_tokens.train=900", f"dataset={name}"]
    task = make(compose("train", given).dataset).load()
    for split, most in (("train", 900), ("valid", 2000), ("test", 2000)):
        data = task.splits[split]
        lengths = [len(x) for x in data.inputs] if isinstance(data, Sequences) else [len(data)]
        assert sum(lengths[:-1]) < most <= sum(lengths)
    with pytest.raises(ConfigurationError, match=r"dataset.max_tokens.trian is not an option: choose of train, valid"):
        make(compose("train", [*given, "+dataset.max_tokens.trian=5"]).dataset)


@pytest.mark.parametrize(
    ("noun", "several"),
    [
        ("run", "runs"),
        ("analysis", "analyses"),
        ("batch", "batches"),
        ("class", "classes"),
        ("entry", "entries"),
        ("key", "keys"),
    ],
)
def test_a_noun_has_its_plural_beside_all_but_a_lone_1(noun, several):
    assert counted(1, noun) == f"1 {noun}"
    assert [counted(number, noun) for number in (0, 2, 1234, "1 to 3")] == [
        f"{number} {several}" for number in ("0", "2", "1,234", "1 to 3")
    ]
