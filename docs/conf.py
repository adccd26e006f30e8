"""The site of README.md, docs/ and the tables of results/: `make docs`. Links are those that GitHub follows too."""

import logging
import os
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]

project = "stablernn"
html_title = project
extensions = ["myst_nb"]
root_doc = "README"
include_patterns = ["README.md", "docs/*.md", "docs/*.ipynb", "results/*.md", "results/*/*.md"]
exclude_patterns = ["results/text", ".*", "build", "dist", "runs", "site", "src", "tests"]  # not walked through
suppress_warnings = ["toc.not_included"]  # tables are reached from what is said of them

html_theme = "furo"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = html_show_sphinx = html_show_copyright = False
myst_heading_anchors = 3
nb_execution_mode = "force"  # notebooks are committed without outputs
nb_execution_raise_on_error = True
nb_execution_timeout = 300

KERNEL = ROOT / "site" / "ipython" / "profile_default" / "ipython_kernel_config.py"
KERNEL.parent.mkdir(parents=True, exist_ok=True)
KERNEL.write_text("c.IPKernelApp.log_level = 'ERROR'\n")  # it warns of TCP on this very machine
os.environ["IPYTHONDIR"] = str(KERNEL.parents[1])
logging.getLogger("traitlets").setLevel(logging.WARNING)

CONTENTS = """
```{toctree}
:hidden:
:caption: Use
docs/your_model
docs/examine_an_lstm
docs/sweeps
docs/gpu
docs/tracking
docs/tasks
docs/extending
```
```{toctree}
:hidden:
:caption: Understand
docs/results
docs/protocol
docs/stability
docs/recurrence_from_scratch
docs/patterns
docs/feed_forward
docs/peers
docs/memory
docs/tour
docs/glossary
```
"""


def as_site(app, name: str, text: list[str]) -> None:
    """What GitHub does without: a table of contents, titles of the tables of results/, a page in place of a folder."""
    if name == root_doc:
        text[0] += CONTENTS
    if name.startswith("results/tables/"):
        text[0] = f"# Table: {name.split('/')[-1].replace('_', ' ')}\n\n{text[0]}"
    text[0] = text[0].replace("](tables/)", "](/docs/results.md)")


def add_files(app, error: Exception | None) -> None:
    """The page with the verdicts, with what it links to; and the front page under the name that servers look for."""
    if error is None:
        for folder in ("report", "tables", "figures"):
            shutil.copytree(ROOT / "results" / folder, app.outdir / "results" / folder, dirs_exist_ok=True)
        shutil.copy(app.outdir / "README.html", app.outdir / "index.html")


def setup(app) -> None:
    app.connect("source-read", as_site)
    app.connect("build-finished", add_files)
