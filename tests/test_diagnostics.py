"""Weights kept in training, what diagnostics make of them, and their place in `make reproduce`."""

import io
import json

import pytest
import torch
from conftest import SMALL
from rich.console import Console
from test_report import plain_table, record

from stablernn.analysis.gradient_horizon import GradientHorizon, gradient_norms, summary
from stablernn.analysis.runner import analyse
from stablernn.config.compose import compose
from stablernn.experiments.parts import LinearPart
from stablernn.experiments.reproduce import reproduce
from stablernn.report.draw import export
from stablernn.report.formats import rich_table
from stablernn.report.load import analyses_of, load_records, read_folder
from stablernn.report.sections.gradient_horizon import (
    gradient_figures,
    gradient_horizon_table,
    in_order,
    moments,
    panels,
)
from stablernn.training.run import run
from stablernn.training.trained import find_runs
from stablernn.utils.errors import RecordError

COMMON = [*SMALL, "truncation.k=4", "training.evaluate_every=2"]


def trained(folder, *options):
    run(compose("train", [*COMMON, f"runs={folder}", *options]))
    (found,) = find_runs("*", folder, None, torch.device("cpu"))
    return found


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("kept"), "training.max_updates=9", "training.keep_every=2")


def test_kept_weights_are_those_of_every_so_many_evaluations_before_the_end(kept, tmp_path):
    assert kept.saved_updates == (4, 8)  # evaluations after 2, 4, 6, 8, 9 updates
    stopped = trained(tmp_path, "training.max_updates=4")
    assert torch.equal(weights(kept.model(4)), weights(stopped.model("last")))
    assert not torch.equal(weights(kept.model(8)), weights(kept.model("last")))
    with pytest.raises(RecordError, match=r"no weights after update 6: delete .* training.keep_every=1"):
        kept.model(6)


def test_keeping_weights_changes_nothing_and_those_at_the_end_are_kept_anyway(kept, tmp_path):
    without = trained(tmp_path / "without", "training.max_updates=9")
    assert (without.record.id, without.record.metrics) == (kept.record.id, kept.record.metrics)
    every = trained(tmp_path / "every", "training.max_updates=6", "training.keep_every=1")
    assert every.saved_updates == (2, 4)


@pytest.fixture(scope="module")
def horizon(kept):
    ((_, result),) = analyse(GradientHorizon(streams=40, lead=8, horizon=12), [kept])
    return result


def test_the_gradients_of_every_kept_moment_are_told_in_order(kept, horizon, caplog):
    assert [moment["update"] for moment in horizon["during"]] == [4, 8]
    for moment in horizon["during"]:
        expected = summary(gradient_norms(kept.model(moment["update"]), kept.corpus.splits["valid"], 12, 40, 8))
        assert {key: value for key, value in moment.items() if key != "update"} == expected
    assert "kept no weights" not in caplog.text


def test_a_run_that_kept_nothing_says_what_would_do(tmp_path, caplog):
    found = trained(tmp_path, "training.max_updates=3")
    ((_, result),) = analyse(GradientHorizon(streams=40, lead=8, horizon=12), [found])
    assert (set(result["stages"]), result["during"]) == ({"initial", "best", "last"}, [])
    assert f"delete {found.folder} and train with training.keep_every=1" in caplog.text


def stage(value):
    slopes = {"mean": -0.1, "geometric": -0.1}
    return {"mean": [value], "low": [value], "high": [value], "fallen": 9, "slope": slopes, "error": slopes}


def told(best, last, epochs, during):
    """A run and its result, each moment with its update as the mean."""
    entry = record(90.0)
    entry.progress = {"updates": last, "epochs": epochs, "best_update": best}
    stages = {"initial": stage(0.5), "best": stage(best), "last": stage(last)}
    options = {"horizon": 0, "streams": 16, "split": "valid"}
    return entry, {"options": options, "stages": stages, "during": [{"update": u, **stage(u)} for u in during]}


