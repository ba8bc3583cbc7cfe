"""What runs do to the marts: late rows, corrections, missed runs, a clock set back, edits, faults, lost state."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from engine.errors import TickhouseError
from engine.models.errors import ModelError
from engine.models.state import heal

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # SQLMesh's own, while it is imported
    pytest.mark.xdist_group("model runs"),
]
FIRST = [("BTC", "1", 0), ("ETH", "5", 0)]


def loads(project: Any) -> dict[str, str]:
    return dict(project.query("SELECT asset_symbol, max(_load_id) FROM marts.fct_asset_prices GROUP BY ALL"))


def test_late_corrected_and_redelivered_rows_change_only_themselves(project: Any) -> None:
    """The tables of the sources that this project leaves out are there all the same: the first run built the marts."""
    assert project.prices() == FIRST
    before = loads(project)
    project.price("late", "0.5", hour=2)
    project.price("corrected", "2")
    assert project.build().models < 15  # what a price can change, not all there is
    assert project.prices() == [("BTC", "0.5", 2), ("BTC", "2", 0), ("ETH", "5", 0)]
    project.price("again", "1")  # A, B, A: the last one counts, though its value has been there before
    project.build()
    assert project.prices() == [("BTC", "0.5", 2), ("BTC", "1", 0), ("ETH", "5", 0)]
    after = loads(project)
    assert after["ETH"] == before["ETH"]
    assert after["BTC"] > before["BTC"]
    assert (project.build().status, project.build().models) == ("unchanged", 0)


def test_missed_runs_are_caught_up_with(project: Any) -> None:
    for hour in (1, 2, 3):
        project.price(f"hour{hour}", str(hour * 10), hour=hour)
        project.run("land")
    assert project.prices() == FIRST
    project.build()
    assert project.prices() == [("BTC", "1", 0), ("BTC", "10", 1), ("BTC", "20", 2), ("BTC", "30", 3), ("ETH", "5", 0)]


def test_a_clock_that_was_set_back_hides_nothing(project: Any) -> None:
    project.write("UPDATE landing._packages SET arrived_at = arrived_at + INTERVAL 3 HOURS")
    for price in ("2", "3"):
        project.price(f"now{price}", price)
        assert project.build().error is None
        assert project.prices() == [("BTC", price, 0), ("ETH", "5", 0)]
    project.write("UPDATE landing._model_runs SET until = until + INTERVAL 2 DAYS")
    project.price("now4", "4")
    project.build()
    assert project.prices() == [("BTC", "4", 0), ("ETH", "5", 0)]


def test_open_candles_wait_until_they_are_closed(project: Any) -> None:
    def candle(name: str, hour: str, close: str, high: str = "9") -> None:
        row = {"base_currency": "BTC", "open_time": f"{hour}:00:00Z", "close_time": f"{hour}:59:59.999Z", "open": "1",
               "high": high, "low": "1", "close": close}  # fmt: skip
        project.deliver(f"candles_{name}", [row])

    closes = "SELECT CAST(close AS INT), CAST(high AS INT) FROM marts.fct_asset_candles ORDER BY ALL"
    candle("past", "2026-05-01T00", "2")
    candle("open", "2199-05-01T00", "3")
    project.build()
    assert project.query(closes) == [(2, 9)]
    candle("odd", "2026-05-01T01", "4", high="3")
    report = project.run()
    assert project.query(closes) == [(2, 9), (4, 3)]  # a candle whose high is not its highest is kept, and told
    [transformed] = report.transforms
    assert transformed.error is None
    assert transformed.warnings == [
        "marts.fct_asset_candles: check ohlc_sane failed for 1 row (high is not the highest)"
    ]


def test_an_edited_model_is_planned_once(project: Any, plans: Callable[[], int]) -> None:
    project.edit("\n  price,\n", "\n  price,\n  price * 2 AS twice,\n")
    project.price("new", "7", hour=1)
    assert project.build().error is None
    assert plans() == 1
    twice = project.query("SELECT CAST(twice AS INT) FROM marts.fct_asset_prices ORDER BY ALL")
    assert twice == [(2,), (10,), (14,)]
    project.price("newer", "8", hour=2)
    project.build()
    assert plans() == 1
    assert project.query("SELECT count(*), CAST(sum(twice) AS INT) FROM marts.fct_asset_prices") == [(4, 42)]


def test_a_broken_model_leaves_readers_the_last_good_state(project: Any) -> None:
    project.edit("\n  price,\n", "\n  price / nowhere AS price,\n")
    project.price("new", "7", hour=1)
    transformed = project.build()
    assert transformed.status == "failed"
    assert "fct_asset_prices" in transformed.error
    assert "nowhere" in transformed.error
    assert re.search(r"transforms/models/marts/fct_asset_prices.sql:\d+", transformed.error), "where to look"
    assert "\n" not in transformed.error
    assert not transformed.retry
    assert project.prices() == FIRST
    project.edit("price / nowhere AS price", "price")
    assert project.build().error is None
    assert project.prices() == [("BTC", "1", 0), ("BTC", "7", 1), ("ETH", "5", 0)]


SATELLITE = """\
MODEL (
  name vault.sat_asset_symbol,
  kind CUSTOM (
    materialization 'replace_groups',
    materialization_properties (key = asset_hk, version = (record_source, load_timestamp, hashdiff))
  ),
  allow_partials TRUE
);

