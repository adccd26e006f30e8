"""Texts are filled in from tables, and stop the report where the tables no longer bear them out."""

import re

import pytest
from conftest import ROOT

from stablernn.report.prose import fill_in
from stablernn.utils.errors import RecordError

TABLE = """model,constraint,k(0.01),test,verdict,seeds
LSTM,unstable,,8.35,,10
LSTM,stable,"1,051",8.20,gain,10
LSTM,stable 0.999,51,-0.3,loss (3 of 10 seeds),1
"""


@pytest.fixture
def filled(tmp_path):
    (tmp_path / "tasks.csv").write_text(TABLE)

    def fill(text: str) -> str:
        (tmp_path / "text.md").write_text(text)
        return fill_in(tmp_path / "text.md", tmp_path).strip()

    return fill


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ('{{ table("tasks", constraint="unstable").test }}', "8.35"),
        ('{{ table("tasks", constraint="stable 0.999")["k(0.01)"] }}', "51"),
        ('{{ table("tasks")(model="LSTM")(constraint="stable 0.999").verdict }}', "loss (3 of 10 seeds)"),
        ('{{ table("tasks", constraint="unstable").test * 2 }}', "16.7"),
        ('{{ table("tasks").all("test") | min | f("+.1f") }}', "-0.3"),
        ('{{ table("tasks").all("k(0.01)") | join("; ") }}', "; 1,051; 51"),
        ('{{ says("a gain", table("tasks").all("verdict")[1] == "gain") }}', "a gain"),
        ('{{ published["lstm", "unstable"] }}', "92.3"),
        ('{{ seeds(table("tasks", constraint="unstable"), table("tasks", verdict="gain")) }}', "ten seeds"),
        ('{{ seeds(table("tasks", constraint="stable 0.999")) }}', "one seed"),
    ],
)
def test_a_text_quotes_what_the_table_prints(filled, template, text):
    assert filled(template) == text


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ('{{ table("tasks", constraint="stable").test }}', "has 2 such lines"),
        ('{{ table("tasks", constraint="stab").test }}', "has 0 such lines"),
        ('{{ table("tasks", constraint="unstable").tset }}', "the column 'tset' of tasks"),
        ('{{ table("none").test }}', r"none\.csv, which the records do not make"),
        ('{{ says("a gain", table("tasks").all("verdict")[2] == "gain") }}', "'a gain', and the tables no longer do"),
        ('{{ table("tasks", constraint="unstable").test | f(".1f") }}', "8.35 was rounded before"),
        ('{{ seeds(table("tasks", constraint="unstable"), table("tasks", test="-0.3")) }}', r"tasks {'constr.*: \[1\]"),
        ("{{ nowhere }}", "'nowhere' is undefined"),
        ("{% if %}", "Expected an expression"),
    ],
)
def test_a_text_that_the_tables_do_not_bear_out_stops_the_report_and_names_itself(filled, template, reason):
    with pytest.raises(RecordError, match=rf"text\.md: .*{reason}"):
        filled(template)


def test_paragraphs_and_lists_are_filled_and_everything_else_is_left(filled):
    words = "word " * 40
    lines = filled(f"# Title\n\n{words}\n- {words}\n- short\n\n| a | b |").splitlines()
    assert max(map(len, lines)) <= 120
    assert [line[:4] for line in lines] == ["# Ti", "", "word", "word", "- wo", "  wo", "- sh", "", "| a "]


@pytest.mark.parametrize("name", ["NOTES.md", "README.md"])
def test_how_many_seeds_there_are_is_counted_and_never_written_by_hand(name):
    template = (ROOT / "results" / "text" / name).read_text(encoding="utf-8")
    by_hand = re.sub(r"{{.*?}}|{%.*?%}|{#.*?#}", "", template, flags=re.DOTALL)
    assert not re.findall(r"\b(?:one|two|three|four|five|six|seven|eight|nine|ten|\d+) seeds?\b", by_hand)


@pytest.mark.parametrize("name", ["NOTES.md", "README.md"])
def test_the_committed_texts_are_what_their_templates_make_of_the_committed_tables(name):
    made = fill_in(ROOT / "results" / "text" / name, ROOT / "results" / "tables").strip()
    path = ROOT / name if name == "README.md" else ROOT / "results" / name
    assert made in path.read_text(encoding="utf-8")
