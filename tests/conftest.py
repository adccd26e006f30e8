import gc
import logging
import os
import random
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # workers that share the cores by threads as well wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from hypothesis import settings

from stablernn.config.compose import compose_all
from stablernn.report.contents import CLAIMS
from stablernn.report.evidence import gather
from stablernn.tasks.embedded import EmbeddedCorpus
from stablernn.utils.console import warn_once
from stablernn.utils.files import write_json

ROOT = Path(__file__).parents[1]

# A test that passes must pass on every machine: examples are drawn from the test itself and not from the clock.
# New examples are searched for on purpose: pytest -m slow, or --hypothesis-profile=search.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.register_profile("search", derandomize=False, deadline=None, print_blob=True)
settings.load_profile("repeatable")


def pytest_collection_finish():
    """Modules live as long as the tests: the garbage collector need not go through all of them, again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _log_as_it_was():
    """What a test hangs on the package's log, as one that stands for a worker does, is gone with the test."""
    warn_once.cache_clear()
    log = logging.getLogger("stablernn")
    before = log.handlers[:], log.level, log.propagate
    yield
    log.handlers[:], log.propagate = before[0], before[2]
    log.setLevel(before[1])


@pytest.fixture(autouse=True, scope="module")
def _on_the_cpu(request):
    """Tests train on the CPU, in processes that they start too, also where there is a GPU: test_gpu.py is for that."""
    with pytest.MonkeyPatch.context() as patch:
        if request.module.__name__ != "test_gpu":
            patch.setenv("CUDA_VISIBLE_DEVICES", "")
            patch.setattr(torch.cuda, "is_available", lambda: False)
        yield


@pytest.fixture(autouse=True)
def _clean_environment(tmp_path, monkeypatch):
    """No test reads the user's data or cache, asks the network, or leaves files in the checkout."""
    monkeypatch.setenv("STABLERNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("STABLERNN_DATA", raising=False)
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (libraries draw from it)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The real data sets: STABLERNN_DATA, or a folder shared/data beside the checkout."""
    folder = Path(os.environ.get("STABLERNN_DATA") or ROOT.parent / "shared" / "data").resolve()
    if not (folder / "wikitext-2").is_dir():
        pytest.skip("the real data sets are not here: set STABLERNN_DATA to run the tests on them")
    return folder


@pytest.fixture(scope="session")
def corpus():
    """A small embedded corpus."""
    return embedded().load()


def embedded(**changes) -> EmbeddedCorpus:
    options = {
        "name": "embedded",
        "seed": 3,
        "types": 40,
        "topics": 3,
        "syntax": 4,
        "persistence": 0.95,
        "concentration": 1.0,
        "max_tokens": {"train": 6000, "valid": 1000, "test": 1500},
    }
    return EmbeddedCorpus(**(options | changes))


SMALL = [
    "profile=smoke",
    "tracking=none",
    "progress=false",
    "model.hidden_size=8",
    "model.embedding_size=8",
    "dataset.max_tokens={train: 3000, valid: 500, test: 700}",
]


@pytest.fixture(scope="session")
def composed() -> dict:
    """What ``small`` composed before: Hydra takes a tenth of a second for each."""
    return {}


@pytest.fixture
def small(tmp_path, composed):
    """Composes a run of a second or so below the test's own folder."""

    def configure(*overrides: str):
        job = [*SMALL, f"runs={tmp_path / 'runs'}", *overrides]
        return compose_all("train", [job], composed)[0]

    return configure


@pytest.fixture(scope="session")
def report(tmp_path_factory) -> Path:
    """The folder of a report on records of every kind."""
    from test_page import write

    return write(tmp_path_factory.mktemp("results")).parents[1]


@pytest.fixture
def judged(tmp_path):
    """Writes records, with analyses beside them by name, and judges a claim on them."""
    claims = {claim.name: claim for claim in CLAIMS}

    def judge(claim, entries, study="perplexity", **analyses):
        for entry in entries:
            folder = tmp_path / "records" / study / entry.id
            entry.write(folder)
            for name, result in analyses.items():
                write_json(folder / f"{name}.json", result)
        return claims[claim].judge(gather(tmp_path / "records", tmp_path))

    return judge
