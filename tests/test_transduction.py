"""Sources with targets, and encoder and decoder: what is drawn, the network as plain PyTorch has it, decoding."""

import itertools
import math
import shutil
from collections import Counter, defaultdict
from functools import partial

import numpy as np
import pytest
import torch
from conftest import SMALL
from torch import nn
from torch.testing import assert_close

from stablernn.analysis.estimate import analysis_seconds
from stablernn.analysis.exposure import ExposureAnalysis
from stablernn.analysis.free_running import FreeRunning, said
from stablernn.analysis.runner import analyse, check_applies
from stablernn.analysis.truncation import truncation_curve
from stablernn.commands.convert import convert
from stablernn.config.compose import compose
from stablernn.config.instantiate import make
from stablernn.config.validate import check
from stablernn.generation.decoding import Decoding, go_on
from stablernn.generation.generate import generate
from stablernn.generation.shown import columns
from stablernn.models.backbone import stack_of
from stablernn.models.cells.gru import GRUCell
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.encoder_decoder import AdditiveAttention, DotAttention, EncoderDecoder
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_model
from stablernn.models.state import select_streams, tensors
from stablernn.report.contents import chapters
from stablernn.report.evidence import gather
from stablernn.report.sections.free_running import free_running_table
from stablernn.stability.constraints.base import project
from stablernn.tasks.base import Interface
from stablernn.tasks.sequences import SequenceBatches, Sequences
from stablernn.tasks.transduction import DAYS, FORMS, Transduction
from stablernn.training.build import build
from stablernn.training.run import run
from stablernn.training.sampling import MixedInputs
from stablernn.training.trained import find_runs
from stablernn.utils.errors import ConfigurationError, NotApplicableError

FEW = {"train": 40, "valid": 10, "test": 20}
ATTENTION = (None, "dot", "additive")
EXACT = {"rtol": 0.0, "atol": 1e-12}


def task(form="reverse", letters=5, shortest=3, longest=6, seed=1, sequences=FEW, **options):
    return Transduction("mine", form, letters, shortest, longest, seed, sequences, **options).load()


def network(attention="dot", cell=LSTMCell, layers=1, of=None, size=6):
    torch.manual_seed(3)
    backbone = partial(EncoderDecoder, cell=cell, attention=attention)
    model = build_model((of or task()).interface, backbone, 4, size, layers).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.8, 0.8)
        model.inputs.weight.mul_(4)  # so that what is read decides what is said
    return model


# ---- the task


@pytest.mark.parametrize("form", FORMS)
def test_a_sequence_is_the_source_a_mark_and_the_target_of_which_each_item_is_scored_once(form):
    made = task(form, test_longest=9)
    begin = made.interface.inputs.begin
    lengths = set()
    for name, split in made.splits.items():
        for number, (x, y) in enumerate(zip(split.inputs, split.targets, strict=True)):
            ((place,),) = np.nonzero(x == begin)
            source, _, target = made.text_of(torch.from_numpy(x)).partition(" → ")
            assert split.before(number) == place == len(source)
            assert y[place:].tolist() == [*x[place + 1 :], made.end]
            assert y.max() < made.interface.outputs.size <= begin
            if form == "dates":
                year, month, day = target.split("-")
                assert source.endswith(year[2:]) or year in source
                assert str(int(day)) in source
                assert len(month) == len(day) == 2
            else:
                assert target == (source[::-1] if form == "reverse" else "".join(sorted(source)))
                lengths |= {(name, len(source))}
        batches = SequenceBatches(split, 7)
        masked = [batches.batch(number) for number in range(len(batches))]
        assert sum(batch.count for batch in masked) == len(split) == sum(one.count for one in split)
        seen = Counter(int(item) for batch in masked for item in batch.y[batch.mask])
        assert seen == Counter(int(item) for y in split.items for item in y)
        assert len(split.first(20).targets) == len(split.first(20).scored) < len(split.targets)
    if form != "dates":
        assert {n for name, n in lengths if name == "train"} == {3, 4, 5, 6}
        assert max(n for name, n in lengths if name == "test") > 6


