"""The benchmarks of sequence lengths and of truncation curves: what they measure, not how long it takes."""

import json
import logging

import pytest
import torch
from conftest import SMALL

from stablernn.benchmarks import measured, mechanisms, peers, suite
from stablernn.benchmarks import sequence_length as sequences
from stablernn.benchmarks.sequence_length import Length, Limits, measure_sequence, sequence_cases
from stablernn.benchmarks.suite import Benchmarks
from stablernn.config.compose import compose
from stablernn.config.instantiate import make
from stablernn.models.feed_forward import FeedForward
from stablernn.models.recurrent import Recurrent
from stablernn.records.schemas import bench_check
from stablernn.report.claims.speed import speed
from stablernn.report.evidence import Evidence
from stablernn.report.sections.bench import write_bench
from stablernn.report.sections.mechanisms import mechanism_table
from stablernn.report.sections.peer_speed import peer_table
from stablernn.report.sections.sequences import ratio, sequence_table
from stablernn.training.run import run
from stablernn.training.trained import find_runs
from stablernn.utils.errors import ConfigurationError, RecordError

CPU = torch.device("cpu")


def gradients(length: Length, backbone) -> dict[str, torch.Tensor]:
    """The gradients that one timed training run leaves."""
    kept = []
    build = sequences._network

    def network(*arguments):
        kept.append(build(*arguments))
        return kept[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sequences, "_network", network)
        patch.setattr(sequences, "TYPES", 50)
        sequences._runner(length, backbone, CPU)()
    return {
        name: (value.grad.to_dense() if value.grad.is_sparse else value.grad)
        for name, value in kept[0].backbone.named_parameters()
    }


@pytest.mark.parametrize("model", ["rnn", "lstm"])
def test_pieces_and_recomputation_leave_the_gradient_as_it_is(model, monkeypatch):
    length = Length(model, "training", 6, 2, 40)
    whole = gradients(length, lambda cells, dropout: FeedForward(cells, dropout, k=5))
    monkeypatch.setitem(sequences._ROWS_A_PIECE, "cpu", 14)
    for recompute in (False, True):
        pieces = gradients(length, lambda cells, dropout, r=recompute: FeedForward(cells, dropout, k=5, recompute=r))
        torch.testing.assert_close(pieces, whole, rtol=1e-4, atol=1e-6)
    # With all the words there are, it is the gradient of the recurrent model.
    monkeypatch.setitem(sequences._ROWS_A_PIECE, "cpu", 4096)
    longest = gradients(length, lambda cells, dropout: FeedForward(cells, dropout, k=40))
    torch.testing.assert_close(longest, gradients(length, Recurrent), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_lengths_are_measured_written_told_and_not_measured_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sequences, "TYPES", 50)
    monkeypatch.setattr(sequences, "_MEMORY_AT", 100)
    todo = sequence_cases(["rnn", "lstm"], 6, [1, 2], [8, 100])
    assert [length.steps for length in todo] == sorted(length.steps for length in todo)
    asked = "{size: 6, steps: [8,100], batches: [1,2], k: [2,3], seconds: 0.01}"
    benchmarks = Benchmarks(compose("bench", [f"results={tmp_path}", f"sequences={asked}"]), CPU)
    names = list(benchmarks.part("sequences"))
    assert [name for name in names if "softmax" not in name] == [length.name for length in todo]
    assert len(names) == 20
    path = benchmarks.lengths
    measured = json.loads(path.read_text())
    case = measured["cases"]["lstm-training-d6-b2-t100"]
    assert set(case["seconds"]) == {"recurrent", "k=2", "k=3", "k=2, recomputed", "k=3, recomputed"}
    assert set(case["memory"]) == set(case["seconds"])
    head = measured["softmax"]["lstm-training-d6"] * 200
    times = case["seconds"]
    assert ratio(measured, case, 2, whole=False) == times["recurrent"] / times["k=2"]
    assert ratio(measured, case, 2, whole=True) == (times["recurrent"] + head) / (times["k=2"] + head)
    monkeypatch.setattr(suite, "measure_sequence", lambda *_: pytest.fail("measured twice"))
    list(Benchmarks(benchmarks.options, CPU).part("sequences"))
    files = write_bench(tmp_path / "step-x.json", path, tmp_path / "jobs-x.json", [])
    assert files == [path.with_suffix(".md")]
    assert "Memory of a training step" in files[0].read_text()
    assert "Feed-forward against recurrent" in capsys.readouterr().err


