"""The figures typed in results/NOTES.md and README.md against the committed tables, made of committed records alone.

Both are edited by hand: a line here per figure, its phrase with {} where the figure stands.
"""

import csv
import json
import re

import pytest
from conftest import ROOT

from stablernn.records.neutral import neutral
from stablernn.report.names import PUBLISHED
from stablernn.tasks.published import PUBLISHED as CORPORA

NOTES, README = (
    " ".join((ROOT / name).read_text(encoding="utf-8").split()) for name in ("results/NOTES.md", "README.md")
)


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


def both_ways(column: str) -> float:
    return cell("truncation_sweep_jsb_cpu", column, model="LSTM", k="5")


def silent(stability: str) -> float:
    return cell("recurrence_wikitext2_cpu", "change %", model="LSTM", stability=stability)


def unstable(table: str, column: str, **line: str) -> float:
    return cell(table, column, model="LSTM", stability="unstable", **line)


def difference(constraint: str) -> float:
    return table_1("loss", constraint)


def interval(constraint: str) -> float:
    return table_1("loss: to the ends of the one-sided 95 % intervals", constraint)


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
        found = neutral(json.loads(file.read_text(encoding="utf-8")))
        scored[found["config"]["approximation"]["name"]] = found["metrics"]["test"]["value"]
    return 100 * (scored["feedforward"] / scored["recurrent"] - 1)


def apart(model: str, ks: tuple[int, ...]) -> float:
    """The largest difference, in per cent, of training both ways."""
    kinds = ("unstable difference %", "stable difference %")
    sweep = "truncation_sweep_wikitext2_cpu_20000"
    return max(abs(cell(sweep, kind, model=model, k=str(k))) for kind in kinds for k in ks)


def gradient(profile: str) -> float:
    return unstable(f"gradient_horizon_wikitext2_{profile}", "slope", weights="end")


def proven(constraint: str, model: str = "LSTM") -> float:
    return table_1("k(0.01)", constraint, model)


def published_cost(model: str) -> float:
    """What the study publishes of the stable model against the unstable one, in per cent."""
    return 100 * (PUBLISHED[model, "stable"] / PUBLISHED[model, "unstable"] - 1)


def embedded_costs() -> list[float]:
    """What the constraint costs recurrent RNNs on the embedded corpus, in per cent, for every k."""
    line = {"model": "RNN", "constraint": "stable", "approximation": "recurrent"}
    return [cell("perplexity_embedded_quick", "difference %", k=k, **line) for k in ("10", "35")]


def spread(stability: str) -> float:
    """The largest difference of test perplexity between seeds of the recurrent LSTM at cpu."""
    files = (ROOT / "results/records/cpu/perplexity").glob(f"wikitext2-lstm-{stability}-recurrent-k35-*/record.json")
    records = [neutral(json.loads(file.read_text(encoding="utf-8"))) for file in files]
    limits = [record["config"]["stability"]["constraint"].get("limit") for record in records]
    most = max(limits, key=limits.count)  # the others are single runs under another one
    found = [record["metrics"]["test"]["value"] for record, limit in zip(records, limits, strict=True) if limit == most]
    assert len(found) == 3
    return max(found) - min(found)


CONTROL = CORPORA["wikitext2"].control[245569]
SEEDS = [f"unstable, seed {seed}" for seed in range(3)]


def lease(constraint: str, column: str = "test", model: str = "LSTM") -> float:
    return cell("perplexity_wikitext2_lease", column, model=model, constraint=constraint)


def music(constraint: str, model: str = "LSTM", column: str = "test") -> float:
    line = {"model": model, "constraint": constraint, "approximation": "recurrent"}
    return cell("tasks", column, task="JSB chorales (cpu", **line)


def music_control(name: str) -> float:
    return cell("tasks", "test", task="JSB chorales (cpu", model=name)


def music_k(column: str, model: str = "LSTM", stability: str = "stable") -> float:
    return cell("truncation_jsb_cpu", column, model=model, stability=stability)


def slots(constraint: str, column: str = "test") -> float:
    return cell("tasks", column, task="ATIS slots (cpu", model="LSTM", constraint=constraint)