@pytest.mark.parametrize("form", FORMS)
def test_no_source_of_test_or_valid_is_in_train_and_data_depend_on_their_seed(form):
    made, again, other = (task(form, letters=8, seed=seed) for seed in (1, 1, 2))
    assert made.fingerprint == again.fingerprint != other.fingerprint
    targets = {name: {y.tobytes() for y in split.items} for name, split in made.splits.items()}
    sources = {name: {x.tobytes() for x in split.inputs} for name, split in made.splits.items()}
    told_apart = targets if form == "dates" else sources
    for one, two in itertools.combinations(told_apart.values(), 2):
        assert not one & two


@pytest.mark.parametrize("form", ["reverse", "sort"])
def test_the_baselines_of_letters_are_counted_over_all_sources(form):
    made = task(form, letters=3, shortest=3, longest=5, sequences={"train": 1, "valid": 1, "test": 10})
    law, of_length = defaultdict(float), defaultdict(float)
    for n in (3, 4, 5):
        for source in itertools.product((1, 2, 3), repeat=n):
            target = source[::-1] if form == "reverse" else tuple(sorted(source))
            law[(*target, 0)] += 1 / 3 / 3**n
            of_length[(*target, 0)] += 1 / 3**n
    assert sum(law.values()) == pytest.approx(1)
    test = made.splits["test"]
    unread, length = (-sum(math.log(of[tuple(y)]) for y in test.items) / len(test) for of in (law, of_length))
    assert list(made.baselines.values()) == pytest.approx([unread, length])


def test_the_baseline_of_dates_is_counted_character_by_character_over_all_days():
    made = task("dates")
    days = np.arange("1950-01-01", "2050-01-01", dtype="datetime64[D]").astype(str)
    assert len(days) == DAYS
    nats = 0.0
    for place in range(10):
        counts, of = Counter(day[: place + 1] for day in days), Counter(day[:place] for day in days)
        nats -= sum(count / DAYS * math.log(count / of[start[:-1]]) for start, count in counts.items())
    assert made.baselines == {"the source unread": pytest.approx(nats / 11)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "other"}, "choose reverse, sort, dates"),
        ({"letters": 1}, "dataset.letters=1"),
        ({"letters": 27}, "dataset.letters=27"),
        ({"shortest": 0}, "dataset.shortest=0"),
        ({"longest": 2}, "dataset.longest=2 must not be below dataset.shortest=3"),
        ({"test_longest": 2}, "dataset.test_longest=2 must not be below dataset.test_shortest=3"),
        ({"test_shortest": 0}, "dataset.test_shortest=0"),
        ({"letters": 2, "shortest": 1}, "a larger dataset.shortest or smaller dataset.sequences"),
        ({"form": "dates", "sequences": {"train": 1, "valid": 1, "test": 40_000}}, "36,525"),
    ],
)
def test_sizes_that_no_task_has_are_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        task(**options)


def test_an_interface_says_the_mark_only_where_there_is_one():
    made = task().interface
    assert Interface.of_record({"interface": made.as_dict()}) == made
    assert "begin" not in Interface.of_words(3).as_dict()["inputs"]


# ---- the network


@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize(("cell", "layers"), [(LSTMCell, 2), (GRUCell, 1)])
def test_a_split_window_gives_what_the_whole_gives_and_streams_do_not_see_each_other(attention, cell, layers):
    model = network(attention, cell, layers)
    x = SequenceBatches(task(longest=5).splits["test"], 6).batch(0).x
    whole, state = model(x, model.initial_state(6))
    for cut in range(1, len(x), 2):
        first, between = model(x[:cut], model.initial_state(6))
        second, after = model(x[cut:], between)
        assert_close(torch.cat([first, second]), whole, **EXACT)
        for one, other in zip(tensors(after), tensors(state), strict=True):
            assert_close(one, other, **EXACT)
    for stream in range(6):
        alone, _ = model(x[:, stream : stream + 1], model.initial_state(1))
        assert_close(alone, whole[:, stream : stream + 1], **EXACT)
    other, _ = model(x[:, :2], select_streams(model.initial_state(6), torch.tensor([5, 0])))
    assert_close(other, whole[:, :2], **EXACT)


