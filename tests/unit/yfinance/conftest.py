"""A Yahoo on loopback, and a way to run a resource as the engine does."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from engine.errors import TickhouseError
from sources.protocol import Asset, SourceContext, Window
from sources.yfinance.settings import YfinanceSource

NOW = datetime(2025, 3, 24, 14, tzinfo=UTC)
CHART = "/v8/finance/chart/"
SUMMARY = "/v10/finance/quoteSummary/"
NOT_FOUND = (
    404,
    b'{"chart":{"result":null,"error":{"code":"Not Found","description":"No data found, symbol may be delisted"}}}',
)


@dataclass
class Yahoo:
    """What each path answers, and what was asked."""

    url: str = ""
    charts: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    summaries: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    cookie: tuple[int, bytes] = (404, b"")
    crumb: tuple[int, bytes] = (200, b"Cr.umb")
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, bytes]:
        if CHART in path:
            return self.charts.get(path.partition(CHART)[2], NOT_FOUND)
        if SUMMARY in path:
            return self.summaries.get(path.partition(SUMMARY)[2], (404, b"{}"))
        if path.endswith("/getcrumb"):
            return self.crumb
        return self.cookie


@pytest.fixture
def yahoo() -> Iterator[Yahoo]:
    plan = Yahoo()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            path = unquote(parts.path)
            plan.asked.append((path, parse_qs(parts.query)))
            status, body = plan.answer(path)
            self.send_response(status)
            for name, value in plan.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    plan.url = f"http://127.0.0.1:{server.server_port}"
    yield plan
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Outcome:
    rows: list[dict[str, Any]]
    notices: list[tuple[str | None, str]]
    error: TickhouseError | None = None
    missed: list[str] = field(default_factory=list)


@pytest.fixture
def extract(yahoo: Yahoo, tmp_path: Path) -> Callable[..., Outcome]:
    """Run one resource of the source on assets; keeps dlt's state in `state`."""

    def run(
        resource: str,
        assets: list[Asset],
        *,
        state: dict[str, Any] | None = None,
        window: Window | None = None,
        now: datetime = NOW,
        replay_url: str | None = None,
        wait: Callable[[float, str], None] | None = None,
        **settings: Any,
    ) -> Outcome:
        from dlt.common.configuration.container import Container
        from dlt.common.configuration.resolve import inject_section
        from dlt.common.configuration.specs.config_section_context import ConfigSectionContext
        from dlt.common.pipeline import StateInjectableContext
        from dlt.extract.exceptions import ResourceExtractionError
        from dlt.extract.pipe_iterator import ManagedPipeIterator

        client = settings.pop("client", {})
        source = YfinanceSource.model_validate(
            {"type": "yfinance", "client": client, "resources": {resource: settings}}
        )
        lists = {"crypto": assets, "stocks": assets}
        notices: list[tuple[str | None, str]] = []
        missed: list[str] = []
        ctx = SourceContext(
            source="yfinance",
            assets=lists,
            now=now,
            project_dir=tmp_path,
            data_dir=tmp_path / "data",
            notice=lambda message, *, item=None: notices.append((item, message)),
            missed=missed.append,
            window=window,
            replay_url=replay_url or yahoo.url,
            wait=wait,
        )
        (plan,) = source.resources_of("yfinance", lists)
        built = plan.build(ctx)
        kept: dict[str, Any] = {} if state is None else state
        rows: list[dict[str, Any]] = []
        context = StateInjectableContext(state=kept)  # type: ignore[arg-type]
        sections = ConfigSectionContext(sections=("sources", "yfinance", plan.table.name), source_state_key="yfinance")
        with (
            inject_section(sections),
            Container().injectable_context(context),
            ManagedPipeIterator.from_pipe(built._pipe) as items,
        ):
            items.set_context([context])
            try:
                for item in items:
                    rows.extend(item.item)
            except ResourceExtractionError as caught:
                if not isinstance(caught.__cause__, TickhouseError):
                    raise
                return Outcome(rows, notices, caught.__cause__, missed)
        return Outcome(rows, notices, None, missed)

    return run


@pytest.fixture
def chart_body() -> Callable[..., bytes]:
    """A chart answer with these bars; every array not named repeats 1."""
    return _chart_body


def _chart_body(stamps: list[int], meta: dict[str, Any] | None = None, **arrays: Any) -> bytes:
    quote = {name: arrays.get(name, [1] * len(stamps)) for name in ("open", "high", "low", "close", "volume")}
    result = {
        "meta": {"currency": "USD", "instrumentType": "EQUITY", "exchangeTimezoneName": "America/New_York",
                 "validRanges": ["1d", "5d", "1mo"], "dataGranularity": "1d", **(meta or {})},
        "timestamp": stamps,
        "events": arrays.get("events", {}),
        "indicators": {"quote": [quote], "adjclose": [{"adjclose": arrays.get("adj", [1] * len(stamps))}]},
    }  # fmt: skip
    return json.dumps({"chart": {"result": [result], "error": None}}).encode()
