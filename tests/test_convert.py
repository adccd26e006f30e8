"""Converting a run: the choice of k, the exported network, the folder, the script."""

import dataclasses
import functools
import json
import logging
import re
from pathlib import Path

import pytest
import torch
from conftest import SMALL
from faults.children import script
from hypothesis import given, settings
from hypothesis import strategies as st
from test_usage import one_line
from torch.testing import assert_close

from stablernn.analysis.conversion import convert, export
from stablernn.analysis.conversion.card import CARD
from stablernn.analysis.conversion.choice import choose
from stablernn.analysis.conversion.convert import Conversion
from stablernn.analysis.conversion.converted import DESCRIPTION, VOCABULARY, WEIGHTS, load_converted
from stablernn.analysis.conversion.export import read_program, write_programs
from stablernn.analysis.conversion.network import Unrolled
from stablernn.analysis.conversion.scoring import log_probabilities
from stablernn.analysis.truncation import measure_gaps
from stablernn.commands.convert import convert as convert_command
from stablernn.config.compose import compose
from stablernn.models.cells.gru import GRUCell
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.cells.rnn import RNNCell
from stablernn.models.feed_forward import FeedForward
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import SequenceModel, build_language_model
from stablernn.records.record import read_record
from stablernn.report.sections.convert import conversion_table
from stablernn.stability.certificates import certify
from stablernn.stability.constraints.base import project
from stablernn.stability.constraints.spectral import SpectralNormBall
from stablernn.tasks.base import Interface
from stablernn.tasks.sequences import Sequences
from stablernn.training.run import run
from stablernn.training.trained import Trained, find_runs
from stablernn.utils.errors import ConfigurationError, ExportError, RecordError
from stablernn.utils.files import replacing_folder, write_json

KINDS = [(RNNCell, 1), (LSTMCell, 1), (RNNCell, 2), (LSTMCell, 2), (GRUCell, 2)]
TYPES, K = 11, 4
SHORT = ["training.max_updates=3"]


def network(cell, layers=1, types=TYPES, gain=1.0, backbone=Recurrent) -> SequenceModel:
    """A model whose truncation is felt: large inputs, recurrent weights times ``gain``."""
    torch.manual_seed(1)
    model = build_language_model(types, cell, backbone, 5, 6, num_layers=layers).eval()
    with torch.no_grad():
        model.inputs.weight.mul_(20)
        model.objective.weight.mul_(10)
        for one in model.cells:
            one.weight_hh.mul_(gain)
    return model


def feedforward(model: SequenceModel, k: int) -> SequenceModel:
    return SequenceModel(model.inputs, FeedForward(list(model.cells), k=k), model.objective).eval()


@functools.cache
def programs(cell, layers, folder: Path):
    write_programs(Unrolled(network(cell, layers), K), Interface.of_words(TYPES), folder, ["export", "onnx"])
    return [read_program(folder, name) for name in ("export", "onnx")]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    base = tmp_path_factory.mktemp("exported")

    def make(cell, layers):
        folder = base / f"{cell.__name__}{layers}"
        folder.mkdir(exist_ok=True)
        return programs(cell, layers, folder)

    return make


shapes = st.tuples(st.sampled_from([1, 2, K - 1, K, K + 1, 19]), st.integers(1, 3), st.integers(0, 9))


# Two layers are no other program for the simpler cell.
EXPORTED = [pytest.param(*kind, marks=[pytest.mark.slow] if kind == (RNNCell, 2) else []) for kind in KINDS]


@pytest.mark.parametrize(("cell", "layers"), EXPORTED)
def test_the_exported_network_is_the_truncated_model_at_any_time_and_batch(cell, layers, exported):
    forms = [Unrolled(network(cell, layers), K), *exported(cell, layers)]
    ours = feedforward(network(cell, layers), K)

    @settings(max_examples=30, deadline=None)
    @given(shapes)
    def check(shape):
        steps, batch, seed = shape
        words = torch.randint(TYPES, (steps, batch), generator=torch.Generator().manual_seed(seed))
        expected, _ = log_probabilities(ours, words)
        with torch.no_grad():
            for form in forms:
                assert_close(form(words), expected, rtol=0, atol=2e-5)

    check()


