"""Every command: exit codes, JSON alone on standard output, errors on standard error and without a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sources.market_replay import Fault, MarketReplay
from tests.e2e.engine_project import EngineProject, new_project

Make = Callable[..., EngineProject]
REPLAY = "    market: replay\n"
LISTINGS = [
    ("validate",),
    ("plan",),
    ("plan", "prices-crypto-pipeline"),
    ("status",),
    ("ls",),
    ("doctor",),
    ("query", "select 1 as one"),
]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> EngineProject:
    """A clone in which nothing has run."""
    return new_project(tmp_path_factory.mktemp("bare") / "clone")


def asks(project: EngineProject, market: MarketReplay) -> EngineProject:
    project.replace(REPLAY, f"{REPLAY}    market_url: {market.url}\n")
    return project


@pytest.mark.parametrize("command", LISTINGS, ids=" ".join)
def test_json_is_one_document_and_nothing_else(finished_small: EngineProject, command: tuple[str, ...]) -> None:
    ended = finished_small.engine(*command, "--json")
    assert isinstance(ended.document(), dict)
    assert not ended.err
    plain = finished_small.engine(*command)
    assert plain.out.strip()
    assert not plain.err


def test_json_of_what_moves_data(ran_project: EngineProject) -> None:
    days = ("--from", "2026-01-01", "--to", "2026-01-02")
    for command in (("run", "historical-backfill"), ("backfill", "historical-backfill", *days), ("replay",)):
        ended = ran_project.engine(*command, "--json")
        (run,) = ended.document()["runs"]
        assert run["status"] == "ok", run
        assert "  ok  " in ended.err, "progress belongs to standard error"


def test_query_json_is_exact(finished_small: EngineProject) -> None:
    sql = (
        "select 1::decimal(38,18) / 1 as n, 0.1::decimal(38,18) as d, timestamptz '2026-01-01 07:00:00+07' as t, "
        "null as x, 'ü' as s, 9007199254740993 as big"
    )
    document = finished_small.engine("query", sql, "--json").document()
    assert document["columns"] == ["n", "d", "t", "x", "s", "big"]
    ((_, d, t, x, s, big),) = document["rows"]
    assert (d, t, x, s, big) == ("0.100000000000000000", "2026-01-01T00:00:00+00:00", None, "ü", 9007199254740993)


WRONG_USAGE = [
    (("run", "prices-crypto-pipelin"), "Did you mean prices-crypto-pipeline?"),
    (("run",), "no pipeline named"),
    (("run", "nothing-like-it"), "there is no pipeline called"),
    (("plan", "prices-crypto-pipelin"), "Did you mean prices-crypto-pipeline?"),
    (("backfill", "prices-crypto-pipeline", "--from", "yesterday", "--to", "2026-01-01"), "is not a date"),
    (("backfill", "prices-crypto-pipeline", "--from", "2026-01-02", "--to", "2026-01-01"), "--from must lie before"),
    (("replay", "--destination", "warehous"), "has no destination"),
    (("query", "select 1", "--on", "snowflake"), "has no warehouse"),
    (("validate", "--fil", "x"), "No such option"),
    (("validate", "--file", "missing.yaml"), "missing.yaml"),
]


@pytest.mark.parametrize(
    ("command", "said"), WRONG_USAGE, ids=lambda value: " ".join(value) if value is not str else ""
)
def test_wrong_usage_exits_with_2(bare: EngineProject, command: tuple[str, ...], said: str) -> None:
    ended = bare.engine(*command, expect=2)
    assert said in ended.err
    assert not ended.out
    assert len(ended.err.strip().splitlines()) <= 6


def test_a_wrong_profile_names_the_near_one(bare: EngineProject) -> None:
    ended = EngineProject(bare.folder, "dmo").engine("status", expect=2)
    assert "pipelines.yaml:" in ended.err
    assert "unknown profile 'dmo'" in ended.err
    assert "Did you mean 'demo'?" in ended.err


def test_broken_yaml_shows_its_line(tmp_path: Path) -> None:
    project = new_project(tmp_path / "broken")
    project.replace("pipelines:\n  batch-data-pipeline:\n", "pipelines:\n  batch-data-pipeline: [\n")
    for command in (("validate",), ("run", "--all"), ("status", "--json")):
        ended = project.engine(*command, expect=2)
        assert "pipelines.yaml:" in ended.err
        assert "^" in ended.err
        assert not ended.out


def test_a_query_before_the_first_run(bare: EngineProject) -> None:
    ended = bare.engine("query", "select 1", expect=None)
    assert ended.code in {1, 2}
    assert "nothing is published here yet" in ended.err
    assert "engine run --all" in ended.err


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("select * from marts.fct_asset_price", "Did you mean marts.fct_asset_prices"),
        ("drop table marts.fct_asset_prices", "is not allowed here"),
        ("insert into marts.fct_asset_prices select * from marts.fct_asset_prices", "is not allowed here"),
        ("update marts.fct_asset_prices set price = 0", "is not allowed here"),
        ("select 1; select 2", "more than one statement"),
        ("selec 1", "syntax error"),
        ("select * from '/etc/passwd'", "is a file, not a table"),
        ("select prise from marts.fct_asset_prices", "prise"),
        ("", "nothing to run"),
    ],
)
def test_a_query_that_cannot_be(finished_small: EngineProject, sql: str, said: str) -> None:
    for arguments in ((), ("--json",)):
        ended = finished_small.engine("query", sql, *arguments, expect=2)
        assert said in ended.err
        assert not ended.out


def test_a_data_folder_that_is_a_file(small_project: Make) -> None:
    project = small_project(models=False)
    (project.folder / ".data").mkdir()
    (project.folder / ".data" / "demo").write_text("in the way", encoding="utf-8")
    for command in (("run", "prices-stock-pipeline"), ("status",), ("doctor",), ("query", "select 1")):
        ended = project.engine(*command, expect=None)
        assert ended.code in {1, 2}, command
        said = ended.err + ended.out
        assert "unexpected" not in said, said
        assert ".data/demo" in said, said


def test_one_failing_source_stops_no_other(small_project: Make, market: MarketReplay) -> None:
    project = asks(small_project(models=False), market)
    (armed,) = market.inject(Fault("status", host="api.coingecko.com", times=None, status=451))
    ended = project.engine("run", "prices-crypto-pipeline", "--json", expect=1)
    (run,) = ended.document()["runs"]
    assert armed.fired
    assert run["status"] == "partial"
    (failure,) = run["failures"]
    assert failure.startswith("coingecko: ")
    assert " — " in failure, "what to do stands behind what happened"
    assert "\n" not in failure
    states = {f"{r['source']}.{r['resource']}": r["status"] for r in run["resources"]}
    assert {name for name, state in states.items() if state == "failed"} == {"coingecko.raw_cryptoprices_coingecko"}
    assert set(states.values()) == {"landed", "failed"}
    plain = project.engine("run", "prices-crypto-pipeline", expect=1)
    (said,) = [line for line in plain.out.splitlines() if line.startswith("FAILED: ")]
    assert said == f"FAILED: {failure}"
    assert "done in part" in plain.out
    market.clear_faults()
    project.engine("run", "prices-crypto-pipeline")
    assert project.value("select count(*) from landing.raw_cryptoprices_coingecko") == 3


def test_a_bad_symbol_costs_only_itself(small_project: Make, market: MarketReplay) -> None:
    project = asks(small_project(models=False), market)
    bad = "add: [{symbol: NOSUCH, binance: NOSUCHUSDT, coingecko: no-such-coin, yfinance: NOSUCH-USD}]"
    project.replace("where: {asset_type: crypto}, top: 3}", f"where: {{asset_type: crypto}}, top: 3, {bad}}}")
    (run,) = project.run("prices-crypto-pipeline", expect=0)
    notices = [notice for resource in run["resources"] for notice in resource["notices"]]
    for source in ("binance", "yfinance"):
        assert any(notice.startswith(f"{source}: NOSUCH") for notice in notices), notices
    counts = {f"{r['source']}.{r['resource']}": r["rows"] for r in run["resources"]}
    assert counts["binance.ticker"] == 2, "BTC and ETH; Tether has no pair"
    assert counts["coingecko.raw_cryptoprices_coingecko"] == 3
    assert {row[0] for row in project.rows("select distinct base_currency from landing.raw_cryptoprices_yfinance")} == {
        "BTC", "ETH", "USDT"
    }  # fmt: skip


def test_two_runs_of_one_pipeline(small_project: Make, market: MarketReplay) -> None:
    """The second is refused in one clear line, or waits where it is told to."""
    project = asks(small_project(models=False), market)
    market.inject(Fault("slow", host="api.coingecko.com", seconds=8))
    first = project.start("run", "prices-crypto-pipeline", "--json")
    lock = project.folder / ".data" / "demo" / "locks" / "pipeline-prices-crypto-pipeline.lock"
    deadline = time.monotonic() + 30
    while not (lock.exists() and lock.read_text(encoding="utf-8")) and time.monotonic() < deadline:
        time.sleep(0.05)
    refused = project.engine("run", "prices-crypto-pipeline", expect=1)
    assert f"pipeline prices-crypto-pipeline is busy: process {first.pid} " in refused.err
    assert "--wait" in refused.err
    assert project.engine("status", "--json").document()["pipelines"][1]["status"] == "running"
    waited = project.engine("run", "prices-crypto-pipeline", "--wait", "60", "--json")
    assert first.poll() == 0
    out, _ = first.communicate()
    assert json.loads(out)["runs"][0]["status"] == "ok"
    assert waited.document()["runs"][0]["status"] == "ok"


def test_two_pipelines_at_once(small_project: Make, market: MarketReplay) -> None:
    """Both land and both load: the warehouse takes turns."""
    project = asks(small_project(models=False), market)
    names = ("prices-crypto-pipeline", "prices-stock-pipeline", "historical-backfill")
    running = [project.start("run", name, "--json") for name in names]
    for process in running:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, out + err
    assert project.value("select count(*) from landing.raw_assets") == 6
    for table in project.engine("status", "--json").document()["tables"]:
        assert table["packages_behind"] == 0


PROBE = """
HEAVY = ("sqlmesh", "yfinance", "karpet", "faker", "s3fs", "prefect")
import sys
from engine.cli import main
sys.argv = ["engine", "run", "historical-backfill", "--profile", "demo"]
try:
    main()
except SystemExit as ended:
    print(ended.code, [name for name in HEAVY if name in sys.modules])
"""


def test_a_run_without_a_new_file_imports_no_heavy_part(small_project: Make) -> None:
    project = small_project()
    project.engine("run", "historical-backfill")
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "0 []", done.stdout + done.stderr
    assert "nothing new" in done.stderr
