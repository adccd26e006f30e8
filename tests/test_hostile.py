"""Files from elsewhere: hostile names, damaged files, swapped files, links, and the page's server."""

import contextlib
import csv
import http.client
import io
import json
import math
import os
import re
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import ROOT, SMALL
from rich.console import Console
from test_report import curve, plain_table, record

from stablernn.config.compose import compose
from stablernn.config.identity import run_id
from stablernn.config.validate import check
from stablernn.experiments.command_line import configure_logging
from stablernn.experiments.grids import winner_file, winner_settings
from stablernn.experiments.study import publish
from stablernn.models.heads.softmax import FullSoftmax
from stablernn.monitoring.folder import FAILED, Runs
from stablernn.monitoring.view import view
from stablernn.records.record import read_run
from stablernn.report.contents import chapters, verdicts
from stablernn.report.drawing import export, page
from stablernn.report.evidence import Evidence, gather
from stablernn.report.figure import Axis, Curve, Drawing
from stablernn.report.formats import comma_separated, markdown, rich_table
from stablernn.report.latex import latex
from stablernn.report.load import analyses_of, load_records, read_folder
from stablernn.report.palette import COLOURS
from stablernn.report.serve import make_server
from stablernn.report.table import Column, Table, text
from stablernn.report.write import write_report
from stablernn.training import checkpoint
from stablernn.training.run import run
from stablernn.training.trained import find_runs
from stablernn.utils.console import Terminal, warn_once
from stablernn.utils.errors import CheckpointError, ConfigurationError, DamagedFileError, RecordError, StorageError
from stablernn.utils.escaping import latex_label
from stablernn.utils.files import open_lock, read_bytes, read_json, write_json

COMMITTED = ROOT / "results"
ESC = "\x1b]0;owned\x07\x1b[31m"
HOSTILE = [
    "/../../x",
    "..",
    "",
    "a/b",
    "a b",
    "\\input{/etc/passwd}",
    "=1+1",
    "<script>alert(1)</script>",
    f"a{ESC}",
    "a\n",
    "a\0b",
    "ä",
    "a" * 200,
    "-rf",
    "a`b",
    "a|b",
]
NAMES = ["dataset.name", "model.name", "head.name", "stability.name", "approximation.name", "profile.name"]


# ---- names


@pytest.mark.parametrize("option", NAMES)
@pytest.mark.parametrize("name", HOSTILE, ids=repr)
def test_a_name_is_refused_where_it_is_set(option, name, small):
    config = small()
    group, key = option.split(".")
    config[group][key] = name
    with pytest.raises(ConfigurationError, match=rf"^{option}=") as caught:
        check(config)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    config[group][key] = "a-Name_1.5+b"
    check(config)


@pytest.mark.parametrize("entry", ["config.profile", "config.model", "config.head", "config.stability", "data"])
@pytest.mark.parametrize("name", HOSTILE, ids=repr)
def test_a_name_is_refused_where_it_is_read(entry, name, tmp_path, caplog):
    good, bad = record(90.0), record(91.0, seed=1)
    good.write(tmp_path / "records" / good.id)
    node = {"config": bad.config, "data": bad.data}
    for key in entry.split("."):
        node = node.setdefault(key, {})
    node["name"] = name
    bad.write(tmp_path / "records" / bad.id)
    assert [found.id for found in load_records(tmp_path / "records")] == [good.id]
    assert f"{bad.id}/record.json" in caplog.text


def test_a_report_on_hostile_names_writes_nothing_outside_its_folder(tmp_path):
    good = record(90.0)
    good.write(tmp_path / "in" / "records" / good.id)
    for seed, key in enumerate(("profile", "model", "stability"), 1):
        bad = record(91.0, seed=seed)
        bad.config[key]["name"] = "/../../../x"
        bad.write(tmp_path / "in" / "records" / bad.id)
    before = {path for path in tmp_path.rglob("*") if "in" not in path.relative_to(tmp_path).parts}
    write_report(tmp_path / "in" / "records", tmp_path / "in" / "results", None)
    assert {path for path in tmp_path.rglob("*") if "in" not in path.relative_to(tmp_path).parts} == before
    assert (tmp_path / "in" / "results" / "report" / "index.html").is_file()


