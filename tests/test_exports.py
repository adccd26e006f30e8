"""What leaves the report for a paper: figures as SVG and PNG, tables as CSV and LaTeX."""

import csv
import io
import itertools
import math
import re
from xml.etree import ElementTree

import altair as alt
import numpy as np
import pytest
from jsonschema import ValidationError
from PIL import Image
from scipy import stats
from test_report import certified, curve, only_section, plain_table, record, swept

from stablernn.report.compact import compact
from stablernn.report.draw import apart, drawings, export, printed
from stablernn.report.figure import MOST, Axis, Curve, Drawing, Figure, evenly
from stablernn.report.formats import comma_separated
from stablernn.report.latex import escape, latex
from stablernn.report.sections.perplexity import perplexity_by_k, perplexity_table
from stablernn.report.sections.price import price_table
from stablernn.report.sections.sweep import sweep_table
from stablernn.report.sections.truncation import state_gap, truncation_curves
from stablernn.report.slices import slices
from stablernn.report.table import Column, Table, text

RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁽⁾ᵏ₀₁₂₃₄₅₆₇₈₉ᵣ\u200c\u200d"


def rows_of(shown: Table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(comma_separated(shown))))


# ---- what the page shows lies beside it


def test_every_figure_and_table_of_the_page_is_exported_and_linked(report):
    text = (report / "report" / "index.html").read_text(encoding="utf-8")
    linked = re.findall(r'href="(\.\./(?:figures|tables)/[^"]+)"', text)
    files = 2 * (text.count("<figure ") + text.count("<table>\n"))  # of what is drawn; the study's table has none
    assert len(linked) == len(set(linked)) >= files - 2
    assert all((report / "report" / link).is_file() for link in linked)
    there = {f"../{folder}/{path.name}" for folder in ("figures", "tables") for path in (report / folder).iterdir()}
    assert there - set(linked) == {link for link in there if link.endswith(".md")}


def test_records_of_two_texts_of_one_name_have_files_of_their_own():
    whole = record(90.0, profile="quick")
    cut = record(91.0, profile="quick", dataset__max_tokens={"train": None, "valid": None, "test": 20})
    cut.data = {**cut.data, "fingerprint": "g"}
    again = record(92.0, profile="quick")
    again.data = {**again.data, "fingerprint": "another"}
    assert [part.name for part in slices([whole, cut])] == ["wikitext2_quick", "wikitext2_quick_20"]
    assert {part.name for part in slices([whole, again])} == {"wikitext2_quick_f", "wikitext2_quick_another"}


# ---- figures


def some_runs():
    return [
        (record(90.0, stability=s), curve([100.0, 91.0, 90.0], certified=bound, optimal=[50.0, 45.0, 44.0]))
        for s, bound in (("unstable", None), ("stable", [1.5, 1e-3, 1e-7]))
    ]


