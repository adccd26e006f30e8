"""Table 1: a line a cell, what each cell may say of itself, and where a reader sees it first."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from test_report import only_section, record
from test_verdicts import in_blocks

from stablernn.config.compose import compose
from stablernn.report import formats, write
from stablernn.report.evidence import gather
from stablernn.report.formats import comma_separated, rich_table
from stablernn.report.latex import latex
from stablernn.report.replicates import Replicates
from stablernn.report.sections.perplexity import CUT, introduction, learning_curves, perplexity_table
from stablernn.report.sections.price import price_curves, price_table, prices
from stablernn.report.sections.study import study_table
from stablernn.report.sections.tasks import task_cells, tasks_table
from stablernn.report.slices import leading, slices
from stablernn.report.statistics import compare
from stablernn.report.write import write_report
from stablernn.utils.console import console

ROOT = Path(__file__).parents[1]
CONSTRAINTS = {
    "rnn": {"unstable": {}, "stable": {"limit": 0.999}},
    "lstm": {
        "unstable": {},
        "stable": {},
        "lstm_as_coded": {},
        "lstm_comparison": {"limit": 0.99},
        "lstm_rowwise": {"limit": 0.99},
    },
}
KINDS = ("unstable", "stable")
CERTIFIED = {"stable": (0.9, 50), "lstm_comparison": (0.95, 90), "lstm_rowwise": (0.97, 200)}


def test_no_condition_is_judged_at_the_limit_of_another_or_without_its_baseline():
    limits = {}
    for path in sorted((ROOT / "conf" / "stability").glob("lstm_*.yaml")):
        config = compose("train", ["model=lstm", f"stability={path.stem}"])
        if "limit" in config.stability.constraint:
            limits[path.stem] = config.stability.constraint.limit
    assert set(limits) >= {"lstm_comparison", "lstm_rowwise", "lstm_gated_linear", "lstm_output_gate", "lstm_cascade"}
    assert set(limits.values()) == {0.999}
    named = 0
    for path in [*(ROOT / "conf" / "experiment").glob("*.yaml"), ROOT / "conf" / "reproduce" / "plan.yaml"]:
        for line in path.read_text(encoding="utf-8").splitlines():
            conditions = limits.keys() & set(re.findall(r"lstm_\w+", line))
            assert not conditions or "lstm_gated_linear" in conditions, f"{path.name}: {line}"
            named += bool(conditions)
    assert named >= 5


def cell(model, stability, values, **changes):
    """Runs of seeds 0, 1, ... of a cell of Table 1 with certificates; None diverges, a word leaves the seed out."""
    limit = CONSTRAINTS[model][stability]
    made = []
    for seed, value in enumerate(values):
        if isinstance(value, str):
            continue
        kind = {"model": model, "stability": stability, "seed": seed, "stability__constraint": limit}
        entry = replace(record(value, **kind, **changes), id=f"{model}-{stability}-s{seed}-{len(changes)}")
        if value is not None and stability in CERTIFIED:
            rate, k = CERTIFIED[stability]
            entry.certificate = {"certified": True, "rate": rate + seed / 1000, "context": {"0.01": k + seed}}
        elif value is not None:
            entry.certificate = {"certified": False, "rate": None, "reason": f"a gate of seed {seed} is open"}
        made.append(entry)
    return made


def table_1(**changes):
    """Three seeds a cell."""
    values = {"unstable": (90.0, 92.0, 94.0), "stable": (93.0, 95.1, 97.2)}
    return [
        entry
        for model, constraints in CONSTRAINTS.items()
        for stability in constraints
        for entry in cell(model, stability, values.get(stability, (91.0, 93.1, 95.2)), **changes)
    ]


def told(records):
    """The table's lines by constraint (of the LSTM where both have it), each by head."""
    shown = perplexity_table(only_section(records))
    return {line[1]: dict(zip(shown.heads, line, strict=True)) for line in shown.lines}, shown


# ---- the table


