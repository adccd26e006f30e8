"""A test that passes passes again: nothing that `make test` runs is drawn anew each time."""

import random
import subprocess
import sys

import pytest
import torch
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

KNOWN = pytest.StashKey[list[float]]()
PROPERTIES = sorted(path for path in ROOT.glob("tests/**/test_*.py") if "import given" in path.read_text("utf-8"))


def examples() -> list[float]:
    """What a property is shown."""
    shown = []

    @settings(max_examples=20)
    @given(st.floats(0, 1))
    def look(value):
        shown.append(value)

    look()
    return shown


def test_a_property_sees_the_same_examples_each_time():
    first = examples()
    assert len(set(first)) > 10
    assert examples() == first


def draws() -> list[float]:
    return [random.random(), float(torch.rand(()))]


@pytest.mark.parametrize("time", [1, 2])
def test_a_test_begins_with_the_same_generators(time, request):
    drawn = draws()
    known = request.session.stash.setdefault(KNOWN, drawn)
    assert known == drawn


@pytest.mark.slow
@pytest.mark.parametrize("path", PROPERTIES, ids=lambda path: path.stem)
def test_no_random_search_finds_a_counterexample(path):
    command = [sys.executable, "-m", "pytest", "-q", "--hypothesis-profile=search", str(path)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout[-5000:]