def plain(model, x, attention):
    """Features of one stream: nn.LSTM, then nn.LSTMCell in a loop, attention written out."""
    backbone, embedded = model.backbone, model.inputs(x)
    place, size = int((x == model.begin).nonzero()[0, 0]), backbone.size
    encoder = nn.LSTM(4, size).double()
    decoder = nn.LSTMCell(4 + (size if attention == "additive" else 0), size).double()
    (first,), (second,) = backbone.encoder.cells, backbone.decoder.cells
    encoder.load_state_dict({f"{name}_l0": value for name, value in first.state_dict().items()})
    decoder.load_state_dict(second.state_dict())
    memory, (h, c) = encoder(embedded[: place + 1, None])
    h, c, features = h[0], c[0], [*memory[:place, 0]]
    own = backbone.decode
    for inputs in embedded[place:]:
        if attention == "additive":
            scores = [own.score(torch.tanh(own.query(h[0]) + own.key(e[0]))) for e in memory]
            context = sum(a * e[0] for a, e in zip(torch.cat(scores).softmax(0), memory, strict=True))
            h, c = decoder(torch.cat([inputs, context])[None], (h, c))
        else:
            h, c = decoder(inputs[None], (h, c))
        y = h[0]
        if attention == "dot":
            a = torch.stack([h[0] @ e[0] for e in memory]).softmax(0)
            context = sum(a * e[0] for a, e in zip(a, memory, strict=True))
            y = torch.tanh(own.combine(torch.cat([context, h[0]])))
        features.append(y)
    return torch.stack(features)


@pytest.mark.parametrize("attention", ATTENTION)
def test_it_is_the_network_that_plain_pytorch_computes(attention):
    model = network(attention)
    split = task().splits["test"]
    batch = SequenceBatches(split, len(split.inputs)).batch(0)
    features, _ = model(batch.x, model.initial_state(len(split.inputs)))
    for stream in range(8):
        length = int(batch.mask[:, stream].nonzero()[-1]) + 1
        expected = plain(model, batch.x[:length, stream], attention)
        assert_close(features[:length, stream], expected, rtol=0, atol=1e-10)


def attended(kind):
    """Attention of 3 steps over 4 positions, of which the second of two streams has 2."""
    torch.manual_seed(1)
    attention, h, memory = kind(5).double(), torch.randn(3, 2, 5).double(), torch.randn(4, 2, 5).double()
    source = torch.tensor([[True, True], [True, True], [True, False], [True, False]])[..., None]
    return attention, h, memory, source


@pytest.mark.parametrize("kind", [DotAttention, AdditiveAttention])
def test_weights_of_attention_sum_to_one_and_nothing_falls_beyond_the_source(kind):
    attention, h, memory, source = attended(kind)
    weights = attention.weights(h, memory, source)
    assert weights.shape == (3, 2, 4)
    assert_close(weights.sum(-1), torch.ones(3, 2).double())
    assert bool((weights[:, 0] > 0).all())
    assert not weights[:, 1, 2:].any()
    assert len(weights[:, 1, 0].unique()) == 3, "it asks"


