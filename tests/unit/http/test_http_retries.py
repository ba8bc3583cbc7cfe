"""Which answers are asked for again, how long a request waits, and what a person is told in the end."""

from __future__ import annotations

import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler

import pytest

from engine.errors import SourceError
from sources.http.client import HttpClient
from sources.http.limits import Bucket, bucket_of
from sources.http.policy import Limits, Policy
from sources.http.retry import TERMINAL, pause, retry_after

GOOD = (200, {}, b'[{"a": 1}]')
FAST = Policy(backoff=0.01, allow_private=True)


def reset(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def half_a_body(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[{")


def ask(ctx, server, **policy):
    with HttpClient(ctx, policy=Policy(**{"backoff": 0.01, "allow_private": True, **policy})) as client:
        return client.get_json(f"{server.url}/rows")


def test_trouble_that_passes_is_asked_again_until_it_is_over(server, context):
    server.steps = [(500, {}, b""), (502, {}, b""), reset, half_a_body, GOOD]
    assert ask(context(), server) == [{"a": 1}]
    assert len(server.seen) == 5


def test_five_tries_then_one_clear_error(server, context):
    server.steps = [(503, {}, b"")]
    with pytest.raises(SourceError, match=r"probe: 127\.0\.0\.1:\d+/rows answered 503 \(5 times") as caught:
        ask(context(), server)
    assert len(server.seen) == 5
    assert not caught.value.terminal
    assert "Run again later" in caught.value.remedy


def test_a_host_just_given_up_is_tried_once_a_request_until_it_answers(server, context):
    server.steps = [(503, {}, b"")] * 6 + [GOOD, (503, {}, b""), GOOD]
    for _ in range(2):
        with pytest.raises(SourceError):
            ask(context(), server)
    assert len(server.seen) == 6
    assert ask(context(), server) == ask(context(), server) == [{"a": 1}]


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_what_cannot_help_is_never_asked_again_and_is_explained(server, context, status):
    server.steps = [(status, {}, b'{"msg": "no"}')]
    with pytest.raises(SourceError, match=f"answered {status}: it .*no") as caught:
        ask(context(), server)
    assert len(server.seen) == 1
    assert caught.value.terminal
    assert caught.value.remedy


def test_451_names_the_host_that_serves_every_region(server, context):
    server.steps = [(451, {}, b"")]
    with pytest.raises(SourceError) as caught:
        ask(context(), server)
    assert "refuses your region" in caught.value.reason
    assert "data-api.binance.vision" in caught.value.remedy


@pytest.mark.parametrize("status", [429, 418, 503])
def test_retry_after_is_waited_for_and_reported(server, context, told, status):
    server.steps = [(status, {"Retry-After": "1"}, b""), GOOD]
    began = time.monotonic()
    assert ask(context(), server) == [{"a": 1}]
    assert time.monotonic() - began >= 1.0
    assert round(sum(seconds for seconds, _ in told.waits)) == 1


def test_retry_after_as_a_date_is_read_against_the_servers_own_clock(server, context, told):
    headers = {"Date": "Wed, 01 Jan 2020 10:00:00 GMT", "Retry-After": "Wed, 01 Jan 2020 10:00:01 GMT"}
    server.steps = [(429, headers, b""), GOOD]
    assert ask(context(), server) == [{"a": 1}]
    assert 0.8 <= sum(seconds for seconds, _ in told.waits) <= 1.1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "-5"}, 0.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "Wed, 01 Jan 2020 09:00:00 GMT", "Date": "Wed, 01 Jan 2020 10:00:00 GMT"}, 0.0),
        ({"Retry-After": "Wed, 01 Jan 2020 11:00:00 GMT", "Date": "Wed, 01 Jan 2020 10:00:00 GMT"}, 3600.0),
    ],
)
def test_what_retry_after_says(headers, seconds):
    assert retry_after(headers) == seconds


def test_retry_after_zero_is_at_once_only_the_first_time():
    assert pause(1, 0.0, 1.0) == 0.0
    assert pause(2, 0.0, 1.0) >= 1.0
    assert pause(4, 0.0, 1.0) >= 4.0


def test_retry_after_zero_for_ever_ends(server, context):
    server.steps = [(429, {"Retry-After": "0"}, b"")]
    with pytest.raises(SourceError, match="answered 429"):
        ask(context(), server)
    assert len(server.seen) == 5


