"""Evaluation in parallel in time: the states are the sequential ones, the bound bounds, and trouble is noticed."""

import itertools
import math

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from stablernn.analysis.parallel import ParallelAnalysis, proofs_of
from stablernn.analysis.runner import analyse
from stablernn.models.cells.base import Cell
from stablernn.models.cells.gru import GRUCell
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.cells.rnn import RNNCell
from stablernn.models.cells.state import RNNState
from stablernn.models.kernels.scan import linear_scan
from stablernn.models.parallel.backbone import ParallelInTime
from stablernn.models.parallel.iterations import ITERATIONS, jacobi, newton
from stablernn.models.parallel.residuals import Contracting
from stablernn.models.parallel.solver import Solver
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_language_model
from stablernn.models.state import tensors
from stablernn.report.sections.parallel import parallel_table
from stablernn.stability import certify
from stablernn.training.evaluate import score
from stablernn.training.run import run
from stablernn.training.trained import find_runs
from stablernn.utils.errors import ConfigurationError

KINDS = {"rnn": RNNCell, "lstm": LSTMCell, "gru": GRUCell}
BOTH = list(itertools.product(KINDS, ITERATIONS))


def stack(kind: str, layers: int, gain: float, size: int = 6, forget: float = 0.0) -> list[Cell]:
    cells = [KINDS[kind](size if layer else 5, size) for layer in range(layers)]
    with torch.no_grad():
        for cell in cells:
            cell.weight_hh.mul_(gain)
            if kind == "lstm":
                cell.bias_ih.chunk(4)[1].fill_(forget)
    return cells


def plain(cell: Cell, x, state):
    """Every state, step by step through the cell's equations."""
    states = []
    for projected in cell.project_inputs(x):
        state = cell.step(projected, state)
        states.append(state)
    return type(state)(*(torch.stack(parts) for parts in zip(*states, strict=True)))


def largest(first, second) -> float:
    pairs = zip(tensors(first), tensors(second), strict=True)
    return max(float((a.detach() - b.detach()).abs().max()) for a, b in pairs)


@settings(max_examples=40, deadline=None)
@given(
    steps=st.integers(1, 700),
    seed=st.integers(0, 2**31),
    low=st.sampled_from([0.0, -1.0, 0.9]),
    high=st.sampled_from([1.0, 1.01]),
)
def test_the_scan_is_the_loop(steps, seed, low, high):
    generator = torch.Generator().manual_seed(seed)
    a = low + (high - low) * torch.rand(steps, 2, 3, generator=generator)
    b, y = torch.randn(steps, 2, 3, generator=generator), torch.randn(2, 3, generator=generator)
    expected, exact = [], y.double()
    for t in range(steps):
        exact = a[t].double() * exact + b[t].double()
        expected.append(exact)
    expected = torch.stack(expected)
    found = linear_scan(a, b, y)
    assert float((found - expected).abs().max()) <= 2e-6 * (1 + float(expected.abs().max()))
    torch.testing.assert_close(linear_scan(a.double(), b.double(), y.double()), expected)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    kind=st.sampled_from(list(KINDS)),
    iteration=st.sampled_from(list(ITERATIONS)),
    layers=st.integers(1, 2),
    gain=st.sampled_from([0.3, 1.0, 2.0, 6.0]),
    forget=st.sampled_from([-1.0, 1.0, 3.0]),
    steps=st.integers(1, 150),
    batch=st.integers(1, 3),
    chunk=st.sampled_from([1, 7, 64, 1024]),
)
@example(1, "rnn", "jacobi", 2, 2.0, -1.0, 95, 1, 1024)  # a position at rest right after one that still moves
def test_the_states_are_the_sequential_ones(seed, kind, iteration, layers, gain, forget, steps, batch, chunk):
    torch.manual_seed(seed)
    cells = stack(kind, layers, gain, forget=forget)
    parallel = ParallelInTime(cells, iteration=iteration, chunk=chunk).eval()
    x = torch.randn(steps, batch, 5)
    state = tuple(type(s)(*(0.5 * torch.randn_like(part) for part in s)) for s in parallel.initial_state(batch))
    with torch.no_grad():
        found = parallel(x, state)
        doubles = [type(cell)(cell.input_size, cell.hidden_size).double() for cell in cells]
        for double, cell in zip(doubles, cells, strict=True):
            double.load_state_dict(cell.state_dict())
        again = ParallelInTime(doubles, iteration=iteration, chunk=chunk).eval()
        expected = Recurrent(cells).eval()(x, state)
        exact = Recurrent(doubles)(x.double(), tuple(type(s)(*(part.double() for part in s)) for s in state))
        unrounded = again(x.double(), tuple(type(s)(*(part.double() for part in s)) for s in state))
    # Where it is chaotic, how a step is rounded makes all the difference, in float64 too after enough steps.
    if largest(expected, exact) <= 1e-2:
        assert largest(unrounded, exact) <= 1e-5
    if largest(expected, exact) <= 1e-6:
        assert largest(found, expected) <= 1e-5
    assert found[0].shape == (steps, batch, 6)
    assert sum(effort.steps for effort in parallel.efforts) == steps * layers
    assert len(parallel.efforts) == layers * math.ceil(steps / chunk)


