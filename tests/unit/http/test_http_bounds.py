"""How much an answer may take: time, size, shape. And numbers that stay exact."""

from __future__ import annotations

import gzip
import time
from decimal import Decimal
from http.server import BaseHTTPRequestHandler

import pytest

from engine.errors import SourceError
from sources.http.body import BodyError, exact_json
from sources.http.client import HttpClient
from sources.http.policy import Policy


def ask(ctx, server, **policy):
    with HttpClient(ctx, policy=Policy(**{"backoff": 0.01, "allow_private": True, **policy})) as client:
        return client.get_json(f"{server.url}/rows")


def trickle(text: bytes):
    def step(handler: BaseHTTPRequestHandler) -> None:
        for at in range(len(text)):
            handler.wfile.write(text[at : at + 1])
            handler.wfile.flush()
            time.sleep(0.1)

    return step


@pytest.mark.parametrize(
    "text",
    [b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 600, b"HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n" + b"1" * 600],
    ids=["headers", "body"],
)
def test_a_byte_at_a_time_ends_at_the_deadline(server, context, text):
    server.steps = [trickle(text)]
    began = time.monotonic()
    with pytest.raises(SourceError, match=r"did not finish its answer within \d\.\d s \(2 times within 2 s\)"):
        ask(context(), server, deadline=1.0, budget=1.5)
    assert time.monotonic() - began < 4


def test_a_server_that_says_nothing_is_left(server, context):
    server.steps = [lambda _: time.sleep(3)]
    with pytest.raises(SourceError, match="stopped answering"):
        ask(context(), server, read_timeout=0.3, tries=1)


def test_a_compression_bomb_stops_at_the_cap(server, context):
    bomb = gzip.compress(b"[" + b" " * 30_000_000)
    server.steps = [(200, {"Content-Encoding": "gzip"}, bomb)]
    with pytest.raises(SourceError, match="sent more than 1 MiB") as caught:
        ask(context(), server, max_body=1024 * 1024)
    assert caught.value.terminal
    assert len(server.seen) == 1


def test_compressed_answers_are_read(server, context):
    server.steps = [(200, {"Content-Encoding": "gzip"}, gzip.compress(b'[{"a": 0.10}]'))]
    assert ask(context(), server) == [{"a": Decimal("0.10")}]
    assert server.seen[0][1]["Accept-Encoding"] == "gzip, deflate"


def test_broken_compression_is_said(server, context):
    server.steps = [(200, {"Content-Encoding": "gzip"}, b"no gzip at all")]
    with pytest.raises(SourceError, match="compression is broken"):
        ask(context(), server)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "an empty body"),
        (b"  \n", "an empty body"),
        (b"<html><h1>Down\x00\n for  maintenance</h1></html>", "an HTML page .* <html><h1>Down for maintenance"),
        (b'[{"price": "1', r"broken off or malformed after \d+ characters: \[\{\"price\": \"1"),
        (b"oops", "no JSON: oops"),
        (b'["\xe9\xff"]', "not UTF-8"),
        (b"[" * 200_000, "nested too deeply|malformed"),
    ],
)
def test_200_without_data_names_source_status_and_beginning(server, context, body, words):
    server.steps = [(200, {}, body)]
    with pytest.raises(SourceError, match=words) as caught:
        ask(context(), server)
    assert caught.value.reason.startswith("probe: ")
    assert "answered 200 with" in caught.value.reason
    assert len(caught.value.reason) < 300


def test_numbers_never_pass_through_a_float():
    body = b"[0.1, 1e400, -0.0, 9223372036854775808, 18446744073709551616, 1.000000000000000000000000000000000001]"
    assert exact_json(body) == [
        Decimal("0.1"),
        Decimal("1e400"),
        Decimal("-0.0"),
        2**63,
        2**64,
        Decimal("1.000000000000000000000000000000000001"),
    ]
    assert all(not isinstance(value, float) for value in exact_json(body))


def test_what_json_forbids_but_servers_send():
    assert exact_json(b'[NaN, Infinity, -Infinity, "\\ud800", "\xf0\x9f\x90\x8b"]') == [
        "NaN",
        "Infinity",
        "-Infinity",
        "\ud800",
        "\U0001f40b",
    ]
    assert exact_json(b"[" + b"9" * 5000 + b"]") == [Decimal("9" * 5000)]
    assert exact_json(b"[1e99999999999999999999]") == ["1e99999999999999999999"]
    assert exact_json(b'\xef\xbb\xbf{"a": null}') == {"a": None}


def test_a_body_error_is_one_sentence():
    with pytest.raises(BodyError, match=r"^JSON that is broken off or malformed after 3 characters: \[1,$"):
        exact_json(b"[1,")
