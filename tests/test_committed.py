"""The committed numbers, derived again by their definitions, without the code that made them."""

import json
import math
from functools import cache
from itertools import pairwise

import pytest
from conftest import ROOT

from stablernn.records.schemas import analysis_check
from stablernn.utils.files import read_json
from stablernn.utils.metrics import METRICS

RECORDS = ROOT / "results" / "records"
EPSILON = 1e-9  # relative: sums and powers of float64


@cache
def committed():
    """Every committed run: its folder, record and history."""
    found = {}
    for path in sorted(RECORDS.rglob("record.json")):
        rows = [json.loads(line) for line in (path.parent / "history.jsonl").read_text(encoding="utf-8").splitlines()]
        found.setdefault(path.parent.name, (path.parent, json.loads(path.read_text(encoding="utf-8")), rows))
    assert len(found) > 50
    return list(found.values())


def certificates():
    """Every certificate that proves something: of the record, and of its analysis."""
    for folder, record, _ in committed():
        analysis = folder / "certificate.json"
        told = [json.loads(analysis.read_text(encoding="utf-8"))["certificate"]] if analysis.is_file() else []
        for certificate in [record.get("certificate", {}), *told]:
            if certificate.get("certified"):
                yield folder.name, record, certificate


def test_a_perplexity_is_that_of_the_blocks_of_its_text():
    kept = 0
    for folder, record, _ in committed():
        metric = METRICS[record["data"].get("metric", "perplexity")]
        for split in record["metrics"].keys() & {"valid", "test"}:
            score = record["metrics"][split]
            assert score["count"] == record["data"]["tokens"][split], folder.name
            value = metric.of_tally(score["tally"]) if metric.of_tally else metric.value(score["total"], score["count"])
            assert score["value"] == pytest.approx(value, rel=EPSILON)
        if (path := folder / "test_blocks.json").is_file():
            blocks, test = json.loads(path.read_text(encoding="utf-8")), record["metrics"]["test"]
            assert sum(blocks["counts"]) == test["count"]
            assert len(blocks["totals"]) == len(blocks["counts"])
            assert math.fsum(blocks["totals"]) == pytest.approx(test["total"], rel=EPSILON), folder.name
            assert [sum(entry) for entry in zip(*blocks.get("tallies", []), strict=True)] == test.get("tally", [])
            kept += 1
    assert kept > 10


def test_every_certificate_that_proves_something_can_be_read():
    """Of a squared error too, of which no change is bounded."""
    paths = [folder / "certificate.json" for folder, *_ in committed()]
    checked = [path for path in paths if path.is_file() and '"certified": true' in path.read_text(encoding="utf-8")]
    for path in checked:
        read_json(path, analysis_check("certificate"))
    assert any("adding" in path.parent.name for path in checked)


def test_a_run_was_scored_at_its_best_validation_and_annealed_where_there_was_no_gain():
    for folder, record, history in committed():
        rows = [row for row in history if row.get("valid") is not None]
        if record["status"] != "finished" or not rows:
            continue
        cost = METRICS[record["data"].get("metric", "perplexity")].cost
        best = min(rows, key=lambda row: cost(row["valid"]))
        assert record["progress"]["best_update"] == best["update"], folder.name
        assert record["metrics"]["valid"]["value"] == pytest.approx(best["valid"], rel=EPSILON)
        training = record["config"]["training"]
        start, warm_up = training.get("anneal_from"), training.get("warm_up") or 1
        shares = [min(1.0, row["update"] / warm_up) for row in rows]
        reached, lr = math.inf, rows[0]["lr"] / shares[0]
        for (row, after), share in zip(pairwise(rows), shares[1:], strict=True):
            gained = cost(row["valid"]) < reached
            reached = min(reached, cost(row["valid"]))
            lowered = not gained if start is None else row["epoch"] >= start
            lr = lr / training["annealing"] if lowered and row["update"] >= warm_up else lr
            assert after["lr"] == pytest.approx(lr * share, rel=EPSILON), folder.name


