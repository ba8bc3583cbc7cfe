"""What is Snowflake's own way of a load, through the real connector on its stand-in."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from destinations.snowflake import SnowflakeWarehouse
from destinations.snowflake_settings import SnowflakeSettings
from engine.errors import BusyError, DestinationError, GoneError
from engine.load import catch_up, prepare
from engine.table import Column, Table
from tests.conformance.landed_packages import PRICES, FolderLake, price_rows

COUNT = "SELECT COUNT(*) FROM landing.raw_prices"
Named = Callable[[str], SnowflakeSettings]


def warehouse(settings: SnowflakeSettings, machine: Path) -> SnowflakeWarehouse:
    """Build the destination; on one machine its writers wait for each other."""
    return SnowflakeWarehouse("snow", settings, machine / "snow.lock", wait_seconds=0.1)


def test_a_file_that_was_loaded_before_is_loaded_again_after_a_reset(snowflake: Named, tmp_path: Path) -> None:
    package = FolderLake(tmp_path).land(price_rows(0, 3))
    with warehouse(snowflake("reset"), tmp_path) as opened:
        opened.load("raw_prices", [package])
        opened.reset()
        assert opened.cursors() == {}
        opened.load("raw_prices", [package])
        assert opened._writer.execute(COUNT) == [(3,)]


def test_a_column_whose_capitals_do_not_lead_back_is_refused(snowflake: Named, tmp_path: Path) -> None:
    """`größe` in capitals is GRÖSSE, which is another name in small letters: before anything of it is loaded."""
    sizes = Table("raw_sizes", (Column("größe", "decimal"),))
    lake = FolderLake(tmp_path)
    with warehouse(snowflake("sizes"), tmp_path) as opened:
        with pytest.raises(DestinationError, match=r"'größe' on Snowflake.*'grösse'"):
            opened.ensure([sizes])
        with pytest.raises(DestinationError, match=r"landing\.raw_sizes cannot have the column"):
            opened.load("raw_sizes", [lake.land([{"größe": Decimal("1.5")}], sizes)])
        assert opened.cursors() == {}
        refused = prepare(opened, lake, [sizes, PRICES]).refused
        assert catch_up(opened, lake, [PRICES], refused=refused).errors == []
        [line] = catch_up(opened, lake, [sizes], refused=refused).errors
        assert "columns: NAME: {from: größe}" in line
        opened.ensure([Table("raw_sizes", (Column("höhe", "decimal"),))])


def test_the_second_of_two_writers_rolls_back(
    snowflake: Named, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that stalled behind its look at the cursor, while its successor loaded."""
    package = FolderLake(tmp_path).land(price_rows(0, 3))
    settings = snowflake("writers")
    with warehouse(settings, tmp_path / "stalled") as stalled, warehouse(settings, tmp_path / "other") as successor:
        monkeypatch.setattr(stalled._landing, "_check_sequence", lambda *_: None)
        successor.load("raw_prices", [package])
        with pytest.raises(DestinationError, match="no longer at 0"):
            stalled.load("raw_prices", [package])
        assert successor._writer.execute(COUNT) == [(3,)]