@pytest.mark.parametrize("kind", [DotAttention, AdditiveAttention])
def test_gradients_through_attention_are_those_of_finite_differences(kind):
    attention, _, memory, source = attended(kind)
    cells = stack_of(GRUCell, Recurrent)(3 + attention.added, 5, 1, 0.0).double()
    x, h = torch.randn(3, 2, 3).double(), torch.randn(2, 5).double()

    def outputs(x, h, memory, *weights):
        (cell,) = cells.cells
        values = torch.func.functional_call(
            attention, dict(zip(names, weights, strict=True)), (cells, x, (cell.state_type(h),), memory, source)
        )
        return values[0]

    names, weights = zip(*attention.named_parameters(), strict=True)
    inputs = [value.detach().requires_grad_() for value in (x, h, memory, *weights)]
    assert torch.autograd.gradcheck(outputs, inputs)
    memory.requires_grad_()
    (gradient,) = torch.autograd.grad(outputs(x, h, memory, *weights).sum(), memory)
    assert not gradient[2:, 1].any(), "beyond the source"


@pytest.mark.parametrize("attention", ATTENTION)
def test_no_output_sees_a_later_input_and_every_one_of_the_target_sees_all_of_the_source(attention):
    model = network(attention)
    x = SequenceBatches(task(shortest=6).splits["test"], 1).batch(0).x
    embedded = model.inputs(x).detach().requires_grad_()
    features, _ = model.features(x, embedded, model.initial_state(1))
    for t in range(len(x)):
        (gradient,) = torch.autograd.grad(features[t].sum(), embedded, retain_graph=True)
        seen = gradient.abs().sum((1, 2)) > 0
        assert seen[: t + 1].all()
        assert not seen[t + 1 :].any()


def test_a_network_of_source_and_target_asks_for_a_task_that_has_them():
    backbone = partial(EncoderDecoder, cell=LSTMCell)
    with pytest.raises(ConfigurationError, match="no mark between them: choose dataset=transduction"):
        build_model(Interface.of_words(5), backbone, 4, 6)
    for options, message in (({"attention": "self"}, "choose dot, additive or null"), ({}, "model.num_layers")):
        with pytest.raises(ConfigurationError, match=message):
            EncoderDecoder(4, 6, None, 0.0, LSTMCell, **options)


# ---- runs


FEWER = "dataset.sequences={train: 40, valid: 4, test: 9}"


def config(folder, *overrides):
    few = ["dataset.letters=3", "dataset.shortest=3", "dataset.longest=5", FEWER, "training.max_updates=6"]
    return compose("train", [*SMALL, "dataset=transduction", *few, f"runs={folder}", *overrides])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for options in (
        ["model=lstm"],
        ["model=encoder_decoder", "model.backbone.cell._target_=stablernn.models.cells.gru.GRUCell"],
        ["model=encoder_decoder_attention", "model.backbone.attention=dot", "stability=stable"],
    ):
        run(config(folder, *options))
    return {one.config.model.name: one for one in find_runs("*", folder, None, torch.device("cpu"))}


def test_a_record_has_the_items_and_the_sequences_that_are_right_and_nothing_is_proven(trained):
    for name, one in trained.items():
        record, split = one.record, one.corpus.splits["test"]
        right, items, whole, sequences = record.metrics["test"]["tally"]
        assert 0 <= whole <= right <= items == record.metrics["test"]["count"] == len(split)
        assert sequences == len(split.targets) == 9
        if name != "lstm":
            assert record.certificate["certified"] is False
            about = "reads all of the source" if "attention" in name else "where an encoder ends"
            assert about in record.certificate["reason"]


