"""The page: verdicts, tables, interactive figures and every run in one file that asks nothing of any network."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup, escape

from stablernn.record import Record
from stablernn.report import page_figures as figures
from stablernn.report.certificate import certificate_table
from stablernn.report.charts import FONT, PAGE_COLOURS, Figure
from stablernn.report.contraction import contraction_table
from stablernn.report.evidence import Evidence
from stablernn.report.gradient_horizon import gradient_horizon_table
from stablernn.report.judgement import typeset
from stablernn.report.linear_systems import linear_tables
from stablernn.report.load import Section, setting
from stablernn.report.price import price_table
from stablernn.report.sequences import curve_table, memory_table, sequence_table
from stablernn.report.sweep import sweep_table
from stablernn.report.tables import Table, settings_of, table
from stablernn.report.truncation import truncation_summary
from stablernn.report.verdicts import verdicts
from stablernn.report.weight_distance import weight_distance_table

PAGE = "index.html"


@dataclass(frozen=True)
class Block:
    """What stands under one heading of a chapter: figures and tables of one text, profile or machine."""

    title: str
    figures: list[Figure]
    tables: list[Table]


@dataclass(frozen=True)
class Run:
    """What the page tells of a run, or of a file of measurements: name, a word on it, and its facts."""

    id: str
    summary: str
    facts: dict[str, str]
    configuration: str = ""


def page(evidence: Evidence) -> str:
    """The whole page; the same text from the same records."""
    chapters = list(_chapters(evidence))
    drawn = [figure for _, _, blocks in chapters for block in blocks for figure in block.figures]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("assets")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["typeset"] = _typeset
    runs = [_run(record) for part in evidence.parts for record in part.records]
    assets = Path(__file__).with_name("assets")
    return environment.get_template("page.html").render(
        verdicts=verdicts(evidence),
        chapters=chapters,
        runs=[
            *runs,
            *(_measurement(name, measured) for name, measured in evidence.lengths.items()),
            *(_linear(name, result) for name, result in evidence.linear.items()),
        ],
        texts=[part.caption for part in evidence.parts],
        colours=PAGE_COLOURS,
        font=Markup(FONT),
        style=Markup((assets / "page.css").read_text(encoding="utf-8")),
        script=Markup((assets / "page.js").read_text(encoding="utf-8")),
        library=Markup(_library()),
        curves=_inline({f.name: [asdict(curve) for curve in f.curves] for f in drawn}),
        panels=_inline({f.name: [panel for _, panel in f.panels] for f in drawn}),
    )


@cache
def _library() -> str:
    """Vega, Vega-Lite and their loader as one script."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script")