def test_a_run_that_another_machine_s_run_has_overtaken_goes_on_behind_it(
    snowflake: Named, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = FolderLake(tmp_path)
    packages = [lake.land(price_rows(start, 3)) for start in (0, 3, 6)]
    settings = snowflake("overtaken")
    with warehouse(settings, tmp_path / "slow") as slow, warehouse(settings, tmp_path / "fast") as fast:
        slow.ensure([PRICES])
        bring, faster = slow._landing._bring, [packages[:2]]

        def stalled(*given: Any) -> None:
            bring(*given)
            while faster:
                fast.load("raw_prices", faster.pop())

        execute, said = slow._writer.execute, list[str]()  # the stand-in has no REMOVE: what is said counts

        def listening(statement: str, *values: Any) -> Any:
            said.append(statement)
            return execute(statement, *values)

        monkeypatch.setattr(slow._writer, "execute", listening)
        monkeypatch.setattr(slow._landing, "_bring", stalled)
        report = catch_up(slow, lake, [PRICES])
        assert report.errors == []
        assert (report.packages, slow.cursors()["raw_prices"]) == (1, 3)
        assert slow._writer.execute(COUNT) == [(9,)]
        removed = [one.rsplit("/", 1)[1].split("--")[0] for one in said if one.startswith("REMOVE")]
        assert removed == ["raw_prices-000001", "raw_prices-000002", "raw_prices-000003"]


def test_a_commit_whose_answer_is_lost_loads_once(
    snowflake: Named, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snowflake.connector import errors

    package = FolderLake(tmp_path).land(price_rows(0, 3))
    settings = snowflake("lost")
    with warehouse(settings, tmp_path) as opened:
        told = opened._writer.execute

        def lost(statement: str, values: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
            answer = told(statement, values)
            if statement == "COMMIT":
                raise errors.OperationalError("reset by peer", errno=250003)
            return answer

        monkeypatch.setattr(opened._writer, "execute", lost)
        with pytest.raises(GoneError, match="while a load was being committed"):
            opened.load("raw_prices", [package])
    with warehouse(settings, tmp_path) as opened:
        assert opened.cursors() == {"raw_prices": 1}
        assert opened._writer.execute(COUNT) == [(3,)]


def test_two_runs_of_one_machine_wait_for_each_other(snowflake: Named, tmp_path: Path) -> None:
    settings = snowflake("waiting")
    with warehouse(settings, tmp_path), pytest.raises(BusyError, match="snow"), warehouse(settings, tmp_path):
        pass


def test_models_are_fenced_behind_the_loads_of_other_machines(snowflake: Named, tmp_path: Path) -> None:
    """A load that is not over has moved its cursor, which the fence's first statement waits for."""
    package = FolderLake(tmp_path).land(price_rows(0, 3))
    with warehouse(snowflake("fence"), tmp_path) as opened:
        opened.load("raw_prices", [package])
        told: list[str] = []
        execute, change = opened._writer.execute, opened._writer.change
        opened._writer.execute = lambda *given: (told.append(given[0].split()[0]), execute(*given))[1]  # type: ignore[method-assign]
        opened._writer.change = lambda *given: (told.append(given[0]), change(*given))[1]  # type: ignore[method-assign]
        found = opened.begin_models()
        assert found is not None
        assert told[:3] == ["BEGIN", "UPDATE landing._cursor SET seq = seq", "SELECT"]
        assert told[-1] == "COMMIT"
        assert found[0] < found[1]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # SQLMesh's own, while it is imported
def test_sqlmesh_knows_its_tables_and_views_by_the_models_names(snowflake: Named) -> None:
    """In small letters, though they are in capitals there: else a lost state could not be built over what is there."""
    from engine.models.snowflake import snowflake_gateway

    settings = snowflake("names")
    adapter = snowflake_gateway(settings).create_engine_adapter()
    catalog = settings.database.lower()
    adapter.create_schema(f"{catalog}.things")
    adapter.execute('CREATE TABLE "things"."one" ("id" INT)')
    adapter.execute('CREATE VIEW "things"."seen" AS SELECT "id" FROM "things"."one"')
    found = adapter.get_data_objects(f"{catalog}.things", {"one", "seen", "none"})
    assert sorted((each.catalog, each.schema_name, each.name, each.type.name) for each in found) == [
        (catalog, "things", "one", "TABLE"),
        (catalog, "things", "seen", "VIEW"),
    ]
    assert list(adapter.columns(f"{catalog}.things.seen")) == ["id"]
    assert adapter.fetchall("select id from things.seen") == []
    adapter.close()


def test_doctor_looks_and_nobody_there_is_one_line(snowflake: Named, tmp_path: Path) -> None:
    settings = snowflake("doctor")
    assert [found.what for found in warehouse(settings, tmp_path).examine() if found.ok] == [
        "server",
        "session",
        "rights",
        "clock",
        "space",
    ]
    gone = settings.model_copy(update={"port": 9, "login_seconds": 2, "network_seconds": 2})
    with pytest.raises(DestinationError) as raised, warehouse(gone, tmp_path):
        pass
    assert "never-shown" not in str(raised.value)


@pytest.mark.faults
def test_a_staged_file_of_the_same_name_and_other_content(snowflake: Named, tmp_path: Path) -> None:
    """D11: what somebody left on the stage under a package's name is overwritten; a package counts once.

    Snowflake's own load history cannot be shown here; COPY has FORCE, so it decides nothing.
    """
    import shutil

    from destinations.landing_rules import landed_files
    from destinations.snowflake_stage import put, staged_name

    lake = FolderLake(tmp_path / "lake")
    package, other = lake.land(price_rows(0, 3)), lake.land(price_rows(50, 7))
    with warehouse(snowflake("staged"), tmp_path) as opened:
        [file] = landed_files("raw_prices", [package])
        stranger = tmp_path / staged_name(file)
        shutil.copyfile(other.local_files[0], stranger)
        assert opened._writer.execute(put(stranger))[0][6] == "UPLOADED"
        opened.load("raw_prices", [package])
        assert opened._writer.execute(COUNT) == [(3,)]
        opened._writer.execute(put(stranger))
        with pytest.raises(DestinationError, match="is loaded already"):
            opened.load("raw_prices", [package])
        opened.load("raw_prices", [other])
        assert opened._writer.execute("SELECT COUNT(*), COUNT(DISTINCT symbol) FROM landing.raw_prices") == [(10, 10)]


def test_a_statement_may_take_longer_than_the_network(snowflake: Named) -> None:
    """Only `statement_seconds` ends one; the connector would take it back after its `network_timeout`."""
    from destinations.snowflake_session import connect

    taken_back: list[object] = []
    short = {"network_seconds": 1}
    for seconds, expected in ((60, []), (1, [True])):
        settings = snowflake("slow").model_copy(update={**short, "statement_seconds": seconds})
        with connect(settings) as connection:
            connection._cancel_query = lambda *_, **__: taken_back.append(True)  # type: ignore[method-assign]
            cursor = connection.cursor()
            cursor.execute("SELECT SYSTEM$WAIT(3)")
            assert cursor.fetchall() == [("waited 3 seconds",)]
        assert taken_back == expected
