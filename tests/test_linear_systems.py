"""Linear systems: the exact expectation against recurrences, the proof's steps one by one, the bound, what is kept."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd.functional import jacobian
from torch.testing import assert_close

from stablernn.analysis.linear.bound import Bound, Norms
from stablernn.analysis.linear.descent import System, descend, fit, orthogonal, proven_steps, responses, step_sizes
from stablernn.analysis.linear.matrix import MatrixStudy, run_studies
from stablernn.analysis.linear.scalar import ScalarStudy, descend_scalar
from stablernn.commands.linear_systems import linear_systems
from stablernn.config.compose import compose
from stablernn.config.instantiate import make
from stablernn.experiments.parts import LinearPart
from stablernn.report.load import load_linear_systems
from stablernn.report.sections.linear_systems import linear_tables
from stablernn.utils.errors import ConfigurationError

NORMS = st.floats(0.2, 1.15)
SEEDS = st.integers(0, 999)


def system(norm=0.8, length=12, correlation=0.5, seed=0, size=3):
    return System.make(norm, size, 2, 2, length, correlation, seed)


def scalar(value):
    return torch.full((1, 1), value, dtype=torch.float64)


def within(made, seed):
    """A matrix in the ball, half of them on its border."""
    generator = torch.Generator().manual_seed(seed)
    size = len(made.w)
    w = torch.randn(size, size, generator=generator, dtype=torch.float64)
    return made.project(w * made.radius * (1.0 if seed % 2 else 0.3))


def gradient(made, w, k):
    w = w.clone().requires_grad_()
    loss = made.errors(w[None], torch.tensor([k])).square().sum() / 2
    return torch.autograd.grad(loss, [w])[0]


@given(norm=NORMS, correlation=st.floats(0, 0.9), seed=SEEDS, k=st.integers(1, 9))
@settings(max_examples=15, deadline=None)
def test_the_expected_error_is_that_of_unrolled_recurrences(norm, correlation, seed, k):
    """The inputs of which the columns of L are lags have covariance Γ when summed over columns and coordinates."""
    made = system(norm, 9, correlation, seed)
    student = within(made, seed)
    steps = torch.arange(9, dtype=torch.float64)
    assert_close(made.root @ made.root.T, correlation ** (steps[:, None] - steps).abs(), rtol=1e-9, atol=1e-12)
    total, whole = 0.0, 0.0
    for column in range(9):
        for coordinate in range(2):
            x = torch.zeros(9, 2, dtype=torch.float64)
            x[:, coordinate] = made.root[:, column].flip(0)  # lag 0 is the last input
            outputs = []
            for w, seen in ((made.w, 9), (student, k)):
                h = torch.zeros(3, dtype=torch.float64)
                for t in range(9 - seen, 9):
                    h = w @ h + made.u @ x[t]
                outputs.append(made.c @ h)
            total += float((outputs[0] - outputs[1]).square().sum())
            whole += float(outputs[0].square().sum())
    assert whole == pytest.approx(1, rel=1e-9)
    assert float(made.errors(student[None], torch.tensor([k]))[0]) ** 2 == pytest.approx(total, rel=1e-8, abs=1e-12)


def test_every_mode_of_the_teacher_has_its_norm():
    assert_close(torch.linalg.svdvals(system(1.1).w), torch.full((3,), 1.1, dtype=torch.float64))


@given(
    norm=st.floats(1.05, 1.5), radius=st.floats(0.3, 0.95), seed=SEEDS, size=st.integers(2, 5), known=st.integers(1, 2)
)
@settings(max_examples=30, deadline=None)
def test_a_teacher_that_is_not_normal_has_its_norm_and_its_radius(norm, radius, seed, size, known):
    made = System.make(norm, size, known, 2, 12, 0.5, seed, radius)
    assert float(torch.linalg.matrix_norm(made.w, ord=2)) == pytest.approx(norm, rel=1e-12)
    rest = made.w - radius * torch.eye(size, dtype=torch.float64)
    # Eigenvalues of a Jordan block are known to some root of the rounding only; that the rest is nilpotent is exact.
    assert float(torch.linalg.matrix_power(rest, size).norm()) < 1e-11
    assert float(rest.norm()) > 0.04
    assert float((made.w @ made.w.T - made.w.T @ made.w).norm()) > 1e-3
    assert float(made.error(responses(made.w, made.u, made.c, 12))) == pytest.approx(1, rel=1e-9)
    assert torch.equal(made.w, System.make(norm, size, known, 2, 12, 0.5, seed, radius).w)
    orthogonal_one = System.make(norm, size, known, 2, 12, 0.5, seed)
    assert torch.equal(made.u, orthogonal_one.u)  # what differs between the two kinds is W


def test_a_norm_above_one_alone_does_not_keep_a_teacher_from_being_learned():
    errors = {}
    for radius in (0.5, None):
        made = System.make(1.2, 3, 2, 2, 64, 0.5, 0, radius)
        start = 0.6 * orthogonal(3, torch.Generator().manual_seed(5))
        errors[radius] = float(fit(made, start, step_sizes(-4, 1, 2), 150).nan_to_num(math.inf).min())
    assert errors[0.5] < 0.1
    assert errors[None] > 0.9


def test_the_projection_is_the_nearest_matrix_and_leaves_those_within_alone():
    made = system(0.8)
    inside, outside = 0.3 * orthogonal(3, torch.Generator().manual_seed(1)), torch.diag(torch.tensor([2.0, 0.5, 0.8]))
    projected = made.project(torch.stack([inside, outside.double()]))
    assert torch.equal(projected[0], inside)
    assert_close(projected[1], torch.diag(torch.tensor([0.8, 0.5, 0.8])).double())


@pytest.mark.parametrize("radius", [0.5, 0.9, 1.1])
def test_the_constants_are_attained_by_a_scalar_system_at_the_border(radius):
    """d = 1, W = λ > 0: the triangle inequalities of steps 1 to 3 are equalities."""
    c, u, length, k = 1.7, 0.6, 20, 7
    bound = Bound(Norms(radius, 1, c, u, u, 1.0, length), torch.tensor([k]))

    def m(w):
        return responses(w.view(1, 1), scalar(u), scalar(c), length).flatten()

    w = torch.tensor(radius, dtype=torch.float64)
    first = jacobian(m, w)
    second = jacobian(lambda w: jacobian(m, w, create_graph=True), w)
    for found, expected in (
        (bound.slope, first[:k]),
        (bound.late_slope, first[k:]),
        (bound.bend, second[:k]),
        (bound.late, m(w)[k:]),
    ):
        assert float(found[0]) == pytest.approx(float(expected.norm()), rel=1e-9)


def test_all_columns_of_the_input_count_in_what_truncation_leaves_out():
    eye = torch.eye(2, dtype=torch.float64)
    bound = Bound(Norms(0.9, 2, 1.7, 0.6, 0.6 * 2**0.5, 1.0, 20), torch.tensor([7]))
    assert float(bound.late[0]) == pytest.approx(float(responses(0.9 * eye, 0.6 * eye, 1.7 * eye, 20)[7:].norm()))


def test_the_parts_are_put_together_as_in_the_proof():
    """Steps 2 and 3 with the sums written out."""
    bound = Bound(Norms(0.9, 1, 1.7, 0.6, 0.6, 2.25, 20), torch.tensor([7]))
    gain, g = 1.7 * 0.6, 1.5
    slope = gain * sum(j**2 * 0.9 ** (2 * j - 2) for j in range(1, 7)) ** 0.5
    bend = gain * sum((j * (j - 1)) ** 2 * 0.9 ** (2 * j - 4) for j in range(2, 7)) ** 0.5
    late_slope = gain * sum(j**2 * 0.9 ** (2 * j - 2) for j in range(7, 20)) ** 0.5
    late = gain * sum(0.9 ** (2 * j) for j in range(7, 20)) ** 0.5
    delta, beta = g * 0.3 * late_slope + g * late * g * slope, (g * slope) ** 2 + g * (0.2 + g * slope * 0.1) * bend
    error, truncated, within = (torch.tensor([value], dtype=torch.float64) for value in (0.3, 0.2, 0.1))
    assert float(bound.truncation(error)) == pytest.approx(delta, rel=1e-9)
    assert float(bound.smoothness(truncated, within)) == pytest.approx(beta, rel=1e-9)


@pytest.mark.parametrize(("student", "teacher"), [(0.8, 0.8), (0.8, 0.0), (-0.8, 0.8)])
def test_no_part_of_the_proof_can_be_left_out(student, teacher):
    """Scalar systems with correlated inputs: truncation at the teacher itself, and curvature through the residual."""
    length = torch.arange(24, dtype=torch.float64)
    root = torch.linalg.cholesky(0.8 ** (length[:, None] - length).abs())
    made, w = System(scalar(teacher), scalar(1.0), scalar(1.0), root, 0.8), scalar(student)
    bound, k = Bound(made.norms, torch.tensor([12])), torch.tensor([12])
    moved = abs(float(gradient(made, w, 24) - gradient(made, w, 12)))
    assert 0 < moved <= float(bound.truncation(made.errors(w[None], torch.tensor([24]))))
    curvature = abs(float(gradient(made, w + 1e-5, 12) - gradient(made, w - 1e-5, 12))) / 2e-5
    nowhere = torch.zeros(1, dtype=torch.float64)
    assert curvature <= float(bound.smoothness(made.errors(w[None], k), nowhere)) * (1 + 1e-6)


@given(norm=NORMS, correlation=st.floats(0, 0.8), seed=SEEDS, k=st.integers(1, 11))
@settings(max_examples=40, deadline=None)
def test_gradients_differ_by_no_more_than_the_proof_says(norm, correlation, seed, k):
    made = system(norm, 12, correlation, seed)
    bound = Bound(made.norms, torch.tensor([k]))
    w, v = within(made, seed), within(made, seed + 1)
    error = made.errors(w[None], torch.tensor([12]))
    moved = float((gradient(made, w, 12) - gradient(made, w, k)).norm())
    assert moved <= float(bound.truncation(error)) * (1 + 1e-9) + 1e-12
    distance = (w - v).norm()
    beta = float(bound.smoothness(made.errors(w[None], torch.tensor([k])), distance))
    assert float((gradient(made, w, k) - gradient(made, v, k)).norm()) <= beta * float(distance) * (1 + 1e-9) + 1e-12


@given(norm=NORMS, correlation=st.floats(0, 0.8), seed=SEEDS, rate=st.floats(0.1, 3))
@settings(max_examples=12, deadline=None)
def test_the_descents_never_come_farther_apart_than_the_bound(norm, correlation, seed, rate):
    made = system(norm, 24, correlation, seed)
    alphas = proven_steps(made.norms, rate, 20) + [rate * x for x in (0.01, 0.1, 1.0, 3.0)] * 5  # any will do
    found = descend(made, within(made, seed + 1), [1, 2, 4, 8, 16, 23], alphas)
    for measured, proven in zip(found["distance"], found["bound"], strict=True):
        assert all(d <= b + 1e-12 for d, b in zip(measured, proven, strict=True))


def test_the_bound_is_summed_step_by_step():
    """Against the recurrence written out for one k."""
    made = system(0.6, 16)
    start = within(made, 1)
    alphas = [0.3, 0.1, 0.2]
    found = descend(made, start, [4], alphas)
    bound = Bound(made.norms, torch.tensor([4]))
    w, b = start, torch.zeros(1, dtype=torch.float64)
    for n in (1, 2, 3):
        error, truncated = made.errors(w[None], torch.tensor([16])), made.errors(w[None], torch.tensor([4]))
        alpha = alphas[n - 1]
        b = b + alpha * (bound.smoothness(truncated, b) * b + bound.truncation(error))
        w = made.project(w - alpha * gradient(made, w, 16))
        assert found["bound"][n - 1] == pytest.approx([min(float(b), 2 * 0.6 * 3**0.5)], rel=1e-9)
        assert found["error"][n - 1] == pytest.approx(float(made.errors(w[None], torch.tensor([16]))[0] ** 2), rel=1e-9)


def test_descent_is_gradient_descent_on_each_model_by_itself():
    made = system(0.7, 20)
    start = within(made, 3)
    alphas = [0.5 / n for n in range(1, 7)]
    found = descend(made, start, [2, 5], alphas)
    ends = []
    for k in (2, 5, 20):
        w = start
        for alpha in alphas:
            w = made.project(w - alpha * gradient(made, w, k))
        ends.append(w)
    distances = [float((w - ends[2]).norm()) for w in ends[:2]]
    assert found["distance"][-1] == pytest.approx(distances, rel=1e-9)
    assert found["updates"][-1] == 6
    assert found["error"][-1] == pytest.approx(float(made.errors(ends[2][None], torch.tensor([20]))[0] ** 2), rel=1e-9)
    for k, w, error in zip((2, 5), ends, found["truncated_error"], strict=False):
        assert error == pytest.approx(float(made.errors(w[None], torch.tensor([k]))[0] ** 2), rel=1e-9)
    constant = descend(made, start, [2], [0.1] * 8)["error"][-1]
    assert fit(made, start, torch.tensor([0.3, 0.1], dtype=torch.float64), 8)[1] == pytest.approx(constant, rel=1e-9)


def test_below_one_the_bound_says_something_and_falls_with_k():
    made = system(0.5, 96)
    alphas = proven_steps(made.norms, 1.0, 200)
    assert alphas[99] == pytest.approx(alphas[0] / 100)
    found = descend(made, within(made, 3), [20, 40, 60, 80], alphas)
    proven = found["bound"][-1]
    assert proven[-1] < 1e-6 < found["width"]
    assert proven[-1] / proven[-2] == pytest.approx(0.5**20 * 80 / 60, rel=0.5)
    assert found["distance"][-1][0] < found["width"] / 100
    assert found["error"][-1] < found["error"][0]


def test_stable_teachers_are_learned_and_unstable_ones_are_not_at_any_step_size():
    errors = {}
    for norm in (0.5, 1.1):
        made = system(norm, 64)
        start = norm / 2 * orthogonal(3, torch.Generator().manual_seed(5))
        errors[norm] = fit(made, start, step_sizes(-4, 1, 2), 150)
    assert errors[0.5].min() < 0.01
    assert errors[1.1].min() > 0.9


# ---- scalar systems


def test_scalar_descent_is_that_of_the_expected_error():
    made = System(*(scalar(x) for x in (0.7, 1.0, 1.0)), torch.eye(9).double(), 99.0)
    w = scalar(0.2)
    for _ in range(5):
        w = w - 0.1 * gradient(made, w, 9)
    found = descend_scalar(0.7, 0.2, 9, torch.tensor([0.1], dtype=torch.float64), 5)
    assert float(found[0]) == pytest.approx(float(w), rel=1e-12)


def test_stable_targets_are_learned_and_unstable_ones_are_not_at_any_step_size():
    study = ScalarStudy((0.5, 0.9, 1.2), 0.3, 100, 1000, -20, 1, 2, 0.01)
    found = {options["target"]: study(options) for _, options in study.settings()}
    assert any(found[0.5]["reached"])
    assert any(found[0.9]["reached"])
    assert not any(found[1.2]["reached"])
    assert None in found[1.2]["end"]
    assert found[1.2]["end"][0] == pytest.approx(0.3)  # so small a step goes nowhere


# ---- what is kept


STEPS = {"smallest": -2, "largest": 0, "per_decade": 1}


def small(**changes):
    options = {"norms": (0.5, 1.1), "non_normal": (), "seeds": (0,), "lengths": (2, 5)}
    options |= {"length": 12, "size": 3, "inputs": 2}
    return MatrixStudy(**(options | {"outputs": 2, "correlation": 0.5, "rate": 1.0, "steps": 10} | STEPS | changes))


def test_what_is_done_is_not_done_again_and_what_is_not_asked_for_makes_room(tmp_path):
    studies = [small(), ScalarStudy((0.5,), 0.3, 20, 10, -2, 0, 1, 0.01)]
    done: list[int] = []
    written = run_studies(studies, tmp_path, on_setting=done.append)
    assert done == [1, 2, 3]
    assert sorted(path.name for path in written) == ["matrix-0.5-s0.json", "matrix-1.1-s0.json", "scalar-0.5.json"]
    times = [path.stat().st_mtime_ns for path in written]
    run_studies(studies, tmp_path)
    assert times == [path.stat().st_mtime_ns for path in written]
    written[0].write_text("{")
    run_studies(studies, tmp_path)
    again = [path.stat().st_mtime_ns for path in written]
    assert again[0] != times[0]
    assert again[1:] == times[1:]
    (tmp_path / "package.json").write_text("{}")
    run_studies([small(norms=(1.1,), steps=11)], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["matrix-1.1-s0.json", "package.json", "scalar-0.5.json"]
    assert json.loads(written[1].read_text())["options"]["steps"] == 11


def test_teachers_that_are_not_normal_have_names_of_their_own_and_leave_those_of_the_others(tmp_path):
    (before,) = run_studies([small(norms=(1.2,))], tmp_path)
    kept = before.read_bytes()
    written = run_studies([small(norms=(1.2,), non_normal=((1.2, 0.5),))], tmp_path)
    assert [path.name for path in written] == ["matrix-1.2-s0.json", "matrix-1.2-r0.5-s0.json"]
    assert before.read_bytes() == kept
    result = load_linear_systems(tmp_path)["matrix-1.2-r0.5-s0.json"]
    assert (result["options"]["norm"], result["options"]["spectral_radius"]) == (1.2, 0.5)


def test_the_tables_tell_distance_bound_and_what_was_learned(tmp_path):
    run_studies([small(), ScalarStudy((0.5, 1.2), 0.3, 60, 300, -16, 0, 2, 0.01)], tmp_path)
    found = load_linear_systems(tmp_path)
    first = next(result for result in found.values() if result["options"].get("norm") == 0.5)
    below = first["proven"]
    below["distance"][-1], below["bound"][-1] = [0.25, 0.5], [0.5, below["width"]]
    first["best"]["error"][-1], first["best"]["distance"][-1] = 0.125, [0.5, 0.75]
    matrices, proven, scalars = linear_tables(found)
    assert [line[0] for line in matrices.lines] == ["0.5", "1.1"]
    assert matrices.lines[0][1:] == ["0.5", "0.12", "0.12", "0.5", "0.75"]
    assert proven.lines == [["0.5", "measured", "0.25", "0.5"], ["0.5", "proven ≤", "0.5", "–"]]
    assert [line[:2] for line in scalars.lines] == [["0.5", "yes"], ["1.2", "no"]]
    for shown in (matrices, proven, scalars):
        assert all(len(line) == len(shown.heads) for line in shown.lines)
    assert linear_tables({}) == []


def test_the_script_runs_the_smoke_grid_and_writes_tables_and_figure(tmp_path):
    records, results = tmp_path / "records", tmp_path / "results"
    linear_systems(
        compose("linear_systems", ["grid=smoke", f"records={records}", f"results={results}", "progress=false"])
    )
    assert len(list(records.glob("*.json"))) == 5
    files = {path.name for path in results.rglob("*.*")}
    assert {path for path in files if path.startswith("linear_systems.")} == {
        f"linear_systems.{kind}" for kind in ("md", "csv", "tex", "svg", "png")
    }
    assert {"linear_scalars.svg", "linear_systems_scalar.tex"} <= files
    assert "Linear systems" in (results / "tables" / "linear_systems.md").read_text()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"lengths": (12,)}, r"matrix\.lengths"),
        ({"lengths": (0,)}, r"matrix\.lengths"),
        ({"inputs": 4}, r"matrix\.inputs"),
        ({"steps": 0}, r"matrix\.steps"),
        ({"norms": (0.0,)}, r"matrix\.norms"),
        ({"non_normal": ((1.2, 1.2),)}, r"matrix\.non_normal"),
        ({"non_normal": ((1.2, 0.0),)}, r"matrix\.non_normal"),
        ({"non_normal": ((1.2,),)}, r"matrix\.non_normal"),
        ({"non_normal": ((1.2, 0.5),), "size": 1, "inputs": 1, "outputs": 1}, r"matrix\.size"),
        ({"correlation": 1.0}, r"matrix\.correlation"),
        ({"rate": 0.0}, r"matrix\.rate"),
        ({"smallest": 1}, r"matrix\.smallest"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(changes, named):
    with pytest.raises(ConfigurationError, match=named):
        small(**changes)
    with pytest.raises(ConfigurationError, match=r"scalar\.smallest"):
        ScalarStudy((0.5,), 0.3, 20, 10, 1, 0, 1, 0.01)


def test_the_quick_grid_is_the_default():
    options = compose("linear_systems", [])
    study = make(options.matrix)
    assert min(study.norms) < 1 < max(study.norms)
    assert math.isclose(make(options.scalar).tolerance, 0.01)


def test_a_second_thread_has_no_part_in_matrices_so_small(tmp_path, monkeypatch):
    """Two threads for matrices of 4 by 4 took 12 times as long on a busy machine, and the plan said so."""
    part, seen = LinearPart("smoke", tmp_path), []
    monkeypatch.setattr(ScalarStudy, "__call__", lambda *_: seen.append(torch.get_num_threads()) or {})
    monkeypatch.setattr(MatrixStudy, "__call__", lambda *_: seen.append(torch.get_num_threads()) or {})
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        part.estimate()
        part.run()
        assert set(seen) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
