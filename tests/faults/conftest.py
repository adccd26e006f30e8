import os
import random

import pytest

from faults.children import Children
from faults.ledger import LEDGER


def pytest_terminal_summary(terminalreporter):
    if LEDGER.rows:
        terminalreporter.section("faults injected and survived; runs lost, results that differ")
        for line in LEDGER.lines():
            terminalreporter.write_line(line)
        if LEDGER.seed is not None:
            terminalreporter.write_line(f"the same moments again: FAULTS_SEED={LEDGER.seed}")


@pytest.fixture
def ledger():
    LEDGER.begin()
    return LEDGER


@pytest.fixture(scope="session")
def seed():
    """Decides at which moments the faults come; printed. FAULTS_SEED=random searches, FAULTS_SEED=N repeats one."""
    chosen = os.environ.get("FAULTS_SEED") or "0"
    number = random.SystemRandom().randrange(10**6) if chosen == "random" else int(chosen)
    LEDGER.seed = number
    return number


@pytest.fixture
def children(tmp_path):
    """Starts processes below the test's own folder, and ends them with the test."""
    with Children(tmp_path) as started:
        yield started
