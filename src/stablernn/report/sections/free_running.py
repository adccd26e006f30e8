"""What models say by themselves after a source: items and whole targets that are right."""

from stablernn.records.record import Record
from stablernn.report.labels import over_seeds
from stablernn.report.load import Analyses, setting
from stablernn.report.names import MODEL_NAMES
from stablernn.report.table import Column, Entry, Table, Value, key, text
from stablernn.utils.metrics import share


def free_running_table(analyses: Analyses) -> Table:
    """A line for each model, means over its seeds."""
    columns = [
        *(text("model"), text("attention"), text("stability"), key("seeds")),
        Column("items, true inputs", ".1f", unit="%"),
        Column("items, own outputs", ".1f", unit="%"),
        Column("own outputs: sequences right", ".1f", unit="%"),
    ]
    entries: list[list[Entry]] = []
    runs = []
    for run, stability, group in over_seeds(analyses):
        record = group[0][0]
        shares = [
            Value.mean([float(share(result[inputs][first : first + 2])) for _, result in group])
            for inputs, first in (("true", 0), ("own", 0), ("own", 2))
        ]
        entries.append([_model(record, run), _attention(record), stability, len(group), *shares])
        runs.append(tuple(record.id for record, _ in group))
    notes = [
        f"per cent of {analyses[0][1]['options']['split']}, mean over seeds ± standard deviation, best weights; an "
        "item is the most probable one after those before it, which are the true ones or the model’s own",
        "sequences right: with every item, the end included; it is the same with true inputs, as until the first "
        "mistake both read the same",
    ]
    return Table("Targets said by the model itself", columns, entries, notes, runs=runs, name="free_running")


def _model(record: Record, run: str) -> str:
    """Without k where all inputs are read."""
    name = str(setting(record, "model.name"))
    return MODEL_NAMES.get(name, name) if setting(record, "approximation.name") == "recurrent" else run


def _attention(record: Record) -> str:
    return (record.config["model"].get("backbone") or {}).get("attention") or "none"