# ---- escaping

TEXTS = [
    "\\input{/etc/passwd} \\write18{id} ^^5c",
    "‖\\input{x}‖_2",
    "‖$\\write18{id}$‖",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "@SUM(A1)",
    "-2+3",
    " =1",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "![a](http://x) [b](javascript:alert(1))",
    "a | b",
    f"{ESC}red",
    "[red]markup[/red] [link=http://x]y[/link]",
    "a\nb\rc",
    "\u202eright to left",
    "\ufffe\uffff\x00",
]


def hostile_table(text: str) -> Table:
    rows = [[text, text, 1.0]]
    return plain_table([text] * 3, rows, [text], [text], title=text, name="n", place="p", where=text)


@pytest.mark.parametrize("text", TEXTS, ids=repr)
def test_text_is_shown_and_never_obeyed_in_every_format_of_a_table(text):
    shown = hostile_table(text)
    written = latex(shown)
    assert not re.search(r"\\(input|write|include|immediate|catcode|openout)\b", written)
    assert written.count("$") % 2 == 0
    assert "^^" not in written
    cells = [cell for row in csv.reader(io.StringIO(comma_separated(shown))) for cell in row]
    assert cells
    assert not [cell for cell in cells if cell.lstrip()[:1] in tuple("=+-@")]
    told = markdown(shown)
    assert not re.search(r"(?<!\\)<[A-Za-z/!?]", told)
    assert "](" not in told
    assert len({line.replace("\\|", "").count("|") for line in told.splitlines() if line.startswith("|")}) == 1
    out = io.StringIO()
    Terminal(file=out, force_terminal=True, width=200).print(rich_table(shown))
    assert not re.search("[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e]", out.getvalue())
    assert not re.search("\x1b(?!\\[[0-9;]*m)", out.getvalue())
    for other in (written, told, "".join(cells)):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", other)


def test_numbers_stay_numbers_in_a_spreadsheet():
    numbers = [0.5, -3, -1.5e-07, 1234, math.inf, None]
    shown = Table("t", [text("a"), Column("b", "+,g")], [["x", number] for number in numbers], [])
    rows = list(csv.reader(io.StringIO(comma_separated(shown))))[1:]
    assert [row[1] for row in rows] == ["+0.5", "-3", "-1.5e-07", "+1234", "+inf", ""]


@pytest.mark.parametrize("text", TEXTS, ids=repr)
def test_a_figure_of_any_text_is_drawn(text, tmp_path):
    drawing = Drawing()
    drawing.line(text, Curve(text, next(iter(COLOURS))), [(1, 2), (2, 3)], ["run"])
    figure = drawing.figure("f", text, text, Axis(text), Axis(text))
    assert figure is not None
    svg, png = export(replace(figure, where=text), tmp_path)
    assert png.stat().st_size > 1000
    drawn = svg.read_text(encoding="utf-8")
    assert "<script" not in drawn
    assert "onerror=alert(1)>" not in drawn
    assert not re.search("[\x00-\x08\x0b-\x1f]", drawn)


def hostile_record(text: str, **changes):
    entry = record(90.0, **changes)
    entry.experiment = entry.commit = entry.finished_at = text
    entry.hardware |= {"device": text, text: text}
    entry.versions = {text: text}
    entry.certificate = {"certified": False, "reason": text}
    return entry


