"""A run that was told to stop asks nobody for anything more."""

import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from engine.config.load import load_project
from engine.progress import Silent
from engine.run import Runner

PIPELINES = """
assets: {{crypto: {{asset_type: crypto, add: [BTC]}}}}
profiles:
  local: {{data: .data, lake: {{type: filesystem, path: .data/lake}}}}
sources:
  market:
    type: rest
    client: {{base_url: "{url}", allow_private: true, tries: 1}}
    resources:
      first: {{table: raw_first, path: first, columns: {{price: {{type: decimal}}}}}}
      second: {{table: raw_second, path: second, columns: {{price: {{type: decimal}}}}}}
      third: {{table: raw_third, path: third, columns: {{price: {{type: decimal}}}}}}
pipelines:
  one: {{extract: [market]}}
"""


@pytest.fixture
def asked():
    return []


@pytest.fixture
def runner(tmp_path, asked):
    """A runner of three resources whose API stops it with the first answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            made.stop.set()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'[{"price": "1.5"}]')

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    (tmp_path / "pipelines.yaml").write_text(PIPELINES.format(url=f"http://127.0.0.1:{server.server_address[1]}"))
    made = Runner(load_project(tmp_path / "pipelines.yaml", env={}), Silent())
    yield made
    server.shutdown()
    server.server_close()


def test_the_resources_behind_the_stop_are_not_asked_for(runner, asked):
    report = runner.run("one")
    assert asked == ["/first"]
    assert [r.status for r in report.resources if r.source == "market"] == ["failed"] * 3
    assert len([line for line in report.failures if line.startswith("the run was stopped — ")]) == 1
    assert [line.split(":")[0] for line in report.told_failures] == ["the run was stopped"]


def test_a_run_that_is_stopped_before_it_starts_asks_for_nothing(runner, asked):
    runner.stop.set()
    runner.run("one")
    runner.backfill("one", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    assert asked == []
