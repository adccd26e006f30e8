"""The figures typed in results/NOTES.md against the committed tables, which are made of the committed records alone.

NOTES are edited by hand: a line here per figure, its phrase with {} where the figure stands.
"""

import csv
import json
import re

import pytest
from conftest import ROOT

NOTES = " ".join((ROOT / "results" / "NOTES.md").read_text(encoding="utf-8").split())


def cell(table: str, column: str, **line: str) -> float:
    """A number of results/tables/<table>.csv, from the only line whose columns begin with the words of ``line``."""
    with (ROOT / "results" / "tables" / f"{table}.csv").open(encoding="utf-8") as file:
        begins = {key: re.compile(rf"{re.escape(value)}(?![\w.])") for key, value in line.items()}
        (found,) = [row for row in csv.DictReader(file) if all(begins[key].match(row[key]) for key in line)]
    return float(found[column].replace(",", ""))


def price(constraint: str) -> float:
    return cell("price_of_stability_wikitext2_cpu", "± %", model="LSTM", constraint=constraint)


def table_1(column: str, constraint: str, model: str = "LSTM") -> float:
    line = {"model": model, "constraint": constraint, "approximation": "recurrent"}
    return cell("perplexity_wikitext2_cpu", column, **line)


def cost(model: str, constraint: str) -> float:
    return table_1("difference %", constraint, model)


def silent(stability: str) -> float:
    return cell("recurrence_wikitext2_cpu", "change %", model="LSTM", stability=stability)


def unstable(table: str, column: str, **line: str) -> float:
    return cell(table, column, model="LSTM", stability="unstable", **line)


def difference(constraint: str) -> float:
    return table_1("difference to unstable", constraint)


def interval(constraint: str) -> float:
    return table_1("difference to unstable: half of the 95 % interval", constraint)


def context(stability: str) -> float:
    return cell("truncation_wikitext2_cpu", "k(0.01)", model="LSTM", stability=stability)


def loss_at(k: int, stability: str) -> float:
    whole, cut = (cell("truncation_wikitext2_cpu", c, model="LSTM", stability=stability) for c in ("all", f"k={k}"))
    return 100 * (cut / whole - 1)


def loss_at_35(stability: str) -> float:
    return loss_at(35, stability)


def feedforward(model: str, stability: str) -> float:
    """What training feed-forward changes of the test perplexity of seed 0, in per cent."""
    scored = {}
    records = ROOT / "results" / "records" / "cpu" / "perplexity"
    for file in records.glob(f"wikitext2-{model}-{stability}-*-s0-*/record.json"):
        found = json.loads(file.read_text(encoding="utf-8"))
        scored[found["config"]["approximation"]["name"]] = found["metrics"]["test"]["perplexity"]
    return 100 * (scored["feedforward"] / scored["recurrent"] - 1)


def apart(model: str, ks: tuple[int, ...]) -> float:
    """The largest difference, in per cent, of training both ways."""
    kinds = ("unstable difference %", "stable difference %")
    sweep = "truncation_sweep_wikitext2_cpu_20000"
    return max(abs(cell(sweep, kind, model=model, k=str(k))) for kind in kinds for k in ks)


def gradient(profile: str) -> float:
    return unstable(f"gradient_horizon_wikitext2_{profile}", "slope", weights="end")


SEEDS = [f"unstable, seed {seed}" for seed in range(3)]


def lease(constraint: str, column: str = "test", model: str = "LSTM") -> float:
    return cell("perplexity_wikitext2_lease", column, model=model, constraint=constraint)