def test_a_print_is_the_same_twice_and_says_nothing_of_when_or_where(tmp_path):
    figure = state_gap(some_runs())
    assert figure is not None
    for folder in ("a", "b"):
        export(figure, tmp_path / folder)
    for name in ("state_gap.svg", "state_gap.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    with Image.open(tmp_path / "a" / "state_gap.png") as picture:
        assert picture.info.keys() <= {"transparency"}
        assert picture.width > 400


def test_a_print_names_every_curve_and_needs_no_sign_that_its_typeface_lacks(tmp_path):
    figure = state_gap(some_runs())
    assert figure is not None
    svg, _ = export(figure, tmp_path)
    drawn = svg.read_text(encoding="utf-8")
    for entry in figure.curves:
        assert f">{entry.label}<" in drawn
    written = "".join(re.findall(r">([^<>]+)<", drawn))
    assert not set(written) & set(RAISED)
    assert re.search(r'‖h − h</tspan><tspan dy="-0\.50em" font-size="70%">\(k\)</tspan>', drawn)
    assert re.search(r'10</tspan><tspan dy="-0\.50em" font-size="70%">−\d</tspan>', drawn)
    assert "Liberation Sans" in drawn
    assert 'fill="white"' in drawn.split("</svg>")[0]


def test_page_and_print_draw_the_same_curves():
    figure = truncation_curves(some_runs())
    assert figure is not None
    (alone,) = drawings(figure, "c")
    layers = printed(figure)["concat"][0]["layer"]
    assert len(re.findall(r'<path d="M[^"]+" stroke="var\(--', alone)) >= len(figure.curves)
    # What no model but the text decides is drawn once, though two runs tell it.
    (panel,) = figure.panels
    assert sum(point["curve"] == "best possible with k words" for point in panel.points) == 3
    assert {layer["mark"]["text"] for layer in layers if layer["mark"]["type"] == "text"} == {
        curve.label for curve in figure.curves
    }


def test_what_is_drawn_fits_the_schema_of_the_renderer():
    figure = truncation_curves(some_runs())
    assert figure is not None
    specification = printed(figure)
    assert alt.Chart.from_dict(specification, validate=True).to_dict(validate=True)
    specification["concat"][0]["layer"][0]["mark"] = "no mark"
    with pytest.raises(ValidationError):
        alt.Chart.from_dict(specification, validate=True)


def test_the_page_leaves_out_points_that_a_line_passes_anyway_and_no_peak_between_them():
    drawing = Drawing()
    points = [(1 + at / 1000, 100.0 if at == 500 else 1.0) for at in range(1001)]
    drawing.line("m", Curve("c", "sky"), points, ("one",))
    figure = drawing.figure("n", "t", "c", Axis("x"), Axis("y"))
    assert figure is not None
    (alone,) = drawings(figure, "c")
    (line,) = re.findall(r' d="M([^"]+)" stroke="var\(--sky\)"', alone)
    start, _, steps = line.partition("l")
    moves = [tuple(map(float, point.split(","))) for point in (start, *steps.split())]
    places = list(itertools.accumulate(moves, lambda place, move: (place[0] + move[0], place[1] + move[1])))
    heights = [y for _, y in places]
    assert len(places) == 5
    assert heights.count(min(heights)) == 1
    assert min(heights) < 10 < 100 < heights[0] == pytest.approx(heights[-1])
    assert max(x for x, _ in places) == places[-1][0]


def test_a_drawing_of_the_page_has_its_colours_of_the_style_sheet_and_whole_numbers_in_its_words():
    drawing = Drawing()
    drawing.line("limit 0.999", Curve("cascade 0.999", "sky"), [(0.031, 2.0), (0.25, 3.0)], ("one",))
    figure = drawing.figure("n", "t", "c", Axis("x"), Axis("y"))
    assert figure is not None
    (alone,) = drawings(figure, "c")
    assert not re.search(r'"(?:#3F9CD4|white)"', alone)
    assert ">limit 0.999<" in alone
    assert ">cascade 0.999<" in alone
    assert len(alone) < len(str(printed(figure))) * 4


def test_lines_of_a_curve_are_their_mean_in_a_band_as_far_as_all_go():
    drawing = Drawing()
    drawing.line("p", Curve("a", "ink"), [(1, 2.0), (2, 3.0)], ("one",))
    drawing.line("p", Curve("a", "ink"), [(1, 8.0)], ("two",))
    drawing.point("p", Curve("b", "sky"), 1, 5.0, ("one", "two"), low=4.0, high=6.0)
    for powers, mean in ((False, 5.0), (True, 4.0)):
        figure = drawing.figure("n", "t", "c", Axis("x"), Axis("y", powers=powers))
        assert figure is not None
        both, alone = figure.panels[0].points
        assert (both["x"], round(both["y"], 9), both["least"], both["most"]) == (1, mean, 2.0, 8.0)
        assert both["runs"] == "one two"
        assert (alone["y"], alone["low"], alone["high"]) == (5.0, 4.0, 6.0)
        assert figure.runs == ["one", "two"]


def test_a_curve_has_the_interval_of_its_change_where_that_is_known():
    (entry, result), blocks = some_runs()[0], 30

    def banded():
        figure = truncation_curves([(entry, result)])
        assert figure is not None
        return [point for point in figure.panels[0].points if "least" in point]

    assert banded() == []
    result["error"] = {"blocks": blocks, "loss_change": [0.1, 0.01, 0.0]}
    points = banded()
    quantile = stats.t.ppf(0.975, blocks - 1)
    assert [point["x"] for point in points] == [1, 2]
    for point, error in zip(points, (0.1, 0.01), strict=True):
        assert math.log(point["most"] / point["y"]) == pytest.approx(quantile * error, rel=1e-3)
        assert math.log(point["y"] / point["least"]) == pytest.approx(quantile * error, rel=1e-3)


def limits(figure: Figure) -> list[list[list[float]]]:
    first = [panel["layer"][0]["encoding"] for panel in printed(figure)["concat"]]
    return [[encoding[axis]["scale"]["domain"] for axis in "xy"] for encoding in first]


def test_panels_have_lower_limits_of_their_own_where_their_axis_says_so():
    drawing = Drawing()
    for panel, most in (("short", 18), ("long", 99)):
        drawing.line(panel, Curve("c", "ink"), [(0, 1.0), (most, 0.1)], ("one",))
    figure = drawing.figure("n", "t", "c", Axis("x", logarithmic=False, most=99, own=True), Axis("y"))
    assert figure is not None
    (short, low), (long, high) = limits(figure)
    assert short[1] < 20 < 99 < long[1]
    assert low == high


def test_panels_have_the_same_limits_and_no_more_than_six_curves():
    drawing = Drawing()
    for n in range(MOST + 2):
        drawing.line("many", Curve(f"curve {n}", "ink"), [(1, 1.0 + n), (2, 2.0 + n)], ("one",))
    drawing.line("far", Curve("curve 0", "ink"), [(50, 700.0), (60, 800.0)], ("one",))
    figure = drawing.figure("n", "t", "c", Axis("x"), Axis("y"))
    assert figure is not None
    assert [len(figure.curves_of(panel)) for panel in figure.panels] == [MOST, 1]
    assert "curve 6, curve 7" in figure.caption
    scales = limits(figure)
    assert scales[0] == scales[1]
    assert scales[0][1][0] < 1
    assert scales[0][1][1] > 800
    assert evenly(range(9)) == [0, 2, 3, 5, 6, 8]
    assert evenly([1, 2]) == [1, 2]


@pytest.mark.parametrize("places", [[5.0, 5.0, 5.0], [0.0, 98.0, 99.0, 100.0], [1.0, 50.0], []])
def test_labels_of_curves_stand_in_order_a_line_apart_and_within_the_panel(places):
    moved = apart(places, 100)
    assert all(second - first >= 11 for first, second in itertools.pairwise(moved))
    assert all(0 <= place <= 100 for place in moved)
    assert apart([1.0, 50.0], 100) == [1.0, 50.0]


def test_what_axes_cannot_show_is_no_figure_and_no_entry_of_the_legend():
    drawing = Drawing()
    drawing.line("p", Curve("a", "ink"), [(1, 0.0), (2, -1.0)], ("one",))
    assert drawing.figure("n", "t", "c", Axis("x"), Axis("y")) is None
    drawing.line("q", Curve("b", "ink"), [(0, 1.0), (2, 1.0)], ("one",))
    figure = drawing.figure("n", "t", "c", Axis("x"), Axis("y"))
    assert figure is not None
    assert [(panel.title, len(panel.points)) for panel in figure.panels] == [("q", 1)]
    assert [entry.label for entry in figure.curves] == ["b"]
    linear = drawing.figure("n", "t", "c", Axis("x", logarithmic=False), Axis("y", logarithmic=False))
    assert linear is not None
    assert [len(panel.points) for panel in linear.panels] == [2, 2]


def test_several_seeds_are_a_mean_with_a_bar():
    records = [record(90.0, seed=0), record(92.0, seed=1), record(80.0, stability="stable")]
    assert perplexity_by_k(only_section(records)) is None  # one k is no curve
    section = only_section([*records, record(99.0, truncation__k=5)])
    figure = perplexity_by_k(section)
    assert figure is not None
    (mean,), (alone,) = (
        [point for point in figure.panels[0].points if (point["curve"], point["x"]) == (curve, 35)]
        for curve in ("unstable, recurrent", "stable, recurrent")
    )
    assert (mean["y"], round(mean["low"], 3), round(mean["high"], 3)) == (91.0, 89.586, 92.414)
    assert mean["runs"].split() == sorted(entry.id for entry in records if "stable" not in entry.id)
    assert "low" not in alone


# ---- tables


def test_a_csv_has_a_number_a_cell_and_names_the_runs_of_each():
    records = [record(value, seed=seed) for seed, value in enumerate((90.0, 92.0, 91.0, None))]
    records += [record(value, seed=seed, stability="stable") for seed, value in enumerate((95.0, 97.5, 96.0))]
    unstable, stable = rows_of(perplexity_table(only_section(records)))
    assert (unstable["test"], unstable["test: deviation"]) == ("91.0", "1.0")
    assert (unstable["seeds"], unstable["seeds: of"], unstable["loss"]) == ("3", "4", "")
    assert stable["loss"] == "+0.055"
    assert float(stable["loss: to the ends of the one-sided 95 % intervals"]) > 0
    own = next(value for name, value in stable.items() if name.startswith("test, seeds") and name.endswith(": runs"))
    assert own.split() == sorted(entry.id for entry in records[4:])
    assert sorted(stable["runs"].split()) == sorted(entry.id for entry in records)
    assert unstable["runs"].split() == sorted(entry.id for entry in records[:4])
    assert (stable["parameters"], stable["published"]) == ("1234", "95.1")


def test_a_csv_has_no_dash_for_nothing_no_column_twice_and_keeps_words():
    shown = sweep_table(only_section(swept({5: 100.0, 35: 90.0}, {5: None})))
    assert shown is not None
    first, second = rows_of(shown)
    assert len(first) == len(next(csv.reader(io.StringIO(comma_separated(shown)))))
    assert (first["unstable recurrent"], first["unstable feed-forward"]) == ("100.0", "diverged")
    assert second["unstable feed-forward"] == first["unstable difference %"] == ""
    columns = [text("a"), text("b"), Column("c", ",.7g")]
    words = Table("t", columns, [["x, y", None, 1234567], ["1,5", "", 2.5e-07]], [])
    assert words.lines == [["x, y", "–", "1,234,567"], ["1,5", "", "2.5e-07"]]
    assert [list(line.values()) for line in rows_of(words)] == [["x, y", "", "1234567"], ["1,5", "", "2.5e-07"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "50 % & more_of #1 {x} ~ ^ \\ $",
            r"50~\% \& more\_of \#1 \{x\} \textasciitilde{} \textasciicircum{} \textbackslash{} \$",
        ),
        ("90.5 ± 0.7 (2)", r"90.5 $\pm$ 0.7 (2)"),
        ("‖W‖₂ ≤ λ", r"$\|W\|_{2}$ $\leq$ $\lambda$"),
        ("‖D W D⁻¹‖₂", r"$\|D W D^{-1}\|_{2}$"),
        ("‖W_k - W_65‖_F", r"$\|W_{k} - W_{65}\|_{F}$"),
        ("‖h - h⁽ᵏ⁾‖₂", r"$\|h - h^{(k)}\|_{2}$"),
        ("λ_16", r"$\lambda_{16}$"),
        ("‖W‖₂ ≤ ‖W*‖₂", r"$\|W\|_{2}$ $\leq$ $\|W^{*}\|_{2}$"),
        ("‖a & 5% #b‖", r"$\|a \& 5\% \#b\|$"),
        ("W_initial", r"$W_{\mathrm{initial}}$"),
        ("‖∂ loss / ∂ x‖₂", r"$\|\partial \mathrm{loss} / \partial x\|_{2}$"),
        ("1e-07 to 2.5e+03", r"$10^{-7}$ to 2.5$\cdot$$10^{3}$"),
        ("lstm_as_coded", r"lstm\_as\_coded"),
        ("profile `quick`", "profile quick"),
        ("> 10⁷ – é", r"$>$ $10^{7}$ -- e"),
    ],
)
def test_text_becomes_latex(text, expected):
    assert escape(text) == expected


