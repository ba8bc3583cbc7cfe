"""A news site on loopback, and a way to run the resource as the engine does."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from engine.errors import TickhouseError
from sources.karpet.settings import KarpetSource
from sources.protocol import Asset, SourceContext


@dataclass
class Site:
    """What each path answers (status, body, headers), and what was asked."""

    url: str = ""
    answers: dict[str, tuple[int, bytes, dict[str, str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    otherwise: tuple[int, bytes] = (404, b"gone")

    def lists(self, coin: str, *urls: str, limit: int = 10) -> None:
        body = json.dumps([{"url": url} for url in urls]).encode()
        self.answers[f"/coincodex.com/api/coincodexicos/get_news/{coin}/{limit}/1/"] = (200, body, {})

    def page(self, url: str, *, status: int = 200, headers: dict[str, str] | None = None, **meta: str) -> None:
        tags = "".join(f'<meta property="{name.replace("__", ":")}" content="{text}">' for name, text in meta.items())
        path = "/" + url.split("://")[1]
        self.answers[path] = (status, f"<html><head>{tags}</head></html>".encode(), headers or {})


@pytest.fixture
def site() -> Iterator[Site]:
    plan = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            plan.asked.append(self.path)
            status, body, headers = plan.answers.get(self.path, (*plan.otherwise, {}))
            self.send_response(status)
            for name, value in headers.items():
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


@pytest.fixture
def context(tmp_path: Path) -> SourceContext:
    """A run on the internet, not on the replay."""
    return SourceContext(
        source="karpet",
        assets={},
        now=datetime(2025, 3, 24, tzinfo=UTC),
        project_dir=tmp_path,
        data_dir=tmp_path / "data",
        notice=Mock(),
    )


@dataclass
class News:
    rows: list[dict[str, Any]]
    notices: list[tuple[str | None, str]]
    error: TickhouseError | None = None


@pytest.fixture
def read_news(site: Site, tmp_path: Path) -> Callable[..., News]:
    """Run the resource for some coins; keeps dlt's state in `state`."""

    def run(
        *coins: str,
        wait: Callable[[float, str], None] | None = None,
        state: dict[str, Any] | None = None,
        replay_url: str | None = "site",
        limit: int = 10,
        **block: Any,
    ) -> News:
        from dlt.common.configuration.container import Container
        from dlt.common.configuration.resolve import inject_section
        from dlt.common.configuration.specs.config_section_context import ConfigSectionContext
        from dlt.common.pipeline import StateInjectableContext
        from dlt.extract.exceptions import ResourceExtractionError
        from dlt.extract.pipe_iterator import ManagedPipeIterator

        source = KarpetSource.model_validate({"type": "karpet", "resources": {"news": {"limit": limit}}, **block})
        lists = {"crypto": [Asset(coin, "crypto") for coin in coins]}
        notices: list[tuple[str | None, str]] = []
        ctx = SourceContext(
            source="karpet",
            assets=lists,
            now=datetime(2025, 3, 24, tzinfo=UTC),
            project_dir=tmp_path,
            data_dir=tmp_path / "data",
            notice=lambda message, *, item=None: notices.append((item, message)),
            replay_url=site.url if replay_url == "site" else replay_url,
            wait=wait,
        )
        (resource,) = source.resources_of("karpet", lists)
        context = StateInjectableContext(state={} if state is None else state)  # type: ignore[arg-type]
        sections = ConfigSectionContext(sections=("sources", "karpet", "raw_news"), source_state_key="karpet")
        rows: list[dict[str, Any]] = []
        with (
            inject_section(sections),
            Container().injectable_context(context),
            ManagedPipeIterator.from_pipe(resource.build(ctx)._pipe) as items,
        ):
            items.set_context([context])
            try:
                for item in items:
                    rows.extend(item.item)
            except ResourceExtractionError as caught:
                if not isinstance(caught.__cause__, TickhouseError):
                    raise
                return News(rows, notices, caught.__cause__)
        return News(rows, notices)

    return run