@pytest.mark.parametrize("text", [TEXTS[0] + TEXTS[8] + ESC + "=1", "=" + ESC], ids=["all", "formula"])
def test_a_whole_report_of_hostile_text_is_written_and_obeys_none_of_it(text, tmp_path, capfd):
    for stability in ("unstable", "stable"):
        entry = hostile_record(text, stability=stability)
        folder = tmp_path / "records" / "perplexity" / entry.id
        entry.write(folder)
        result = curve([100.0, 91.0, 90.0])
        result["certified"]["reason"] = text
        write_json(folder / "truncation.json", result)
    files = write_report(tmp_path / "records", tmp_path, None)
    assert {path.suffix for path in files} == {".csv", ".tex", ".md", ".svg", ".png", ".html"}
    for path in files:
        if path.suffix == ".png":
            continue
        written = path.read_text(encoding="utf-8")
        assert "\x1b" not in written, path
        if path.suffix == ".tex":
            assert not re.search(r"\\(input|write)", written), path
        if path.suffix == ".md":
            assert not re.search(r"(?<!\\)<[A-Za-z/]", written), path
        if path.suffix == ".csv":
            rows = list(csv.reader(io.StringIO(written)))
            assert not [cell for row in rows for cell in row if cell.startswith(("=", "@"))], path
        if path.suffix == ".html":
            assert "<script>alert" not in written
            assert "onerror=alert(1)>" not in written.replace("&lt;img src=x onerror=alert(1)&gt;", "")


def test_the_view_of_runs_and_the_log_show_escape_sequences_as_text(tmp_path, capfd):
    folder = tmp_path / "embedded-lstm-stable-recurrent-k5-s0-00000000"
    write_json(folder / "progress.json", {"ended": f"no{ESC}[bold]", "fingerprint": ESC})
    out = io.StringIO()
    states = Runs(tmp_path, None, 300).states()
    Terminal(file=out, width=100).print(view(states, f"title{ESC}"))
    assert "\\x1b" in out.getvalue()
    assert "\x1b" not in out.getvalue()
    assert "[bold]" in out.getvalue()
    configure_logging()
    from stablernn.utils.console import log

    log.warning(f"left out: {ESC}")
    assert "\x1b]0" not in capfd.readouterr().err


# ---- damage


RUN = ("record", "test_blocks")
ANALYSES = (
    "certificate",
    "certificate_on_text",
    "contraction",
    "exposure",
    "gradient_horizon",
    "recurrence",
    "truncated_gradient",
    "truncation",
    "weight_distance",
)


def committed_results(folder: Path, analyses=ANALYSES) -> Path:
    """A small copy of the committed results with a file of every kind."""
    for name in analyses:
        source = sorted((COMMITTED / "records").rglob(f"{name}.json"))[0].parent
        shutil.copytree(source, folder / source.relative_to(COMMITTED), dirs_exist_ok=True)
    linear = folder / "records" / "linear_systems"
    linear.mkdir(parents=True)
    for name in ("matrix-0.5-s0.json", "scalar-0.5.json"):
        shutil.copy(COMMITTED / "records" / "linear_systems" / name, linear)
    (folder / "bench").mkdir()
    shutil.copy(COMMITTED / "bench" / "sequences-amd-epyc.json", folder / "bench")
    return folder


def committed_of(folder: Path, kind: str) -> Path:
    """What a file of one kind needs to be shown; a report on every kind takes many times as long."""
    of_a_run = kind in ANALYSES or kind in RUN
    results = committed_results(folder, [kind] if kind in ANALYSES else ["truncation"] if of_a_run else [])
    for other in results.rglob("*.json"):
        if other.stem != kind and not (of_a_run and other.stem in RUN):
            other.unlink()
    return results


def told(results: Path) -> list[str]:
    """Every table of a report, as Markdown, and every verdict."""
    evidence: Evidence = gather(results / "records", results)
    made = chapters(evidence)
    tables = [markdown(shown) for chapter in made for block in chapter.blocks for shown in block.tables]
    return tables + [str(judgement.verdict) for _, found in verdicts(evidence) for judgement in found]


KINDS = [*RUN, *ANALYSES, "matrix-0.5-s0", "scalar-0.5", "sequences-amd-epyc"]


