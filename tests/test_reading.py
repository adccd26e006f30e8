"""What a reader meets: names that are the same everywhere, notes on what is there, axes with labels that fit."""

import re

import pytest
from test_report import certified, curve, only_section, record

from stablernn.report.claims.groups import alike
from stablernn.report.curves import coloured
from stablernn.report.draw import printed, scaled
from stablernn.report.figure import Axis, Curve, Drawing, Level
from stablernn.report.labels import constraint_name, describe, describe_constraint
from stablernn.report.load import analyses_of, read_folder
from stablernn.report.names import CONSTRAINTS, MEANINGS, own_constraints
from stablernn.report.page import _typeset
from stablernn.report.sections.gradient_horizon import gradient_figures, panels
from stablernn.report.sections.linear_systems import truncated_descent
from stablernn.report.sections.perplexity import learning_curves, perplexity_table
from stablernn.report.sections.price import price_curves, price_table
from stablernn.report.sections.truncation import state_gap
from stablernn.report.sections.weight_distance import families
from stablernn.report.text import signed
from stablernn.utils.files import write_json


def limited(stability, limit=0.99, value=90.0, **changes):
    return record(value, stability=stability, stability__constraint={"limit": limit}, **changes)


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        (limited("lstm_comparison"), "scalar at 0.99"),
        (limited("rnn_spectral", 0.9), "‖W‖₂ ≤ 0.9"),
        (record(90.0, stability="lstm_as_coded"), "as coded"),
        (limited("somebodys_own", 0.5), "somebodys_own at 0.5"),
    ],
)
def test_an_analysis_calls_a_constraint_what_table_1_calls_it(entry, name):
    assert describe_constraint(entry) == constraint_name(entry, str(entry.config["stability"]["name"])) == name


def test_the_studys_constraint_has_one_name_for_both_models():
    both = [limited("stable", 0.999, model="rnn"), record(90.0, stability="stable")]
    assert [describe_constraint(entry) for entry in both] == ["stable at 0.999", "stable"]


def test_lines_that_would_be_alike_tell_their_seed():
    found = [(limited("lstm_output_gate", seed=seed), {}) for seed in (0, 1)] + [(record(90.0, seed=1), {})]
    assert describe(found) == [
        ("LSTM k=35", "W_o alone at 0.99, seed 0"),
        ("LSTM k=35", "W_o alone at 0.99, seed 1"),
        ("LSTM k=35", "unstable"),
    ]


def test_constraints_of_one_name_with_other_options_are_not_taken_for_seeds_of_one():
    def cascade(groups, seed=0):
        return record(90.0, seed=seed, stability="lstm_cascade", stability__constraint={"limit": 0.9, "groups": groups})

    found = [(cascade(2), {}), (cascade(2, seed=1), {}), (cascade(4), {})]
    both = [(model, f"cascade at 0.9 (groups={groups})") for model, groups in (("LSTM k=35", 2), ("LSTM k=35", 4))]
    assert describe(found[1:]) == both
    for group in (alike, panels, families):
        groups = group(found)
        groups = [runs for _, runs in (groups.items() if isinstance(groups, dict) else groups)]
        assert [len(runs) for runs in groups] == [2, 1], group
    assert len({colour for _, _, colour, _, _ in coloured(found)}) == 2
    tight = [(limited("stable", limit, model="rnn"), {}) for limit in (0.8, 0.999)]
    assert [name for name, _ in alike(tight)] == ["RNN stable at 0.8", "RNN stable at 0.999"]
    assert [name for name, _ in alike(tight[1:])] == ["RNN stable"]
    assert [len(runs) for runs in panels(tight).values()] == [1, 1]
    assert len({colour for _, _, colour, _, _ in coloured(tight)}) == 2


def test_a_constraint_has_one_colour_in_all_figures():
    entries = [
        record(100.0),
        record(101.0, stability="lstm_as_coded"),
        limited("lstm_rowwise"),
        limited("lstm_coupled"),
    ]
    for number, entry in enumerate(entries):
        entry.id = f"run-{number}"
        entry.certificate = {"certified": True, "rate": 1 - 0.1**number}
    section = only_section(entries)
    shown = [learning_curves(section), price_curves(section)]
    colours = {colour for _, _, colour, entry, _ in coloured([(entry, {}) for entry in entries])}
    assert len(colours) == len(entries)
    for figure in shown:
        assert figure is not None
        assert {curve.colour for curve in figure.curves} == colours


def test_a_bound_that_holds_of_any_two_states_is_not_drawn():
    entry = record(90.0, stability="stable")
    size = entry.config["model"]["hidden_size"]
    far, near = 2 * size**0.5 + 0.1, 2 * size**0.5 - 0.1
    measured = {"mean": [1.0, 0.5, 0.1], "largest": [2.0, 1.0, 0.5]}
    figure = state_gap([(entry, {"k": [1, 2, 3], "state": measured, "certified": {"state": [1e15, far, near]}})])
    assert figure is not None
    assert [(p["x"], p["y"]) for p in figure.panels[0].points if "bound" in p["curve"]] == [(3, near)]


def test_analyses_come_in_the_order_of_the_tables(tmp_path):
    entries = [
        record(90.0, model="rnn", truncation__k=10),
        record(90.0, model="rnn"),
        record(90.0),
        record(90.0, stability="stable"),
        limited("lstm_comparison", 0.99, seed=1),
        limited("lstm_comparison", 0.9999, seed=0),
        limited("lstm_output_gate"),
        record(90.0, approximation="feedforward"),
    ]
    for number, entry in enumerate(reversed(entries)):
        entry.id = f"run-{number}"
        entry.write(tmp_path / entry.id)
        write_json(tmp_path / entry.id / "truncation.json", curve([90.0]))
    assert [entry.id for entry, _ in analyses_of(read_folder(tmp_path), "truncation")] == [
        entry.id for entry in entries
    ]


