"""Dashboards: panels name what runs log, nothing waits for a network, offline runs are sent once."""

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from conftest import ROOT
from test_status import read_until

from stablernn.config.compose import compose
from stablernn.monitoring import service, sync
from stablernn.monitoring.workspace import sections, workspace, write
from stablernn.report.serve import make_server, serve
from stablernn.training import run as run_module
from stablernn.training.progress import PROGRESS_FILE
from stablernn.training.run import run
from stablernn.training.tracking import has_account
from stablernn.utils.errors import ConfigurationError, TrackingError
from stablernn.utils.files import write_json
from stablernn.utils.metrics import METRICS, PERPLEXITY, Metric


class Recorder(AbstractContextManager):
    """A tracker that keeps what it is told."""

    def __init__(self) -> None:
        self.rows: list[dict] = []
        self.summarised: dict = {}

    def check(self) -> None:
        pass

    def run(self, run_id, group, tags, config, folder):
        self.config = config
        return self

    def __exit__(self, *_) -> None:
        pass

    def log(self, values) -> None:
        self.rows.append(values)

    def summary(self, values) -> None:
        self.summarised |= values


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """What a run tells its tracker."""
    from conftest import SMALL

    recorder, make = Recorder(), run_module.make
    overrides = [
        "stability=stable",
        "training.max_updates=10",
        "truncation.k=3",
        f"runs={tmp_path_factory.mktemp('runs')}",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            run_module, "make", lambda node: recorder if "WandbTracking" in str(node.get("_target_")) else make(node)
        )
        run(compose("train", [*SMALL, "tracking=offline", *overrides]))
    return recorder


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def options(config: dict, path: str = "") -> set[str]:
    """Every option of a configuration as W&B stores it: model.value.name."""
    names = set()
    for key, value in config.items():
        here = f"{path}.{key}" if path else f"{key}.value"
        names |= options(value, here) if isinstance(value, dict) else {here}
    return names


def named(node, key: str = "") -> set[str]:
    """Every metric and option that a workspace or report asks for."""
    if isinstance(node, dict):
        found = set()
        if node.get("section") in ("config", "summary", "run") and "name" in node:
            found.add(f"{node['section']}:{node['name']}")
        for name, value in node.items():
            if name in ("columnVisible", "columnPinned"):
                found |= set(value)
            else:
                found |= named(value, name)
        return found
    if isinstance(node, list):
        return {name for item in node for name in named(item, key)}
    return {node} if key in ("xAxis", "yAxis", "metrics", "columnOrder", "groupBy") else set()


def written(folder: Path, only: dict[str, str], metric: Metric = PERPLEXITY):
    write(workspace("", "stablernn", only, metric), folder / "workspace.json")
    return json.loads((folder / "workspace.json").read_text())


def test_every_panel_column_and_group_names_what_a_run_logs(logged, tmp_path, no_network):
    history = {name for row in logged.rows for name in row}
    known = (
        history
        | set(logged.summarised)  # bars read the summary by its bare name
        | {f"summary:{name}" for name in logged.summarised}
        | {f"config:{name}" for name in options(logged.config)}
        | {"run:displayName", "run:createdAt", "_step"}
    )
    asked = named(written(tmp_path, {"dataset.name": "embedded"}))
    assert asked >= {"valid/perplexity", "update", "final/test_perplexity", "config:model.value.name"}
    assert asked <= known, asked - known


def test_a_curve_is_logged_beside_its_axis(logged):
    """W&B draws a metric against another one only where one row has both."""
    for panels in sections(PERPLEXITY).values():
        for panel in panels:
            if hasattr(panel, "x") and isinstance(panel.x, str):
                for metric in panel.y:
                    rows = [row for row in logged.rows if metric in row]
                    assert rows
                    assert all(panel.x in row for row in rows), metric


