"""Data-dependent stability: what the search finds, the exponent, and that neither touches the model."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stablernn.analysis.certificate import CertificateAnalysis
from stablernn.analysis.contraction import ContractionAnalysis
from stablernn.analysis.runner import analyse
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.cells.rnn import RNNCell
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_language_model
from stablernn.report.sections.certificate import certificate_table, rates_table
from stablernn.report.sections.contraction import contraction_table
from stablernn.stability import certify
from stablernn.stability.certificates import summarise
from stablernn.stability.measured import Dynamics, largest_expansion, lyapunov_exponent
from stablernn.training.run import run
from stablernn.training.trained import find_runs
from stablernn.utils.errors import ConfigurationError, RecordError


def linear_rnn(eigenvalues, types=5):
    """An RNN near the linear one: so small a state that tanh is the identity to 1e-6."""
    size = len(eigenvalues)
    model = build_language_model(types, RNNCell, Recurrent, 2, size)
    with torch.no_grad():
        cell = model.cells[0]
        cell.weight_hh.copy_(torch.diag(torch.tensor(eigenvalues)))
        cell.weight_ih.mul_(1e-4)
        cell.bias_ih.zero_()
        cell.bias_hh.zero_()
    return model


def test_the_exponent_of_a_linear_system_is_the_log_of_its_largest_eigenvalue():
    torch.manual_seed(0)
    words = torch.randint(5, (120, 3))
    for largest in (0.5, 0.9, 1.0):
        found = lyapunov_exponent(linear_rnn([0.3, largest, -0.2]), words, lead=60)
        assert found == pytest.approx([math.log(largest)] * 3, abs=1e-4)


def test_the_search_finds_the_expanding_direction():
    torch.manual_seed(0)
    words = torch.randint(5, (20 + 16, 8))
    found = largest_expansion(linear_rnn([0.3, 0.8, 0.1]), words, lead=20, targets=[1, 4, 16], steps=30)
    for r in (1, 4, 16):
        assert found.largest[r - 1] == pytest.approx(0.8**r, rel=0.05)
    assert found.contracts_from == 1


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31), kind=st.sampled_from([RNNCell, LSTMCell]), layers=st.integers(1, 2))
def test_no_search_finds_more_than_an_rnn_is_certified_for(seed, kind, layers):
    torch.manual_seed(seed)
    model = build_language_model(7, kind, Recurrent, 3, 4, num_layers=layers)
    with torch.no_grad():
        for cell in model.cells:
            cell.weight_hh.mul_(0.4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    words = torch.randint(7, (20, 6))
    found = largest_expansion(model, words, lead=12, targets=[1, 8], steps=10)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert found.largest[0] >= found.median[0] > 0
    if kind is RNNCell and layers == 1:
        rate = torch.linalg.matrix_norm(model.cells[0].weight_hh.double(), ord=2)
        assert all(value <= float(rate) ** r * (1 + 1e-9) for r, value in enumerate(found.largest, 1))
        assert certify(model).holds or rate >= 1


def test_streams_that_begin_alike_are_no_pair_of_one_state():
    """Sentences begin with the same words: two states that are one never move apart, and say nothing."""
    words = torch.randint(3, (12, 3), generator=torch.Generator().manual_seed(0))
    words[:4] = words[:4, :1]
    words[:4, 2] = 2 - words[:4, 2]
    found = largest_expansion(linear_rnn([0.3, 0.8, 0.1]), words, lead=4, targets=[1, 8], steps=5)
    assert found.largest[7] <= 0.8**8 * (1 + 1e-6)


def test_the_dynamics_are_those_of_the_model():
    torch.manual_seed(0)
    model = build_language_model(7, LSTMCell, Recurrent, 3, 4, num_layers=2).eval()
    words = torch.randint(7, (9, 2))
    step = Dynamics(model)
    state = step.zeros(2)
    for word in words:
        state = step(state, step.embed(word))
    features, _ = model.double()(words, model.initial_state(2))
    torch.testing.assert_close(step.output(state), features[-1])


@pytest.fixture
def trained(small, tmp_path):
    config = small("model=lstm", "training.max_updates=4", "truncation.k=3")
    record = run(config)
    (found,) = find_runs(record.id, tmp_path / "runs", None, torch.device("cpu"))
    return found


def test_analyses_are_made_once_and_again_with_other_options(trained):
    for make, table in ((CertificateAnalysis, certificate_table), (ContractionAnalysis, contraction_table)):
        small = {"tokens": 40} if make is CertificateAnalysis else {"streams": 4, "lead": 4, "longest": 8, "steps": 2}
        analysis = make(**small)
        ((_, first),) = analyse(analysis, [trained])
        path = trained.folder / f"{analysis.name}.json"
        written = path.read_bytes()
        ((_, second),) = analyse(analysis, [trained])
        assert path.read_bytes() == written
        assert second["run"] == first["run"] == trained.record.id
        list(analyse(make(**small | ({"tokens": 41} if "tokens" in small else {"steps": 3})), [trained]))
        assert path.read_bytes() != written
        path.write_text("{")
        ((_, again),) = analyse(analysis, [trained])
        shown = table([(trained.record, again)])
        assert all(len(line) == len(shown.heads) for line in shown.lines)


def test_the_table_of_certificates_shows_the_rate_of_the_norm_beside_it(trained):
    ((_, result),) = analyse(CertificateAnalysis(tokens=40), [trained])
    proven = {"certified": True, "rate": 0.5, "gap_rate": 0.75, "norm": "2-norm", "radius": 1.0, "decoder": 1.0}
    shown = certificate_table([(trained.record, result | {"certificate": proven, "k": 7})])
    assert shown.lines[0][shown.heads.index("λ")] == "0.750"


def test_a_record_holds_the_certificate_of_its_best_weights(trained):
    assert trained.record.certificate == summarise(trained.model("best"))


def test_a_run_that_is_not_there_is_named_with_those_that_are(trained, tmp_path):
    with pytest.raises(RecordError, match=trained.record.id):
        find_runs("nothing", tmp_path / "runs", None, torch.device("cpu"))
    (trained.folder / "best.safetensors").unlink()
    with pytest.raises(RecordError, match="weights are not committed"):
        trained.model("best")


def test_options_that_do_not_fit_are_refused_by_name(trained):
    with pytest.raises(ConfigurationError, match=r"analysis\.steps"):
        ContractionAnalysis(steps=0)
    with pytest.raises(ConfigurationError, match=r"analysis\.epsilon"):
        CertificateAnalysis(epsilon=0.0)
    with pytest.raises(ConfigurationError, match=r"analysis\.search_units"):
        CertificateAnalysis(search_units=-1)
    for make in (CertificateAnalysis, ContractionAnalysis):
        with pytest.raises(ConfigurationError, match=r"analysis\.split=tst"):
            make(split="tst")
    with pytest.raises(ConfigurationError, match="fewer streams"):
        ContractionAnalysis(streams=400)(trained)


def test_the_table_of_norms_has_each_norm_of_the_first_seed(tmp_path, small):
    for seed in (0, 1):
        run(small("model=rnn", "stability=stable", "training.max_updates=2", f"seed={seed}"))
    runs = find_runs("*", tmp_path / "runs", None, torch.device("cpu"))
    analysis = CertificateAnalysis(tokens=40, lengths=(2,), k_max=4)
    found = [(trained.record, result) for trained, result in analyse(analysis, runs)]
    by_norm = found[0][1]["by_norm"]
    assert [line[2] for line in rates_table(found).lines] == list(by_norm)
    assert by_norm["quadratic norm"]["rate"] <= by_norm["2-norm"]["rate"] * (1 + 1e-6)
    assert found[0][1]["k"] == min(alone["k"] for alone in by_norm.values() if alone["certified"])
    assert "quadratic norm" not in replace(analysis, search_units=7)(runs[0])["by_norm"]
    before = [(record, {name: part for name, part in result.items() if name != "by_norm"}) for record, result in found]
    assert rates_table(before) is None