@pytest.mark.parametrize("wrong", [-1, -TYPES, TYPES, TYPES + 3, -TYPES - 1, -TYPES - 5])
@pytest.mark.parametrize("cell", [RNNCell, LSTMCell])
def test_an_id_that_is_no_word_is_refused_in_every_form(cell, wrong, exported):
    model = network(cell)
    forms = {"ours": Unrolled(model, K), "feed-forward": lambda words: log_probabilities(feedforward(model, K), words)}
    forms |= dict(zip(("export", "onnx"), exported(cell, 1), strict=True))
    words = torch.zeros(3, 2, dtype=torch.long)
    for form in forms.values():
        form(words)
    words[1, 1] = wrong
    for name, form in forms.items():
        with pytest.raises(Exception, match=r"(?i)out of (range|data bounds)"):
            pytest.fail(f"{name} takes {wrong}: {form(words).shape}")


def test_streams_down_and_time_across_is_refused_where_the_state_tells_and_said_where_nothing_does(exported, tmp_path):
    import onnx

    model = feedforward(network(RNNCell), K)
    words = torch.zeros(5, 2, dtype=torch.long)
    model(words, model.initial_state(2))
    with pytest.raises(ConfigurationError, match=r"inputs must be \(time, batch, ...\): they have 5 streams, .* has 2"):
        model(words.T, model.initial_state(2))
    with pytest.raises(ConfigurationError, match=r"ids must be \(time, batch\), and got \(5,\)"):
        Unrolled(network(RNNCell), K)(words[:, 0])
    write_programs(Unrolled(network(RNNCell), K), Interface.of_words(TYPES), tmp_path, ["onnx"])
    graph = onnx.load(tmp_path / "model.onnx").graph
    (given_,) = graph.input
    assert [axis.dim_param for axis in given_.type.tensor_type.shape.dim] == ["time", "batch"]
    assert f"ids 0 to {TYPES - 1}, (time, batch), time first" in graph.doc_string


def test_each_form_is_timed_on_one_thread_and_on_all_and_counts_with_the_better(monkeypatch, caplog):
    from stablernn.analysis.conversion import scoring

    rates = {1: {"recurrent": 200.0, "feedforward": 150.0}, 2: {"recurrent": 100.0, "feedforward": 180.0}}
    scatter = {"recurrent": 0.01, "feedforward": 0.5}
    before = torch.get_num_threads()
    monkeypatch.setattr(
        scoring,
        "scoring_speed",
        lambda *_: {"tokens_per_second": rates[torch.get_num_threads()], "scatter": scatter, "rounds": 7},
    )
    monkeypatch.setattr(logging.getLogger("stablernn"), "propagate", True)
    torch.set_num_threads(2)
    try:
        found = scoring.best_speed(network(RNNCell), network(RNNCell), dict, None, 1.0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert found["tokens_per_second"] == {"recurrent": 200.0, "feedforward": 180.0}
    assert found["threads"] == {"recurrent": 1, "feedforward": 2}
    assert set(found["by_threads"]) == {"1", "2"}
    assert "scatter by 50%" in caplog.text


def test_a_converted_model_is_loaded_by_the_name_of_its_folder():
    with pytest.raises(RecordError, match="nowhere is not a whole converted model"):
        load_converted("nowhere")


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(KINDS), st.integers(1, 7), st.integers(1, 9), st.integers(1, 2))
def test_every_k_unrolls_to_the_truncated_model(kind, k, steps, batch):
    model = network(*kind)
    words = torch.randint(TYPES, (steps, batch), generator=torch.Generator().manual_seed(steps))
    with torch.no_grad():
        assert_close(Unrolled(model, k)(words), log_probabilities(feedforward(model, k), words)[0], rtol=0, atol=2e-5)