@contextlib.contextmanager
def damaged(results: Path, kind: str, content: bytes):
    path = sorted(results.rglob(f"{kind}.json"))[0]
    whole = path.read_bytes()
    path.write_bytes(content)
    try:
        yield path
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_of_any_kind_is_named_and_left_out(kind, tmp_path, caplog):
    results = committed_of(tmp_path, kind)
    before = told(results)
    assert not caplog.text
    path = sorted(results.rglob(f"{kind}.json"))[0]
    whole = path.read_bytes()
    digit = re.search(rb"\d(?=\d*\.\d|\d)", whole)
    assert digit is not None
    at = digit.start()
    cases = {
        "a flipped digit": whole[:at] + (b"1" if whole[at : at + 1] != b"1" else b"2") + whole[at + 1 :],
        "half": whole[: len(whole) // 2],
        "nothing": b"",
        "deep": b"[" * 20_000,
        "deep and closed": b'{"a":' * 500 + b"1" + b"}" * 500,
        "a list": b"[1, 2]",
        "no checksum": re.sub(rb'"checksum"', b'"checksun"', whole),
        "no text": b"\xff\xfe",
        "half of a pair": b'{"a": "\\ud800"}',
    }
    for case, content in cases.items():
        assert content != whole
        caplog.clear()
        warn_once.cache_clear()
        with damaged(results, kind, content) as path:
            if kind == "test_blocks" and case == "no checksum":
                continue  # the record has its checksum as well
            after = told(results)
        assert path.name in caplog.text, case
        assert after != before or kind in ("record", "test_blocks"), case
    caplog.clear()
    assert told(results) == before


def altered(node, path=()):
    """Every place in a JSON value, of a list the first entry alone, with what could stand there instead."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield path, key, "gone"
            yield from altered(value, (*path, key))
    elif isinstance(node, list) and node:
        yield from altered(node[0], (*path, 0))
    for other in ("text", None, -1, [], {}, 1e400):
        if path:
            yield path[:-1], path[-1], other


@pytest.mark.parametrize("every", [23, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in RUN])
def test_a_file_of_another_making_under_a_checksum_that_fits_ends_no_report(kind, every, tmp_path, caplog):
    results = committed_of(tmp_path, kind)
    path = sorted(results.rglob(f"{kind}.json"))[0]
    whole = read_json(path)
    del whole["versions"]
    for part in ("cases", "curves"):  # two of many that are alike
        whole |= {part: dict(list(whole[part].items())[:2])} if part in whole else {}
    tried = left_out = 0
    for parents, key, other in list(altered(whole))[::every]:
        values = json.loads(json.dumps(whole))
        node = values
        for parent in parents:
            node = node[parent]
        if other == "gone":
            del node[key]
        else:
            node[key] = other
        caplog.clear()
        before = path.read_bytes()
        try:
            write_json(path, values)
            told(results)
        finally:
            path.write_bytes(before)
        tried += 1
        left_out += path.name in caplog.text
    assert tried >= 4
    assert 0 < left_out < tried


def test_a_checksum_is_of_the_values_and_not_of_their_layout(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"b": [1, 2.5, None], "a": {"x": True}})
    path.write_text(json.dumps(json.loads(path.read_text()), separators=(",", ":")))
    assert read_json(path) == {"b": [1, 2.5, None], "a": {"x": True}}
    path.write_text(path.read_text().replace("2.5", "2.6"))
    with pytest.raises(DamagedFileError, match=r"a\.json is damaged \(its checksum does not fit\)"):
        read_json(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read_json(path)


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_committed_files_carry_their_checksums(every):
    files = sorted(COMMITTED.rglob("*.json"))
    assert len(files) > 500
    for path in files[::every]:
        if path.name == "record.json":
            assert read_run(path.parent).id == path.parent.name, path
        else:
            assert read_json(path), path


# ---- swapped files


@pytest.fixture(scope="module")
def two_seeds(tmp_path_factory):
    """Two finished runs that differ in their seed alone."""
    folder = tmp_path_factory.mktemp("seeds")
    configs = [compose("train", [*SMALL, f"runs={folder}", "training.max_updates=2", f"seed={n}"]) for n in (0, 1)]
    for config in configs:
        run(config)
    return configs


def copies(two_seeds, tmp_path):
    """The runs in a folder of the test's own."""
    found = []
    for config in two_seeds:
        shutil.copytree(Path(config.runs) / run_id(config), tmp_path / run_id(config))
        config = config.copy()
        config.runs = str(tmp_path)
        found.append(config)
    return found, [tmp_path / run_id(config) for config in found]


@pytest.mark.parametrize("file", [checkpoint.BEST, checkpoint.LAST])
def test_the_weights_of_another_run_are_not_taken_for_its_own(file, two_seeds, tmp_path):
    configs, folders = copies(two_seeds, tmp_path)
    stage = {checkpoint.BEST: "best", checkpoint.LAST: "last"}[file]
    (whole,) = find_runs(run_id(configs[1]), tmp_path, None, torch.device("cpu"))
    whole.model(stage)
    shutil.copy(folders[0] / file, folders[1] / file)
    (swapped,) = find_runs(run_id(configs[1]), tmp_path, None, torch.device("cpu"))
    with pytest.raises(CheckpointError, match=f"{file} holds the weights of '{run_id(configs[0])}'"):
        swapped.model(stage)


def test_the_record_of_another_run_is_not_taken_for_its_own(two_seeds, tmp_path, caplog):
    configs, folders = copies(two_seeds, tmp_path)
    for name in ("record.json", "history.jsonl", "test_blocks.json"):
        shutil.copy(folders[0] / name, folders[1] / name)
    with pytest.raises(RecordError, match="is of another run"):
        find_runs(run_id(configs[1]), tmp_path, None, torch.device("cpu"))
    assert [found.id for found in load_records(tmp_path)] == [run_id(configs[0])]
    assert "is of another run" in caplog.text
    assert [state.state for state in Runs(tmp_path, None, 300).states()].count("failed") == 1
    assert run(configs[1]).id == run_id(configs[1])
    assert read_run(folders[1]).config["seed"] == 1


def test_the_analysis_of_another_run_is_not_taken_for_its_own(tmp_path, caplog):
    entry = record(90.0)
    entry.write(tmp_path / entry.id)
    write_json(tmp_path / entry.id / "truncation.json", curve([100.0, 90.0]) | {"run": "another"})
    assert analyses_of(read_folder(tmp_path), "truncation") == []
    assert "truncation.json is of another run" in caplog.text
    write_json(tmp_path / entry.id / "truncation.json", curve([100.0, 90.0]) | {"run": entry.id})
    assert len(analyses_of(read_folder(tmp_path), "truncation")) == 1


# ---- links


def test_a_lock_that_is_a_link_truncates_nothing(two_seeds, tmp_path):
    config = two_seeds[0].copy()
    config.runs = str(tmp_path / "runs")
    precious = tmp_path / "precious"
    precious.write_text("a thesis")
    folder = tmp_path / "runs" / run_id(config)
    folder.mkdir(parents=True)
    (folder / ".lock").symlink_to(precious)
    with pytest.raises(StorageError, match=r"\.lock is a link"):
        run(config)
    assert precious.read_text() == "a thesis"
    (folder / ".lock").unlink()
    assert run(config).status == "finished"


@pytest.mark.parametrize("name", ["snapshots", "kept", "best.safetensors"])
def test_a_run_writes_through_no_link(name, two_seeds, tmp_path):
    config = two_seeds[0].copy()
    config.runs = str(tmp_path / "runs")
    (tmp_path / "elsewhere").mkdir()
    folder = tmp_path / "runs" / run_id(config)
    folder.mkdir(parents=True)
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match=f"{name} is a link"):
        run(config)
    assert not any((tmp_path / "elsewhere").iterdir())


