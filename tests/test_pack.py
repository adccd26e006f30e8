"""Runs that are threads of one process, and the pieces that let a GPU work on all of them at once."""

import copy
import gc
import os
import signal
import threading
import time
import weakref
from functools import partial

import pytest
import torch
from conftest import ROOT, SMALL
from omegaconf import OmegaConf
from test_training import comparable, folder
from torch import nn
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from stablernn.benchmarks import step_time as speed
from stablernn.benchmarks.step import Case, Ours
from stablernn.config.compose import compose
from stablernn.config.instantiate import make
from stablernn.experiments import packed as pack
from stablernn.experiments import parts
from stablernn.experiments.packed import run_packed
from stablernn.experiments.sweep import run_all
from stablernn.models.cells.gru import GRUCell
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.cells.rnn import RNNCell
from stablernn.models.dropout import Dropout, draw_from, own_generator
from stablernn.models.feed_forward import FeedForward
from stablernn.models.heads import softmax
from stablernn.models.heads.softmax import FullSoftmax
from stablernn.models.precision import Precision, set_up_products, use_tf32
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_language_model
from stablernn.stability.constraints.base import Unconstrained, project
from stablernn.stability.constraints.cascade import LSTMCascade
from stablernn.stability.constraints.gru import GRUGatedLinear, GRURowwise
from stablernn.stability.constraints.lstm import LSTMAsCoded, LSTMStated
from stablernn.stability.constraints.output_gate import LSTMOutputGate
from stablernn.stability.constraints.small_gain import (
    LSTMComparison,
    LSTMCoupled,
    LSTMGatedLinear,
    LSTMRowwise,
    LSTMSpectral,
)
from stablernn.stability.constraints.spectral import RNNDiagonal, SpectralNormBall
from stablernn.tasks.splits import Split
from stablernn.training import checkpoint, evaluate, graph, loop, streams
from stablernn.training import run as run_module
from stablernn.training.build import build, build_for
from stablernn.training.evaluate import Scorer, score
from stablernn.training.graph import GraphedStep, OneLaunch, can_capture, recorder, trial
from stablernn.training.run import run
from stablernn.training.step import Step
from stablernn.training.streams import own_stream, updates_per_second
from stablernn.utils.errors import ConfigurationError

KINDS = [
    ["model=lstm", "stability=stable", "seed=1"],
    ["model=rnn", "stability=stable", "approximation=feedforward", "truncation.k=4"],
    ["model=lstm", "stability=unstable", "training.evaluate_every=7"],
    ["model=rnn", "stability=unstable", "training.epochs=1"],
]


def kinds(small, runs, *more: str):
    return [small("model.dropout=0.3", *kind, *more, f"runs={runs}") for kind in KINDS]


@pytest.fixture
def alone(small, tmp_path):
    return {record.id: record for record in map(run, kinds(small, tmp_path / "alone"))}


@pytest.mark.parametrize("at_once", [2, 9])
def test_runs_at_once_end_as_each_ends_alone_bit_for_bit(at_once, small, alone, tmp_path):
    configs = kinds(small, tmp_path / "packed")
    outcomes = list(run_packed(configs, at_once))
    assert len(outcomes) == len(KINDS)
    for record, failure in outcomes:
        assert not failure
        assert comparable(record) == comparable(alone[record.id])
        assert record.hardware["beside"] == min(at_once, len(KINDS))
        for name in (checkpoint.BEST, checkpoint.LAST):
            ours, theirs = (checkpoint.load(tmp_path / where / record.id / name)[0] for where in ("packed", "alone"))
            assert_close(ours, theirs, rtol=0, atol=0)


def interrupt_at(monkeypatch, update: int, times: int = 1) -> None:
    step = loop.Trainer.step
    sent = []

    def interrupted(self):
        step(self)
        if self.counters.update == update and not sent:
            sent.extend(os.kill(os.getpid(), signal.SIGINT) for _ in range(times))

    monkeypatch.setattr(loop.Trainer, "step", interrupted)


