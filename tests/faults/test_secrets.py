"""Secrets: nowhere but in .env, whatever fails. They are random, hard to quote, and looked for in every form."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from tests.conformance.s3_server import s3_server
from tests.faults.fake_api import Asked, FakeApi, Reply
from tests.faults.planted_secrets import canary, forms, leaks, write_env
from tests.faults.rest_project import RESOURCE, RestProject, engine
from tests.faults.small_project import SMALL, SmallProject, clear
from tests.servers.webhook import webhook_server

pytestmark = pytest.mark.faults


AUTHS: dict[str, dict[str, Any]] = {
    "bearer": {"auth": {"type": "bearer", "token": "${SECRET}"}},
    "query": {"auth": {"type": "api_key", "query": "key", "key": "${SECRET}"}},
    "header": {"auth": {"type": "api_key", "header": "x-key", "key": "${SECRET}"}},
    "basic": {"auth": {"type": "basic", "username": "someone", "password": "${SECRET}"}},
    "plain-header": {"headers": {"x-token": "${SECRET}"}},
}


def echoed(asked: Asked, secret: str) -> str:
    """What a careless server tells back: headers, parameters, and the key itself."""
    return f"{asked.headers} {asked.query} {asked.path} {secret} {quote(secret, safe='')}"


ERRORS: dict[str, Callable[[Asked, str], Reply]] = {
    "401": lambda asked, secret: Reply(body=echoed(asked, secret), status=401),
    "429": lambda asked, secret: Reply(body=echoed(asked, secret), status=429, headers={"Retry-After": "999"}),
    "html": lambda asked, secret: Reply(body=f"<html>{echoed(asked, secret)}</html>"),
    "redirect": lambda _, secret: Reply(
        status=302, headers={"Location": f"http://other.invalid/{quote(secret, safe='')}?k={quote(secret, safe='')}"}
    ),
    "redirect-loop": lambda _, secret: Reply(status=302, headers={"Location": f"/rows?k={quote(secret, safe='')}"}),
    "object": lambda asked, secret: Reply(body={"error": echoed(asked, secret), secret: secret}),
    "broken": lambda _, secret: Reply(body='[{"id": 1, "name": "' + json.dumps(secret)[1:-1]),
    "reset": lambda *_: Reply(rows=[{"id": 1}], wire="reset_middle"),
}


@pytest.mark.parametrize("auth", AUTHS)
def test_secrets_of_a_rest_source(tmp_path: Path, api: FakeApi, auth: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Q01, Q03: every error path of a source, the server telling the secret back, with --debug and without."""
    secret = canary()
    folder = tmp_path / "project"
    made = RestProject(folder, api.url, RESOURCE, client={**AUTHS[auth], "tries": 2, "budget": 3})
    write_env(folder, {"SECRET": secret})
    monkeypatch.setattr("sources.http.limits._buckets", {})
    monkeypatch.setattr("sources.http.adapter.pause", lambda *_: 0.01)
    assert made.run().code == 0  # the secret was sent, and the run works
    sent = json.dumps([asked.headers for asked in api.asked]) + json.dumps([asked.query for asked in api.asked])
    shown = {"basic": base64.b64encode(f"someone:{secret}".encode()).decode()}.get(auth, json.dumps(secret)[1:-1])
    assert shown in sent or json.dumps(shown)[1:-1] in sent

    text = ""
    for name, answer in ERRORS.items():
        monkeypatch.setattr("sources.http.limits._buckets", {})
        api.script = lambda asked, answer=answer: answer(asked, secret)
        before = len(api.asked)
        debug = ["--debug"] if name in {"401", "html"} else []
        ended = made.run("run", "pull", *debug)
        assert ended.code == 1, (name, ended.text)
        assert len(api.asked) > before
        assert ended.failures, name
        text += ended.text
    made.document["sources"]["shop"]["client"]["base_url"] = "https://no-such-host.invalid/api"
    made.write()
    ended = made.run()
    assert ended.code == 1
    text += ended.text
    for words in (["status"], ["status", "--json"], ["ls", "--json"], ["plan"], ["plan", "--json"], ["doctor"]):
        text += made.run(*words).text
    assert leaks(secret, text, folder) == []


