"""The loop, scoring, resuming; and agreement with a loop written with nothing but PyTorch."""

import itertools
import json
import logging
import math
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT, SMALL
from torch import nn
from torch.testing import assert_close

from stablernn.benchmarks.plain import PlainModel, plain_step
from stablernn.config.compose import compose
from stablernn.config.identity import result_options, run_id
from stablernn.records.record import BLOCKS_FILE, PAUSED_FILE, RECORD_FILE, read_record
from stablernn.tasks.splits import Split
from stablernn.tasks.windows import Windows
from stablernn.training import checkpoint, evaluate, loop
from stablernn.training import run as run_module
from stablernn.training import step as step_module
from stablernn.training.build import build, pick_device
from stablernn.training.evaluate import Scorer, score
from stablernn.training.run import run
from stablernn.training.schedule import Counters
from stablernn.training.tracking import SilentRun
from stablernn.utils.errors import CheckpointError, ConfigurationError
from stablernn.utils.files import read_json
from stablernn.utils.metrics import Score


def folder(config) -> Path:
    return Path(config.runs) / run_id(config)


def comparable(record) -> dict:
    """What two runs of one configuration must share to the bit."""
    return {
        "metrics": record.metrics,
        "progress": record.progress,
        "model": record.model,
        "data": record.data,
        "history": record.history,
        "status": record.status,
        "blocks": record.blocks,
    }


APPROXIMATIONS = [["approximation=recurrent"], ["approximation=feedforward", "truncation.k=4"]]


@pytest.mark.parametrize("approximation", APPROXIMATIONS, ids=["recurrent", "feedforward"])
@pytest.mark.parametrize("model", ["rnn", "lstm"])
def test_every_token_is_scored_once_whatever_the_chunks(model, approximation, small, monkeypatch):
    config = small(f"model={model}", "model.dropout=0.5", *approximation)
    corpus = run_module.make(config.dataset).load()
    network, _ = build(config, corpus.interface)
    split = corpus.splits["test"]
    whole = score(network, split)
    assert whole.count == len(split) == 700
    monkeypatch.setattr(evaluate, "BLOCK", 37)
    parts = score(network, split)
    assert_close(parts.total, whole.total, rtol=1e-6, atol=0)
    # One token after the other, by hand, over a block that is whole and the beginning of another.
    network.eval()
    state, nats = network.initial_state(1), []
    with torch.no_grad():
        for x, y in zip(split.inputs[:50], split.targets[:50], strict=True):
            features, state = network(torch.tensor([[int(x)]]), state)
            logits = features[0, 0].double() @ network.objective.weight.double().T + network.objective.bias.double()
            nats.append(-float(torch.log_softmax(logits, 0)[int(y)]))
    assert_close(score(network, split.first(50)).total, math.fsum(nats), rtol=1e-5, atol=0)
    assert_close(
        score(network, split.first(50)).totals, (math.fsum(nats[:37]), math.fsum(nats[37:])), rtol=1e-5, atol=0
    )
    # The blocks are the score's own summands: they are 18 of 37 words and one of 34, and nothing is lost between them.
    assert len(parts.totals) == 19
    total = 0.0
    for block in parts.totals:
        total += block
    assert total == parts.total


