"""The fast step against the readable one, and what it must not lose on the way."""

import copy
import json
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from stablernn.benchmarks import step as bench
from stablernn.benchmarks import step_time as speed
from stablernn.benchmarks import suite
from stablernn.benchmarks.suite import Benchmarks
from stablernn.config.compose import compose
from stablernn.models.heads import softmax
from stablernn.models.precision import Precision, choose_precision, multiplies_bf16, use_onednn
from stablernn.models.state import detach, tensors
from stablernn.report.formats import markdown
from stablernn.report.sections.bench import step_tables
from stablernn.stability.constraints.base import project
from stablernn.training import graph
from stablernn.training import run as run_module
from stablernn.training.build import build
from stablernn.training.graph import GraphedStep
from stablernn.training.loop import Trainer
from stablernn.training.run import run
from stablernn.training.step import Step, global_norm
from stablernn.utils.errors import ConfigurationError

TYPES = 40  # of the embedded corpus of a test
APPROXIMATIONS = [["approximation=recurrent"], ["approximation=feedforward", "truncation.k=4"]]
OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=2.0),
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.5, momentum=0.9, weight_decay=1e-3),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-2),
}


def readable_step(model, constraint, optimizer, clip: float, x, y, state):
    """What ``Step`` computes, in the plainest way.

    Returns:
        The loss before the update in nats a token, and the state to go on with.
    """
    optimizer.zero_grad(set_to_none=True)
    features, state = model(x, state)
    logits = model.objective.logits(features)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    project(constraint, model)
    return loss.item(), detach(state)


def network(small, *overrides: str):
    config = small("model.hidden_size=12", "model.embedding_size=12", "precision=float32", *overrides)
    return build(config, run_module.make(config.dataset).load().interface)


def windows(types: int, updates: int = 6, steps: int = 7, batch: int = 3):
    generator = torch.Generator().manual_seed(5)
    return torch.randint(types, (updates, 2, steps, batch), generator=generator)


def trained(step, model, data):
    """Losses and weights after one update a window."""
    torch.manual_seed(3)  # dropout draws the same
    model.train()
    state, losses = model.initial_state(data.shape[-1]), []
    for x, y in data:
        loss, state = step(x, y, state)
        losses.append(loss)
    return losses, dict(model.named_parameters()), list(tensors(state))


def fast(step, data):
    def call(x, y, state):
        state = step(x, y, state)
        nats, done = step.collect()
        assert done == 1
        return nats / y.numel(), state

    return trained(call, step.model, data)


# How the weights are updated has nothing to do with what they belong to: the other optimizers on one kind of model.
UPDATED = [(stability, tied, "sgd") for stability in ("unstable", "stable") for tied in ("true", "false")]
UPDATED += [("stable", "true", optimizer) for optimizer in OPTIMIZERS if optimizer != "sgd"]


@pytest.mark.parametrize("approximation", APPROXIMATIONS, ids=["recurrent", "feedforward"])
@pytest.mark.parametrize("model", ["rnn", "lstm"])
@pytest.mark.parametrize(("stability", "tied", "optimizer"), UPDATED)
def test_the_fast_step_is_the_readable_one(model, stability, approximation, tied, optimizer, small):
    options = [f"model={model}", f"stability={stability}", f"model.tied={tied}", "model.dropout=0.3", *approximation]
    ours, constraint = network(small, *options)
    reference = copy.deepcopy(ours)
    data = windows(len(ours.inputs.weight))
    sgd = OPTIMIZERS[optimizer](reference.parameters())
    wanted = trained(lambda *window: readable_step(reference, constraint, sgd, 0.25, *window), reference, data)
    found = fast(Step(ours, constraint, OPTIMIZERS[optimizer](ours.parameters()), 0.25), data)
    # Adam divides by the size of a gradient, so the rounding of a tiny one counts as much as a large one.
    assert_close(found, wanted, rtol=1e-4, atol=1e-4 if optimizer == "adam" else 1e-5)


