from __future__ import annotations

import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sources.market_replay import MarketReplay

PING = "api.coingecko.com/api/v3/ping"


def test_an_unknown_host_is_told_so(replay, web):
    answer = web.get("https://nowhere.example/x")
    assert answer.status_code == 404
    assert "does not know the host 'nowhere.example'" in answer.json()["error"]
    assert answer.headers["X-Tickhouse-Simulated"] == "1"


def test_it_listens_on_loopback_only(replay):
    port = int(replay.url.rpartition(":")[2])
    assert replay._server.socket.getsockname()[0] == "127.0.0.1"
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", port), timeout=1)


def test_one_connection_serves_many_requests(replay):
    with socket.create_connection(("127.0.0.1", int(replay.url.rpartition(":")[2]))) as connection:
        for _ in range(3):
            connection.sendall(f"GET /{PING} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
    assert [item.path for item in replay.requests] == ["/api/v3/ping"] * 3


@pytest.mark.parametrize("number", ["", "-1", "abc", "0", "1e9", "99999999999999999", "-99999999999999999", "9" * 30])
def test_odd_parameters_get_an_answer_of_the_api(replay, web, number):
    for url in (
        f"https://data-api.binance.vision/api/v3/klines?symbol=BTCUSDT&interval=1M&startTime={number}&limit=3",
        f"https://data-api.binance.vision/api/v3/klines?symbol=BTCUSDT&interval=1h&endTime={number}&limit={number}",
        f"https://data-api.binance.vision/api/v3/ticker/24hr?symbols={number}",
        f"https://api.coingecko.com/api/v3/coins/markets?vs_currency=usd&per_page={number}&page={number}",
        f"https://api.coingecko.com/api/v3/coins/bitcoin/ohlc?vs_currency=usd&days={number}",
        f"https://query2.finance.yahoo.com/v8/finance/chart/AAPL?interval=1d&period1={number}",
        f"https://query2.finance.yahoo.com/v8/finance/chart/BTC-USD?interval=1h&period1=0&period2={number}",
        f"https://query2.finance.yahoo.com/ws/fundamentals-timeseries/v1/finance/timeseries/AAPL?period1={number}",
        f"https://coincodex.com/api/coincodexicos/get_news/BTC/{number}/1/",
        f"https://coincodex.com/article/BTC-{number}/x/",
    ):
        answer = web.get(url)
        assert answer.status_code < 500, (url, answer.text)


def test_the_log_tells_what_was_asked(replay, web):
    web.get("https://api.coingecko.com/api/v3/coins/markets?vs_currency=usd&ids=bitcoin")
    (item,) = replay.requests
    assert (item.host, item.path, item.query) == (
        "api.coingecko.com",
        "/api/v3/coins/markets",
        "vs_currency=usd&ids=bitcoin",
    )
    assert (item.status, item.time, item.fault) == (200, replay.market.now(), "")


def test_control_over_http(replay, direct):
    control = f"{replay.url}/_control"
    assert (
        direct.post(f"{control}/faults", json=[{"kind": "html"}, {"kind": "empty", "times": None}]).status_code == 201
    )
    assert "<html>" in direct.get(f"{replay.url}/{PING}").text
    assert direct.get(f"{replay.url}/{PING}").content == b""
    assert [item["fired"] for item in direct.get(f"{control}/faults").json()] == [1, 1]
    assert direct.delete(f"{control}/faults").ok
    assert direct.get(f"{replay.url}/{PING}").json()
    assert [item["fault"] for item in direct.get(f"{control}/requests").json()] == ["html", "empty", ""]
    refused = direct.post(f"{control}/faults", json={"kind": "nonsense"})
    assert refused.status_code == 400
    assert "nonsense" in refused.json()["error"]
    assert direct.post(f"{control}/clock", json={"advance": 60}).json() == {"now": "2026-05-20T12:35:56.000Z"}
    assert direct.get(f"{control}/faults", headers={"Host": "evil.example"}).status_code == 403


def test_the_clock_runs_stands_or_hurries():
    noon = datetime(2026, 5, 20, 12, tzinfo=UTC)
    still, fast, wall = MarketReplay(now=noon), MarketReplay(now=noon, speed=1000), MarketReplay()
    try:
        time.sleep(0.1)
        assert still.market.now() == noon.timestamp()
        assert 60 < fast.market.now() - noon.timestamp() < 20_000
        assert abs(wall.market.now() - time.time()) < 1
    finally:
        for server in (still, fast, wall):
            server.stop()


def test_limits_are_enforced_on_request_and_ignoring_them_earns_a_ban(direct):
    noon = datetime(2026, 5, 20, 12, tzinfo=UTC)
    with MarketReplay(now=noon, enforce_limits=True) as server:
        url = f"{server.url}/data-api.binance.vision/api/v3/ticker/24hr"
        codes = [direct.get(url).status_code for _ in range(75)]
        assert codes == [200] * 75
        limited = direct.get(url)
        assert (limited.status_code, limited.json()["code"]) == (429, -1003)
        assert 0 < int(limited.headers["Retry-After"]) <= 61
        assert [direct.get(url).status_code for _ in range(6)] == [429] * 5 + [418]
        server.advance(61)
        assert direct.get(url).status_code == 418
        server.advance(121)
        assert direct.get(url).status_code == 200
        gecko = f"{server.url}/{PING}"
        assert [direct.get(gecko).status_code for _ in range(31)] == [200] * 30 + [429]


def test_the_command_prints_its_url_first_and_serves(direct):
    root = Path(__file__).resolve().parents[3]
    began = time.perf_counter()
    command = [sys.executable, "-m", "sources.market_replay", "--now", "2026-05-20T12:00:00+00:00", "--seed", "7"]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().strip()
            started = time.perf_counter() - began
            path = "data-api.binance.vision/api/v3/ticker/price?symbol=BTCUSDT"
            price = direct.get(f"{url}/{path}").json()
        finally:
            process.terminate()
    with MarketReplay(seed=7, now=datetime(2026, 5, 20, 12, tzinfo=UTC)) as server:
        assert direct.get(f"{server.url}/{path}").json() == price
    assert started < 3
