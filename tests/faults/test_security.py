"""Security: secrets, hostile configuration, hostile answers, hostile queries, file modes and planted links.

Each test names its case. Secrets of these tests are random, hard to quote, and looked for in every form they may take.
"""

from __future__ import annotations

import base64
import gzip
import json
import secrets
import shlex
import socket
import stat
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import yaml

from tests.conformance.s3_server import s3_server
from tests.faults.fake_api import Asked, FakeApi, Reply
from tests.faults.rest_project import RestProject, engine
from tests.faults.small_project import SMALL, SmallProject, clear, small_project
from tests.servers.webhook import webhook_server

pytestmark = pytest.mark.faults
RESOURCE = {"columns": {"id": {"type": "bigint"}, "name": {}, "price": {"type": "decimal"}}}


def canary() -> str:
    """A secret that every layer has to quote: 24 random characters with / + % " ' and a space among them."""
    return f"{secrets.token_hex(6)}/+%\"' {secrets.token_hex(6)}"


def forms(secret: str) -> set[bytes]:
    """Every way in which the secret may stand in a file."""
    plain = secret.encode()
    found = {
        plain,
        plain.hex().encode(),
        plain.hex().upper().encode(),
        quote(secret, safe="").encode(),
        quote(secret).encode(),
        quote_plus(secret).encode(),
        json.dumps(secret)[1:-1].encode(),
        repr(secret)[1:-1].encode(),
        yaml.safe_dump(secret).strip().encode()[1:-1],
        shlex.quote(secret).encode(),
        secret.replace("'", "''").encode(),
        secret.encode("utf-16-le"),
        secret.encode("utf-16-be"),
    }
    for before in range(3):  # inside user:password, say
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            whole = encode(b"x" * before + plain)
            found.add(whole[4:-4])
    return found


def leaks(secret: str, text: str, folder: Path) -> list[str]:
    """Where a secret stands: in what a person saw, or in any file of the project but .env (compressed ones too)."""
    found = [f"output: {form!r}" for form in forms(secret) if form in text.encode("utf-8", "surrogatepass")]
    for path in folder.rglob("*"):
        if path.is_file() and path.name != ".env" and "extensions" not in path.parts:
            content = path.read_bytes()
            blobs = [content]
            if content[:2] == b"\x1f\x8b":
                blobs.append(gzip.decompress(content))
            found += [f"{path}: {form!r}" for form in forms(secret) for blob in blobs if form in blob]
    return found


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    with FakeApi(tmp_path / "ledger.jsonl", lambda _: Reply([{"id": 1, "name": "one", "price": "1.5"}])) as running:
        yield running


@pytest.fixture
def shop(tmp_path: Path) -> SmallProject:
    return small_project(tmp_path / "shop") if (tmp_path / "shop").mkdir() is None else SmallProject(tmp_path)


def write_env(folder: Path, values: dict[str, str]) -> None:
    """A .env: the value's own quotes stay, only the outermost ones are taken off."""
    (folder / ".env").write_text("".join(f"{name}='{value}'\n" for name, value in values.items()))
    (folder / ".env").chmod(0o600)


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


HOSTILE_YAML = {
    "apply": ("Q05", "timezone: !!python/object/apply:os.system ['touch CANARY']\n"),
    "name": ("Q05", "timezone: !!python/name:os.system\n"),
    "new": ("Q05", "timezone: !!python/object/new:subprocess.Popen [[touch, CANARY]]\n"),
    "tab": ("Q05", "profiles:\n\tlocal: {}\n"),
    "twice": ("Q05", f"{SMALL}\ntimezone: UTC\n"),
    "no": ("Q05", SMALL.replace("timezone: UTC", "timezone: no")),
    "merge": ("Q05", SMALL.replace("timezone: UTC", "timezone: UTC\nx: &x {a: 1}\n<<: *x")),
    "bomb": (
        "Q06",
        "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)),
    ),
    "deep": ("Q06", "timezone: " + "[" * 100_000),
    "unknown": ("U07", SMALL.replace("timezone: UTC", "timezone: UTC\nshedules: 1")),
    "misspelt": ("U07", SMALL.replace("settle_seconds", "setle_seconds")),
    "old": ("U07", SMALL.replace("profiles:", "destinations: {}\nprofiles:")),
    "empty": ("U07", ""),
}
NAMED = {
    "unknown": "shedules",
    "misspelt": "setle_seconds",
    "old": "destinations",
    "twice": "timezone",
    "no": "timezone",
}


