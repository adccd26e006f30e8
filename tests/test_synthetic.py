"""Copy memory, adding, selectivity: what is drawn, what is scored, and what is known of each without any memory."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_report import record
from torch.testing import assert_close

from stablernn.analysis.gradient_horizon import gradient_norms
from stablernn.analysis.truncation import truncation_curve
from stablernn.config.compose import compose
from stablernn.models.backbone import stack_of
from stablernn.models.cells.lstm import LSTMCell
from stablernn.models.recurrent import Recurrent
from stablernn.models.sequence_model import build_model
from stablernn.records.record import read_record
from stablernn.report.baseline import shortfall
from stablernn.report.slices import Slice
from stablernn.stability import certify
from stablernn.stability.on_text.bounds import text_bounds
from stablernn.tasks import adding, copy_memory
from stablernn.tasks.adding import Adding
from stablernn.tasks.copy_memory import CopyMemory
from stablernn.tasks.selectivity import Selectivity
from stablernn.tasks.sequences import SequenceBatches, Sequences
from stablernn.training.evaluate import score
from stablernn.training.run import run
from stablernn.utils.errors import ConfigurationError
from stablernn.utils.metrics import NATS_A_POSITION, SQUARED_ERROR

FEW = {"train": 40, "valid": 20, "test": 20}


def copying(form="markers", blanks=5, digits=3, seed=1, sequences=FEW, **options):
    return CopyMemory("copy_memory", form, blanks, digits, seed, sequences, **options)


def adder(form="anywhere", length=24, seed=1, sequences=FEW, **options):
    return Adding("adding", form, length, seed, sequences, **options)


def selecting(letters=8, shortest=5, longest=9, seed=1, sequences=FEW, **options):
    return Selectivity("selectivity", letters, shortest, longest, seed, sequences, **options)


def test_the_digits_are_said_again_after_the_blanks():
    markers, delimiter = (copying(form).load().splits["test"] for form in copy_memory.FORMS)
    for number, x in enumerate(markers.inputs):
        digits = x[:3].tolist()
        assert all(1 <= digit <= 8 for digit in digits)
        assert x.tolist() == [*digits, 0, 0, 0, 0, 9, 9, 9, 9]
        assert delimiter.inputs[number].tolist() == [*digits, 0, 0, 0, 0, 9, 0, 0, 0]
        for split in (markers, delimiter):
            assert split.targets[number].tolist() == [0] * 8 + digits
    assert len(markers) == 20 * 11


def test_digits_are_uniform_and_none_of_test_or_valid_is_in_train():
    splits = copying(digits=3, sequences={"train": 200, "valid": 20, "test": 20}).load().splits
    drawn = {name: {tuple(x[:3]) for x in split.inputs} for name, split in splits.items()}
    assert not drawn["train"] & (drawn["valid"] | drawn["test"])
    assert not drawn["valid"] & drawn["test"]
    many = copying(digits=10, sequences={"train": 4000, "valid": 1, "test": 1}).load().splits["train"]
    counts = np.bincount(np.concatenate([x[:10] for x in many.inputs]), minlength=9)[1:]
    assert counts == pytest.approx(np.full(8, 5000), rel=0.06)
    with pytest.raises(ConfigurationError, match="choose more digits"):
        copying(digits=1).load()


@pytest.mark.parametrize("form", copy_memory.FORMS)
def test_the_baseline_of_copying_is_the_best_loss_without_memory(form):
    task = copying(form, blanks=30, digits=10).load()
    # Sure of a blank wherever there is one, and of the digits as often right as each of the eight.
    nats = sum(math.log(8) * np.count_nonzero(y) for y in task.splits["test"].targets)
    ((_, baseline),) = task.baselines.items()
    assert baseline == pytest.approx(nats / len(task.splits["test"]))
    assert baseline == pytest.approx(10 * math.log(8) / (30 + 20))


def test_the_first_three_letters_are_said_again_when_the_letters_end():
    split = selecting(sequences={"train": 400, "valid": 1, "test": 1}).load().splits["train"]
    for x, y in zip(split.inputs, split.targets, strict=True):
        letters = x[:-3]
        assert ((letters >= 1) & (letters <= 8)).all()
        assert x[-3:].tolist() == [0, 0, 0]
        assert y.tolist() == [0] * len(letters) + letters[:3].tolist()
    lengths = np.bincount([len(x) - 3 for x in split.inputs])
    assert np.flatnonzero(lengths).tolist() == [5, 6, 7, 8, 9]
    assert lengths[5:] == pytest.approx(np.full(5, 80), rel=0.35)
    counts = np.bincount(np.concatenate([x[:-3] for x in split.inputs]), minlength=9)[1:]
    assert counts == pytest.approx(np.full(8, 350), rel=0.2)


def test_the_baseline_of_selectivity_is_the_best_loss_without_memory():
    task = selecting(sequences={"train": 1, "valid": 1, "test": 3000}).load()
    test = task.splits["test"]
    nats = sum(math.log(8) * np.count_nonzero(y) for y in test.targets)
    ((_, baseline),) = task.baselines.items()
    assert baseline == pytest.approx(nats / len(test))
    assert baseline == pytest.approx(3 * math.log(8) / (7 + 3), rel=0.01)


@pytest.mark.parametrize("form", adding.FORMS)
def test_the_target_is_the_sum_of_the_marked(form):
    task = adder(form, length=40).load()
    low = task.interface.inputs.low
    for x, y in zip(task.splits["train"].inputs, task.splits["train"].targets, strict=True):
        assert x.min() >= low
        assert x.max() <= 1
        marked = np.flatnonzero(x[:, 1] == 1)
        assert not y[:-1].any()
        if form == "hochreiter":
            assert 40 <= len(x) <= 44
            assert x[0, 1] == x[-1, 1] == -1
            assert len(marked) == 2 or (len(marked) == 1 and x[0, 0] == 0)
            assert marked.min() < 10 or x[0, 0] == 0
            assert marked.max() < 19
            assert y[-1, 0] == pytest.approx(0.5 + x[marked, 0].sum() / 4, abs=1e-6)
        else:
            assert len(x) == 40
            assert len(marked) == 2
            assert (form == "anywhere") or (marked[0] < 20 <= marked[1])
            assert y[-1, 0] == pytest.approx(x[marked, 0].sum(), abs=1e-6)


@pytest.mark.parametrize(("form", "expected"), [("anywhere", 1 / 6), ("halves", 1 / 6), ("hochreiter", None)])
def test_the_baseline_of_adding_is_the_best_constant(form, expected):
    task = adder(form, length=24, sequences={"train": 1, "valid": 1, "test": 6000}).load()
    targets = np.concatenate(task.splits["test"].items)
    ((_, baseline),) = task.baselines.items()
    constants = np.linspace(0, 2, 2001)
    assert baseline == pytest.approx(min(float(((targets - c) ** 2).mean()) for c in constants), abs=1e-6)
    if expected is None:  # X1 or X2 is 0 where the first input was drawn
        expected = (2 - (1 / 10 + 9 / 10 / (24 / 2 - 2))) / 48
    assert baseline == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("make", [copying, adder, selecting])
def test_data_depend_on_their_seed_and_each_split_on_nothing_else(make):
    one, again, other = make(seed=1).load(), make(seed=1).load(), make(seed=2).load()
    assert one.fingerprint == again.fingerprint != other.fingerprint
    longer = make(seed=1, sequences={"train": 60, "valid": 20, "test": 20}).load()
    for split in ("valid", "test"):
        for ours, theirs in zip(one.splits[split].inputs, longer.splits[split].inputs, strict=True):
            assert np.array_equal(ours, theirs)
    assert longer.fingerprint != one.fingerprint
    seen = [x.tobytes() for split in one.splits.values() for x in split.inputs]
    assert make is copying or len(set(seen)) == len(seen)
    forms = {copying: copy_memory.FORMS, adder: adding.FORMS, selecting: (8, 9)}[make]
    assert len({make(form).load().fingerprint for form in forms}) == len(forms)


def test_numbers_that_differ_by_little_have_another_fingerprint():
    task = adder().load()
    before = task.fingerprint
    task.splits["test"].inputs[3][2, 0] += 0.25
    assert task.fingerprint != before


@pytest.mark.parametrize("make", [copying, adder, selecting])
def test_few_inputs_take_few_whole_sequences(make):
    few = make(max_tokens={"train": 50, "valid": None, "test": 10_000}).load().splits
    shortest = 5 + 3 if make is selecting else len(few["train"].inputs[0])
    assert len(few["train"].inputs) == -(-50 // shortest)
    assert len(few["valid"].inputs) == len(few["test"].inputs) == 20


@pytest.mark.parametrize(
    ("make", "options", "said"),
    [
        (copying, {"form": "other"}, "choose markers or delimiter"),
        (copying, {"blanks": 0}, "dataset.blanks=0"),
        (copying, {"digits": 30}, "dataset.digits=30"),
        (copying, {"sequences": {"train": 1}}, "dataset.sequences.valid=None"),
        (copying, {"seed": -1}, "dataset.seed=-1"),
        (selecting, {"letters": 1}, "dataset.letters=1"),
        (selecting, {"shortest": 2}, "dataset.shortest=2"),
        (selecting, {"longest": 4}, "dataset.longest=4 must not be below dataset.shortest=5"),
        (selecting, {"seed": -1}, "dataset.seed=-1"),
        (adder, {"form": "other"}, "choose anywhere, halves, hochreiter"),
        (adder, {"form": "hochreiter", "length": 20}, "dataset.length=20"),
    ],
)
def test_sizes_that_no_task_has_are_refused(make, options, said):
    with pytest.raises(ConfigurationError, match=said):
        make(**options)


# ---- positions that are read and not scored


def sequences(lengths, scored, seed=0):
    draw = np.random.default_rng(seed)
    x = tuple(draw.random((length, 2), dtype=np.float32) for length in lengths)
    return Sequences(x, tuple(draw.random((len(one), 1), dtype=np.float32) for one in x), scored=scored)


def network():
    torch.manual_seed(4)
    return build_model(adder().load().interface, stack_of(LSTMCell, Recurrent), None, 5).eval()


@given(st.lists(st.integers(2, 9), min_size=1, max_size=6), st.integers(1, 10), st.integers(1, 4), st.integers(0, 9))
def test_items_are_counted_once_wherever_they_are_counted(lengths, scored, size, horizon):
    split = sequences(lengths, scored)
    count = sum(min(length, scored) for length in lengths)
    batches = SequenceBatches(split, size)
    assert len(split) == count == sum(map(len, split.items)) == sum(one.count for one in split)
    assert sum(batches.batch(number).count for number in range(len(batches))) == count
    masked = [batches.batch(number) for number in range(len(batches))]
    seen = sorted(float(value) for batch in masked for value in batch.y[batch.mask].flatten())
    assert seen == sorted(float(value) for y in split.items for value in y.flatten())
    assert split.room(horizon) == sum(
        t >= horizon for length in lengths for t in range(max(0, length - scored), length)
    )


def test_the_score_is_that_of_the_scored_positions():
    model, split = network(), sequences([9, 4, 6], 2)
    expected = 0.0
    for x, y in zip(split.inputs, split.targets, strict=True):
        features, _ = model(torch.from_numpy(x)[:, None], model.initial_state(1))
        predicted = model.objective.logits(features)[-2:, 0].detach()
        expected += float((predicted - torch.from_numpy(y[-2:])).square().sum())
    found = score(model, split, SQUARED_ERROR)
    assert found.value == pytest.approx(expected / 6, rel=1e-5)
    assert found.counts == (2, 2, 2)
    curve = truncation_curve(model, split, [1, 9], metric=SQUARED_ERROR)
    assert curve.recurrent.value == pytest.approx(found.value, rel=1e-5)
    assert curve.truncated[9].score.value == pytest.approx(found.value, rel=1e-5)
    batch = SequenceBatches(split, 3).batch(0)
    loss, _ = model.loss(batch.x, batch.y, model.initial_state(3), batch.mask)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)


def test_gradients_and_bounds_are_of_the_scored_positions():
    model, split = network().double(), sequences([9, 7, 8], 1)
    norms = gradient_norms(model, split, 6, 3, 2)
    assert norms.shape == (7, 3)
    with pytest.raises(ConfigurationError, match="=6 or less"):
        gradient_norms(model, split, 7, 3, 2)
    bounds, _ = text_bounds(model, certify(model), split, [range(3)], 9)
    assert bounds.shape == (9, 3)
    curve = truncation_curve(model, split, range(1, 10), tolerance=0.0, metric=SQUARED_ERROR)
    for k, at in curve.truncated.items():
        assert at.gap.largest <= float(bounds[k - 1].max()) + 1e-12


# ---- runs


def config(folder: Path, *overrides: str):
    options = "tracking=none progress=false profile=smoke model.hidden_size=8 device=cpu training.epochs=1"
    return compose("train", [f"runs={folder}", *options.split(), *overrides])


@pytest.mark.parametrize("form", copy_memory.FORMS)
def test_a_run_of_copying_is_scored_with_the_digits_that_it_recalls(tmp_path, form):
    chosen = config(tmp_path, "dataset=copy_memory", f"dataset.form={form}", "dataset.blanks=10")
    made = read_record(tmp_path / run(chosen).id)
    assert made.metric is NATS_A_POSITION
    test = made.metrics["test"]
    right, of = test["tally"]
    assert 0 <= right <= of == test["count"] / 30 * 10
    assert made.data["baselines"] == {"blanks, and any digit": pytest.approx(10 * math.log(8) / 30)}


def test_a_run_of_selectivity_is_scored_with_the_letters_that_it_recalls(tmp_path):
    chosen = config(tmp_path, "dataset=selectivity", "dataset.shortest=4", "dataset.longest=8", "model=min_gru")
    made = read_record(tmp_path / run(chosen).id)
    assert made.metric is NATS_A_POSITION
    right, of = made.metrics["test"]["tally"]
    assert 0 <= right <= of == 3 * made.data["sequences"]["test"]
    assert "blanks, and any letter" in made.data["baselines"]
    assert made.certificate["certified"], "gates see the input alone"


def test_a_run_of_adding_has_a_certificate_and_says_what_that_bounds(tmp_path):
    chosen = config(tmp_path, "dataset=adding", "dataset.length=24", "stability=stable")
    made = read_record(tmp_path / run(chosen).id)
    assert made.metric is SQUARED_ERROR
    assert made.metrics["test"]["count"] == made.data["sequences"]["test"] == made.data["tokens"]["test"]
    assert made.certificate["certified"]
    assert made.certificate["context"]["0.01"] is None
    assert "not applicable" in made.certificate["loss"]


def of_task(value, **options):
    entry = record(1.0, model="lstm", **options)
    entry.data |= {"name": "adding", "metric": "MSE", "baselines": {"nothing": 0.5, "the best constant": 0.1667}}
    entry.metrics["test"] = {"total": value * 100, "count": 100, "value": value}
    return entry


def test_a_model_that_does_not_beat_its_baseline_decides_nothing():
    poor, good = (Slice("cpu", "adding", "f", (of_task(value),)) for value in (0.1668, 0.02))
    assert good.best_baseline == ("the best constant", 0.1667)
    assert shortfall(good, {good.records[0].id}) is None
    found = shortfall(poor, {poor.records[0].id})
    assert "0.1668 against 0.1667 (the best constant)" in found.scores


def test_scoring_a_batch_of_both_forms_ends_with_the_same_tally():
    task = copying("markers").load()
    torch.manual_seed(2)
    model = build_model(task.interface, stack_of(LSTMCell, Recurrent), 4, 6).eval()
    found = score(model, task.splits["test"], NATS_A_POSITION)
    right = 0
    for x, y in zip(task.splits["test"].inputs, task.splits["test"].targets, strict=True):
        features, _ = model(torch.from_numpy(x)[:, None], model.initial_state(1))
        said = model.objective.logits(features).argmax(-1)[:, 0].numpy()
        right += int((said[-3:] == y[-3:]).sum())
    assert found.tally == [right, 60]
    assert_close(found.value, found.total / found.count)
