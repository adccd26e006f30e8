"""`make reproduce STUDY=all`: studies that share runs, one that breaks, and what a plan needs to be installed."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT
from faults.children import script
from omegaconf import OmegaConf

import stablernn
from stablernn.config.compose import compose
from stablernn.experiments.reproduce import reproduce
from stablernn.records.record import RECORD_FILE
from stablernn.utils.errors import MissingPackageError, StableRNNError

ELSEWHERE = ("wandb", "wandb_workspaces", "datasets", "huggingface_hub")  # not needed without tracking or with a folder
MODULES = [
    path
    for path in sorted(Path(stablernn.__file__).parents[1].rglob("*.py"))
    if path.parent.name not in ("monitoring", "commands")
]
TINY = ["model=rnn", "stability=unstable", "approximation=recurrent", "model.hidden_size=4"]


def part(*sweep: str) -> dict:
    return {"side_by_side": False, "sweep": ["experiment=perplexity_smoke", *TINY, *sweep]}


@pytest.fixture
def plan(tmp_path):
    """Three studies of a run or two; the second shares one with the first."""
    where = [f"{name}={tmp_path / name}" for name in ("runs", "results", "winners")]
    overrides = 'overrides="tracking=none training.max_updates=2"'
    options = compose("reproduce/plan", ["study=all", "profile=smoke", "readme=null", overrides, *where])
    options.all = ["perplexity", "price_of_stability", "weight_distance"]
    options.plans.perplexity.smoke = [part("seed=0,1")]
    options.plans.price_of_stability.smoke = [[part("seed=1,2")]]
    options.plans.weight_distance.smoke = [part("seed=0"), part("seed=3")]
    for study in options.all:
        options.analyses[study] = []
    return options


@pytest.fixture
def reports(monkeypatch, tmp_path):
    """How often the report was written: its files are tried by others."""
    written = []
    monkeypatch.setattr(
        "stablernn.experiments.reproduce.write_report", lambda *_: written.append(1) or [tmp_path / "index.html"]
    )
    return written


def test_a_study_that_breaks_does_not_take_the_others_along(plan, reports, tmp_path, capfd, caplog, monkeypatch):
    from stablernn.experiments import study as study_module

    for package in ELSEWHERE:
        monkeypatch.setitem(sys.modules, package, None)  # an import of it fails
    publish, broken = study_module.publish, [OSError("no space left on device")]

    def publish_some(runs, folder, data):
        if folder.name == "price_of_stability" and broken:
            raise broken.pop()
        publish(runs, folder, data)

    monkeypatch.setattr(study_module, "publish", publish_some)
    with pytest.raises(StableRNNError, match=r"^price_of_stability failed \(see above\); the same command tries"):
        reproduce(plan)
    told = capfd.readouterr().err
    assert "4 runs to do, about" in told, "seeds 0 to 3: what two studies share is counted once"
    assert re.search(r"corpus +sweep +runs +done +above +about", told)
    assert "all of them with tracking=none training.max_updates=2" in told
    assert told.count("training.max_updates=2") == 1
    assert "weight_distance (study 3 of 3)" in told
    assert "no space left on device" in caplog.text
    assert len(reports) == 1

    def published() -> dict[str, int]:
        folder = tmp_path / "results" / "records" / "smoke"
        return {study: len(list(folder.glob(f"{study}/*/{RECORD_FILE}"))) for study in plan.all}

    assert published() == {"perplexity": 2, "price_of_stability": 0, "weight_distance": 2}
    assert len(list((tmp_path / "runs").glob(f"*/{RECORD_FILE}"))) == 4
    assert not (tmp_path / "runs" / "wandb").exists()
    reproduce(plan)
    assert "nothing to train" in capfd.readouterr().err
    assert published() == {"perplexity": 2, "price_of_stability": 2, "weight_distance": 2}
    assert len(reports) == 2

    def undrawn(*_):
        raise MissingPackageError("figures are drawn with altair")

    monkeypatch.setattr("stablernn.experiments.reproduce.write_report", undrawn)
    with pytest.raises(MissingPackageError):
        reproduce(plan)
    assert "in the CSV file" in capfd.readouterr().err, "the tables are printed"


def test_an_analysis_that_breaks_does_not_take_the_others_along(monkeypatch, caplog):
    from stablernn.experiments import study as study_module

    seen = []

    def analyse(analysis, runs):
        seen.append(runs[0].record.id)
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(study_module, "analyse", analyse)
    monkeypatch.setattr(study_module.log, "propagate", True)
    runs = [SimpleNamespace(record=SimpleNamespace(id=name)) for name in "ab"]
    entries = OmegaConf.create([{"analysis": "certificate", "run": "*"}])
    assert study_module._analyse(list(entries), runs, "smoke") == seen == ["a", "b"]
    assert "illegal memory access" in caplog.text


def test_runs_that_fail_are_told_study_by_study(plan, reports, monkeypatch):
    plan.overrides += " training.early_stop=0"
    monkeypatch.setattr(
        "stablernn.experiments.reproduce.check", lambda config: None
    )  # so that it is the runs that are refused
    monkeypatch.setattr("stablernn.experiments.plan._measure", lambda *_: None)
    plan.all = ["perplexity", "weight_distance"]
    with pytest.raises(StableRNNError, match="2 runs of perplexity failed, 2 runs of weight_distance failed"):
        reproduce(plan)
    assert len(reports) == 1


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_no_module_that_a_plan_may_need_imports_a_service(module):
    """But within a function, which the test above tries: what is not asked for need not be installed."""
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        imported = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        imported += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert not {name.partition(".")[0] for name in imported} & set(ELSEWHERE)
        assert not any(name.startswith("stablernn.monitoring") for name in imported)


def test_make_hands_study_profile_and_overrides_on():
    asked = ["STUDY=all", "PROFILE=paper", "OVERRIDES=tracking=none seed=0,1"]
    command = ["make", "-n", "-o", ".venv/.ready", "reproduce", *asked]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "stablernn reproduce study=all profile=paper 'overrides=tracking=none seed=0,1'" in " ".join(printed.split())


@pytest.mark.slow
def test_every_study_at_smoke_by_one_command(tmp_path):
    """As a newcomer types it: every study published in its own place, one search, one report; then nothing to do."""
    where = [f"{name}={tmp_path / name}" for name in ("runs", "results", "winners")]
    chosen = ["study=all", "profile=smoke", "readme=null", "overrides=tracking=none threads=1"]
    command = [sys.executable, str(ROOT / "scripts" / "reproduce.py"), *chosen, *where]

    def told(*more: str) -> str:
        answer = subprocess.run(
            [*command, *more], cwd=tmp_path, capture_output=True, text=True, timeout=3600, check=False
        )
        assert answer.returncode == 0, answer.stderr
        return " ".join(answer.stderr.split())

    first = told()
    assert first.count("winners written") == 1
    assert first.count("the page with the verdicts") == 1
    published = tmp_path / "results" / "records" / "smoke"
    counts = {path.name: len(list(path.iterdir())) for path in published.iterdir()}
    assert counts == {
        "perplexity": 8,
        "table1": 24,
        "price_of_stability": 11,
        "truncation_sweep": 16,
        "weight_distance": 8,
        "search": 10,
    }
    done = {path.name for path in (tmp_path / "runs").iterdir() if (path / RECORD_FILE).is_file()}
    assert all(f"study {number} of 5" in first for number in range(1, 6))
    shutil.rmtree(tmp_path / "winners")  # they are written again from the trials, and nothing is trained again
    again = told("study=table1")
    assert "winners written" in again
    assert {path.name for path in (tmp_path / "runs").iterdir() if (path / RECORD_FILE).is_file()} == done
    assert "nothing to train" in told()


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_plan_of_a_user_writes_into_the_folder_of_the_runs_alone_and_ends_with_the_verdicts(tmp_path):
    """What the project commits changes where somebody says publish, and nowhere else."""
    readme = tmp_path / "README.md"
    readme.write_text("<!-- answer: written by make report -->\n<!-- end of the answer -->\n")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "NOTES.md").write_text("ours")
    before = files_below(tmp_path)

    def reproduce_here(*options: str) -> str:
        done = script("reproduce", "study=linear_systems", "profile=smoke", *options, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stderr

    said = reproduce_here()
    after = files_below(tmp_path)
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[:2][-1] for name in after.keys() - before.keys()} == {"report"}
    assert "runs/report/report/index.html" in after
    verdict = next(line for line in said.splitlines() if line.lstrip().startswith("C7"))
    assert "not measured yet" not in verdict
    assert said.index("C1") < said.index("C8") < said.index("index.html"), "one line for each claim, at the end"
    reproduce_here("publish=true")
    assert "results/report/index.html" in files_below(tmp_path)