def test_a_run_folder_that_is_a_link_is_refused_and_a_folder_of_runs_may_be_one(two_seeds, tmp_path, caplog):
    config = two_seeds[0].copy()
    (tmp_path / "disk").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "disk")
    config.runs = str(tmp_path / "runs")
    assert run(config).status == "finished"
    moved = tmp_path / "moved"
    (tmp_path / "disk" / run_id(config)).rename(moved)
    (tmp_path / "disk" / run_id(config)).symlink_to(moved)
    with pytest.raises(StorageError, match="is a link"):
        find_runs(run_id(config), tmp_path / "runs", None, torch.device("cpu"))
    with pytest.raises(RecordError, match=rf"{run_id(config)} is a link, and links in a folder of runs are not"):
        run(config)
    assert load_records(tmp_path / "runs") == []
    assert f"left out: {tmp_path / 'runs' / run_id(config)} is a link" in caplog.text
    (state,) = Runs(tmp_path / "runs", None, 60).states()
    assert state.state == FAILED
    (moved / "record.json").unlink()
    (state,) = Runs(tmp_path / "runs", None, 60).states()
    assert "is a link" in state.note


def test_publishing_follows_links_in_neither_direction(two_seeds, tmp_path):
    configs, folders = copies(two_seeds, tmp_path / "runs")
    (runs,) = find_runs(run_id(configs[0]), tmp_path / "runs", None, torch.device("cpu"))
    secret = tmp_path / "secret"
    secret.write_text("mine")
    home = tmp_path / "results" / "study"
    publish([runs], home, set())
    assert (home / run_id(configs[0]) / "record.json").read_bytes() == (folders[0] / "record.json").read_bytes()
    (folders[0] / "secret.json").symlink_to(secret)
    with pytest.raises(StorageError, match=r"secret\.json is a link"):
        publish([runs], home, set())
    (folders[0] / "secret.json").unlink()
    target = home / run_id(configs[0]) / "record.json"
    target.unlink()
    target.symlink_to(secret)
    with pytest.raises(StorageError, match=r"record\.json is a link"):
        publish([runs], home, set())
    assert secret.read_text() == "mine"
    assert not list((tmp_path / "results").rglob("secret*"))