def test_a_signal_writes_the_checkpoint_of_every_run_and_all_of_them_resume(small, alone, monkeypatch, tmp_path):
    configs = kinds(small, tmp_path / "packed")
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            list(run_packed(configs, 3))
    reached = [
        checkpoint.load(folder(config) / checkpoint.LAST)[1]["counters"]["update"] if folder(config).exists() else None
        for config in configs
    ]
    assert all(reached[:3])
    assert reached[3] is None, "a run was begun after the signal"
    for record, _ in run_packed(configs, 3):
        assert comparable(record) == comparable(alone[record.id])


def test_after_a_signal_that_ends_nothing_every_run_goes_on(small, alone, monkeypatch, tmp_path):
    """A scheduler's handler may send the job back to the queue, or return."""
    asked = []
    before = signal.signal(signal.SIGINT, lambda *_: asked.append(1))
    try:
        interrupt_at(monkeypatch, 3)
        outcomes = list(run_packed(kinds(small, tmp_path / "packed"), 3))
    finally:
        signal.signal(signal.SIGINT, before)
    assert asked == [1]
    assert {record.id: comparable(record) for record, _ in outcomes} == {
        name: comparable(record) for name, record in alone.items()
    }


def test_a_second_signal_does_not_wait_for_the_others(small, monkeypatch, tmp_path):
    """A run that does not come to an end is left behind, and if it goes on nevertheless it writes no checkpoint."""
    step, ended = loop.Trainer.step, threading.Event()
    here = threading.Barrier(len(KINDS) + 1)

    def blocked(self):
        here.wait()
        assert ended.wait(60)
        step(self)

    def signals():
        here.wait()
        os.kill(os.getpid(), signal.SIGINT)
        while not interruptions[0].requested:  # of two that come together Python hears of one
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    class Shared(pack._Shared):
        def __enter__(self):
            interruptions.append(self)
            return super().__enter__()

    interruptions = []
    monkeypatch.setattr(pack, "_Shared", Shared)
    monkeypatch.setattr(loop.Trainer, "step", blocked)
    configs = kinds(small, tmp_path / "packed", "training.max_updates=4")
    before = set(threading.enumerate())
    sender = threading.Thread(target=signals)
    sender.start()
    with pytest.raises(KeyboardInterrupt):
        list(run_packed(configs, 4))
    left = set(threading.enumerate()) - before - {sender}
    assert len(left) == len(KINDS)
    ended.set()
    for thread in left:
        thread.join()
    assert not any((folder(config) / checkpoint.LAST).exists() for config in configs)


def test_a_run_that_fails_does_not_take_the_others_along(small, tmp_path):
    configs = kinds(small, tmp_path / "packed")
    configs[1].truncation.k = 0
    records, failures = run_all(configs, at_once=3)
    assert len(records) == 3
    assert len(failures) == 1
    assert "truncation.k=0 must be a whole number" in failures[0]


def test_a_run_without_memory_beside_others_waits_for_one_to_end(small, alone, monkeypatch, tmp_path):
    """A device with room for two runs."""
    step, here, refused = loop.Trainer.step, set(), []
    full, room = threading.Event(), threading.Lock()

    def hungry(self):
        name = self.folder.name
        with room:
            if name not in here and len(here) == 2:
                refused.append(name)
                full.set()
                raise torch.OutOfMemoryError("CUDA out of memory")
            here.add(name)
        assert full.wait(60)  # until a third one has come
        step(self)
        if self.counters.update == self.total_updates:
            here.remove(name)

    monkeypatch.setattr(loop.Trainer, "step", hungry)
    records, failures = run_all(kinds(small, tmp_path / "packed"), at_once=3)
    assert not failures
    assert len(refused) == 1
    assert {record.id: comparable(record) for record in records} == {
        name: comparable(record) for name, record in alone.items()
    }


def test_a_run_without_memory_alone_fails_and_is_told(small, monkeypatch, tmp_path):
    def hungry(self):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loop.Trainer, "step", hungry)
    for at_once in (1, 3):
        records, failures = run_all(kinds(small, tmp_path / "packed"), at_once=at_once)
        assert not records
        assert len(failures) == len(KINDS)


@pytest.mark.parametrize("at_once", [1, 3])
def test_without_a_gpu_its_finished_runs_are_there_and_others_are_refused_one_by_one(at_once, small, tmp_path):
    done, other = small(f"runs={tmp_path}"), small(f"runs={tmp_path}", "seed=1")
    record = run(done)
    done.device = other.device = "cuda"
    records, failures = run_all([done, other], at_once=at_once)
    assert records == [record]
    assert len(failures) == 1
    assert "no CUDA GPU" in failures[0]


