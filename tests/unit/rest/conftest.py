"""A loopback API whose answers a test computes, and one call that runs a resource as the engine does."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml

from sources.http.retry import pause
from sources.protocol import Asset, SourceContext
from sources.rest.settings import RestSource

PROJECT = Path(__file__).parents[3]
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@dataclass
class Api:
    """`answer` maps (path, parameters) to a body, or to (status, headers, body)."""

    answer: Callable[[str, dict[str, str]], Any] = field(default=lambda _path, _query: [])
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def api() -> Iterator[Api]:
    served = Api()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            with lock:
                served.seen.append((parts.path, query))
                served.targets.append(self.path)
            given = served.answer(parts.path, query)
            status, headers, body = given if isinstance(given, tuple) else (200, {}, given)
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that gave up

    httpd = Quiet(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{httpd.server_address[1]}"
    threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield served
    httpd.shutdown()
    httpd.server_close()


def coins(*symbols: str) -> dict[str, list[Asset]]:
    def asset(symbol: str) -> Asset:
        here = {"binance": f"{symbol}USDT", "coingecko": symbol.lower(), "freecryptoapi": symbol}
        return Asset(symbol, "crypto", symbol.title(), "Layer 1", here)

    return {"crypto": [asset(symbol) for symbol in symbols]}


@dataclass
class Run:
    """What one extraction gave."""

    pages: list[list[dict[str, Any]]]
    notices: list[tuple[str | None, str]]

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for page in self.pages for row in page]


@pytest.fixture
def extract(tmp_path: Path) -> Callable[..., Run]:
    """Run the one resource of a source block (or the named one), with `state` kept between runs."""

    def run(block: dict[str, Any], *, only: str = "", state: dict[str, Any] | None = None, **changes: Any) -> Run:
        from dlt.extract.exceptions import ResourceExtractionError

        from engine.extract import pages

        assets = changes.pop("assets", coins("BTC", "ETH"))
        notices: list[tuple[str | None, str]] = []
        given: dict[str, Any] = {
            "source": "probe",
            "assets": assets,
            "now": NOW,
            "project_dir": tmp_path,
            "data_dir": tmp_path,
            "notice": lambda message, *, item=None: notices.append((item, message)),
        }
        context = SourceContext(**{**given, **changes})
        resources = RestSource.model_validate(block).resources_of("probe", assets)
        resource = next(each for each in resources if not only or each.name == only)
        try:
            found = list(pages(resource.build(context), "probe", state if state is not None else {}))
        except ResourceExtractionError as error:
            raise error.__cause__ or error from None
        return Run(found, notices)

    return run


@pytest.fixture
def block(api: Api) -> Callable[..., dict[str, Any]]:
    """Build a source block about the loopback API with one resource."""

    def build(resource: dict[str, Any] | None = None, **client: Any) -> dict[str, Any]:
        reached = {"base_url": f"{api.url}/v1", "allow_private": True, "tries": 2, "budget": 5, **client}
        return {"type": "rest", "client": reached, "resources": {"raw_rows": {"path": "rows", **(resource or {})}}}

    return build


@pytest.fixture(autouse=True)
def fresh_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test did to a host's allowance and patience is forgotten; pauses nobody asked for are short."""
    monkeypatch.setattr("sources.http.limits._buckets", {})
    monkeypatch.setattr("sources.http.adapter.pause", lambda attempt, asked, _backoff: pause(attempt, asked, 0.02))


@pytest.fixture
def shipped(api: Api) -> Callable[..., dict[str, Any]]:
    """Take a source block as pipelines.yaml ships it, pointed at the loopback API (or left as it is)."""

    def take(name: str, *, redirected: bool = True) -> dict[str, Any]:
        text = (PROJECT / "pipelines.yaml").read_text()
        for variable in ("${COINGECKO_API_KEY:-}", "${FREECRYPTOAPI_KEY}"):
            text = text.replace(variable, "key-of-the-test")
        found: dict[str, Any] = yaml.safe_load(text)["sources"][name]
        if redirected:
            found["client"] |= {"base_url": f"{api.url}/v1", "allow_private": True, "tries": 2, "budget": 5}
        return found

    return take