def test_a_stream_scored_in_overlapping_pieces_is_the_stream(exported):
    words = torch.randint(TYPES, (23, 2))
    for program in exported(LSTMCell, 2):
        whole = program(words)
        pieces = [program(words[max(0, s - K + 1) : s + 5])[min(s, K - 1) :] for s in range(0, 23, 5)]
        assert_close(torch.cat(pieces), whole, rtol=0, atol=1e-5)


def test_a_certified_k_bounds_what_is_measured(corpus):
    split = corpus.splits["valid"].first(400)
    model = network(RNNCell, types=corpus.types, gain=0.5)
    choice = choose(model, split, 0.05, None, "auto")
    assert (choice.how, choice.k) == ("certified", certify(model).context(0.05))
    assert choice.certified_gap is not None
    assert choice.gap.largest <= choice.certified_gap <= 0.05
    assert abs(choice.gap.loss_change) <= choice.gap.largest


def test_the_best_norms_prove_a_k_that_the_plain_ones_do_not(corpus):
    split = corpus.splits["valid"].first(300)
    model = network(RNNCell, types=corpus.types, gain=4.0)
    project(SpectralNormBall(0.999), model)
    plain, best = certify(model, search_units=0).context(0.01), certify(model).context(0.01)
    assert best < plain
    choice = choose(model, split, 0.01, None, "certified", k_max=plain - 1)
    assert (choice.how, choice.k, choice.certified_k) == ("certified", best, best)
    assert choice.gap.largest <= choice.certified_gap <= 0.01


@pytest.mark.parametrize("epsilon", [0.3, 0.01, 1e-5, 1e-9])
def test_a_measured_k_is_the_least_that_holds_on(epsilon, corpus):
    split = corpus.splits["valid"].first(400)
    model = network(LSTMCell, types=corpus.types, gain=1.5)
    choice = choose(model, split, epsilon, None, "measured")
    assert choice.how == "measured"
    assert choice.k in choice.examined
    # Measured again by other means: in float64 both, so that the smallest epsilon means something.
    found = {k: gap.loss_change for k, gap in measure_gaps(model, split, list(choice.examined)).items()}
    assert all(abs(found[k]) <= epsilon for k in found if k >= choice.k)
    assert choice.k == 1 or abs(found[choice.k - 1]) > epsilon
    assert choice.examined == pytest.approx(found, abs=1e-12)


@pytest.mark.parametrize("length", [4, 64])
def test_a_k_that_short_sequences_leave_alone_is_said_to_be_one(length, corpus):
    """Positions with more than k inputs are counted one by one."""
    ids = corpus.splits["valid"].ids[: 4 * length + 1]
    begins = range(0, 4 * length, length)
    pieces = Sequences(tuple(ids[b : b + length] for b in begins), tuple(ids[b + 1 : b + length + 1] for b in begins))
    choice = choose(network(LSTMCell, types=corpus.types, gain=1.5), pieces, 0.005, None, "measured")
    longer = sum(position + 1 > choice.k for _ in begins for position in range(length))
    assert ("longer sequences may need more" in choice.reason) == (2 * longer < len(pieces)) == (length == 4)


def test_what_is_not_proven_is_measured_or_refused_with_the_reason(corpus):
    split = corpus.splits["valid"].first(300)
    unstable = network(LSTMCell, types=corpus.types, gain=4.0)
    choice = choose(unstable, split, 0.1, None, "auto")
    assert (choice.how, choice.certified_gap, choice.certified_k) == ("measured", None, None)
    assert "nothing is proven" in choice.reason
    with pytest.raises(ConfigurationError, match=r"guarantee=certified: nothing is proven.*choose guarantee=measured"):
        choose(unstable, split, 0.1, None, "certified")
    stable = network(RNNCell, types=corpus.types, gain=0.5)
    proven = certify(stable).context(1e-3)
    with pytest.raises(
        ConfigurationError, match=rf"k\(0\.001\) = {proven} is proven, but above k_max=2; set k_max={proven}"
    ):
        choose(stable, split, 1e-3, None, "certified", k_max=2)
    assert choose(stable, split, 0.1, 3, "auto").how == "given"