@pytest.mark.parametrize("approximation", APPROXIMATIONS, ids=["recurrent", "feedforward"])
def test_every_token_is_scored_once_in_several_streams_as_well(approximation, small, monkeypatch):
    config = small("model=lstm", *approximation)
    corpus = run_module.make(config.dataset).load()
    network, _ = build(config, corpus.interface)
    monkeypatch.setattr(evaluate, "BLOCK", 64)
    scorer = Scorer(network)
    for tokens in (700, 487, 480, 35, 16, 7, 1):
        split = corpus.splits["test"].first(tokens)
        several = scorer.score(split, 16)
        size, streams = max(1, tokens // 16), min(16, tokens)
        ends = [size * number for number in range(streams)] + [tokens]
        pieces = [Split(split.ids[begin : end + 1]) for begin, end in itertools.pairwise(ends)]
        assert several.count == sum(map(len, pieces)) == tokens
        assert_close(several.total, math.fsum(score(network, piece).total for piece in pieces), rtol=1e-6, atol=0)
        assert several.totals == (() if streams > 1 else score(network, split).totals)
        assert scorer.score(split) == scorer.score(split, 1) == score(network, split)


def test_a_run_keeps_the_sums_over_blocks_of_its_test_score(small, monkeypatch):
    monkeypatch.setattr(evaluate, "BLOCK", 64)
    config = small()
    record = run(config)
    blocks = read_json(folder(config) / BLOCKS_FILE)
    assert blocks == record.blocks
    assert blocks["counts"] == [64] * 10 + [60]
    assert math.fsum(blocks["totals"]) == pytest.approx(record.metrics["test"]["total"], rel=1e-12)
    saved, _ = checkpoint.load(folder(config) / checkpoint.BEST)
    corpus = run_module.make(config.dataset).load()
    network, _ = build(config, corpus.interface)
    checkpoint.load_model(network, saved)
    # The last block alone, by what two scores differ in: it has the state of all the words before it.
    first = score(network, corpus.splits["test"].first(640)).total
    assert_close(record.metrics["test"]["total"] - first, blocks["totals"][-1], rtol=1e-6, atol=0)


def test_scoring_draws_no_random_numbers_and_keeps_the_mode(small):
    config = small("model.dropout=0.5")
    corpus = run_module.make(config.dataset).load()
    network, _ = build(config, corpus.interface)
    network.train()
    before = torch.get_rng_state()
    assert score(network, corpus.splits["valid"]) == score(network, corpus.splits["valid"])
    assert torch.equal(torch.get_rng_state(), before)
    assert network.training


def test_a_perplexity_that_overflows_is_infinite():
    assert Score(1e6, 1).value == math.inf


def exact_clipping(parameters, clip: float) -> None:
    """clip_grad_norm_ with the norm in float64; PyTorch's is off in the fourth digit, and 60 updates at a learning rate
    of 0.5 then differ by 1e-4, where ours is right."""
    gradients = [parameter.grad for parameter in parameters]
    norm = float(sum(gradient.double().square().sum() for gradient in gradients)) ** 0.5
    for gradient in gradients:
        gradient.mul_(min(1.0, clip / (norm + 1e-6)))


def beside_plain_pytorch(config, updates: int, scored: int) -> tuple[torch.Tensor, torch.Tensor, float]:
    """The losses of ``updates`` of ours and of the loop that everybody writes, started from the same weights, and the
    relative difference of their scores of ``scored`` validation tokens at the end."""
    corpus = run_module.make(config.dataset).load()
    network, constraint = build(config, corpus.interface)
    reference = PlainModel.like(network)
    options = run_module.OmegaConf.to_object(config.training)
    steps, lr = config.approximation.window, config.optimizer.lr
    sgd = torch.optim.SGD(network.parameters(), lr=lr)
    trainer = loop.Trainer(network, constraint, sgd, corpus, steps, options, folder(config), "", SilentRun())
    ours: list[float] = []
    trainer.on_update = lambda now, loss: ours.append(loss)
    windows = Windows(corpus.splits["train"], config.training.batch_size, steps)
    optimizer = torch.optim.SGD(reference.parameters(), lr=lr)
    theirs: list[float] = []
    state = None
    for number in range(updates):
        trainer.step()
        assert trainer.collect()
        if number % len(windows) == 0:
            state = None
        loss, state = plain_step(
            reference, optimizer, *windows.window(number % len(windows)), state, config.training.clip, exact_clipping
        )
        theirs.append(loss)
    valid = corpus.splits["valid"].first(scored)
    inputs, targets = (torch.from_numpy(ids.astype("int64")) for ids in (valid.inputs, valid.targets))
    with torch.no_grad():
        logits, _ = reference(inputs[:, None], None)
        plain_score = nn.functional.cross_entropy(logits[:, 0], targets).item()
    our_score = score(network, valid).total / len(valid)
    return torch.tensor(ours), torch.tensor(theirs), abs(our_score - plain_score) / plain_score


def largest_difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float(((ours - theirs).abs() / theirs).max())


AGREEMENT = [("float32", 1e-5), ("mixed", 2e-4), ("bf16", 5e-4)]


@pytest.mark.parametrize(("precision", "tolerance"), AGREEMENT)
@pytest.mark.parametrize("model", ["rnn", "lstm"])
def test_300_updates_and_a_score_agree_with_plain_pytorch(model, precision, tolerance, small):
    tokens = "dataset.max_tokens={train: 40000, valid: 3000, test: 100}"  # 300 updates are a pass and a half
    sizes = ["model.hidden_size=64", "model.embedding_size=64"]  # fewer than that do not average rounding out
    options = ["model.dropout=0", "optimizer.lr=0.5", tokens, *sizes, "truncation.k=10"]
    ours, theirs, valid = beside_plain_pytorch(small(f"model={model}", f"precision={precision}", *options), 300, 3000)
    assert max(largest_difference(ours, theirs), valid) < tolerance
    if precision != "float32":
        assert not torch.equal(ours, theirs), "nothing was rounded"


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_chaotic_training_agrees_with_plain_pytorch_on_average(precision, small):
    """At a learning rate of 20 rounding alone moves single losses; their means it must not."""
    tokens = "dataset.max_tokens={train: 40000, valid: 100, test: 100}"
    options = ["model.dropout=0", "optimizer.lr=20", tokens, "truncation.k=10", "training.batch_size=10"]
    ours, theirs, _ = beside_plain_pytorch(small("model=lstm", f"precision={precision}", *options), 300, 100)
    ours, theirs = (losses.view(-1, 50).mean(1) for losses in (ours, theirs))
    assert largest_difference(ours, theirs) < 1e-2


def test_updates_and_a_score_on_wikitext_2_agree_with_plain_pytorch(data_folder, small):
    options = ["model.dropout=0", "training.batch_size=4", "truncation.k=10", "optimizer.lr=0.5", "precision=float32"]
    ours, theirs, valid = beside_plain_pytorch(small(*wikitext_2(data_folder), *options), 60, 1000)
    assert max(largest_difference(ours, theirs), valid) < 1e-5


def wikitext_2(data_folder) -> list[str]:
    return [
        "dataset=wikitext2",
        f"dataset.path={data_folder}",
        "dataset.max_tokens={train: null, valid: null, test: null}",
    ]


# bfloat16 logits differ by up to 2.8e-4 (LSTM), more than the 2e-4 aimed at: so precision=auto takes mixed.
@pytest.mark.slow
@pytest.mark.parametrize(("precision", "tolerance"), AGREEMENT)
@pytest.mark.parametrize("model", ["rnn", "lstm"])
def test_300_updates_on_wikitext_2_agree_with_plain_pytorch(model, precision, tolerance, data_folder, small, capsys):
    sizes = ["model.hidden_size=200", "model.embedding_size=200", "model.dropout=0", "optimizer.lr=0.5"]
    config = small(f"model={model}", f"precision={precision}", *wikitext_2(data_folder), *sizes)
    ours, theirs, valid = beside_plain_pytorch(config, 300, 5000)
    loss = largest_difference(ours, theirs)
    with capsys.disabled():
        print(f"\n{model} {precision}: training loss differs by at most {loss:.1e}, validation score by {valid:.1e}")
    assert max(loss, valid) < tolerance


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_chaotic_training_on_wikitext_2_agrees_with_plain_pytorch_on_average(precision, data_folder, small, capsys):
    sizes = ["model.hidden_size=200", "model.embedding_size=200", "model.dropout=0", "optimizer.lr=20"]
    config = small("model=lstm", f"precision={precision}", *wikitext_2(data_folder), *sizes)
    ours, theirs, _ = beside_plain_pytorch(config, 200, 100)
    ours, theirs = (losses.view(-1, 50).mean(1) for losses in (ours, theirs))
    with capsys.disabled():
        print(f"\n{precision} at lr 20, means over 50 updates: {ours.tolist()} against {theirs.tolist()}")
    assert largest_difference(ours, theirs) < 1e-2


def test_a_run_leaves_a_record_and_is_not_run_again(small, monkeypatch, caplog):
    config = small()
    record = run(config)
    assert record.status == "finished"
    assert read_record(folder(config)) == record
    assert record.data["tokens"] == {"train": 3000, "valid": 500, "test": 700}
    assert record.metrics["test"]["count"] == 700
    assert record.progress["epochs"] == 2.0
    monkeypatch.setattr(run_module, "build_for", lambda *_: pytest.fail("trained twice"))
    caplog.set_level(logging.INFO)
    for weights in (True, False):  # without them, which analyses need, the folder to delete is named
        caplog.clear()
        if not weights:
            (folder(config) / checkpoint.BEST).unlink()
        assert run(config) == record
        assert (f"delete {folder(config)}" in caplog.text) != weights


def test_nothing_of_this_machine_is_in_a_record(small, tmp_path):
    config = small()
    run(config)
    assert str(tmp_path) not in (folder(config) / "record.json").read_text()
    assert str(ROOT) not in (folder(config) / "record.json").read_text()


def test_a_warm_up_ends_at_the_learning_rate_and_is_part_of_what_a_run_is(small):
    config = small("optimizer=adam", "training.warm_up=4", "training.evaluate_every=1", "training.max_updates=6")
    record = run(config)
    rates = [row["lr"] for row in record.history if "valid" in row]
    assert rates[:4] == [config.optimizer.lr * share for share in (0.25, 0.5, 0.75, 1.0)]
    assert record.config["training"]["warm_up"] == 4
    assert "warm_up" not in result_options(small())["training"], "runs from before there was one have their ids"


class Stop(Exception):
    pass


@pytest.mark.parametrize("approximation", APPROXIMATIONS, ids=["recurrent", "feedforward"])
@pytest.mark.parametrize(
    "choices",
    [
        ["model=rnn", "stability=stable"],
        ["model=lstm", "stability=stable"],
        ["model=lstm", "stability=stable", "optimizer=adam", "training.warm_up=6"],
        ["model=lstm", "stability=lstm_coupled", "stability.constraint.every=3"],
    ],
    ids=lambda choices: "-".join(choice.split("=")[1] for choice in choices),
)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(choices, approximation, small, monkeypatch, tmp_path):
    options = [
        *choices,
        "model.dropout=0.3",
        "training.log_every=3",
        *approximation,
    ]
    whole = run(small(*options, f"runs={tmp_path / 'whole'}"))
    config = small(*options, "training.checkpoint_seconds=0")
    step = loop.Trainer.step
    for allowed in (1, 3, 4):

        def limited(self, left=[allowed]):  # noqa: B006 (a fresh list for each definition)
            if not left[0]:
                raise Stop
            left[0] -= 1
            return step(self)

        monkeypatch.setattr(loop.Trainer, "step", limited)
        with pytest.raises(Stop):
            run(config)
    monkeypatch.setattr(loop.Trainer, "step", step)
    assert comparable(run(config)) == comparable(whole)
    files = [Path(runs) / whole.id / BLOCKS_FILE for runs in (config.runs, tmp_path / "whole")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_deadline_stops_scores_and_loses_nothing(small, monkeypatch, tmp_path):
    options = ["model.dropout=0.3", "training.epochs=3"]
    whole = run(small(*options, f"runs={tmp_path / 'whole'}"))
    now = [0.0]
    monkeypatch.setattr(loop, "time", SimpleNamespace(time=lambda: now[0], monotonic=time.monotonic))
    step = loop.Trainer.step

    def timed(self):
        step(self)
        now[0] += 1

    monkeypatch.setattr(loop.Trainer, "step", timed)
    epoch = whole.progress["updates"] // 3
    statuses = []
    for deadline in (0, epoch - 1, 2 * epoch - 1, None):
        record = run(small(*options, f"training.deadline={'null' if deadline is None else deadline}"))
        statuses.append(record.status)
        assert record.progress["updates"] == (3 * epoch if deadline is None else deadline)
        assert ("test" in record.metrics) == (deadline is None or deadline > epoch), "without a validation, no score"
        here = tmp_path / "runs" / record.id
        assert (here / PAUSED_FILE).is_file() == (record.status == "paused")
        assert (here / RECORD_FILE).is_file() == (record.status != "paused"), "a report counts those as results"
    assert statuses == ["paused", "paused", "stopped", "finished"]
    assert comparable(record) == comparable(whole)


def test_the_best_weights_on_the_disk_are_those_of_the_checkpoint_there(small, monkeypatch):
    """A killed run may, on a GPU, come to another best than the one that it had come to."""
    config = small("training.evaluate_every=3", "training.checkpoint_seconds=3600")
    step = loop.Trainer.step

    def limited(self):
        if self.counters.update == 5:
            self.save()
        if self.counters.update == 8:
            assert self.counters.best_update == 6
            raise Stop
        step(self)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "step", limited)
        with pytest.raises(Stop):
            run(config)
    (_, best), (_, last) = (checkpoint.load(folder(config) / name) for name in (checkpoint.BEST, checkpoint.LAST))
    assert best["update"] == last["counters"]["best_update"] == 3
    # Nothing is better from there on: then they are those that are scored.
    monkeypatch.setattr(Counters, "is_gain", lambda self, valid: False)
    assert run(config).progress["best_update"] == 3


def test_a_constraint_that_projects_now_and_then_is_met_where_it_is_scored(small, monkeypatch):
    projected = []
    original = step_module.project
    monkeypatch.setattr(step_module, "project", lambda *args: (projected.append(args), original(*args)))
    record = run(
        small("stability=lstm_rowwise", "stability.constraint.every=3", "training.max_updates=8", "truncation.k=3")
    )
    assert len(projected) == 3  # after updates 3 and 6, and before the score after update 8
    assert record.certificate["rate"] <= 0.99 * (1 + 1e-6)


def test_ctrl_c_writes_a_checkpoint_between_two_updates(small, monkeypatch):
    config = small("training.epochs=50")
    step = loop.Trainer.step

    def interrupted(self):
        if self.counters.update == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self)

    monkeypatch.setattr(loop.Trainer, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(config)
    _, values = checkpoint.load(folder(config) / checkpoint.LAST)
    assert values["counters"]["update"] == 4


@pytest.mark.parametrize("stability", ["unstable", "stable", "lstm_gated_linear"])
@pytest.mark.parametrize("lr", ["1e4", "1e38"])
def test_a_run_whose_model_can_no_longer_be_certified_leaves_a_record_with_the_reason(small, stability, lr):
    record = run(small("model=lstm", f"stability={stability}", f"optimizer.lr={lr}", "training.max_updates=4"))
    assert record.certificate["certified"] or record.certificate["reason"]
    if stability == "unstable":
        assert not record.certificate["certified"]
    assert read_record(Path(small("model=lstm").runs) / record.id).certificate == record.certificate


def test_a_step_that_is_not_finite_is_refused_and_the_run_recorded_as_diverged(small):
    config = small("model=rnn", "optimizer.lr=1e38", "training.clip=1e38")
    record = run(config)
    assert record.status == "diverged"
    saved, _ = checkpoint.load(folder(config) / checkpoint.LAST)
    assert all(torch.isfinite(value).all() for name, value in saved.items() if name.startswith("model."))
    assert run(config) == record  # recorded, hence not tried again


def test_the_learning_rate_falls_on_a_plateau_and_the_best_weights_are_scored(small, monkeypatch):
    config = small("training.epochs=20", "training.early_stop=3", "training.annealing=4", "optimizer.lr=1.0")
    scores = iter([100.0, 90.0, 95.0, 80.0, 85.0, 85.0, 85.0, 70.0])

    original = Scorer.score

    def scripted(self, split, *streams):
        if len(split) != 500:
            return original(self, split, *streams)
        return Score(math.log(next(scores)) * len(split), len(split))

    monkeypatch.setattr(Scorer, "score", scripted)
    record = run(config)
    evaluations = [row for row in record.history if "valid" in row]
    assert [row["lr"] for row in evaluations] == [1.0, 1.0, 1.0, 0.25, 0.25, 0.0625, 0.015625]
    assert record.metrics["valid"]["value"] == pytest.approx(80.0)
    assert record.progress["best_update"] == evaluations[3]["update"]


def test_a_checkpoint_of_other_data_or_a_damaged_one_is_refused(small, monkeypatch):
    config = small("training.checkpoint_seconds=0")
    original = loop.Trainer.score_best
    monkeypatch.setattr(loop.Trainer, "score_best", lambda *_: (_ for _ in ()).throw(Stop))
    with pytest.raises(Stop):
        run(config)
    monkeypatch.setattr(loop.Trainer, "score_best", original)
    path = folder(config) / checkpoint.LAST
    whole = path.read_bytes()
    tensors, values = checkpoint.load(path)
    checkpoint.save(path, tensors, values | {"identity": "another"})
    with pytest.raises(CheckpointError, match="of another run or of other data"):
        run(config)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="is damaged"):
        run(config)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_seed_decides_everything_zero_included(seed, small, tmp_path):
    first = run(small(f"seed={seed}", "model.dropout=0.3"))
    again = run(small(f"seed={seed}", "model.dropout=0.3", f"runs={tmp_path / 'again'}"))
    other = run(small("seed=7", "model.dropout=0.3"))
    assert comparable(first) == comparable(again)
    assert first.metrics != other.metrics


