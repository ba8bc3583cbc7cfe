"""The loopback HTTP server: http://127.0.0.1:PORT/HOST/PATH?query stands for https://HOST/PATH?query."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from sources.market_replay.binance import Binance
from sources.market_replay.coincodex import CoinCodex
from sources.market_replay.coingecko import CoinGecko
from sources.market_replay.exchange import Answer, Api, Request
from sources.market_replay.freecryptoapi import FreeCryptoApi
from sources.market_replay.market import Clock, Market
from sources.market_replay.universe import load_universe
from sources.market_replay.yahoo import Yahoo

SIMULATED = "X-Tickhouse-Simulated"


@dataclass(frozen=True, slots=True)
class Served:
    """One line of the request log. `seconds` is how long the answer took; `fault` names the fault that fired."""

    host: str
    path: str
    query: str
    status: int
    time: float
    seconds: float
    fault: str = ""


class MarketReplay:
    """The server in a thread: `with MarketReplay() as replay: requests.get(replay.url + "/api.coingecko.com/...")`."""

    def __init__(
        self,
        *,
        port: int = 0,
        seed: int = 7,
        now: datetime | None = None,
        speed: float | None = None,
        seed_file: Path | None = None,
        enforce_limits: bool = False,
    ) -> None:
        self.market = Market(seed, Clock(now, speed), load_universe(seed_file))
        apis: tuple[Api, ...] = (
            Binance(enforce_limits=enforce_limits),
            CoinGecko(enforce_limits=enforce_limits),
            Yahoo(),
            FreeCryptoApi(),
            CoinCodex(),
        )
        self._apis = {host: api for api in apis for host in api.hosts}
        self._log: list[Served] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.replay = self
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """http://127.0.0.1:PORT, without a slash."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def requests(self) -> list[Served]:
        """What was asked so far, oldest first."""
        with self._lock:
            return list(self._log)

    def start(self) -> MarketReplay:
        """Serve in a thread of its own."""
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, kwargs={"poll_interval": 0.02}, name="market-replay", daemon=True)
        self._thread.start()
        return self

    def serve_forever(self) -> None:
        """Serve in this thread, until it is interrupted."""
        self._server.serve_forever(poll_interval=0.2)

    def stop(self) -> None:
        """Stop serving and free the port."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()

    def __enter__(self) -> MarketReplay:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def respond(self, request: Request) -> Answer:
        """What the API behind the request's host says."""
        api = self._apis.get(request.host)
        if api is None:
            known = ", ".join(sorted(self._apis))
            return Answer({"error": f"the market replay does not know the host {request.host!r}", "known": known}, 404)
        return api.answer(request, self.market)

    def note(self, served: Served) -> None:
        """Append to the request log."""
        with self._lock:
            self._log.append(served)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    replay: MarketReplay


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        self._serve("GET")

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        self._serve("POST")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
        """Nothing on standard error: the log is MarketReplay.requests."""

    def _serve(self, method: str) -> None:
        began = time.perf_counter()
        replay = cast("_Server", self.server).replay
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        split = urlsplit(self.path)
        host, _, path = split.path.lstrip("/").partition("/")
        if host == "_control":
            if path == "requests":
                self._write(Answer([asdict(item) for item in replay.requests]))
            return
        query: dict[str, tuple[str, ...]] = {}
        for name, value in parse_qsl(split.query, keep_blank_values=True):
            query[name] = (*query.get(name, ()), value)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(method, host, "/" + unquote(path), query, headers, replay.url)
        answer = replay.respond(request)
        replay.note(Served(host, request.path, split.query, answer.status, time.time(), time.perf_counter() - began))
        self._write(answer)

    def _write(self, answer: Answer) -> None:
        payload: Any = answer.payload
        body = payload.encode() if isinstance(payload, str) else json.dumps(payload, separators=(",", ":")).encode()
        self.wfile.write(head(answer.status, {"Content-Type": answer.content_type, **answer.headers}, len(body)) + body)


def head(status: int, headers: Mapping[str, str], length: int | None) -> bytes:
    """Status line and headers of an answer."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", f"{SIMULATED}: 1", *(f"{name}: {value}" for name, value in headers.items())]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