def test_every_cell_is_a_line_in_the_order_of_the_study():
    shown = perplexity_table(only_section(table_1()[::-1]))
    assert [line[:2] for line in shown.lines] == [
        ["RNN", "unstable"],
        ["RNN", "stable (‖W‖₂ ≤ 0.999)"],
        ["LSTM", "unstable"],
        ["LSTM", "stable (as stated)"],
        ["LSTM", "as coded"],
        ["LSTM", "scalar at 0.99"],
        ["LSTM", "row-wise at 0.99"],
    ]
    assert shown.remarks == ["LSTM, as coded, recurrent, k = 35: nothing is proven: a gate of seed 0 is open"]


def test_a_cell_is_mean_and_deviation_over_seeds_and_a_loss_by_the_rule():
    records = [in_blocks(entry, 0.01) for entry in table_1()]
    lines, shown = told(records)
    stated = lines["stable (as stated)"]
    assert (stated["test"], stated["seeds"]) == ("95.1 ± 2.1", "3")
    unstable, stable = (Replicates.of(r for r in records if r.id.startswith(f"lstm-{name}")).runs for name in KINDS)
    expected = compare(unstable, stable)
    assert expected is not None
    assert stated["loss"] == expected.format_difference()
    assert stated["%"] == f"{100 * math.expm1(expected.mean):+.1f}"
    assert stated["verdict"].startswith("undecided (3 of 10 seeds; ")
    assert [lines["unstable"][head] for head in ("loss", "%", "verdict")] == ["–", "–", "–"]
    notes = " ".join(shown.notes)
    assert "margin 0.02 nats" in notes
    assert "mean ± standard deviation over seeds" in notes


def test_one_seed_has_neither_spread_nor_interval_nor_verdict():
    lines, _ = told([*cell("lstm", "unstable", [90.04]), *cell("lstm", "stable", [93.0])])
    stated = lines["stable (as stated)"]
    assert (lines["unstable"]["test"], stated["loss"], stated["%"]) == ("90.0", "+0.032", "+3.3")
    assert stated.get("verdict", "–") == "–"


def test_diverged_and_missing_seeds_are_said():
    records = cell("lstm", "unstable", [90.0, 92.0, 94.0]) + cell("lstm", "stable", [91.0, None, 95.2])
    records += cell("lstm", "lstm_comparison", [None, None, None]) + cell("lstm", "lstm_rowwise", ["none", 93.0])
    lines, shown = told(records)
    assert (lines["stable (as stated)"]["test"], lines["stable (as stated)"]["seeds"]) == ("93.1 ± 3.0", "2 of 3")
    assert lines["stable (as stated)"]["loss"] == "+0.012"
    scalar = lines["scalar at 0.99"]
    assert [scalar[head] for head in ("test", "seeds", "loss", "λ", "k(0.01)")] == [
        "diverged",
        "0 of 3",
        "–",
        "–",
        "–",
    ]
    assert (lines["row-wise at 0.99"]["seeds"], lines["row-wise at 0.99"]["loss"]) == ("1 of 3", "+0.011")
    assert shown.remarks == [
        "LSTM, stable (as stated), recurrent, k = 35: 1 run diverged",
        "LSTM, scalar at 0.99, recurrent, k = 35: 3 runs diverged",
    ]


def test_seeds_of_another_approximation_are_not_missed():
    feedforward = [
        replace(entry, id=f"{entry.id}-f")
        for kind in KINDS
        for entry in cell("lstm", kind, [99.0], approximation="feedforward", truncation__k=10)
    ]
    shown = perplexity_table(only_section([*table_1(), *feedforward]))
    assert [line[shown.heads.index("seeds")] for line in shown.lines if line[2] == "feed-forward"] == ["1", "1"]


def test_what_is_proven_is_that_of_the_worst_seed_and_nothing_unless_of_all():
    records = table_1()
    lines, _ = told(records)
    assert (lines["stable (as stated)"]["λ"], lines["stable (as stated)"]["k(0.01)"]) == ("0.902", "52")
    assert (lines["as coded"]["λ"], lines["as coded"]["k(0.01)"]) == ("no", "–")
    worst = next(entry for entry in records if entry.id.startswith("lstm-lstm_rowwise-s1"))
    worst.certificate = {"certified": False, "rate": 1.2, "reason": "too large"}
    lines, shown = told(records)
    assert (lines["row-wise at 0.99"]["λ"], lines["row-wise at 0.99"]["k(0.01)"]) == ("2/3", "–")
    assert "LSTM, row-wise at 0.99, recurrent, k = 35: nothing is proven of 1 of 3" in shown.remarks