@pytest.mark.parametrize("name", HOSTILE_YAML)
def test_hostile_yaml(shop: SmallProject, name: str) -> None:
    """Q05, Q06, U07: refused by `validate` and by `run`, exit 2, in one clear error, and nothing of it is executed."""
    shop.write(HOSTILE_YAML[name][1].replace("CANARY", str(shop.folder / "canary")))
    shop.orders(1)
    for words in (["validate"], ["run", "daily"]):
        started = time.monotonic()
        ended = engine(*words, "--file", str(shop.folder / "pipelines.yaml"))
        assert time.monotonic() - started < 10
        assert ended.code == 2, ended.text
        assert clear(ended.text, NAMED.get(name, "yaml")) == []
        assert ended.out == ""
    assert not (shop.folder / "canary").exists()
    assert not shop.lake.exists()


def test_a_huge_yaml_is_bounded(shop: SmallProject) -> None:
    """Q06: a scalar of 100 MB in a process of 2 GB; refused in seconds."""
    with (shop.folder / "pipelines.yaml").open("w") as file:
        file.write("timezone: ")
        for _ in range(100):
            file.write("x" * 1_000_000)
    ended = shop.engine("validate", wrap=["prlimit", f"--as={2 << 30}", "--cpu=20", "--"], seconds=30)
    assert ended.returncode == 2, ended.stderr[:500]
    assert clear(ended.stderr, "yaml") == []


BAD_NAMES = ["../up", "/absolute", "a/b", "nul\\0", "%2e%2e", "x" * 300, "..", ".hidden", "a\\b", "tab\\there"]


@pytest.mark.parametrize("what", ["source", "table"])
@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_leave_the_lake(shop: SmallProject, what: str, name: str) -> None:
    """Q07: names of sources and tables; nothing is written outside, one clear error names the bad name."""
    given = json.dumps(name).replace("\\\\", "\\")
    text = SMALL.replace("  shop:\n", f"  {given}:\n").replace("[shop]", f"[{given}]")
    if what == "table":
        text = SMALL.replace("raw_orders: {", f"raw_orders: {{table: {given}, ")
    shop.write(text)
    shop.orders(1)
    before = {path for path in shop.folder.parent.rglob("*") if shop.folder not in path.parents}
    ended = engine("run", "daily", "--file", str(shop.folder / "pipelines.yaml"))
    assert ended.code == 2, ended.text
    assert clear(ended.text, "name") == []
    assert {path for path in shop.folder.parent.rglob("*") if shop.folder not in path.parents} == before
    assert not list(shop.folder.rglob("*.parquet"))


def test_a_link_in_the_lake_is_not_followed(shop: SmallProject) -> None:
    """Q07: a package folder replaced by a link to one outside."""
    shop.orders(1)
    assert shop.run("land").failures == []
    package = shop.packages()[0]
    outside = shop.folder.parent / "outside"
    package.rename(outside)
    package.symlink_to(outside)
    (failure,) = shop.run().failures
    assert clear(failure, package.name, "symbolic link") == []
    assert shop.ids() == []


