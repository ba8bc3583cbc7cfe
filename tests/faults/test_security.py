"""Hostile configuration, hostile answers, file modes and planted links; each test names its case."""

from __future__ import annotations

import json
import stat
import time
import zlib
from pathlib import Path

import pytest

from tests.faults.fake_api import FakeApi, Reply
from tests.faults.planted_secrets import canary, leaks, write_env
from tests.faults.rest_project import RESOURCE, RestProject, engine
from tests.faults.small_project import SMALL, SmallProject, clear, small_project

pytestmark = pytest.mark.faults


@pytest.fixture
def shop(tmp_path: Path) -> SmallProject:
    return small_project(tmp_path / "shop") if (tmp_path / "shop").mkdir() is None else SmallProject(tmp_path)


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