def test_both_candidates_for_the_published_stable_lstm_have_its_value_beside_them_and_a_note():
    lines, shown = told(table_1())
    published = {name: line["published"] for name, line in lines.items()}
    assert [published[name] for name in ("unstable", "stable (as stated)", "as coded")] == ["92.3", "95.1", "95.1"]
    assert published["row-wise at 0.99"] == "–"
    assert published["stable (‖W‖₂ ≤ 0.999)"] == "143.5"
    assert any("which of them was published is not known" in note for note in shown.notes)


def test_a_number_leads_to_its_runs_and_a_difference_to_those_of_both_models():
    shown = perplexity_table(only_section(table_1()))
    behind = dict(zip(shown.heads, (value.runs for value in shown.values[3]), strict=True))
    assert {name.rpartition("-s")[0] for name in behind["test"]} == {"lstm-stable"}
    both = {name.rpartition("-s")[0] for name in behind["loss"]}
    assert both == {"lstm-stable", "lstm-unstable"}


def test_runs_under_other_limits_are_not_averaged():
    near = [replace(entry, id=f"{entry.id}-near") for entry in cell("rnn", "stable", [80.0])]
    near[0].config["stability"]["constraint"] = {"limit": 0.5}
    lines, _ = told([*cell("rnn", "unstable", [90.0]), *cell("rnn", "stable", [91.0]), *near])
    assert lines["stable (‖W‖₂ ≤ 0.5)"]["test"] == "80.0"
    assert lines["stable (‖W‖₂ ≤ 0.999)"]["test"] == "91.0"


def test_a_narrow_terminal_gets_what_matters_and_says_what_is_left_out(monkeypatch):
    shown = perplexity_table(only_section(table_1(profile="cpu")))
    heads = {}
    for width in (80, 260):
        monkeypatch.setattr(formats, "console", Console(width=width, file=console.file))
        out = rich_table(shown)
        heads[width] = [str(column.header) for column in out.columns]
        assert ("in the CSV file" in str(out.caption)) == (width == 80)
    assert heads[260] == shown.heads
    assert heads[80][:5] == ["model", "constraint", "approximation", "k", "test"]
    assert "loss" in heads[80]
    assert "parameters" not in heads[80]


def test_a_text_column_gets_what_fits_and_the_csv_file_all():
    shown = perplexity_table(only_section(table_1()))
    text = latex(shown)
    head = text.split("\\toprule\n")[1].splitlines()[0]
    assert all(name in head for name in ("constraint", "test", "loss", "published"))
    assert "parameters" not in head
    columns = text.split("begin{tabular}{")[1].split("}")[0]
    assert len(columns) == head.count("&") + 1 == text.split("\\midrule\n")[1].splitlines()[0].count("&") + 1
    assert "parameters, epochs" in text
    assert "in the CSV file" in text
    short = replace(
        shown,
        rows=[["a"] * len(shown.heads)],
        columns=[replace(column, head=column.head[:3]) for column in shown.columns],
    )
    assert "in the CSV file" not in latex(short)
    assert "parameters" in comma_separated(shown)


# ---- where it stands


def test_the_best_profile_of_wikitext_2_comes_first_and_each_corpus_once():
    records = [
        record(1.0, data="embedded", optimal=0.9),
        record(2.0, profile="quick"),
        replace(record(3.0, profile="cpu"), id="cpu"),
        replace(record(4.0, profile="quick", data="embedded", optimal=0.9), id="e"),
    ]
    found = [(part.profile, part.data) for part in leading(slices(records))]
    assert found == [("cpu", "wikitext2"), ("paper", "embedded")]
    assert leading([]) == []


def test_abridged_keeps_the_longest_k_of_each_model_and_approximation():
    kinds = [("rnn", "recurrent", 10), ("rnn", "recurrent", 35), ("rnn", "feedforward", 5), ("lstm", "recurrent", 10)]
    records = [record(9.0, model=m, approximation=a, truncation__k=k) for m, a, k in kinds]
    kept = [(r.config["model"]["name"], r.config["truncation"]["k"]) for r in only_section(records).abridged().records]
    assert sorted(kept) == [("lstm", 10), ("rnn", 5), ("rnn", 35)]