def test_the_documents_list_what_is_logged(logged):
    text = (ROOT / "docs" / "tracking.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|(.*?)\| (?:every|at|with) ", text, flags=re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`(.*?)`", row)}
    names = {name for row in logged.rows for name in row} | set(logged.summarised)
    metric, loss = PERPLEXITY.name, PERPLEXITY.of_loss.name
    assert {name.replace("METRIC", metric).replace("LOSS", loss) for name in listed} == names
    for metric in METRICS.values():
        assert f"`{metric.name}`" in text
        assert f"`{metric.of_loss.name}`" in text


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_panels_of_a_task_ask_for_the_names_that_its_runs_log(metric, tmp_path, no_network):
    asked = named(written(tmp_path, {}, metric))
    assert asked >= {f"valid/{metric.name}", f"train/{metric.of_loss.name}", f"final/test_{metric.name}"}
    others = {other.name for other in METRICS.values()} - {metric.name, metric.of_loss.name}
    assert not any(name.rpartition("/")[2].rpartition("_")[2] in others for name in asked)


def test_texts_are_never_averaged(tmp_path, no_network):
    def groups(only: dict[str, str]) -> list[str]:
        grouping = written(tmp_path, only)["spec"]["section"]["runSets"][0]["grouping"]
        return [key["name"] for key in grouping]

    assert groups({})[:2] == ["dataset.value.name", "profile.value.name"]
    assert groups({"dataset.name": "ptb"})[0] == "profile.value.name"


def test_a_push_without_a_key_names_wandb_login_and_without_a_network_says_so_soon(monkeypatch, tmp_path):
    pytest.importorskip("wandb")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert not has_account()
    with pytest.raises(ConfigurationError, match="push=true needs a W&B account: run `wandb login`"):
        service.check_service("push=true")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    assert has_account()
    monkeypatch.setattr(service, "answers", lambda address, seconds: seconds > 2)
    with pytest.raises(TrackingError, match=r"does not answer: push=true needs the network; nothing was sent"):
        service.check_service("push=true")


def test_the_probe_takes_any_answer_and_no_longer_than_it_may(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with make_server(tmp_path / "missing", 0) as server:  # answers 404
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert service.answers(f"http://127.0.0.1:{server.server_port}/x", 5)
        server.shutdown()
    assert not service.answers(f"http://127.0.0.1:{server.server_port}/", 1)  # nobody listens any more
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not service.answers(f"http://127.0.0.1:{silent.getsockname()[1]}/", 0.3)

    answered = threading.Event()

    def looks_a_name_up(*_, **__):  # which obeys no time limit
        answered.wait()
        raise OSError

    monkeypatch.setattr(urllib.request, "urlopen", looks_a_name_up)
    try:
        assert not service.answers("http://127.0.0.1/", 0.2)
    finally:
        answered.set()


def test_a_task_has_so_much_time_and_its_error_is_told():
    assert service.within(60, len, "abc") == 3
    with pytest.raises(TrackingError, match="TypeError"):
        service.within(60, len, 3)
    with pytest.raises(TrackingError, match=r"not done within 0\.5 seconds.*seconds="):
        service.within(0.5, time.sleep, 600)


def stub(tmp_path: Path, body: str) -> list[str]:
    """A `wandb` that keeps its arguments and does what ``body`` says; ``folder`` is what it was asked to send."""
    path = tmp_path / "wandb.sh"
    path.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nfor folder; do :; done\n{body}\n')
    return ["sh", str(path)]


def offline(runs: Path, *names: str) -> list[Path]:
    folders = [runs / "wandb" / f"offline-run-2026010{n}_000000-{name}" for n, name in enumerate(names)]
    for folder, name in zip(folders, names, strict=True):
        folder.mkdir(parents=True)
        (folder / f"run-{name}.wandb").write_bytes(b"log")
    return folders


MARK = 'for log in "$folder"/*.wandb; do touch "$log.synced"; done'


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """What is logged."""
    lines: list[str] = []
    monkeypatch.setattr(sync.log, "error", lines.append)
    monkeypatch.setattr(sync.log, "info", lines.append)
    return lines


def send(runs: Path, wandb: list[str], run_seconds: float = 60, seconds: float = 60) -> None:
    sync.sync(sync.to_sync(runs), run_seconds, seconds, ["--entity=team"], wandb)


def test_offline_runs_are_sent_in_order_and_once(tmp_path, said):
    folders = offline(tmp_path, "b-run", "a-run")
    wandb = stub(tmp_path, MARK)
    send(tmp_path, wandb)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == [f"sync --entity=team {folder}" for folder in folders]
    assert sync.to_sync(tmp_path) == []
    assert said == ["2 runs sent", "2 runs sent before, skipped"]


def test_a_run_that_fails_or_is_not_marked_as_sent_is_told_and_the_others_go_on(tmp_path, said):
    offline(tmp_path, "bad", "unsure", "good")
    body = f'case "$folder" in *bad) echo "network is gone"; echo; exit 1;; *unsure) exit 0;; esac\n{MARK}'
    with pytest.raises(TrackingError, match=r"2 runs not sent \(see above\); the same command sends what is left"):
        send(tmp_path, stub(tmp_path, body))
    why = [line.partition(": ")[2] for line in said]
    assert why == ["network is gone", "wandb sync did not mark it as sent", ""]
    assert said[-1] == "1 run sent"


def test_a_run_that_hangs_is_ended_and_after_the_time_for_all_none_is_begun(tmp_path, said):
    offline(tmp_path, "one", "two", "three")
    with pytest.raises(TrackingError, match="3 runs not sent"):
        send(tmp_path, stub(tmp_path, "sleep 60 & wait"), run_seconds=0.4, seconds=0.6)
    assert "not done within" in said[0]
    assert "not tried" in said[2]


def test_a_command_that_asks_gets_no_answer(tmp_path, said):
    offline(tmp_path, "asks")
    terminal, typed = os.pipe()
    before = os.dup(0)
    try:
        os.dup2(terminal, 0)
        os.write(typed, b"yes\n")
        with pytest.raises(TrackingError, match="1 run not sent"):
            send(tmp_path, stub(tmp_path, f"read answer || exit 3\n{MARK}"), run_seconds=20)
    finally:
        os.dup2(before, 0)
        for descriptor in (terminal, typed, before):
            os.close(descriptor)


def test_a_run_that_still_trains_is_left_for_later(tmp_path, said):
    offline(tmp_path, "training", "ended")
    for name, ended in (("training", None), ("ended", "interrupted")):
        write_json(
            tmp_path / name / PROGRESS_FILE, {"host": socket.gethostname(), "process": os.getpid(), "ended": ended}
        )
    assert [folder.name[-5:] for folder in sync.to_sync(tmp_path)] == ["ended"]
    assert said == ["1 run still training, left for later"]


def entry(name: str):
    """The function that a command hands to Hydra."""
    return getattr(importlib.import_module(f"stablernn.commands.{name}"), name)


def test_without_push_the_workspace_needs_neither_key_nor_network(tmp_path, no_network, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    chosen = ["only.dataset=wikitext2", "only.profile=paper", "entity=team", "project=another"]
    entry("wandb_workspace")(compose("wandb_workspace", [f"out={tmp_path}", *chosen]))
    made = json.loads((tmp_path / "workspace.json").read_text())
    assert (made["entity"], made["project"]) == ("team", "another")
    filters = made["spec"]["section"]["runSets"][0]["filters"]["filters"]
    assert [(key["key"]["name"], key["value"]) for key in filters] == [
        ("dataset.value.name", ["wikitext2"]),
        ("profile.value.name", ["paper"]),
    ]


def test_nothing_left_to_send_needs_neither_key_nor_network(tmp_path, no_network, said):
    send = entry("wandb_sync")
    (folder,) = offline(tmp_path / "sent", "one")
    (folder / "run-one.wandb.synced").touch()
    send(compose("wandb_sync", [f"runs={tmp_path / 'sent'}"]))
    assert [line.partition(" in ")[0] for line in said] == ["1 run sent before, skipped", "nothing to send"]
    (tmp_path / "online" / "wandb" / "run-20260101_000000-one").mkdir(parents=True)
    (tmp_path / "online" / "wandb" / "run-20260101_000000-one" / "run-one.wandb").touch()
    send(compose("wandb_sync", [f"runs={tmp_path / 'online'}"]))
    assert len(said) == 3


@pytest.mark.parametrize("folder", ["nowhere", "untracked"])
def test_a_folder_without_tracked_runs_is_refused(folder, tmp_path, no_network):
    (tmp_path / "untracked" / "wandb").mkdir(parents=True)
    runs = tmp_path / folder
    with pytest.raises(ConfigurationError, match=rf"^runs={runs}: no tracked runs in .*tracking=offline.* runs=else"):
        entry("wandb_sync")(compose("wandb_sync", [f"runs={runs}"]))


def script(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key != "WANDB_API_KEY"} | {"HOME": str(cwd)}
    command = [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
    )


@pytest.mark.slow
def test_the_scripts_say_in_a_line_what_is_missing(tmp_path):
    nothing = script("wandb_sync", cwd=tmp_path)
    assert (nothing.returncode, nothing.stderr.count("\n")) == (2, 1)
    assert "no tracked runs in runs/wandb" in nothing.stderr
    offline(tmp_path / "runs", "one")
    for answer in (script("wandb_sync", cwd=tmp_path), script("wandb_workspace", "push=true", "out=w", cwd=tmp_path)):
        assert answer.returncode == 2
        assert "wandb login" in answer.stderr.splitlines()[-1]
    assert {path.name for path in (tmp_path / "w").iterdir()} == {"workspace.json"}


def test_the_page_is_served_to_this_machine_alone_and_nothing_beside_it(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("the page")
    (tmp_path / "secret").write_text("beside it")
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        make_server(tmp_path / "report", taken.getsockname()[1]) as server,
    ):
        assert server.server_address[0] == "127.0.0.1"
        assert server.server_port != taken.getsockname()[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        with urllib.request.urlopen(f"{address}/", timeout=10) as answer:
            assert answer.read() == b"the page"
        for path in ("/../secret", "/%2e%2e/secret", "/..%2fsecret", "//../secret"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(address + path, timeout=10)
        server.shutdown()
    with pytest.raises(ConfigurationError, match="port=70000 must lie in"):
        make_server(tmp_path, 70000)


def test_serving_says_where_and_ends_with_ctrl_c(tmp_path, monkeypatch, capsys):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr("stablernn.report.serve.ThreadingHTTPServer.serve_forever", interrupted)
    serve(tmp_path, 0)
    shown = capsys.readouterr().err
    assert "http://127.0.0.1:" in shown
    assert "ended" in shown


@pytest.mark.slow
def test_make_dashboard_shows_the_runs_of_a_sweep(small, tmp_path, monkeypatch):
    pty = pytest.importorskip("pty", reason="needs a POSIX terminal")
    import fcntl
    import struct
    import termios

    runs = tmp_path / "runs"
    for seed in (0, 1):
        run(small("tracking=offline", "training.max_updates=4", "truncation.k=3", f"seed={seed}"))
    names = [folder.name[:40] for folder in (runs / "wandb").glob("offline-run-*")]  # longer ones are cut off
    terminal, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 240, 0, 0))
    command = ["make", f"BIN={Path(sys.executable).parent}", f"READY={tmp_path / 'ready'}", "dashboard", f"RUNS={runs}"]
    (tmp_path / "ready").touch()
    environment = os.environ | {"HOME": str(tmp_path), "WANDB_CONFIG_DIR": str(tmp_path), "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [*command, "-o", str(tmp_path / "ready")],
        cwd=ROOT,
        env=environment,
        stdin=other,
        stdout=other,
        stderr=other,
        start_new_session=True,
    )
    os.close(other)
    try:
        shown = read_until(terminal, "2 items", process)
        for name in names:
            if name not in shown:
                shown += read_until(terminal, name, process)
        os.write(terminal, b"q")
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def test_make_dashboard_without_runs_says_what_to_do(tmp_path):
    (tmp_path / "ready").touch()
    command = ["make", f"READY={tmp_path / 'ready'}", "-o", str(tmp_path / "ready"), "dashboard", f"RUNS={tmp_path}"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert answer.returncode != 0
    assert f"No tracked runs in {tmp_path}/wandb yet: make reproduce" in answer.stdout
