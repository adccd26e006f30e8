"""Networks that are feed-forward by construction: what they see, across windows, against the networks as published."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from stablernn.analysis.conversion.convert import Conversion
from stablernn.analysis.conversion.converted import load_converted
from stablernn.analysis.conversion.export import read_program, write_programs
from stablernn.analysis.conversion.network import network_of
from stablernn.analysis.conversion.scoring import log_probabilities
from stablernn.models.dropout import Dropout
from stablernn.models.peers.gated_conv import GatedConv
from stablernn.models.peers.tcn import TCN
from stablernn.models.peers.transformer import Transformer, attend_at_once, attend_in_blocks, rotate
from stablernn.models.peers.wavenet import WaveNet
from stablernn.models.sequence_model import build_model
from stablernn.report.sections.convert import conversion_table
from stablernn.tasks.base import Interface
from stablernn.training.run import run
from stablernn.training.trained import find_runs
from stablernn.utils.errors import ConfigurationError, StableRNNError

E, D = 3, 8
NETWORKS = {
    "tcn": (TCN, None, 7, {"kernel_size": 2}),
    "tcn of one layer": (TCN, 1, 5, {"kernel_size": None}),
    "gated_conv": (GatedConv, None, 7, {"kernel_size": 3}),
    "gated_conv of one input": (GatedConv, 2, 1, {"kernel_size": None}),
    "wavenet": (WaveNet, None, 8, {"kernel_size": 2, "cycle": 10}),
    "wavenet of two cycles": (WaveNet, 4, 7, {"kernel_size": 2, "cycle": 2}),
    "transformer": (Transformer, 2, 7, {"heads": 2, "expansion": 2}),
    "transformer of one layer": (Transformer, 1, 6, {"heads": 4, "expansion": 2}),
}


def build(name: str, inputs: int = E, dropout: float = 0.0):
    kind, layers, k, options = NETWORKS[name]
    torch.manual_seed(3)
    return kind(inputs, D, layers, dropout, k=k, **options).double()


@pytest.fixture(params=NETWORKS)
def network(request):
    return build(request.param)


def outputs(network, x):
    return network(x, network.initial_state(x.shape[1]))[0]


def test_an_output_sees_k_inputs_and_no_other(network):
    k = network.receptive_field
    x = torch.randn(3 * k, 2, E, dtype=torch.float64)
    changed = x.clone()
    changed[k] = torch.randn(2, E)
    differs = (outputs(network, x) != outputs(network, changed)).any(-1)
    assert not differs[:k].any()
    assert not differs[2 * k :].any(), "bit for bit"
    assert differs[[k, 2 * k - 1]].all(), "the last and the first of its inputs"


@pytest.mark.parametrize("lengths", [[1] * 25, [4, 1, 20], [24, 1], [2, 3, 5, 15]])
def test_windows_with_the_state_carried_give_what_the_whole_gives(network, lengths):
    x = torch.randn(25, 2, E, dtype=torch.float64)
    state, parts = network.initial_state(2), []
    for window in x.split(lengths):
        y, state = network(window, state)
        assert y.shape == (len(window), 2, D)
        parts.append(y)
    assert_close(torch.cat(parts), outputs(network, x))
    assert torch.equal(state, x[25 - network.receptive_field + 1 :])


def test_a_state_of_other_streams_is_refused(network):
    with pytest.raises(ConfigurationError, match="3 streams, and the state has 2"):
        network(torch.randn(4, 3, E, dtype=torch.float64), network.initial_state(2))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_model_of_words_carries_their_ids_and_its_gradient_reaches_them(name):
    model = build_model(Interface.of_words(11), lambda size, *_: build(name, size), E, D).double()
    k = model.backbone.receptive_field
    words = torch.randperm(k + 3)[:, None] % 11
    _, state = model(words[:-1], model.initial_state(1))
    assert state.shape == (k - 1, 1, 1)
    assert not state.is_floating_point()
    targets = torch.tensor([[1]])
    loss, _ = model.loss(words[-1:], targets, state)
    whole, _ = model.loss(words[-k:], targets.expand(k, 1), model.initial_state(1), torch.arange(k)[:, None] == k - 1)
    assert_close(loss, whole)
    weights = [model.embedding.weight, *model.backbone.parameters()]
    assert_close(torch.autograd.grad(loss, weights), torch.autograd.grad(whole, weights))


def test_every_weight_gets_a_gradient_and_dropout_falls_in_training_alone(network):
    x = torch.randn(9, 2, E, dtype=torch.float64)
    y = outputs(network, x)
    (y * torch.randn_like(y)).sum().backward()
    assert all(bool(weight.grad.ne(0).any()) for weight in network.parameters())
    rates = [part for part in network.modules() if isinstance(part, Dropout)]
    assert rates
    for part in rates:
        part.p = 0.5
    assert torch.equal(outputs(network.eval(), x), y)


# The networks as they were published, written anew.


class Chomp(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, x):
        return x[:, :, : x.shape[2] - self.size]


class PublishedBlock(nn.Module):
    """TemporalBlock of Bai et al.: padded on both sides, its end cut off."""

    def __init__(self, inputs, outputs, width, dilation):
        super().__init__()
        pad = (width - 1) * dilation
        first = weight_norm(nn.Conv1d(inputs, outputs, width, padding=pad, dilation=dilation))
        second = weight_norm(nn.Conv1d(outputs, outputs, width, padding=pad, dilation=dilation))
        self.net = nn.Sequential(first, Chomp(pad), nn.ReLU(), second, Chomp(pad), nn.ReLU())
        self.downsample = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x):
        return torch.relu(self.net(x) + (x if self.downsample is None else self.downsample(x)))


def copy_in_order(network, reference):
    """The weights of a network into another one that has the same, in the same order."""
    with torch.no_grad():
        for weight, given in zip(reference.parameters(), network.parameters(), strict=True):
            weight.copy_(given)


def test_the_tcn_is_the_published_one():
    ours = TCN(E, D, 3, 0.0, k=1 + 2 * 2 * 7, kernel_size=3)
    reference = nn.Sequential(*(PublishedBlock(D if n else E, D, 3, 2**n) for n in range(3)))
    copy_in_order(ours, reference)
    x = torch.randn(40, 2, E)
    assert_close(outputs(ours, x), reference(x.permute(1, 2, 0)).permute(2, 0, 1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layers", [1, 2])
def test_attention_is_pytorchs_encoder_layer_behind_a_mask_of_the_window(layers):
    window, time = 4, 11
    ours = Transformer(D, D, layers, 0.0, k=1 + layers * (window - 1), heads=2, expansion=2)
    for layer in ours.layers:
        layer.attention.frequencies.zero_()  # positions that turn nothing, as PyTorch's layer has none
    options = {"norm_first": True, "activation": "gelu", "dropout": 0.0}
    reference = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(D, 2, 2 * D, **options), layers, nn.LayerNorm(D), enable_nested_tensor=False
    )
    with torch.no_grad():
        for layer, theirs in zip(ours.layers, reference.layers, strict=True):
            pairs = [
                (layer.attention.project.weight, theirs.self_attn.in_proj_weight),
                (layer.attention.project.bias, theirs.self_attn.in_proj_bias),
            ]
            modules = [
                (layer.attention.out, theirs.self_attn.out_proj),
                (layer.network[0], theirs.linear1),
                (layer.network[3], theirs.linear2),
                (layer.before_attention, theirs.norm1),
                (layer.before_network, theirs.norm2),
            ]
            for source, target in pairs + [
                (m.get_parameter(n), t.get_parameter(n)) for m, t in modules for n in ("weight", "bias")
            ]:
                target.copy_(source.normal_())
    x = torch.randn(time, 2, D)
    unseen = torch.ones(time, time, dtype=torch.bool).triu(1) | torch.ones(time, time, dtype=torch.bool).tril(-window)
    assert_close(outputs(ours, x), reference(x, mask=unseen), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("window", [1, 3, 4])
def test_attention_in_blocks_is_that_of_all_pairs_and_so_is_its_gradient(window):
    for time in range(1, 4 * window + 2):
        parts = [torch.randn(2, 2, time, 6, dtype=torch.float64, requires_grad=True) for _ in range(3)]
        weights = torch.randn(2, 2, time, 6, dtype=torch.float64)
        there, here = (attend(*parts, window) for attend in (attend_at_once, attend_in_blocks))
        assert_close(here, there)
        gradients = [torch.autograd.grad((y * weights).sum(), parts) for y in (here, there)]
        assert_close(*gradients)


def test_a_long_sequence_needs_no_score_of_every_pair(monkeypatch):
    network, sizes = build("transformer"), []
    plain = nn.functional.scaled_dot_product_attention

    def counting(queries, keys, values, attn_mask):
        sizes.append(attn_mask.numel())
        return plain(queries, keys, values, attn_mask=attn_mask)

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", counting)
    outputs(network, torch.randn(400, 1, E, dtype=torch.float64))
    assert sizes
    assert max(sizes) <= 2 * 4 * (400 + 2 * 4)


class Largest(TorchDispatchMode):
    """The most entries that any operation makes."""

    entries = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        made = [part.numel() for part in tree_leaves(result) if isinstance(part, torch.Tensor)]
        self.entries = max([self.entries, *made])
        return result


def test_an_exported_transformer_needs_no_score_of_every_pair(tmp_path):
    interface = Interface.of_words(11)
    model = build_model(interface, lambda size, *_: build("transformer", size).float(), E, D).eval()
    write_programs(network_of(model, model.backbone.receptive_field), interface, tmp_path, ["export"])
    program, steps = read_program(tmp_path, "export"), 1000
    with torch.no_grad(), Largest() as largest:
        program(torch.randint(11, (steps, 1)))
    assert largest.entries <= 4 * D * (steps + 20)


def test_rotary_positions_turn_pairs_and_enter_scores_as_differences():
    x, angles = torch.randn(5, 6, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    turned = torch.complex(x[:, :3], x[:, 3:]) * torch.exp(1j * angles)
    assert_close(rotate(x, angles), torch.cat([turned.real, turned.imag], dim=-1))
    q, k, rates = torch.randn(6).double(), torch.randn(6).double(), torch.rand(3).double()
    scores = [rotate(q, rates * (at + 4)) @ rotate(k, rates * at) for at in (0, 100)]
    assert_close(*scores)
    unlike = rotate(q, rates * 5) @ rotate(k, rates * 0)
    assert not math.isclose(scores[0], unlike, rel_tol=1e-3)


def convolved(layer, x, t, dilation=1):
    """b + Σ_j W_j x_{t - (n - 1 - j) d}, inputs (T, C) before the start being zero."""
    width = layer.weight.shape[2]
    y = layer.bias.clone()
    for j in range(width):
        at = t - (width - 1 - j) * dilation
        if at >= 0:
            y = y + layer.weight[:, :, j] @ x[at]
    return y


def test_the_gated_convolution_is_a_plain_loop():
    ours = build("gated_conv")
    x = torch.randn(9, E, dtype=torch.float64)
    values = torch.stack([convolved(ours.project, x, t) for t in range(9)])
    for layer in ours.convolutions:
        both = torch.stack([convolved(layer, values, t) for t in range(9)])
        values = values + both[:, :D] * torch.sigmoid(both[:, D:])
    assert_close(outputs(ours, x[:, None])[:, 0], values)


@pytest.mark.parametrize("name", ["wavenet", "wavenet of two cycles"])
def test_wavenet_is_a_plain_loop(name):
    ours = build(name)
    x = torch.randn(12, E, dtype=torch.float64)
    values = torch.stack([convolved(ours.project, x, t) for t in range(12)])
    skipped = torch.zeros(12, D, dtype=torch.float64)
    dilations = [1, 2, 4] if name == "wavenet" else [1, 2, 1, 2]
    for n, dilation in enumerate(dilations):
        both = torch.stack([convolved(ours.gated[n], values, t, dilation) for t in range(12)])
        z = torch.tanh(both[:, :D]) * torch.sigmoid(both[:, D:])
        skipped = skipped + torch.stack([convolved(ours.skip[n], z, t) for t in range(12)])
        if n < len(dilations) - 1:
            values = values + torch.stack([convolved(ours.residual[n], z, t) for t in range(12)])
    rectified = skipped.clamp_min(0)
    wanted = torch.stack([convolved(ours.last, rectified, t) for t in range(12)]).clamp_min(0)
    assert_close(outputs(ours, x[:, None])[:, 0], wanted)


# k and the size of a network.


@pytest.mark.parametrize(
    ("kind", "layers", "k", "options", "message"),
    [
        (TCN, None, 35, {"kernel_size": 5}, r"=5 an output sees 25 or 57 inputs: choose truncation.k=25, or another"),
        (
            TCN,
            2,
            24,
            {"kernel_size": None},
            r"sees 19 or 25 inputs: choose truncation.k=25, or another model.num_layers",
        ),
        (TCN, 2, 24, {"kernel_size": 3}, r"model.num_layers=2 and model.backbone.kernel_size=3 .* truncation.k=13$"),
        (GatedConv, None, 2, {"kernel_size": 4}, r"an output sees 4 inputs: choose truncation.k=4"),
        (GatedConv, None, 2, {"kernel_size": None}, r"both null: give one"),
        (GatedConv, None, 2, {"kernel_size": 1}, r"kernel_size=1 must be a whole number >= 2"),
        (WaveNet, None, 35, {"kernel_size": 2, "cycle": 10}, r"sees 32 or 64 inputs: choose truncation.k=32"),
        (Transformer, 2, 8, {"heads": 2, "expansion": 2}, r"sees 7 or 9 inputs"),
        (Transformer, None, 8, {"heads": 2, "expansion": 2}, r"model.num_layers is not set"),
        (Transformer, 1, 8, {"heads": 3, "expansion": 2}, r"multiple of twice model.backbone.heads=3"),
    ],
)
def test_a_k_that_no_network_has_is_refused_with_the_nearest(kind, layers, k, options, message):
    with pytest.raises(ConfigurationError, match=message):
        kind(E, D, layers, 0.0, k=k, **options)


@pytest.mark.parametrize(("k", "layers"), [(9, 1), (25, 2), (57, 3)])
def test_layers_follow_from_k(k, layers):
    assert len(TCN(E, D, None, 0.0, k=k, kernel_size=5).blocks) == layers


# Through the command.


@pytest.mark.parametrize("model", ["tcn", "gated_conv", "wavenet", "transformer"])
def test_it_trains_and_says_that_it_is_exact_at_k(model, small):
    record = run(small(f"model={model}", "optimizer.lr=0.02"))
    assert record.metrics["test"]["value"] < 0.9 * 256, "it has learnt something"
    k = record.config["truncation"]["k"]
    assert f"feedforward-k{k}-" in record.id
    assert record.certificate["certified"] is None
    assert record.certificate["reason"].endswith(f"exact at k = {k}")
    assert record.metrics["optimal"]["context"] == k


def test_the_lstm_ngram_is_the_lstm_of_k_words_under_another_name(small):
    alias, plain = small("model=lstm_ngram"), small("model=lstm", "approximation=feedforward", "truncation.k=12")
    assert alias == plain


def test_what_has_k_as_an_option_is_feed_forward(small):
    with pytest.raises(StableRNNError, match="feed-forward by construction"):
        run(small("model=tcn", "approximation=recurrent"))


@pytest.mark.parametrize("name", ["tcn", "gated_conv", "wavenet", "transformer"])
def test_it_is_exported_as_it_is_and_every_form_agrees_at_any_time_and_batch(name, tmp_path):
    interface = Interface.of_words(11)
    model = build_model(interface, lambda size, *_: build(name, size).float(), E, D).eval()
    network = network_of(copy.deepcopy(model), model.backbone.receptive_field)
    write_programs(network, interface, tmp_path, ["export", "onnx"])
    forms = [network, read_program(tmp_path, "export"), read_program(tmp_path, "onnx")]
    for shape in ((1, 1), (1, 3), (network.k, 2), (3 * network.k, 1), (4 * network.k + 2, 2)):
        words = torch.randint(11, shape)
        with torch.no_grad():
            for form in forms:
                assert_close(form(words), log_probabilities(model, words)[0], rtol=0, atol=2e-5)


def test_a_run_is_converted_and_loaded_with_its_own_k(small, tmp_path):
    record = run(small("model=tcn", "training.max_updates=3"))
    (found,) = find_runs("*", tmp_path / "runs", None, torch.device("cpu"))
    folder, description = Conversion(seconds=0.0, tokens=100, formats=[])(found)
    assert (description["k"], description["choice"]["how"]) == (25, "own")
    assert description["parameters"] == record.model["parameters"]
    words = torch.randint(description["types"], (40, 2))
    expected, _ = log_probabilities(found.model("best"), words)
    assert torch.equal(log_probabilities(load_converted(folder), words)[0], expected)
    assert "baseline" in {line[-1] for line in conversion_table(description).lines}