def test_a_proof_for_a_text_comes_before_a_measurement_and_after_one_for_all_inputs(corpus):
    split = corpus.splits["valid"].first(300)
    unstable, stable = network(LSTMCell, types=corpus.types, gain=4.0), network(RNNCell, types=corpus.types, gain=0.5)
    of_test = 7, "300 of 300 positions of test"
    choice = choose(unstable, split, 0.1, None, "auto", on_text=of_test)
    assert (choice.how, choice.k, choice.certified_gap) == ("on_text", 7, None)
    assert choice.reason.startswith("k = 7 is proven for 300 of 300 positions of test; for all inputs: nothing")
    assert choose(stable, split, 0.1, None, "auto", on_text=of_test).how == "certified"
    assert choose(stable, split, 0.1, None, "on_text", on_text=of_test).how == "on_text"
    assert choose(unstable, split, 0.1, None, "auto", k_max=6, on_text=of_test).how == "measured"
    refused = {
        None: "no such proof is at hand; compute one with",
        of_test: "k = 7 is proven, above k_max=6; or choose",
        (None, of_test[1]): "no k is proven for 300 of 300 positions of test; or choose",
    }
    assert "is proven, but" not in choose(stable, split, 0.1, None, "on_text", on_text=of_test).reason
    for known, why in refused.items():
        with pytest.raises(ConfigurationError, match=f"guarantee=on_text: {why}"):
            choose(unstable, split, 0.1, None, "on_text", k_max=6, on_text=known)


def test_a_k_max_that_is_too_small_is_refused_with_what_was_measured(corpus):
    model = network(LSTMCell, types=corpus.types, gain=3.0)
    with pytest.raises(ConfigurationError, match=r"k_max=1: .* changes the mean log-probability by .*larger k_max"):
        choose(model, corpus.splits["valid"].first(300), 1e-6, None, "measured", k_max=1)


def test_a_feed_forward_model_keeps_its_own_context(corpus):
    model, split = feedforward(network(RNNCell, types=corpus.types), 3), corpus.splits["valid"].first(50)
    choice = choose(model, split, 0.01, None, "certified")
    assert (choice.k, choice.how, choice.gap.largest) == (3, "own", 0.0)
    with pytest.raises(ConfigurationError, match="k=5: the run was trained as a feed-forward model of 3 inputs"):
        choose(model, split, 0.01, 5, "auto")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Trained:
    """A stable RNN after a few updates."""
    runs = tmp_path_factory.mktemp("runs")
    limit = ["model=rnn", "stability=rnn_spectral", "stability.constraint.limit=0.6", "training.max_updates=20"]
    run(compose("train", [*SMALL, *limit, f"runs={runs}"]))
    (found,) = find_runs("*", runs, None, torch.device("cpu"))
    return found


@pytest.fixture(scope="module")
def converted(trained) -> tuple[Path, dict]:
    return Conversion(seconds=0.1, tokens=300)(trained)


def test_the_folder_loads_as_the_truncated_model(trained, converted):
    folder, description = converted
    assert {path.name for path in folder.iterdir()} == {DESCRIPTION, WEIGHTS, CARD, "model.pt2", "model.onnx"}
    assert folder == trained.folder / f"feedforward-k{description['k']}"
    state = torch.get_rng_state()
    model = load_converted(folder)
    assert torch.equal(state, torch.get_rng_state())
    assert isinstance(model.backbone, FeedForward)
    words = torch.randint(description["types"], (40, 2))
    expected, _ = log_probabilities(feedforward(trained.model("best"), description["k"]), words)
    assert torch.equal(log_probabilities(model, words)[0], expected)
    assert description["choice"]["how"] == "certified"
    assert all(0 <= found["nats"] <= convert.TOLERANCE for found in description["parity"].values())
    assert {line[0] for line in conversion_table(description).lines} >= {"certified gap", "onnxruntime", "model.onnx"}