def sound(tex: str) -> None:
    """LaTeX that a run of LaTeX would take: ASCII, balanced, the same number of cells in every line."""
    assert tex.isascii()
    plain = re.sub(r"\\[\\{}$%&#_]", "", tex)
    assert plain.count("{") == plain.count("}")
    assert plain.count("$") % 2 == 0
    assert not re.search(r"(?<!\\)[%#]", tex)
    outside = re.sub(r"\$[^$]*\$", "", plain.replace("\\label{tab:", "{"))
    assert "_" not in outside
    assert "^" not in outside
    assert [tex.count(f"\\begin{{{name}}}") - tex.count(f"\\end{{{name}}}") for name in ("table", "tabular")] == [0, 0]
    (columns,) = re.findall(r"\\begin\{tabular\}\{([lr]+)\}", tex)
    lines = re.search(r"\\toprule\n(.*?)\\bottomrule", tex, flags=re.DOTALL)
    assert lines is not None
    cells = [re.sub(r"\\&", "", line).count("&") + 1 for line in lines[1].splitlines() if line.endswith(r"\\")]
    assert len(cells) >= 2
    assert set(cells) == {len(columns)}


def test_every_latex_table_is_sound(report):
    tables = list((report / "tables").glob("*.tex"))
    assert len(tables) >= 5
    for path in tables:
        sound(path.read_text(encoding="utf-8"))
        assert f"\\label{{tab:{path.stem.replace('_', '-')}}}" in path.read_text(encoding="utf-8")