def test_what_would_take_too_long_or_too_much_memory_is_left_out_and_told(monkeypatch):
    monkeypatch.setattr(sequences, "TYPES", 50)
    length = Length("lstm", "training", 6, 2, 1000)
    limits = Limits(seconds=0.01, longest=1.0, memory=1000.0)
    found = measure_sequence(length, [2, 3], CPU, limits, {"k=3": 7.0})
    assert "k=2" in found["seconds"]
    assert set(found["left_out"]) == {"recurrent", "k=3"}
    assert "7 s" in found["left_out"]["k=3"]
    shown = sequence_table({"cases": {"x": found}, "softmax": {"lstm-training-d6": 1.0}, "hardware": "h", "threads": 1})
    assert shown.lines[0][4:] == ["–"] * 5
    assert len(shown.remarks) == 2


def test_expected_times_come_from_the_longest_sequence_of_the_kind():
    known = {
        str(steps): {"model": "rnn", "work": "scoring", "size": 6, "batch": 1, "steps": steps, "seconds": {"k=2": s}}
        for steps, s in ((1000, 2.0), (10, 1.0))
    }
    assert sequences.expected_seconds(Length("rnn", "scoring", 6, 1, 5000), known) == {"k=2": 10.0}
    assert sequences.expected_seconds(Length("rnn", "training", 6, 1, 5000), known) == {}


def test_the_curve_is_timed_on_trained_runs(tmp_path):
    run(compose("train", [*SMALL, f"runs={tmp_path}", "training.max_updates=3"]))
    options = ["curve={run: '*', k_max: 5, words: 300, plain_words: 20}", f"runs={tmp_path}", f"results={tmp_path}"]
    benchmarks = Benchmarks(compose("bench", options), CPU)
    assert list(benchmarks.part("curve")) == [found.record.id for found in find_runs("*", tmp_path, None, CPU)]
    ((name, found),) = json.loads(benchmarks.lengths.read_text())["curves"].items()
    assert name.endswith("-k5")
    assert found["states_ratio"] == found["seconds"]["plain_states"] / found["seconds"]["states"]
    assert found["curve_ratio"] == found["seconds"]["plain_curve"] / found["seconds"]["curve"]
    assert 0 < found["swept"] <= 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suite, "measure_curve", lambda *_: pytest.fail("measured twice"))
        list(Benchmarks(benchmarks.options, CPU).part("curve"))


def test_without_trained_runs_the_curve_is_left_out_unless_it_alone_was_asked_for(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("stablernn"), "propagate", True)
    where = [f"runs={tmp_path}", f"results={tmp_path}"]
    assert list(Benchmarks(compose("bench", where), CPU).part("curve")) == []
    assert "trains one" in caplog.text
    with pytest.raises(RecordError, match="trains one"):
        list(Benchmarks(compose("bench", [*where, "parts=[curve]"]), CPU).part("curve"))


def test_throughput_of_several_runs_is_measured_once_for_each_number_that_there_are_cores_for(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(suite, "cores", lambda: 2)
    monkeypatch.setattr(suite, "packed", lambda case, device, count, seconds: asked.append(count) or 100.0 * count**0.5)
    monkeypatch.setattr(suite, "device_name", lambda device: "x")
    options = compose("bench", [f"results={tmp_path}", "models=[lstm]", "sizes=[200]", "jobs=[1,2,4]"])
    path = tmp_path / "bench" / "jobs-x.json"
    first = Benchmarks(options, CPU)
    assert first.about("jobs").startswith("2 measurements; each takes")
    list(first.part("jobs"))
    for benchmarks in (first, Benchmarks(options, CPU)):
        assert benchmarks.about("jobs").startswith(f"2 of 2 measurements already in {path}: nothing to do")
        assert list(benchmarks.part("jobs")) == []
    assert asked == [1, 2]
    (shown,) = write_bench(tmp_path / "no.json", tmp_path / "no.json", path, [])
    assert "| LSTM | 200 | 2 |" in shown.read_text()
    assert "| 141 | 1.41 |" in shown.read_text()
    monkeypatch.setattr(measured, "device_name", lambda device: "x")
    larger = Benchmarks(options, torch.device("cuda"))
    assert f"2 of 3 measurements already in {path}, 1 to do; " in larger.about("jobs")
    list(larger.part("jobs"))
    assert asked == [1, 2, 4], "how many fit a GPU has nothing to do with cores"


def test_an_update_of_each_mechanism_is_measured_once_against_the_lstm_of_its_task(tmp_path, monkeypatch):
    options = ["mechanisms={experiments: [atlas_smoke]}", f"results={tmp_path}", "seconds=0"]
    benchmarks = Benchmarks(compose("bench", options), CPU)
    names = list(benchmarks.part("mechanisms"))
    assert names == [f"adding_100-{model}-unstable" for model in ("orthogonal", "lstm", "lstm_fixed")]
    measured = json.loads(benchmarks.mechanisms.read_text())
    for name, case in measured["cases"].items():
        assert f"{case['dataset']}-{case['model']}-{case['stability']}" == name
        assert min(case["ratio"], *case["seconds"].values()) > 0
    assert [line[1] for line in mechanism_table(measured).lines].count("LSTM") == 1
    monkeypatch.setattr(suite, "measure_mechanism", lambda *_: pytest.fail("measured twice"))
    list(Benchmarks(benchmarks.options, CPU).part("mechanisms"))


def test_the_ratio_of_a_mechanism_is_the_median_over_alternating_pairs(monkeypatch):
    monkeypatch.setattr(mechanisms, "alternate", lambda *_, **__: {"this": [2.0, 90.0, 3.0], "lstm": [1.0, 9.0, 3.0]})
    rival, lines = mechanisms.mechanism_configs("atlas_smoke", CPU, None)
    corpus = make(rival.dataset).load()
    found = mechanisms.measure_mechanism(lines["adding_100-orthogonal-unstable"], rival, corpus, CPU, 0.0)
    assert (found["ratio"], found["seconds"]) == (2.0, {"this": 3.0, "lstm": 3.0})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["mechanisms={experiments: [nosuch]}"],
            r"mechanisms\.experiments: nosuch is unknown: choose of \[atlas_adding",
        ),
        (["mechanisms={experiments: []}"], r"mechanisms\.experiments=\[\]: name one at least"),
        (["seconds=-1"], "seconds=-1 must be a number >= 0"),
    ],
)
def test_wrong_options_of_mechanisms_are_named(options, said, tmp_path):
    where = [f"results={tmp_path}", "parts=[mechanisms]"]
    with pytest.raises(ConfigurationError, match=said):
        list(Benchmarks(compose("bench", [*where, *options]), CPU).part("mechanisms"))


