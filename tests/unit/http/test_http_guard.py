"""Where a request may go, and who sees a secret."""

from __future__ import annotations

import ipaddress
import logging
import socket

import pytest

from engine.errors import SourceError
from sources.http import guard as guard_module
from sources.http.client import HttpClient, session
from sources.http.guard import is_public
from sources.http.policy import Credentials, Policy

INSIDE = Policy(backoff=0.01, allow_private=True)
CANARY = "s3cret/+%\"'canary-0123456789"


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/",
        "http://127.1/",
        "http://0/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://[::ffff:127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[fe80::1]/",
        "http://10.0.0.1/",
        "http://100.64.0.1/",
        "http://224.0.0.1/",
        "http://localhost:1/",
    ],
)
def test_addresses_inside_are_refused(context, url):
    with HttpClient(context()) as client, pytest.raises(SourceError, match="not an address of the internet") as caught:
        client.get_json(url)
    assert caught.value.terminal
    assert "allow_private" in caught.value.remedy


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://127.0.0.1/x", "ftp://example.org/x"])
def test_only_the_web_is_asked(context, url):
    with HttpClient(context()) as client, pytest.raises(SourceError, match=r"neither http nor https|cannot be asked"):
        client.get_json(url)


@pytest.mark.parametrize(
    ("address", "public"),
    [("8.8.8.8", True), ("2606:4700::1111", True), ("2002:7f00:1::", False), ("::", False), ("192.168.1.1", False)],
)
def test_which_addresses_are_public(address, public):
    assert is_public(ipaddress.ip_address(address)) is public


def answers(*addresses):
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in addresses]


def test_the_connection_goes_to_the_address_that_was_checked(context, monkeypatch):
    replies = [answers("8.8.8.8"), answers("127.0.0.1")]
    dialled = []

    def dial(family, kind, protocol, target, connection):
        dialled.append(target[0])
        raise OSError("no network here")

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: replies.pop(0))
    monkeypatch.setattr(guard_module, "_dial", dial)
    with HttpClient(context(), policy=Policy(tries=1)) as client, pytest.raises(SourceError, match="connection"):
        client.get_json("http://rebinding.example/")
    assert dialled == ["8.8.8.8"]
    assert len(replies) == 1


def test_a_name_with_one_private_address_is_refused(context, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers("8.8.8.8", "127.0.0.1"))
    with HttpClient(context()) as client, pytest.raises(SourceError, match=r"mixed\.example leads to 127\.0\.0\.1"):
        client.get_json("http://mixed.example/")


def test_a_name_that_does_not_exist(context, monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with (
        HttpClient(context(), policy=Policy(tries=1)) as client,
        pytest.raises(SourceError, match="be resolved"),
    ):
        client.get_json("https://nowhere.example/")


def test_a_refused_connection(context):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    policy = Policy(tries=1, allow_private=True)
    with HttpClient(context(), policy=policy) as client, pytest.raises(SourceError, match="refuses the connection"):
        client.get_json(f"http://127.0.0.1:{port}/")


def test_redirects_stay_on_their_host(server, context):
    server.steps = [(302, {"Location": "/there"}, b""), (200, {}, b"[]")]
    with HttpClient(context(), policy=INSIDE) as client:
        assert client.get_json(f"{server.url}/here") == []
    assert [path for path, _ in server.seen] == ["/here", "/there"]


def test_a_redirect_to_another_host_is_refused(server, context):
    server.steps = [(302, {"Location": f"http://localhost:{server.port}/there"}, b"")]
    with (
        HttpClient(context(), policy=INSIDE) as client,
        pytest.raises(SourceError, match="sends on to http://localhost"),
    ):
        client.get_json(f"{server.url}/here")
    assert len(server.seen) == 1


def test_a_redirect_inwards_is_refused_even_to_an_allowed_name(server, context):
    policy = Policy(redirect_hosts=("localhost:9",))
    server.steps = [(302, {"Location": "http://localhost:9/there"}, b"")]
    with HttpClient(context(replay_url=server.url), policy=policy) as client:
        client.session.adapter.replay_url = None
        with pytest.raises(SourceError, match="localhost leads to"):
            client.get_json(f"{server.url}/here")


def test_credentials_do_not_follow_a_redirect(server, context):
    server.steps = [(302, {"Location": f"http://localhost:{server.port}/there"}, b""), (200, {}, b"[]")]
    policy = Policy(allow_private=True, redirect_hosts=(f"localhost:{server.port}",))
    credentials = Credentials(server.host, {"X-Key": CANARY}, {"key": CANARY}, (CANARY,))
    with HttpClient(context(), policy=policy, credentials=credentials) as client:
        client.get_json(f"{server.url}/here")
    first, second = server.seen
    assert first[1]["X-Key"] == CANARY
    assert "key=" in first[0]
    assert "X-Key" not in second[1]
    assert second[0] == "/there"


def test_redirects_end(server, context):
    server.steps = [(302, {"Location": "/again"}, b"")]
    with (
        HttpClient(context(), policy=INSIDE) as client,
        pytest.raises(SourceError, match="more than 3 times"),
    ):
        client.get_json(server.url)
    assert len(server.seen) == 4


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_no_message_and_no_log_shows_a_secret(server, context, caplog, status):
    caplog.set_level(logging.DEBUG)
    server.steps = [(status, {}, f"the key {CANARY} is wrong".encode())]
    credentials = Credentials(server.host, {"X-Key": CANARY}, {"key": CANARY}, (CANARY,))
    with HttpClient(context(), policy=INSIDE, credentials=credentials) as client:
        with pytest.raises(SourceError) as caught:
            client.get_json(f"{server.url}/rows", {"a": "1"})
        assert CANARY not in repr(credentials)
    chain: BaseException | None = caught.value
    while chain is not None:
        assert "canary" not in str(chain)
        chain = chain.__cause__ or chain.__context__
    assert "canary" not in caplog.text


def test_answers_do_not_carry_the_key_that_was_sent(server, context):
    server.steps = [(200, {}, b"[]")]
    credentials = Credentials(server.host, {}, {"key": CANARY}, (CANARY,))
    own = session(context(), policy=INSIDE, credentials=credentials)
    response = own.get(f"{server.url}/rows?a=1")
    assert "canary" in server.seen[0][0]
    assert "canary" not in response.url
    assert "canary" not in str(response.request.url)


def test_the_replay_is_asked_in_the_place_of_every_host(server, context):
    server.steps = [(200, {}, b"[1]")]
    with HttpClient(context(replay_url=server.url)) as client:
        assert client.get_json("https://api.example.org/v1/rows", {"a": "b c"}) == [1]
    assert server.seen[0][0] == "/api.example.org/v1/rows?a=b+c"


def test_the_replay_opens_no_other_door(server, context):
    with HttpClient(context(replay_url="http://127.0.0.1:9")) as client:
        client.session.adapter.replay_url = None
        with pytest.raises(SourceError, match="not an address of the internet"):
            client.get_json(server.url)
