"""The command ``stablernn``, what a wheel holds, and the groups and classes that a user adds from outside."""

import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT, SMALL
from faults.children import script
from omegaconf import OmegaConf
from test_usage import one_line

from stablernn.commands.start import COMMANDS, stablernn
from stablernn.config import compose as compose_module
from stablernn.config.compose import CONFIG_FOLDER, best_folders, choices, compose, frozen
from stablernn.config.targets import allow
from stablernn.experiments import destinations, plan
from stablernn.experiments.destinations import located, results_of
from stablernn.experiments.grids import find_winner
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.project import command


def resolved(name: str) -> object:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def test_every_script_on_configurations_is_a_command_and_each_leads_to_a_function():
    scripts = {path.stem for path in (ROOT / "scripts").glob("*.py")}
    assert scripts - {"gpu_lease"} == set(COMMANDS)
    for name, entry in COMMANDS.items():
        assert callable(resolved(entry.task)), name
        assert (CONFIG_FOLDER / f"{entry.config}.yaml").is_file()
        assert f'start("{name}")' in (ROOT / "scripts" / f"{name}.py").read_text()


def test_the_entry_point_of_the_package_is_the_command():
    (name, entry), *others = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"].items()
    assert (name, others) == ("stablernn", [])
    assert resolved(entry) is stablernn


@pytest.mark.parametrize("arguments", [[], ["--help"]], ids=str)
def test_alone_it_lists_every_command_in_a_line(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["stablernn", *arguments])
    stablernn()
    lines = capsys.readouterr().out.splitlines()
    for name, entry in COMMANDS.items():
        assert sum(line.split()[:2] == ["stablernn", name.replace("_", "-")] for line in lines) == 1
        assert any(line.endswith(f"  {entry.about}") for line in lines)
    assert max(map(len, lines)) <= 100


def test_an_unknown_command_is_a_line_with_the_one_that_may_be_meant(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["stablernn", "trian", "seed=1"])
    with pytest.raises(SystemExit) as ended:
        stablernn()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: trian is not a command; did you mean train?")


@pytest.mark.parametrize(
    ("program", "typed"),
    [
        ("/home/me/venv/bin/stablernn", "stablernn wandb-sync"),
        ("/home/me/venv/lib/stablernn/__main__.py", "python -m stablernn wandb-sync"),
        ("scripts/train.py", "python scripts/wandb_sync.py"),
    ],
)
def test_texts_name_a_command_as_it_was_typed(program, typed, monkeypatch):
    monkeypatch.setattr(sys, "argv", [program])
    assert command("wandb_sync") == typed
    assert f"\n  {typed} runs=elsewhere" in compose("wandb_sync", [], with_hydra=True).hydra.help.header


# What a user adds.