def test_a_model_on_the_embedded_corpus_comes_near_the_optimum_and_never_beats_it(small):
    config = compose(
        "train",
        [
            *SMALL,
            f"runs={small().runs}",
            "dataset.max_tokens={train: 60000, valid: 4000, test: 8000}",
            "dataset.types=64",
            "model.hidden_size=32",
            "model.embedding_size=32",
            "model.dropout=0",
            "training.epochs=8",
            "training.clip=1",
            "optimizer.lr=5",
        ],
    )
    record = run(config)
    best = record.metrics["optimal"]["test"]
    assert best < record.metrics["test"]["value"] < 1.1 * best
    short = run(
        compose(
            "train",
            [
                *SMALL,
                f"runs={config.runs}",
                "approximation=feedforward",
                "truncation.k=2",
                "training.epochs=4",
            ],
        )
    )
    assert short.metrics["optimal"]["context"] == 2
    assert short.metrics["test"]["value"] > short.metrics["optimal"]["test"]
    assert short.metrics["optimal"]["test"] == pytest.approx(short.metrics["optimal"]["test_by_context"][1])


def test_wandb_offline_gets_the_curves(small):
    wandb = pytest.importorskip("wandb", reason="tracking is optional")
    config = small("tracking=offline")
    run(config)
    (log,) = (Path(config.runs) / "wandb").glob("offline-run-*/run-*.wandb")
    assert log.stat().st_size > 0
    assert wandb.run is None  # closed, so that the next run of a sweep starts afresh


def test_the_gpu_is_not_silently_replaced_by_the_cpu(small, monkeypatch):
    assert pick_device("auto").type == "cpu"  # the tests have no GPU, see conftest.py
    with pytest.raises(ConfigurationError, match="device=cuda"):
        run(small("device=cuda"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == "cuda"


def test_history_rows_are_json_lines(small):
    config = small()
    run(config)
    rows = [json.loads(line) for line in (folder(config) / "history.jsonl").read_text().splitlines()]
    assert {"update", "train"} <= set(rows[0])
    assert [row["epoch"] for row in rows if "epoch" in row] == [1.0, 2.0]


def test_training_ends_after_so_many_words_whatever_the_window(small):
    for k in (3, 10):
        record = run(small("training.max_tokens=600", f"truncation.k={k}", "training.batch_size=10"))
        assert record.progress["updates"] == 600 // (10 * k)
