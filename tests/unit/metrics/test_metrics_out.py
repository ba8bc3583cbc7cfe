"""The ways out: a server in the background, a text file in one step, a Pushgateway."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import requests
from prometheus_client import CollectorRegistry, Gauge, push_to_gateway

from engine.attend import attended
from engine.errors import TickhouseError, UsageError
from engine.metrics import serve, write_textfile
from tests.faults.small_project import SMALL, SmallProject
from tests.schedules.served_project import free_port
from tests.servers.prometheus_server import pushgateway


def test_a_server_is_started_and_closed(shop: SmallProject) -> None:
    project = shop.project()
    with serve(lambda: project, port=0) as server:
        url = f"http://127.0.0.1:{server.port}/metrics"
        with urlopen(url, timeout=10) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain")
            assert b'tickhouse_info{profile="local"' in answer.read()
    with pytest.raises(URLError):
        urlopen(url, timeout=2)


def test_a_port_that_is_taken_is_said_and_keeps_nothing_from_running(shop: SmallProject) -> None:
    project = shop.project()
    with serve(lambda: project, port=0) as server:
        with pytest.raises(TickhouseError, match=f"cannot be served at 127.0.0.1:{server.port}: Address already"):
            serve(lambda: project, port=server.port)
        shop.write(SMALL.replace("    data: .data\n", f"    data: .data\n    metrics: {{port: {server.port}}}\n"))
        said: list[str] = []
        with attended(shop.project, said.append):
            pass
        assert re.match(r"no metrics: .* Does another process serve them\?", said[0])


def test_metrics_are_served_once_another_process_leaves_the_port(
    shop: SmallProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.notify.lookout.EVERY_SECONDS", 0.05)
    project, said = shop.project(), list[str]()
    with serve(lambda: project, port=0) as server:
        shop.write(SMALL.replace("    data: .data\n", f"    data: .data\n    metrics: {{port: {server.port}}}\n"))
        edited = shop.project()
        stays = attended(lambda: edited, said.append)
        stays.__enter__()
        time.sleep(0.3)
        assert len(said) == 1, said
    until = time.monotonic() + 10
    while len(said) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    stays.__exit__(None, None, None)
    assert said[1:] == [f"metrics for Prometheus: http://127.0.0.1:{server.port}/metrics"]


def test_metrics_are_off_unless_the_profile_wants_them(shop: SmallProject) -> None:
    said: list[str] = []
    before = threading.active_count()
    with attended(shop.project, said.append):
        assert threading.active_count() == before + 1  # whoever looks whether an edit wants them
    assert said == []


def test_metrics_that_an_edit_wants_are_served(shop: SmallProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.notify.lookout.EVERY_SECONDS", 0.05)
    said: list[str] = []

    def wait_for(lines: int) -> None:
        until = time.monotonic() + 10
        while len(said) < lines and time.monotonic() < until:
            time.sleep(0.02)
        assert len(said) == lines, said

    def edit(metrics: str) -> None:
        shop.write(SMALL.replace("    data: .data\n", f"    data: .data\n{metrics}"))

    def address() -> str:
        return said[-1].removeprefix("metrics for Prometheus: ")

    with attended(shop.project, said.append):
        edit(f"    metrics: {{port: {free_port()}}}\n")
        wait_for(1)
        first = address()
        assert requests.get(first, timeout=10).ok
        edit(f"    metrics: {{host: 127.0.0.2, port: {free_port()}}}\n")
        wait_for(3)
        second = address()
        assert requests.get(second, timeout=10).ok
        with pytest.raises(requests.ConnectionError):
            requests.get(first, timeout=2)
    with pytest.raises(requests.ConnectionError):
        requests.get(second, timeout=2)
    assert said[1] == "the metrics are no longer served where they were"


def test_a_text_file_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "tickhouse.prom"
    target.write_text("old")
    kept = target.open()
    write_textfile("new\n", target)
    assert (target.read_text(), kept.read()) == ("new\n", "old")  # another file: who reads the old one sees it whole
    assert [path.name for path in tmp_path.iterdir()] == ["tickhouse.prom"]
    assert target.stat().st_mode & 0o777 == 0o644
    with pytest.raises(UsageError, match="cannot be written"):
        write_textfile("new\n", tmp_path / "missing" / "tickhouse.prom")


def test_the_command_writes_a_text_file(shop: SmallProject, tmp_path: Path) -> None:
    done = shop.engine("metrics", "--textfile", str(tmp_path / "tickhouse.prom"))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "tickhouse_runs_total" in (tmp_path / "tickhouse.prom").read_text()


def test_a_push_replaces_what_this_profile_pushed(shop: SmallProject, tmp_path: Path) -> None:
    """On a real Pushgateway, which refuses what Prometheus would not take."""
    with pushgateway(tmp_path) as address:
        push_to_gateway(address, job="tickhouse", registry=one_gauge("stale"), grouping_key={"instance": "local"})
        push_to_gateway(address, job="tickhouse", registry=one_gauge("other"), grouping_key={"instance": "compose"})
        done = shop.engine("metrics", "--push", address)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        with urlopen(f"{address}/metrics", timeout=10) as answer:  # noqa: S310 - a loopback server of this test
            text = answer.read().decode()
    assert re.search(r'^tickhouse_info\{instance="local",job="tickhouse",', text, re.MULTILINE)
    assert "# TYPE tickhouse_runs_total counter" in text
    assert "\nstale{" not in text
    assert '\nother{instance="compose",job="tickhouse"} 1\n' in text


def one_gauge(name: str) -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge(name, "A gauge.", registry=registry).set(1)
    return registry


def test_a_pushgateway_that_is_away_is_one_clear_error(shop: SmallProject) -> None:
    done = shop.engine("metrics", "--push", "http://user:secret-word@127.0.0.1:1")
    assert done.returncode == 1
    assert "the Pushgateway at http://127.0.0.1:1 did not take the metrics" in done.stderr
    assert "secret-word" not in done.stderr
    done = shop.engine("metrics", "--push", "127.0.0.1:9091")
    assert done.returncode == 2
    assert "http://127.0.0.1:9091" in done.stderr