def test_a_latex_table_tells_title_notes_and_remarks():
    found = [certified(record(100.0), None, None), certified(record(101.0, stability="lstm_spectral"), 0.9, 20)]
    shown = price_table(only_section([entry for entry, _ in found]), found)
    assert shown is not None
    text = latex(shown)
    sound(text)
    assert r"\caption{What stability costs on WikiText-2, profile paper.}" in text
    assert r"$\pm$~\%" in text
    assert "certified rate of contraction" in text.split(r"\end{tabular}")[1]
    assert "because" in latex(plain_table(["a"], [["b"]], ["note"], ["because"]))


def test_a_drawing_of_the_page_joins_what_is_alike_and_loses_no_line():
    figure = truncation_curves(some_runs())
    assert figure is not None
    (alone,) = drawings(figure, "c")
    tree = ElementTree.fromstring(alone)
    assert not [group for group in tree.iter("g") if not group.attrib]
    clips = [clip.get("id") for clip in tree.iter("clipPath")]
    assert set(clips) == set(re.findall(r"url\(#([^)]+)\)", alone))
    assert len(clips) == len({ElementTree.tostring(clip[0]) for clip in tree.iter("clipPath")})
    grids = [path.get("d") for path in tree.iter("path") if path.get("stroke") == "var(--grid)"]
    assert len(grids) == 2  # one path for each direction, of a line for each number
    assert all(grid.count("M") > 1 for grid in grids if grid is not None)
    labels = {"".join(text.itertext()) for text in tree.iter("text")}
    assert {curve.label for curve in figure.curves} <= labels