def test_a_record_behind_a_link_is_named_and_left_out(tmp_path, caplog):
    entry = record(90.0)
    entry.write(tmp_path / "outside" / entry.id)
    folder = tmp_path / "records" / entry.id
    folder.mkdir(parents=True)
    (folder / "record.json").symlink_to(tmp_path / "outside" / entry.id / "record.json")
    assert load_records(tmp_path / "records") == []
    assert "record.json" in caplog.text


# ---- the page's server


@pytest.fixture
def served(report):
    """Asks the server of the page: status, headers and content."""
    with make_server(report / "report", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def ask(path: str, host: str | None = None):
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
            connection.putrequest("GET", path, skip_host=True)
            if host != "":
                connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

        yield ask
        server.shutdown()


def test_every_link_of_the_page_is_served(served, report):
    status, headers, _ = served("/")
    assert status == 302
    home = headers["Location"]
    status, _, content = served(home)
    assert status == 200
    assert content == (report / "report" / "index.html").read_bytes()
    links = set(re.findall(rb'href="(\.\./[^"]+)"', content))
    assert len(links) > 10
    for link in links:
        path = link.decode().removeprefix("..")
        status, _, content = served(path)
        assert status == 200, path
        assert content == (report / path.lstrip("/")).read_bytes()


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "", "localhost.evil.example", "127.0.0.1.nip.io"]
)
def test_only_requests_that_name_this_machine_are_answered(host, served):
    assert served("/report/index.html", host)[0] == 403
    for own in ("localhost", "localhost:9999", "127.0.0.1:1", "[::1]:8000"):
        assert served("/report/index.html", own)[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "/%00",
        "/%0a",
        "/report/%00",
        "/report/%ff",
        "/report/",
        "/tables/",
        "/records/",
        "/bench/sequences-a-processor.json",
        "/../x",
        "/report/../tables/perplexity.md/",
        "/tables/%2e%2e/report/index.html",
        "//etc/passwd",
    ],
)
def test_nothing_else_is_served_and_no_path_ends_in_a_traceback(path, served, capfd):
    assert served(path)[0] == 404
    assert "Traceback" not in capfd.readouterr().err


