"""What is counted is told in its number."""

import re

import pytest
from conftest import ROOT
from test_report import record

from stablernn.training.run import _describe_outcome
from stablernn.utils.wording import counted

# A number that may be 1, in braces, beside a plural: with at most one word between them.
COUNT = re.compile(
    r"\{[^{}]*\} (?:(?!for |with )[a-z-]+ )?(?:runs|seeds|epochs|updates|threads|rounds|trials|cases|systems|step sizes"
    r"|positions|pairs|stretches|blocks|moments|seconds|GPUs)\b"
)


@pytest.mark.parametrize(
    ("number", "noun", "told"),
    [
        (1, "run", "1 run"),
        (0, "run", "0 runs"),
        (1000, "linear system", "1,000 linear systems"),
        ("1", "epoch", "1 epoch"),
        ("0.1", "epoch", "0.1 epochs"),
        ("1 to 3", "seed", "1 to 3 seeds"),
        (1, "process", "1 process"),
        (3, "process", "3 processes"),
        (2, "stretch", "2 stretches"),
    ],
)
def test_a_noun_has_the_number_of_what_is_counted(number, noun, told):
    assert counted(number, noun) == told


def test_no_text_counts_in_the_plural_whatever_the_number_is():
    modules = sorted((ROOT / "src").rglob("*.py"))
    found = {path.name: COUNT.findall(path.read_text(encoding="utf-8")) for path in modules}
    assert len(modules) > 100
    assert {name: counts for name, counts in found.items() if counts} == {}


def test_the_last_line_of_a_run_says_how_it_ended():
    assert _describe_outcome(record(90.0)) == "finished, valid perplexity 90.00, test perplexity 90.00"
    assert _describe_outcome(record(None)) == "diverged"