def test_every_constraint_of_this_project_is_explained_where_it_is_shown_and_nowhere_else():
    assert {name for name in CONSTRAINTS if name.startswith("lstm_")} - {"lstm_as_coded"} <= MEANINGS.keys()
    assert own_constraints({"unstable", "stable", "lstm_as_coded"}) == ""
    found = [certified(record(100.0), None, None), certified(limited("lstm_rowwise"), 0.98, 9)]
    section = only_section([entry for entry, _ in found])
    priced = price_table(section, found)
    assert priced is not None
    for shown in (perplexity_table(section), priced):
        notes = " ".join(shown.notes)
        assert "conditions of this project, with their limit on λ: row-wise (the same unit by unit)" in notes
        assert not any(CONSTRAINTS[name] in notes for name in ("lstm_comparison", "lstm_cascade", "stable"))


def test_a_change_that_rounds_to_zero_has_no_sign():
    assert [signed(value) for value in (-0.06, -0.04, 0.0, 0.04, 0.06)] == ["-0.1", "0.0", "0.0", "0.0", "+0.1"]


def test_a_price_whose_run_was_not_analysed_tells_the_k_of_its_record():
    unstable, entry = certified(record(100.0), None, None)[0], limited("lstm_rowwise")
    entry.certificate = {"certified": True, "rate": 0.98, "context": {"0.01": 812, "0.001": 900}}
    shown = price_table(only_section([unstable, entry]), [])
    assert shown is not None
    assert shown.lines[1][shown.heads.index("k(0.01)")] == "812"


# ---- the page


def test_every_chapter_says_what_it_looks_at_and_leads_to_claims_that_exist(report):
    text = (report / "report" / "index.html").read_text(encoding="utf-8")
    chapters = text.split('<details class="chapter" id="')[1:-1]
    assert len(chapters) > 3
    for chapter in chapters:
        (about,) = re.findall(
            r'<summary><span class="title">.+</span> <span class="small">(.+)</span></summary>', chapter
        )
        assert len(about) > 20
        assert all(f'<details class="claim" id="{claim}">' in text for claim in re.findall(r'href="#(C\d)"', chapter))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(re.findall(r' id="([^"]+)"', text))


def test_an_index_stands_below_the_line():
    assert _typeset("W_o alone <1") == "W<sub>o</sub> alone &lt;1"
    assert _typeset("f_∞ < 1, lstm_as_coded") == "f<sub>∞</sub> &lt; 1, lstm_as_coded"


# ---- figures


def test_a_rule_is_labelled_like_a_point():
    drawing = Drawing()
    drawing.line("p", Curve("a", "ink"), [(1, 0.4), (9, 0.8)], ("one",))
    figure = drawing.figure("n", "t", "c", Axis("x"), Axis("y"), levels=[Level(1)])
    assert figure is not None
    assert 1 in printed(figure)["concat"][0]["layer"][0]["encoding"]["y"]["axis"]["values"]


@pytest.mark.parametrize("ends", [(0.0011, 0.5), (0.002, 0.6), (0.3, 50)])
def test_labels_of_an_axis_are_few_enough_to_stand_side_by_side(ends):
    values = scaled(Axis("x", powers=True), ends)["axis"].to_dict()["values"]
    assert 4 <= len(values) <= 6
    assert all(ends[0] <= value <= ends[1] for value in values)
    assert {10.0**n for n in range(-2, 2) if ends[0] <= 10.0**n <= ends[1]} <= set(values)


def test_gradients_of_all_models_are_drawn_to_the_same_distance():
    slopes = {"mean": -0.1, "geometric": -0.1}
    found = []
    for model, fall in (("rnn", 1e-3), ("lstm", 0.5)):
        stage = {"mean": [fall**i for i in range(11)], "fallen": 3, "slope": slopes, "error": slopes}
        result = {"options": {"horizon": 10}, "stages": dict.fromkeys(("initial", "best", "last"), stage)}
        found.append((record(90.0, model=model), result))
    (figure,) = gradient_figures(found)
    assert [max(point["x"] for point in panel.points) for panel in figure.panels] == [6, 10]
    least, most = zip(
        *(panel["layer"][0]["encoding"]["x"]["scale"]["domain"] for panel in printed(figure)["concat"]), strict=True
    )
    assert len(set(least)) == len(set(most)) == 1
    assert 10 < most[0] < 11


def test_a_bound_has_no_line_across_what_is_not_proven():
    options = {"kind": "matrix", "norm": 0.5, "seed": 0, "lengths": [2, 5, 10, 20]}
    proven = {"width": 1.0, "distance": [[0.1] * 4], "bound": [[0.5, 7.0, 0.2, 0.1]]}
    figure = truncated_descent({"a.json": {"options": options, "proven": proven}})
    assert figure is not None
    lines: dict[str, list[float]] = {}
    for point in figure.panels[0].points:
        if point["curve"].endswith("bound"):
            lines.setdefault(point["line"], []).append(point["x"])
    assert list(lines.values()) == [[2], [10, 20]]


def test_learning_curves_are_of_the_longest_k_alone():
    figure = learning_curves(only_section([record(90.0, truncation__k=k) for k in (5, 35)]))
    assert figure is not None
    assert {point["runs"] for point in figure.panels[0].points} == {"wikitext2-truncation__k35"}
    assert [curve.label for curve in figure.curves] == ["unstable"]
