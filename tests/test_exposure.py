"""Own outputs fed back: losses as the plain loop has them, laws that are known, and the analysis with its chapter."""

import itertools
import math
import re
import shutil
from fnmatch import fnmatch

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from stablernn.analysis.exposure import ExposureAnalysis, free_run
from stablernn.analysis.runner import analyse, check_applies
from stablernn.config.compose import compose
from stablernn.config.identity import run_id
from stablernn.config.instantiate import make
from stablernn.experiments.reproduce import studies_of
from stablernn.models.backbone import stack_of
from stablernn.models.cells.gru import GRUCell
from stablernn.models.cells.rnn import RNNCell
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_model
from stablernn.report.contents import chapters
from stablernn.report.evidence import gather
from stablernn.report.sections.exposure import exposure_table
from stablernn.report.sections.patterns import answers
from stablernn.report.write import print_conclusions
from stablernn.tasks.base import Inputs, Interface, Outputs
from stablernn.tasks.sequences import Sequences
from stablernn.tasks.splits import Split
from stablernn.training.run import run
from stablernn.training.trained import find_runs
from stablernn.utils.errors import ConfigurationError, NotApplicableError

TYPES, PREFIX, HORIZON = 3, 4, 6


def music():
    draw = np.random.default_rng(0)
    rolls = [draw.integers(0, 2, (14, 5), dtype=np.uint8) for _ in range(9)]
    return Sequences(tuple(roll[:-1] for roll in rolls), tuple(roll[1:] for roll in rolls))


def test_losses_are_those_of_one_piece_after_the_other():
    torch.manual_seed(0)
    split = music()
    made = Interface(Inputs("box", 5), Outputs("bernoulli", 5))
    model = build_model(made, stack_of(GRUCell, Recurrent), None, 8).eval()
    with torch.no_grad():
        model.objective.weight.mul_(1e6)  # what is drawn is as good as certain
        model.objective.bias.fill_(1e3)
    found = free_run(model, split, PREFIX, HORIZON, streams=9, samples=2)
    true, own, drawn = np.zeros((3, HORIZON + 1))
    with torch.no_grad():
        for x, y, *_ in split:
            losses, zero = model.objective.losses, model.initial_state(1)
            true += losses(model(x, zero)[0], y)[PREFIX - 1 : PREFIX + HORIZON, 0].numpy() / 9
            read = x[:PREFIX]
            for j in range(HORIZON + 1):
                last = model(read, zero)[0][-1]
                item = (model.objective.logits(last) > 0).float()
                own[j] += float(losses(last, y[PREFIX - 1 + j])) / 9
                drawn[j] += float(losses(last, item)) / 9
                read = torch.cat([read, item[None]])
    for mine, plain in ((found.true, true), (found.own, own), (found.drawn, drawn)):
        assert_close(np.array(mine), plain, rtol=1e-4, atol=1e-6)


def chain_model(chain):
    """A model that predicts by a Markov chain: one-hot states read off the last id."""
    model = build_model(Interface.of_words(TYPES), stack_of(RNNCell, Recurrent), TYPES, TYPES).eval().double()
    with torch.no_grad():
        model.inputs.weight.copy_(torch.eye(TYPES))
        (cell,) = model.cells
        cell.weight_ih.copy_(20 * torch.eye(TYPES))
        for weight in (cell.weight_hh, cell.bias_ih, cell.bias_hh):
            weight.zero_()
        model.objective.weight.copy_(chain.log().T)
        model.objective.bias.zero_()
    return model


def text_of(chain, length):
    draw, ids = np.random.default_rng(1), [0]
    steps = chain.numpy().cumsum(1)
    for coin in draw.random(length):
        ids.append(int((steps[ids[-1]] < coin).sum()))
    return Split(np.array(ids))


def test_of_the_law_of_the_data_own_items_cost_what_true_ones_do_and_the_rise_is_what_the_law_says():
    """E[own] at j: the data's next item, from its state there, where the model is at a state reached on its own."""
    chain = torch.tensor([[0.8, 0.15, 0.05], [0.1, 0.8, 0.1], [0.05, 0.25, 0.7]], dtype=torch.float64)
    found = free_run(chain_model(chain), text_of(chain, 60_000), PREFIX, HORIZON, streams=4000, samples=2)
    stationary = torch.linalg.matrix_power(chain, 200)[0]
    entropy = -float((stationary[:, None] * chain * chain.log()).sum())
    assert found.own[0] == pytest.approx(found.true[0])
    assert found.true == pytest.approx([entropy] * (HORIZON + 1), rel=0.06)
    assert found.drawn == pytest.approx([entropy] * (HORIZON + 1), rel=0.06)
    for j in range(HORIZON + 1):
        power = torch.linalg.matrix_power(chain, j)
        reached = torch.einsum("s,sa,sb->ab", stationary, power, power)  # of data and model, from the last true item
        expected = -float((reached @ chain.log() * chain).sum()) if j else entropy
        assert found.own[j] == pytest.approx(expected, rel=0.06)
    assert found.own[HORIZON] > found.own[1] > found.own[0]