@satellite(asset, key := (asset_symbol, asset_type), feed := stage.price_crypto, payload := (quote_currency));
"""


WRONG = {
    "no kind of satellites": ("'replace_groups'", "'insert_new'", 5, "insert_new has no property version"),
    "no version": (", version = (record_source, load_timestamp, hashdiff)", "", 4, "its rows are kept by kind CUSTOM"),
    "a column of the payload": (
        "payload := (quote_currency)",
        "payload := (quote_curency)",
        10,
        "no column quote_curency",
    ),
    "another key of its hub": ("(asset_symbol, asset_type)", "(asset_type)", 10, "is named by asset_type, its key is"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_satellite_that_would_lose_rows_is_refused_where_it_says_so(project: Any, name: str) -> None:
    old, new, line, reason = WRONG[name]
    assert old in SATELLITE
    (project.folder / "transforms/models/vault/sat_asset_symbol.sql").write_text(SATELLITE.replace(old, new))
    with pytest.raises(ModelError) as caught:
        project.plan()
    assert reason in caught.value.reason, caught.value.reason
    assert caught.value.reason.startswith(f"transforms/models/vault/sat_asset_symbol.sql:{line}"), caught.value.reason


def test_a_hub_of_a_feed_that_there_is_not_is_blamed_itself(project: Any) -> None:
    """Links and satellites look at the hub, and would say that it does not take their feed."""
    project.edit("stage.price_crypto", "stage.price_cripto", Path("transforms/models/vault/hub_asset.sql"))
    with pytest.raises(ModelError, match=r"there is no model stage\.price_cripto") as caught:
        project.plan()
    assert caught.value.reason.startswith("transforms/models/vault/hub_asset.sql:")


def test_a_satellite_over_a_feed_of_another_key_is_refused(project: Any) -> None:
    """Its history would be looked up by the price's key, and be another one."""
    (project.folder / "transforms/models/vault/sat_asset_symbol.sql").write_text(SATELLITE)
    project.price("new", "7", hour=1)
    transformed = project.build()
    assert transformed.status == "failed"
    assert "the _key of stage.price_crypto is not that of asset_hk" in transformed.error


@pytest.mark.parametrize("reads_the_hub", [False, True])
def test_a_satellite_over_what_is_no_feed_of_its_hub_is_refused(project: Any, *, reads_the_hub: bool) -> None:
    """The hub would not know when a key was first delivered, and of a key that it takes for new no history is read."""
    other = project.folder / "transforms/models/stage/price_other.sql"
    staged = (other.parent / "price_crypto.sql").read_text()
    staged = staged.replace("stage.price_crypto", "stage.price_other")
    if reads_the_hub:
        staged = staged.replace("allow_partials TRUE", "allow_partials TRUE, depends_on (vault.hub_asset)", 1)
    other.write_text(staged)
    satellite = SATELLITE.replace("stage.price_crypto", "stage.price_other")
    (project.folder / "transforms/models/vault/sat_asset_symbol.sql").write_text(satellite)
    project.price("new", "7", hour=1)
    transformed = project.build()
    assert transformed.status == "failed"
    place = "transforms/models/vault/sat_asset_symbol.sql:10: "
    assert transformed.error.startswith(f"{place}stage.price_other is no feed of vault.hub_asset: add it to that hub's")
    assert not transformed.retry
    with pytest.raises(ModelError, match="is no feed of"):  # before anything is built
        project.plan()


def test_a_misspelt_argument_of_a_macro_is_named(project: Any) -> None:
    satellite = SATELLITE.replace("payload :=", "paylod :=")
    (project.folder / "transforms/models/vault/sat_asset_symbol.sql").write_text(satellite)
    with pytest.raises(ModelError, match=r"the macro has no argument 'paylod': is it 'payload'\?") as caught:
        project.plan()
    assert caught.value.reason.startswith("transforms/models/vault/sat_asset_symbol.sql:10\n")


LINK = """\
MODEL (
  name vault.link_asset_quote,
  kind CUSTOM (
    materialization 'insert_new',
    materialization_properties (key = asset_quote_hk, hubs = vault.hub_asset)
  ),
  allow_partials TRUE,
  depends_on (vault.hub_asset)
);

@link(asset_quote, hubs := (asset(quote_currency, asset_type)), feeds := (stage.price_crypto));
"""


