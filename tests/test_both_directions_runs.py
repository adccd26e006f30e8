"""Runs of both directions: from a configuration to a record, its analyses and the report; and what is refused."""

import pytest
import torch
from test_report import only_section
from test_slots import runs

from stablernn.analysis.certificate import CertificateAnalysis
from stablernn.analysis.contraction import ContractionAnalysis
from stablernn.analysis.conversion.convert import Conversion
from stablernn.analysis.estimate import analysis_seconds
from stablernn.analysis.exposure import ExposureAnalysis
from stablernn.analysis.runner import analyse, check_applies
from stablernn.analysis.truncation import TruncationAnalysis
from stablernn.config.compose import compose
from stablernn.config.identity import identity, run_id
from stablernn.config.instantiate import make
from stablernn.config.validate import check
from stablernn.records.record import read_run
from stablernn.report.claims.stability import price_of_stability
from stablernn.report.contents import SECTIONS
from stablernn.report.evidence import gather
from stablernn.report.formats import markdown
from stablernn.report.sections.certificate import certificate_table
from stablernn.report.sections.patterns import both_directions_table
from stablernn.report.sections.tasks import task_cells, tasks_table
from stablernn.training.build import build, build_for
from stablernn.training.run import run
from stablernn.training.trained import Trained, find_runs
from stablernn.utils.errors import ConfigurationError, NotApplicableError

# The tag of "go" is said by the word after it.
SENTENCES = "go now\tB-a O\ngo then\tB-b O\nplease go now or then\tO B-a O O O\nplease go then or now\tO B-b O O O\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("slots")
    (place / "train.iob").write_text(SENTENCES * 20)
    (place / "test.iob").write_text(SENTENCES)
    return place


def composed(folder, *options):
    own = ["dataset=slot_folder", "dataset.name=mine", f"dataset.path={folder}", f"runs={folder}/runs", "device=cpu"]
    own += ["dataset.delay=0"]
    size = ["model.hidden_size=8", "model.embedding_size=16", "model.dropout=0", "truncation.k=9", "training.epochs=8"]
    size += ["training.batch_size=4", "training.annealing=1", "training.early_stop=8", "training.clip=1"]
    return compose("train", [*own, "profile=smoke", "tracking=none", "progress=false", *size, *options])


def trained(folder, *options) -> Trained:
    made = run(composed(folder, *options))
    (found,) = find_runs(made.id, folder / "runs", None, torch.device("cpu"))
    return found


@pytest.fixture(scope="module")
def certified(folder):
    return trained(folder, "model=bilstm", "stability=lstm_gated_linear", "optimizer.lr=0.1", "model.num_layers=2")


def test_a_run_learns_and_its_record_says_what_is_proven(certified):
    record = read_run(certified.folder)
    assert record.status == "finished"
    assert record.metrics["test"]["value"] == 100
    assert record.certificate["certified"]
    assert len(record.model["norms"]) == 4, "two cells a layer"
    assert record.config["model"]["directions"] == 2


def test_a_stopped_run_goes_on_to_the_same_weights(folder, tmp_path):
    for place, *more in (["once"], ["twice", "training.pause_after=2"], ["twice"]):
        options = ["model=bigru", "model.dropout=0.2", "training.epochs=3", f"runs={tmp_path / place}"]
        run(composed(folder, *options, *more))
    once, twice = (find_runs("mine", tmp_path / part, None, torch.device("cpu"))[0] for part in ("once", "twice"))
    for one, other in zip(once.model("last").parameters(), twice.model("last").parameters(), strict=True):
        assert torch.equal(one, other)


def test_one_direction_has_the_id_that_it_had():
    plain = compose("train", ["model=lstm", "dataset=atis"])
    assert "directions" not in identity(plain)["model"]
    both = compose("train", ["model=lstm", "dataset=atis", "model.directions=2", "model.name=bilstm"])
    assert run_id(both) == run_id(compose("train", ["model=bilstm", "dataset=atis"])) != run_id(plain)


def test_it_has_about_as_many_parameters_as_the_network_of_one_direction_it_is_held_against(data_folder):
    path = f"dataset.path={data_folder}"
    both = compose("train", ["experiment=both_directions_atis", "model=bilstm", path])
    alone = compose("train", ["experiment=best/atis_lstm_cpu", path])
    interface = make(both.dataset).load().interface
    sizes = [build(config, interface)[0].size() for config in (both, alone)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)
    for option in ("training", "optimizer", "truncation"):
        assert both[option] == alone[option]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["model.directions=3"], "model.directions=3: choose 1, or 2"),
        (["training.sampling.decay=linear"], "training.sampling.decay=linear: .* leave it out"),
        (["training.snapshot_every=1"], "training.snapshot_every=1: .* leave it out"),
        (
            ["approximation=feedforward", "approximation.backbone.recompute=true"],
            "approximation.backbone.recompute=True: .* leave it out",
        ),
        (["model=tcn", "model.directions=2"], "model=tcn has none: set it to 1"),
    ],
)
def test_an_option_that_has_no_meaning_is_refused(options, message):
    config = compose("train", ["model=bilstm", "dataset=atis", *options])
    with pytest.raises(ConfigurationError, match=message) as refused:
        check(config)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("dataset", ["copy_memory", "copy_memory_output", "selectivity", "embedded"])
def test_a_task_that_is_answered_before_its_end_is_refused(dataset):
    short = {"embedded": ["dataset.max_tokens={train: 300, valid: 50, test: 50}"]}
    config = compose("train", [f"dataset={dataset}", "model=birnn", "model.hidden_size=4", *short.get(dataset, [])])
    with pytest.raises(ConfigurationError, match=f"on {dataset} an answer comes before they are there") as refused:
        build_for(config, make(config.dataset).load())
    assert "model=lstm" in str(refused.value)