def test_updates_are_windows_of_all_streams():
    for folder, record, _ in committed():
        config, progress = record["config"], record["progress"]
        size, sequences = config["training"]["batch_size"], record["data"].get("sequences")
        if sequences:  # each is whole in one batch
            windows = -(-sequences["train"] // size)
        else:
            windows = -(-(record["data"]["tokens"]["train"] // size) // config["approximation"]["window"])
        assert progress["epochs"] == pytest.approx(progress["updates"] / windows, abs=1e-4), folder.name


def test_k_of_epsilon_follows_from_rate_radius_and_decoder():
    checked = 0
    for name, _, told in certificates():
        if told.get("gap_rate") is None or " / " in told["norm"] or None in told["gap"].values():
            continue  # a squared error has no bounded change

        def gap(k, told=told):
            return told["decoder"] * told["radius"] * told["gap_rate"] ** k

        for k, nats in told["gap"].items():
            if gap(int(k)) < 1e-300:  # of so small a number few digits are left
                continue
            if "quadratic" in told["norm"]:  # a simpler norm stands beside it, and the lesser bound counts
                assert nats <= gap(int(k)) * (1 + 1e-8), (name, k)
                continue
            assert nats >= gap(int(k)), (name, k)
            assert nats == pytest.approx(gap(int(k)), rel=1e-8)
        for epsilon, k in told["context"].items():
            # Beside a quadratic norm a simpler one may prove more at a short k, but these k are long.
            assert gap(k) <= float(epsilon) < gap(k - 1) * (1 + 1e-8), (name, epsilon)
            checked += 1
    assert checked > 50


def test_a_certified_rate_is_at_most_the_limit_that_was_imposed():
    limited = 0
    for name, record, told in certificates():
        limit = record["config"]["stability"]["constraint"].get("limit")
        if limit is not None:
            assert told["rate"] <= limit * (1 + 1e-6), name
            limited += 1
        assert told["rate"] < 1
    assert limited > 10


def test_the_norms_of_stable_models_meet_the_condition_as_stated():
    stated = 0
    for folder, record, _ in committed():
        if record["config"]["stability"]["name"] != "stable":
            continue
        constraint = record["config"]["stability"]["constraint"]
        for norms in record["model"]["norms"]:
            if record["config"]["model"]["name"] == "rnn":
                assert norms["‖W‖_2"] <= constraint["limit"], folder.name
                continue
            if record["config"]["model"]["name"] == "gru":  # whose condition is the certificate itself
                assert record["certificate"]["rate"] <= constraint["limit"] * (1 + 1e-6), folder.name
                continue
            reach = norms["‖W_f‖_∞"] + norms["‖U_f‖_∞"] * constraint["input_bound"] + norms["max b_f"]
            left = 1 / (1 + math.exp(reach))  # 1 - f_∞
            assert max(norms["‖W_i‖_∞"], norms["‖W_o‖_∞"]) < left, folder.name
            assert norms["‖W_z‖_∞"] <= left / 4, folder.name
            assert norms["‖W_f‖_∞"] < left**2, folder.name
            stated += 1
    assert stated > 5


def test_no_committed_model_lies_below_the_optimum_by_more_than_luck():
    compared = 0
    for folder, record, _ in committed():
        optimal = record["metrics"].get("optimal")
        if not optimal or "test" not in record["metrics"]:
            continue
        feedforward = record["config"]["approximation"]["name"] == "feedforward"
        assert optimal["context"] == (record["config"]["truncation"]["k"] if feedforward else None), folder.name
        if feedforward and optimal["context"] <= len(optimal["test_by_context"]):
            assert optimal["test"] == pytest.approx(optimal["test_by_context"][optimal["context"] - 1], rel=1e-12)
        # The whole past's optimum is the law itself, so E[q / p] = 1 for any model q that has not seen the text: it is
        # ahead by c nats in all with a probability of at most exp(-c) (Markov).
        test = record["metrics"]["test"]
        assert test["count"] * math.log(optimal["test"] / test["value"]) < 20, folder.name
        compared += 1
    assert compared > 10


def test_no_measured_truncation_gap_is_above_its_proven_bound():
    proven = 0
    for path in sorted(RECORDS.rglob("truncation.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        record = json.loads((path.parent / "record.json").read_text(encoding="utf-8"))
        metric = METRICS[record["data"].get("metric", "perplexity")].of_loss
        whole = found["recurrent"]["total"] / found["recurrent"]["count"]
        for value, change in zip(found["value"], found["loss_change"], strict=True):
            assert value == pytest.approx(metric.of_mean(whole + change), rel=1e-9), path.parent.name
        if found["certified"]["nats"]:
            for nats, bound in zip(found["largest"], found["certified"]["nats"], strict=True):
                assert nats <= bound + 1e-5, path.parent.name  # of float32
            proven += 1
    assert proven > 5