HOSTILE_TEXTS = [
    "BTC'); DROP TABLE landing.raw_rows;--",
    'a"b; drop schema landing cascade; --',
    ";",
    "$$ select 1 $$",
    "x::integer",
    "{{ env_var('SECRET') }}",
    "{% raw %}{{ 1/0 }}{% endraw %}",
    "@EVAL(1/0)",
    "@DEF(x, 1)",
    "\\copy t to '/elsewhere/x'",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "\x1b[2J\x1b[31mred",
    "a\r\nFAILED: forged line",
    "\u202egnp.exe",
    "[bold red]markup[/]",
    "${SECRET}",
    "%(secret)s {0} {secret}",
    "' || getenv('SECRET') || '",
]


def test_hostile_rows_are_data(tmp_path: Path, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Q08, Q18, Q20: as values, as new column names and as symbols; the same tables as before, every text exact."""
    secret = canary()
    monkeypatch.setenv("SECRET", secret)
    made = RestProject(tmp_path / "project", api.url, RESOURCE)
    made.document["sources"]["shop"]["resources"]["raw_rows"]["description"] = "{{ env_var('SECRET') }} @EVAL(1/0)"
    made.write()
    assert made.run().code == 0
    before = {(row["schema"], row["name"]) for row in made.ask("SHOW ALL TABLES")}
    rows = [{"id": n, "name": text, f"col {text}": text} for n, text in enumerate(HOSTILE_TEXTS, 10)]
    api.script = lambda _: Reply(rows)
    ended = made.run()
    assert ended.code == 0, ended.text
    assert {(row["schema"], row["name"]) for row in made.ask("SHOW ALL TABLES")} == before
    for destination in ("warehouse", "second"):
        landed = {row["id"]: row for row in made.ask("from landing.raw_rows where id >= 10", destination)}
        assert [landed[row["id"]]["name"] for row in rows] == HOSTILE_TEXTS
        for row in rows:  # its own column has it as well, whatever it is called now
            text = row["name"]
            assert sum(value == text for value in landed[row["id"]].values()) == 2, text
    assert leaks(secret, ended.text, made.folder) == []

    sql = "select name from landing.raw_rows where id >= 10 order by id"
    table = made.run("query", sql).out
    assert "\x1b" not in table
    assert "\r" not in table
    assert "\u202e" not in table
    assert "\\x1b[2J" in table
    assert "\nFAILED" not in table
    assert "[bold red]markup[/]" in table
    exact = json.loads(made.run("query", sql, "--json").out)
    assert [row[0] for row in exact["rows"]] == HOSTILE_TEXTS


def test_hostile_texts_forge_no_line(tmp_path: Path, api: FakeApi) -> None:
    """Q18: notes, failures, quarantine reasons, status and the ledger of runs come from upstream as well."""
    made = RestProject(tmp_path / "project", api.url, RESOURCE)
    api.script = lambda _: Reply(
        [{"id": "x\r\nFAILED: forged\x1b[2J\u202e", "name": "n"}, {"id": 2, "a\nFAILED: forged\x1b[31m": 1}]
    )
    text = made.run().text
    api.script = lambda _: Reply(body="\x1b[2J\r\nFAILED: forged\u202e", status=404)
    text += made.run().text
    text += made.run("status").text + made.run("doctor").text
    assert not [line for line in text.splitlines() if line.startswith("FAILED: forged")]
    assert not set(text) & {"\x1b", "\r", "\u202e", "\u2028"}


class Listener:
    """A loopback port that counts who connects."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.calls = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.calls += 1
            connection.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    listening = Listener()
    yield listening
    listening.socket.close()


INSIDE = [
    "http://169.254.169.254/latest/meta-data",
    "http://[::1]:PORT",
    "http://127.1:PORT",
    "http://0:PORT",
    "http://0.0.0.0:PORT",
    "http://2130706433:PORT",
    "http://0x7f000001:PORT",
    "http://0177.0.0.1:PORT",
    "http://[::ffff:127.0.0.1]:PORT",
    "http://localhost:PORT",
    "http://user@127.0.0.1:PORT",
    "http://example.com@127.0.0.1:PORT",
    "file:///etc/passwd",
    "gopher://127.0.0.1:PORT/x",
    "http://10.0.0.1",
    "http://rebound.example:PORT",
]


@pytest.mark.parametrize("url", INSIDE)
def test_addresses_inside_are_not_asked(
    tmp_path: Path, listener: Listener, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Q09: no connection at all, one clear error. A name is resolved once, and what it resolves to is checked."""
    dialled: list[Any] = []
    resolved: list[str] = []
    real_resolve, real_connect = socket.getaddrinfo, socket.socket.connect

    def resolve(host: Any, port: Any, *words: Any, **more: Any) -> Any:
        resolved.append(str(host))
        if host == "rebound.example":  # public first, loopback ever after
            address = "8.8.8.8" if resolved.count("rebound.example") > 1 else "127.0.0.1"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]
        return real_resolve(host, port, *words, **more)

    def connect(self: socket.socket, address: Any) -> None:
        dialled.append(address)
        real_connect(self, address)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr("sources.http.limits._buckets", {})
    made = RestProject(
        tmp_path / "project",
        url.replace("PORT", str(listener.port)),
        RESOURCE,
        client={"allow_private": False, "tries": 1, "budget": 3},
    )
    ended = made.run()
    assert ended.code in {1, 2}, ended.text
    assert clear(ended.text, "base_url") == []
    assert dialled == []
    assert listener.calls == 0


@pytest.mark.parametrize(
    "where", ["http://127.0.0.1:PORT/x", "http://localhost:PORT/x", "file:///etc/passwd", "//[::1]:PORT/"]
)
def test_a_redirect_inside_is_not_followed(tmp_path: Path, api: FakeApi, listener: Listener, where: str) -> None:
    """Q09: an API that sends its clients to a loopback service."""
    target = where.replace("PORT", str(listener.port))
    api.script = lambda _: Reply(status=302, headers={"Location": target})
    made = RestProject(tmp_path / "project", api.url, RESOURCE)
    ended = made.run()
    assert api.asked
    assert ended.code == 1
    assert clear(ended.text, "shop", "redirect") == []
    assert listener.calls == 0


def bomb() -> bytes:
    """1 GiB of spaces in a gzip of a megabyte."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = b" " * (1 << 20)
    return b"".join(packer.compress(block) for _ in range(1024)) + packer.flush()


MEASURED = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print("peak kB", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize("what", ["gzip", "200-MB"])
def test_answers_without_end(tmp_path: Path, api: FakeApi, what: str) -> None:
    """Q10: a compression bomb, and an answer of 200 MB: below 1 GB of memory and 60 s, and one clear error."""
    if what == "gzip":
        reply = Reply(body=bomb(), headers={"Content-Encoding": "gzip"})
    else:
        reply = Reply(body=b"[" + b" " * 200_000_000 + b"]")
    api.script = lambda _: reply
    made = RestProject(
        tmp_path / "project", api.url, RESOURCE, client={"deadline": 30, "budget": 30}, load=["warehouse"]
    )
    shop = SmallProject(made.folder)
    started = time.monotonic()
    ended = shop.engine("run", "pull", wrap=["python3", "-c", MEASURED])
    assert time.monotonic() - started < 60
    assert api.asked
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert clear(ended.stdout, "shop", "more than 64 MiB") == []
    assert int(ended.stderr.rsplit("peak kB ", 1)[1]) < 1 << 20


def test_modes(shop: SmallProject) -> None:
    """Q19: nothing in the data folders is open to others, whatever the umask; .env stays as it was."""
    write_env(shop.folder, {"SECRET": canary()})
    before = (shop.folder / ".env").stat()
    shop.orders(1)
    ended = shop.engine("run", "daily", wrap=["sh", "-c", 'umask 000; exec "$@"', "sh"])
    assert ended.returncode == 0, ended.stderr
    made = [path for root in (shop.data, shop.lake, shop.warehouse) for path in (root, *root.rglob("*"))]
    ours = [path for path in made if "extensions" not in path.parts]  # DuckDB's extensions are public, and read only
    assert len(ours) > 20
    assert [str(path) for path in ours if stat.S_IMODE(path.lstat().st_mode) & 0o007] == []
    assert [str(path) for path in made if stat.S_IMODE(path.lstat().st_mode) & 0o002] == []
    after = (shop.folder / ".env").stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_atime_ns >= before.st_atime_ns) == (
        before.st_mode,
        before.st_mtime_ns,
        True,
    )


def test_nothing_is_left_in_the_temp_folder(shop: SmallProject) -> None:
    """Q19: names there, if any, are not to be foreseen, and they are gone afterwards."""
    temporary = shop.folder / "temporary"
    temporary.mkdir()
    shop.orders(1)
    trace = shop.folder / "trace"
    ended = shop.engine(
        "run",
        "daily",
        wrap=["strace", "-f", "-qq", "-o", str(trace), "-e", "trace=openat,mkdir,rename,symlink", "--"],
        env={"TMPDIR": str(temporary)},
    )
    assert ended.returncode == 0, ended.stderr
    assert list(temporary.iterdir()) == []
    calls = trace.read_text()
    assert "parquet" in calls  # the trace sees files
    made = [line for line in calls.splitlines() if f"{temporary}/" in line and ("O_CREAT" in line or "mkdir" in line)]
    assert [line for line in made if "O_EXCL" not in line and "mkdir" not in line and "O_TMPFILE" not in line] == []


PLANTED = [
    ".data/locks/pipeline-daily.lock",
    ".data/state/runs.sqlite",
    ".data/state/plan.json",
    ".data/cache/hints/head-raw_orders.json",
    "warehouse/writer.lock",
    "warehouse/loading.json",
    "warehouse/published.json",
    "lake/_staging",
    "lake/_log/raw_orders",
    "lake/shop",
]


@pytest.mark.parametrize("planted", PLANTED)
def test_planted_links_are_not_followed_outside(shop: SmallProject, planted: str) -> None:
    """Q19: a link planted before the first run, to a file or a folder outside; that one stays as it is."""
    outside = shop.folder.parent / "outside"
    outside.mkdir()
    target = outside / "file"
    if Path(planted).suffix:
        target.write_text("precious")
    else:
        target.mkdir()
    link = shop.folder / planted
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
    shop.orders(1)
    ended = engine("run", "daily", "--file", str(shop.folder / "pipelines.yaml"))
    if target.is_dir():
        assert list(target.iterdir()) == []
    else:
        assert target.read_text() == "precious"
    assert "Traceback" not in ended.text
    if ended.code:
        assert clear(ended.text) == []


QUERIES = [
    "select * from read_csv('/etc/passwd')",
    "select * from read_text('/etc/passwd')",
    "select * from read_blob('/etc/passwd')",
    "select * from read_parquet('lake/**/*.parquet')",
    "select * from glob('/etc/*')",
    "select * from sniff_csv('/etc/passwd')",
    "from '/etc/passwd'",
    "from 'x.parquet'",
    'select * from "/etc/passwd"',
    "copy (select 1) to 'CANARY'",
    "copy landing.raw_orders to 'CANARY'",
    "attach 'CANARY' as other",
    "install httpfs",
    "load sqlite_scanner",
    "set enable_external_access = true",
    "reset lock_configuration",
    "pragma database_list",
    "call pragma_version()",
    "call ducklake_expire_snapshots('lake')",
    "call ducklake_cleanup_old_files('lake', cleanup_all => true)",
    "select * from ducklake_snapshots('lake')",
    "select * from ducklake_add_data_files('lake', 'raw_orders', ['x'])",
    "select * from lake.snapshots()",
    "select * from __ducklake_metadata_lake.ducklake_data_file",
    "select getenv('HOME')",
    "select * from duckdb_secrets()",
    "select * from duckdb_settings()",
    "select * from which_secret('s3://x', 's3')",
    "select 1; select 2",
    "select 1; drop table landing.raw_orders",
    "/* x */ select 1 /* ; */; delete from landing.raw_orders --",
    "with gone as (delete from landing.raw_orders returning *) select * from gone",
    "explain analyze delete from landing.raw_orders",
    "insert into landing.raw_orders (id) values (1)",
    "update landing.raw_orders set id = 1",
    "create table landing.x as select 1",
    "create temp table x as select 1",
    "create macro f() as 1",
    "drop schema landing cascade",
    "select pg_read_file('/etc/passwd')",
    "select lo_import('/etc/passwd')",
    "select * from query('select * from duckdb_secrets()')",
    "select * from query_table('/etc/passwd')",
    "select * from sqlite_scan('warehouse/catalog.sqlite', 'ducklake_table')",
    "select * from (select * from read_csv('/etc/passwd'))",
    "select (select content from read_text('/etc/passwd'))",
    "select 1 union all select count(*) from read_csv('/etc/passwd')",
    "select 1 order by (select count(*) from glob('/*'))",
    "select * from parquet_metadata('lake/x')",
    "select * from READ_CSV('/etc/passwd')",
    "select * from \"read_csv\"('/etc/passwd')",
    "export database 'CANARY'",
    "import database 'CANARY'",
    "checkpoint",
    "vacuum",
    "use memory",
    "select * from test_all_types()",
    "select nextval('s')",
    "execute x",
    "prepare x as select 1",
]
HARMLESS = ["select current_setting('home_directory')", "select current_database()", "select version()"]


@pytest.fixture(scope="module")
def queried(tmp_path_factory: pytest.TempPathFactory) -> SmallProject:
    shop = small_project(tmp_path_factory.mktemp("queried"))
    shop.orders(1)
    assert shop.run().failures == []
    return shop


@pytest.mark.parametrize("sql", QUERIES)
def test_hostile_queries(queried: SmallProject, sql: str) -> None:
    """Q14 as far as `engine query` goes: refused with exit 2, nothing read, nothing written."""
    target = queried.folder / "canary"
    ended = engine(
        "query", sql.replace("CANARY", str(target)), "--json", "--file", str(queried.folder / "pipelines.yaml")
    )
    assert ended.code == 2, ended.text
    assert ended.out == ""
    assert "root:" not in ended.text
    assert "Traceback" not in ended.text
    assert 2 <= len(ended.err.splitlines()) <= 5  # the reason, then what to do
    assert not target.exists()


def test_nothing_of_the_hostile_queries_stayed(queried: SmallProject) -> None:
    """What is allowed reads no file and no secret; and the table is as it was."""
    for sql in HARMLESS:
        ended = engine("query", sql, "--json", "--file", str(queried.folder / "pipelines.yaml"))
        assert ended.code in {0, 2}
        assert str(Path.home()) not in ended.out
    assert queried.ids() == [10, 11, 12]
    assert queried.run().failures == []


def test_a_query_without_end(queried: SmallProject) -> None:
    """Q17 as far as `engine query` goes: a cross join of 10^15 rows is stopped in time."""
    from destinations import open_destination
    from engine.errors import TickhouseError
    from engine.query import query

    project = queried.project()
    warehouse = open_destination("warehouse", project.destinations["warehouse"], queried.folder, queried.data)
    started = time.monotonic()
    with pytest.raises(TickhouseError, match="stopped after 1 second"):
        query(
            warehouse,
            "select count(*) from range(100000) a, range(100000) b, range(100000) c where a.range * b.range = c.range",
            limit_seconds=1,
        )
    assert time.monotonic() - started < 10
