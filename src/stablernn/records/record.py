"""The run record: what a finished run leaves, and all that a report reads.

It is plain JSON with checksums of itself, of its history and of the parts of its test score beside it.
"""

import json
import math
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from stablernn.records import schemas
from stablernn.utils.errors import DamagedFileError, DamagedRecordError, RecordError
from stablernn.utils.files import (
    json_digest,
    parse_json,
    read_bytes,
    read_json,
    read_sealed,
    write_json,
    write_sealed,
    write_text,
)
from stablernn.utils.metrics import METRICS, PERPLEXITY, Metric

SCHEMA = 3
RECORD_FILE = "record.json"
PAUSED_FILE = "paused.json"  # of a run that may be resumed; reports do not take it for a result
HISTORY_FILE = "history.jsonl"
BLOCKS_FILE = "test_blocks.json"
DATA_PATH_FILE = "data_path.txt"  # folder of the text on this machine; no part of the record, so it is not published
FINISHED = "finished"
DIVERGED = "diverged"
PAUSED = "paused"
STOPPED = "stopped"  # by its deadline, and scored as far as it came


@dataclass
class Record:
    """One run.

    Attributes:
        id: hash of everything that changes the result, behind a readable prefix.
        status: ``finished``, ``diverged``, ``stopped`` (``training.deadline``) or ``paused``
            (``training.pause_after``, or a deadline before the first validation); a run under way has no record.
        experiment: label of the experiment that first asked for the run.
        config: the resolved configuration as far as it changes the result.
        data: name, fingerprint, items of each split (``tokens``); number of types, or the ``interface`` and the
            ``metric`` of a task that is no language model; of a text from files also the fingerprint of all of it
            (``text``) and by what each split of a published text was recognised (``recognised``).
        model: parameter count and the norms that a constraint bounds, at the best evaluation; of a cell of another
            package what its class says of itself (``equations``), as a report imports no class.
        certificate: what is proven about the same weights (``stability.certificates``).
        metrics: ``value`` (and ``total`` in nats, ``count``, and ``tally``, what else the metric counts) on valid and
            test; the optimal value where it is known.
        progress: epochs, updates, and the update at which validation was best.
        speed: seconds and training tokens per second.
        hardware, versions, commit: what it ran on.
        blocks: the test score's parts, one after the other: ``totals`` in nats, ``counts`` of items, and ``tallies``;
            in a file of its own, which some records lack.
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
    certificate: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list, repr=False)
    blocks: dict[str, Any] | None = field(default=None, repr=False)

    @property
    def metric(self) -> Metric:
        """How the run is scored."""
        return METRICS.get(self.data.get("metric", ""), PERPLEXITY)

    @property
    def cut(self) -> bool:
        """Whether its schedule or a deadline ended its training before validation had stopped improving.

        It has where ``training.early_stop`` evaluations in a row brought no gain; not known of a run without it.
        """
        patience, best = self.config.get("training", {}).get("early_stop"), self.progress.get("best_update") or 0
        since = sum("valid" in row and (row.get("update") or 0) > best for row in self.history)
        return patience is not None and since < patience

    @property
    def gained_late(self) -> float | None:
        """By how much the last quarter of its updates bettered validation, on the natural scale of its metric (>= 0).

        None where it was not evaluated before that quarter.
        """
        evaluated = [row for row in self.history if row.get("valid") is not None]
        scores = {row["update"]: row["valid"] for row in evaluated}
        earlier = [score for update, score in scores.items() if update <= 0.75 * max(scores)]
        if not earlier:
            return None
        return self.metric.gain(*(min(of, key=self.metric.cost) for of in (earlier, scores.values())))

    def write(self, folder: Path) -> None:
        """Write history and blocks, then the record: where there is a record, the run is whole."""
        write_history(folder, self.history)
        values = self._values()
        history, blocks = values.pop("history"), values.pop("blocks")
        if blocks is not None:
            write_json(folder / BLOCKS_FILE, blocks)
        beside = {"history": json_digest(history), "blocks": json_digest(blocks)}
        write_sealed(folder / RECORD_FILE, values, beside | {"record": json_digest([values, beside])})

    def write_alone(self, path: Path) -> None:
        """Write record and history as one file: its content does not change when the run resumes."""
        write_json(path, self._values())

    def _values(self) -> dict[str, Any]:
        return _finite(asdict(self)) | {"schema": SCHEMA}


def read_alone(path: Path) -> Record:
    """What ``Record.write_alone`` wrote.

    Raises:
        RecordError: it is not one of this version, or its folder is a link.
        DamagedRecordError: it is not as it was written.
    """
    _refuse_link(path.parent)
    try:
        values = read_json(path)
        _check_schema(path, values)
        history, blocks = values.pop("history", []), values.pop("blocks", None)
        _check_record(values)
        schemas.check(history, schemas.HISTORY)
        return Record(**values, history=history, blocks=blocks)
    except (DamagedFileError, *_DAMAGES) as error:
        raise DamagedRecordError(f"{path} is not whole ({error}): train the run again") from None


def write_history(folder: Path, history: list[dict[str, Any]]) -> None:
    write_text(folder / HISTORY_FILE, "".join(json.dumps(_finite(row)) + "\n" for row in history))


def read_record(folder: Path) -> Record:
    """The record of a run folder.

    Raises:
        RecordError: there is none, or it is not one of this version, or the folder is a link.
        DamagedRecordError: it, or its history, is not as it was written.
    """
    _refuse_link(folder)
    path, history_path = folder / RECORD_FILE, folder / HISTORY_FILE
    at_fault = path
    try:
        values, beside = read_sealed(path)
        if beside.pop("record") != json_digest([values, beside]):
            raise ValueError("its checksum does not fit")
        _check_schema(path, values)
        _check_record(values)
        at_fault = history_path
        text = read_bytes(history_path).decode() if history_path.exists() else ""
        history = [parse_json(line) for line in text.split("\n") if line]
        if beside["history"] != json_digest(history):
            raise ValueError(f"its checksum in {RECORD_FILE} does not fit")
        schemas.check(history, schemas.HISTORY)
        at_fault = folder / BLOCKS_FILE
        blocks = _read_blocks(at_fault, values["metrics"].get("test", {}), beside["blocks"])
        return Record(**values, history=history, blocks=blocks)
    except (DamagedFileError, *_DAMAGES) as error:
        raise DamagedRecordError(f"{at_fault} is not a whole run record ({error}): train the run again") from None


def read_run(folder: Path) -> Record:
    """``read_record`` of a folder that must have the name of the run: files of another run are not taken for its own.

    Raises:
        RecordError: as ``read_record``.
        DamagedRecordError: as ``read_record``, or the record is of another run than its folder.
    """
    record = read_record(folder)
    if record.id != folder.absolute().name:
        raise DamagedRecordError(
            f"{folder / RECORD_FILE} is of another run ({record.id}): put it into a folder of that name, or delete it"
        )
    return record


_DAMAGES = (OSError, ArithmeticError, ValueError, TypeError, AttributeError, LookupError, RecursionError)


def _refuse_link(folder: Path) -> None:
    if folder.is_symlink():
        raise RecordError(f"{folder} is a link, and links in a folder of runs are not followed: remove it")


def _check_schema(path: Path, values: dict[str, Any]) -> None:
    if (schema := values.pop("schema", None)) != SCHEMA:
        raise RecordError(f"{path} has record schema {schema!r:.20}, this version reads {SCHEMA}: train the run again")


def _read_blocks(path: Path, score: dict[str, Any], checksum: str) -> dict[str, Any] | None:
    """The parts of a test score; None where there are none, or where they are not finite. Raises if they do not fit."""
    try:
        blocks = read_json(path, lambda values: schemas.check(values, schemas.BLOCKS))
    except FileNotFoundError:
        if checksum != json_digest(None):
            raise ValueError(f"{path.name}, which its record names, is missing") from None
        return None
    if checksum != json_digest(blocks):
        raise ValueError(f"its checksum in {RECORD_FILE} does not fit")
    if None in blocks["totals"]:
        return None
    whole = sum(blocks["counts"]) == score["count"] and len(blocks["counts"]) == len(blocks["totals"])
    tallies = blocks.get("tallies", [])
    whole = whole and (not tallies or len(tallies) == len(blocks["counts"]))
    whole = whole and [sum(entry) for entry in zip(*tallies, strict=True)] == score.get("tally", [])
    if not whole or not math.isclose(sum(blocks["totals"]), score["total"], rel_tol=1e-9):
        raise ValueError(f"they do not add up to the test score of {RECORD_FILE}")
    return blocks


def _check_record(values: dict[str, Any]) -> None:
    """Raises ValueError if an entry is not what it must be: reports rely on them without looking."""
    known = {entry.name for entry in fields(Record)} - {"history", "blocks"}
    if unknown := sorted(values.keys() - known):
        raise ValueError(f"{unknown[0]!r:.60} is no entry of a record")
    for entry in fields(Record):
        if entry.name not in values and entry.default is MISSING and entry.default_factory is MISSING:
            raise ValueError(f"{entry.name} is missing")
    schemas.check(values, schemas.RECORD)


def _finite(value: Any) -> Any:
    """JSON has no infinity and no NaN: both become null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
