"""What a model loses without its recurrent matrices: each is what it says, and the model is left alone."""

import pytest
import torch

from stablernn.analysis.recurrence import RecurrenceAnalysis, silence
from stablernn.analysis.runner import analyse
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.cells.rnn import RNNCell
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_language_model
from stablernn.report.sections.recurrence import recurrence_table
from stablernn.report.text import signed
from stablernn.training.run import run
from stablernn.training.trained import find_runs
from stablernn.utils.errors import ConfigurationError


def test_an_rnn_without_its_matrix_knows_the_last_word_alone():
    torch.manual_seed(0)
    model = build_language_model(7, RNNCell, Recurrent, 3, 4, num_layers=2).eval()
    silence(model, ["W"])
    words = torch.randint(7, (9, 2))
    features, _ = model(words, model.initial_state(2))
    alone, _ = model(words[-1:], model.initial_state(2))
    torch.testing.assert_close(features[-1:], alone)


def test_an_lstm_without_its_matrices_is_a_gated_linear_recurrence():
    torch.manual_seed(0)
    model = build_language_model(7, LSTMCell, Recurrent, 3, 4).eval()
    silence(model, ["W_i", "W_f", "W_z", "W_o"])
    cell, words = model.cells[0], torch.randint(7, (9, 2))
    i, f, z, o = cell.project_inputs(model.inputs(words)).chunk(4, dim=-1)
    c = torch.zeros(2, 4)
    for t in range(len(words)):
        c = f[t].sigmoid() * c + i[t].sigmoid() * z[t].tanh()
    features, _ = model(words, model.initial_state(2))
    torch.testing.assert_close(features[-1], o[-1].sigmoid() * c.tanh())


def test_one_matrix_is_silenced_and_no_other():
    torch.manual_seed(0)
    model = build_language_model(7, LSTMCell, Recurrent, 3, 4)
    before = {name: block.clone() for name, block in model.cells[0].recurrent_blocks().items()}
    silence(model, ["W_z"])
    for name, block in model.cells[0].recurrent_blocks().items():
        assert torch.equal(block, torch.zeros_like(block) if name == "W_z" else before[name])


@pytest.mark.parametrize("options", [["model=rnn"], ["model=lstm", "stability=stable"]])
def test_the_analysis_scores_what_the_record_says_and_its_table_tells_the_changes(tmp_path, small, options):
    record = run(small(*options, "training.max_updates=20"))
    ((_, result),) = analyse(RecurrenceAnalysis(), find_runs("*", tmp_path / "runs", None, torch.device("cpu")))
    assert result["scored"]["as trained"] == record.metrics["test"]
    assert result["rate_without"] < 1
    assert set(result["scored"]) == {"as trained", "W"} | (
        {"W_i", "W_f", "W_z", "W_o"} if "model=lstm" in options else set()
    )
    (line,) = recurrence_table([(record, result)]).lines
    trained, without = (result["scored"][name]["value"] for name in ("as trained", "W"))
    assert line[2:6] == ["1", f"{trained:.1f}", f"{without:.1f}", signed(100 * (without / trained - 1))]


def test_no_words_are_no_text():
    with pytest.raises(ConfigurationError, match=r"analysis\.tokens=0"):
        RecurrenceAnalysis(tokens=0)