def test_the_global_norm_of_a_large_matrix_is_exact():
    torch.manual_seed(0)
    decoder, embedding, unused = (torch.nn.Parameter(torch.empty(33278, 200)) for _ in range(3))
    decoder.grad = torch.randn(33278, 200) * torch.logspace(-4, 2, 33278)[:, None]
    rows = torch.tensor([5, 5, 7])
    embedding.grad = torch.sparse_coo_tensor(rows[None], torch.ones(3, 200), (33278, 200), check_invariants=True)
    exact = (decoder.grad.double().square().sum() + 200 * (2**2 + 1)).sqrt()  # row 5 counts as the sum of its two parts
    assert_close(global_norm([decoder, embedding, unused]), exact, rtol=1e-9, atol=0)


@pytest.mark.parametrize("waits", [True, False])
def test_a_step_that_is_not_finite_changes_nothing_and_neither_does_one_after_it(waits, small):
    model, constraint = network(small, "model=lstm")
    step = Step(model, constraint, torch.optim.SGD(model.parameters(), lr=1.0), 0.25, waits=waits)
    data = windows(len(model.inputs.weight))
    state = step(*data[0], model.initial_state(3))
    before = copy.deepcopy(dict(model.named_parameters()))
    poisoned = type(state)(type(part)(*(tensor * torch.nan for tensor in part)) for part in state)
    for window in (poisoned, state):
        step(*data[1], window)
        assert_close(dict(model.named_parameters()), before, rtol=0, atol=0)
    nats, done = step.collect()
    assert done == 1
    assert torch.isfinite(torch.tensor(nats))


@pytest.mark.parametrize("approximation", APPROXIMATIONS, ids=["recurrent", "feedforward"])
def test_a_captured_step_is_the_same_step(approximation, small):
    """Buffers that are written again and again, a state handed on inside, a window of another shape in between."""
    ours, constraint = network(small, "model=lstm", "model.dropout=0", "stability=stable", *approximation)
    reference = copy.deepcopy(ours)
    data = [*windows(len(ours.inputs.weight), 5), windows(len(ours.inputs.weight), 1, steps=4)[0]]
    data += list(windows(len(ours.inputs.weight), 4))
    losses = {}
    launched = partial(GraphedStep, record=lambda work: work)  # the function itself in the place of its graph
    for model, kind in ((ours, launched), (reference, Step)):
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        step = kind(model, constraint, optimizer, 0.25)
        state, losses[kind] = model.initial_state(3), []
        for number, (x, y) in enumerate(data):
            optimizer.param_groups[0]["lr"] = 1.0 if number < 7 else 0.25
            state = step(x, y, state)
            losses[kind].append(step.collect())
    assert_close(losses[launched], losses[Step])
    assert_close(dict(ours.named_parameters()), dict(reference.named_parameters()))


@pytest.mark.parametrize(("stability", "captures"), [("unstable", 1), ("stable", 2)])
def test_a_step_without_a_constraint_has_no_graph_of_a_projection(stability, captures, small):
    model, constraint = network(small, "model=lstm", f"stability={stability}")
    recorded = []
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    step = GraphedStep(model, constraint, optimizer, 0.25, record=lambda work: recorded.append(work) or work)
    state = model.initial_state(3)
    for x, y in windows(len(model.inputs.weight), 5):
        state = step(x, y, state)
    assert len(recorded) == captures


@pytest.mark.parametrize(
    ("device", "momentum", "graphs", "survives", "kind"),
    [
        ("cuda", 0.0, True, True, "graphs"),
        ("cuda", 0.0, False, True, "kernels"),
        ("cuda", 0.0, True, False, "kernels"),
        ("cuda", 0.9, True, True, "kernels"),
        ("cpu", 0.0, True, True, "kernels"),
    ],
)
def test_a_step_is_captured_on_a_gpu_unless_it_cannot_be_or_graphs_are_turned_off(
    device, momentum, graphs, survives, kind, small, monkeypatch
):
    model, constraint = network(small, "model=lstm")
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=momentum)
    monkeypatch.setattr(type(model), "device", torch.device(device))
    monkeypatch.setattr(graph, "can_capture", lambda _: survives)
    monkeypatch.setattr(graph, "GraphedStep", lambda *_, **__: "graphs")
    monkeypatch.setattr(graph, "Step", lambda *_, **__: "kernels")
    assert graph.make_step(model, constraint, optimizer, 0.25, graphs=graphs) == kind


