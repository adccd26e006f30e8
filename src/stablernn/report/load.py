"""Files of results: records, analyses and measurements. A damaged one is named and left out."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from stablernn.records import schemas
from stablernn.records.record import RECORD_FILE, Record, read_alone, read_run
from stablernn.report.names import constraint_rank, rank
from stablernn.utils.console import warn_once
from stablernn.utils.errors import DamagedFileError, RecordError
from stablernn.utils.files import read_json
from stablernn.utils.names import is_name

ATLAS = "atlas"  # the study of cells with long memory, and the beginning of the names of its experiments
PATTERNS = "patterns"  # the study of models that read their own outputs, or a source before they answer
STUDIES = (
    "tasks",
    "perplexity",
    "table1",
    "price_of_stability",
    "truncation_sweep",
    "weight_distance",
    ATLAS,
    PATTERNS,
)
EXPOSURE = "exposure"  # the analysis of runs on their own outputs, and the experiment that trains them
LONGER = "longer_"  # the beginning of the names of experiments that train models of the table of tasks longer
LINEAR_SYSTEMS = "linear_systems"  # the folder of descents on linear systems, and the name of their tables
TRIAL_FILE = "trial.json"  # a published record of a trial of a search; no other report takes it for a result
Runs = Sequence[tuple[Record, Path]]  # records, each with its folder
Analyses = Sequence[tuple[Record, dict[str, Any]]]  # runs that an analysis was made of, with its result
Measurements = dict[str, dict[str, Any]]  # results of which no run is behind, by the names of their files


def setting(record: Record, option: str) -> Any:
    """A configuration value of a record by its dotted name."""
    value: Any = record.config
    for name in option.split("."):
        value = value[name]
    return value


def directions(record: Record) -> int:
    """In which its model reads: 1, or both."""
    return record.config["model"].get("directions", 1)


def place(record: Record) -> tuple:
    """The order of tables: RNN before LSTM, recurrent before feed-forward, unstable before stable before others."""
    model, approximation, stability = (
        str(setting(record, option)) for option in ("model.name", "approximation.name", "stability.name")
    )
    limit = setting(record, "stability.constraint").get("limit") or 0
    kind = rank(model), model, approximation != "recurrent", setting(record, "truncation.k")
    return *kind, constraint_rank(stability), stability, limit, setting(record, "seed"), record.id


def read_folder(folder: Path) -> Runs:
    """Every readable record below ``folder`` with the folder that it lies in; a run published twice comes twice."""
    runs = []
    # Also those of runs whose folder is a link, which are refused: without a link's name nothing would be said.
    for path in sorted({*folder.rglob(RECORD_FILE), *folder.rglob(f"*/{RECORD_FILE}")}):
        try:
            runs.append((read_run(path.parent), path.parent))
        except RecordError as error:
            warn_once(f"left out: {error}")
    return runs


def records_of(runs: Runs, *names: str, strict: bool = False) -> list[Record]:
    """Each run once, in the order of ids.

    Args:
        runs: published ones, <profile>/<study>/<id>, or others.
        names: of studies, whose records alone; where no run is of a study, all,
        strict: or none.
    """
    studies = {path.parent.name for _, path in runs} & set(STUDIES)
    if names and (studies or strict):
        runs = [(record, path) for record, path in runs if path.parent.name in names]
    once: dict[str, Record] = {}
    for record, _ in runs:
        once.setdefault(record.id, record)
    return [once[name] for name in sorted(once)]


def load_records(folder: Path, *names: str) -> list[Record]:
    """``records_of`` a folder; of a study's own folder all."""
    return records_of(read_folder(folder), *(() if folder.name in STUDIES else names))


def analyses_of(runs: Runs, name: str) -> list[tuple[Record, dict[str, Any]]]:
    """The runs that an analysis was made of, with its result; each once and in the order of tables."""
    loaded: dict[str, tuple[Record, dict[str, Any]]] = {}
    first = {record.id: path for record, path in reversed(runs)}
    for record, path in runs:
        if path != first[record.id]:
            continue
        try:
            result = read_json(path / f"{name}.json", schemas.analysis_check(name))
            if result.get("run", record.id) != record.id:
                raise DamagedFileError(f"{path / name}.json is of another run ({result['run']!r:.240})")
            loaded[record.id] = record, result
        except FileNotFoundError:
            continue
        except DamagedFileError as error:
            warn_once(f"left out: {error}; analyze the run again (stablernn analyze analysis={name})")
    return sorted(loaded.values(), key=lambda entry: place(entry[0]))


def load_trials(folder: Path) -> list[Record]:
    """The trials of searches published below ``folder``."""
    trials = []
    for path in sorted(folder.rglob(TRIAL_FILE)):
        try:
            record = read_alone(path)
            if record.id != path.parent.name:
                raise RecordError(f"{path} is of another run ({record.id}): search again")
            trials.append(record)
        except RecordError as error:
            warn_once(f"left out: {error}")
    return trials


def load_measurements(paths: Iterable[Path], check: Callable[[dict[str, Any]], object]) -> Measurements:
    """Results of which no run is behind.

    Args:
        paths: of the files.
        check: raises ValueError where one does not hold what it must.
    """
    loaded = {}
    for path in sorted(paths):
        try:
            if not is_name(path.name):
                raise DamagedFileError(f"{str(path)!r} is no name of a file of results")
            loaded[path.name] = read_json(path, check)
        except (FileNotFoundError, DamagedFileError) as error:
            warn_once(f"left out: {error}; delete it to measure it again")
    return loaded


def load_linear_systems(folder: Path) -> Measurements:
    """The descents on linear systems in a folder."""
    return load_measurements(folder.glob("*.json"), schemas.check_linear)


def load_bench(path: Path, kind: str) -> dict[str, Any] | None:
    """The measurements in a file; None if there is none, or if it is damaged, which is said."""
    return load_measurements([path], schemas.bench_check(kind)).get(path.name) if path.is_file() else None