def test_a_window_that_would_cut_a_sentence_is_refused_and_a_truncated_network_takes_any_k(folder):
    with pytest.raises(ConfigurationError, match=r"choose truncation\.k=5 or more, or .* approximation=feedforward"):
        run(composed(folder, "model=bilstm", "truncation.k=3"))
    for k, learnt in ((1, False), (2, True)):
        options = ["approximation=feedforward", f"truncation.k={k}", "optimizer.lr=0.1", "training.epochs=4"]
        found = run(composed(folder, "model=bilstm", *options)).metrics["test"]["value"] == 100
        assert found is learnt, "k = 2 is the next word too"
    assert run(composed(folder, "model=lstm", "optimizer.lr=0.1", "training.epochs=4")).metrics["test"]["value"] < 100


def test_slots_are_counted_in_both_directions_too(folder):
    files = ["dataset.file_names.train=train.iob", "dataset.file_names.test=test.iob", "dataset.folder=''"]
    own = ["dataset=atis_count", "dataset.name=mine", f"dataset.path={folder}", f"runs={folder}/counts", *files]
    small = ["profile=smoke", "tracking=none", "progress=false", "truncation.k=9", "training.epochs=1", "device=cpu"]
    assert run(compose("train", [*own, *small, "model=birnn", "dataset.most=2"])).status == "finished"


def test_analyses_of_both_directions_and_those_that_do_not_apply(folder, certified):
    (_, result), *_ = analyse(CertificateAnalysis(lengths=(2, 3), search_units=0), [certified])
    assert result["certificate"]["certified"]
    for k, gap in result["measured"].items():
        assert gap["largest"] <= result["certified"][k]
    assert result["measured"]["2"]["largest"] > 0
    assert result["singular_values"]["best"].keys() == {"W_i", "W_f", "W_z", "W_o"}
    table = markdown(certificate_table([(certified.record, result)]))
    assert "bidirectional LSTM k=9" in table
    assert "k is on each side" in table

    (_, curve), *_ = analyse(TruncationAnalysis(k_max=6, whole=False), [certified])
    assert curve["state"]["largest"][-1] == 0, "k = 6 is a whole sentence"
    assert curve["state"]["largest"][0] > 0
    assert all(gap <= bound for gap, bound in zip(curve["state"]["largest"], curve["certified"]["state"], strict=True))

    for analysis in (CertificateAnalysis(lengths=(2, 3), search_units=0), TruncationAnalysis(k_max=6, whole=False)):
        (seconds,) = analysis_seconds([(analysis, certified)])
        assert seconds is not None
        assert 0 < seconds < 60

    for analysis in (ContractionAnalysis(), ExposureAnalysis()):
        assert list(analyse(analysis, [certified])) == []
        with pytest.raises(NotApplicableError) as refused:
            check_applies(analysis, certified)
        assert f"model=bilstm reads in both directions, and analysis={analysis.name}" in str(refused.value)
    with pytest.raises(ConfigurationError, match="not applicable: the model reads later inputs too"):
        Conversion()(certified)


def test_truncation_of_a_run_is_the_network_that_is_trained_truncated(folder):
    found = trained(folder, "model=bilstm", "truncation.k=2", "approximation=feedforward", "optimizer.lr=0.1")
    (_, curve), *_ = analyse(TruncationAnalysis(k_max=3, whole=False, tolerance=0), [found])
    scored = found.record.metrics["test"]
    assert curve["value"][1] == pytest.approx(scored["total"] / scored["count"], rel=1e-5)


def test_the_report_has_its_rows_beside_the_others_and_no_verdict_waits_for_a_stable_run(tmp_path, certified):
    made = runs("unstable", [95.0, 94.0, 95.0]) + runs("stable", [95.0, 95.0, 94.0])
    both = runs("unstable", [96.0, 96.5, 96.0]) + runs("lstm_gated_linear", [95.0, 95.5, 95.0])
    for record in both:
        record.config["model"] |= {"name": "bilstm", "directions": 2}
        record.certificate |= {"certified": True, "rate": 0.9, "context": {"0.01": 70}}
        record.id = record.id.replace("atis-", "atis-bilstm-")
    data = only_section([*made, *both])
    cells = {(cell.name, cell.stability): cell for cell in task_cells(data)}
    assert cells.keys() == {
        ("LSTM", "unstable"),
        ("LSTM", "stable"),
        ("bidirectional LSTM", "unstable"),
        ("bidirectional LSTM", "lstm_gated_linear"),
    }
    base = cells["bidirectional LSTM", "lstm_gated_linear"].base
    assert set(base.ids) == {record.id for record in both[:3]}, "not held against the LSTM of one direction"
    table = markdown(tasks_table([data]))
    (row,) = [line for line in table.splitlines() if "bidirectional LSTM" in line and "W = 0" in line]
    assert "0.9" in row
    assert "70" in row
    assert "k is on each side" in table
    beside = both_directions_table(data)
    assert beside is not None
    assert [line[:2] for line in beside.lines] == [["LSTM", "unstable"]]  # of W = 0 there is none in one direction
    (ids,) = beside.runs
    assert set(ids) == {record.id for record in (*made, *both[:3]) if record.config["stability"]["name"] == "unstable"}
    assert both_directions_table(only_section(made)) is None

    for record in [*made, *both]:
        record.write(tmp_path / "records" / "cpu" / "tasks" / record.id)
    certified.record.write(tmp_path / "records" / "cpu" / "tasks" / certified.record.id)
    evidence = gather(tmp_path / "records", tmp_path)
    text = " ".join(str(judgement) for judgement in price_of_stability(evidence))
    assert "no stable run" not in text
    assert "LSTM" in text
    for section in SECTIONS:
        section.blocks(evidence)