def test_a_compact_line_passes_all_points_of_the_whole_and_keeps_a_spike():
    generator = np.random.default_rng(0)
    wanders = np.cumsum(generator.normal(size=(200, 2)), axis=0).round(1)
    flat = np.stack([np.arange(300) / 2, np.where(np.arange(300) == 150, 40.0, 7.0)], axis=1)
    for points, most in ((wanders, 200), (flat, 5)):
        drawn = compact('<path d="M' + "L".join(f"{x},{y}" for x, y in points.tolist()) + '"/>')
        start, steps = re.findall(r"M([^l]+)l([^\"]+)", drawn)[0]
        moves = np.array([[float(at) for at in place.split(",")] for place in (start, *steps.split(" "))])
        kept = np.cumsum(moves, axis=0)
        assert len(kept) <= most
        assert np.allclose(kept[[0, -1]], points[[0, -1]])
        gaps = [min(from_segment(point, *ends) for ends in itertools.pairwise(kept)) for point in points]
        assert max(gaps) < 0.3, "pixels"


def from_segment(point: np.ndarray, start: np.ndarray, end: np.ndarray) -> float:
    """The distance, by trying places of the segment."""
    places = start + np.linspace(0, 1, 400)[:, None] * (end - start)
    return float(np.linalg.norm(places - point, axis=1).min())
