"""A table holds numbers; every formatter writes the same of them. Every section and every claim is listed once."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_report import certified, only_section, record, swept

import stablernn.report
from stablernn.report import contents, formats
from stablernn.report.formats import comma_separated, markdown
from stablernn.report.sections.perplexity import perplexity_table
from stablernn.report.sections.price import price_table
from stablernn.report.sections.sweep import sweep_table
from stablernn.report.table import Column, Table, Value, decimals, key, text
from stablernn.utils.console import Terminal
from stablernn.utils.wording import counted

PACKAGE = Path(stablernn.report.__file__).parent


def tables():
    records = [record(90.0, seed=0), record(92.0, seed=1), record(None, seed=2), record(95.0, stability="stable")]
    priced = [certified(record(100.0), None, None), certified(record(101.0, stability="lstm_spectral"), 0.9, 20)]
    yield perplexity_table(only_section(records))
    yield price_table(only_section([entry for entry, _ in priced]), priced)
    yield sweep_table(only_section(swept({5: 100.0, 35: 90.0}, {5: 110.0})))


@pytest.mark.parametrize("table", list(tables()), ids=lambda table: table.title)
def test_what_a_number_column_holds_is_a_number_or_a_word_and_no_written_number(table):
    held = [value.value for row in table.values for value, column in zip(row, table.columns, strict=True)
            if column.kind != "text"]  # fmt: skip
    assert sum(isinstance(value, float | int) for value in held) > 3
    assert not [value for value in held if isinstance(value, str) and value[:1].isdigit()]


@given(
    st.floats(-1e6, 1e6),
    st.none() | st.floats(0, 1e6),
    st.none() | st.integers(2, 20),
    st.none() | st.integers(2, 20),
    st.sampled_from([".1f", "+.3f", ",.0f", ".3g", "g"]),
)
def test_every_part_of_a_value_is_in_the_table_and_in_a_cell_of_the_csv_file(number, spread, seeds, of, spec):
    value = Value(number, spread, seeds=seeds, of=of)
    table = Table("t", [text("a"), Column("b", spec)], [["x", value]], [])
    (_, written), (row,) = table.lines[0], csv.DictReader(io.StringIO(comma_separated(table)))
    assert f"| {written} |" in markdown(table)
    assert row["b"] == f"{number:{decimals(spec, spread)}}".replace(",", "")
    parts = {"b: deviation": spread, "b: seeds": seeds, "b: of": of}
    assert {name for name, part in parts.items() if part is not None} == row.keys() - {"a", "b"}
    assert all(row[name] in written.replace(",", "") for name, part in parts.items() if part is not None)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        *((1.234e-5, "0.000012"), (0.00094, "0.00094"), (0.00096, "0.0010"), (0.1667, "0.1667"), (0.0, "0.0000")),
        (1.2e-7, "1.2e-07"),
    ],
)
def test_a_score_near_zero_has_two_significant_digits(value, written):
    assert Value(value).write(Column("test", ".4f")) == written
    assert Value(value, spread=value / 2).write(Column("test", ".4f")).startswith(written)
    assert Value(value).write(Column("perplexity", ".1f")) == f"{value:.1f}"


def shown_at(width, table, monkeypatch):
    narrow = Terminal(file=io.StringIO(), width=width)
    monkeypatch.setattr(formats, "console", narrow)
    narrow.print(formats.rich_table(table, drop=False))
    return narrow.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_narrow_terminal_breaks_lines_and_cuts_no_word(width, monkeypatch):
    heads = [
        "true inputs",
        "after 1 of its own",
        "1 % at k =",
        "bound: 1 % at k =",
        *(f"feed-forward k={k}" for k in (1, 5)),
    ]
    columns = [text("model"), text("stability"), key("seeds"), *(Column(head, ".5f") for head in heads)]
    rows = [["LSTM feed-forward k=5", "gated linear 0.999", 3, *[12.34567] * 6], ["RNN", "unstable", 1, *[0.12345] * 6]]
    table = Table("Wide", columns, rows, ["a note on all of it"])
    out = shown_at(width, table, monkeypatch)
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= width
    words = [word for cells in (table.heads, *table.lines) for cell in cells for word in cell.split()]
    assert not [word for word in words if word not in out.split()]
    assert out.count("Wide") == out.count("a note on all of it") == 1
    assert out.count("gated") == out.count("model") >= 1 + (width <= 80), "each part says what its lines are about"


def test_a_table_that_fits_is_one_and_of_its_own_width(monkeypatch):
    table = Table("Small", [text("model"), Column("test", ".1f")], [["LSTM", 1.0]], [])
    assert shown_at(80, table, monkeypatch) == shown_at(200, table, monkeypatch)


def test_nothing_and_words_stand_in_the_place_of_a_number():
    columns = [key("k"), Column("test", ".1f"), Column("λ", ".3f")]
    table = Table("t", columns, [[1, None, "no"], [2, Value(None, diverged=2, runs=("a", "b")), 0.5]], [])
    assert table.lines == [["1", "–", "no"], ["2", "diverged", "0.500"]]
    assert [Value(7.81, to=to).write(Column("epochs", ".2g")) for to in (7.82, 8.9)] == ["7.8", "7.8–8.9"]
    assert (
        Value(9.0, 1.0, seeds=2, diverged=1, runs=("a", "b", "c")).write(columns[1]) == "9.0 ± 1.0 (2), 1 of 3 diverged"
    )


def test_columns_are_dropped_in_their_order_and_named():
    table = Table("t", [text("a"), Column("b", drop=2), Column("c"), Column("d", drop=1)], [["x", 1, 2, 3]], ["note"])
    heads = [(narrow.heads, narrow.notes[1:]) for narrow in map(table.without, range(3))]
    assert heads == [
        (["a", "b", "c", "d"], []),
        (["a", "b", "c"], ["d: in the CSV file"]),
        (["a", "c"], ["d, b: in the CSV file"]),
    ]
    assert table.narrowed(lambda narrow: len(narrow.heads) < 4).heads == ["a", "b", "c"]
    assert table.narrowed(lambda narrow: False).heads == ["a", "c"]


@pytest.mark.parametrize(
    ("folder", "constant", "listed"),
    [("sections", "SECTION", contents.SECTIONS), ("claims", "CLAIM", contents.CLAIMS)],
)
def test_every_section_and_every_claim_is_listed_once(folder, constant, listed):
    files = [path for path in (PACKAGE / folder).glob("*.py") if f"\n{constant} = " in path.read_text(encoding="utf-8")]
    assert len(files) == len(listed) > 5
    names = [entry.anchor if folder == "sections" else entry.name for entry in listed]
    assert len(set(names)) == len(names)
    if folder == "sections":
        claims = {claim.name for claim in contents.CLAIMS}
        assert {name for section in listed for name in section.claims} <= claims


@pytest.mark.parametrize(
    ("number", "noun", "shown"),
    [
        (1, "run", "1 run"),
        (0, "run", "0 runs"),
        (1000, "linear system", "1,000 linear systems"),
        ("0.1", "epoch", "0.1 epochs"),
        ("1 to 3", "seed", "1 to 3 seeds"),
        (2, "stretch", "2 stretches"),
    ],
)
def test_a_noun_has_the_number_of_what_is_counted(number, noun, shown):
    assert counted(number, noun) == shown