def _inline(value: Any) -> Markup:
    """JSON that no parser of HTML takes for markup."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _typeset(text: str) -> Markup:
    """`name` as code, λ_r and ‖W‖_F with their index below, numbers as a compositor sets them."""
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(typeset(text))))
    return Markup(re.sub(r"((?<!\w)[A-Zλ]|‖)_(\w+)", r"\1<sub>\2</sub>", marked))


def _chapters(evidence: Evidence) -> Iterator[tuple[str, str, list[Block]]]:
    """Anchor, title and blocks of each chapter that has any."""

    def of(part: Section, name: str, make: Callable[..., Table]) -> list[Table]:
        found = evidence.of(part, name)
        return [make(found)] if found else []

    def block(title: str, drawn: Sequence[Figure | None], tables: Sequence[Table | None]) -> Block:
        return Block(title, [figure for figure in drawn if figure], [shown for shown in tables if shown])

    certificates = evidence.analyses("certificate")
    chapters = [
        (
            "perplexity",
            "Perplexity, unstable and stable",
            [block(part.caption, [figures.learning_curves(part)], [table(part)]) for part in evidence.study],
        ),
        (
            "price",
            "What stability costs",
            [
                block(part.caption, [figures.price_curves(part)], [price_table(part, certificates)])
                for part in evidence.parts
            ],
        ),
        (
            "truncation",
            "Truncated after training",
            [
                block(
                    part.caption,
                    [figures.truncation_curves(part, found), figures.gaps(part, found)],
                    of(part, "truncation", truncation_summary),
                )
                for part in evidence.parts
                for found in [evidence.of(part, "truncation")]
            ],
        ),
        (
            "training",
            "Trained recurrent and feed-forward",
            [block(part.caption, [figures.sweep_curves(part)], [sweep_table(part)]) for part in evidence.swept],
        ),
        (
            "weights",
            "Weights of different k",
            [
                block(
                    part.caption,
                    [figures.distance_curves(part, evidence.of(part, "weight_distance"))],
                    of(part, "weight_distance", weight_distance_table),
                )
                for part in evidence.parts
            ],
        ),
        (
            "contraction",
            "Contraction on the data",
            [
                block(
                    part.caption,
                    [figures.contraction_curves(part, evidence.of(part, "contraction"))],
                    of(part, "contraction", contraction_table),
                )
                for part in evidence.parts
            ],
        ),
        (
            "gradients",
            "Gradients",
            [
                block(
                    part.caption,
                    [figures.gradient_curves(part, evidence.of(part, "gradient_horizon"))],
                    of(part, "gradient_horizon", gradient_horizon_table),
                )
                for part in evidence.parts
            ],
        ),
        (
            "linear",
            "Linear systems",
            [
                block(
                    "Below and above 1",
                    [figures.linear_curves(evidence.linear)],
                    linear_tables(list(evidence.linear.values())),
                )
            ],
        ),
        (
            "speed",
            "Speed",
            [
                block(
                    measured["hardware"],
                    [figures.speed_curves(name, measured)],
                    [
                        _of_a_file(shown, name)
                        for shown in (sequence_table(measured), memory_table(measured), curve_table(measured))
                    ],
                )
                for name, measured in evidence.lengths.items()
            ],
        ),
        (
            "certificates",
            "Certificates",
            [block(part.caption, [], of(part, "certificate", certificate_table)) for part in evidence.parts],
        ),
    ]
    for anchor, title, blocks in chapters:
        if kept := [block for block in blocks if block.figures or block.tables]:
            yield anchor, title, kept


def _of_a_file(shown: Table | None, name: str) -> Table | None:
    """A table all of whose numbers come from one file of measurements."""
    if shown is None:
        return None
    first = shown.heads.index("steps") + 1 if "steps" in shown.heads else 2
    return replace(shown, runs=[dict.fromkeys(range(first, len(shown.heads)), (name,)) for _ in shown.lines])


def _run(record: Record) -> Run:
    test = record.metrics.get("test", {}).get("perplexity")
    hardware = record.hardware
    return Run(
        record.id,
        record.status if test is None else f"test perplexity {test:.1f}",
        {
            "status": record.status,
            "seed": str(setting(record, "seed")),
            "trained": f"{record.progress['epochs']:.2g} epochs, {record.progress['updates']:,} updates, "
            f"{_duration(record.speed['seconds'])}",
            "hardware": ", ".join([hardware["device"], *(f"{k} {v}" for k, v in hardware.items() if k != "device")]),
            "commit": record.commit,
            "versions": ", ".join(f"{name} {version}" for name, version in record.versions.items()),
            "finished": record.finished_at,
            "text": f"{record.data['name']}, fingerprint {record.data['fingerprint']}, "
            + ", ".join(f"{count:,} {split}" for split, count in record.data["tokens"].items()),
            **_scores(record),
        },
        "\n".join(
            f"{key}={_plain(value)}" for key, value in _settings(record).items() if not key.endswith("._partial_")
        ),
    )


def _scores(record: Record) -> dict[str, str]:
    return {
        f"{split} perplexity": f"{score['perplexity']:.2f}"
        for split, score in record.metrics.items()
        if isinstance(score, dict) and "perplexity" in score
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


def _measurement(name: str, measured: dict[str, Any]) -> Run:
    commits = dict.fromkeys(case.get("commit", "unknown") for case in measured["cases"].values())
    return Run(
        name,
        "measurements of speed",
        {
            "hardware": f"{measured['hardware']}, threads {measured['threads']}",
            "commit": ", ".join(commits),
            "cases": f"{len(measured['cases'])}",
            "file": f"results/bench/{name}",
        },
    )


def _linear(name: str, result: dict[str, Any]) -> Run:
    options = result["options"]
    return Run(
        name,
        f"linear system, {options['kind']}",
        {"commit": result.get("commit", "unknown"), "file": f"linear_systems/{name}"},
        "\n".join(f"{key}={_plain(value)}" for key, value in options.items()),
    )
