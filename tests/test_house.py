"""The house: who may import whom, and the tour of it."""

import ast
import re
from pathlib import Path

import pytest

import stablernn
from stablernn.commands.start import COMMANDS

PACKAGE = Path(stablernn.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# The way of the data; a stage imports only stages above it.
STAGES = [
    "utils",
    "config",
    "records",
    "tasks",
    "models",
    "stability",
    "training",
    "analysis",
    "report",
    "examination",
    "generation",
    "experiments",
    "benchmarks",
    "monitoring",
    "commands",
]


def imports(module: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def test_every_module_lies_in_a_stage():
    assert {module.relative_to(PACKAGE).parts[0] for module in MODULES} == {"__init__.py", "__main__.py", *STAGES}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_stage_imports_only_stages_above_it(module):
    stage = module.relative_to(PACKAGE).parts[0]
    if stage in ("__main__.py", "__init__.py"):
        stage = "commands"  # all that they do is to start one, and to hand on public names
    used = {name.split(".")[1] for name in imports(module) if name.startswith("stablernn.")} - {"__version__"}
    above = STAGES[: STAGES.index(stage) + 1] if stage in STAGES else []
    assert used <= set(above)


@pytest.mark.parametrize(
    "module", [m for m in MODULES if "report" in m.relative_to(PACKAGE).parts[:1]], ids=lambda path: path.stem
)
def test_the_report_knows_no_torch_and_no_wandb(module):
    assert not {name.split(".")[0] for name in imports(module)} & {"torch", "wandb"}


def at_the_top(path: Path) -> set[str]:
    """What a file imports as soon as it is imported."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


@pytest.mark.parametrize("script", ["train", "reproduce", "bench", "analyze", "winners", "status", "report"])
def test_a_script_starts_without_the_packages_of_drawing_tracking_and_the_hub(script):
    """A machine that trains may have none of them."""
    files = {".".join(["stablernn", *path.relative_to(PACKAGE).with_suffix("").parts]): path for path in MODULES}
    seen: set[str] = set()
    waiting = {COMMANDS[script].task.partition(":")[0], "stablernn.experiments.command_line"}
    waiting |= at_the_top(PACKAGE.parents[1] / "scripts" / f"{script}.py")
    while waiting:
        name = waiting.pop()
        if name not in seen and name in files:
            waiting |= at_the_top(files[name])
        seen.add(name)
    assert f"stablernn.{'training.run' if script == 'train' else 'utils.console'}" in seen
    assert not {name.split(".")[0] for name in seen} & {"altair", "vl_convert", "wandb", "wandb_workspaces", "datasets"}


def test_the_tour_names_files_that_are_there():
    text = (PACKAGE.parents[1] / "docs" / "tour.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+\.py|[\w/]+\.yaml|[\w/]+/)`", text)
    assert len(named) > 40
    roots = [PACKAGE, PACKAGE.parents[1], *(PACKAGE / stage for stage in STAGES)]
    assert [name for name in named if not any((root / name).exists() for root in roots)] == []
    assert {stage for stage in STAGES if f"| `{stage}/` |" in text} == set(STAGES)