def test_runs_that_share_a_process_must_share_its_settings(small):
    with pytest.raises(ConfigurationError, match="precision is float32 and mixed"):
        list(run_packed([small("precision=float32"), small("precision=mixed")], 2))


def test_on_a_gpu_make_reproduce_lets_runs_share_it(monkeypatch, tmp_path):
    plan = OmegaConf.load(ROOT / "conf" / "reproduce" / "plan.yaml")
    plan.runs = str(tmp_path)
    asked = []
    monkeypatch.setattr(parts, "run_all", lambda configs, *how: asked.append(how) or ([], []))
    for gpu in (True, False):
        monkeypatch.setattr(parts.torch.cuda, "is_available", lambda gpu=gpu: gpu)
        part = parts.Part([*SMALL, "device=cpu"], True, plan)
        part.run()
    assert asked == [(1, plan.at_once), (parts.cores(), 1)]
    assert plan.at_once > 1


def test_runs_at_once_are_tracked_apart(small, tmp_path):
    pytest.importorskip("wandb")
    configs = [
        compose("train", [*SMALL, "tracking=offline", f"seed={seed}", f"runs={tmp_path}", "training.max_updates=4"])
        for seed in (0, 1)
    ]
    records, failures = run_all(configs, at_once=2)
    assert not failures
    files = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert len(files) == 2
    for record in records:
        (own,) = [file for file in files if record.id in file.parent.name]
        told = repr(record.metrics["test"]["value"])[:12].encode()
        deadline = time.monotonic() + 30  # the process that writes may be a little behind
        while told not in own.read_bytes():
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_several_updates_at_once_are_counted_together(monkeypatch):
    monkeypatch.setattr(speed, "updates_per_second", lambda steps, *_: 10.0 * len(steps))
    case = Case("rnn", "unstable", 16, 2, None)
    assert speed._tokens_per_second(case, torch.device("cpu"), 3, 0.1) == 30 * case.tokens


def test_where_one_of_several_fails_its_error_is_told_and_no_other_waits_for_it():
    def fail():
        raise torch.OutOfMemoryError("CUDA out of memory")

    case = Case("rnn", "unstable", 16, 2, None)
    cpu = torch.device("cpu")
    with pytest.raises(torch.OutOfMemoryError):
        updates_per_second([lambda: Ours(case, cpu, Precision.FLOAT32), fail], cpu, 0.1)


def test_dropout_is_that_of_pytorch_bit_for_bit_and_draws_from_its_own_generator():
    x = torch.randn(7, 5, requires_grad=True)
    for p in (0.0, 0.3, 0.9):
        torch.manual_seed(4)
        theirs = nn.Dropout(p)(x)
        torch.manual_seed(4)
        assert_close(Dropout(p)(x), theirs, rtol=0, atol=0)
        torch.manual_seed(4)
        ours = Dropout(p)
        draw_from(ours, own_generator(x.device))
        torch.manual_seed(99)
        state = torch.get_rng_state()
        assert_close(ours(x), theirs, rtol=0, atol=0)
        assert_close(torch.get_rng_state(), state, rtol=0, atol=0)
        assert ours.eval()(x) is x


def test_a_score_of_launched_blocks_is_the_score(small, monkeypatch):
    """Weights that change between two scores, a last block of another length, a run's buffers used again and again."""
    monkeypatch.setattr(evaluate, "BLOCK", 64)
    for kind in KINDS[:2]:
        config = small(*kind)
        corpus = make(config.dataset).load()
        model, constraint = build(config, corpus.interface)
        scorer, launches = Scorer(model), []

        def record(work, launches=launches):
            return lambda: (launches.append(1), work())

        scorer._record = record
        for split in ("valid", "test", "valid"):
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.mul_(1.1)
            project(constraint, model)
            assert scorer.score(corpus.splits[split]) == score(model, corpus.splits[split])
        assert len(launches) > 15


