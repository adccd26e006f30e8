"""Documents: their links lead somewhere, their commands are taken, notebooks run, the site builds and is whole."""

import json
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pandas as pd
import pytest
from conftest import ROOT

from stablernn.commands.start import COMMANDS, as_overrides
from stablernn.config.compose import compose, compose_all, literal
from stablernn.examination import examine as examine_module
from stablernn.experiments.grids import without_sweeps
from stablernn.experiments.sweep import jobs_of

NOTEBOOKS = sorted((ROOT / "docs").glob("*.ipynb"))
DOCUMENTS = [ROOT / "README.md", ROOT / "results" / "NOTES.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {path: path.read_text(encoding="utf-8") for path in DOCUMENTS}
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:href|src)=\"([^\"]+)\"")


def cells(notebook: Path, kind: str) -> list[str]:
    found = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == kind]


def anchors(text: str) -> set[str]:
    """Of the headings, as GitHub and MyST make them."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ +(.*?) *$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", [*DOCUMENTS, *NOTEBOOKS], ids=lambda path: path.name)
def test_what_a_document_links_to_is_there(path):
    text = TEXTS.get(path) or "\n".join(cells(path, "markdown"))
    links = [urlsplit(link or other) for link, other in LINK.findall(text)]
    for link in links:
        if link.scheme:
            continue
        target = (path.parent / unquote(link.path)).resolve() if link.path else path
        assert target.exists(), link.path
        if link.fragment:
            assert link.fragment in anchors(target.read_text(encoding="utf-8")), link.geturl()


def typed(text: str) -> list[str]:
    """Commands of this package, in blocks and within lines."""
    blocks = re.findall(r"^```\n(.*?)^```|((?:^    \S.*\n)+)", text, flags=re.MULTILINE | re.DOTALL)
    lines = "\n".join("".join(block) for block in blocks).replace("\\\n", " ").splitlines()
    return [
        line.strip()
        for line in [*lines, *re.findall(r"`([^`\n]+)`", text)]
        if line.strip().startswith("stablernn ") and "..." not in line
    ]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_command_of_a_document_is_one_that_can_be_typed(path):
    for line in typed(TEXTS[path]):
        name, *arguments = shlex.split(line, comments=True)[1:]
        if name.startswith("--") or {"--help", "allow=mine"} & set(arguments):
            continue
        command = COMMANDS[name.replace("-", "_")]
        arguments = [argument for argument in arguments if argument not in ("-m", "--cfg", "job")]
        overrides = [literal(a, command.text) for a in as_overrides(arguments, command.first, command.flag_names())]
        config = compose(command.config, without_sweeps(overrides), with_hydra=True)
        if "-m" in line.split():
            jobs = jobs_of(config, [override for override in overrides if not override.startswith("hydra")])
            compose_all(command.config, [jobs[0], jobs[-1]])


def test_the_norms_of_an_rnn_are_those_of_the_committed_table():
    """But for the spectral radius, which no table has."""
    lines = re.findall(
        r"^\| (music|slots), ([a-z ]+) \| (.+?) \|$", TEXTS[ROOT / "docs" / "stability.md"], re.MULTILINE
    )
    assert len(lines) == 6
    for task, constraint, values in lines:
        table = pd.read_csv(
            ROOT / f"results/tables/certificates_by_norm_{ {'music': 'jsb', 'slots': 'atis'}[task] }_cpu.csv", dtype=str
        )
        rows = table[table.model.str.startswith("RNN") & (table.stability.str.removesuffix(" at 0.999") == constraint)]
        shown = rows.set_index("norm").loc[["2-norm", "best weighted 2-norm", "quadratic norm"]]
        expected = [
            f"{rate}, {k if k == 'none' else f'{int(k):,}'}"
            for rate, k in zip(shown["λ"], shown["k(0.01)"], strict=True)
        ]
        assert values.split(" | ")[:3] == expected, (task, constraint)


def test_the_first_document_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_documents_write_the_command_in_one_way_and_name_targets_that_make_has():
    text = "\n".join(text for path, text in TEXTS.items() if path.name != "NOTES.md")
    assert set(re.findall(r"scripts/\w+\.py", text)) == {"scripts/gpu_lease.py"}  # which is no command of the package
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    used = set(re.findall(r"^make ([a-z]+)|`make ([a-z]+)", text, flags=re.MULTILINE))
    assert {"".join(groups) for groups in used} - targets == set()


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_has_no_outputs(notebook):
    """The site runs it at full length and shows what comes out: an output here would be of another machine and day."""
    found = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in found)


def test_the_code_of_the_notebook_of_an_examination_runs_on_a_little_text(capsys, monkeypatch):
    smaller = {"3000": "300", "range(150)": "range(60)", "k_max=32": "k_max=12", "seconds=1": "seconds=0.01"}
    for name, value in {"_STEPS": 2, "_LONGEST": 16, "_LONGEST_PROVEN": 16, "_ALONG": 50, "_ENDS": 16}.items():
        monkeypatch.setattr(examine_module, name, value)
    names: dict = {}
    for code in cells(ROOT / "docs" / "examine_an_lstm.ipynb", "code"):
        for full, small in smaller.items():
            code = code.replace(full, small)
        exec(code, names)
    assert "May it be replaced by a feed-forward network?" in capsys.readouterr().out
    assert names["difference"].mean() <= 0.1
    assert names["certificate"].holds, "W = 0"


class Page(HTMLParser):
    """Ids of a page, the links that lead out of it, and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs) -> None:
        values = dict(attrs)
        self.ids |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        self.loaded += [values[name] for name in ("src", "href") if tag != "a" and values.get(name)]


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_is_whole_without_a_network(tmp_path):
    site = tmp_path / "site" / "html"
    build = [sys.executable, "-m", "sphinx", "-q", "--fail-on-warning", "-c", "docs", "-d", str(tmp_path), "."]
    done = subprocess.run([*build, str(site)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = {path.resolve(): Page(path) for path in site.rglob("*.html")}
    assert {"index.html", "results.html", "NOTES.html"} <= {path.name for path in pages}
    assert {f"{notebook.stem}.html" for notebook in NOTEBOOKS} <= {path.name for path in pages}
    for path, page in pages.items():
        assert not [link for link in page.loaded if urlsplit(link).netloc], "asks a server"
        for link in map(urlsplit, (*page.links, *page.loaded)):
            if not link.scheme:
                target = (path.parent / unquote(link.path)).resolve() if link.path else path
                assert target.exists(), f"{path}: {link.geturl()}"
                if link.fragment and target in pages:
                    assert unquote(link.fragment) in pages[target].ids, f"{path}: {link.geturl()}"
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//|@import", style.read_text(encoding="utf-8")), style
    assert "May it be replaced" in (site / "docs" / "examine_an_lstm.html").read_text(encoding="utf-8")
