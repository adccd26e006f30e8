"""What is proven of both directions: the formulas, any words and states beyond the window, and what is not proven."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from stablernn.models.both_directions import both_directions
from stablernn.models.cells.gru import GRUCell
from stablernn.models.cells.irnn import IRNNCell
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.cells.rnn import RNNCell
from stablernn.models.cells.state import RNNState, map_state
from stablernn.models.heads.bernoulli import Bernoulli
from stablernn.models.sequence_model import SequenceModel, build_model
from stablernn.stability import certify
from stablernn.stability.certificates import by_norm, summarise
from stablernn.stability.constraints.base import Constraint, check, constrained_cells, project
from stablernn.stability.constraints.cascade import LSTMCascade
from stablernn.stability.constraints.gru import GRURowwise
from stablernn.stability.constraints.lstm import LSTMStated
from stablernn.stability.constraints.small_gain import LSTMGatedLinear, LSTMRowwise
from stablernn.stability.constraints.spectral import SpectralNormBall
from stablernn.stability.diameter import diameter
from stablernn.stability.norm_choice import moved_above
from stablernn.stability.proofs.prove import prove
from stablernn.tasks.base import Inputs, Interface, Outputs
from stablernn.utils.errors import ConfigurationError

WORDS, TAGS = 11, 7
SLOTS = Interface(Inputs("finite", WORDS), Outputs("categorical", TAGS))
SWITCHES = Interface(Inputs("box", 3), Outputs("bernoulli", 5))
CONSTRAINTS = [
    (LSTMCell, LSTMStated()),
    (LSTMCell, LSTMGatedLinear(0.8)),
    (LSTMCell, LSTMCascade(0.8)),
    (LSTMCell, LSTMRowwise(0.8)),
    (GRUCell, GRURowwise(0.8)),
    (RNNCell, SpectralNormBall(0.8)),
]
NAMES = [type(constraint).__name__ for _, constraint in CONSTRAINTS]


def model_of(cell, constraint: Constraint, layers: int, interface=SLOTS, spread=3.0) -> SequenceModel:
    """Large weights on the set of a constraint."""
    model = build_model(interface, both_directions(cell), 3, 6, layers)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(spread)
    check(constraint, model)
    project(constraint, model)
    return model.double()


@torch.no_grad()
def test_both_cells_of_the_first_layer_see_the_whole_box_of_the_inputs():
    """Entries up to 3 open a forget gate farther than those up to 1, in whichever direction it reads."""
    torch.manual_seed(2)
    wide = Interface(Inputs("box", 3, 0.0, 3.0), Outputs("bernoulli", 4))
    model = build_model(wide, both_directions(LSTMCell), None, 6).double()
    (pair,) = model.backbone.cells_by_layer
    for cell, factor in zip(pair, (1.0, 0.5), strict=True):
        cell.weight_hh.zero_()
        cell.weight_ih.mul_(factor)
    rates = sorted(layer.rate for layer in certify(model, search_units=0).layers)
    model.backbone.forwards, model.backbone.backwards = model.backbone.backwards, model.backbone.forwards
    assert sorted(layer.rate for layer in certify(model, search_units=0).layers) == pytest.approx(rates, abs=1e-12)
    assert rates[0] < rates[1]


@pytest.mark.parametrize("constraint", [LSTMCascade(0.9), LSTMGatedLinear(0.9)], ids=["cascade", "gated linear"])
@torch.no_grad()
def test_words_that_two_cells_read_are_within_what_both_allow(constraint):
    """Each cell moves the words that open its forget gates too far; one that came last would have its way alone."""
    torch.manual_seed(5)
    model = build_model(SLOTS, both_directions(LSTMCell), 3, 6, 1)
    for cells in model.backbone.cells_by_layer:
        for cell in cells:
            cell.weight_ih.mul_(4)
    model.embedding.weight.mul_(60)
    project(constraint, model)
    assert certify(model.double(), search_units=0).rate <= 0.9 * (1 + 1e-6)
    before = model.embedding.weight.clone()
    project(constraint, model)
    assert float((model.embedding.weight - before).abs().max()) < 1e-5 * float(before.abs().max())


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(("cell", "constraint"), CONSTRAINTS, ids=NAMES)
def test_a_constraint_holds_for_every_cell_of_both_directions(cell, constraint, layers):
    model = model_of(cell, constraint, layers)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    assert certify(model, search_units=0).holds
    for one, seen in constrained_cells(model):
        assert any(proof.holds for proof in prove(one, seen, 0.0).candidates)
    project(constraint, model)
    for parameter, old in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.detach(), old, rtol=1e-5, atol=1e-6)


def test_the_bound_of_one_layer_is_the_sum_of_both_directions():
    model = model_of(RNNCell, SpectralNormBall(0.8), 1)
    certificate = certify(model, search_units=0)
    total = dict.fromkeys((0, 1, 7), 0.0)
    for layer, columns in zip(certificate.layers, model.objective.weight.detach().double().chunk(2, 1), strict=True):
        assert layer.norm is not None
        spread = diameter(layer.norm.readout(columns), layer.norm.dual)
        total = {k: value + spread * layer.rate**k * layer.radius for k, value in total.items()}
    assert {k: certificate.gap(k) for k in total} == pytest.approx(total, rel=1e-7)
    k = certificate.context(0.01)
    assert certificate.gap(k) <= 0.01 < certificate.gap(k - 1)
    assert certificate.rate == max(min(p.rate for p in proofs.candidates) for proofs in certificate.proofs)


@pytest.mark.parametrize("direction", [0, 1])
def test_a_direction_moves_the_layer_above_through_its_own_columns(direction):
    asked = []

    def above(moves):
        return SimpleNamespace(input_gain=lambda columns: asked.append(columns) or moves)

    below = SimpleNamespace(norm=SimpleNamespace(weights=SimpleNamespace(h=torch.tensor([2.0, 4.0]))))
    assert moved_above([(above(3.0), 10.0), (above(5.0), 1.0)], below, False, direction) == 35.0
    halves = [torch.zeros(2), torch.zeros(2)]
    halves[direction] = torch.tensor([0.5, 0.25])
    assert all(torch.equal(columns, torch.cat(halves)) for columns in asked)


@pytest.mark.parametrize("layers", [2, 3])
def test_the_bound_of_a_stack_is_the_recursion_along_the_window(layers):
    model = model_of(LSTMCell, LSTMGatedLinear(0.8), layers)
    certificate = certify(model, search_units=0)
    for k in (1, 2, 5):
        positions = range(1, 2 * k)
        below = None
        for number in range(layers):
            pair = certificate.layers[2 * number : 2 * number + 2]
            errors = [dict.fromkeys(range(2 * k + 1), 0.0) for _ in pair]
            errors[0][0], errors[1][2 * k] = pair[0].radius, pair[1].radius
            for way, (one, order) in enumerate(zip(pair, (positions, positions[::-1]), strict=True)):
                for i in order:
                    moved = 0.0
                    if below is not None:
                        norms = [under.norm.weights.h for under in below[0]]
                        apart = [size[i] / norm for size, norm in zip(below[1], norms, strict=True)]
                        # One direction after the other: each bound may be of a norm.
                        moved = one.input_gain(torch.cat([apart[0], 0 * apart[1]]))
                        moved += one.input_gain(torch.cat([0 * apart[0], apart[1]]))
                    errors[way][i] = one.rate * errors[way][i - 1 if way == 0 else i + 1] + moved
            below = pair, errors
        expected = certificate.decoder * below[1][0][k] + certificate.decoder_back * below[1][1][k]
        assert replace(certificate, beside=None).gap(k) == pytest.approx(expected, rel=1e-6)
    k = certificate.context(0.1)
    assert certificate.gap(k) <= 0.1 < certificate.gap(k - 1)


def log_probabilities(model: SequenceModel, x: torch.Tensor, begin=None) -> torch.Tensor:
    """In the middle of windows x (2k - 1, N, ...), the cells beginning from states of (N, D): (N, outputs, ...)."""
    inputs, middle = model.inputs(x), len(x) // 2
    for number, (forwards, backwards) in enumerate(model.backbone.cells_by_layer):
        states = begin[number] if begin else [cell.zeros(x.shape[1]) for cell in (forwards, backwards)]
        ahead, _ = forwards.sequence(inputs, states[0])
        behind, _ = backwards.sequence(inputs.flip(0), states[1])
        inputs = torch.cat([ahead, behind.flip(0)], -1)
    return said(model, inputs[middle])


def said(model: SequenceModel, features: torch.Tensor) -> torch.Tensor:
    scores = model.objective.logits(features)
    if not isinstance(model.objective, Bernoulli):
        return scores.log_softmax(-1)
    return torch.nn.functional.logsigmoid(torch.stack([scores, -scores], -1))


def largest_change(model: SequenceModel, first: torch.Tensor, second: torch.Tensor) -> float:
    change = (first - second).abs()
    if not isinstance(model.objective, Bernoulli):
        return float(change.max())
    return float(change.max(-1).values.sum(-1).max())  # the log-probability of a frame is the sum over its switches


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("interface", [SLOTS, SWITCHES], ids=["tags", "switches"])
@pytest.mark.parametrize(("cell", "constraint"), CONSTRAINTS, ids=NAMES)
@torch.no_grad()
def test_no_words_and_no_states_beyond_the_window_change_more_than_is_proven(cell, constraint, interface, layers):
    model = model_of(cell, constraint, layers, interface)
    certificate = certify(model, search_units=0)
    assert certificate.holds
    reached = 0.0

    def drawn(length, streams):
        if interface is SLOTS:
            return torch.randint(WORDS, (length, streams))
        return torch.randint(2, (length, streams, 3)).double()

    for k in (1, 2, 4):
        window = drawn(2 * k - 1, 150)
        alone = log_probabilities(model, window)
        words = torch.cat([drawn(7, 150), window, drawn(5, 150)])
        features, _ = model(words, model.initial_state(150))
        change = largest_change(model, alone, said(model, features[7 + k - 1]))
        corners = [
            [map_state(lambda part: part * torch.randn(150, len(part)).sign(), proofs.box) for proofs in pair]
            for pair in zip(certificate.proofs[::2], certificate.proofs[1::2], strict=True)
        ]
        change = max(change, largest_change(model, alone, log_probabilities(model, window, corners)))
        assert change <= certificate.gap(k) * (1 + 1e-9)
        reached = max(reached, change / certificate.gap(k))
        truncated = model.backbone.truncated(model.inputs(words), torch.full((150,), len(words)), k)
        assert float((truncated - features)[7 + k - 1].norm(dim=-1).max()) <= certificate.state_gap(k)
        assert largest_change(model, alone, said(model, truncated[7 + k - 1])) < 1e-12
    far = (LSTMCascade,) if layers == 1 else (LSTMCascade, LSTMRowwise)  # the weights of a norm of theirs lie far
    if not isinstance(constraint, far):  # apart, so that its bounds lie far above
        assert reached > (1e-3 if layers == 1 else 1e-8), "an attack that changes nothing shows nothing"


@pytest.mark.parametrize("layers", [1, 2, 3])
@torch.no_grad()
def test_the_bound_is_nearly_reached_by_a_network_that_is_nearly_linear(layers):
    """One unit, states so small that tanh is the identity, errors that all add up, and a tag that hardly ever comes."""
    interface, small = Interface(Inputs("finite", 2), Outputs("categorical", 2)), 1e-6
    model = build_model(interface, both_directions(RNNCell), 1, 1, layers).double()
    for parameter in model.backbone.parameters():
        parameter.fill_(0.8 if parameter.dim() == 2 else 0.0)
    model.inputs.weight.fill_(small)
    model.objective.weight.copy_(torch.tensor([[3.0, 2.0], [-1.0, -4.0]]))
    model.objective.bias.copy_(torch.tensor([0.0, 40.0]))
    certificate = certify(model, search_units=0)
    states = [(cell.norm, RNNState(torch.full((1, 1), small, dtype=torch.float64))) for cell in certificate.layers]
    cells = [
        replace(cell, radius=float(norm(state))) for cell, (norm, state) in zip(certificate.layers, states, strict=True)
    ]
    certificate = replace(certificate, layers=tuple(cells))  # of networks that are left in such states
    begin = [[state for _, state in states[:2]]] * layers
    for k in (1, 2, 6):
        window = torch.zeros(2 * k - 1, 1, dtype=torch.int64)
        change = log_probabilities(model, window, begin) - log_probabilities(model, window)
        assert 0.999 < float(change[0, 0]) / certificate.gap(k) <= 1 + 1e-6


def test_what_is_not_proven_is_not_certified():
    model = model_of(LSTMCell, LSTMGatedLinear(0.8), 2)
    (_, backwards) = model.backbone.cells_by_layer[1]
    with torch.no_grad():
        backwards.weight_hh.mul_(0).add_(3.0)
    certificate = certify(model, search_units=0)
    assert not certificate.holds
    assert certificate.context(0.1) is None
    assert math.isinf(certificate.gap(5))
    assert math.isinf(certificate.state_gap(5))
    summary = summarise(model, certificate, search_units=0)
    assert summary["reason"].startswith("layer 2, backwards: ")
    assert "layer 1" not in summary["reason"]
    assert by_norm(model, certificate) == {}
    with torch.no_grad():
        backwards.weight_hh.fill_(math.nan)
    assert "not all finite" in summarise(model)["reason"]


def test_states_without_a_bound_below_are_no_known_inputs():
    model = build_model(SLOTS, both_directions(IRNNCell), 3, 4, 2).double()
    with torch.no_grad():
        for one in model.backbone.cells_by_layer[0]:
            one.weight_hh.mul_(2.0)
    certificate = certify(model, search_units=0)
    assert not certificate.holds
    assert "no bound is known of its inputs" in certificate.summary()["reason"]


def test_a_constraint_for_other_cells_is_refused():
    with pytest.raises(ConfigurationError, match="is for LSTMCell, and the cell of the model is RNNCell"):
        check(LSTMCascade(), build_model(SLOTS, both_directions(RNNCell), 3, 4))


def test_an_inference_certificate_has_one_beside_it_for_the_inputs_of_training():
    model = build_model(SLOTS, both_directions(LSTMCell), 3, 4, 2, dropout=0.3)
    project(LSTMGatedLinear(0.8), model)
    found = summarise(model, search_units=0)
    assert found["certified"]
    assert found["training"]["certified"]
    assert found["rate"] <= found["training"]["rate"] < 1
