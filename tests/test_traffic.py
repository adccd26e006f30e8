"""Counted bytes and operations: of products that are known, and of the committed file."""

import pytest
import torch
from conftest import ROOT

from stablernn.benchmarks.suite import Benchmarks
from stablernn.benchmarks.traffic import Traffic, count_ours, count_plain, on_a_gpu_without_data
from stablernn.config.compose import compose
from stablernn.records.schemas import bench_check
from stablernn.report.sections.traffic import write_traffic
from stablernn.utils.files import read_json

PLACES, ROWS = torch.tensor([1, 2, 2]), torch.ones(3, 10)


def counted(work):
    with Traffic() as traffic:
        work()
    return traffic


def test_a_product_counts_its_operations_and_each_tensor_once():
    a, b = torch.randn(3, 5), torch.randn(7, 5)
    found = counted(lambda: a @ b.T)  # the transposed view is free
    assert found.products.flop == 2 * 3 * 5 * 7
    assert found.products.bytes == 4 * (3 * 5 + 5 * 7 + 3 * 7)
    assert (found.products.operations, found.rest.operations) == (1, 0)


@pytest.mark.parametrize(
    ("work", "moved"),
    [
        (lambda x: x + x, 2 * 400),  # one argument, twice
        (lambda x: x.add_(1), 2 * 400),
        (lambda x: x.zero_(), 400),
        (lambda x: torch.zeros_like(x), 400),
        (lambda x: torch.empty_like(x).copy_(x), 2 * 400),
        (lambda x: x.bfloat16(), 400 + 200),
        (lambda x: x.view(5, 20).T[1:], 0),
        (lambda x: x[PLACES], 2 * 3 * 40 + 24),  # rows of ten, and their places
        (lambda x: x.index_add_(0, PLACES, ROWS), 3 * 3 * 40 + 24),
    ],
)
def test_what_is_read_and_written_is_counted_once(work, moved):
    x = torch.ones(10, 10)
    found = counted(lambda: work(x))
    assert found.rest.bytes == moved
    assert found.products.operations == 0


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
@pytest.mark.parametrize("tied", [True, False])
def test_ours_multiplies_as_much_as_the_plain_step_and_moves_less_beside(cell, tied):
    ours, plain = (count(cell, 64, tied, types=5000) for count in (count_ours, count_plain))
    gates, tokens = (4 if cell == "lstm" else 1), 20 * 35
    wanted = 6 * tokens * (64 * 5000 + gates * 2 * 64 * 64)
    assert plain["products"]["flop"] == pytest.approx(wanted, rel=1e-6)
    assert ours["products"]["flop"] == pytest.approx(wanted, rel=0.06)  # columns that carry the bias
    assert ours["rest"]["bytes"] < 0.75 * plain["rest"]["bytes"]


def test_what_is_changed_to_count_is_changed_back():
    lstm = torch.lstm
    with on_a_gpu_without_data(Traffic()):
        assert torch.empty(1).is_cuda
    assert torch.lstm is lstm
    assert not torch.empty(1).is_cuda
    assert torch.empty(1).device.type == "cpu"


def sums(case):
    """Another version of PyTorch may have another operation on something small."""
    return [case[part][unit] for part in ("products", "rest") for unit in ("bytes", "flop")]


def test_the_committed_counts_are_those_of_the_code(tmp_path):
    benchmarks = Benchmarks(compose("bench", [f"results={tmp_path}", "traffic.sizes=[256]"]), torch.device("cpu"))
    assert len(list(benchmarks.part("traffic"))) == len(benchmarks.todo("traffic"))
    path = benchmarks.traffic
    check = bench_check("traffic")
    found, committed = (read_json(file, check) for file in (path, ROOT / "results" / "bench" / "traffic.json"))
    for name, case in found["cases"].items():
        for kind in ("plain", "ours"):
            assert sums(case[kind]) == pytest.approx(sums(committed["cases"][name][kind]), rel=1e-2)
    for name, case in found["projections"].items():
        assert sums(case) == pytest.approx(sums(committed["projections"][name]), rel=1e-2)
    assert committed["cases"]["lstm-d640-tied"]["ours"]["rest"]["bytes"] <= 1.2e9
    assert write_traffic(path) == [path.with_suffix(".md")]