def test_the_sentence_above_says_how_far_from_the_study_the_runs_are():
    paper, cpu, other = (only_section([record(90.0, **k)]) for k in ({}, {"profile": "cpu"}, {"data": "ptb"}))
    assert "the study’s protocol" in introduction(paper)
    assert all("not the study’s protocol" in introduction(data) for data in (cpu, other))


def write_records(folder, records):
    for entry in records:
        entry.write(folder / "records" / entry.config["profile"]["name"] / "perplexity" / entry.id)


def test_the_readme_begins_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "export", lambda *_: [])
    others = [record(1.0, profile="quick"), record(2.0, profile="quick", data="embedded", optimal=1.5)]
    others.append(record(77.7, profile="quick", data="embedded", optimal=1.5, truncation__k=5))
    write_records(tmp_path, [*table_1(profile="cpu"), *(replace(r, id=f"other{n}") for n, r in enumerate(others))])
    readme = tmp_path / "README.md"
    readme.write_text(f"{write._BEGIN}\n{write._END}\n")
    write_report(tmp_path / "records", tmp_path, readme)
    text = readme.read_text(encoding="utf-8")
    assert "`cpu`" in text
    assert "WikiText-2, profile `quick`" not in text  # the same corpus at a lesser profile is in the tables' folder
    assert "embedded corpus (hidden Markov model), profile `quick`" in text
    assert "`quick`" in (tmp_path / "tables" / "perplexity.md").read_text(encoding="utf-8")


# ---- learning curves

SIGNS = {"gain": "▲", "no loss": "✓", "loss": "▼", "undecided": "?"}  # as the note below the table has them
NAMED = {"stable": "stable", "as coded": "as coded", "W = 0": "W = 0", "W_o alone": "W_o", "cascade": "cascade"}


@pytest.fixture(scope="module")
def committed():
    """What the committed records and measurements say."""
    return gather(ROOT / "results" / "records", ROOT / "results")


def test_the_studys_table_marks_each_cell_with_its_verdict(committed):
    table = study_table(committed.tasks)
    tasks = tasks_table(committed.tasks)
    place = tasks.heads.index("verdict")
    verdicts = {(row[0], row[1], row[2]): row[place] for row in tasks.lines if row[3] == "recurrent"}
    marked = 0
    for row in table.lines:
        task = re.sub(r", \S+ \(", " (", row[0])
        for column, cell in zip(table.heads, row, strict=True):
            said = [
                verdict
                for (at, model, name), verdict in verdicts.items()
                if (at, model) == (task, row[1]) and column in NAMED and name.startswith(NAMED[column])
            ]
            if said:
                mark = next((mark for mark in SIGNS.values() if f" {mark}" in cell), "")
                assert mark == next((mark for name, mark in SIGNS.items() if said[-1].startswith(name)), ""), column
                marked += bool(mark)
    assert marked > 8


def test_learning_curves_are_a_mean_with_the_range_as_far_as_all_seeds_went():
    records = cell("lstm", "unstable", [90.0, 92.0]) + cell("lstm", "stable", [93.0])
    rows = {0: {1.0: 300.0, 2.0: 120.0, 3.0: 110.0}, 1: {1.0: 320.0, 2.0: 124.0}}
    for entry in records[:2]:
        values = rows[entry.config["seed"]]
        entry.history[:] = [{"epoch": epoch, "valid": value} for epoch, value in values.items()]
        entry.history.append({"epoch": 2.5, "train": 1.0})
    figure = learning_curves(only_section(records))
    assert figure is not None
    band = [point for point in figure.panels[0].points if point["curve"] == "unstable"]
    assert [(p["x"], p["y"], p["least"], p["most"]) for p in band] == [(1, 310, 300, 320), (2, 122, 120, 124)]
    assert not any("least" in point for point in figure.panels[0].points if point["curve"] == "stable")
    assert {name for point in band for name in point["runs"].split()} == {entry.id for entry in records[:2]}
    assert figure.panels[0].y.most == CUT * 122  # the first steps take no room
    assert [curve.label for curve in figure.curves] == ["unstable", "stable"]


