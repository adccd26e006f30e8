"""What the page says of every run, and of every file of measurements."""

from dataclasses import dataclass
from typing import Any

from stablernn.records.record import Record
from stablernn.report.data import setting, settings_of
from stablernn.report.evidence import Evidence
from stablernn.utils.wording import counted


@dataclass(frozen=True)
class Source:
    """Name, a word on it, and its facts."""

    id: str
    summary: str
    facts: dict[str, str]
    configuration: str = ""


def runs_of(evidence: Evidence) -> dict[str, list[Source]]:
    """All that any number may lead to, by text and profile, or by kind of measurement."""
    groups: dict[str, dict[str, Source]] = {}
    for data in (*evidence.slices, *evidence.tasks, *evidence.trials):
        groups.setdefault(data.caption, {}).update({record.id: _run(record) for record in data.records})
    runs = {title: list(group.values()) for title, group in groups.items()}
    runs["Speed"] = [_measurement(name, measured) for name, measured in evidence.lengths.items()]
    runs["Linear systems"] = [_linear(name, result) for name, result in evidence.linear.items()]
    return {title: group for title, group in runs.items() if group}


def _run(record: Record) -> Source:
    test = record.metrics.get("test", {}).get("value")
    hardware = record.hardware
    epochs = counted(f"{record.progress['epochs']:.2g}", "epoch")
    updates = counted(record.progress["updates"], "update")
    return Source(
        record.id,
        record.status if test is None else f"test {record.metric.name} {test:.{record.metric.places}f}",
        {
            "status": record.status,
            "seed": str(setting(record, "seed")),
            "trained": f"{epochs}, {updates}, {_duration(record.speed['seconds'])}",
            "hardware": ", ".join([hardware["device"], *(f"{k} {v}" for k, v in hardware.items() if k != "device")]),
            "commit": record.commit,
            "versions": ", ".join(f"{name} {version}" for name, version in record.versions.items()),
            "finished": record.finished_at,
            "text": f"{record.data['name']}, fingerprint {record.data['fingerprint']}, "
            + ", ".join(f"{count:,} {split}" for split, count in record.data["tokens"].items()),
            **_scores(record),
        },
        "\n".join(f"{key}={_plain(value)}" for key, value in _settings(record).items()),
    )


def _scores(record: Record) -> dict[str, str]:
    return {
        f"{split} {record.metric.name}": f"{score['value']:.2f}"
        for split, score in record.metrics.items()
        if isinstance(score, dict) and score.get("value") is not None
    }


def _settings(record: Record) -> dict[str, Any]:
    config = record.config
    constraint = {f"stability.constraint.{key}": value for key, value in config["stability"]["constraint"].items()}
    settings = {key: value for key, value in settings_of(record).items() if not key.endswith("._partial_")}
    return settings | {
        "seed": config["seed"],
        "profile": config["profile"]["name"],
        "dataset": config["dataset"]["name"],
        "stability": config["stability"]["name"],
        **constraint,
    }


def _plain(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _measurement(name: str, measured: dict[str, Any]) -> Source:
    commits = dict.fromkeys(case.get("commit", "unknown") for case in measured["cases"].values())
    return Source(
        name,
        "measurements of speed",
        {
            "hardware": f"{measured['hardware']}, threads {measured['threads']}",
            "commit": ", ".join(commits),
            "cases": f"{len(measured['cases'])}",
            "file": f"results/bench/{name}",
        },
    )


def _linear(name: str, result: dict[str, Any]) -> Source:
    options = result["options"]
    return Source(
        name,
        f"linear system, {options['kind']}",
        {"commit": result.get("commit", "unknown"), "file": f"linear_systems/{name}"},
        "\n".join(f"{key}={_plain(value)}" for key, value in options.items()),
    )
