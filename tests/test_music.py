"""Piano rolls: what is read, what is scored, what is proven, and what the table of tasks says of it."""

import hashlib
import math
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat
from torch.testing import assert_close

from stablernn.analysis.conversion.convert import Conversion
from stablernn.analysis.conversion.converted import load_converted
from stablernn.analysis.conversion.export import read_program, write_programs
from stablernn.analysis.conversion.network import Unrolled
from stablernn.analysis.conversion.scoring import log_probabilities
from stablernn.analysis.gradient_horizon import gradient_norms
from stablernn.config.compose import compose
from stablernn.config.identity import run_id
from stablernn.config.instantiate import make
from stablernn.models.backbone import stack_of
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.cells.rnn import RNNCell
from stablernn.models.feed_forward import FeedForward
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_model
from stablernn.records.record import read_record
from stablernn.stability.certificates import certify
from stablernn.stability.constraints.base import project
from stablernn.stability.constraints.lstm import LSTMStated
from stablernn.stability.constraints.spectral import SpectralNormBall
from stablernn.stability.measured import lyapunov_exponent
from stablernn.tasks import hub, music
from stablernn.tasks.base import Inputs, Interface, Outputs
from stablernn.tasks.music import BASELINES, KEYS, PianoRolls
from stablernn.tasks.sequences import SequenceBatches, Sequences
from stablernn.training.evaluate import score
from stablernn.training.run import run
from stablernn.training.trained import find_runs
from stablernn.utils.errors import ConfigurationError, DataError, MissingDataError
from stablernn.utils.metrics import NATS_A_FRAME

INTERFACE = Interface(Inputs("box", KEYS), Outputs("bernoulli", KEYS))


def rolls(*lengths: int, seed: int = 0) -> np.ndarray:
    """Pieces of so many frames as MATLAB keeps them."""
    rng = np.random.default_rng(seed)
    pieces = np.empty((1, len(lengths)), dtype=object)
    for number, length in enumerate(lengths):
        pieces[0, number] = (rng.random((length, KEYS)) < 0.05).astype(float)
    return pieces


def one(piece: np.ndarray) -> np.ndarray:
    """A single piece as MATLAB keeps it."""
    pieces = np.empty((1, 1), dtype=object)
    pieces[0, 0] = piece
    return pieces


def write(folder: Path, **entries) -> Path:
    content = {"traindata": rolls(9, 4, 6, 12, 5), "validdata": rolls(5, 7), "testdata": rolls(8, 3, 6)} | entries
    savemat(folder / "pieces.mat", {key: value for key, value in content.items() if value is not None})
    return folder


def own(folder: Path, **options) -> PianoRolls:
    return PianoRolls("mine", str(folder), "", "pieces.mat", **options)


def sequences(*lengths: int) -> Sequences:
    pieces = [piece.astype(np.uint8) for piece in rolls(*lengths).ravel()]
    return Sequences(tuple(p[:-1] for p in pieces), tuple(p[1:] for p in pieces))


def model(cell=LSTMCell, backbone=Recurrent, hidden=12):
    torch.manual_seed(0)
    return build_model(INTERFACE, stack_of(cell, backbone), None, hidden)


def config(folder: Path, *overrides: str):
    options = (
        "dataset=piano_roll_folder dataset.name=mine truncation.k=50 profile=smoke optimizer=adam model.hidden_size=8 "
        "training.batch_size=2 training.epochs=3 tracking=none progress=false device=cpu"
    )
    return compose("train", [*options.split(), f"dataset.path={folder}", f"runs={folder / 'runs'}", *overrides])


def test_every_frame_but_the_first_is_predicted_from_those_before_it(tmp_path):
    task = own(write(tmp_path)).load()
    piece = rolls(9, 4, 6, 12, 5)[0, 0]
    np.testing.assert_array_equal(task.splits["train"].inputs[0], piece[:-1])
    np.testing.assert_array_equal(task.splits["train"].targets[0], piece[1:])
    assert {name: len(split) for name, split in task.splits.items()} == {"train": 31, "valid": 10, "test": 14}


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"traindata": None}, "no entry traindata"),
        ({"testdata": rolls(5)[:, :0]}, "testdata holds no pieces"),
        ({"validdata": one(np.zeros((4, 87)))}, r"shape \(4, 87\); it must be \(frames, 88\)"),
        ({"validdata": one(np.zeros((1, KEYS)))}, "has 1 frame; it needs 2"),
        ({"traindata": one(np.full((4, KEYS), 0.5))}, "other than 0 and 1"),
    ],
)
def test_a_file_of_another_form_is_refused_in_one_line(tmp_path, entries, said):
    with pytest.raises(DataError, match=said) as error:
        own(write(tmp_path, **entries)).load()
    assert "\n" not in str(error.value)