def test_every_constraint_has_a_curve_and_a_colour_of_its_own():
    figure = learning_curves(only_section(table_1()))
    assert figure is not None
    assert [panel.title for panel in figure.panels] == ["RNN", "LSTM"]
    assert [curve.label for curve in figure.curves] == [
        "unstable",
        "stable",
        "as coded",
        "scalar at 0.99",
        "row-wise at 0.99",
    ]
    assert len({curve.colour for curve in figure.curves}) == 5


# ---- the price beside other studies


def test_the_price_is_told_among_runs_of_the_same_settings():
    table1 = table_1(profile="cpu")
    other = [
        replace(entry, id=f"{entry.id}-lr")
        for name in ("unstable", "lstm_rowwise")
        for entry in cell("lstm", name, [50.0], profile="cpu", optimizer__lr=1.0)
    ]
    section = only_section([*table1, *other])
    found = {(p.name, p.constraint): len(p.cell.runs) for p in prices(section)}
    assert found[("LSTM (optimizer.lr=20.0)", "unstable")] == 3
    assert found[("LSTM (optimizer.lr=1.0)", "unstable")] == 1
    shown = price_table(section, [])
    assert shown is not None
    changes = {(line[0], line[1]): line[5] for line in shown.lines}
    assert changes["LSTM (optimizer.lr=1.0)", "row-wise"] == "0.0"
    assert changes["LSTM (optimizer.lr=20.0)", "row-wise"] == "+1.2"


def test_a_diverged_run_takes_no_certificate_from_the_others():
    section = only_section(cell("lstm", "unstable", [90.0]) + cell("lstm", "lstm_rowwise", [91.0, None]))
    assert [price.rate for price in prices(section)] == [None, 0.97]


def test_a_price_is_told_over_all_seeds_of_both():
    section = only_section(cell("lstm", "unstable", [90.0, 60.0]) + cell("lstm", "lstm_rowwise", [99.0]))
    shown = price_table(section, [])
    assert [line[shown.heads.index("± %")] for line in shown.lines] == ["–", "+34.7"]


def test_constraints_of_one_limit_and_other_options_are_told_apart():
    cascades = [
        replace(
            record(value, model="lstm", stability="lstm_cascade", stability__constraint={"limit": 0.999, "groups": n}),
            id=f"cascade-{n}",
            certificate={"certified": True, "rate": 0.999},
        )
        for n, value in ((2, 91.0), (4, 95.0))
    ]
    section = only_section([*cell("lstm", "unstable", [90.0]), *cascades])
    shown = price_table(section, [])
    assert [line[1] for line in shown.lines] == ["unstable", "cascade (groups=2)", "cascade (groups=4)"]
    assert [len(price.cell.runs) for price in prices(section)] == [1, 1, 1]
    curves = price_curves(section).curves
    assert [curve.label for curve in curves] == ["unstable", "cascade (groups=2)", "cascade (groups=4)"]
    assert len({curve.colour for curve in curves}) == 3


def test_the_price_on_music_is_a_loss_in_nats_and_other_limits_stand_in_no_other_table():
    def music(loss, stability, seed, limit=None, experiment="table1_jsb"):
        entry = record(1.0, data="jsb", stability=stability, seed=seed, profile="cpu")
        entry.data |= {"metric": "NLL", "sequences": {"test": 10}}
        entry.metrics["test"] = {"total": 1000 * loss, "count": 1000, "value": loss}
        if limit:
            entry.config["stability"] |= {"constraint": {"_target_": "a.B", "limit": limit}}
        return replace(entry, id=f"{experiment}-{stability}-{limit}-{seed}", experiment=experiment)

    cells = [("unstable", 8.3, None), ("lstm_cascade", 8.2, 0.999)]
    table_1 = [music(loss + seed / 100, name, seed, limit) for name, loss, limit in cells for seed in range(3)]
    others = [music(8.6 + seed / 100, "lstm_cascade", seed, 0.9, "price_of_stability") for seed in range(3)]
    assert price_table(only_section(table_1), []) is None
    shown = price_table(only_section([*table_1, *others]), [])
    assert [(line[2], line[5]) for line in shown.lines] == [("–", "–"), ("0.9", "+0.300"), ("0.999", "-0.100")]
    assert [cell.replicates.first.id for cell in task_cells(only_section([*table_1, *others]))] == [
        "table1_jsb-unstable-None-0",
        "table1_jsb-lstm_cascade-0.999-0",
    ]