def test_what_ignores_its_inputs_loses_nothing_by_its_own_outputs():
    chain = torch.full((TYPES, TYPES), 1 / TYPES, dtype=torch.float64)
    found = free_run(chain_model(chain), text_of(chain, 400), PREFIX, HORIZON, streams=20, samples=3)
    for losses in (found.true, found.own, found.drawn):
        assert losses == pytest.approx([math.log(TYPES)] * (HORIZON + 1))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    from conftest import SMALL

    folder = tmp_path_factory.mktemp("runs")
    small = [*SMALL, "model=rnn", "training.max_updates=4", "experiment_name=exposure", f"runs={folder}"]
    for decay, seed in itertools.product(("null", "exponential"), (0, 1)):
        run(compose("train", [*small, f"training.sampling.decay={decay}", "training.sampling.half=1", f"seed={seed}"]))
    return find_runs("*", folder, None, torch.device("cpu"))


def test_the_analysis_has_a_table_with_a_line_for_each_way_of_training(trained):
    analysis = make(compose("analyze", ["analysis=exposure"]).analysis)
    analysis = ExposureAnalysis(**(analysis.options | {"prefix": 3, "horizon": 5, "streams": 8, "samples": 2}))
    found = [(one.record, result) for one, result in analyse(analysis, trained)]
    for one, (_, result) in zip(trained, found, strict=True):
        expected = free_run(one.model("last"), one.corpus.splits["test"], 3, 5, 8, 2)
        assert result["stages"]["last"]["own"] == expected.own
    shown = exposure_table(found)
    assert [line[2:5] for line in shown.lines] == [
        ["true inputs", "best epoch", "2"],
        ["true inputs", "end", "2"],
        ["exponential 1", "best epoch", "2"],
        ["exponential 1", "end", "2"],
    ]
    assert shown.heads[5:] == ["true inputs", "own inputs", "after 1", "after 4", "own items", "own items, end"]
    losses = [result["stages"]["last"] for record, result in found if "sampling" not in record.config["training"]]
    assert shown.rows[1][6].value == pytest.approx(np.mean([one["own"][1:] for one in losses]))
    assert shown.rows[1][8].value == pytest.approx(np.mean([one["own"][4] - one["true"][4] for one in losses]))


def test_the_report_has_a_chapter_of_these_runs_and_they_stand_in_no_other_table(trained, tmp_path):
    for one in trained:
        one.record.write(tmp_path / "records" / one.record.id)
    for one, _ in analyse(ExposureAnalysis(prefix=3, horizon=5, streams=8, samples=2), trained):
        shutil.copy(one.folder / "exposure.json", tmp_path / "records" / one.record.id)
    evidence = gather(tmp_path / "records", tmp_path)
    assert not evidence.slices
    made = {each.section.anchor: each.blocks for each in chapters(evidence)}
    (block,) = made["patterns"]
    assert {table.name for table in block.tables} == {"exposure"}
    (line,) = answers(evidence)
    _, forced, _, scheduled = (row[5:7] for row in block.tables[0].rows)
    figures = [f"{value.value:.{evidence.runs[0][0].metric.of_loss.places}f}" for value in (*forced, *scheduled)]
    assert re.findall(r"\d+\.\d+", line) == figures, "the numbers of the table, at the end of training"


def test_the_study_of_patterns_looks_into_each_run_once(tmp_path, capsys):
    where = [f"{name}={tmp_path / name}" for name in ("runs", "results", "winners")]
    options = compose("reproduce/plan", ["study=patterns", *where])
    (study,) = studies_of(options, "smoke")
    names = [run_id(config) for part in study.parts for config in part.configs]
    assert len(names) == 8
    for name in names:
        assert sum(fnmatch(name, entry.run) for entry in options.analyses.patterns) == 1
    print_conclusions(tmp_path, tmp_path, ["patterns"])
    assert "C1" not in capsys.readouterr().out, "it asks for none of the claims"


def test_models_that_do_not_read_what_they_predict_cannot_run_by_themselves(tmp_path):
    options = ["dataset=selectivity", "profile=smoke", "tracking=none", "progress=false", "training.max_updates=1"]
    run(compose("train", [*options, "dataset.sequences={train: 40, valid: 4, test: 4}", f"runs={tmp_path}"]))
    (one,) = find_runs("*", tmp_path, None, torch.device("cpu"))
    with pytest.raises(NotApplicableError, match="selectivity do not read what they predict"):
        check_applies(ExposureAnalysis(), one)


@pytest.mark.parametrize("option", [{"prefix": 0}, {"horizon": 0}, {"streams": 0}, {"samples": 0}, {"split": "tst"}])
def test_options_that_make_no_sense_are_refused_by_name(option):
    with pytest.raises(ConfigurationError, match=rf"analysis\.{next(iter(option))}"):
        ExposureAnalysis(**option)