def altered(converted, tmp_path: Path, **changes) -> Path:
    """A copy of the converted folder with options of the configuration changed."""
    folder = tmp_path / "altered"
    folder.mkdir()
    for path in converted[0].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    values = json.loads((folder / DESCRIPTION).read_text())
    for option, value in changes.items():
        *parents, last = option.split("__")
        node = values
        for parent in parents:
            node = node[parent]
        node[last] = value
    del values["checksum"]
    write_json(folder / DESCRIPTION, values)
    return folder


def test_a_damaged_folder_is_refused(converted, tmp_path):
    folder = altered(converted, tmp_path)
    load_converted(folder)
    weights = bytearray((folder / WEIGHTS).read_bytes())
    weights[-3] ^= 1
    (folder / WEIGHTS).write_bytes(weights)
    with pytest.raises(RecordError, match=r"is not the file that .* describes: convert the run again"):
        load_converted(folder)
    (folder / WEIGHTS).unlink()
    with pytest.raises(RecordError, match="is not a whole converted model"):
        load_converted(folder)
    for text in ("{", "[]", "{}", '{"schema": 1}'):
        (folder / DESCRIPTION).write_text(text)
        with pytest.raises(RecordError, match="is not a whole converted model"):
            load_converted(folder)
    with pytest.raises(RecordError, match="is not a whole converted model"):
        load_converted(tmp_path / "nowhere")


BAD = {
    "another package": ({"config__model__cell___target_": "os.system"}, "lies outside stablernn"),
    "out of this package": (
        {"config__model__cell___target_": "stablernn.utils.files.os.system"},
        "is no class or function of stablernn",
    ),
    "of another kind": (
        {"config__model__cell___target_": "stablernn.records.record.Record"},
        "is no Cell of this package",
    ),
    "no such class": ({"config__model__cell___target_": "stablernn.nothing.Here"}, "does not exist"),
    "no name": ({"config__model__cell___target_": 3}, "lies outside stablernn"),
    "nested": (
        {"config__model__cell__input_size": {"_target_": "os.getloadavg"}},
        "is not an option of a trained model",
    ),
    "elsewhere": ({"config__model__name": {"_target_": "os.getloadavg"}}, "is not an option of a trained model"),
    "positional": ({"config__model__cell___args_": [1]}, "is not an option of a trained model"),
    "interpolation": ({"config__model__name": "${oc.env:HOME}"}, "is not resolved"),
    "size": ({"config__model__hidden_size": 0}, "model.hidden_size=0 must be a whole number >= 1"),
    "other size": ({"config__model__hidden_size": 9}, "of another model"),
    "types": ({"types": -1}, "types is not as its minimum 0 says"),
    "schema": ({"schema": 99}, "has schema 99"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_description_that_could_execute_something_or_does_not_fit_is_refused(case, converted, tmp_path, monkeypatch):
    monkeypatch.setattr("os.system", lambda *_: pytest.fail("executed"))
    monkeypatch.setattr("os.getloadavg", lambda *_: pytest.fail("executed"))
    changes, message = BAD[case]
    with pytest.raises(RecordError, match=message):
        load_converted(altered(converted, tmp_path, **changes))


def test_a_program_that_computes_something_else_is_not_written(trained, tmp_path, monkeypatch):
    def biased(folder, name):
        program = read_program(folder, name)
        return lambda words: program(words) + 2e-4

    monkeypatch.setattr(convert, "read_program", biased)
    with pytest.raises(ExportError, match=r"export differs from our model by 0\.0002 nats"):
        Conversion(tokens=100, formats=["export"], k=2, out=str(tmp_path / "out"))(trained)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "folder"
    for content in ("old", "new"):
        with replacing_folder(folder) as new:
            (new / content).touch()
        assert [path.name for path in folder.iterdir()] == [content]
    with pytest.raises(RuntimeError), replacing_folder(folder) as new:  # noqa: PT012
        (new / "half").touch()
        raise RuntimeError
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_of_something_else_is_left_alone(trained, tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(ConfigurationError, match="exists and is no converted model: choose another folder"):
        Conversion(out=str(tmp_path))(trained)


def test_what_is_not_proven_is_refused_before_anything_is_measured(trained, monkeypatch):
    announced = []
    monkeypatch.setattr(Conversion, "_announce", lambda *arguments: announced.append(arguments))
    for options in ({"guarantee": "certified", "epsilon": 1e-9, "k_max": 1}, {"guarantee": "on_text"}):
        with pytest.raises(ConfigurationError, match=f"guarantee={options['guarantee']}: "):
            Conversion(**options)(trained)
    assert not announced


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        (
            ["model=unitary", "dataset=adding"],
            r"name a run that predicts ids or frames; .* analysis=truncation run=\S*adding",
        ),
        (["model=clockwork", "dataset=copy_memory"], "depends on the time .* name a run of another model"),
    ],
)
def test_what_has_no_converted_form_is_refused_with_a_remedy(options, remedy, tmp_path):
    small = [
        "dataset.max_tokens={train: 4, valid: 2, test: 2}",
        "profile=smoke",
        "model.hidden_size=8",
        "tracking=none",
    ]
    made = run(compose("train", [*options, *small, "training.max_updates=1", f"runs={tmp_path}", "truncation.k=2000"]))
    with pytest.raises(ConfigurationError, match=remedy):
        Conversion()(Trained(tmp_path / made.id, made, None, torch.device("cpu")))


def test_without_onnx_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'stablernn\[export\]', or choose formats=\[export\]"):
        Conversion(formats=["onnx"])
    Conversion(formats=["export"])
    assert export.choose_formats(None) == ["export"], "what nobody asked for is left out"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epsilon=0", "epsilon=0.0 must be a positive number"),
        ("epsilon=small", "epsilon=small must be a number"),
        ("k=0", "k=0 must be a whole number >= 1"),
        ("guarantee=proven", "guarantee=proven is unknown: choose auto, certified, on_text, measured"),
        ("split=dev", "split=dev is unknown: choose train, valid, test"),
        ("formats=[tflite]", r"tflite is unknown: choose of \[export,onnx\]"),
    ],
)
def test_a_mistake_names_its_option(override, message):
    with pytest.raises(ConfigurationError, match=message):
        Conversion.of(compose("convert", [override]))


