"""`engine doctor`, of destinations: what they lack of the lake, a replay that did not end, a lake that is away."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from destinations import open_destination
from destinations.landing import Landing
from destinations.protocol import Loaded
from engine.doctor import Finding, examine
from engine.errors import DestinationError, LakeError
from engine.lake.lake import Lake
from engine.lake.package import Package
from engine.ledger import Ledger
from engine.metrics import exposition
from engine.metrics.stores import held
from engine.progress import Silent
from engine.rebuilding import Rebuilding
from engine.run import Runner
from engine.status import status as state_of
from tests.faults.small_project import SMALL, SmallProject, small_project
from tests.unit.metrics.test_metrics_collected import values

TWO = SMALL.replace("warehouse}\n", "warehouse}\n    second: {type: duckdb, path: second.duckdb}\n").replace(
    "load: [warehouse]", "load: [warehouse, second]"
)


@pytest.fixture
def shop(tmp_path: Path) -> SmallProject:
    made = small_project(tmp_path)
    made.write(TWO)
    made.orders(1)
    assert made.run().failures == []
    return made


def of(shop: SmallProject, ending: str) -> list[Finding]:
    return [finding for finding in examine(shop.project()) if finding.what.endswith(ending)]


def test_a_destination_that_stands_still_is_told(shop: SmallProject) -> None:
    """What the next run loads is a note; what a run since then should have loaded is wrong."""
    assert [(found.ok, found.detail) for found in of(shop, ": lake")] == [
        (True, "every package of 3 tables is loaded")
    ] * 2
    shop.orders(2)
    shop.run("land")
    behind = "landing.raw_orders is 1 package behind the lake"
    assert [(found.ok, found.detail) for found in of(shop, ": lake")] == [
        (True, f"{behind}: the next run of daily loads that")
    ] * 2
    ledger = Ledger(shop.data)
    for status in ("stopped", "partial"):
        now = datetime.now(UTC)
        ledger.start(status, "daily", now)
        ledger.finish(status, now, status, {})
        assert {found.ok for found in of(shop, ": lake")} == {status == "stopped"}
    found = of(shop, ": lake")[0]
    assert found.detail == f"{behind}, though daily ran since"
    assert "`engine run daily`" in found.remedy


def test_a_replay_that_did_not_end_is_told(shop: SmallProject) -> None:
    assert of(shop, ": replay") == []
    Rebuilding(shop.data, "second", shop.project().destinations["second"]).note(emptied=True)
    [found] = of(shop, ": replay")
    assert (found.what, found.ok) == ("destination second: replay", False)
    assert "`engine replay --destination second`" in found.remedy


@pytest.mark.parametrize("fails", ["verify", "head"])
def test_a_lake_that_does_not_answer_is_told_once(
    shop: SmallProject, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    asked = []

    def away(*_: object) -> None:
        asked.append(fails)
        raise LakeError("the lake does not answer", "Look at its server.")

    monkeypatch.setattr(Lake, fails, away)
    wrong = [found for found in examine(shop.project()) if "does not answer" in found.detail]
    assert [(found.what, found.remedy) for found in wrong] == [("lake", "Look at its server.")]
    assert len(asked) == 1


def test_a_column_that_somebody_dropped_is_told_and_stays_gone_until_it_is_restored(shop: SmallProject) -> None:
    project = shop.project()
    for name, settings in project.destinations.items():
        with open_destination(name, settings, project.project_dir, project.data_dir) as opened:
            opened._writer.execute("ALTER TABLE landing.raw_orders DROP COLUMN price")
    for _ in range(2):
        shop.orders(2)
        failures = shop.run().failures
        gone = "column 'price' of landing.raw_orders is gone, though packages with it were loaded"
        for name in project.destinations:
            assert any(line.startswith(f"{name}: {gone}") for line in failures)
        told = of(shop, ": columns")
        assert [(found.ok, found.detail) for found in told] == [(False, gone)] * 2
        assert "`engine replay --destination second`" in told[1].remedy
    assert Runner(project, Silent()).replay(None).failures == []
    assert of(shop, ": columns") == []


def test_filling_a_dropped_table_again_goes_on_in_a_run_of_any_pipeline(
    shop: SmallProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that stopped half-way is told: by its cursor a table has less than its packages that had arrived."""
    shop.write(f"{TWO}  notes: {{extract: [shop.raw_notes], load: [warehouse, second], transform: false}}\n")
    shop.orders(2)
    assert shop.run().failures == []
    project = shop.project()
    for name, settings in project.destinations.items():
        with open_destination(name, settings, project.project_dir, project.data_dir) as opened:
            opened._writer.execute("DROP TABLE landing.raw_orders")
    load = Landing.load

    def full(self: Landing, table: str, packages: Sequence[Package]) -> Loaded:
        if packages[-1].entry.seq > stands:
            raise DestinationError("any", "no space left", "Free some.")
        return load(self, table, packages)

    monkeypatch.setattr(Landing, "load", full)
    for stands in (0, 1):  # dead before anything came, or half-way; the second run is another pipeline's
        assert all("no space left" in line for line in shop.run("daily" if stands == 0 else "notes").failures)
        tables = [row for row in state_of(project)["tables"] if row["table"] == "raw_orders"]
        assert [(row["rows"], row["packages_behind"]) for row in tables] == [(stands * 3, 2 - stands)] * 2
        answers = held(project, "second").tables
        assert answers.get("raw_orders", (None, 0, 0))[1:] == (stands * 3, stands)
        told = of(shop, ": rows")
        detail = f"landing.raw_orders has {stands * 3} of the 6 rows that were loaded"
        assert [found.detail for found in told] == [f"{detail}: it was gone, and is not filled again to its end"] * 2
        assert {found.remedy for found in told} == {"`engine run daily` fills what is gone from the lake again."}
    monkeypatch.undo()
    again = "landing.raw_orders is filled from the lake again: a run before did not end that"
    assert shop.run("notes").told_notices == [f"{name}: {again}" for name in project.destinations]
    assert [found.ok for found in of(shop, ": rows")] == [True, True]