def written(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_folder_of_ones_own_adds_choices_replaces_those_of_its_names_and_is_frozen(tmp_path):
    ours = (CONFIG_FOLDER / "optimizer" / "sgd.yaml").read_text()
    written(tmp_path, "optimizer/mine.yaml", ours.replace("lr:", "lr: 0.125 #"))
    written(
        tmp_path, "model/rnn.yaml", (CONFIG_FOLDER / "model" / "rnn.yaml").read_text().replace("rate: 3", "rate: 11")
    )
    written(tmp_path, "train.yaml", "of: another program")
    before = choices("optimizer")
    with frozen(own=tmp_path):
        written(tmp_path, "optimizer/late.yaml", ours)
        assert choices("optimizer") == sorted([*before, "mine"])
        config = compose("train", ["model=rnn", "optimizer=mine"])
    assert (config.optimizer.lr, config.model.learning_rate) == (0.125, 11)
    assert choices("optimizer") == before
    with pytest.raises(ConfigurationError, match=r"optimizer=mine does not exist: choose optimizer=adam\|rmsprop\|sgd"):
        compose("train", ["optimizer=mine"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--config-dir", "nowhere"], "--config-dir nowhere is no folder"),
        (["--config-dir=.", "model=rnn"], "group/broken.yaml cannot be read as YAML"),
    ],
)
def test_a_folder_that_is_none_and_a_file_that_is_no_yaml_are_named(given, said, tmp_path):
    written(tmp_path, "group/broken.yaml", "a: [")
    for name in ("train", "analyze"):
        assert said in one_line(script(name, *given, cwd=tmp_path))


def test_winners_lie_with_the_user_and_are_found_there(tmp_path, monkeypatch):
    packaged = CONFIG_FOLDER / "experiment" / "best"
    assert best_folders("runs") == [packaged]
    monkeypatch.setattr(compose_module, "CHECKOUT", None)
    own = tmp_path / "conf" / "experiment" / "best"
    assert best_folders(tmp_path) == [own, packaged]
    found = next(packaged.glob("*_rnn_*.yaml"))
    dataset, _, profile = found.stem.rsplit("_", 2)
    name = (str(tmp_path), dataset, "rnn", profile)
    assert find_winner(None, *name) == found
    written(own, found.name, "")
    assert find_winner(None, *name) == own / found.name
    groups = tmp_path / "groups"
    groups.mkdir()
    with frozen(own=groups):
        assert best_folders(tmp_path)[0] == groups / "experiment" / "best"
        written(groups / "experiment" / "best", found.name, "")
        assert find_winner(None, *name).is_relative_to(groups)
    assert find_winner("elsewhere", *name) == Path("elsewhere") / found.name


def test_without_a_checkout_nothing_is_published_and_results_go_to_the_runs(monkeypatch, tmp_path):
    options = compose("bench", [])
    assert located(options).results == "runs/report"
    monkeypatch.setattr(destinations, "CHECKOUT", None)
    options.publish = True
    with pytest.raises(ConfigurationError, match="publish=true renews the files of a checkout"):
        located(options)
    monkeypatch.chdir(tmp_path)
    assert results_of("runs") == Path("runs/report")
    monkeypatch.chdir(ROOT)
    assert results_of("runs") == Path("results")


def example(folder: Path) -> None:
    """The files of docs/extending.md."""
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    for name, part in re.findall(r"^`([\w./]+)`[^\n]*:\n\n```\w+\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        path = folder / name
        written(folder, name, (path.read_text() if path.exists() else "") + part)


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """The example of docs/extending.md, after its run."""
    folder = tmp_path_factory.mktemp("extended")
    example(folder)
    done = script("train", "allow=mine", *MINE, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


MINE = [
    "--config-dir",
    "groups",
    *("model=leaky", "stability=short", "dataset=echo", "truncation.k=8", "training.epochs=2", "tracking=none"),
]


def test_the_example_of_the_page_trains_and_keeps_its_condition(extended):
    (run,) = extended.glob("runs/*/record.json")
    assert run.parent.name.startswith("echo-leaky-short-")
    text = run.read_text()
    assert {"mine.Leaky", "mine.Short", "mine.Echo"} <= set(re.findall(r'"_target_": "([\w.]+)"', text))
    assert '"certified": true' in text
    assert "allow" not in text


def test_an_own_cell_in_an_experiment_of_the_atlas_has_a_page_with_its_equations(extended):
    """The report imports none of its classes: the record has what they say."""
    done = script("train", "allow=mine", *MINE, "experiment_name=atlas_mine", "runs=atlas", cwd=extended)
    assert done.returncode == 0, done.stderr
    done = script("report", "records=atlas", "results=written", "readme=null", cwd=extended)
    assert done.returncode == 0, done.stderr
    page, contents = ((extended / "written" / "atlas" / f"{name}.md").read_text() for name in ("leaky", "README"))
    assert "    h' = a h + (1 - a) tanh(W h + U x + b).\n" in page
    assert "`model=leaky`, of the kind *your own*" in page
    assert "| echo" in page
    assert "## Your own\n\n- [leaky](leaky.md)" in contents


def test_the_network_of_the_page_trains_without_cells(extended):
    done = script(
        "train",
        "allow=mine",
        *[option for option in MINE if "model=" not in option and "stab" not in option],
        "model=causal",
        "runs=networks",
        cwd=extended,
    )
    assert done.returncode == 0, done.stderr
    (run,) = extended.glob("networks/echo-causal-*/record.json")
    assert "no recurrent cells" in run.read_text()


def test_without_permission_nothing_is_imported_and_the_line_names_the_option(extended, tmp_path):
    example(tmp_path)
    written(tmp_path, "mine.py", "raise SystemExit('imported')")
    for name, arguments in {
        "train": MINE,
        "analyze": [f"runs={extended / 'runs'}", "fresh=true"],
        "convert": [f"runs={extended / 'runs'}", "run=echo", "formats=[export]"],
        "status": [*MINE[:2], f"sweep={' '.join(MINE[2:])}"],
    }.items():
        said = script(name, *arguments, cwd=tmp_path).stderr.splitlines()[-1]
        assert said.startswith("error: ")
        assert said.endswith("if it is yours, or you trust it, add allow=mine to the command")
    written(tmp_path, "groups/profile/trusting.yaml", "# @package _global_\nprofile: {name: trusting}\nallow: mine")
    for attempt in ("+allow=mine", "profile=trusting"):
        assert "allow" in one_line(script("train", *MINE, attempt, cwd=tmp_path))


def test_with_it_an_analysis_makes_the_model_again(extended):
    done = script("analyze", "allow=mine", "fresh=true", cwd=extended)
    assert done.returncode == 0, done.stderr
    assert "leaky k=8" in done.stderr


@pytest.mark.parametrize(
    ("packages", "said"),
    [
        ("os", "allow=os: that is a part of Python"),
        ("./mine.py", "allow=./mine.py names no package"),
        ("mine,", "allow= names no package"),
    ],
)
def test_what_is_no_package_is_not_allowed(packages, said):
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        allow(*packages.split(",")[::-1])


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("mine.Missing", "mine.Missing does not exist"),
        ("mine.np.load", "is no class or function of stablernn, torch.optim, mine and broken"),
        ("broken.Cell", "broken.Cell does not exist: invalid syntax (broken.py, line 1)"),
        ("mine.Untyped", "the types of what Untyped takes cannot be read: name 'Nothing' is not defined"),
        ("mine.NoCell", "model.cell._target_=mine.NoCell is no Cell of this package (stablernn.models.cells.base)"),
    ],
)
def test_a_mistake_in_ones_own_code_is_one_line(target, said, tmp_path):
    written(
        tmp_path,
        "mine.py",
        "import numpy as np\n"
        "class Untyped:\n    def __init__(self, leak: 'Nothing'): ...\n"
        "class NoCell:\n    def __init__(self, leak): ...\n",
    )
    written(tmp_path, "broken.py", "def f(:")
    given = [f"model.cell._target_={target}", "+model.cell.leak=1", "allow=mine,broken", *SMALL]
    assert said in one_line(script("train", *given, cwd=tmp_path))


def test_the_variable_allows_what_it_names_as_long_as_it_was_there_from_the_beginning(tmp_path):
    written(tmp_path, "mine.py", "class Thing: ...")
    ask = (
        "import os; from stablernn.config.targets import find_target; os.environ['STABLERNN_ALLOW'] = 'late';"
        "print(find_target('a', 'mine.Thing').__name__);"
        "\ntry: find_target('a', 'late.Thing')\nexcept Exception as error: print(error)"
    )
    environment = os.environ | {"STABLERNN_ALLOW": "mine", "PYTHONPATH": str(ROOT / "src")}
    answer = subprocess.run(
        [sys.executable, "-c", ask], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    first, second = answer.stdout.splitlines()
    assert first == "Thing"
    assert "late.Thing lies outside" in second


def test_the_options_of_a_study_are_no_groups_where_one_has_their_name(extended):
    """groups/dataset/ makes no group of the option ``dataset`` of `reproduce`; it is one of its runs."""
    for folder in (["--config-dir=groups"], ["--config-dir", "groups"], ["-cd", "groups"]):
        done = script("reproduce", *folder, "allow=mine", "dataset=echo", "study=none", cwd=extended)
        assert done.stderr.splitlines()[-1].startswith("error: study=none does not exist")


def test_a_plan_says_who_makes_a_data_set_of_ones_own():
    part = SimpleNamespace(data="echo", configs=[OmegaConf.create({"dataset": {"_target_": "mine.Echo"}})])
    assert plan._why("echo", [part]) == "made by mine.Echo"


# What is installed.


def source(folder: Path) -> Path:
    """What a wheel is built of, so that the checkout gets no build/."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def test_a_wheel_holds_every_configuration_and_nothing_of_an_earlier_build(tmp_path):
    folder = source(tmp_path)
    written(folder, "lib/stablernn/conf/model/gone.yaml", "")
    subprocess.run([sys.executable, "setup.py", "-q", "build_py", "--build-lib", "lib"], cwd=folder, check=True)
    packaged, ours = (
        {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}
        for place in (folder / "lib" / "stablernn" / "conf", CONFIG_FOLDER)
    )
    assert packaged == ours
    assert len(ours) > 50
    assert (folder / "lib" / "stablernn" / "__main__.py").is_file()
    assert (folder / "lib" / "hydra_plugins" / "stablernn_sweepers.py").is_file()


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Runs ``python -m stablernn`` of the installed wheel outside the checkout; nothing may be written beside it."""
    folder, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    offline = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", *offline, "--wheel-dir", "dist", "."], cwd=source(folder), check=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    subprocess.run([*pip, "install", *offline, "--target", str(target), str(wheel)], cwd=folder, check=True)
    before = set(target.rglob("*"))

    def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
        environment = os.environ | {"PYTHONPATH": str(target), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "stablernn", *arguments], cwd=cwd, env=environment, capture_output=True, text=True
        )
        assert set(target.rglob("*")) == before
        return done

    return run


@pytest.mark.slow
def test_the_installed_command_trains_searches_and_reports_outside_of_a_checkout(installed, tmp_path):
    assert installed("--version", cwd=tmp_path).stdout.startswith("stablernn ")
    told = installed("train", "--help", cwd=tmp_path).stdout
    assert "python -m stablernn train model=rnn" in told
    assert str(ROOT) not in told
    options = ["profile=smoke", "tracking=none", "model=rnn"]
    for arguments in (
        ["train", *options],
        ["train", "-m", "experiment=search", *options, "training.max_updates=20"],
        ["train", "-m", "experiment=table1", *options, "seed=0", "stability=unstable,stable", "training.max_updates=9"],
        ["analyze", "analysis=certificate", "run=*-s0-*"],
        ["report"],
        ["status"],
    ):
        done = installed(*arguments, cwd=tmp_path)
        assert done.returncode == 0, (arguments, done.stderr)
    assert {path.name for path in tmp_path.iterdir() if path.name != "cache"} == {"runs"}
    best = tmp_path / "runs" / "conf" / "experiment" / "best"
    assert [path.name for path in best.iterdir()] == ["embedded_rnn_smoke.yaml"]
    assert (tmp_path / "runs" / "report" / "report" / "index.html").is_file()
    again = re.search(r"stablernn (train --config-dir .*)", next(best.iterdir()).read_text())
    assert again is not None
    done = installed(*again[1].split(), "training.max_updates=9", "tracking=none", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_installed_command_reproduces(installed, tmp_path):
    done = installed("reproduce", "profile=smoke", "overrides=tracking=none threads=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Verdicts" in done.stderr
    assert (tmp_path / "runs" / "report" / "report" / "index.html").is_file()