def test_the_defaults_are_those_of_the_file():
    assert Conversion.of(compose("convert", [])) == Conversion()
    assert {field.name for field in dataclasses.fields(Conversion)} <= set(compose("convert", []))


def test_the_script_converts_one_run(trained, tmp_path):
    runs, out = f"runs={trained.folder.parent}", tmp_path / "out"
    options = [runs, f"run={trained.record.id}", "epsilon=0.1", "tokens=300", "seconds=0.1", f"out={out}"]
    answer = script("convert", *options, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "certified" in answer.stderr
    assert f"written: {out}" in answer.stderr
    assert load_converted(out).backbone.k == json.loads((out / DESCRIPTION).read_text())["k"]


def test_a_name_that_fits_several_runs_is_refused_with_their_ids(trained, tmp_path):
    for name in ("twice-a", "twice-b"):
        entry = read_record(trained.folder)
        entry.id = name
        entry.write(tmp_path / name)
    with pytest.raises(ConfigurationError, match=r"run=twice names 2 runs; give more of one id:\n  \S+\n  \S+"):
        convert_command(compose("convert", [f"runs={tmp_path}", "run=twice"]))
    with pytest.raises(ConfigurationError, match="run is not set"):
        convert_command(compose("convert", [f"runs={tmp_path}"]))


def test_a_run_that_is_feed_forward_already_is_exported_as_it_is(tmp_path):
    run(compose("train", [*SMALL, "approximation=feedforward", "truncation.k=3", *SHORT, f"runs={tmp_path}"]))
    (found,) = find_runs("*", tmp_path, None, torch.device("cpu"))
    folder, description = Conversion(seconds=0.0, tokens=100, formats=[])(found)
    words = torch.randint(description["types"], (9, 2))
    expected, _ = log_probabilities(found.model("best"), words)
    assert torch.equal(log_probabilities(load_converted(folder), words)[0], expected)
    assert "certified gap" not in {line[0] for line in conversion_table(description).lines}


def test_on_real_text_the_programs_agree_with_the_model(data_folder, tmp_path):
    options = ["model=rnn", "stability=rnn_spectral", "stability.constraint.limit=0.5", "dataset=ptb", *SMALL[:5]]
    limits = ["training.max_updates=3", "dataset.max_tokens={train: 3000, valid: 500, test: 500}"]
    run(compose("train", [*options, *limits, f"dataset.path={data_folder}", f"runs={tmp_path}"]))
    (found,) = find_runs("*", tmp_path, str(data_folder), torch.device("cpu"))
    folder, description = Conversion(tokens=200, seconds=0.0)(found)
    assert description["types"] == 10_000
    words = (folder / VOCABULARY).read_text(encoding="utf-8").splitlines()
    first = [words[number] for number in found.corpus.splits["valid"].targets[:6]]
    assert (len(words), first) == (10_000, ["consumers", "may", "want", "to", "move", "their"])
    assert set(description["parity"]) == {"export", "onnx"}
    assert all(parity["nats"] <= convert.TOLERANCE for parity in description["parity"].values())


def test_a_run_has_the_card_of_an_export_and_its_code_runs(trained, converted, tmp_path, monkeypatch):
    """The three ways of the card give the log-probabilities of the truncated model."""
    folder, description = converted
    text = (folder / CARD).read_text(encoding="utf-8")
    assert text.startswith(f"# {trained.record.id} without recurrence\n")
    k = f"{description['k']} input{'s' if description['k'] > 1 else ''}"
    for part in (
        f"the last k = {k}.",
        "Proven: on any input",
        "on test",
        description["order"],
        "`model.onnx` by at most",
    ):
        assert part in text
    monkeypatch.chdir(folder)
    words = torch.randint(description["types"], (20, 2))
    expected, _ = log_probabilities(feedforward(trained.model("best"), description["k"]), words)
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        scope = {"words": words}
        exec(block, scope)
        assert_close(torch.as_tensor(scope["nats"]), expected, rtol=0, atol=1e-4)


def test_a_run_is_named_by_its_folder_too_and_without_run(trained, tmp_path):
    options = ["tokens=100", "seconds=0", "formats=[]", "k=2"]
    for number, name in enumerate((str(trained.folder), f"{trained.folder}/")):
        done = script("convert", name, *options, f"out={tmp_path / str(number)}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert find_runs(str(trained.folder), tmp_path, None, torch.device("cpu")) == [trained]
    said = one_line(script("convert", "one", "two", cwd=tmp_path))
    assert "run is given 2 times (run=one run=two): give one" in said
    assert "run=one: no finished run below runs has this id" in script("generate", "one", cwd=tmp_path).stderr
    asked = one_line(script("analyze", "truncation", cwd=tmp_path))
    assert "truncation is an analysis: write analysis=truncation" in asked


def test_the_k_of_a_network_that_is_feed_forward_by_construction_is_checked_first(tmp_path, caplog, monkeypatch):
    peer = ["model=transformer", "model.num_layers=1", "model.backbone.heads=2", "truncation.k=5"]
    run(compose("train", [*SMALL, *peer, *SHORT, f"runs={tmp_path}"]))
    (found,) = find_runs("*", tmp_path, None, torch.device("cpu"))
    monkeypatch.setattr(logging.getLogger("stablernn"), "propagate", True)
    caplog.set_level(logging.INFO)
    caplog.clear()
    with pytest.raises(ConfigurationError, match="k=7: the run was trained as a feed-forward model of 5 inputs"):
        Conversion(k=7)(found)
    assert not caplog.records
