"""Truncation: the layers against cut windows, their gradient, and every length of a trained model at once."""

import logging
import math
import shutil

import numpy as np
import pytest
import torch
from conftest import SMALL
from faults.children import script
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from stablernn.analysis import fewer_softmaxes as sparing
from stablernn.analysis import truncation as truncation_module
from stablernn.analysis.distribution import Distribution
from stablernn.analysis.fewer_softmaxes import FewerSoftmaxes
from stablernn.analysis.runner import analyse
from stablernn.analysis.truncation import TruncationAnalysis, chosen, cut_positions, measure_gaps, truncation_curve
from stablernn.analysis.truncation_curve import Sums
from stablernn.analysis.weight_distance import WeightDistance
from stablernn.benchmarks.plain import PlainModel
from stablernn.config.compose import compose
from stablernn.models.cells.gru import GRUCell
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.cells.rnn import RNNCell
from stablernn.models.feed_forward import FeedForward, truncated_states
from stablernn.models.heads.softmax import FullSoftmax
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_language_model
from stablernn.stability.certificates import certify
from stablernn.tasks.sequences import Sequences
from stablernn.tasks.splits import Split
from stablernn.training import checkpoint, evaluate
from stablernn.training.evaluate import score
from stablernn.training.run import run
from stablernn.training.trained import find_runs
from stablernn.utils.errors import ConfigurationError, RecordError

CELLS = [RNNCell, LSTMCell, GRUCell]


def network(cell, types, layers=1, dropout=0.0, backbone=Recurrent):
    torch.manual_seed(0)
    model = build_language_model(types, cell, backbone, 5, 6, num_layers=layers, dropout=dropout)
    with torch.no_grad():  # so that truncation is felt
        model.inputs.weight.mul_(15)
        model.objective.weight.mul_(15)
        for one in model.cells:
            one.weight_hh.mul_(1.5)
    return model


