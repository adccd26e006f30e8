"""A network of one's own: read from PyTorch and from files, examined, converted, exported."""

import inspect
import math
import os
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT
from faults.children import script
from safetensors.torch import save_file
from scipy import stats
from test_usage import one_line
from torch import nn
from torch.testing import assert_close

import stablernn
from stablernn.analysis.conversion.card import CARD
from stablernn.analysis.conversion.converted import VOCABULARY
from stablernn.analysis.conversion.export import read_program
from stablernn.commands.start import as_overrides
from stablernn.examination.chance import by_chance
from stablernn.examination.data import _first, read, words_of
from stablernn.examination.examine import metric_of
from stablernn.examination.weights import load_network
from stablernn.models.heads.bernoulli import Bernoulli
from stablernn.models.heads.regression import Regression
from stablernn.models.heads.softmax import FullSoftmax
from stablernn.stability.constraints.base import project
from stablernn.stability.constraints.spectral import SpectralNormBall
from stablernn.tasks.sequences import Sequences
from stablernn.tasks.splits import Split
from stablernn.utils.errors import CheckpointError, ConfigurationError, DataError

TYPES, SIZE = 13, 6
RNNS = [nn.RNN, nn.LSTM, nn.GRU]


class Network(nn.Module):
    """In the shape of word_language_model of pytorch/examples."""

    def __init__(self, kind=nn.LSTM, layers=1, tied=False, **options):
        super().__init__()
        self.encoder = nn.Embedding(TYPES, SIZE)
        self.rnn = kind(SIZE, SIZE, layers, **options)
        self.decoder = nn.Linear(SIZE, TYPES)
        if tied:
            self.decoder.weight = self.encoder.weight

    def forward(self, x):
        return self.decoder(self.rnn(self.encoder(x))[0])

    def ours(self):
        return stablernn.from_torch(self.encoder, self.rnn, self.decoder)


def logits(model, x):
    features, _ = model(x, model.initial_state(x.shape[1]))
    return model.objective.logits(features)


@pytest.mark.parametrize("kind", RNNS)
@pytest.mark.parametrize("options", [{}, {"layers": 3, "dropout": 0.5}, {"bias": False}, {"tied": True}])
def test_a_pytorch_network_and_ours_compute_the_same(kind, options):
    network = Network(kind, **options).eval()
    x = torch.randint(TYPES, (9, 4))
    model = network.ours()
    assert_close(logits(model, x), network(x), rtol=0, atol=1e-6)
    assert model.size() == sum(p.numel() for p in Network(kind, **{**options, "bias": True}).parameters())
    with torch.no_grad():
        network.rnn.weight_hh_l0.zero_()  # copied, and not shared
    assert not torch.allclose(logits(model, x), network(x), atol=1e-6)


def test_a_network_whose_batch_comes_first_and_one_in_float64_are_read_time_first():
    network = Network(nn.GRU, batch_first=True).double()
    x = torch.randint(TYPES, (9, 4))
    assert_close(logits(network.ours(), x), network(x.T).transpose(0, 1), rtol=0, atol=1e-12)


def test_without_embedding_and_decoder_frames_are_read_and_features_put_out():
    rnn = nn.LSTM(3, SIZE)
    x = torch.randn(9, 2, 3)
    assert_close(logits(stablernn.from_torch(None, rnn), x), rnn(x)[0], rtol=0, atol=1e-6)