def test_work_that_cannot_be_captured_is_done_kernel_by_kernel_and_that_is_said(caplog):
    done = []

    def refuse(work):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    launch = OneLaunch(lambda: done.append(1), refuse)
    with caplog.at_level("WARNING"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("stablernn.training.graph.log.propagate", True)
        for _ in range(3):
            launch()
    assert len(done) == 3
    said = {id(entry) for entry in caplog.records if "operation not permitted" in entry.getMessage()}
    assert len(said) == 1  # once, whatever number of handlers hear it

    def exhausted(work):
        raise torch.OutOfMemoryError("CUDA out of memory")

    launch = OneLaunch(lambda: done.append(1), exhausted)
    launch()
    with pytest.raises(torch.OutOfMemoryError):
        launch()


def test_the_graphs_of_a_run_end_with_it_whatever_ends_it(small, monkeypatch, tmp_path):
    released = []
    monkeypatch.setattr(Scorer, "release", lambda self: released.append(self))
    run(small(f"runs={tmp_path / 'whole'}"))
    assert len(released) == 1
    monkeypatch.setattr(loop.Trainer, "step", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(small(f"runs={tmp_path / 'broken'}"))
    assert len(released) == 2


def test_a_launch_that_is_given_up_holds_nothing():
    class Graph:
        def replay(self) -> None:
            pass

    graphs = []

    def record(work):
        graph = Graph()
        graphs.append(weakref.ref(graph))
        return graph.replay

    launch = OneLaunch(lambda: None, record)
    launch()
    launch()
    assert graphs[0]() is not None
    launch.release()
    assert graphs[0]() is None


@pytest.fixture
def without_gc():
    """What cycles hold is not collected meanwhile."""
    torch.optim.SGD([torch.zeros(1)], lr=1.0)  # the first one imports half of PyTorch, and leaves cycles behind
    nn.Linear(1, 1, device="meta")  # likewise
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_a_released_step_and_a_released_scorer_hold_no_weights(without_gc):
    model = build_language_model(50, LSTMCell, Recurrent, 8, 8, dropout=0.2)
    weight = weakref.ref(model.inputs.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    step = GraphedStep(model, LSTMStated(), optimizer, 0.25, record=lambda work: work)
    scorer, state = Scorer(model), model.initial_state(4)
    scorer._record = lambda work: work
    for _ in range(4):
        state = step(*torch.randint(50, (2, 7, 4)), state)
        scorer.score(Split(torch.randint(50, (5000,)).numpy()))
    step.release()
    scorer.release()
    del step, scorer, optimizer, model, state
    assert weight() is None


@pytest.mark.parametrize("broken", [False, True])
def test_of_a_run_that_has_ended_nothing_is_left_in_memory(broken, small, monkeypatch, without_gc):
    """What runs that come later would lack."""
    made = []

    def built(*args):
        model, constraint = build_for(*args)
        made.append(weakref.ref(model.inputs.weight))
        return model, constraint

    def exhausted(self):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(run_module, "build_for", built)
    if broken:
        monkeypatch.setattr(loop.Trainer, "evaluate", exhausted)
    records, failures = run_all([small(f"seed={seed}") for seed in (0, 1)], at_once=2)
    assert (len(records), len(failures)) == ((0, 2) if broken else (2, 0))
    assert len(made) >= 2
    assert [weight() for weight in made] == [None] * len(made)


def test_a_gpu_whose_process_dies_of_a_capture_is_worked_on_without(monkeypatch, caplog):
    """It is tried in another process, once, and said."""
    monkeypatch.setattr("stablernn.training.graph.log.propagate", True)
    for command, survives, reason in (
        ("import os; os.abort()", False, "it ended with -6"),
        ("raise RuntimeError('unknown driver')", False, "RuntimeError: unknown driver"),
        (graph._TRIAL, True, ""),
    ):
        graph._survives.cache_clear()
        caplog.clear()
        monkeypatch.setattr(graph, "_TRIAL", command)
        with caplog.at_level("WARNING"):
            assert {can_capture(torch.device("cpu")) for _ in range(3)} == {survives}
        said = {entry.getMessage() for entry in caplog.records}
        assert len(said) == (not survives)
        assert all(reason in message for message in said)
    graph._survives.cache_clear()
    trial("cpu")


class OfGPU(TorchDispatchMode):
    """Fails where a GPU would wait for the host or a graph could not be captured: a number is read from a tensor, a
    tensor is made of the host's numbers, a shape depends on values, a matrix is factorised."""

    FORBIDDEN = ("_local_scalar_dense", "lift_fresh", "nonzero", "masked_select", "_unique2", "unique_dim", "equal")

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        forbidden = name in self.FORBIDDEN or ("linalg" in name and name != "linalg_vector_norm")
        assert not forbidden, f"{function} in the work of a GPU"
        return function(*args, **(kwargs or {}))


CONSTRAINTS = [
    (RNNCell, Unconstrained),
    (RNNCell, SpectralNormBall),
    (RNNCell, RNNDiagonal),
    (LSTMCell, LSTMStated),
    (LSTMCell, LSTMAsCoded),
    (LSTMCell, LSTMComparison),
    (LSTMCell, LSTMRowwise),
    (LSTMCell, LSTMSpectral),
    (LSTMCell, LSTMCoupled),
    (LSTMCell, LSTMGatedLinear),
    (LSTMCell, LSTMOutputGate),
    (LSTMCell, LSTMCascade),
    (GRUCell, GRURowwise),
    (GRUCell, GRUGatedLinear),
]


@pytest.fixture
def of_gpu(monkeypatch):
    """Tensors say that they are on a GPU, and products have what a GPU's have."""
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda self: True))
    monkeypatch.setattr(softmax, "product", lambda a, b: a.float() @ b.float())


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("backbone", [Recurrent, partial(FeedForward, k=4)], ids=["recurrent", "feedforward"])
@pytest.mark.parametrize("cell", [RNNCell, LSTMCell, GRUCell])
def test_no_update_and_no_score_on_a_gpu_looks_at_a_number(cell, backbone, precision, of_gpu):
    """Then each can be captured in a graph."""
    model = build_language_model(50, cell, backbone, 8, 8, dropout=0.3)
    model.objective.precision = precision
    step = Step(model, Unconstrained(), torch.optim.SGD(model.parameters(), lr=1.0), 0.25, waits=False)
    x, y = torch.randint(50, (2, 7, 4))
    before = model.initial_state(4)
    with OfGPU():
        step.descend(x, y, before)
        model.eval()
        with torch.no_grad():
            nats, _ = model.loss(x, y, before)
    assert nats.isfinite()


def test_a_score_on_a_gpu_is_that_on_a_cpu_however_large_the_logits(monkeypatch):
    head, features, targets = FullSoftmax(1100, 8), torch.randn(5, 8), torch.randint(1100, (5,))
    for scale in (1.0, 1e3):
        nn.init.normal_(head.weight, std=scale)
        exact = copy.deepcopy(head).double().log_probabilities(features.double(), targets)
        assert_close(head.log_probabilities(features, targets), exact.float())
        with monkeypatch.context() as patch:
            patch.setattr(torch.Tensor, "is_cuda", property(lambda self: True))
            patch.setattr(softmax, "_LOGITS_A_CHUNK", 5 * 512)
            assert_close(head.log_probabilities(features, targets), exact.float())


def test_on_a_gpu_float32_is_rounded_in_an_update_alone():
    """Not in projections, scores and analyses, of which none asks for it."""

    def rounded() -> tuple[bool, bool]:
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    seen, gpu = [], torch.device("cuda")
    before = rounded()
    try:
        set_up_products(gpu)
        for precision in Precision:
            model = build_language_model(50, LSTMCell, Recurrent, 8, 8)
            step = Step(model, Unconstrained(), torch.optim.SGD(model.parameters(), lr=1.0), 0.25)
            step.device, model.objective.precision = gpu, precision
            model.register_forward_hook(lambda *_: seen.append(rounded()))
            assert rounded() == (False, False)
            step(*torch.randint(50, (2, 7, 4)), model.initial_state(4))
            assert rounded() == (False, False)
            model.register_forward_hook(lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                step(*torch.randint(50, (2, 7, 4)), model.initial_state(4))
            assert rounded() == (False, False)
    finally:
        use_tf32(*before)
    assert seen[::2] == [(False, False), (True, True), (True, True)]


def test_a_stream_serves_the_next_run_and_never_two_at_once(monkeypatch, caplog):
    """PyTorch hands out 32, the first of them again as the 33rd."""

    class Stream:
        def __init__(self, device) -> None:
            made.append(self)

        def wait_stream(self, stream) -> None:
            pass

    class On:
        def __init__(self, stream) -> None:
            self.stream = stream

        def __enter__(self) -> None:
            current.stream = self.stream

        def __exit__(self, *_) -> None:
            del current.stream

    made, at_work, most, current = [], set(), [], threading.local()

    def attempt(config, *_):
        with own_stream(torch.device("cuda")):
            stream = current.stream
            assert stream not in at_work
            at_work.add(stream)
            most.append(len(at_work))
            time.sleep(0.002 * (config.seed % 5))
            assert current.stream is stream
            at_work.remove(stream)
        return None, ""

    monkeypatch.setattr(streams, "_free", {})
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", On)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(pack, "run_safely", attempt)
    config = OmegaConf.create({"device": "cuda", "precision": "auto", "threads": None})
    configs = [OmegaConf.merge(config, {"seed": seed}) for seed in range(40)]
    assert list(run_packed(configs, 4)) == [(None, "")] * 40
    assert max(most) <= len(made) <= 4
    with caplog.at_level("WARNING"):
        monkeypatch.setattr("stablernn.experiments.packed.log.propagate", True)
        assert list(run_packed(configs, 100)) == [(None, "")] * 40
    assert len(made) <= streams.STREAMS
    assert "at_once=40: a GPU has 32 streams in PyTorch, and a run needs one: that many at a time" in caplog.text


def test_a_capture_that_fails_leaves_stream_and_generator_as_they_were(monkeypatch):
    """So that what could not be captured goes on kernel by kernel."""
    entered, drawn = [], []

    class Stream:
        def __enter__(self):
            entered.append(self)

        def __exit__(self, *_):
            entered.remove(self)

    class Generator:
        device, state = "cuda:0", 7

        def __init__(self, device=None) -> None:
            self.captured = False

        def get_state(self):
            return self.state

        def set_state(self, state) -> None:
            self.state = state

        def graphsafe_set_state(self, other) -> None:
            self.captured, self.state = other.captured, other.state

        def draw(self) -> None:
            if self.captured:
                raise RuntimeError("Offset increment outside graph capture encountered unexpectedly.")
            drawn.append(self.state)

    class Graph:
        def register_generator_state(self, generator) -> None:
            generator.captured = True

    class Capture:
        def __init__(self, graph, stream, capture_error_mode) -> None:
            assert capture_error_mode == "thread_local", "what another thread does would break it"
            self.stream = stream

        def __enter__(self):
            entered.append(self.stream)

        def __exit__(self, *_):
            raise RuntimeError("operation failed due to a previous error during capture")

    own = Stream()
    monkeypatch.setattr(torch, "Generator", Generator)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "default_stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: own)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", Capture)
    generator = Generator()
    launch = OneLaunch(generator.draw, recorder(torch.device("cuda"), generator))
    for _ in range(3):
        launch()
    assert drawn == [7, 7, 7]


@pytest.mark.parametrize(("cell", "constraint"), CONSTRAINTS, ids=lambda kind: kind.__name__)
def test_the_path_of_a_gpu_never_looks_at_a_number(cell, constraint, monkeypatch):
    """On tensors that say that they are on one. What looks all the same says so, and is not captured."""
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda self: True))
    model = build_language_model(50, cell, Recurrent, 8, 8, dropout=0.2)
    draw_from(model, own_generator(torch.device("cpu")))
    step = Step(model, constraint(), torch.optim.SGD(model.parameters(), lr=1.0), 0.25, waits=False)
    x, y = torch.randint(50, (2, 7, 4))
    state = model.initial_state(4)
    for parameter in model.parameters():
        parameter.detach().mul_(5)  # far beyond every constraint
    with OfGPU():
        state = step.descend(x, y, state)
        state = step.descend(x, y, state)
        if not step.constraint.synchronizes:
            step.project()
    if step.constraint.synchronizes:
        with pytest.raises(AssertionError, match="in the work of a GPU"), OfGPU():
            step.project()