def test_packages_that_somebody_deleted_from_the_books_are_told(shop: SmallProject) -> None:
    """Their rows are there, and no model reads them."""
    shop.orders(2)
    assert shop.run().failures == []
    project = shop.project()
    assert of(shop, ": books") == []
    for name, settings in project.destinations.items():
        with open_destination(name, settings, project.project_dir, project.data_dir) as opened:
            opened._writer.execute("DELETE FROM landing._packages WHERE table_name = 'raw_orders' AND seq = 1")
    detail = "landing._packages has lost 1 of the 2 packages of raw_orders"
    assert [(found.ok, found.detail) for found in of(shop, ": books")] == [(False, detail)] * 2
    assert Runner(project, Silent()).replay(None).failures == []
    assert of(shop, ": books") == []
    max((shop.lake / "_log" / "raw_orders").rglob("*.json")).unlink()  # as another lake, which has less
    shutil.rmtree(shop.data / "cache")
    assert {row["packages_behind"] for row in state_of(project)["tables"]} == {0}


def test_what_no_pipeline_loads_there_is_not_behind_and_not_replayed(shop: SmallProject) -> None:
    """Unless it was loaded once: a replay takes nothing away. That holds for the run that finishes one, too."""
    less = TWO.replace("load: [warehouse, second]", "load: [second]")
    shop.write(f"{less}  notes: {{extract: [shop.raw_notes], load: [warehouse], transform: false}}\n")
    shop.deliver("notes1", [{"id": 1, "note": "x"}])
    shop.orders(2)
    assert [shop.run(name).failures for name in ("daily", "notes")] == [[], []]
    project = shop.project()

    def behind() -> dict[str, int | None]:
        rows = [row for row in state_of(project)["tables"] if row["destination"] == "warehouse"]
        return {row["table"]: row["packages_behind"] for row in rows}

    loaded_once = {"raw_assets": 0, "raw_notes": 0, "raw_orders": None}
    assert behind() == loaded_once
    told = values(exposition(project), "tickhouse_table_packages_behind")
    assert {table for name, table in told if name == "warehouse"} == {"raw_assets", "raw_notes"}
    with open_destination("warehouse", project.destinations["warehouse"], shop.folder, shop.data) as opened:
        opened.reset(["raw_assets", "raw_notes", "raw_orders"])
        opened.publish()
    Rebuilding(shop.data, "warehouse", project.destinations["warehouse"]).note(emptied=True, tables=["raw_orders"])
    assert shop.run("notes").failures == []
    assert behind() == loaded_once, "what it had when the replay began"
    with open_destination("warehouse", project.destinations["warehouse"], shop.folder, shop.data) as opened:
        opened.reset(["raw_assets", "raw_notes", "raw_orders"])
        opened.publish()
    assert Runner(project, Silent()).replay("warehouse").failures == []
    assert behind() == {"raw_assets": 0, "raw_notes": 0}, "what is loaded into a new one"