def test_what_is_no_matlab_file_or_is_not_there_is_said(tmp_path):
    with pytest.raises(MissingDataError, match=r"no pieces\.mat"):
        own(tmp_path).load()
    (tmp_path / "pieces.mat").write_bytes(b"\x00not a MATLAB file")
    with pytest.raises(DataError, match="not a MATLAB file"):
        own(tmp_path).load()


def test_a_published_name_is_for_the_published_pieces_alone(tmp_path):
    write(tmp_path)
    with pytest.raises(DataError, match="does not hold the published pieces"):
        PianoRolls("jsb", str(tmp_path), "", "pieces.mat").load()


def test_other_pieces_are_another_run(tmp_path):
    first, other = tmp_path / "a", tmp_path / "b"
    first.mkdir(), other.mkdir()
    ids = {run_id(config(write(first))), run_id(config(write(other, testdata=rolls(4, 4, seed=1))))}
    assert len(ids) == 2
    assert run_id(config(first, "model.embedding_size=5")) in ids, "nothing is embedded"


@given(st.lists(st.integers(2, 9), min_size=1, max_size=7), st.integers(1, 4))
def test_a_pass_has_every_frame_once_and_the_mask_finds_it(lengths, size):
    split = sequences(*lengths)
    batches = SequenceBatches(split, size)
    for epoch in range(2):
        seen = []
        for number in range(len(batches)):
            batch = batches.batch(epoch * len(batches) + number)
            assert batch.reset
            for stream in range(batch.x.shape[1]):
                there = batch.mask[:, stream]
                assert not batch.x[~there, stream].any()
                seen.append(batch.y[there, stream].numpy())
        expected = sorted(map(bytes, (target.astype(np.uint8) for target in split.targets)))
        assert sorted(bytes(np.ascontiguousarray(one.astype(np.uint8))) for one in seen) == expected


@pytest.mark.parametrize("backbone", [Recurrent, lambda cells, dropout: FeedForward(cells, dropout, k=3)])
def test_padding_changes_neither_loss_nor_gradient(backbone):
    network, split = model(backbone=backbone).double(), sequences(9, 4, 6)
    batch = SequenceBatches(split, 3).batch(0)
    loss, _ = network.loss(batch.x.double(), batch.y.double(), network.initial_state(3), batch.mask)
    padded = torch.autograd.grad(loss, list(network.parameters()))
    alone = [network.loss(one.x.double(), one.y.double(), network.initial_state(1))[0] for one in split]
    one_by_one = torch.autograd.grad(sum(alone), list(network.parameters()))
    assert_close(loss, sum(alone))
    for ours, theirs in zip(padded, one_by_one, strict=True):
        assert_close(ours, theirs)


def test_the_loss_is_that_of_the_published_code():
    """locuslab/TCN: minus the traces of log p yᵀ and log (1 - p) (1 - y)ᵀ, over the frames of all pieces."""
    network, split = model(), sequences(9, 4, 6)
    total = frames = 0.0
    with torch.no_grad():
        for x, y in zip(split.inputs, split.targets, strict=True):
            cell = network.cells[0]
            state = cell.zeros(1)
            outputs = []
            for frame in torch.from_numpy(x).float():
                state = cell(frame[None], state)
                outputs.append(torch.sigmoid(network.objective.logits(state.h))[0])
            p, target = torch.stack(outputs), torch.from_numpy(y).float()
            total -= float(torch.trace(p.log() @ target.T) + torch.trace((1 - p).log() @ (1 - target).T))
            frames += len(target)
    assert score(network, split, NATS_A_FRAME).value == pytest.approx(total / frames, abs=1e-5)


def test_truncation_beyond_the_longest_piece_changes_nothing():
    network, split = model(), sequences(9, 4, 6)
    cells = list(network.cells)
    truncated = build_model(INTERFACE, lambda *_: FeedForward(cells, k=8), None, 12)
    truncated.objective = network.objective
    assert score(truncated, split).total == pytest.approx(score(network, split).total, rel=1e-6)


def test_a_run_that_was_killed_ends_as_one_that_was_not(tmp_path, monkeypatch):
    write(tmp_path)
    whole = run(config(tmp_path))
    again = tmp_path / "again"
    paused = run(config(tmp_path, f"runs={again}", "training.pause_after=1"))
    assert paused.status == "paused"
    resumed = run(config(tmp_path, f"runs={again}"))
    assert (resumed.metrics, resumed.history, resumed.blocks) == (whole.metrics, whole.history, whole.blocks)
    assert whole.metrics["test"]["value"] == whole.metrics["test"]["total"] / 14
    assert whole.blocks["counts"] == [7, 2, 5]
    assert read_record(tmp_path / "runs" / whole.id).metric is NATS_A_FRAME
    assert not math.isnan(whole.history[-1]["train"])