# ---- what is committed


def rebuilt(results: Path, committed, monkeypatch, figures: bool) -> Path:
    """Tables, and figures if asked, from the committed records and measurements alone."""
    results.mkdir()
    (results / "text").symlink_to(ROOT / "results" / "text")
    monkeypatch.setattr(write, "gather", lambda *_: committed)
    readme = results / "README.md"
    readme.write_bytes((ROOT / "README.md").read_bytes())
    if not figures:
        monkeypatch.setattr(write, "export", lambda *_: [])
    monkeypatch.setattr(write, "page", lambda *_: "")
    write_report(ROOT / "results" / "records", results, readme)
    assert (results / "NOTES.md").read_text(encoding="utf-8") == (ROOT / "results/NOTES.md").read_text(encoding="utf-8")
    return results


def same(made: Path, committed: Path) -> None:
    # The Markdown of a single search is written by scripts/winners.py.
    names = {path.name for path in committed.iterdir() if not path.match("search_*.md")}
    assert {path.name for path in made.iterdir()} == names, "left over or missing: `make report`"
    differing = [name for name in sorted(names) if (made / name).read_bytes() != (committed / name).read_bytes()]
    assert differing == [], "`make report` makes them anew"


def test_the_committed_tables_are_what_the_committed_records_make(tmp_path, committed, monkeypatch):
    made = rebuilt(tmp_path / "results", committed, monkeypatch, figures=False)
    same(made / "tables", ROOT / "results" / "tables")
    assert (made / "README.md").read_text(encoding="utf-8") == (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_committed_figures_are_what_the_committed_records_make(tmp_path, committed, monkeypatch):
    made = rebuilt(tmp_path / "results", committed, monkeypatch, figures=True)
    same(made / "figures", ROOT / "results" / "figures")


def test_a_certified_condition_stands_beside_the_model_without_recurrent_matrices_at_its_own_limit():
    def limited(values, stability, limit):
        options = {"model": "lstm", "stability": stability, "stability__constraint": {"limit": limit}}
        runs = [record(value, seed=seed, **options) for seed, value in enumerate(values)]
        return [replace(entry, id=f"{entry.id}-{limit}") for entry in runs]

    section = only_section(
        [
            *cell("lstm", "unstable", [90.0]),
            *limited([100.0], "lstm_gated_linear", 0.9),
            *limited([64.0, 100.0], "lstm_gated_linear", 0.99),
            *limited([99.0], "lstm_cascade", 0.9),
            *limited([88.0], "lstm_cascade", 0.99),
            *limited([70.0], "lstm_output_gate", 0.999),
            *limited([90.0, 91.0, 92.0], "lstm_gated_linear", 0.8),
            *limited([80.0, 81.0, 82.0], "lstm_cascade", 0.8),
        ]
    )
    shown = price_table(section, [])
    worth = {(line[1], line[2]): line[shown.heads.index("W = 0, ± %")] for line in shown.lines}
    assert worth["cascade", "0.9"] == "-1.0"
    assert worth["cascade", "0.99"] == "+10.0"  # over all seeds: log 80 is the mean
    assert worth["W_o alone", "0.999"] == worth["W = 0", "0.9"] == worth["unstable", "–"] == "–"
    assert any("(-11.0 % to +10.0 %); recurrence is a gain in 1 of 3 conditions" in note for note in shown.notes)
    verdicts = {(line[1], line[2]): line[shown.heads.index("verdict to W = 0")] for line in shown.lines}
    assert verdicts["cascade", "0.8"].startswith("gain")
    assert verdicts["cascade", "0.9"] == verdicts["W = 0", "0.8"] == "–", "one seed, and the control itself"
    judged = {(line[1], line[2]): line[shown.heads.index("verdict")] for line in shown.lines}
    assert judged["cascade", "0.8"].startswith("too few seeds (unstable: 1 of 10")
