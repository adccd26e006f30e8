"""What a stranger adds: a class and a YAML file for a cell, a backbone, a task, a constraint, nothing else edited; an
analysis with its section by three files and a line; a claim by a file and a line.

Each is written into a copy of the package, as whoever extends it would, and runs to its record.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT

import stablernn.models
import stablernn.tasks
from stablernn.analysis.runner import check_applies
from stablernn.config import compose
from stablernn.config.instantiate import make
from stablernn.records.record import read_run
from stablernn.report.sections.tasks import task_cells
from stablernn.report.slices import slices
from stablernn.tasks.base import Interface
from stablernn.training.build import build
from stablernn.training.run import run
from stablernn.training.trained import find_runs
from stablernn.utils.errors import NotApplicableError, StableRNNError
from stablernn.utils.files import read_json

ADDED = {
    "src/stablernn/models/cells/leaky.py": '''
        import torch

        from stablernn.models.cells.base import Cell
        from stablernn.models.cells.state import RNNState


        class LeakyCell(Cell):
            """h' = a h + (1 - a) tanh(W h + U x + b)."""

            GATES = ("",)
            state_type = RNNState

            def __init__(self, input_size: int, hidden_size: int, leak: float) -> None:
                super().__init__(input_size, hidden_size)
                self.leak = leak

            def step(self, projected, state):
                return RNNState(torch.lerp(torch.tanh(projected + state.h @ self.weight_hh.T), state.h, self.leak))
    ''',
    "conf/model/leaky.yaml": """
        name: leaky
        cell: {_target_: stablernn.models.cells.leaky.LeakyCell, _partial_: true, leak: 0.5}
        embedding_size: 16
        hidden_size: 16
        num_layers: 1
        dropout: 0
        tied: false
        learning_rate: 1
    """,
    "src/stablernn/stability/proofs/leaky.py": '''
        """One layer: |h'| <= (a + (1 - a) ‖W‖) |δh|, in the 2-norm."""

        import torch

        from stablernn.models.cells.leaky import LeakyCell
        from stablernn.models.cells.state import RNNState
        from stablernn.stability.constraints.base import spectral_norm
        from stablernn.stability.proofs.norms import CellProofs, Contraction, StateNorm, up
        from stablernn.stability.proofs.prove import prove


        @prove.register
        def prove_leaky(cell: LeakyCell, inputs, dropout) -> CellProofs:
            rate = up(cell.leak + (1 - cell.leak) * up(spectral_norm(cell.weight_hh)))
            norm = StateNorm(2, RNNState(torch.ones(cell.hidden_size, dtype=torch.float64)))
            reason = "" if rate < 1 else "its norm is too large"
            return CellProofs([Contraction("2-norm", rate, reason, norm, cell.hidden_size**0.5)], {})
    ''',
    "src/stablernn/stability/constraints/short.py": '''
        import torch

        from stablernn.models.cells.leaky import LeakyCell
        from stablernn.stability.constraints.base import Constraint, spectral_norm


        class Short(Constraint):
            """‖W‖_2 <= limit, by scaling."""

            cell_type = LeakyCell

            def __init__(self, limit: float) -> None:
                self.limit = limit

            def project(self, cell, inputs) -> None:
                cell.weight_hh *= min(1.0, self.limit * 0.999 / spectral_norm(cell.weight_hh))
    ''',
    "conf/stability/short.yaml": """
        name: short
        constraint: {_target_: stablernn.stability.constraints.short.Short, limit: 0.5}
    """,
    "src/stablernn/models/causal.py": '''
        import torch
        from torch import nn

        from stablernn.models.backbone import Backbone


        class Causal(Backbone):
            """One causal convolution over the last ``width`` inputs."""

            def __init__(self, input_size: int, hidden_size: int, num_layers: int, dropout: float, width: int) -> None:
                super().__init__()
                self.width, self.input_size = width, input_size
                self.product = nn.Linear(width * input_size, hidden_size)

            @property
            def receptive_field(self) -> int:
                return self.width

            def initial_state(self, batch: int):
                return self.product.weight.new_zeros(0, batch, self.input_size)

            def forward(self, x, state):
                seen = torch.cat([state, x])
                padded = torch.cat([x.new_zeros(self.width - 1 - len(state), *x.shape[1:]), seen])
                windows = torch.cat([padded[n : n + len(x)] for n in range(self.width)], dim=-1)
                return torch.tanh(self.product(windows)), seen[max(0, len(seen) - self.width + 1) :]
    ''',
    "conf/model/causal.yaml": """
        name: causal
        backbone: {_target_: stablernn.models.causal.Causal, _partial_: true, width: 3}
        embedding_size: 16
        hidden_size: 16
        num_layers: 1
        dropout: 0
        tied: false
        learning_rate: 1
    """,
    "src/stablernn/tasks/echo.py": '''
        import numpy as np

        from stablernn.tasks.base import Inputs, Interface, Outputs
        from stablernn.tasks.sequences import Sequences, SequenceTask
        from stablernn.utils.metrics import NATS_A_FRAME


        class Echo:
            """Random switches, to be repeated one step later."""

            embeds = False

            def __init__(self, name: str, switches: int, max_tokens: dict | None = None) -> None:
                self.name, self.switches = name, switches

            def load(self) -> SequenceTask:
                draw = np.random.default_rng(0)

                def sequences(count: int) -> Sequences:
                    rolls = [draw.integers(0, 2, (9, self.switches), dtype=np.uint8) for _ in range(count)]
                    return Sequences(tuple(r[1:] for r in rolls), tuple(r[:-1] for r in rolls))

                interface = Interface(Inputs("box", self.switches), Outputs("bernoulli", self.switches))
                splits = {"train": sequences(60), "valid": sequences(6), "test": sequences(6)}
                return SequenceTask(self.name, interface, NATS_A_FRAME, splits)
    ''',
    "src/stablernn/analysis/size.py": '''
        """How large the recurrent weights are."""

        from dataclasses import dataclass
        from typing import ClassVar


        @dataclass(frozen=True)
        class SizeAnalysis:
            power: float = 2.0
            name: ClassVar[str] = "size"
            needs: ClassVar[tuple[str, ...]] = ("cells",)

            @property
            def options(self) -> dict:
                return {"power": self.power}

            def __call__(self, trained) -> dict:
                weights = trained.model("best").cells[0].weight_hh
                return {"mean": float((weights.abs() ** self.power).mean())}
    ''',
    "conf/analysis/size.yaml": """
        # @package _global_
        analysis: {_target_: stablernn.analysis.size.SizeAnalysis, power: 2.0}
        table: {_target_: stablernn.report.sections.size.size_table, _partial_: true}
    """,
    "src/stablernn/report/sections/size.py": '''
        """How large the recurrent weights are."""

        from stablernn.report.labels import describe
        from stablernn.report.load import Analyses
        from stablernn.report.section import Section, of_analysis
        from stablernn.report.table import Column, Table, text


        def size_table(analyses: Analyses) -> Table:
            entries = [
                [*about, result["mean"]] for about, (_, result) in zip(describe(analyses), analyses, strict=True)
            ]
            runs = [(record.id,) for record, _ in analyses]
            columns = [text("model"), text("stability"), Column("mean of squares", ".3g")]
            return Table("Size of the recurrent weights", columns, entries, ["of all entries"], runs=runs)


        SECTION = Section("size", "Size", "How large they are.", of_analysis("size", size_table), "size")
    ''',
    "src/stablernn/report/claims/size.py": '''
        """C9: recurrent weights stay small."""

        from stablernn.report.evidence import Evidence
        from stablernn.report.judgement import Claim, Finding, Judgement, Outcome, judge


        def small(evidence: Evidence) -> list[Judgement]:
            return [_judged(data, found) for data in evidence.slices if (found := evidence.of(data, "size"))]


        def _judged(data, analyses) -> Judgement:
            largest = max(result["mean"] for _, result in analyses)
            ids = tuple(record.id for record, _ in analyses)
            outcome = Outcome.HOLDS if largest < 1 else Outcome.FAILS
            return judge(data, [Finding(outcome, f"all models: {largest:.3g} at most", ids)], "", "one seed")


        CLAIM = Claim("C9", "Are they small?", "Recurrent weights stay small.", small, "make reproduce")
    ''',
    "conf/dataset/echo.yaml": """
        _target_: stablernn.tasks.echo.Echo
        name: echo
        switches: 4
    """,
}


def write(root: Path, files: dict[str, str]) -> None:
    """Files, without the indentation that they have here; none of them is there before."""
    for name, text in files.items():
        lines = text.strip("\n").split("\n")
        indent = len(lines[0]) - len(lines[0].lstrip())
        path = root / name
        assert not path.exists()
        path.write_text("\n".join(line[indent:] for line in lines).rstrip() + "\n")


LINES = {"sections": ("certificate_on_text", "size"), "claims": ("speed", "size")}


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A checkout with all that is added."""
    root = tmp_path_factory.mktemp("extended")
    for folder in ("src", "conf", "scripts"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    write(root, ADDED)
    contents = root / "src/stablernn/report/contents.py"
    text = contents.read_text()
    for last, added in LINES.values():
        assert text.count(f'    "{last}",\n)') == 1
        text = text.replace(f'    "{last}",\n)', f'    "{last}",\n    "{added}",\n)')
    contents.write_text(text)
    return root


@pytest.fixture
def here(extended, monkeypatch):
    """The same modules and choices in this process, which is faster than another one."""
    for package in (stablernn.models, stablernn.tasks):
        inside = extended / "src" / package.__name__.replace(".", "/")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(inside)])
    monkeypatch.setattr(compose, "_composed_from", extended / "conf")


# One process for several scripts: what they import takes longer than what they do.
IN_TURN = """
import json, runpy, sys
for command in json.loads(sys.argv[1]):
    sys.argv = command
    try:
        runpy.run_path(command[0], run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
"""


def call(root: Path, *commands: Sequence[str]) -> None:
    """Scripts with their arguments, one after the other."""
    environment = os.environ | {"PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"}
    in_turn = json.dumps([[f"scripts/{script}.py", *arguments] for script, *arguments in commands])
    command = [sys.executable, "-c", IN_TURN, in_turn]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


SMALL = ("profile=smoke", "tracking=none", "training.epochs=1", "truncation.k=10", "progress=false")


def configured(folder: Path, *options: str):
    return compose.compose("train", [*SMALL, f"runs={folder}", *options])


def test_a_cell_with_its_proof_and_its_constraint(extended):
    call(
        extended,
        ["train", "-m", *SMALL, "model=leaky", "stability=short", "approximation=recurrent,feedforward"],
        ["analyze", "analysis=truncation", "run=*recurrent*", "k_max=4"],
    )
    forward, recurrent = (read_run(folder) for folder in sorted(extended.glob("runs/*")))
    for record in (forward, recurrent):
        assert record.certificate["certified"]
        assert 0.5 < record.certificate["rate"] <= 0.75
        assert {"‖W‖_2", "‖W‖_∞"} <= record.model["norms"][0].keys()
    curve = read_json(extended / "runs" / recurrent.id / "truncation.json")
    gaps = np.array(curve["state"]["largest"])
    assert (gaps <= np.array(curve["certified"]["state"])).all()


def test_a_backbone_without_cells(here, tmp_path):
    record = run(configured(tmp_path, "model=causal"))
    assert record.metrics["valid"]["value"] < 900, "it has learnt something"
    assert record.certificate["certified"] is None
    assert "no recurrent cells" in record.certificate["reason"]
    (trained,) = find_runs("*", tmp_path, None, torch.device("cpu"))
    for analysis in (
        "certificate",
        "certificate_on_text",
        "truncation",
        "contraction",
        "recurrence",
        "gradient_horizon",
        "truncated_gradient",
    ):
        chosen = make(compose.compose("analyze", [f"analysis={analysis}"]).analysis)
        with pytest.raises(NotApplicableError, match="model=causal is no stack of recurrent cells"):
            check_applies(chosen, trained)
    for option, remedy in (
        ("approximation=feedforward", "choose approximation=recurrent"),
        ("stability=rnn_spectral", "no recurrent cells"),
        ("training.snapshot_every=1", "set it to null"),
    ):
        with pytest.raises(StableRNNError, match=remedy):
            run(configured(tmp_path, "model=causal", option))


def test_layers_that_a_backbone_ignores_are_said_and_a_tied_decoder_is_tied(here, tmp_path, caplog):
    interface = Interface.of_words(9)
    sizes = {}
    for options in ((), ("model.num_layers=3",), ("model.tied=true",)):
        caplog.clear()
        model, _ = build(configured(tmp_path, "model=causal", *options), interface)
        sizes[options] = model.size()
        assert ("model.num_layers=3" in caplog.text) == ("model.num_layers=3" in options)
    assert sizes[("model.tied=true",)] < sizes[()]


def test_a_task(here, tmp_path):
    record = run(configured(tmp_path, "dataset=echo", "model=rnn", "stability=stable"))
    assert record.metrics["test"]["count"] == 6 * 8
    assert record.certificate["certified"], "over the box of its frames"
    assert "echo" in [cell.data.data for cell in task_cells(*slices([record]))]


def test_an_analysis_with_its_section_and_a_claim(extended):
    call(
        extended,
        ["train", *SMALL, "model=rnn", "stability=stable", "dataset=embedded", "runs=other"],
        ["analyze", "analysis=size", "runs=other"],
        ["report", "records=other", "results=written", "readme=null"],
    )
    (run,) = (folder.name for folder in (extended / "other").glob("embedded-*"))
    value = read_json(extended / "other" / run / "size.json")["mean"]
    table = next((extended / "written" / "tables").glob("size*.csv")).read_text()
    assert f"{value:.3g}"[:4] in table
    page = (extended / "written" / "report" / "index.html").read_text()
    assert "Recurrent weights stay small" in page
    assert f"{value:.3g} at most" in page


def test_a_model_of_both_kinds_or_without_a_condition_is_refused_by_its_name(tmp_path):
    other = "model.backbone={_target_:stablernn.models.recurrent.Recurrent}"
    with pytest.raises(StableRNNError, match=r"both model.cell and model.backbone"):
        run(configured(tmp_path, "model=rnn", other))


def test_a_model_of_ones_own_says_which_file_makes_it_stable(here, tmp_path):
    with pytest.raises(StableRNNError, match=r"stability=stable of model=causal: .* stability/stable/causal.yaml"):
        configured(tmp_path, "model=causal", "stability=stable")