def test_windows_shorter_than_a_piece_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"truncation\.k=11 or more"):
        run(config(write(tmp_path), "truncation.k=10"))


@pytest.mark.parametrize(("cell", "constraint"), [(RNNCell, SpectralNormBall(0.7)), (LSTMCell, LSTMStated())])
def test_what_is_proven_over_the_box_holds_for_every_roll_in_it(cell, constraint):
    network = model(cell, hidden=6).double()
    project(constraint, network)
    certificate = certify(network)
    assert certificate.holds
    generator = torch.Generator().manual_seed(0)
    for density in (0.0, 0.05, 0.5, 1.0):
        x = (torch.rand(40, 8, KEYS, generator=generator) < density).double()
        y = (torch.rand(40, 8, KEYS, generator=generator) < 0.5).double()
        features, _ = network(x, network.initial_state(8))
        whole = network.objective.log_probabilities(features[-1], y[-1])
        for k in (1, 3, 10):
            cut, _ = network(x[-k:], network.initial_state(8))
            moved = (network.objective.log_probabilities(cut[-1], y[-1]) - whole).abs().max()
            assert float(moved) <= certificate.gap(k)
            assert float((cut[-1] - features[-1]).norm(dim=1).max()) <= certificate.state_gap(k)


def test_the_head_moves_by_no_more_than_its_sensitivity():
    network = model()
    bound = network.objective.sensitivity(lambda rows: float((rows[0] - rows[1]).norm()))
    generator = torch.Generator().manual_seed(1)
    h, step = torch.randn(50, 12, generator=generator), torch.randn(50, 12, generator=generator)
    y = (torch.rand(50, KEYS, generator=generator) < 0.5).float()
    moved = network.objective.log_probabilities(h + step, y) - network.objective.log_probabilities(h, y)
    assert bool((moved.abs() <= bound * step.norm(dim=1) + 1e-5).all())


def frame_loss(logits, y) -> float:
    return float(torch.nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="sum")) / len(y)


@pytest.mark.slow
def test_the_baselines_are_what_such_models_reach(data_folder):
    task = make(compose("train", ["dataset=jsb", f"dataset.path={data_folder}"]).dataset).load()
    x, y = {}, {}
    for name, split in task.splits.items():
        x[name], y[name] = (torch.from_numpy(np.concatenate(side)).float() for side in (split.inputs, split.targets))
    often = (y["train"].sum(0) + 0.5) / (len(y["train"]) + 1)
    found = [frame_loss(often.logit().expand_as(y["test"]), y["test"])]
    linear, wide = torch.nn.Linear(KEYS, KEYS), 200
    deep = [torch.nn.Linear(KEYS, wide), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(wide, KEYS)]
    for network, lr in ((linear, 1e-2), (torch.nn.Sequential(*deep), 2e-3)):
        optimizer = torch.optim.Adam(network.parameters(), lr=lr)
        best = (math.inf, math.inf)
        for _ in range(60):
            network.train()
            for part in torch.randperm(len(y["train"])).split(256):
                optimizer.zero_grad()
                losses = torch.nn.functional.binary_cross_entropy_with_logits(
                    network(x["train"][part]), y["train"][part]
                )
                (KEYS * losses).backward()
                optimizer.step()
            network.eval()
            with torch.no_grad():
                best = min(best, tuple(frame_loss(network(x[name]), y[name]) for name in ("valid", "test")))
        found.append(best[1])
    assert found == pytest.approx(list(BASELINES["jsb"].values()), abs=0.05)


def test_a_feed_forward_model_of_few_frames_trains_on_whole_pieces(tmp_path):
    record = run(config(write(tmp_path), "approximation=feedforward", "truncation.k=3"))
    assert record.status == "finished"
    assert record.blocks["counts"] == [7, 2, 5]


def test_a_head_for_words_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="is for models of words, not for vectors: choose head=full"):
        run(config(write(tmp_path), "head=adaptive"))


def test_a_model_of_frames_is_converted(tmp_path):
    record = run(config(write(tmp_path), "model=rnn", "stability=rnn_spectral", "stability.constraint.limit=0.5"))
    (trained,) = find_runs("*", tmp_path / "runs", None, torch.device("cpu"))
    folder, description = Conversion(seconds=0.1, tokens=None, split="test")(trained)
    assert description["choice"]["how"] == "certified"
    assert all(parity["nats"] <= 1e-5 for parity in description["parity"].values())
    assert "frames: float32, (time, batch, 88)" in description["order"]
    loaded, piece = load_converted(folder), next(iter(trained.corpus.splits["test"]))
    ours, _ = log_probabilities(loaded, piece.x)
    assert_close(read_program(folder, "onnx")(piece.x.float()), ours, rtol=0, atol=1e-5)
    exact, _ = log_probabilities(trained.model("best"), piece.x)
    assert float((ours - exact).abs().max()) <= description["choice"]["epsilon"]
    on, off = ours, torch.log1p(-ours.exp())
    total = -(torch.where(piece.y > 0, on, off)).sum()
    expected = score(loaded, trained.corpus.splits["test"].first(1)).total
    assert float(total) == pytest.approx(expected, rel=1e-5)
    assert record.id == description["run"]