# Phrase, how the figure is written, and what it is now.
FIGURES = [
    ("comes to a test perplexity of {} (three", ".1f", lambda: lease("unstable")),
    ("under the condition as stated to {} (three", ".1f", lambda: lease("stable")),
    ("(three seeds): {} % more, where", ".1f", lambda: lease("stable", "difference %")),
    ("(W = 0, the control) {}, W_o", ".1f", lambda: lease("gated linear")),
    ("118.0, W_o alone {}, cascade", ".1f", lambda: lease("W_o alone")),
    ("W_o alone 113.3, cascade {}. So", ".1f", lambda: lease("cascade")),
    ("had no time to finish: {} without", ".1f", lambda: lease("unstable", model="RNN")),
    ("without a constraint and {} with", ".1f", lambda: lease("stable", model="RNN")),
    ("better than without ({} %", ".1f", lambda: -cost("RNN", "stable")),
    ("W_o alone is {} % above the unstable model", ".1f", lambda: cost("LSTM", "W_o alone")),
    ("above the unstable model, the cascade {} %", ".1f", lambda: cost("LSTM", "cascade")),
    ("three seeds do not decide ({} ±", "+.1f", lambda: difference("W_o alone")),
    ("three seeds do not decide (+7.4 ± {} and", ".1f", lambda: interval("W_o alone")),
    ("± 9.4 and {} ±", "+.1f", lambda: difference("cascade")),
    ("and +5.2 ± {})", ".1f", lambda: interval("cascade")),
    ("no better (one seed, {} % worse)", ".1f", lambda: price("cascade (groups=4)")),
    ("without its recurrent matrices it is {} % worse", ".1f", lambda: silent("cascade")),
    ("coupled gates with a limit of 0.999, is {} % above with one", ".0f", lambda: price("coupled")),
    ("they are far apart ({} and", ".0f", lambda: cost("LSTM", "stable")),
    ("they are far apart (24 and {} % above", ".0f", lambda: cost("LSTM", "as coded")),
    ("of the LSTM as stated changes by {} %", "+.1f", lambda: silent("stable")),
    ("that of the one as coded by {} %", "+.1f", lambda: silent("as coded, seed 0")),
    ("of the unstable one by {} to", "+.1f", lambda: min(map(silent, SEEDS))),
    ("of the unstable one by +51.0 to {} %", "+.1f", lambda: max(map(silent, SEEDS))),
    ("matrices are dropped (λ = {})", ".3f",
     lambda: cell("recurrence_wikitext2_cpu", "λ at W = 0", model="LSTM", stability="as coded, seed 0")),
    ("After a tenth of an epoch it forgets within {} words", ".0f",
     lambda: unstable("truncation_wikitext2_quick_50000", "k(0.01)")),
    ("its three seeds need {}, 97", ".0f", lambda: context(SEEDS[0])),
    ("its three seeds need 100, {} and more than 100", ".0f", lambda: context(SEEDS[1])),
    ("they still lose {}, 4 and 5 %", ".0f", lambda: loss_at_35(SEEDS[0])),
    ("they still lose 4, {} and 5 %", ".0f", lambda: loss_at_35(SEEDS[1])),
    ("they still lose 4, 4 and {} %", ".0f", lambda: loss_at_35(SEEDS[2])),
    ("as coded in 2018, with {} words", ".0f", lambda: context("as coded")),
    ("as coded in 2018, with 72 words and {} %", ".0f", lambda: loss_at_35("as coded")),
    ("exponent is {} nats a word", ".3f",
     lambda: unstable("contraction_wikitext2_cpu", "Lyapunov exponent", weights="best")),
    ("(within {} % up to k = 25, one seed)", ".0f", lambda: apart("LSTM", (5, 10, 15, 25))),
    ("is where the recurrent one is ({} %)", "+.1f", lambda: feedforward("lstm", "stable")),
    ("The unstable LSTM is {} % behind", ".1f", lambda: feedforward("lstm", "unstable")),
    ("the RNNs are no worse ({} % unstable", "+.1f", lambda: feedforward("rnn", "unstable")),
    ("no worse (-3.0 % unstable, {} % stable)", "+.1f", lambda: feedforward("rnn", "stable")),
    ("half of the {} % that cutting", ".0f", lambda: loss_at(10, SEEDS[0])),
    ("all LSTM pairs up to k = 25 lie within {} %", ".0f", lambda: apart("LSTM", (5, 10, 15, 25))),
    ("differ by up to {} %", ".0f", lambda: apart("RNN", (5, 10, 15, 25, 35, 50, 65))),
    ("At `cpu` it stays there: {} nats a word", ".2f", lambda: gradient("cpu")),
]  # fmt: skip


@pytest.mark.parametrize(("phrase", "written", "value"), FIGURES, ids=[phrase for phrase, *_ in FIGURES])
def test_a_figure_typed_in_the_notes_is_that_of_the_tables(phrase, written, value):
    before, _, after = phrase.partition("{}")
    found = re.search(rf"{re.escape(before)}([-+]?[\d.]+){re.escape(after)}", NOTES)
    assert found, f"results/NOTES.md does not say {phrase!r} any more: change or remove it here"
    assert found.group(1) == format(value(), written), "the tables say otherwise"