def slots_k(stability: str) -> float:
    return cell("truncation_atis_cpu", "k(0.01)", model="LSTM", stability=stability)


def on_text(stability: str, column: str, model: str = "LSTM") -> float:
    return cell("certificates_on_text_jsb_cpu", column, model=model, stability=stability)


def exponent(model: str, weights: str) -> float:
    """Mean over seeds of the largest Lyapunov exponent on music, without a constraint."""
    values = [
        cell(
            "contraction_jsb_cpu", "Lyapunov exponent", model=model, stability=f"unstable, seed {seed}", weights=weights
        )
        for seed in range(3)
    ]
    return sum(values) / 3


# Phrase, how the figure is written, and what it is now.
FIGURES = [
    ("0.01 nats by its last {} frames (50 for any", ".0f", lambda: on_text("stable", "targets, max")),
    ("frames ({} for any input; 14", ".0f", lambda: on_text("stable", "k(0.01), all texts")),
    ("for any input; {} are measured), and of the LSTM without", ".0f", lambda: on_text("stable", "measured")),
    ("recurrent matrices by {} (16,322", ".0f", lambda: on_text("gated linear", "targets, max")),
    ("by 68 ({}; 52)", ",.0f", lambda: on_text("gated linear", "k(0.01), all texts")),
    ("(16,322; {}). With", ".0f", lambda: on_text("gated linear", "measured")),
    ("the state forgets within {} frames", ".0f", lambda: on_text("stable", "measured", "RNN")),
    ("exponents are {} and -0.002 nats", ".3f", lambda: exponent("LSTM", "best epoch")),
    ("are 0.003 and {} nats", ".3f", lambda: exponent("GRU", "best epoch")),
    ("the exponents are {} and -0.44", ".2f", lambda: exponent("LSTM", "before training")),
    ("are -0.45 and {}.", ".2f", lambda: exponent("GRU", "before training")),
    ("truncated to {} frames the LSTM", ".0f", lambda: music_k("k(0.01)", stability="unstable")),
    ("has a test loss of {} nats a frame", ".2f", lambda: music("unstable")),
    ("(published by peers: {})", ".2f", lambda: music("unstable", column="peer")),
    ("and {} under the condition as stated: a gain", ".2f", lambda: music("stable")),
    ("to be determined by its last {} frames", ".0f", lambda: music("stable", column="k(0.01)")),
    ("and measured by the last {}.", ".0f", lambda: music_k("k(0.01)")),
    ("(W = 0, the control: {}): what", ".2f", lambda: music("gated linear")),
    ("The unstable tanh-RNN ({}; peers", ".2f", lambda: music("unstable", "RNN")),
    ("tanh-RNN (8.73; peers {})", ".2f", lambda: music("unstable", "RNN", "peer")),
    ("sees the last frame alone ({}),", ".2f", lambda: music_control("network on the last frame")),
    ("gain of the stable one ({}) decides", ".2f", lambda: music("stable", "RNN")),
    ("the GRU has {} without", ".2f", lambda: music("unstable", "GRU")),
    ("(peers: {}), 8.36", ".2f", lambda: music("unstable", "GRU", "peer")),
    ("8.43), {} without recurrent matrices", ".2f", lambda: music("gated linear", "GRU")),
    ("(W = 0) and {} under", ".2f", lambda: music("stable", "GRU")),
    ("Its proof is long ({} frames)", ",.0f", lambda: music("stable", "GRU", "k(0.01)")),
    ("frames), {} are measured", ".0f", lambda: music_k("k(0.01)", "GRU", "stable")),
    ("unconstrained GRU needs {}.", ".0f", lambda: music_k("k(0.01)", "GRU", "unstable")),
    ("the LSTM has an F1 of {} without", ".1f", lambda: slots("unstable")),
    ("and {} with recurrence in the output gate alone", ".1f", lambda: slots("W_o alone")),
    ("({} in the cascade), certified", ".2f", lambda: slots("cascade")),
    ("(W = 0) it has {}, and against that", ".1f", lambda: slots("gated linear")),
    ("the gain is {} points (cascade", ".1f", lambda: -slots("W_o alone", "loss to W = 0")),
    ("(cascade: {}): here are", ".2f", lambda: -slots("cascade", "loss to W = 0")),
    ("What was coded in 2018 costs {} points", ".1f", lambda: slots("as coded", "loss")),
    ("on music is another ({} nats", ".2f", lambda: -music("stable", "GRU", "loss to W = 0")),
    ("costs the LSTM {} points of F1", ".1f", lambda: slots("stable", "loss")),
    ("points of F1 ({} against", ".1f", lambda: slots("stable")),
    ("by the last {} words; 5", ".0f", lambda: slots("stable", "k(0.01)")),
    ("words; {} are measured", ".0f", lambda: slots_k("stable")),
    ("measured, and {} of the unstable one", ".0f", lambda: slots_k("unstable")),
    ("comes to a test perplexity of {} (three", ".1f", lambda: lease("unstable")),
    ("under the condition as stated to {} (three", ".1f", lambda: lease("stable")),
    ("(three seeds): {} % more, where", ".1f", lambda: lease("stable", "difference %")),
    ("(W = 0, the control) {}, W_o", ".1f", lambda: lease("gated linear")),
    ("118.0, W_o alone {}, cascade", ".1f", lambda: lease("W_o alone")),
    ("W_o alone 113.3, cascade {}. So", ".1f", lambda: lease("cascade")),
    ("had no time to finish: {} without", ".1f", lambda: lease("unstable", model="RNN")),
    ("without a constraint and {} with", ".1f", lambda: lease("stable", model="RNN")),
    ("better than without ({} %", ".1f", lambda: -cost("RNN", "stable")),
    ("With k = 5 frames it has {} nats", ".2f", lambda: both_ways("stable feed-forward")),
    ("where the recurrent one has {} (", ".2f", lambda: both_ways("stable recurrent")),
    ("29 frames, loses: {} against", ".2f", lambda: both_ways("unstable feed-forward")),
    ("loses: 8.43 against {}.", ".2f", lambda: both_ways("unstable recurrent")),
    ("condition comes to {}, the row-wise", ".1f", lambda: table_1("test", "scalar 0.999")),
    ("the row-wise one to {}, no", ".1f", lambda: table_1("test", "row-wise 0.999")),
    ("matrices (W = 0) to {}, W_o", ".1f", lambda: table_1("test", "gated linear 0.999")),
    ("244.5, W_o alone to {} and", ".1f", lambda: table_1("test", "W_o alone")),
    ("and the cascade to {}: neither", ".1f", lambda: table_1("test", "cascade")),
    ("W_o alone is {} % above the unstable model", ".1f", lambda: cost("LSTM", "W_o alone")),
    ("above the unstable model, the cascade {} %", ".1f", lambda: cost("LSTM", "cascade")),
    ("intervals ({} ±", "+.3f", lambda: difference("W_o alone")),
    ("intervals (+0.032 ± {} and", ".3f", lambda: interval("W_o alone")),
    ("± 0.023 and {} ±", "+.3f", lambda: difference("cascade")),
    ("and +0.023 ± {} nats)", ".3f", lambda: interval("cascade")),
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
    ("with ‖W‖₂ ≤ 0.999 needs {} words by its certificate", ",.0f", lambda: proven("stable", "RNN")),
    ("words by its certificate, the cascade {}. No", ",.0f", lambda: proven("cascade")),
    ("same text (Kneser-Ney: {})", ".0f", lambda: CONTROL[2]),
    ("Kneser-Ney trigram is ({})", ".0f", lambda: CONTROL[3]),
    ("(three seeds; published {}, after", ".1f", lambda: PUBLISHED["lstm", "unstable"]),
    ("51.5 % more, where the study publishes {} %", ".0f", lambda: published_cost("lstm")),
    ("(4.3 %; published {} %)", ".0f", lambda: -published_cost("rnn")),
    ("one seed, it costs {} to", ".0f", lambda: min(embedded_costs())),
    ("one seed, it costs 1 to {} %", ".0f", lambda: max(embedded_costs())),
    ("LSTM at `cpu` lie up to {} apart", ".0f", lambda: spread("unstable")),
    ("those of the scalar condition {}.", ".0f", lambda: spread("lstm_comparison")),
    ("(24 and 10 % above the unstable model at `cpu`), so it matters which of them {} belongs", ".1f",
     lambda: PUBLISHED["lstm", "stable"]),
]  # fmt: skip
IN_README = [
    ("a loss of {} nats a frame", ".2f", lambda: music("stable")),
    ("without a constraint {}, and is proven", ".2f", lambda: music("unstable")),
    ("determined by its last {} frames", ".0f", lambda: music("stable", column="k(0.01)")),
    ("frames ({} measured, in", ".0f", lambda: music_k("k(0.01)")),
    ("does as well ({}): what helps", ".2f", lambda: music("gated linear")),
    ("condition costs {} points of F1", ".1f", lambda: slots("stable", "loss")),
    ("points of F1 ({} to", ".1f", lambda: slots("unstable")),
    (" to {}). One that leaves", ".1f", lambda: slots("stable")),
    ("as well, gains ({};", ".1f", lambda: slots("W_o alone")),
    ("the cascade {}), over", ".2f", lambda: slots("cascade")),
    ("recurrent matrices ({}) too;", ".1f", lambda: slots("gated linear")),
    ("what it does recurrent ({} against", ".2f", lambda: both_ways("stable feed-forward")),
    ("against {} nats, three seeds: no", ".2f", lambda: both_ways("stable recurrent")),
    ("the unstable one to {} against", ".2f", lambda: both_ways("unstable feed-forward")),
    ("against {}, a loss", ".2f", lambda: both_ways("unstable recurrent")),
    ("(RNN with ‖W‖₂ ≤ 0.999: {} words;", ",.0f", lambda: proven("stable", "RNN")),
    ("words; cascade: {}),", ",.0f", lambda: proven("cascade")),
    ("comes to a test perplexity of {}; under", ".0f", lambda: lease("unstable")),
    ("(published: {} %)", ".0f", lambda: published_cost("lstm")),
    ("any recurrent matrices loses ({});", ".0f", lambda: lease("gated linear")),
]
TYPED = [("results/NOTES.md", NOTES, *line) for line in FIGURES] + [("README.md", README, *line) for line in IN_README]