def test_a_wait_longer_than_the_budget_is_not_begun_and_the_host_is_left_alone(server, context):
    server.steps = [(429, {"Retry-After": "3600"}, b"")]
    began = time.monotonic()
    with pytest.raises(SourceError, match=r"asks to wait 3600 s; a request waits 120 s at most") as caught:
        ask(context(), server)
    assert "60 minutes" in caught.value.remedy
    with pytest.raises(SourceError, match="left alone"):
        ask(context(), server)
    assert len(server.seen) == 1
    assert time.monotonic() - began < 2


def test_a_ban_without_an_end_is_terminal(server, context):
    server.steps = [(418, {}, b"")]
    with pytest.raises(SourceError, match="banned") as caught:
        ask(context(), server)
    assert caught.value.terminal
    assert len(server.seen) == 1


def test_all_tries_share_one_budget(server, context):
    server.steps = [(500, {}, b"")]
    began = time.monotonic()
    with pytest.raises(SourceError, match="answered 500"):
        ask(context(), server, backoff=0.4, budget=1.0)
    assert time.monotonic() - began < 1.5
    assert len(server.seen) < 5


def test_closing_ends_the_waits_of_other_threads(server, context):
    server.steps = [(500, {"Retry-After": "60"}, b"")]
    client = HttpClient(context(), policy=FAST)
    failures: list[SourceError] = []

    def wait() -> None:
        try:
            client.get_json(server.url)
        except SourceError as error:
            failures.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while not server.seen:
        time.sleep(0.01)
    client.__exit__(None, None, None)
    thread.join(5)
    assert not thread.is_alive()
    assert "the run is ending" in failures[0].reason


def test_no_minute_sees_more_than_the_limit(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("sources.http.limits.time.monotonic", lambda: clock[0])
    bucket = Bucket(10)
    granted = []
    while clock[0] < 1300:
        seconds = bucket.reserve(4)
        if seconds:
            clock[0] += seconds
        else:
            granted.append(clock[0])
            clock[0] += 1.7
    assert len(granted) > 8
    assert all(sum(4 for at in granted if start <= at < start + 60) <= 10 for start in granted)


def test_a_call_heavier_than_the_limit_goes_alone(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("sources.http.limits.time.monotonic", lambda: clock[0])
    bucket = Bucket(10)
    assert bucket.reserve(80) == 0.0
    assert bucket.reserve(1) == 60.0


def test_threads_share_a_bucket_by_host_and_the_smaller_limit_wins():
    bucket = bucket_of("shared.example", 50)
    assert bucket_of("shared.example", 20) is bucket
    granted: list[int] = []

    def take() -> None:
        granted.extend(1 for _ in range(10) if not bucket.reserve(1))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == 20


def test_a_server_that_counts_more_than_we_did_is_believed(server, context):
    server.steps = [(200, {"X-Used": "95"}, b"[]")]
    limits = Limits(per_minute=100, used_header="X-Used")
    with HttpClient(context(), limits=limits, policy=FAST) as client:
        client.get_json(server.url)
    bucket = bucket_of(f"|{server.host}", None)
    assert bucket.reserve(5) == 0.0
    assert bucket.reserve(1) > 50


def test_tokens_are_taken_for_every_try_and_waits_are_reported(server, context, told):
    server.steps = [(500, {}, b""), GOOD]
    stop = threading.Event()
    with HttpClient(context(), limits=Limits(per_minute=1), policy=FAST) as client:
        thread = threading.Thread(target=lambda: (stop.wait(0.5), client.session.adapter.stop()))
        thread.start()
        with pytest.raises(SourceError):
            client.get_json(server.url)
        thread.join()
    assert len(server.seen) == 1
    assert any("allows 1 a minute, 60 s to go" in why for _, why in told.waits)


def test_a_run_that_was_told_to_stop_ends_a_long_wait(server, context, monkeypatch):
    class StoppedError(Exception):
        pass

    waits: list[float] = []

    def wait(seconds: float, why: str) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise StoppedError

    monkeypatch.setattr("sources.http.adapter.SLICE", 0.05)
    server.steps = [(503, {"Retry-After": "60"}, b"")]
    with pytest.raises(StoppedError):
        ask(context(wait=wait), server)
    assert waits == [0.05] * 3