def lake_goes_back(shop: SmallProject) -> None:
    """A backup was made before the second orders were landed, and the lake is restored from it."""
    kept = shop.folder / "kept"
    shutil.copytree(shop.lake, kept)
    shop.orders(2)
    assert shop.run().failures == []
    shutil.rmtree(shop.lake)
    kept.rename(shop.lake)
    shutil.rmtree(shop.data / "cache", ignore_errors=True)


def test_a_lake_that_is_older_than_what_was_loaded_is_told_as_a_run_tells_it(shop: SmallProject) -> None:
    lake_goes_back(shop)
    assert {found.detail for found in of(shop, ": lake")} == {"holds 2 packages of raw_orders, the lake only 1"}
    shop.run("land")
    shop.orders(3)
    shop.run("land")
    told = of(shop, ": lake")
    assert [found.ok for found in told] == [False, False]
    assert all("as package 2 of raw_orders, the lake has" in found.detail for found in told)
    assert ["`engine replay --destination " in found.remedy for found in told] == [True, True]
    failures = shop.run().failures
    assert sorted(line.partition(": ")[2] for line in failures) == sorted(f"{f.detail} — {f.remedy}" for f in told)
    assert Runner(shop.project(), Silent()).replay(None).failures == []
    assert [found.ok for found in of(shop, ": lake")] == [True, True]


def test_a_destination_that_is_new_beside_a_restored_history_is_filled_by_a_replay(shop: SmallProject) -> None:
    project = shop.project()
    for path in (shop.folder / "warehouse", *shop.folder.glob("second*")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    told = [found for found in of(shop, ": lake") if not found.ok]
    assert told
    for found in told:
        assert found.detail.startswith("nothing is loaded here, though the lake has packages of 3 tables and daily ran")
        assert "engine replay" in found.remedy
    assert Runner(project, Silent()).replay(None).failures == []
    assert [found.ok for found in of(shop, ": lake")] == [True, True]


def test_a_file_that_was_damaged_in_lake_and_warehouse_needs_a_replay(shop: SmallProject) -> None:
    """The lake's copy was mended; the warehouse had the damaged one, as a second name of it."""
    (path,) = shop.packages()[0].glob("*.parquet")
    sound = path.read_bytes()
    middle = len(sound) // 2
    with path.open("r+b") as file:
        file.write(sound[:middle] + bytes([sound[middle] ^ 0xFF]) + sound[middle + 1 :])
    path.unlink()
    path.write_bytes(sound)
    found = next(found for found in of(shop, "destination warehouse") if not found.ok)
    assert "is damaged" in found.detail
    assert "`engine replay --destination warehouse`" in found.remedy
    assert Runner(shop.project(), Silent()).replay("warehouse").failures == []
    assert all(found.ok for found in of(shop, "destination warehouse"))


@pytest.mark.parametrize("book", ["_cursor", "_packages", "_quarantine"])
def test_bookkeeping_that_somebody_dropped_is_told_and_mended_by_a_replay(shop: SmallProject, book: str) -> None:
    project = shop.project()
    shop.deliver("orders7", [{"id": "none", "price": "1", "note": "x"}])
    assert shop.run().failures == []
    for name, settings in project.destinations.items():
        with open_destination(name, settings, project.project_dir, project.data_dir) as opened:
            opened._writer.execute(f"DROP TABLE landing.{book}")
    detail = {
        "_cursor": "landing._cursor has lost raw_orders, which have rows",
        "_packages": "landing._packages has lost the packages of raw_assets, raw_notes, raw_orders",
        "_quarantine": "landing._quarantine is empty, though rows of raw_orders were set aside",
    }
    told = [found for found in of(shop, "") if found.what.startswith("destination ") and not found.ok]
    failures = shop.run().failures
    books = [found for found in told if found.what.endswith(": books")]
    assert [found.detail for found in books] == [detail[book]] * 2
    assert all("`engine replay --destination" in found.remedy for found in books)
    assert bool(failures) == (book != "_quarantine")
    assert all("`engine replay --destination" in line for line in failures)
    assert Runner(project, Silent()).replay(None).failures == []
    assert [found for found in of(shop, "") if found.what.startswith("destination ") and not found.ok] == []