def test_a_trainer_that_asks_seldom_counts_what_one_that_asks_always_counts(small, monkeypatch, tmp_path):
    options = ["training.log_every=7", "training.evaluate_every=20", "training.epochs=2"]
    always = run(small(*options))
    monkeypatch.setattr(Trainer, "_reports_every_update", property(lambda _: False, lambda *_: None), raising=False)
    seldom = run(
        small("training.log_every=7", "training.evaluate_every=20", "training.epochs=2", f"runs={tmp_path}/seldom")
    )
    assert seldom.metrics == always.metrics
    assert seldom.progress == always.progress
    for ours, theirs in zip(seldom.history, always.history, strict=True):
        assert_close(ours, theirs, rtol=1e-12, atol=0)


def test_precisions_are_named_and_auto_is_what_the_hardware_does():
    cpu = torch.device("cpu")
    assert choose_precision("auto", cpu) is (Precision.MIXED if multiplies_bf16(cpu) else Precision.FLOAT32)
    assert choose_precision("mixed", cpu) is Precision.MIXED
    with pytest.raises(ConfigurationError, match="choose auto, float32, mixed, bf16"):
        choose_precision("fp8", cpu)


def test_products_are_float32_whichever_library_makes_them():
    a, b = torch.randn(2, 300, 300)
    exact = a.double() @ b.double()
    try:
        for wanted in (True, False):
            use_onednn(wanted)
            assert ((a @ b).double() - exact).norm() / exact.norm() < 1e-6
    finally:
        use_onednn(False)


@pytest.mark.parametrize("k", [None, 3])
@pytest.mark.parametrize("model", ["rnn", "lstm"])
def test_the_plain_contender_of_a_benchmark_computes_the_same(model, k, monkeypatch):
    monkeypatch.setattr(bench, "TYPES", 50)
    case = bench.Case(model, "unstable", size=6, batch=2, k=k)
    ours, plain = (bench.variants(case, torch.device("cpu"))[name] for name in ("auto", "plain"))
    if k is not None:  # what the k - 1 words before the window were
        ours.state = plain.window[: k - 1, :, None]
    first = [ours.model(ours.x, ours.state)[0], ours.model.objective.weight]
    logits = plain.model.forward_windows(plain.window, k) if k else plain.model(plain.x, None)[0]
    assert_close(first[0] @ first[1].T, logits)


@pytest.mark.slow
def test_a_benchmark_measures_writes_and_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "TYPES", 50)
    monkeypatch.setattr(suite, "ceiling", lambda device: {"float32": 1e11, "bfloat16": 3e11})
    where = [f"results={tmp_path}", "sizes=[8]", "batches=[20]", "seconds=0.001", "~constraints.lstm"]
    todo = speed.cases(["rnn"], [8], [20], [None, 2]) + speed.cases(["lstm"], [8], [20], [2])
    for asked in (["models=[rnn]", "k=[null,2]"], ["models=[lstm]", "k=[2]"]):
        benchmarks = Benchmarks(compose("bench", [*where, *asked]), torch.device("cpu"))
        *names, last = benchmarks.part("step")
        assert names == [case.name for case in todo if case.model in asked[0]]
        assert last == "rnn-stable-d8"
    measured = json.loads(benchmarks.steps.read_text())
    assert measured["constraints"][last]["stability"] == "stable"
    monkeypatch.setattr(suite, "measure", lambda *_: pytest.fail("measured twice"))
    list(Benchmarks(benchmarks.options, torch.device("cpu")).part("step"))
    goals = [
        {"case": "rnn-stable-recurrent-d8-b20", "precision": "auto", "ratio": 1e6},
        {"case": "rnn-stable-recurrent-d8-b20", "projection_share": 1.0},
        {"case": "rnn-stable-recurrent-d9-b20", "precision": "auto", "ratio": 1},
        {"case": "rnn-stable-recurrent-d8-b20", "precision": "auto", "products_share": 0.0},
        {"case": "rnn-stable-feedforward-k2-d8-b20", "precision": "auto", "products_share": 0.8},
    ]
    tables = step_tables(measured, goals)
    text = "".join(map(markdown, tables))
    assert "goal 1000000.0: missed" in text
    assert "goal 100%: met" in text
    assert "of the step, goal 0%: met" in text
    assert "rnn-stable-feedforward-k2-d8-b20: products alone not measured here" in text
    assert "d9-b20: not measured here" in text
    assert text.count("| feed-forward k=2 |") == 4 * len(
        {"auto", "float32", "bf16"} & measured["cases"][todo[0].name]["seconds"].keys()
    )
    cases = {(line[0].partition(" ")[0], *line[1:5]) for line in tables[0].lines}
    assert len(cases) == len(measured["cases"])
    assert ("rnn", "unstable", "recurrent", "8", "20") in cases


