"""The loopback HTTP server: http://127.0.0.1:PORT/HOST/PATH?query stands for https://HOST/PATH?query."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self, cast
from urllib.parse import parse_qsl, unquote, urlsplit

from sources.market_replay.binance import Binance
from sources.market_replay.coincodex import CoinCodex
from sources.market_replay.coingecko import CoinGecko
from sources.market_replay.control import control
from sources.market_replay.exchange import Answer, Api, Request
from sources.market_replay.faults import ROW_KINDS, Armed, Fault, FaultBook
from sources.market_replay.freecryptoapi import FreeCryptoApi
from sources.market_replay.ledger import Ledger
from sources.market_replay.market import Clock, Market
from sources.market_replay.mutate import on_answer, on_request
from sources.market_replay.rows import rows_of
from sources.market_replay.universe import load_universe
from sources.market_replay.wire import ConnectionCutError, body_of, reset, send
from sources.market_replay.yahoo import Yahoo

LOG_LENGTH = 100_000


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
        ledger_file: Path | None = None,
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
        self.faults = FaultBook()
        self.ledger = Ledger(ledger_file)
        self._log: deque[Served] = deque(maxlen=LOG_LENGTH)
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

    def start(self) -> Self:
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
        self.ledger.close()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def inject(self, *faults: Fault) -> list[Armed]:
        """Arm faults; each handle counts how often its fault fired."""
        return self.faults.inject(*faults)

    def clear_faults(self) -> None:
        """Disarm all faults."""
        self.faults.clear()

    def advance(self, seconds: float) -> None:
        """Move the simulated clock on."""
        self.market.clock.advance(seconds)

    def serve(self, request: Request, query: str) -> tuple[Answer, Fault | None]:
        """The answer to a request and the fault on it; its rows are in the ledger when this returns."""
        began = time.perf_counter()
        met = self.faults.meet(request, query)
        fault = None
        api = self._apis.get(request.host)
        if api is None:
            known = ", ".join(sorted(self._apis))
            answer = Answer(
                {"error": f"the market replay does not know the host {request.host!r}", "known": known}, 404
            )
            api = self._apis["api.coingecko.com"]
        else:
            asked = on_request(met.fault, met.fired - 1, request) if met else request
            answer = _attempt(api, asked, self.market)
        if met is not None:
            fault = met.fault
            sound = body_of(answer, None)
            answer = on_answer(fault, answer, api, self.market)
            if fault.kind in ROW_KINDS and body_of(answer, fault) == sound:
                self.faults.missed(met)
                fault = None
        kind = "" if fault is None else fault.kind
        self._record(request, query, answer, kind)
        seconds = time.perf_counter() - began
        with self._lock:
            self._log.append(Served(request.host, request.path, query, answer.status, self.market.now(), seconds, kind))
        return answer, fault

    def _record(self, request: Request, query: str, answer: Answer, fault: str) -> None:
        resource = answer.resource.removeprefix("recording:")
        payload = answer.payload
        if isinstance(payload, str):
            payload = json.loads(payload, parse_float=str) if resource and answer.status == HTTPStatus.OK else None
        rows = rows_of(resource, payload)
        now = self.market.now()
        self.ledger.record(
            rows, time=now, host=request.host, path=request.path, query=query, resource=resource, fault=fault
        )


def _attempt(api: Api, request: Request, market: Market) -> Answer:
    """A defect of the replay is told to the client as what it is, so that nobody blames the API for it."""
    try:
        return api.answer(request, market)
    except Exception as error:
        return Answer({"error": f"a defect of the market replay: {type(error).__name__}: {error}"}, 500)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    replay: MarketReplay

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news; anything else is a defect of the replay and shows."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
        """Nothing on standard error: the log is MarketReplay.requests."""

    def _serve(self, method: str) -> None:
        replay = cast("_Server", self.server).replay
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        split = urlsplit(self.path)
        host, _, path = split.path.lstrip("/").partition("/")
        query: dict[str, tuple[str, ...]] = {}
        for name, value in parse_qsl(split.query, keep_blank_values=True):
            query[name] = (*query.get(name, ()), value)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(method, host, "/" + unquote(path), query, headers, replay.url)
        if host == "_control":
            send(self.wfile, control(replay, request, body), None)
            return
        answer, fault = replay.serve(request, split.query)
        try:
            send(self.wfile, answer, fault)
        except ConnectionCutError:
            self.rfile.close()
            reset(self.connection)
            self.close_connection = True
        except ConnectionError:
            self.close_connection = True