@pytest.mark.parametrize(("kind", "iteration"), BOTH)
def test_in_float64_the_states_are_right_to_any_tolerance(kind, iteration):
    cell = stack(kind, 1, 1.0, size=16)[0].double()
    x, state = torch.randn(300, 2, 5, dtype=torch.float64), cell.zeros(2)
    with torch.no_grad():
        true = plain(cell, x, state)
    for tolerance in (1e-3, 1e-6, 1e-9, 1e-12):
        h, last, efforts = Solver(ITERATIONS[iteration], 128, tolerance)(cell, x, state)
        assert not any(effort.sequential for effort in efforts)
        assert largest(h, true.h) <= tolerance
        assert largest(last, tuple(part[-1] for part in true)) <= tolerance
    assert [effort.steps for effort in efforts] == [128, 128, 44]


@pytest.mark.parametrize(("kind", "iteration"), BOTH)
def test_split_windows_give_what_the_whole_gives(kind, iteration):
    parallel = ParallelInTime(stack(kind, 2, 1.0), iteration=iteration, chunk=50).eval()
    x = torch.randn(120, 2, 5)
    with torch.no_grad():
        whole, final = parallel(x, parallel.initial_state(2))
        state, parts = parallel.initial_state(2), []
        for window in x.split([1, 70, 49]):
            y, state = parallel(window, state)
            parts.append(y)
    assert largest(torch.cat(parts), whole) <= 1e-5
    assert largest(state, final) <= 1e-5


def contractive(kind: str, seed: int, gain: float) -> tuple[Cell, Contracting | None, torch.Tensor]:
    """A cell in float64 with a proof for the inputs of a small vocabulary, and words of it."""
    torch.manual_seed(seed)
    model = build_language_model(9, KINDS[kind], Recurrent, 5, 6)
    with torch.no_grad():
        cell = model.cells[0]
        cell.weight_hh.mul_(gain)
        if kind == "rnn":
            cell.weight_hh.mul_(0.95 / torch.linalg.matrix_norm(cell.weight_hh, ord=2) / max(gain, 1))
        model.inputs.weight.mul_(5)
    (proof,) = proofs_of(certify(model), 1e-5)
    words = torch.randint(9, (90, 2))
    return cell.double(), proof, model.inputs.weight.detach().double()[words]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    kind=st.sampled_from(list(KINDS)),
    iteration=st.sampled_from(list(ITERATIONS)),
    gain=st.sampled_from([0.1, 0.4, 1.0]),
    tolerance=st.sampled_from([1.0, 0.1, 1e-2, 1e-4]),
    chunk=st.sampled_from([5, 90]),
)
def test_a_certified_stop_is_within_its_bound(seed, kind, iteration, gain, tolerance, chunk):
    cell, proof, x = contractive(kind, seed, min(gain, 0.4) if kind == "lstm" else gain)
    assume(proof is not None)  # nearly always
    state = cell.zeros(2)
    with torch.no_grad():
        true = plain(cell, x, state)
    h, last, efforts = Solver(ITERATIONS[iteration], chunk, tolerance)(cell, x, state, proof)
    assert all(effort.proven and not effort.sequential for effort in efforts)
    for effort, found, expected in zip(efforts, h.split(chunk), true.h.split(chunk), strict=True):
        assert effort.error <= tolerance
        assert largest(found, expected) <= effort.error + 1e-12
    assert largest(last, tuple(part[-1] for part in true)) <= 0.1 * tolerance


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    kind=st.sampled_from(list(KINDS)),
    noise=st.sampled_from([0.0, 1e-3, 0.1, 1.0]),
    where=st.integers(0, 89),
)
def test_the_bound_holds_for_every_guess(seed, kind, noise, where):
    """Adversarial guesses: right everywhere but for a stretch, so that the residual is large at its start alone."""
    cell, proof, x = contractive(kind, seed, 0.3)
    assume(proof is not None)  # nearly always
    with torch.no_grad():
        true = plain(cell, x, cell.zeros(2))
        guess = type(true)(*(part.clone() for part in true))
        assert proof.box is not None
        wrong = cell.zeros(2)
        for part, bound in zip(wrong, proof.box, strict=True):
            part.add_(noise * bound * torch.empty_like(part).uniform_(-1, 1))
        wrong = type(true)(
            *(torch.minimum(torch.maximum(a[where] + w, -b), b) for a, w, b in zip(true, wrong, proof.box, strict=True))
        )
        for t in range(where, 90):  # a trajectory of its own: no residual anywhere after its start
            for part, value in zip(guess, wrong, strict=True):
                part[t] = value
            if t < 89:
                wrong = cell(x[t + 1], wrong)
    h, _, (effort,) = Solver(jacobi, 90, 1e9)(cell, x, cell.zeros(2), proof, guess=guess)
    assert effort.iterations == 1
    assert largest(h, true.h) <= effort.error * (1 + 1e-9) + 1e-12
    if noise == 1.0 and where < 89:
        assert effort.error > 0