@pytest.mark.slow
def test_several_runs_at_once_come_to_an_end_in_processes_of_their_own():
    case = bench.Case("rnn", "unstable", size=8, batch=20, k=None)
    assert speed.packed(case, torch.device("cpu"), jobs=2, seconds=1.0) > 0


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("tied", ["true", "false"])
@pytest.mark.parametrize("approximation", APPROXIMATIONS, ids=["recurrent", "feedforward"])
def test_the_step_that_looks_at_no_number_is_the_readable_one(approximation, tied, accumulate, small):
    """As on a GPU: one fused update, the embedding's gradient by rows; words that come twice count twice."""
    ours, constraint = network(small, f"model.tied={tied}", "model.dropout=0", *approximation)
    plain = copy.deepcopy(ours)
    data = windows(8)
    optimizers = [torch.optim.SGD(model.parameters(), lr=2.0) for model in (ours, plain)]
    step = Step(ours, constraint, optimizers[0], 0.25, waits=False, accumulate=accumulate)
    result = fast(step, data)
    expected = trained(partial(readable_step, plain, constraint, optimizers[1], 0.25), plain, data)
    assert_close(result, expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("tied", ["true", "false"])
def test_a_step_that_is_not_finite_changes_nothing_where_no_number_is_looked_at(tied, small):
    model, constraint = network(small, f"model.tied={tied}")
    step = Step(model, constraint, torch.optim.SGD(model.parameters(), lr=2.0), 0.25, waits=False)
    (x, y), state = windows(TYPES, updates=1)[0], model.initial_state(3)
    with torch.no_grad():
        model.objective.bias[0] = torch.nan
    before = copy.deepcopy(model.state_dict())
    step.descend(x, y, state)
    assert step.collect() == (0.0, 0)
    assert all(torch.equal(before[name], value) or name.endswith("bias") for name, value in model.state_dict().items())
    assert model.objective.bias[1:].isfinite().all()


@pytest.mark.parametrize("precision", [Precision.MIXED, Precision.BF16])
@pytest.mark.parametrize("types", [64, 77])
def test_the_softmax_of_tensor_cores_is_the_exact_one_to_their_rounding(types, precision):
    """Padded columns get no probability, and a bias as large as it comes is not rounded to 8 bits."""
    generator = torch.Generator().manual_seed(0)
    features, weight = (torch.randn(shape, generator=generator) for shape in ((50, 24), (types, 24)))
    bias = 20 + torch.randn(types, generator=generator)
    targets = torch.randint(types, (50,), generator=generator)
    leaves = [part.double().requires_grad_() for part in (features, weight, bias)]
    logits = torch.nn.functional.linear(*leaves)
    exact = torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
    exact.backward()
    total, *gradients = softmax._summed_on_tensor_cores(features, weight, bias, targets, precision)
    assert abs(float(total - exact)) / float(exact) < 1e-2
    for gradient, leaf in zip(gradients, leaves, strict=True):
        assert gradient.shape == leaf.shape
        assert float((gradient - leaf.grad).norm() / leaf.grad.norm()) < 2e-2