def test_no_link_in_the_folder_of_the_page_is_followed(report, served, tmp_path):
    secret = tmp_path / "secret.html"
    secret.write_text("mine")
    link = report / "report" / "link.html"
    link.symlink_to(secret)
    try:
        assert served("/report/link.html")[0] == 404
    finally:
        link.unlink()


# ---- the rest


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o027, 0o640)])
def test_files_have_the_modes_that_the_umask_leaves(umask, mode, tmp_path):
    before = os.umask(umask)
    try:
        write_json(tmp_path / "a.json", {})
        checkpoint.save(tmp_path / "a.safetensors", {"a": torch.ones(2)}, {})
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {mode}


def test_no_log_probability_is_above_zero():
    for types in (1, 2, 1000):
        torch.manual_seed(types)
        softmax = FullSoftmax(types, 16)
        softmax.initialise(3.0)
        features, targets = 5 * torch.randn(2000, 16), torch.randint(types, (2000,))
        targets[:1000] = softmax.logits(features[:1000]).argmax(1)  # words that are nearly sure
        assert softmax.log_probabilities(features, targets).max() <= 0
        assert softmax.log_probabilities_and_moments(features, targets)[0].max() <= 0
        for one, target in zip(features[:50], targets[:50], strict=True):
            assert softmax(one[None], target[None]) >= 0


@pytest.mark.parametrize(
    "content",
    [b"[" * 20_000, b"{", b"[]", b'{"total": "many"}', b'{"update": [1]}', b"\xff", b'{"ended": {"a": 1}}'],
    ids=lambda content: repr(content[:20]),
)
def test_a_broken_progress_file_is_one_clear_line(content, tmp_path):
    folder = tmp_path / "embedded-lstm-stable-recurrent-k5-s0-00000000"
    folder.mkdir()
    (folder / "progress.json").write_bytes(content)
    (state,) = Runs(tmp_path, None, 300).states()
    assert "progress.json is damaged" in state.note
    assert "\n" not in state.note
    out = io.StringIO()
    Console(file=out, width=100).print(view([state], "title"))
    assert "progress.json" in out.getvalue()


@pytest.mark.parametrize("content", [b"a: [1", b"- 1\n", b"\xff", b"a: ${b", b"a: !!python/object:os.system 1", b""])
def test_a_broken_file_of_winners_is_one_clear_line(content, tmp_path):
    path = winner_file(tmp_path, "wikitext2", "lstm", "quick")
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=re.escape(f"{path} is not a winner of a search (")) as caught:
        winner_settings(path)
    assert "\n" not in str(caught.value)


def test_a_winner_of_a_text_with_an_underscore_that_is_missing_names_its_search(tmp_path):
    with pytest.raises(ConfigurationError, match="profile=quick dataset=my_text"):
        winner_settings(winner_file(tmp_path, "my_text", "lstm", "quick"))


def test_the_page_of_a_figure_names_no_baseline_character(tmp_path):
    entry = hostile_record(ESC)
    entry.write(tmp_path / "records" / entry.id)
    evidence = gather(tmp_path / "records", tmp_path)
    assert "\x1b" not in page(evidence, chapters(evidence))


@pytest.mark.parametrize("text", [r"a}\input{x", "a_b{c}", r"\write18{id}", "%~#&$^"])
def test_a_label_of_latex_is_letters_digits_dots_and_hyphens(text):
    assert re.fullmatch(r"[A-Za-z0-9.-]+", latex_label(text))


@pytest.mark.parametrize("opened", [read_bytes, open_lock])
def test_a_file_behind_a_link_is_not_opened(opened, tmp_path):
    (tmp_path / "secret").write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="link"):
        opened(tmp_path / "link")


def test_the_weights_of_another_update_of_the_run_are_not_taken_for_its_best(two_seeds):
    (trained, *_) = find_runs("*", Path(two_seeds[0].runs), None, torch.device("cpu"))
    trained.model("best")
    later = replace(trained.record, progress=trained.record.progress | {"best_update": 10**6})
    with pytest.raises(CheckpointError, match="after update 1000000"):
        replace(trained, record=later).model("best")