# ---- the layers


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("kind", CELLS)
@given(outputs=st.integers(1, 7), carried=st.integers(0, 9), k=st.integers(1, 11), seed=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_the_layers_and_their_gradient_are_those_of_cut_windows(kind, recompute, outputs, carried, k, seed):
    torch.manual_seed(seed)
    cell = kind(3, 4).double()
    x = torch.randn(carried + outputs, 2, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(outputs, 2, 4, dtype=torch.float64)
    inputs = [x, *cell.parameters()]

    def by_windows():
        found = []
        for position in range(carried, carried + outputs):
            state = cell.zeros(2)
            for t in range(max(0, position - k + 1), position + 1):
                state = cell(x[t], state)
            found.append(state.h)
        return torch.stack(found)

    expected = by_windows()
    gradients = torch.autograd.grad((expected * weights).sum(), inputs)
    for found in (
        cell.truncated(cell.project_inputs(x), k, outputs, recompute),
        cell.truncated_plainly(cell.project_inputs(x), k, outputs),
        truncated_states([cell], x, k)[-1].h[carried:],
    ):
        assert_close(found, expected, rtol=1e-10, atol=1e-12)
        for ours, theirs in zip(torch.autograd.grad((found * weights).sum(), inputs), gradients, strict=True):
            assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", CELLS)
def test_the_gradient_of_the_layers_matches_finite_differences(kind):
    cell = kind(2, 3).double()
    projected = torch.randn(6, 1, len(cell.weight_hh), dtype=torch.float64, requires_grad=True)
    for recompute in (False, True):
        assert torch.autograd.gradcheck(
            lambda p, *_, r=recompute: cell.truncated(p, 3, 4, r), (projected, *cell.parameters())
        )


@pytest.mark.parametrize("kind", CELLS)
def test_recomputing_changes_no_bit_and_keeps_less(kind):
    cell = kind(8, 8)
    x = torch.randn(60, 4, 8)
    found, held = [], []
    for recompute in (False, True):
        cell.zero_grad()
        y = cell.truncated(cell.project_inputs(x), 36, 25, recompute)
        held.append(_held(y.grad_fn))
        y.square().sum().backward()
        found.append((y, cell.weight_hh.grad.clone(), cell.weight_ih.grad.clone()))
    for plain, recomputed in zip(*found, strict=True):
        assert torch.equal(plain, recomputed)
    assert held[1] < held[0] / 3


def _held(node) -> int:
    """Numbers that the layers keep for their gradient."""
    kept = {}
    for _, before, layers in node.segments:
        parts = [*(before or ()), *(part for gates, start, after in layers for part in (gates, *start, *after))]
        kept |= {part.untyped_storage().data_ptr(): part.untyped_storage().size() for part in parts}
    return sum(kept.values())


# ---- every length of a trained model


@pytest.mark.parametrize("tolerance", [0.0, 1e-5, 1e-2])
@pytest.mark.parametrize("positions", [1, 30, 4096])
@pytest.mark.parametrize(("cell", "layers"), [(RNNCell, 1), (LSTMCell, 2)])
def test_the_curve_is_what_each_model_alone_scores(cell, layers, positions, tolerance, corpus):
    split = corpus.splits["valid"].first(211)
    recurrent = network(cell, corpus.types, layers, dropout=0.4)
    with torch.no_grad():  # contractive where first-order scores are to come up
        for one in recurrent.cells:
            one.weight_hh.mul_(0.3 if tolerance else 1.2)
    curve = truncation_curve(recurrent, split, [7, 1, 3, 7, 20], tolerance, positions)
    assert list(curve.truncated) == [1, 3, 7, 20]
    assert (curve.swept == 1) == (tolerance == 0)
    assert_close(curve.recurrent.total, score(recurrent, split).total, rtol=1e-6, atol=0)
    for k, ours in curve.truncated.items():
        alone = network(cell, corpus.types, layers, 0.4, lambda cells, dropout, k=k: FeedForward(cells, dropout, k=k))
        alone.load_state_dict(recurrent.state_dict())
        theirs = score(alone, split)
        assert ours.score.count == theirs.count == 211
        assert ours.cut == 211 - k, "all positions but the first k, which have no more inputs than that"
        assert abs(ours.score.total - theirs.total) <= 211 * (tolerance + 1e-6)
        assert_close(ours.gap.loss_change, (theirs.total - curve.recurrent.total) / 211, rtol=0, atol=tolerance + 1e-5)
    whole = truncation_curve(recurrent, split, [2, 400], tolerance, positions).truncated[400]  # sees all there is
    assert_close(whole.score.total, score(recurrent, split).total, rtol=1e-6, atol=0)
    assert whole.state["largest"] < 1e-5


@pytest.mark.parametrize("tolerance", [0.0, 0.1])
@pytest.mark.parametrize("positions", [7, 4096])
@pytest.mark.parametrize("sequences", [False, True])
def test_the_error_is_the_spread_of_the_change_over_blocks(tolerance, positions, sequences, corpus, monkeypatch):
    """Against scores of each model alone, which keep the same blocks, the last one short, or sequences."""
    monkeypatch.setattr(truncation_module, "BLOCK", 16)
    monkeypatch.setattr(evaluate, "BLOCK", 16)
    split, words = corpus.splits["valid"].first(211), np.diff([*range(0, 211, 16), 211])
    if sequences:
        words = np.array([13, 17, 15, 14, 16, 12, 18, 15, 14, 17, 15, 13, 16, 16])
        apart = np.cumsum(words)[:-1]
        inputs, targets = (tuple(np.split(ids.astype("int64"), apart)) for ids in (split.inputs, split.targets))
        split = Sequences(inputs, targets)
    model = network(LSTMCell, corpus.types).double()
    curve = truncation_curve(model, split, [1, 3], tolerance, positions)
    assert curve.swept == 1 if tolerance == 0 else 0.2 < curve.swept < 0.8  # some words by each of the two ways
    assert curve.parts == len(words)
    for k, ours in curve.truncated.items():
        alone = network(LSTMCell, corpus.types, 1, 0.0, lambda cells, dropout, k=k: FeedForward(cells, dropout, k=k))
        alone.double().load_state_dict(model.state_dict())
        changes = np.subtract(score(alone, split).totals, score(model, split).totals)
        drawn = np.random.default_rng(0).multinomial(14, np.full(14, 1 / 14), size=20_000)
        bootstrap = (drawn @ changes / (drawn @ words)).std() * math.sqrt(14 / 13)
        assert ours.error == pytest.approx(bootstrap, rel=0.05)
    alone = truncation_curve(model, split.first(13 if sequences else 16), [1], tolerance, positions)
    assert math.isnan(alone.truncated[1].error)


@pytest.mark.parametrize(("positions", "pieces"), [(7, 3), (4096, 3), (64, 1), (30, 13)])
def test_pieces_of_a_text_score_as_they_do_within_it(positions, pieces, corpus, monkeypatch):
    monkeypatch.setattr(truncation_module, "BLOCK", 16)
    split = corpus.splits["valid"].first(211)
    model = network(LSTMCell, corpus.types).double()
    curve = truncation_curve(model, split, [1, 9], 0.0, positions, pieces=pieces)
    scored = np.concatenate([np.arange(piece.start, piece.stop) for piece in chosen(211, positions, pieces)])
    assert len(scored) == len(set(scored)) == 16 * pieces
    assert scored.min() >= 0
    assert scored.max() < 211
    assert np.diff(scored).max() <= 1 + 211 / pieces
    x, y = torch.from_numpy(split.inputs.astype(int))[:, None], torch.from_numpy(split.targets.astype(int))

    def nats(backbone) -> float:
        features, _ = backbone(model.inputs(x), backbone.initial_state(1))
        return -float(model.objective.log_probabilities(features[:, 0], y)[scored].sum())

    cells = list(model.cells)
    assert_close(curve.recurrent.total, nats(Recurrent(cells)), rtol=1e-9, atol=0)
    assert curve.recurrent.count == len(scored)
    for k, ours in curve.truncated.items():
        assert_close(ours.score.total, nats(FeedForward(cells, k=k)), rtol=1e-9, atol=0)


def test_pieces_that_fill_a_text_are_all_of_it():
    assert chosen(5000, 4096, pieces=5) == chosen(5000, 4096) == [range(4096), range(4096, 5000)]


def test_the_optimum_of_a_made_text_is_that_of_all_of_it(small, tmp_path):
    run(small("training.max_updates=1"))
    (trained,) = find_runs("*", tmp_path / "runs", None, torch.device("cpu"))
    with pytest.raises(ConfigurationError, match=r"analysis\.pieces is for real text"):
        TruncationAnalysis(pieces=1)(trained)


def test_the_curve_is_what_cut_windows_score(corpus):
    """Beside the parallel form the plain one: a window cut for every position and k, each run from zero."""
    split = corpus.splits["valid"].first(60)
    model = network(LSTMCell, corpus.types)
    plain = PlainModel.like(model)
    words = torch.as_tensor(split.ids.astype("int64"))
    curve = truncation_curve(model, split, range(1, 9), tolerance=0.0)
    for k, ours in curve.truncated.items():
        nats = 0.0
        with torch.no_grad():
            for t in range(60):
                logits, _ = plain(words[max(0, t - k + 1) : t + 1, None], None)
                nats -= float(logits[-1, 0].double().log_softmax(0)[words[t + 1]])
        assert_close(ours.score.total, nats, rtol=1e-6, atol=0)


@pytest.mark.parametrize("cell", CELLS)
def test_first_order_scores_are_within_the_tolerance_on_every_word(cell, corpus):
    split = corpus.splits["valid"].first(300)
    model = network(cell, corpus.types).double()
    with torch.no_grad():
        model.cells[0].weight_hh.mul_(0.4)
    exact = truncation_curve(model, split, range(1, 25), tolerance=0.0)
    for tolerance in (1e-1, 1e-3, 1e-6):
        found = truncation_curve(model, split, range(1, 25), tolerance)
        assert found.swept < 1
        for k, ours in found.truncated.items():
            theirs = exact.truncated[k]
            # The neglected term has a sign, so the sum is off by no more, and never pessimistic.
            assert -1e-12 <= (theirs.score.total - ours.score.total) / 300 <= tolerance
            assert abs(ours.gap.largest - theirs.gap.largest) <= tolerance + 1e-12
            assert ours.state == theirs.state


@pytest.mark.parametrize("scale", [1.0, 300.0])  # the larger overflows without a shift
def test_the_moments_are_those_of_the_prediction(scale):
    objective = FullSoftmax(1300, 5)
    torch.nn.init.normal_(objective.weight)
    torch.nn.init.normal_(objective.bias)
    features, targets = scale * torch.randn(30, 5), torch.randint(1300, (30,))
    known, means, spread = objective.log_probabilities_and_moments(features, targets)
    with torch.no_grad():
        weight = objective.weight.double()
        logs = (features.double() @ weight.T + objective.bias).log_softmax(1)
    assert_close(known.double(), logs[torch.arange(30), targets], rtol=1e-5, atol=1e-4)
    assert_close(means.double(), logs.exp() @ weight, rtol=1e-3, atol=1e-4)
    exact = logs.exp() @ weight.square().sum(1) - (logs.exp() @ weight).square().sum(1)
    assert bool((spread >= exact - 1e-9).all())
    assert_close(spread.double(), exact, rtol=1e-3, atol=1e-3)


@given(half=st.floats(0.01, 0.5), tolerance=st.floats(1e-5, 1e-2))
@settings(max_examples=50, deadline=None)
def test_the_tolerance_holds_where_the_neglected_variance_is_largest(half, tolerance):
    """Two words, equally likely, as far apart as D_V allows: Popoviciu's inequality is an equality."""
    objective = FullSoftmax(2, 1).double()
    with torch.no_grad():
        objective.weight.copy_(torch.tensor([[half], [-half]]))
    sums = Sums(1, [50], objective.weight.device)
    scorer = FewerSoftmaxes(objective, tolerance, sums)
    features, targets = torch.zeros(50, 1, dtype=torch.float64), torch.arange(50) % 2
    reach = 2 * math.sqrt(8 * tolerance) / (2 * half)  # twice as far as first-order scores may be used
    moved = torch.linspace(-reach, reach, 50, dtype=torch.float64)[:, None]
    with torch.no_grad():
        scorer.begin(features, targets)
        scorer.add(0, moved)
    assert 20 <= scorer.rows <= 30  # the other half
    with torch.no_grad():
        scorer.flush()
    exact = float(objective.log_probabilities(moved, targets).sum())
    assert 0.1 * tolerance * 50 * 0.5 <= float(sums.truncated[0]) - exact <= tolerance * 50 * 0.5


@pytest.mark.parametrize("cell", CELLS)
def test_the_state_gap_stays_under_the_certified_bound(cell, corpus):
    model = network(cell, corpus.types).double()
    with torch.no_grad():
        model.cells[0].weight_hh.mul_(0.1)
    certificate = certify(model)
    assert certificate.holds
    curve = truncation_curve(model, corpus.splits["valid"].first(500), range(1, 15))
    for k, at in curve.truncated.items():
        assert 0 < at.state["mean"] <= at.state["p99"] <= at.state["largest"] <= certificate.state_gap(k)
        assert at.gap.largest <= certificate.gap(k)


def test_gaps_in_float64_fall_far_below_float32_rounding(corpus):
    model = network(RNNCell, corpus.types)
    with torch.no_grad():
        model.cells[0].weight_hh.mul_(0.2)
    gaps = measure_gaps(model, corpus.splits["valid"].first(100), [1, 30])
    assert gaps[1].largest > 1e-3
    assert gaps[30].largest < 1e-11
    assert next(model.parameters()).dtype is torch.float32


def test_few_rows_wait_and_all_are_counted(corpus, monkeypatch):
    split = corpus.splits["valid"].first(100)
    model = network(LSTMCell, corpus.types)
    one_by_one = truncation_curve(model, split, [2, 5], tolerance=0.0)
    monkeypatch.setattr(sparing, "_ROWS_A_SWEEP", 1)
    at_once = truncation_curve(model, split, [2, 5], tolerance=0.0)
    for k in (2, 5):
        assert_close(one_by_one.truncated[k].score.total, at_once.truncated[k].score.total, rtol=1e-7, atol=0)
        assert_close(one_by_one.truncated[k].gap.largest, at_once.truncated[k].gap.largest, rtol=1e-5, atol=1e-6)


@given(values=st.lists(st.floats(1e-12, 1e6), min_size=1, max_size=300), pieces=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_a_stream_has_the_mean_maximum_and_percentiles_of_its_numbers(values, pieces):
    numbers = torch.tensor(values, dtype=torch.float64)
    found = Distribution()
    for piece in numbers.chunk(pieces):
        found.add(piece)
    assert found.count == len(values)
    assert math.isclose(found.mean, float(numbers.mean()), rel_tol=1e-9)
    assert found.largest == float(numbers.max())
    for percent in (50, 99):
        exact = float(numbers.sort().values[math.ceil(percent / 100 * len(values)) - 1])
        assert exact * (1 - 1e-9) <= found.percentile(percent) <= exact * 1.012 * (1 + 1e-9)


# ---- the analyses


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    common = [*SMALL, f"runs={folder}", "training.max_updates=12", "training.snapshot_every=4", "model=rnn"]
    for options in (
        ["truncation.k=4", "approximation=recurrent"],
        ["truncation.k=2", "approximation=feedforward"],
        ["truncation.k=6", "approximation=feedforward"],
        ["truncation.k=6", "approximation=feedforward", "seed=1"],
    ):
        run(compose("train", [*common, *options]))
    return folder


def analysed(analysis, runs, pattern):
    return [result for _, result in analyse(analysis, find_runs(pattern, runs, None, torch.device("cpu")))]


def test_the_analysis_lies_above_the_optimal_curve(runs):
    (result,) = analysed(TruncationAnalysis(k_max=12), runs, "*recurrent*")
    assert result["k"] == list(range(1, 13))
    assert result["count"] == 700
    assert all(ours > best for ours, best in zip(result["value"], result["optimal"], strict=True))
    assert result["recurrent"]["value"] > result["optimal_whole_past"]
    assert len(result["state"]["mean"]) == len(result["certified"]["nats"] or result["k"]) == 12


def test_the_distance_is_that_of_runs_that_differ_in_k_alone(runs):
    two, six, _ = analysed(WeightDistance(reference=6), runs, "*feedforward*")
    assert two["updates"] == [0, 4, 8, 10]  # and at the end
    assert two["distance"][0] == 0 < two["distance"][1]
    assert six["distance"] == [0, 0, 0, 0]
    assert two["reference_run"] == six["run"]
    # By hand, at the end.
    last = {}
    for name in (two["run"], six["run"]):
        saved, _ = checkpoint.load(runs / name / checkpoint.LAST)
        last[name] = saved["model.backbone.cells.0.weight_hh"]
    assert_close(two["distance"][-1], float((last[two["run"]] - last[six["run"]]).norm()), rtol=1e-6, atol=0)


def test_a_distance_without_its_reference_says_what_is_missing(runs):
    with pytest.raises(RecordError, match=r"truncation\.k=9 alone.*analysis\.reference"):
        analysed(WeightDistance(reference=9), runs, "*feedforward-k2*")


def test_the_whole_split_is_there_where_training_saw_a_part(tmp_path):
    text = "a b c d e f g h\n" * 60
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text(text)
    options = [
        *(option for option in SMALL if "dataset" not in option and "profile" not in option),
        "dataset=text_folder",
    ]
    options += [f"dataset.path={tmp_path}", "dataset.name=own", "training.epochs=1", "model.dropout=0"]
    run(compose("train", [*options, f"runs={tmp_path / 'runs'}", "dataset.max_tokens={valid: 90, test: 100}"]))
    (trained,) = find_runs("*", tmp_path / "runs", str(tmp_path), torch.device("cpu"))
    assert len(trained.corpus.splits["test"]) == 100
    assert len(trained.whole_split("test")) == 540
    for whole, words in ((True, 540), (False, 100)):
        ((_, result),) = analyse(TruncationAnalysis(k_max=3, whole=whole), [trained], fresh=True)
        assert result["count"] == words


@pytest.mark.parametrize(
    "make",
    [
        lambda: TruncationAnalysis(k_max=0),
        lambda: TruncationAnalysis(split="tst"),
        lambda: TruncationAnalysis(tokens=0),
        lambda: TruncationAnalysis(tolerance=-1),
        lambda: WeightDistance(reference=0),
    ],
)
def test_options_that_make_no_sense_are_refused(make):
    with pytest.raises(ConfigurationError, match=r"k_max|split|tokens|tolerance|reference"):
        make()


def test_of_several_runs_those_that_cannot_be_analysed_are_left_out_with_a_line(runs, tmp_path, caplog, monkeypatch):
    """A run alone says why it cannot be."""
    monkeypatch.setattr(logging.getLogger("stablernn"), "propagate", True)
    shutil.copytree(runs, tmp_path / "some")
    broken = next((tmp_path / "some").glob("*recurrent*"))
    (broken / "best.safetensors").unlink()
    assert len(analysed(TruncationAnalysis(k_max=3), tmp_path / "some", "*")) == 3
    assert f"{broken.name}: left out: " in caplog.text
    with pytest.raises(RecordError, match=r"best\.safetensors is missing"):
        analysed(TruncationAnalysis(k_max=3), tmp_path / "some", broken.name)


def test_analyze_names_the_analysis_that_was_asked_for_and_says_where_it_has_no_result(runs, tmp_path):
    shutil.copytree(runs, tmp_path / "runs", ignore=shutil.ignore_patterns("best.safetensors", "truncation.json"))
    said = script("analyze", "analysis=ngram", "k_max=3", "progress=false", cwd=tmp_path)
    assert "ngram of 4 runs: " in said.stderr
    assert "truncation of" not in said.stderr
    assert said.stderr.count("left out: ") == 4
    assert said.stderr.endswith("analysis=ngram: 4 runs without a result (see above): name others by run=\n")
    assert said.returncode == 2


@given(
    lengths=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=4),
    both=st.booleans(),
    k=st.integers(1, 12),
)
def test_a_position_of_a_sequence_is_cut_where_it_has_more_than_k_inputs(lengths, both, k):
    """Counted one by one; in both directions more on either side, its own input counted on each."""
    ids = [np.zeros(length, dtype=np.int64) for length, _ in lengths]
    split = Sequences(tuple(ids), tuple(ids), scored=tuple(min(scored, length) for length, scored in lengths))
    counted = sum(
        position + 1 > k or (both and length - position > k)
        for number, (length, _) in enumerate(lengths)
        for position in range(split.before(number), length)
    )
    assert cut_positions(split, [k], [], both) == [counted]


@given(length=st.integers(1, 5000), pieces=st.none() | st.integers(1, 3), k=st.integers(1, 6000))
def test_a_position_of_a_text_is_cut_where_it_has_more_than_k_inputs(length, pieces, k):
    split = Split(np.zeros(length + 1, dtype=np.int64))
    scored = chosen(len(split), 700, pieces)
    assert cut_positions(split, [k], scored) == [sum(position + 1 > k for part in scored for position in part)]