REFUSED = {
    "bidirectional": (
        lambda: nn.LSTM(SIZE, SIZE, bidirectional=True),
        "bidirectional=True .* give one of one direction",
    ),
    "projection": (lambda: nn.LSTM(SIZE, SIZE, proj_size=3), "proj_size=3 .* give an LSTM without"),
    "relu": (lambda: nn.RNN(SIZE, SIZE, nonlinearity="relu"), "nonlinearity=relu .* give an nn.RNN with tanh"),
    "other": (lambda: nn.Linear(SIZE, SIZE), "Linear is unknown: give a torch.nn.RNN, LSTM or GRU"),
    "size": (lambda: nn.LSTM(SIZE + 1, SIZE), "embedding: its vectors have 6 entries, and rnn reads 7"),
    "features": (lambda: nn.LSTM(SIZE, SIZE + 1), "decoder: it reads 6 features, and rnn has 7"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_known_is_refused_with_the_remedy(case):
    make, message = REFUSED[case]
    with pytest.raises(ConfigurationError, match=message):
        stablernn.from_torch(nn.Embedding(TYPES, SIZE), make(), nn.Linear(SIZE, TYPES))


def test_weights_that_diverged_and_an_embedding_that_changes_itself_are_refused():
    network = Network()
    with torch.no_grad():
        network.rnn.bias_hh_l0[0] = torch.nan
    with pytest.raises(ConfigurationError, match="NaN or infinite"):
        network.ours()
    with pytest.raises(ConfigurationError, match="max_norm"):
        stablernn.from_torch(nn.Embedding(TYPES, SIZE, max_norm=1.0), Network().rnn)


def stable(network):
    with torch.no_grad():
        for name, weight in network.rnn.named_parameters():
            if "weight_hh" in name:
                weight.mul_(0.1)
    return network


@pytest.fixture(scope="module")
def text():
    """Ids that a network can learn something of: each follows from the one before, but for noise."""
    generator = torch.Generator().manual_seed(0)
    ids = [0]
    for noise in torch.randint(4, (900,), generator=generator).tolist():
        ids.append((5 * ids[-1] + 1 + noise) % TYPES)
    return torch.tensor(ids)


@pytest.fixture(scope="module")
def trained(text):
    """An LSTM after a second of training."""
    torch.manual_seed(0)
    network = Network(layers=2)
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    x = text[:900].view(15, 60).T
    for _ in range(40):
        loss = nn.functional.cross_entropy(network(x[:-1]).flatten(0, 1), x[1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


@pytest.fixture(autouse=True, scope="module")
def _small_analyses():
    """The search for λ_r and the proof for a text take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"_STEPS": 2, "_LONGEST": 16, "_LONGEST_PROVEN": 64, "_ALONG": 50, "_ENDS": 16}.items():
            patch.setattr(f"stablernn.examination.examine.{name}", value)
        yield


@pytest.fixture(scope="module")
def examination(trained, text):
    return stablernn.examine(trained.ours(), text, k_max=16, seconds=0.0, positions=16, name="mine")


def test_an_examination_says_what_the_pytorch_network_says(examination, trained, text):
    """The scores are those of PyTorch, whole and cut to windows of k."""
    with torch.no_grad():
        nats = nn.functional.cross_entropy(trained(text[:-1, None])[:, 0], text[1:])
        windows = text[:-1].unfold(0, 3, 1).T
        before = nn.functional.cross_entropy(trained(text[:2, None])[:, 0], text[1:3], reduction="sum")
        of_three = nn.functional.cross_entropy(trained(windows)[-1], text[3:], reduction="sum")
    assert examination.curve["recurrent"]["value"] == pytest.approx(math.exp(nats), rel=1e-4)
    assert examination.curve["value"][2] == pytest.approx(math.exp((of_three + before) / 900), rel=1e-4)


def test_the_screen_has_80_columns_and_says_all(examination):
    lines = str(examination).splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 40
    for part in ("LSTM, 2 layers of 6 units", "proven, any input", "measured", "Lyapunov", "λ_r", "gradient", "thread"):
        assert part in str(examination)


def test_the_lyapunov_exponent_has_half_of_its_interval_beside_it(examination):
    measured = {"lyapunov": -0.5, "error": 0.01, "streams": 4}
    shown = str(replace(examination, dynamics=examination.dynamics | measured))
    assert f"-0.500 ± {stats.t.ppf(0.975, 3) * 0.01:.3f} a word" in shown


@pytest.mark.parametrize("nothing", [[], None, np.empty(0, dtype=np.int64)])
def test_no_data_are_refused_in_words(trained, nothing):
    with pytest.raises(ConfigurationError, match="data=data holds nothing: give a text, ids"):
        stablernn.examine(trained.ours(), nothing)


def test_a_smaller_epsilon_never_asks_for_a_smaller_k(trained, text):
    contexts = [
        stablernn.examine(trained.ours(), text[:300], epsilon=epsilon, k_max=16, seconds=0.0, positions=4)
        for epsilon in (0.3, 0.01, 1e-4)
    ]
    measured = [found.measured or 17 for found in contexts]
    assert measured == sorted(measured)
    assert measured[0] < measured[-1]


@pytest.mark.parametrize("kind", RNNS)
def test_what_is_proven_on_any_input_holds_on_this_text_and_for_what_is_measured(kind, text):
    torch.manual_seed(1)
    found = stablernn.examine(stable(Network(kind)).ours(), text[:200], k_max=80, seconds=0.0, positions=8)
    assert found.measured <= found.proven_on_text <= found.proven
    assert found.choice == (found.proven, "proven for any text")
    assert "guaranteed" in str(replace(found, chance=None))  # if it had learnt anything
    assert found.curve["largest"][found.proven - 1] <= found.epsilon


def test_an_rnn_is_examined_in_the_norms_that_suit_it_best(text):
    torch.manual_seed(1)
    network = Network(nn.RNN)
    network.rnn.weight_hh_l0.data.mul_(4.0)
    model = network.ours()
    project(SpectralNormBall(0.99), model)
    found = stablernn.examine(model, text[:200], k_max=8, seconds=0.0, positions=4)
    plain = stablernn.certify(model, search_units=0).context(0.01)
    assert found.proven == stablernn.certify(model).context(0.01) < plain
    assert f"{found.proven:,}" in str(found)


def test_an_examination_of_features_has_no_score_and_bounds_their_change():
    torch.manual_seed(1)
    rnn = nn.RNN(3, SIZE)
    with torch.no_grad():
        rnn.weight_hh_l0.mul_(0.4)
    frames = torch.rand(120, 3)
    found = stablernn.examine(stablernn.from_torch(None, rnn, bounds=(0, 1)), frames, k_max=40, seconds=0.0)
    assert found.gradient is None
    assert "Perplexity" not in str(found)
    with torch.no_grad():
        whole, cut = rnn(frames[:, None])[0][-1], rnn(frames[-found.proven :, None])[0][-1]
    assert float((whole - cut).abs().max()) <= found.epsilon
    anything = stablernn.examine(stablernn.from_torch(None, rnn), 100 * frames, k_max=8, seconds=0.0)
    assert "3 entries of any real numbers" in str(anything)
    assert anything.certificate.rate >= found.certificate.rate
    gated = stablernn.examine(stablernn.from_torch(None, nn.LSTM(3, 4)), frames, k_max=8, seconds=0.0)
    assert "a forget gate reaches 1" in str(gated)
    assert "frames may have any entries: give their bounds" in " ".join(str(gated).split())


def test_a_k_by_measurement_on_short_sequences_comes_with_a_caution(trained, text):
    pieces = [text[begin : begin + 13] for begin in range(0, 260, 13)]
    found = stablernn.examine(trained.ours(), pieces, epsilon=1e-5, k_max=12, seconds=0.0, positions=2)
    found = replace(found, chance=100.0)  # of this small network it is not the question
    assert found.choice[1] == "measured on this text"
    assert found.k > 6, "then it is more than half of a piece"
    assert "more inputs before, so longer sequences may need more. No such k is proven" in " ".join(str(found).split())
    assert "longer sequences" not in str(replace(found, split=found.split.first(None), epsilon=10.0))


def test_switches_are_examined_and_their_frames_outside_the_box_are_refused_in_every_form(tmp_path, caplog):
    torch.manual_seed(1)
    rnn, decoder = nn.RNN(3, SIZE).double(), nn.Linear(SIZE, 3).double()
    model = stablernn.from_torch(None, rnn, decoder, bounds=(0, 1), outputs="bernoulli")
    frames = torch.randint(2, (150, 3)).float()
    found = stablernn.examine(model, [frames[:80], frames[80:]], k_max=8, seconds=0.0)
    found = replace(found, chance=0.0)
    folder = found.export(tmp_path / "out", k=2)
    assert "has learnt nothing that context could serve, and is exported all the same" in caplog.text
    forms = {name: read_program(folder, name) for name in ("export", "onnx")} | {"ours": found.convert(2)}
    x = torch.rand(5, 2, 3)
    for form in forms.values():
        assert_close(form(x), forms["ours"](x), rtol=0, atol=1e-5)
    for wrong in (-0.01, 1.01, torch.nan):
        outside = x.clone()
        outside[3, 1, 2] = wrong
        for name, form in forms.items():
            with pytest.raises(Exception, match=r"(?i)out of (range|data bounds)"):
                pytest.fail(f"{name} takes {wrong}: {form(outside).shape}")
    with pytest.raises(ConfigurationError, match=r"lie outside bounds=\(0, 1\)"):
        stablernn.examine(model, 2 * frames)


def test_figures_and_page_show_what_was_found(examination, tmp_path):
    charts = examination.plot(tmp_path / "figures")
    assert len(charts) == len(list((tmp_path / "figures").glob("*.svg"))) == 3
    named = replace(examination, name="<b>mine</b>")
    page = named.save(tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 3
    assert "<b>mine" not in page
    assert "&lt;b&gt;mine&lt;/b&gt;: LSTM" in page
    assert "prefers-color-scheme: dark" in page
    assert "://" not in page


def test_an_export_is_the_truncated_network_with_its_vocabulary_and_card(trained, tmp_path):
    words = [f"w{n}" for n in range(TYPES)]
    (tmp_path / "text.txt").write_text(" ".join(np.random.default_rng(0).choice(words, 200)))
    (tmp_path / "words.txt").write_text("\n".join(words))
    found = stablernn.examine(
        trained.ours(), tmp_path / "text.txt", vocabulary=tmp_path / "words.txt", k_max=8, seconds=0.0, positions=4
    )
    folder = found.export(tmp_path / "out", k=3, formats=())
    assert (folder / VOCABULARY).read_text().split("\n")[:-1] == words
    assert "k = 3" in (folder / CARD).read_text()
    x = torch.randint(TYPES, (20, 2))
    ours, plain = stablernn.load_converted(folder), found.convert(3)
    expected = torch.stack([trained(x[t - 2 : t + 1])[-1].log_softmax(-1) for t in range(2, 20)])
    for form in (plain(x), ours.objective.distribution(ours(x, ours.initial_state(2))[0])):
        assert_close(form[2:], expected, rtol=0, atol=1e-5)


def test_without_a_k_that_does_one_must_be_given(examination):
    short = stablernn.examine(examination.model, examination.split, epsilon=1e-9, k_max=1, seconds=0.0, positions=2)
    assert short.k is None
    assert "Keep it recurrent" in str(short)
    with pytest.raises(ConfigurationError, match="k is not set, and none up to k_max=1"):
        short.convert()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": [[0, 1, TYPES]]}, "ids must be whole numbers from 0 to 12"),
        ({"data": torch.zeros(9, 2)}, r"the model reads ids \(N,\)"),
        ({"data": torch.zeros(20, dtype=torch.long)}, "data=data has 19 words to predict, too few"),
        ({"data": torch.zeros(2, dtype=torch.long)}, "data=data has 1 word to predict, too few"),
        (
            {"data": [[1, 2, 3], [4, 5]] * 40},
            "the longest sequence has 2 words to predict, too few .* one of 8 or more",
        ),
        ({"data": {"ids": 1}}, "data is of the type dict, read neither as a text nor as numbers"),
        ({"data": iter([1])}, "data is of the type list_iterator, read neither"),
        ({"data": np.int64(3)}, "data is of the type int64, read neither"),
        ({"data": np.array(3)}, r"got an array of the shape \(\)"),
        ({"data": [[1, 2], 3]}, r"got an array of the shape \(\)"),
        ({"data": "the text itself " * 50}, "data=the text itself .* does not exist: name a text"),
        ({"tokens": 9}, "tokens=9 must be a whole number >= 64"),
        ({"k_max": 2.5}, "k_max=2.5 must be a whole number >= 1"),
        ({"epsilon": 0.0}, "epsilon=0.0 must be a positive number"),
        ({"k_max": 0}, "k_max=0 must be a whole number"),
    ],
)
def test_a_mistake_names_its_option(change, message, text):
    with pytest.raises(ConfigurationError, match=message):
        stablernn.examine(Network().ours(), **{"data": text, **change})
    with pytest.raises(ConfigurationError, match=r"stablernn.from_torch\(embedding, rnn, decoder\)"):
        stablernn.examine(nn.LSTM(1, 1), text)


# ---- files of weights


@pytest.mark.parametrize("kind", RNNS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_a_state_dict_is_the_network_that_it_was_saved_from(kind, layers, ending, tmp_path):
    network, path = Network(kind, layers).eval(), tmp_path / f"model.{ending}"
    (save_file if ending == "safetensors" else torch.save)(network.state_dict(), path)
    x = torch.randint(TYPES, (9, 4))
    model = load_network(path, kind="rnn" if kind is nn.RNN else None)
    assert_close(logits(model, x), network(x), rtol=0, atol=1e-6)
    assert model.inputs.weight is not model.objective.weight


@pytest.mark.parametrize("once", [False, True])
def test_a_tied_decoder_is_seen_also_where_the_file_has_the_matrix_once(once, tmp_path):
    network = Network(tied=True).eval()
    tensors = {name: t.clone() for name, t in network.state_dict().items() if not once or name != "decoder.weight"}
    save_file(tensors, tmp_path / "model.safetensors")
    model = load_network(tmp_path / "model.safetensors")
    assert model.inputs.weight is model.objective.weight
    x = torch.randint(TYPES, (9, 4))
    assert_close(logits(model, x), network(x), rtol=0, atol=1e-6)


def saved(tmp_path, change, kind=nn.LSTM, **options):
    tensors = dict(Network(kind, **options).state_dict())
    change(tensors)
    torch.save(tensors, tmp_path / "model.pt")
    return tmp_path / "model.pt"


AMBIGUOUS = {
    "tanh or relu": (nn.RNN, lambda tensors: None, "kind is not set, .* say kind=rnn if it is tanh"),
    "two embeddings": (
        nn.LSTM,
        lambda tensors: tensors.update({"other.embedding.weight": torch.zeros(9, SIZE)}),
        "embedding is not set, .* say embedding=encoder",
    ),
    "more": (
        nn.LSTM,
        lambda tensors: tensors.update({"norm.weight": torch.ones(3)}),
        r"norm.weight \(3,\) belong to no embedd",
    ),
    "two networks": (
        nn.LSTM,
        lambda tensors: tensors.update({"second.weight_ih_l0": torch.zeros(4, 1)}),
        "several recurrent networks",
    ),
    "a layer is missing": (
        nn.LSTM,
        lambda tensors: tensors.update({"rnn.weight_ih_l999999999": torch.zeros(24, SIZE)}),
        "of 1000000000 recurrent layers are missing",
    ),
    "a decoder of another size": (
        nn.LSTM,
        lambda tensors: tensors.update({"decoder.weight": torch.zeros(TYPES, SIZE + 1)}),
        r"decoder.bias \(13,\), decoder.weight \(13, 7\) belong to no embedding, rnn \(of 6 to 6\) or decoder",
    ),
    "no network": (nn.LSTM, lambda tensors: tensors.clear(), "no state dicts"),
    "the inputs are missing": (
        nn.LSTM,
        lambda tensors: tensors.pop("rnn.weight_ih_l0"),
        "weight_ih_l0 is missing, or no matrix",
    ),
    "no matrix": (nn.LSTM, lambda tensors: tensors.update({"rnn.weight_ih_l0": torch.zeros(24)}), "or no matrix: save"),
    "sparse": (
        nn.LSTM,
        lambda tensors: tensors.update({"encoder.weight": tensors["encoder.weight"].to_sparse()}),
        "encoder.weight is sparse, without values, or of torch.float32: save a dense tensor",
    ),
    "whole numbers": (
        nn.LSTM,
        lambda tensors: tensors.update({"decoder.weight": tensors["decoder.weight"].int()}),
        "decoder.weight is .* of torch.int32",
    ),
    "no outputs": (
        nn.LSTM,
        lambda tensors: tensors.update({"decoder.weight": torch.zeros(0, SIZE), "decoder.bias": torch.zeros(0)}),
        "decoder: it has no outputs",
    ),
    "gates": (nn.LSTM, lambda tensors: tensors.update({"rnn.weight_hh_l0": torch.zeros(12, SIZE)}), "1, 3 or 4 blocks"),
    "shapes": (nn.LSTM, lambda tensors: tensors.update({"rnn.bias_hh_l0": torch.zeros(3)}), "do not fit together"),
    "reverse": (
        nn.LSTM,
        lambda tensors: tensors.update({"rnn.weight_ih_l0_reverse": torch.zeros(24, SIZE)}),
        "bidirectional",
    ),
    "projection": (nn.LSTM, lambda tensors: tensors.update({"rnn.weight_hr_l0": torch.zeros(3, SIZE)}), "proj_size"),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_a_state_dict_that_is_not_clear_is_refused_with_the_option_that_decides(case, tmp_path):
    kind, change, message = AMBIGUOUS[case]
    with pytest.raises(ConfigurationError, match=message):
        load_network(saved(tmp_path, change, kind))


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_nothing_is_unpickled_unless_the_user_asks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bomb.pt").write_bytes(pickle.dumps(Bomb()))
    torch.save({"rnn": Bomb()}, tmp_path / "checkpoint.pt")
    torch.save(Network(nn.RNN), tmp_path / "module.pt")
    torch.save(Network(nn.RNN), tmp_path / "older.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "pickle.pt").write_bytes(pickle.dumps(Network(nn.RNN)))
    torch.save({"state_dict": Network(nn.RNN).state_dict(), "options": Unknown()}, tmp_path / "with_options.pt")
    for name in ("module", "older", "pickle", "with_options"):
        with pytest.raises(CheckpointError, match=r"execute anything: save model.state_dict\(\) .* pickle=true"):
            load_network(tmp_path / f"{name}.pt")
    torch.save(nn.Linear(2, 2), tmp_path / "no_rnn.pt")
    for name in ("bomb", "checkpoint", "no_rnn"):  # what holds no such network is not worth the danger
        with pytest.raises(CheckpointError, match=r"a pickle without the weights of an nn.RNN.* was not exec") as said:
            load_network(tmp_path / f"{name}.pt")
        assert "pickle=true" not in str(said.value)
    assert not (tmp_path / "executed").exists()
    assert load_network(tmp_path / "module.pt", unpickle=True).size() == Network(nn.RNN).ours().size()
    torch.save(Network(nn.RNN, nonlinearity="relu"), tmp_path / "relu.pt")
    with pytest.raises(ConfigurationError, match="nonlinearity=relu"):
        load_network(tmp_path / "relu.pt", unpickle=True)
    (tmp_path / "text.pt").write_text("no weights")
    (tmp_path / "text.safetensors").write_text("no weights")
    for name in ("text.pt", "text.safetensors", "nowhere.pt"):
        with pytest.raises((CheckpointError, ConfigurationError), match=name):
            load_network(tmp_path / name)


# ---- text


def test_words_are_numbered_as_word_language_model_numbers_them(tmp_path):
    for name, line in (("train", "b a\nb c\n"), ("valid", "d a\n"), ("test", "e\n")):
        (tmp_path / f"{name}.txt").write_text(line)
    expected = ("b", "a", "<eos>", "c", "d", "e")
    assert words_of(tmp_path / "valid.txt", None, 6) == expected
    assert words_of(tmp_path / "elsewhere.txt", tmp_path, 6) == expected
    assert words_of(tmp_path / "valid.txt", [tmp_path / f"{n}.txt" for n in ("train", "valid", "test")], 6) == expected
    (tmp_path / "words").write_text("x\ny\nz\n")
    assert words_of(tmp_path / "valid.txt", tmp_path / "words", 3) == ("x", "y", "z")
    with pytest.raises(
        ConfigurationError, match=r"test.txt beside it have 6 words, where the network knows 7: give voc"
    ):
        words_of(tmp_path / "valid.txt", None, 7)
    with pytest.raises(ConfigurationError, match=r"it has 3 words, and the network knows 7"):
        words_of(tmp_path / "valid.txt", tmp_path / "words", 7)
    with pytest.raises(
        ConfigurationError, match=r"vocabulary=.*nowhere does not exist: name a list with a word a line"
    ):
        words_of(tmp_path / "valid.txt", tmp_path / "nowhere", 7)
    (tmp_path / "twice").write_text("a\nb\nc\nd\nb\nf\ng\n")
    with pytest.raises(ConfigurationError, match=r"twice: 'b' stands in it twice, so it has two ids: give each word"):
        words_of(tmp_path / "valid.txt", tmp_path / "twice", 7)


# ---- the command


def test_a_file_and_flags_are_overrides():
    given = ["model.pt", "--data", "a=b.txt", "--k=3", "epsilon=0.1", "--help", "-m"]
    expected = ["weights=model.pt", "data=a=b.txt", "k=3", "epsilon=0.1", "--help", "-m"]
    flags = {"data": False, "k": False, "pickle": True}
    assert as_overrides(given, "weights", flags) == expected
    assert as_overrides(given, "", {}) == given
    assert as_overrides(["--pickle", "model.pt"], "weights", flags) == ["pickle=true", "weights=model.pt"]
    assert as_overrides(["--pickle", "False"], "weights", flags) == ["pickle=False"]
    for valueless in (["--data"], ["--data", "--k", "3"], ["--data", ""], ["--data="]):
        with pytest.raises(ConfigurationError, match="has no value: write --data VALUE"):
            as_overrides(valueless, "weights", flags)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("weights.pt", "--vocabluary", "x"), "--vocabluary is not a flag; did you mean --vocabulary?"),
        (("mine",), "weights=mine is a run of this package, whose network is known: python scripts/convert.py mine"),
        (("weights.pt", "--data", "weights.pt", "--save", "page.pdf"), "save=page.pdf: the page is HTML: name it so"),
        (("bounds=0,1",), "bounds=0,1 gives several values: a list is written bounds=[0,1]"),
    ],
)
def test_what_is_written_wrong_is_one_line_that_says_what_is_right(given, said, tmp_path):
    (tmp_path / "weights.pt").touch()
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "record.json").write_text("{}")
    assert said in one_line(script("examine", *given, cwd=tmp_path))


def test_the_command_shows_a_screen_and_writes_what_is_asked_for(trained, tmp_path):
    words = [f"w{n}" for n in range(TYPES - 1)] + ["<eos>"]
    lines = np.random.default_rng(0).choice(words[:-1], (40, 6))
    (tmp_path / "my text.txt").write_text("\n".join(map(" ".join, lines)) + "\n")
    (tmp_path / "words").write_text("\n".join(words))
    torch.save(trained.state_dict(), tmp_path / "model.pt")
    options = [
        "model.pt",
        "--data",
        "my text.txt",
        "--vocabulary=words",
        "--export",
        "out",
        "--save=page.html",
        "--k",
        "2",
    ]
    small = ["k_max=8", "seconds=0", "formats=[]", "positions=4", "tokens=100"]
    answer = script("examine", *options, *small, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("model: LSTM, 2 layers of 6 units, 13 ids")
    assert stablernn.load_converted(tmp_path / "out").backbone.k == 2
    assert (tmp_path / "page.html").exists()
    answer = script("examine", "model.pt", cwd=tmp_path)
    assert answer.returncode == 2
    assert answer.stderr == "error: data is not set: name a file, as in data=text.txt, or --data text.txt\n"


REFUSED_BEFORE = {
    "k_max=0": "k_max=0 must be a whole number >= 1",
    "seconds=-1": "seconds=-1.0 must be a number of seconds >= 0",
    "level=letter": "level=letter is unknown",
    "formats=[tflite]": "tflite is unknown: choose of",
    "kind=elman": "kind=elman is unknown: choose rnn",
    "outputs=real": "outputs=real is unknown: choose categorical, bernoulli",
    "--vocabulary=nowhere": "vocabulary=nowhere does not exist",
    "--save=model.pt/page.html": "nothing can be written in",
    "--save=/proc/page.html": "nothing can be written in /proc",
    "--save=.": "save=. is a folder: name a file",
    "--export=model.pt": "export=model.pt exists and is no converted model",
    "--k=3": "k=3 is that of an exported network",
    "--k-max=0": "k_max=0 must be",
    "--dta=f": "--dta is not a flag; did you mean --data?",
    "--decodr=f": "--decodr is not a flag; did you mean --decoder?",
}


@pytest.mark.parametrize("option", REFUSED_BEFORE)
def test_a_bad_option_is_refused_before_the_weights_are_read(option, tmp_path):
    """The file of weights is none: who reads it first says that."""
    (tmp_path / "model.pt").write_text("no weights")
    (tmp_path / "text.txt").write_text("a b\n")
    answer = script("examine", "model.pt", "--data", "text.txt", option, cwd=tmp_path)
    assert answer.returncode == 2
    (line,) = answer.stderr.splitlines()
    assert REFUSED_BEFORE[option] in line


def test_a_page_in_a_folder_that_is_not_there_makes_the_folder(examination, tmp_path):
    assert examination.save(tmp_path / "a" / "b" / "page.html").is_file()


def test_a_network_that_has_learnt_nothing_is_said_to_be_that_before_any_answer(examination, text):
    torch.manual_seed(0)
    untrained = stablernn.examine(Network().ours(), text, k_max=8, seconds=0.0, positions=2)
    assert examination.has_learnt
    assert "learnt nothing" not in str(examination)
    assert not untrained.has_learnt
    said = " ".join(str(untrained).partition("feed-forward network? ")[2].partition("\n──")[0].lstrip("─").split())
    assert untrained.k is not None
    assert said.startswith("No answer yet, as the network has learnt nothing that context could serve: its perplexity")
    assert "Train it further, and examine it again" in said
    assert "Yes" not in said
    assert "k =" not in said
    assert "Yes, with k = " in str(examination)


@pytest.mark.parametrize("outputs", ["categorical", "bernoulli"])
def test_frequencies_are_counted_in_one_half_and_predict_the_other(outputs):
    if outputs == "categorical":
        targets, head, types = torch.randint(3, (40,)), FullSoftmax(5, 2), 5
    else:
        targets, head, types = torch.randint(2, (40, 3)), Bernoulli(3, 2), 2
    found = []
    for added in (0.01, 0.03, 0.1, 0.3, 1.0):
        total = 0.0
        for column in targets.view(40, -1).T.tolist():
            seen, to_come = column[:20], column[20:]
            total -= sum(math.log((seen.count(value) + added) / (20 + types * added)) for value in to_come)
        found.append(total / 20)
    found.append(math.log(5) if outputs == "categorical" else 3 * math.log(2))  # all alike
    assert by_chance(head, Sequences((targets.numpy(),), (targets.numpy(),))) == pytest.approx(min(found))


@pytest.mark.parametrize("scored", [None, 2, (1, 4, 3)])
def test_the_first_items_of_sequences_are_cut_from_the_last_one(scored):
    lengths = (3, 6, 4)
    frames = tuple(np.arange(2 * length).reshape(length, 2) + 100 * length for length in lengths)
    every = Sequences(frames, frames, None, scored)
    for items in range(1, len(every) + 3):
        first = every.first(items, cut=True)
        assert len(first) == min(items, len(every))
        assert np.array_equal(np.concatenate(first.items), np.concatenate(every.items)[:items])
        whole = every.first(items)
        assert [len(x) for x in whole.inputs] == list(lengths[: len(whole.inputs)])


def test_of_a_long_sequence_of_frames_no_more_is_examined_than_was_asked_for():
    model = stablernn.from_torch(None, nn.RNN(3, 4), nn.Linear(4, 3), bounds=(0, 1), outputs="bernoulli")
    found = read(model, np.random.default_rng(0).integers(2, size=(500, 3)), most=100)
    assert len(found.split) == 100


@pytest.mark.parametrize("whole", [False, True])
def test_a_sequence_that_is_read_whole_is_not_cut(whole):
    model = SimpleNamespace(backbone=SimpleNamespace(whole_sequences=whole))
    frames = (np.zeros((9, 2)), np.zeros((9, 2)))
    assert len(_first(model, Sequences(frames, frames), 12)) == (18 if whole else 12)


def test_outputs_of_ids_are_counted_as_tokens():
    model = stablernn.from_torch(nn.Embedding(5, 3), nn.RNN(3, 4))
    metric = metric_of(model)
    assert (metric.one, metric.items, metric.value(6.0, 2)) == ("token", "tokens", 3.0)
    assert metric_of(stablernn.from_torch(None, nn.RNN(3, 4))).items == "frames"


def test_a_text_that_repeats_itself_does_not_make_a_network_one_that_has_learnt_nothing():
    """Words that come in one place alone tell no frequencies of other places."""
    ids = torch.arange(400) // 4
    assert by_chance(FullSoftmax(100, 2), Split(ids.numpy())) == pytest.approx(math.log(100))


def test_of_real_numbers_chance_is_the_mean_of_one_half_for_the_other():
    targets = np.random.default_rng(0).random((40, 3)).astype(np.float32)
    expected = ((targets[20:] - targets[:20].mean(0)) ** 2).sum(1).mean()
    scored = Sequences(
        (np.zeros((6, 2)),) * 40, tuple(np.r_[np.ones((5, 3)), target[None]] for target in targets), None, 1
    )
    assert by_chance(Regression(3, 2), scored) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("rates", "scatter", "said"),
    [
        ((100.0, 104.0), 0.01, "is undecided: 1.04 times"),
        ((100.0, 150.0), 0.6, "is undecided"),
        ((100.0, 150.0), 0.1, "1.5 times as fast here"),
        ((150.0, 100.0), 0.1, "takes 1.5 times as long"),
    ],
)
def test_of_speeds_that_are_not_apart_none_is_called_the_faster(examination, rates, scatter, said):
    speed = dict(zip(("recurrent", "feedforward"), rates, strict=True))
    shown = replace(examination, speed=examination.speed | {"tokens_per_second": speed, "scatter": scatter})
    assert said in " ".join(str(shown).split())


def test_no_k_beyond_k_max_is_looked_for(trained, text):
    found = stablernn.examine(trained.ours(), text[:200], k_max=9, seconds=0.0, positions=4)
    assert found.on_text["most"] == 9
    assert "up to 64" not in str(found)


def test_the_screens_of_the_documents_are_of_today(examination):
    """Their numbers are those of docs/word_language_model.py; their lines are those that a screen has."""

    def parts(screen):
        heads = [line if line[:1] == "─" else re.split(" {2,}", line.strip())[0] for line in screen]
        return [head for head in heads if head[:1] == "─" or head in known]

    known = (
        "proven, any input",
        "proven, this text",
        "measured",
        "perplexity",
        "Lyapunov exponent",
        "λ_r",
        "recurrent",
    )
    page, readme = ((ROOT / name).read_text(encoding="utf-8") for name in ("docs/your_model.md", "README.md"))
    (shown,) = (block for block in page.split("```\n") if block.startswith("model: LSTM"))
    assert parts(shown.splitlines()) == parts(str(examination).splitlines())
    (begun,) = (block for block in readme.split("```\n") if block.startswith("model: LSTM"))
    assert shown.startswith(begun.removesuffix(" [...]\n"))


# ---- the public names


@pytest.mark.parametrize("name", stablernn.__all__)
def test_every_public_name_has_types_and_an_example_that_runs(name):
    import doctest

    thing = getattr(stablernn, name)
    signature = inspect.signature(thing)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values())
    (example,) = doctest.DocTestFinder(recurse=False).find(thing, name, globs={})
    assert example.examples
    found = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example)
    assert found.failed == 0


def test_importing_the_package_imports_nothing_else():
    code = "import sys, stablernn; print([n for n in ('torch', 'numpy', 'hydra') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "[]\n"
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        stablernn.nothing  # noqa: B018


def test_a_folder_and_an_empty_file_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="is a folder: name a file of torch"):
        load_network(tmp_path)


class Unknown:
    """No tensor."""


DAMAGED = {
    "empty": lambda whole: b"",
    "a text": lambda whole: b"the cat sat on the mat\n" * 20,
    "a page": lambda whole: b"<!DOCTYPE html><html></html>",
    "noise": lambda whole: np.random.default_rng(0).bytes(2000),
    "an array": lambda whole: b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'shape': (3,), }" + bytes(24),
    "half of it": lambda whole: whole[: len(whole) // 2],
    "all but its end": lambda whole: whole[:-9],
    "its beginning": lambda whole: whole[:40],
}


FORMS = ("state dict", "module", "older module", "pickle", "safetensors")


@pytest.mark.parametrize(("form", "case"), sorted({(form, case) for form in FORMS for case in DAMAGED}))
def test_a_file_that_is_damaged_or_none_of_pytorch_is_said_to_be_that_in_one_line(form, case, tmp_path):
    """And nobody is advised to execute it."""
    rnn, path = nn.GRU(2, 3), tmp_path / ("model.safetensors" if form == "safetensors" else "model.pt")
    if form == "safetensors":
        save_file(rnn.state_dict(), path)
    elif form == "pickle":
        path.write_bytes(pickle.dumps(rnn))
    else:
        older = {"_use_new_zipfile_serialization": False} if form == "older module" else {}
        torch.save(rnn.state_dict() if form == "state dict" else rnn, path, **older)
    path.write_bytes(DAMAGED[case](path.read_bytes()))
    with pytest.raises(CheckpointError, match=r"is damaged, or no file of torch.save or of safetensors: save model"):
        load_network(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_archive_is_named(tmp_path):
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"is a TorchScript archive: save model\.state_dict"):
        load_network(tmp_path / "model.pt")


def test_states_that_become_equal_and_a_wrong_vocabulary_are_examined_and_said(caplog, monkeypatch):
    monkeypatch.setattr("stablernn.examination.examine.lyapunov_exponent", lambda *_: [-math.inf, -0.5])
    network = Network(nn.RNN).eval()
    with torch.no_grad():
        network.decoder.bias[0] = 50.0
    model = stablernn.from_torch(network.encoder, network.rnn, network.decoder)
    examination = stablernn.examine(
        model, torch.randint(1, TYPES, (400,)), k_max=4, positions=2, seconds=0.01, progress=False
    )
    assert "none: the two states became equal" in str(examination)
    assert f"worse than a guess among its {TYPES} ids" in caplog.text


# ---- characters, and data and weights that cannot be examined


def char_network(types):
    torch.manual_seed(0)
    return stablernn.from_torch(nn.Embedding(types, 4), nn.GRU(4, 5), nn.Linear(5, types))


@pytest.mark.parametrize("vocabulary", ["text.txt", "list.txt"])
def test_a_text_is_read_by_characters_as_it_is(tmp_path, vocabulary):
    """Numbered by sorted(set(text)), or by a list; the score is in bits a character."""
    text = "ab  b\ta\n\nc é\n" * 20
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    characters = sorted(set(text)) if vocabulary == "text.txt" else [*"éc", "\n", *"ba", "\t", " "]
    listed = [{"\n": r"\n", "\t": r"\t"}.get(character, character) for character in characters]
    (tmp_path / "list.txt").write_text("".join(f"{character}\n" for character in listed), encoding="utf-8")
    model, path = char_network(len(characters)), tmp_path / "text.txt"
    found = read(model, path, tmp_path / vocabulary, level="character")
    assert [characters[number] for number in found.split.ids] == list(text)
    assert list(found.words) == listed
    examined = stablernn.examine(
        model, path, vocabulary=tmp_path / vocabulary, level="character", k_max=4, positions=2, seconds=0.0
    )
    curve = stablernn.curve(model, found.split, [1])
    assert examined.curve["recurrent"]["value"] == pytest.approx(
        curve.recurrent.total / curve.recurrent.count / math.log(2)
    )
    assert "Bits with the last k inputs alone" in str(examined)
    assert f"{len(text) - 1} characters" in str(examined)


def test_characters_of_a_vocabulary_with_eos_are_those_of_our_own_task(tmp_path):
    for split in ("train", "valid", "test"):
        (tmp_path / f"{split}.txt").write_text(f"the  cat\n{split}\tsat \n\n" * 9)
    corpus = stablernn.task("char_folder", name="mine", path=str(tmp_path))
    found = read(char_network(corpus.types), tmp_path / "test.txt", corpus.vocabulary, level="character")
    assert found.split.ids.tolist() == corpus.splits["test"].targets.tolist()


def test_texts_and_networks_without_anything_to_predict_are_refused(tmp_path):
    (tmp_path / "empty.txt").write_text(" \n\n")
    (tmp_path / "one.txt").write_text("a")
    (tmp_path / "words.txt").write_text("a\nb\n")
    model = char_network(2)
    with pytest.raises(DataError, match=r"empty.txt holds no text; name a text"):
        stablernn.examine(model, tmp_path / "empty.txt")
    with pytest.raises(ConfigurationError, match=r"data=one.txt: a sequence of 1 item has none to predict"):
        stablernn.examine(model, tmp_path / "one.txt", vocabulary=tmp_path / "words.txt")
    with pytest.raises(ConfigurationError, match="level=letter is unknown: choose word or character"):
        stablernn.examine(model, tmp_path / "one.txt", level="letter")
    with pytest.raises(ConfigurationError, match="a single output the probability is always 1"):
        char_network(1)


@pytest.mark.parametrize("part", ["embedding", "rnn", "decoder"])
def test_weights_that_are_no_numbers_are_named(part):
    parts = {"embedding": nn.Embedding(5, 4), "rnn": nn.LSTM(4, 4), "decoder": nn.Linear(4, 5)}
    with torch.no_grad():
        next(parts[part].parameters())[0, 0] = torch.nan
    with pytest.raises(ConfigurationError, match=f"^{part}: some weights are NaN"):
        stablernn.from_torch(*parts.values())


def test_a_pickle_of_another_version_is_refused_without_a_warning(tmp_path, recwarn):
    (tmp_path / "model.pt").write_bytes(pickle.dumps(print, protocol=4))
    with pytest.raises(CheckpointError, match=r"is a pickle without the weights of an nn\.RNN"):
        load_network(tmp_path / "model.pt")
    assert not recwarn.list


def parts(types=TYPES, outputs=TYPES):
    return nn.Embedding(types, SIZE), nn.LSTM(SIZE, SIZE), nn.Linear(SIZE, outputs)


def test_a_decoder_that_cannot_predict_the_data_is_refused_with_what_it_can(text):
    frames = np.random.default_rng(0).random((100, 3))
    of_frames = {"bounds": (0, 9), "outputs": "bernoulli"}
    refused = {
        "decoder: it has 9 outputs, and the data have the id 12": (parts(outputs=9), {}, text),
        "decoder: it has 14 outputs, and the embedding has 13 rows": (parts(outputs=14), {}, text),
        "decoder: it has 13 outputs, each a number .* is an id: give": (parts(), {"outputs": "bernoulli"}, text),
        "categorical: one of 3 outputs comes, and .* is a frame of 3 entries: say outputs=bernoulli": (
            (None, nn.LSTM(3, 4), nn.Linear(4, 3)),
            {},
            frames,
        ),
        "decoder: it has 5 outputs, .* is a frame of 3 entries": (
            (None, nn.LSTM(3, 4), nn.Linear(4, 5)),
            of_frames,
            frames,
        ),
        "outputs=bernoulli: each is off or on, 0 or 1, and the entries of the data go from": (
            (None, nn.LSTM(3, 4), nn.Linear(4, 3)),
            of_frames,
            9 * frames,
        ),
        "some entries of the frames are NaN, infinite": ((None, nn.LSTM(3, 4)), {}, np.full((100, 3), np.nan)),
    }
    for message, (network, options, data) in refused.items():
        with pytest.raises(ConfigurationError, match=message):
            stablernn.examine(stablernn.from_torch(*network, **options), data)
    with pytest.raises(ConfigurationError, match="decoder: it has 9 outputs, and the data have the id 12"):
        stablernn.curve(stablernn.from_torch(*parts(outputs=9)), Split(text.numpy()))
    for wrong in ({"embedding": nn.LSTM(3, 4)}, {"decoder": nn.Sequential(nn.Linear(SIZE, TYPES))}):
        with pytest.raises(ConfigurationError, match=r"is unknown: give the nn\.(Embedding|Linear) of the network"):
            stablernn.from_torch(*(dict(zip(("embedding", "rnn", "decoder"), parts(), strict=True)) | wrong).values())


BAD_TEXTS = {
    "latin": ("é w1\n".encode("latin1") * 50, "is no UTF-8 text .*; convert it, as by iconv -f latin1"),
    "utf16": ("w1 w2\n".encode("utf-16") * 50, "is no UTF-8 text .*convert it, as by iconv"),
    "utf16 without a mark": ("w1 w2\n".encode("utf-16-le") * 50, "has null bytes, so it is no UTF-8 text; convert it"),
    "archive": (b"\x1f\x8b\x08\x00" * 50, "is no UTF-8 text"),
    "unknown": (
        b"je ne sais pas\n" * 50,
        "every word of it is <unk>, as the vocabulary has none of them: give the voc",
    ),
    "unk alone": (b"<unk> <unk>\n" * 50, "every word of it is <unk>"),
    "nothing": (b"", "holds no text"),
}


@pytest.mark.parametrize("case", BAD_TEXTS)
def test_a_text_that_says_nothing_is_refused_with_the_remedy(case, tmp_path):
    content, message = BAD_TEXTS[case]
    (tmp_path / "text.txt").write_bytes(content)
    (tmp_path / "words.txt").write_text("".join(f"w{n}\n" for n in range(TYPES - 2)) + "<unk>\n<eos>\n")
    with pytest.raises((ConfigurationError, DataError), match=message):
        read(stablernn.from_torch(*parts()), tmp_path / "text.txt", tmp_path / "words.txt")


def test_a_mark_of_the_byte_order_is_no_part_of_a_word_and_many_unknown_words_raise_a_question(tmp_path, caplog):
    (tmp_path / "text.txt").write_bytes("w1 w2 no\n".encode("utf-8-sig") + b"w1 no no\n" * 20)
    (tmp_path / "words.txt").write_text("".join(f"w{n}\n" for n in range(TYPES - 2)) + "<unk>\n<eos>\n")
    found = read(stablernn.from_torch(*parts()), tmp_path / "text.txt", tmp_path / "words.txt")
    assert found.split.ids[:4].tolist() == [1, 2, TYPES - 2, TYPES - 1]
    assert "text.txt: 41 of 84 words read as <unk>, unknown to it; is the vocabulary the one" in caplog.text


def test_a_vocabulary_that_is_needed_is_asked_for_in_words_that_python_and_the_command_line_share(tmp_path):
    (tmp_path / "mine.txt").write_text("a b c\n" * 50)
    with pytest.raises(
        ConfigurationError,
        match=r"vocabulary is not set for data=.*mine.txt: beside it lie no texts train, valid, test, and it alone has "
        r"4 words, where the network knows 13: give vocabulary=FILE with a word a line .* vocabulary=FOLDER of the",
    ):
        stablernn.examine(stablernn.from_torch(*parts()), tmp_path / "mine.txt")


@pytest.mark.parametrize("option", ["weights", "data", "vocabulary"])
def test_what_is_no_file_is_refused_with_what_is_wanted(option, tmp_path):
    torch.save(Network().state_dict(), tmp_path / "model.pt")
    (tmp_path / "text.txt").write_text("a b\n")
    (tmp_path / "words.txt").write_text("a\nb\n")
    os.mkfifo(tmp_path / "pipe")
    whole = {"weights": "model.pt", "data": "text.txt", "vocabulary": "words.txt"}
    wanted = {
        "weights": "a file of torch.save or of safetensors",
        "data": r"a text (UTF-8), or a .npy file of ids (N,) or of frames (N, E)",
        "vocabulary": "a list with a word a line, or the texts that the network was trained on",
    }[option]
    said = {
        "pipe": "is a pipe or a device, and is read more than once",
        "none": "does not exist: name a",
    }
    if option != "vocabulary":
        said["."] = "is a folder"
    for name, why in said.items():
        answer = script("examine", *(f"{key}={value}" for key, value in (whole | {option: name}).items()), cwd=tmp_path)
        assert f"error: {option}={name} {why}" in one_line(answer)
        assert wanted in answer.stderr


def test_weights_that_are_not_there_are_named_before_the_data_are_asked_for(tmp_path):
    answer = script("examine", "nothing.pt", cwd=tmp_path)
    assert "error: weights=nothing.pt does not exist" in one_line(answer)


def test_weights_of_no_recurrent_layer_are_refused_with_the_command_for_runs(tmp_path):
    save_file({"backbone.cells.0.weight_hh": torch.zeros(2, 2)}, tmp_path / "best.safetensors")
    with pytest.raises(ConfigurationError, match=r"no weights of an nn\.RNN.*backbone.*convert.* run="):
        load_network(tmp_path / "best.safetensors")