@pytest.mark.parametrize(
    ("name", "text", "phrase", "written", "value"), TYPED, ids=[phrase for _, _, phrase, *_ in TYPED]
)
def test_a_figure_typed_in_the_notes_is_that_of_the_tables(name, text, phrase, written, value):
    before, _, after = phrase.partition("{}")
    found = re.search(rf"{re.escape(before)}([-+]?[\d.,]*\d){re.escape(after)}", text)
    assert found, f"{name} does not say {phrase!r} any more: change or remove it here"
    assert found.group(1) == format(value(), written), "the tables say otherwise"


def test_what_the_readme_says_in_words_is_what_the_tables_say():
    assert 45 < lease("stable", "difference %") < 55, "half as much is added"
    assert 9 < lease("cascade", "difference %") < 11, "by cutting its loops it loses a tenth"
    assert lease("stable") > lease("gated linear"), "more than an LSTM without any recurrent matrices"
    assert 25 <= proven("stable") <= 35, "some thirty words"
    assert min(table_1("test", kind, "RNN") for kind in ("unstable", "stable")) > CONTROL[2], "worse than a bigram"
    assert max(table_1("loss", "stable", "RNN"), lease("stable", "loss", "RNN")) < 0, "better under its condition"
    assert lease("stable", model="RNN") > 0.95 * CONTROL[3], "hardly better than an n-gram"


def test_every_number_of_the_readmes_results_is_looked_at():
    """What stands there and is no result: a limit, a k, the device and how long it was had."""
    results = README[README.index("What came out") : README.index("## Three ways in")]
    for phrase, *_ in IN_README:
        results = re.sub(re.escape(phrase).replace(re.escape("{}"), r"[\d.,]*\d"), phrase, results)
    for setting in ("≤ 0.999", "k = 5", "(8 minutes of an H200", "in 2018", "of F1"):
        assert setting in results
        results = results.replace(setting, "")
    assert not re.findall(r".{20}\d.{20}", results)