def test_secrets_of_a_lake_on_s3(tmp_path: Path) -> None:
    """Q01, Q03: a bucket that refuses the secret, and one that takes it, whose name is then nowhere."""
    secret, wrong = secrets.token_hex(12) + "/+", canary()
    lake = {"type": "s3", "bucket": "raw-data", "access_key": "${KEY}", "secret_key": "${SECRET}"}
    with s3_server(tmp_path / "s3", "known-key", secret) as server:
        shop = SmallProject(tmp_path / "shop")
        shop.folder.mkdir()
        shop.write(SMALL)
        document = yaml.safe_load(SMALL)
        document["profiles"]["local"]["lake"] = {**lake, "endpoint": server.url}
        shop.write(yaml.safe_dump(document))
        shop.orders(1)
        write_env(shop.folder, {"KEY": "known-key", "SECRET": wrong})
        refused = engine("run", "daily", "--file", str(shop.folder / "pipelines.yaml"))
        assert refused.code == 1
        assert clear(refused.text, "raw-data") == []
        told = refused.text + engine("run", "daily", "--debug", "--file", str(shop.folder / "pipelines.yaml")).text
        write_env(shop.folder, {"KEY": "known-key", "SECRET": secret})
        taken = engine("run", "daily", "--file", str(shop.folder / "pipelines.yaml"))
        assert taken.code == 0, taken.text
        assert leaks(wrong, told, shop.folder) == []
        assert leaks(secret, taken.text, shop.folder) == []


SAYINGS = {
    "debug": ["--debug"],
    "json": ["--log-format", "json"],
    "json, debug": ["--log-format", "json", "--debug"],
    "json, document": ["--log-format", "json", "--json"],
}


def test_secrets_planted_wherever_a_message_may_carry_them(tmp_path: Path, api: FakeApi) -> None:
    """Q01: a key that the server tells back, the DSN of a server that is away, the webhook's own address.

    Looked for in every kind of log, the messages of the webhook, metrics, status, doctor, the data folder and a backup.
    """
    key, password, hook = canary(), canary(), f"hook-{secrets.token_hex(12)}"
    made = RestProject(tmp_path / "project", api.url, RESOURCE, client={**AUTHS["bearer"], "tries": 1, "budget": 3})
    far = {"type": "postgres", "dsn": "postgresql://someone:${PASSWORD}@127.0.0.1:1/db"}
    made.document["profiles"]["local"]["far"] = far
    made.document["pipelines"]["pull"]["load"] = ["warehouse", "far"]
    made.document["notify"] = {"webhook": "${HOOK}"}
    made.write()
    told = ""
    with webhook_server(hook) as webhook:
        write_env(made.folder, {"SECRET": key, "PASSWORD": quote(password, safe=""), "HOOK": webhook.url})
        for name, words in SAYINGS.items():
            api.script = lambda asked, name=name: Reply(body=echoed(asked, key) + name, status=403)
            ended = made.run_apart("run", "pull", *words)
            assert ended.code == 1, ended.text
            assert "403" in ended.text
            assert "127.0.0.1:1" in ended.text
            told += ended.text
            if "json" in name:
                lines = [json.loads(line) for line in ended.err.splitlines()]
                begun = next(at for at, line in enumerate(lines) if line.get("event") == "run_begin")
                assert {line["run_id"] for line in lines[begun:]} == {lines[-1]["run_id"]}
        for words in (["status", "--json"], ["doctor"], ["metrics"], ["backup", str(tmp_path / "backup")]):
            told += made.run_apart(*words).text
        assert "403" in webhook.texts[0]
    told += " ".join(webhook.texts)
    for secret in (key, password, hook):
        assert leaks(secret, told, tmp_path) == []


def test_secrets_of_a_running_process(tmp_path: Path, api: FakeApi) -> None:
    """Q02: no argument of the process, nor of its children, holds a secret; nothing of it lies in the temp folder."""
    secret = canary()
    made = RestProject(tmp_path / "project", api.url, RESOURCE, client=AUTHS["bearer"])
    write_env(made.folder, {"SECRET": secret})
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    seen: list[bytes] = []
    asked = threading.Event()

    def slow(_: Asked) -> Reply:
        asked.set()
        time.sleep(0.5)
        return Reply([{"id": 1}])

    api.script = slow
    with made.start(env={"TMPDIR": str(temporary)}) as process:
        while process.poll() is None:
            for child in (process.pid, *children(process.pid)):
                try:
                    seen.append(Path(f"/proc/{child}/cmdline").read_bytes())
                except OSError:
                    continue
            time.sleep(0.02)
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert asked.is_set()
    assert any(b"run" in words for words in seen)
    assert not [words for words in seen for form in forms(secret) if form in words]
    assert leaks(secret, out + err, made.folder) == []
    assert leaks(secret, "", temporary) == []


def children(pid: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
