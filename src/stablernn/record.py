"""The run record: what a finished run leaves, and all that a report reads."""

import json
import math
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from stablernn.errors import RecordError
from stablernn.files import write_json, write_text

SCHEMA = 1
RECORD_FILE = "record.json"
HISTORY_FILE = "history.jsonl"
BLOCKS_FILE = "test_blocks.json"
FINISHED = "finished"
DIVERGED = "diverged"


@dataclass
class Record:
    """One run.

    Attributes:
        id: hash of everything that changes the result, behind a readable prefix.
        status: ``finished`` or ``diverged``; a run under way has no record.
        experiment: label of the experiment that first asked for the run.
        config: the resolved configuration as far as it changes the result.
        data: name, fingerprint, number of types, tokens of each split.
        model: parameter count and the norms that a constraint bounds, at the best evaluation.
        certificate: what is proven about the same weights (``stability.certificates``).
        metrics: perplexity (and nats, tokens) on valid and test; the optimal perplexity where it is known.
        progress: epochs, updates, and the update at which validation was best.
        speed: seconds and training tokens per second.
        hardware, versions, commit: what it ran on.
        blocks: the test score's parts: ``nats``, the sum over each ``length`` tokens after the other (the last ones of
            the ``tokens`` may be fewer); in a file of its own, which older records do not have.
    """

    id: str
    status: str
    experiment: str
    config: dict[str, Any]
    data: dict[str, Any]
    model: dict[str, Any]
    metrics: dict[str, Any]
    progress: dict[str, Any]
    speed: dict[str, Any]
    hardware: dict[str, Any]
    versions: dict[str, str]
    commit: str
    finished_at: str
    schema: int = SCHEMA
    certificate: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list, repr=False)
    blocks: dict[str, Any] | None = field(default=None, repr=False)

    def write(self, folder: Path) -> None:
        """Write history and blocks, then the record: where there is a record, the run is whole."""
        write_history(folder, self.history)
        if self.blocks is not None:
            write_json(folder / BLOCKS_FILE, _finite(self.blocks))
        values = asdict(self)
        del values["history"], values["blocks"]
        write_json(folder / RECORD_FILE, _finite(values))


def write_history(folder: Path, history: list[dict[str, Any]]) -> None:
    write_text(folder / HISTORY_FILE, "".join(json.dumps(_finite(row)) + "\n" for row in history))


def read_record(folder: Path) -> Record:
    """The record of a run folder.

    Raises:
        RecordError: there is none, or it is not one of this version.
    """
    path = folder / RECORD_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.get("schema") != SCHEMA:
            raise RecordError(f"{path} has record schema {values.get('schema')}, this version reads {SCHEMA}")
        history_path = folder / HISTORY_FILE
        lines = history_path.read_text(encoding="utf-8").splitlines() if history_path.is_file() else []
        record = Record(**values, history=[json.loads(line) for line in lines])
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise RecordError(f"{path} is not a readable run record ({error}); delete its folder to run it again") from None
    record.blocks = _read_blocks(folder / BLOCKS_FILE, record.metrics.get("test", {}))
    return record


def _read_blocks(path: Path, score: dict[str, Any]) -> dict[str, Any] | None:
    """The parts of a test score; None where there are none, or where they are not finite."""
    if not path.is_file():
        return None
    try:
        blocks = json.loads(path.read_text(encoding="utf-8"))
        if None in blocks["nats"]:
            return None
        count = -(-blocks["tokens"] // blocks["length"])
        if len(blocks["nats"]) != count or not math.isclose(sum(blocks["nats"]), score["nats"], rel_tol=1e-9):
            raise ValueError(f"they do not add up to the test score of {RECORD_FILE}")
    except (OSError, ValueError, TypeError, KeyError, ZeroDivisionError) as error:
        raise RecordError(f"{path} is not readable ({error}); delete it, and verdicts rest on seeds alone") from None
    return blocks


def _finite(value: Any) -> Any:
    """JSON has no infinity and no NaN: both become null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    packages = {name: metadata.version(name).split("+")[0] for name in ("stablernn", "torch", "numpy", "hydra-core")}
    return {"python": platform.python_version(), **packages}


def commit() -> str:
    """The checked-out commit, with ``-dirty`` behind it if tracked files differ; ``unknown`` outside a checkout."""
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return answer.stdout.strip() or "unknown"


def processor() -> str:
    """The name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
