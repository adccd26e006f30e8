"""What holds on a GPU: the same numbers as on a CPU. `python scripts/gpu_lease.py check` runs it and times the rest."""

import copy
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from stablernn.config.compose import compose
from stablernn.config.instantiate import make
from stablernn.experiments.sweep import run_all
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.cells.rnn import RNNCell
from stablernn.models.dropout import draw_from, own_generator
from stablernn.models.feed_forward import FeedForward
from stablernn.models.precision import Precision, exclusive, set_up_products
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_language_model
from stablernn.stability.constraints.base import Unconstrained, project
from stablernn.stability.constraints.lstm import LSTMStated
from stablernn.tasks.base import Interface
from stablernn.tasks.splits import Split
from stablernn.training.build import build, build_for
from stablernn.training.evaluate import Scorer
from stablernn.training.graph import GraphedStep, can_capture, make_step
from stablernn.training.run import run
from stablernn.training.step import Step
from stablernn.training.streams import own_stream, wait

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU that PyTorch can use")
TYPES, BATCH, STEPS = 500, 8, 20
CELLS = {"rnn": RNNCell, "lstm": LSTMCell}
BACKBONES = {"recurrent": Recurrent, "feedforward": partial(FeedForward, k=5)}
CONSTRAINTS = {
    "rnn": ["stable", "rnn_diagonal"],
    "lstm": [
        "stable", "lstm_as_coded", "lstm_comparison", "lstm_rowwise", "lstm_spectral", "lstm_coupled",
        "lstm_gated_linear", "lstm_output_gate", "lstm_cascade",
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def gpu() -> torch.device:
    device = torch.device("cuda")
    set_up_products(device)
    return device


def network(cell: str, backbone: str = "recurrent", tied: bool = True, dropout: float = 0.0, size: int = 48):
    torch.manual_seed(0)
    return build_language_model(TYPES, CELLS[cell], BACKBONES[backbone], size, size, dropout=dropout, tied=tied)


def words(updates: int) -> torch.Tensor:
    return torch.randint(TYPES, (updates, 2, STEPS, BATCH), generator=torch.Generator().manual_seed(1))


def losses_of(step, model, data) -> torch.Tensor:
    model.train()
    state, losses = model.initial_state(BATCH), []
    for x, y in data.to(model.inputs.weight.device):
        state = step(x, y, state)
        losses.append(step.collect()[0] / y.numel())
    return torch.tensor(losses, dtype=torch.float64)


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=2.0)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("cell", CELLS)
def test_twenty_updates_are_those_of_a_cpu_in_float32(cell, backbone, tied, gpu):
    here = network(cell, backbone, tied)
    there = copy.deepcopy(here).to(gpu)
    data = words(20)
    expected = losses_of(Step(here, Unconstrained(), sgd(here), 0.25), here, data)
    step = make_step(there, Unconstrained(), sgd(there), 0.25)
    assert_close(losses_of(step, there, data), expected, rtol=1e-4, atol=0)
    step.release()


@pytest.mark.parametrize("model", ["gated_conv", "tcn", "wavenet", "transformer"])
def test_twenty_updates_of_a_feedforward_network_by_adam_are_those_of_a_cpu(model, gpu):
    sizes = ["model.hidden_size=16", "model.embedding_size=16", "model.dropout=0", "precision=float32", "device=cpu"]
    here, _ = build(compose("train", [f"model={model}", *sizes]), Interface.of_words(TYPES))
    there = copy.deepcopy(here).to(gpu)
    adam = partial(torch.optim.Adam, lr=1e-3)
    data = words(20)
    expected = losses_of(Step(here, Unconstrained(), adam(here.parameters()), 0.25), here, data)
    step = make_step(there, Unconstrained(), adam(there.parameters()), 0.25)
    assert isinstance(step, GraphedStep)
    assert_close(losses_of(step, there, data), expected, rtol=1e-4, atol=0)
    step.release()


@pytest.mark.parametrize("precision", [Precision.MIXED, Precision.BF16])
def test_tensor_cores_change_single_losses_by_their_rounding_alone(precision, gpu):
    plain = network("lstm").to(gpu)
    ours = copy.deepcopy(plain)
    ours.objective.precision = precision
    data = words(20)
    steps = [make_step(model, Unconstrained(), sgd(model), 0.25) for model in (plain, ours)]
    expected, found = (losses_of(step, step.model, data) for step in steps)
    assert_close(found, expected, rtol=5e-3, atol=0)


def test_a_graph_draws_the_masks_that_the_same_kernels_draw_one_by_one(gpu):
    results = []
    for captured in (True, False):
        model = network("lstm", dropout=0.5).to(gpu)
        generator = own_generator(gpu).manual_seed(7)
        draw_from(model, generator)
        step = (
            make_step(model, Unconstrained(), sgd(model), 0.25, generator=generator)
            if captured
            else Step(model, Unconstrained(), sgd(model), 0.25)
        )
        results.append(losses_of(step, model, words(12)))
        step.release()
    assert_close(results[0], results[1], rtol=1e-5, atol=0)


@pytest.mark.parametrize(("cell", "stability"), [(cell, name) for cell, names in CONSTRAINTS.items() for name in names])
def test_a_projection_is_that_of_a_cpu(cell, stability, gpu):
    here = network(cell)
    with torch.no_grad():
        for parameter in here.backbone.parameters():
            parameter.mul_(4)
    there = copy.deepcopy(here).to(gpu)
    constraint = make(compose("train", [f"model={cell}", f"stability={stability}"]).stability.constraint)
    project(constraint, here)
    project(constraint, there)
    for name, parameter in there.named_parameters():
        assert_close(parameter.cpu(), here.get_parameter(name), rtol=1e-4, atol=1e-4, msg=name)


def test_runs_at_once_come_to_what_one_comes_to_alone(gpu):
    """Threads with a stream each, and with scores between the updates."""
    data = words(100).to(gpu)
    split = Split(words(20).flatten().numpy())

    def train(_) -> tuple[float, float]:
        with own_stream(gpu):
            with exclusive:  # which draws from PyTorch's generator
                model = network("lstm").to(gpu).train()
            step, scorer = make_step(model, LSTMStated(), sgd(model), 0.25), Scorer(model)
            state = model.initial_state(BATCH)
            for number, (x, y) in enumerate(data):
                state = step(x, y, state)
                if number % 20 == 0:
                    scorer.score(split, 16)
            wait(gpu)
            nats = step.collect()[0] / (len(data) * STEPS * BATCH)
            scored = scorer.score(split).total / len(split)
            step.release()
            scorer.release()
            return nats, scored

    with ThreadPoolExecutor(8) as pool:
        (alone,) = pool.map(train, range(1))
        together = list(pool.map(train, range(8)))
    assert_close(torch.tensor(together), torch.tensor([alone] * 8), rtol=0, atol=1e-3)


def test_a_packed_sweep_ends_as_its_runs_end_alone(gpu, small, tmp_path):
    """All of a run: captures beside replays, scores, checkpoints and the best weights."""
    kinds = [
        ["model=lstm", "stability=stable"],
        ["model=rnn", "stability=stable"],
        ["model=lstm", "stability=unstable", "training.evaluate_every=7", "training.checkpoint_seconds=0"],
        ["model=lstm", "stability=unstable", "seed=1", "training.graphs=false"],
    ]
    options = ["device=cuda", "precision=float32", "optimizer.lr=1", "model.dropout=0.3"]
    alone = {record.id: record for record in (run(small(*options, *kind, f"runs={tmp_path}/1")) for kind in kinds)}
    records, failures = run_all([small(*options, *kind, f"runs={tmp_path}/2") for kind in kinds], at_once=3)
    assert not failures
    assert len(records) == len(kinds)
    for record in records:
        assert record.status == "finished"
        ours, theirs = (each.metrics["test"]["value"] for each in (record, alone[record.id]))
        assert ours == pytest.approx(theirs, rel=1e-2)


def test_of_a_run_that_has_ended_no_weights_are_left_on_the_gpu(gpu, small, monkeypatch):
    made = []

    def built(*args):
        model, constraint = build_for(*args)
        made.append(weakref.ref(model.inputs.weight))
        return model, constraint

    run(small("device=cuda"))  # the first one imports what leaves cycles behind
    gc.collect()
    gc.disable()
    try:
        monkeypatch.setattr("stablernn.training.run.build_for", built)
        run(small("device=cuda", "seed=1"))
        assert [weight() for weight in made] == [None]
    finally:
        gc.enable()


def test_a_capture_is_tried_in_another_process(gpu):
    assert can_capture(gpu)


@pytest.mark.parametrize("streams", [1, 16])
@pytest.mark.parametrize("cell", CELLS)
def test_a_score_is_that_of_a_cpu(cell, streams, gpu):
    here = network(cell)
    split = Split(words(20).flatten().numpy())
    there = Scorer(copy.deepcopy(here).to(gpu))
    for _ in range(3):
        ours, theirs = there.score(split, streams), Scorer(here).score(split, streams)
        assert ours.total == pytest.approx(theirs.total, rel=1e-5)
    there.release()