def test_a_key_that_never_sounds_has_a_finite_log_probability_in_every_form(tmp_path):
    network = model().eval()
    with torch.no_grad():
        network.objective.bias.fill_(-300)
    write_programs(Unrolled(network, 2), INTERFACE, tmp_path, ["export", "onnx"])
    for name in ("export", "onnx"):
        assert_close(
            read_program(tmp_path, name)(torch.zeros(3, 1, KEYS)), torch.full((3, 1, KEYS), -300.0), rtol=0.02, atol=0
        )


def test_an_empty_folder_of_data_is_none(monkeypatch):
    monkeypatch.setenv("STABLERNN_DATA", "")
    monkeypatch.setattr(hub, "reachable", lambda url: False)
    with pytest.raises(DataError, match=r"jsb: no folder is named, and raw.* does not answer; set dataset.path"):
        make(compose("train", ["dataset=jsb"]).dataset).load()
    with pytest.raises(DataError, match=r"atis: no folder is named, and it cannot be downloaded; set dataset.path"):
        make(compose("train", ["dataset=atis"]).dataset).load()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_published_pieces_are_fetched_once_and_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "reachable", lambda url: True)
    (tmp_path / "home").mkdir()
    file = write(tmp_path / "home") / "pieces.mat"
    good = hashlib.sha256(file.read_bytes()).hexdigest()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path / "home"))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(music, "HOME", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setattr(music, "SHA256", {"mine": "0" * 64})
        with pytest.raises(DataError, match=r"mine: http.* could not be fetched .*hash"):
            PianoRolls("mine", None, "", "pieces.mat").load()
        assert not list(hub.cache_root().rglob("*.mat"))
        monkeypatch.setattr(music, "SHA256", {"mine": good})
        fetched = PianoRolls("mine", str(tmp_path / "nowhere"), "", "pieces.mat").load()
        server.shutdown()
    again = PianoRolls("mine", None, "", "pieces.mat").load()
    assert fetched.fingerprint == again.fingerprint == own(tmp_path / "home").load().fingerprint


@pytest.mark.parametrize("cell", [RNNCell, LSTMCell])
def test_gradients_by_earlier_frames_are_those_of_one_piece_at_a_time(cell):
    """Whatever lies before a piece's first frame counts for nothing, and every loss is that of the piece from zero."""
    pieces, horizon = sequences(10, 4, 8), 5
    network = model(cell).double()
    norms = gradient_norms(network, pieces, horizon, streams=6, lead=50)
    expected = []
    for batch in pieces:
        for end in range(horizon, len(batch.y)):
            x = batch.x[: end + 1].double().requires_grad_()
            features, _ = network(x, network.initial_state(1))
            (gradient,) = torch.autograd.grad(network.objective(features[-1], batch.y[end]), [x])
            expected.append(gradient[-1 - horizon :, 0].norm(dim=1).flip(0))
    assert_close(norms, torch.stack(expected, dim=1), rtol=1e-10, atol=0)
    with pytest.raises(ConfigurationError, match=r"the split has 6 positions .* analysis\.horizon=4 or less"):
        gradient_norms(network, pieces, horizon, streams=7, lead=1)


def test_stretches_of_pieces_are_the_beginnings_of_the_longest():
    pieces = sequences(10, 4, 8)
    stretches = pieces.beside(2, least=4, most=20)
    for column, number in enumerate((0, 2)):
        assert_close(stretches.x[:, column], torch.from_numpy(pieces.inputs[number][:7]).float())
        assert_close(stretches.y[:, column], torch.from_numpy(pieces.targets[number][:7]).float())
    with pytest.raises(ConfigurationError, match=r"has 2 sequences of at least 4 positions"):
        pieces.beside(3, least=4, most=20)


def test_the_exponent_along_frames_is_that_of_the_cell():
    """Of h' = tanh(0.5 h) at h = 0, whatever the frames: halved at every step."""
    network = model(RNNCell)
    (cell,) = network.cells
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        cell.weight_hh.copy_(0.5 * torch.eye(12))
    frames = sequences(10, 9).beside(2, least=8, most=8).x
    assert_close(lyapunov_exponent(network, frames, lead=5), [math.log(0.5)] * 2, rtol=0, atol=1e-9)