@pytest.mark.parametrize(
    ("run_of", "names", "means"),
    [
        ((30, 40, 4.0, [10, 20, 30]), ["epoch 1", "epoch 2", "epoch 3, best", "end"], [10, 20, 30, 40]),
        ((40, 40, 4.0, [20]), ["epoch 2", "end, best"], [20, 40]),
        ((10, 40, 4.0, [20]), ["best epoch", "epoch 2", "end"], [10, 20, 40]),
        ((100, 400, 0.12, [200]), ["best epoch", "epoch 0.06", "end"], [100, 200, 400]),
    ],
)
def test_moments_come_in_the_order_of_training_and_each_once(run_of, names, means):
    entry, result = told(*run_of)
    found = moments(entry, result)
    assert [moment.name for moment in found] == ["before training", *names]
    assert [moment.values["mean"][0] for moment in found] == [0.5, *means]
    assert [line[2] for line in gradient_horizon_table([(entry, result)]).lines] == ["before training", *names]
    del result["during"]  # as results of before it was asked for
    assert next(moment.label for moment in moments(entry, result)) == "before training"


def test_seeds_stand_together_at_the_moments_that_all_have():
    first, second = told(30, 40, 4.0, [10, 20, 30]), told(20, 20, 2.0, [5, 10])
    second[0].config["seed"] = 1
    second[1]["stages"]["best"]["fallen"] = None
    lines = gradient_horizon_table([first, second]).lines
    assert [line[2] for line in lines] == ["before training", "epoch 1", "best epoch", "end"]
    assert [line[3:5] for line in lines] == [["2", "0.5"], ["2", "10"], ["2", "25"], ["2", "30"]]
    assert [line[5] for line in lines] == ["9", "9", "> 0", "9"]
    assert lines[-1][-2:] == ["-0.100 ± 0", "-0.100"]


def test_a_curve_for_each_moment_from_dark_to_bright_and_a_panel_for_each_model_and_constraint(tmp_path):
    first, second = told(30, 40, 4.0, [10, 20, 30]), told(20, 20, 2.0, [10])
    second[0].config["model"]["name"], second[0].config["stability"]["name"] = "rnn", "stable"
    found = [first, second]
    labels = ["before training", "epoch 1", "epoch 2", "epoch 3", "end"]
    assert in_order(found) == in_order(found[::-1]) == labels
    assert {title: len(group) for title, group in panels(found).items()} == {"RNN, stable": 1, "LSTM, unstable": 1}
    assert list(panels(found)) == ["RNN, stable", "LSTM, unstable"]
    (figure,) = gradient_figures(found)
    assert [curve.label for curve in figure.curves] == labels
    assert len({curve.colour for curve in figure.curves}) == 5
    assert [panel.title for panel in figure.panels] == ["RNN, stable", "LSTM, unstable"]
    (svg, _) = export(figure, tmp_path)
    assert all(f">{label}<" in svg.read_text() for label in labels)


def test_a_table_that_is_wider_than_the_terminal_loses_no_number(monkeypatch):
    numbers = [f"{number}.{number}" for number in range(10, 20)]
    heads = ["weights", *(f"n={n}" for n in range(11))]
    shown = plain_table(heads, [["before the training", "±", *numbers]])
    for width in (80, 200):
        narrow = Console(width=width, file=io.StringIO())
        monkeypatch.setattr("stablernn.report.formats.console", narrow)
        narrow.print(rich_table(shown))
        told = narrow.file.getvalue().split()  # type: ignore[attr-defined]
        assert {"before", "the", "training", *numbers} <= set(told)


# ---- make reproduce


@pytest.fixture
def plan(tmp_path):
    options = compose(
        "reproduce/plan",
        ["study=perplexity", f"runs={tmp_path / 'runs'}", f"results={tmp_path / 'results'}", "readme=null"],
    )
    options.profile = "smoke"
    few = ["model=rnn", "stability=unstable", "training.max_updates=2", "tracking=none"]
    few += ["training.evaluate_every=1", "model.hidden_size=4"]
    for study, experiment in (("perplexity", "perplexity_smoke"), ("gradient_horizon", "gradient_horizon")):
        for entry in (entry for entry in options.plans[study].smoke if "sweep" in entry):
            entry.side_by_side = False
            entry.sweep = [*entry.sweep, *few]
        assert options.plans[study].smoke[0].sweep[0] == f"experiment={experiment}"
    return options