def test_newton_needs_fewer_iterations_where_the_memory_is_long():
    cell = stack("lstm", 1, 0.5, size=16, forget=3.0)[0]
    x = torch.randn(500, 1, 5)
    with torch.no_grad():
        expected, _ = cell.sequence(x, cell.zeros(1))
    took = {}
    for name, iteration in ITERATIONS.items():
        h, _, (effort,) = Solver(iteration, max_iterations=500)(cell, x, cell.zeros(1))
        assert largest(h, expected) <= 1e-5
        took[name] = math.inf if effort.sequential else effort.iterations
    assert took["newton"] <= 40
    assert took["jacobi"] >= 4 * took["newton"]


def test_newton_needs_fewer_iterations_where_units_remember_by_themselves():
    cell = stack("rnn", 1, 0.2, size=16)[0]
    with torch.no_grad():
        cell.weight_hh.diagonal().fill_(0.9)
    x = 0.1 * torch.randn(300, 1, 5)
    took = [Solver(iteration)(cell, x, cell.zeros(1))[2][0].iterations for iteration in (newton, jacobi)]
    assert 2 * took[0] < took[1]


def test_without_recurrent_weights_newton_needs_two_iterations():
    cell = stack("lstm", 1, 0.0, forget=5.0)[0].double()
    _, _, (effort,) = Solver(newton, tolerance=1e-9)(cell, torch.randn(400, 1, 5).double(), cell.zeros(1))
    assert effort.iterations <= 3


@pytest.mark.parametrize(("kind", "iteration"), BOTH)
def test_a_chaotic_cell_is_noticed_and_run_step_by_step(kind, iteration):
    cell = stack(kind, 1, 12.0, size=24)[0]
    x = torch.randn(600, 1, 5)
    with torch.no_grad():
        expected, last = cell.sequence(x, cell.zeros(1))
    h, found, efforts = Solver(ITERATIONS[iteration], chunk=300)(cell, x, cell.zeros(1))
    assert [effort.sequential for effort in efforts] == [True, True]
    assert efforts[0].iterations < 40, "it is noticed long before the iterations are spent"
    assert efforts[1].iterations == 0
    assert torch.equal(h, expected)
    assert largest(found, last) == 0


def test_small_errors_of_chunks_before_are_not_left_to_grow():
    """Inputs so large that they alone decide, and then a stretch in which the cell is chaotic."""
    cell = stack("rnn", 1, 12.0, size=24)[0]
    x = torch.cat([torch.zeros(1, 1, 5), 1000 * torch.randn(63, 1, 5), torch.randn(128, 1, 5)])
    state = RNNState(0.1 * torch.randn(1, 24))
    with torch.no_grad():
        expected, last = cell.sequence(x, state)
    h, found, efforts = Solver(jacobi, chunk=64, max_iterations=40)(cell, x, state)
    assert [effort.sequential for effort in efforts] == [True, True, True]
    assert efforts[0].iterations > 0 < efforts[1].iterations, "the first chunk converged"
    assert torch.equal(h, expected)
    assert largest(found, last) == 0


def test_a_proof_whose_bound_rounding_keeps_above_the_tolerance_needs_no_steps():
    torch.manual_seed(0)
    cell = stack("rnn", 1, 1.0, size=24)[0]
    x = torch.randn(256, 1, 5)
    proof = Contracting(0.9999, lambda state: torch.linalg.vector_norm(state.h, dim=-1), 1.0)
    with torch.no_grad():
        expected, _ = cell.sequence(x, cell.zeros(1))
    h, _, efforts = Solver(jacobi, chunk=64)(cell, x, cell.zeros(1), proof)
    assert not any(effort.sequential for effort in efforts)
    assert efforts[-1].error > 1e-5
    assert largest(h, expected) <= 1e-5