def test_a_link_that_names_a_hub_by_other_columns_than_its_key_is_refused(project: Any) -> None:
    """The hub takes this feed by another column: it does not know when it first brought that key."""
    (project.folder / "transforms/models/vault/link_asset_quote.sql").write_text(LINK)
    project.price("new", "7", hour=1)
    transformed = project.build()
    assert transformed.status == "failed"
    assert (
        "vault.hub_asset is named by quote_currency, asset_type, its key is asset_symbol, asset_type"
        in transformed.error
    )
    assert transformed.error.startswith("transforms/models/vault/link_asset_quote.sql:")


def test_a_file_that_is_no_model_gives_one_error(project: Any) -> None:
    project.edit("MODEL (", "MODEL ((")
    project.price("new", "7", hour=1)
    transformed = project.build()
    assert transformed.status == "failed"
    assert "fct_asset_prices.sql" in transformed.error
    assert project.prices() == FIRST


@pytest.mark.parametrize("content", [b"", b"no database" * 500, b"half of one"])
def test_a_state_file_that_cannot_be_read_is_put_aside(tmp_path: Path, content: bytes) -> None:
    state, wal = tmp_path / "state.duckdb", tmp_path / "state.duckdb.wal"
    state.write_bytes(content)
    wal.write_bytes(b"what was under way")
    assert not heal(state)
    assert not state.exists() or not state.stat().st_size
    assert not heal(state)
    assert not wal.exists()


@pytest.mark.parametrize("left", ["nothing", "half"])
def test_lost_or_half_made_state_is_made_anew(project: Any, left: str) -> None:
    whole = project.state.read_bytes()
    if left == "nothing":
        project.state.unlink()
    else:
        project.state.write_bytes(whole[: len(whole) // 2])
    project.price("new", "7", hour=1)
    assert project.build().error is None
    assert project.prices() == [("BTC", "1", 0), ("BTC", "7", 1), ("ETH", "5", 0)]


def test_replay_builds_the_marts_anew_with_the_files_of_now(project: Any) -> None:
    [(table,)] = project.query(
        "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'sqlmesh__marts' AND table_name LIKE '%prices%'"
    )
    project.write(f"DELETE FROM sqlmesh__marts.{table} WHERE asset_symbol = 'BTC'")
    project.price("new", "7", hour=1)
    project.run("land")
    assert project.replay().error is None
    assert project.prices() == [("BTC", "1", 0), ("BTC", "7", 1), ("ETH", "5", 0)]
    project.edit("\n  price,\n", "\n  price,\n  price * 2 AS twice,\n")
    assert project.replay().error is None
    assert project.query("SELECT CAST(sum(twice) AS INT) FROM marts.fct_asset_prices") == [(26,)]


@pytest.mark.parametrize("again", ["run", "replay"])
def test_a_warehouse_that_was_lost_is_built_anew(project: Any, again: str) -> None:
    """SQLMesh's state and the marker still describe the old one."""
    shutil.rmtree(project.folder / "warehouse")
    transformed = project.build() if again == "run" else project.replay()
    assert transformed.error is None
    assert transformed.status == "built"
    assert project.prices() == FIRST
    assert list(project.state.parent.glob("sqlmesh-warehouse.duckdb.other-warehouse-*"))
    [warning] = [warning for warning in transformed.warnings if "another one than before" in warning]
    assert ("engine replay" in warning) == (again == "run")
    assert project.build().error is None
    assert project.prices() == FIRST


def test_pipelines_of_one_selection_keep_cursors_of_their_own(project: Any, plans: Callable[[], int]) -> None:
    yaml = project.folder / "pipelines.yaml"
    only = "transform: {select: marts.fct_asset_prices}"
    yaml.write_text(
        yaml.read_text()
        + f"  first: {{extract: [shop.prices], load: [warehouse], {only}}}\n"
        + f"  second: {{extract: [shop.candles], load: [warehouse], {only}}}\n"
    )
    for name in ("first", "second"):
        project.run(name)
    [[first], [second]] = [project.run(name).transforms for name in ("first", "second")]
    assert (first.error, second.error) == (None, None)
    assert (first.status, second.status) == ("unchanged", "unchanged")
    assert json.loads((project.state.parent / "transformed-warehouse.json").read_text())["warehouse"]
    assert plans() == 0


@pytest.mark.parametrize(
    "error",
    [
        duckdb.IOException("IO Error: Cannot open file: Permission denied"),
        duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate data of size 16 MiB"),
        duckdb.IOException("IO Error: Cannot open file: Too many open files"),
    ],
)
def test_a_state_that_cannot_be_read_for_now_stays_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: duckdb.Error
) -> None:
    state = tmp_path / "state.duckdb"
    duckdb.connect(str(state)).close()

    def refuse(_path: str, **_more: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(duckdb, "connect", refuse)
        with pytest.raises(TickhouseError, match=r"state\.duckdb cannot be opened") as caught:
            heal(state)
    assert "run again" in caught.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["state.duckdb"]