@pytest.fixture
def no_report(tmp_path, monkeypatch):
    """The files of the report are tried by others, and drawing takes its time."""
    monkeypatch.setattr("stablernn.experiments.reproduce.write_report", lambda *_: [tmp_path / "index.html"])


@pytest.mark.slow
def test_reproduce_makes_every_diagnostic_and_one_alone_trains_nothing_again(plan, no_report, tmp_path, capfd):
    reproduce(plan)
    home = tmp_path / "results" / "records" / "smoke" / "perplexity"
    recurrent, feedforward = (
        [entry for entry in load_records(home) if entry.config["approximation"]["name"] == name]
        for name in ("recurrent", "feedforward")
    )
    assert (len(recurrent), len(feedforward)) == (1, 1)
    for name in ("certificate", "contraction", "gradient_horizon", "truncation"):
        looked_into = [entry.id for entry, _ in analyses_of(read_folder(home), name)]
        assert recurrent[0].id in looked_into
    ((_, result),) = analyses_of(read_folder(home), "gradient_horizon")
    assert [moment["update"] for moment in result["during"]] == [1]
    assert len(list((tmp_path / "results" / "records" / "linear_systems").glob("*.json"))) == 5
    assert "2 runs and 5 linear systems to do" in capfd.readouterr().err

    (home / recurrent[0].id / "gradient_horizon.json").unlink()
    plan.study = "gradient_horizon"
    reproduce(plan)
    said = capfd.readouterr().err
    assert "nothing to train" in said
    assert "Gradient of the loss by earlier inputs" in said
    assert "Test perplexity" not in said
    assert len(load_records(home)) == 2  # the other records of the study have not made room
    assert len(analyses_of(read_folder(home), "gradient_horizon")) == 1


@pytest.mark.slow
def test_a_newcomers_smoke_ends_with_all_tables_and_the_page(plan, tmp_path, capfd):
    reproduce(plan)
    results = tmp_path / "results"
    written = {path.name for path in (results / "tables").iterdir()}
    diagnostics = ("certificates", "contraction", "gradient_horizon", "truncation", "ngram", "linear_systems")
    assert written >= {f"{name}.md" for name in ("perplexity", *diagnostics)}
    assert capfd.readouterr().err.replace("\n", "").endswith(str(results / "report" / "index.html"))
    plan.study, plan.results = "linear_systems", str(tmp_path / "elsewhere")
    reproduce(plan)
    assert (tmp_path / "elsewhere" / "report" / "index.html").is_file()


def test_linear_systems_need_no_runs_and_are_resumed(no_report, tmp_path, capfd):
    options = compose("reproduce/plan", [f"results={tmp_path}", "study=linear_systems", "profile=smoke", "readme=null"])
    part = LinearPart("smoke", tmp_path / "records")
    part.estimate()
    assert (len(part.to_do), part.settings) == (5, 5)
    assert 0 < part.seconds < 60
    reproduce(options)
    assert "Scalar linear systems" in capfd.readouterr().err
    files = sorted(part.folder.glob("*.json"))
    assert len(files) == 5
    before = {path: path.stat().st_mtime_ns for path in files[1:]}
    files[0].unlink()
    again = LinearPart("smoke", tmp_path / "records")
    assert len(again.to_do) == 1  # what was killed goes on where it was
    again.run()
    assert {path: path.stat().st_mtime_ns for path in files[1:]} == before
    assert files[0].is_file()
    assert len(LinearPart("quick", tmp_path / "records").to_do) == 58  # a larger grid takes the place of the smallest


def test_the_smallest_grid_does_not_take_the_place_of_a_larger_one(tmp_path):
    folder = tmp_path / "linear_systems"
    folder.mkdir()
    larger = folder / "matrix-0.5-s0.json"
    larger.write_text(json.dumps({"options": {"kind": "matrix", "steps": 1000}}))
    part = LinearPart("smoke", tmp_path)
    assert part.to_do == []
    part.estimate()
    part.run()
    assert part.seconds == 0
    assert [path.name for path in folder.iterdir()] == [larger.name]
    assert "larger grid" in part.title
