"""The plan's estimate of the analyses: counted once, none for what is done, and unknown where nobody can tell."""

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf

from stablernn.analysis.estimate import Planned, analysis_seconds
from stablernn.analysis.runner import analyse
from stablernn.analysis.truncation_cost import CurveCost
from stablernn.config.compose import compose
from stablernn.experiments.parts import AnalysisPart, Part, count_once
from stablernn.experiments.plan import print_plan
from stablernn.training.run import run
from stablernn.training.trained import find_runs
from stablernn.utils.errors import RecordError

CERTIFICATE = OmegaConf.create({"analysis": "certificate", "run": "*"})
TRUNCATION = OmegaConf.create({"analysis": "truncation", "run": "*", "options": ["k_max=4", "analysis.tokens=2000"]})
NGRAM = OmegaConf.create({**TRUNCATION, "analysis": "ngram"})
CPU = torch.device("cpu")


@pytest.fixture
def sweep(tmp_path):
    """Two runs, of two seeds."""
    options = compose("reproduce/plan", [f"runs={tmp_path / 'runs'}", f"winners={tmp_path / 'winners'}"])
    small = ["model=rnn", "model.hidden_size=4", "tracking=none", "training.max_updates=2", "training.keep_every=1"]
    return Part(
        ["experiment=perplexity_smoke", *small, "stability=unstable", "approximation=recurrent", "seed=0,1"],
        False,
        options,
    )


def test_an_analysis_counts_the_runs_that_lack_it_and_one_in_two_views_counts_once(sweep):
    parts = [AnalysisPart(entry, "smoke", [sweep]) for entry in (CERTIFICATE, TRUNCATION, NGRAM)]
    count_once([], parts)
    assert [len(part.counted) for part in parts] == [2, 2, 0]
    run(sweep.configs[0])
    runs = find_runs("*", Path(sweep.options.runs), None, CPU)
    list(analyse(parts[1].analysis, runs))
    after = AnalysisPart(TRUNCATION, "smoke", [Part(sweep.sweep, False, sweep.options)])
    (left,) = after.to_do.values()
    assert isinstance(left, Planned)
    assert after.runs == 2


@pytest.mark.parametrize(
    "name",
    [
        "certificate",
        "contraction",
        "gradient_horizon",
        "recurrence",
        "truncated_gradient",
        "truncation",
        "certificate_on_text",
        "exposure",
        "parallel",
    ],
)
def test_every_analysis_of_the_plan_has_an_estimate_before_and_after_training(sweep, name):
    smoke = ["analysis.tokens=20"] if name == "parallel" else []
    smoke = ["analysis.streams=16"] if name in ("gradient_horizon", "truncated_gradient") else smoke
    smoke = ["analysis.streams=2", "analysis.longest=8", "analysis.tokens=20"] if name == "contraction" else smoke
    entry = OmegaConf.create({"analysis": name, "run": "*", "options": smoke})
    part = AnalysisPart(entry, "smoke", [sweep])
    part.estimate()
    assert part.seconds > 0
    assert part.unknown == 0
    run(sweep.configs[0])
    found = analysis_seconds([(part.analysis, *find_runs("*", Path(sweep.options.runs), None, CPU))])
    assert all(seconds is not None and seconds > 0 for seconds in found)


def test_the_time_of_a_plan_is_that_of_runs_and_of_analyses(sweep, monkeypatch, capsys):
    monkeypatch.setattr(Part, "estimate", lambda part: 600.0)
    monkeypatch.setattr(AnalysisPart, "estimate", lambda part: setattr(part, "seconds", 1200.0))
    analyses = [AnalysisPart(CERTIFICATE, "smoke", [sweep])]
    options = SimpleNamespace(overrides=None)
    study = SimpleNamespace(name="one", parts=[sweep], linear=[], options=options, analyses=lambda: analyses)
    assert print_plan("smoke", True, [study]) == 1800
    assert "About 30.0 min in all" in capsys.readouterr().err


def test_a_kind_of_run_is_measured_once_and_what_nobody_can_tell_is_unknown(sweep):
    measured = []

    def seconds(subject):
        measured.append(subject)
        return 3.0

    known = SimpleNamespace(name="known", options={}, seconds=seconds)
    silent = SimpleNamespace(name="silent", options={})

    def fails(subject):
        raise RecordError("no weights")

    failing = SimpleNamespace(name="failing", options={}, seconds=fails)
    runs = [Planned(config) for config in sweep.configs]
    found = analysis_seconds([*((known, one) for one in runs), (silent, runs[0]), (failing, runs[0])])
    assert found == [3.0, 3.0, None, None]
    assert len(measured) == 1


def test_the_cost_of_a_curve_grows_with_its_words_layers_and_softmaxes():
    cost = CurveCost(layer=1.0, softmax=10.0, stream=0.5, word=2.0)
    assert cost.seconds(words=3, layers=4, rows=2, before=6) == 3 * (2 + 4) + 20 + 3


def test_a_planned_run_keeps_as_many_weights_as_its_schedule_will(sweep):
    config = copy.deepcopy(sweep.configs[0])
    assert len(Planned(config).saved_updates) == 1
    config.training.keep_every = None
    assert Planned(config).saved_updates == ()