def test_a_feed_forward_network_is_held_against_the_lstm_by_items_not_by_updates(tmp_path, monkeypatch):
    """An update of the network is of twice as many words here, and takes twice as long: it is as fast, not half."""

    def timed(work, device, seconds, least):
        for call in (*work.values(), *work.values()):
            call()
        return {"this": [2.0, 2.0], "lstm": [1.0, 1.0]}

    monkeypatch.setattr(peers, "alternate", timed)
    network = compose("train", ["profile=smoke", "model=tcn", "truncation.k=9", "approximation.window=8"])
    rival = compose("train", ["profile=smoke", "model=lstm", "approximation.window=4"])
    task = make(rival.dataset).load()
    case = peers.measure_peer(network, rival, task, CPU, 0.0, 50)
    words = network.training.batch_size * 8
    assert (case["training"]["this"], case["training"]["ratio"]) == (2 / words, 1.0)
    assert (case["scoring"]["lstm"], case["scoring"]["ratio"]) == (1 / 50, 0.5), "the same words on both sides"
    name = "peers-x.json"
    measured = {"hardware": "x", "threads": 1, "cases": {"embedded-tcn-k9": case}}
    bench_check("peers")(measured)
    (line,) = peer_table(measured).lines
    assert line[1:3] == ["TCN", "9"]
    assert line[-2:] == ["1", "0.5"]
    (found,) = speed(Evidence([], [], [], [], {}, {}, peers={name: measured}))
    assert "Scoring: at best 0.5 times as fast as the LSTM" in " ".join(found.parts)


def test_the_peers_of_a_task_meet_the_unconstrained_lstm_of_its_table():
    rival, networks = peers.peer_configs("peers_ptb", CPU, None)
    assert (rival.model.name, rival.stability.name, rival.dataset.name) == ("lstm", "unstable", "ptb")
    assert {"ptb-tcn-k25", "ptb-gated_conv-k4", "ptb-wavenet-k32", "ptb-transformer-k25"} <= set(networks)


@pytest.mark.parametrize(
    ("experiments", "said"),
    [
        ("[]", r"peers\.experiments=\[\]: name one at least, as \[peers_jsb\]"),
        ("[nosuch]", r"peers\.experiments: nosuch is unknown: choose of \[peers_adding"),
        ("[atlas_smoke]", r"peers\.experiments: atlas_smoke has no feed-forward network"),
    ],
)
def test_wrong_experiments_of_peers_are_named(experiments, said, tmp_path):
    options = [f"results={tmp_path}", "parts=[peers]", f"peers={{experiments: {experiments}}}"]
    with pytest.raises(ConfigurationError, match=said):
        list(Benchmarks(compose("bench", options), CPU).part("peers"))


def test_an_experiment_without_an_lstm_has_nothing_to_be_measured_against():
    with pytest.raises(ConfigurationError, match=r"mechanisms\.experiments: peers_ptb has no line"):
        mechanisms.mechanism_configs("peers_ptb", CPU, None)