@pytest.mark.parametrize(("cell", "stability"), [("lstm.LSTMCell", "stable"), ("rnn.RNNCell", "rnn_spectral")])
@pytest.mark.parametrize("attention", ["null", "dot"])
def test_a_constraint_holds_for_both_cells(tmp_path, cell, stability, attention):
    """A projection onto it changes nothing, after it changed something."""
    options = [f"model.backbone.cell._target_=stablernn.models.cells.{cell}", f"model.backbone.attention={attention}"]
    chosen = config(tmp_path, "model=encoder_decoder", f"stability={stability}", *options)
    model, constraint = build(chosen, task().interface)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    before = [cell.weight_hh.clone() for layer in model.backbone.cells_by_layer for cell in layer]
    project(constraint, model)
    held = [parameter.clone() for parameter in model.parameters()]
    after = [cell.weight_hh for layer in model.backbone.cells_by_layer for cell in layer]
    assert len(after) == 2
    assert not any(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    project(constraint, model)
    for one, other in zip(held, model.parameters(), strict=True):
        assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_weights_that_were_trained_under_a_constraint_lie_on_it(trained):
    one = trained["encoder_decoder_attention"]
    model = one.model("best")
    held = {name: value.clone() for name, value in model.named_parameters()}
    project(make(one.config.stability.constraint), model)
    for name, value in model.named_parameters():
        assert_close(value, held[name], rtol=1e-5, atol=1e-6)


def test_what_does_not_apply_is_one_line(trained, tmp_path):
    with pytest.raises(NotApplicableError, match=r"additive attention .* choose stability=unstable"):
        run(config(tmp_path, "model=encoder_decoder_attention", "stability=stable"))
    with pytest.raises(ConfigurationError, match="approximation=feedforward truncates a stack of recurrent cells"):
        check(config(tmp_path, "model=encoder_decoder", "approximation=feedforward"))
    one = trained["encoder_decoder"]
    for analysis in ("certificate", "contraction", "gradient_horizon", "truncation"):
        with pytest.raises(NotApplicableError, match="model=encoder_decoder"):
            check_applies(make(compose("analyze", [f"analysis={analysis}"]).analysis), one)
    with pytest.raises(NotApplicableError, match="choose analysis=free_running"):
        check_applies(ExposureAnalysis(), one)
    with pytest.raises(NotApplicableError, match="no feed-forward model of k inputs"):
        convert(compose("convert", [f"run={one.record.id}", f"runs={one.folder.parent}"]))


def test_the_truncation_of_one_network_for_both_is_scored_on_the_targets_alone(trained):
    one = trained["lstm"]
    curve = truncation_curve(one.model("best"), one.corpus.splits["test"], [1, 99], metric=one.record.metric)
    for value in (curve.recurrent, curve.truncated[99].score):
        assert value.count == one.record.metrics["test"]["count"]
        assert value.total == pytest.approx(one.record.metrics["test"]["total"], rel=1e-5)


# ---- decoding


@pytest.mark.parametrize("attention", ATTENTION)
def test_a_target_is_right_by_itself_exactly_where_it_is_right_with_true_inputs(attention):
    """Targets are what a model says after each source, with a mistake in every other one."""
    made = task(sequences={"train": 1, "valid": 1, "test": 30})
    model, test = network(attention, of=made), made.splits["test"]
    inputs, targets = [], []
    for number, x in enumerate(test.inputs):
        source = torch.from_numpy(x[: test.before(number) + 1])
        target = go_on(model, source[:, None], 6, Decoding()).items
        if number % 2:
            target[number % 5] = (target[number % 5] + 1) % 6
        inputs.append(np.concatenate([source, target[:-1]]))
        targets.append(np.concatenate([source[1:], target]))
    split = Sequences(tuple(inputs), tuple(targets), test.tally, 6)
    own, right = said(model, split), Counter()
    for number, (batch, target) in enumerate(zip(split, split.items, strict=True)):
        features, _ = model(batch.x, model.initial_state(1))
        forced = model.objective.logits(features[batch.mask]).argmax(-1)
        assert bool((forced == torch.from_numpy(target)).all()) == (own[number] == target.tolist()) == (not number % 2)
        same = number % 5 + 1 if number % 2 else 6
        assert forced[:same].tolist() == own[number][:same]
        right["true"] += int((forced == torch.from_numpy(target)).sum())
        right["own"] += int((torch.tensor(own[number]) == torch.from_numpy(target)).sum())
    assert right["true"] != right["own"], "of items the shares differ"


def test_generating_stops_at_the_end_mark_and_a_prompt_is_a_source(trained):
    for name, one in trained.items():
        found = generate(one, Decoding(), 30, "abcab", k=3 if name == "lstm" else None)
        assert one.corpus.text_of(found.prompt) == "abcab → "
        assert 0 not in found.recurrent.items[:-1].tolist()
        assert len(found.recurrent.items) == 30 or found.recurrent.items[-1] == 0
        assert any("abcab →" in line for line in columns(found, one.corpus))
        with pytest.raises(ConfigurationError, match="prompt: 'z' is none of the characters"):
            generate(one, Decoding(), 5, "abz")
        with pytest.raises(ConfigurationError, match="ends with its own mark: leave end out"):
            generate(one, Decoding(), 5, "ab", end="b")
    assert one.corpus.prompt(None)[-1] == one.corpus.interface.inputs.begin


@pytest.mark.parametrize("attention", ["dot", "additive"])
def test_a_wide_beam_is_the_best_of_all_targets(attention):
    model = network(attention, of=task(letters=2, shortest=6))
    prompt = torch.tensor([1, 2, 2, 3])[:, None]
    nats = {}
    for length in (1, 2, 3, 4):
        for target in itertools.product((1, 2), repeat=length - 1):
            for last in (0,) if length < 4 else (0, 1, 2):
                items = torch.tensor([*target, last])
                x = torch.cat([prompt, items[:-1, None]])
                features, _ = model(x, model.initial_state(1))
                scores = model.objective.logits(features[len(prompt) - 1 :, 0]).log_softmax(-1)
                nats[tuple(items.tolist())] = float(scores.detach().gather(1, items[:, None]).sum())
    found = go_on(model, prompt, 4, Decoding("beam", beam=27, end=0))
    assert tuple(found.items.tolist()) == max(nats, key=nats.__getitem__)
    assert float(found.log_probabilities.sum()) == pytest.approx(max(nats.values()))


def test_own_outputs_in_training_take_the_place_of_targets_alone(trained):
    one = trained["encoder_decoder"]
    batch = one.corpus.batches("train", 8, 99).batch(0)
    options = config("runs", "training.sampling.decay=linear", "training.sampling.half=1").training.sampling
    model = one.model("last")
    mixed = MixedInputs(options, model, 0)(batch.x, model.initial_state(8), 9, batch.mask)
    changed = mixed != batch.x
    assert changed.any()
    assert not (changed[1:] & ~batch.mask[:-1]).any()
    assert not changed[0].any()


def test_the_report_has_these_runs_among_the_synthetic_tasks_and_what_they_say_by_themselves(trained, tmp_path):
    runs = list(trained.values())
    for one in runs:
        one.record.write(tmp_path / "records" / one.record.id)
    assert all(analysis_seconds([(FreeRunning(), one) for one in runs])), "it says beforehand how long it takes"
    found = [(one.record, result) for one, result in analyse(FreeRunning(), runs)]
    for one, (record, result) in zip(runs, found, strict=True):
        assert result["true"] == record.metrics["test"]["tally"]
        assert result["own"][1:] == result["true"][1:]
        assert result["own"][0] <= result["own"][1]
        shutil.copy(one.folder / "free_running.json", tmp_path / "records" / record.id)
    made = {each.section.anchor: each.blocks for each in chapters(gather(tmp_path / "records", tmp_path))}
    (section,) = gather(tmp_path / "records", tmp_path).synthetic
    assert section.best_baseline == (
        "only the length of the source read",
        pytest.approx(min(section.baselines.values())),
    )
    (synthetic,) = made["synthetic"][0].tables
    assert {line[0] for line in synthetic.lines} == {"letters backwards (smoke)"}
    assert {line[1] for line in synthetic.lines} == {"LSTM", "encoder, decoder", "encoder, decoder, attention"}
    (table,) = made["patterns"][0].tables
    assert sorted(table.lines) == sorted(free_running_table(found).lines)
    assert {line[1] for line in table.lines} == {"none", "dot"}
    assert table.heads[-1] == "own outputs: sequences right"