def test_an_explosion_is_noticed():
    class Doubling(RNNCell):
        def step(self, projected, state):
            return RNNState(1e4 * state.h + projected + 1)

        sequence = Cell.sequence

    cell = Doubling(5, 6)
    x = torch.randn(30, 1, 5)
    with torch.no_grad():
        expected, _ = cell.sequence(x, cell.zeros(1))
    h, _, (effort,) = Solver(jacobi)(cell, x, cell.zeros(1))
    assert effort.sequential
    assert torch.equal(h, expected)


def test_where_no_progress_is_possible_a_position_is_settled_each_iteration():
    cell = stack("rnn", 1, 12.0, size=24)[0].double()
    x = torch.randn(16, 1, 5).double()
    h, _, (effort,) = Solver(jacobi)(cell, x, cell.zeros(1))
    assert not effort.sequential
    assert effort.iterations <= 16
    assert largest(h, plain(cell, x, cell.zeros(1)).h) <= 1e-12


def test_training_steps_through_time():
    torch.manual_seed(0)
    parallel, recurrent = (
        build_language_model(9, LSTMCell, backbone, 5, 6, num_layers=2) for backbone in (ParallelInTime, Recurrent)
    )
    recurrent.load_state_dict(parallel.state_dict())
    words = torch.randint(9, (12, 2))
    for model in (parallel, recurrent):
        model.loss(words, words, model.initial_state(2))[0].backward()
    for ours, theirs in zip(parallel.parameters(), recurrent.parameters(), strict=True):
        assert ours.grad is not None
        assert torch.equal(ours.grad, theirs.grad)
    assert parallel.backbone.efforts == []


def test_a_split_is_scored_alike(corpus):
    torch.manual_seed(0)
    recurrent = build_language_model(corpus.types, LSTMCell, Recurrent, 5, 6)
    parallel = build_language_model(corpus.types, LSTMCell, ParallelInTime, 5, 6)
    parallel.load_state_dict(recurrent.state_dict())
    assert score(parallel, corpus.splits["valid"]).total == pytest.approx(
        score(recurrent, corpus.splits["valid"]).total, rel=1e-6
    )
    assert [effort.sequential for effort in parallel.backbone.efforts] == [False]


@pytest.mark.parametrize("kind", KINDS)
def test_the_analysis_is_tabled(kind, small, tmp_path):
    record = run(small(f"model={kind}", "stability=stable", "training.max_updates=4"))
    (trained,) = find_runs(record.id, tmp_path / "runs", None, torch.device("cpu"))
    analysis = ParallelAnalysis(tokens=200, chunk=64, rounds=1)
    ((_, result),) = analyse(analysis, [trained])
    assert set(result["methods"]) == set(ITERATIONS)
    for method in result["methods"].values():
        assert method["difference"] <= 1e-5
        assert method["difference_float64"] <= 1e-5
        assert method["chunks"] == 4
        assert method["fallbacks"] == 0
    shown = parallel_table([(trained.record, result)])
    assert len(shown.lines) == len(ITERATIONS)
    assert all(len(line) == len(shown.heads) for line in shown.lines)
    assert shown.notes[0].startswith("200 words of valid")
    cut = parallel_table([(trained.record, result | {"count": 150})])  # the split has no more
    assert cut.notes[0].startswith("150 words of valid")


def test_options_that_do_not_fit_are_refused_by_name():
    with pytest.raises(ConfigurationError, match="iteration=gauss"):
        ParallelInTime(stack("rnn", 1, 1.0), iteration="gauss")
    with pytest.raises(ConfigurationError, match="1 proof for 2 cells"):
        ParallelInTime(stack("rnn", 2, 1.0), proofs=[None])
    with pytest.raises(ConfigurationError, match="chunk=0"):
        ParallelInTime(stack("rnn", 1, 1.0), chunk=0)
    with pytest.raises(ConfigurationError, match="tolerance=0"):
        ParallelInTime(stack("rnn", 1, 1.0), tolerance=0.0)
    with pytest.raises(ConfigurationError, match=r"analysis\.split=tst"):
        ParallelAnalysis(split="tst")
    with pytest.raises(ConfigurationError, match=r"analysis\.methods"):
        ParallelAnalysis(methods=("gauss",))


def test_guesses_are_kept_where_the_proof_holds():
    torch.manual_seed(0)
    cell, proof, words = contractive("rnn", 3, 0.5)
    assert proof is not None
    seen = []

    def wild(cell, projected, before, initial):
        seen.append(before.h[1:])  # the first is the true state before
        image = cell.step(projected, before)
        return image, type(image)(image.h * 100)

    Solver(wild, tolerance=1e-9)(cell, words, cell.zeros(words.shape[1]), proof)
    assert len(seen) > 3
    assert all(bool((guess.abs() <= proof.box.h).all()) for guess in seen)
    assert float(proof.box.h.max()) < 1 + 1e-9
