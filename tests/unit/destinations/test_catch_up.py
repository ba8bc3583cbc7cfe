"""Catch-up from the lake: order, bounds, and a damaged package that stops only its own table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import pytest

from destinations.ducklake import DucklakeWarehouse
from destinations.protocol import ColumnsLoaded, Loaded
from engine import load
from engine.config.models import FilesystemLake
from engine.errors import BusyError, DestinationError
from engine.lake.lake import Lake, open_lake
from engine.lake.package import Package
from engine.load import catch_up, prepare
from engine.table import LINEAGE_COLUMNS, QUARANTINE_COLUMNS, Table
from tests.conformance.landed_packages import PRICES, FolderLake, arrow_rows, price_rows

OTHER = replace(PRICES, name="raw_other")


class Recorder:
    """A destination that keeps which packages it was given in one transaction."""

    name = "recorder"

    def __init__(self, cursors: Mapping[str, int] | None = None, refuse: int | None = None) -> None:
        self.transactions: list[tuple[str, list[int]]] = []
        self._cursors = dict(cursors or {})
        self._refuse = refuse

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def watch_columns(self, loaded: ColumnsLoaded) -> None:
        pass

    def newest(self) -> Mapping[str, str]:
        return {}

    def cursors(self) -> Mapping[str, int]:
        return self._cursors

    def ensure(self, tables: Iterable[Table]) -> None:
        pass

    def reset(self) -> None:
        self._cursors.clear()

    def publish(self) -> None:
        pass

    def load(self, table: str, packages: Sequence[Package]) -> Loaded:
        sequence = [package.entry.seq for package in packages]
        if self._refuse in sequence:
            raise DestinationError(self.name, "no space left", "Free some.")
        self.transactions.append((table, sequence))
        return Loaded(sum(p.manifest.rows for p in packages), 0, sum(p.manifest.bytes for p in packages), sequence[-1])


@pytest.fixture
def lake(tmp_path: Path) -> FolderLake:
    return FolderLake(tmp_path / "lake")


def test_it_loads_what_is_missing_in_bounded_transactions(lake: FolderLake, monkeypatch: pytest.MonkeyPatch) -> None:
    for start in range(8):
        lake.land(price_rows(start, 1))
    monkeypatch.setattr(load, "BATCH_PACKAGES", 3)
    said: list[str] = []
    destination = Recorder({"raw_prices": 1})
    report = catch_up(destination, lake, [PRICES], said.append)
    assert destination.transactions == [("raw_prices", [2, 3, 4]), ("raw_prices", [5, 6, 7]), ("raw_prices", [8])]
    assert (report.packages, report.rows, report.errors) == (7, 7, [])
    assert said[-1] == "raw_prices: 7 rows, package 8 of 8"
    assert catch_up(Recorder({"raw_prices": 8}), lake, [PRICES]).packages == 0


def test_bytes_bound_a_transaction_too(lake: FolderLake, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = [lake.land(price_rows(start, 1)) for start in range(3)]
    monkeypatch.setattr(load, "BATCH_BYTES", packages[0].manifest.bytes * 2)
    destination = Recorder()
    catch_up(destination, lake, [PRICES])
    assert [sequence for _, sequence in destination.transactions] == [[1, 2], [3]]
    monkeypatch.setattr(load, "BATCH_BYTES", 1)
    destination = Recorder()
    catch_up(destination, lake, [PRICES])
    assert [sequence for _, sequence in destination.transactions] == [[1], [2], [3]]


def test_a_damaged_package_stops_its_own_table_after_what_stands_before_it(lake: FolderLake) -> None:
    for start in range(4):
        lake.land(price_rows(start, 1))
        lake.land(price_rows(start, 1), OTHER)
    lake.broken.add(("raw_prices", 3))
    destination = Recorder()
    report = catch_up(destination, lake, [PRICES, OTHER])
    assert destination.transactions == [("raw_prices", [1, 2]), ("raw_other", [1, 2, 3, 4])]
    assert report.errors == ["package raw_prices-000003 was changed after it was landed — Restore it."]
    assert [(table.seq, table.head) for table in report.tables] == [(2, 4), (4, 4)]


def test_a_refused_load_stops_its_table_and_is_reported(lake: FolderLake) -> None:
    for start in range(2):
        lake.land(price_rows(start, 1))
    lake.land(price_rows(0, 1), OTHER)
    report = catch_up(Recorder(refuse=2), lake, [PRICES, OTHER])
    assert report.errors == ["recorder: no space left (package raw_prices-000002) — Free some."]
    assert report.rows == 2


def test_what_was_loaded_before_another_writer_came_is_counted(
    lake: FolderLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for table in (PRICES, OTHER):
        lake.land(price_rows(0, 2), table)
    destination = Recorder()
    load_one = destination.load

    def taken(table: str, packages: Sequence[Package]) -> Loaded:
        if table == "raw_prices":
            raise BusyError("destination recorder is busy: machine b holds it", "Let it finish.")
        return load_one(table, packages)

    monkeypatch.setattr(destination, "load", taken)
    report = catch_up(destination, lake, [OTHER, PRICES, OTHER])
    assert (report.packages, report.rows, report.busy) == (1, 2, True)
    assert report.errors == ["destination recorder is busy: machine b holds it — Let it finish."]
    assert [table.table for table in report.tables] == ["raw_other", "raw_prices"]


class Refusing(Recorder):
    """One that refuses tables, each for its reason."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__()
        self._reasons = reasons

    def tables(self) -> set[str]:
        return set()

    def ensure(self, tables: Iterable[Table]) -> None:
        for table in tables:
            if table.name in self._reasons:
                raise DestinationError(self.name, self._reasons[table.name], "Mend it.")


def test_what_a_table_is_refused_for_names_it(lake: FolderLake) -> None:
    """Of all of them what each is refused for, unless it is the same: that is no table's."""
    found = prepare(Refusing({"raw_prices": "must be owner"}), lake, [PRICES, OTHER])
    assert {name: error.line for name, error in found.refused.items()} == {
        "raw_prices": "recorder: landing.raw_prices: must be owner — Mend it."
    }
    found = prepare(Refusing({"raw_prices": "must be owner", "raw_other": "a view"}), lake, [PRICES, OTHER])
    assert [error.reason for error in found.refused.values()] == [
        "recorder: landing.raw_prices: must be owner",
        "recorder: landing.raw_other: a view",
    ]
    with pytest.raises(DestinationError, match=r"^recorder: no space left\n"):
        prepare(Refusing(dict.fromkeys(["raw_prices", "raw_other"], "no space left")), lake, [PRICES, OTHER])


def test_a_lake_behind_its_destination_is_the_wrong_lake(lake: FolderLake) -> None:
    lake.land(price_rows(0, 1))
    report = catch_up(Recorder({"raw_prices": 5}), lake, [PRICES])
    assert report.errors[0].startswith("recorder: holds 5 packages of raw_prices, the lake only 1")


def real_lake(tmp_path: Path, file_format: str) -> Lake:
    settings = FilesystemLake.model_validate({"type": "filesystem", "path": "lake", "format": file_format})
    return open_lake(settings, tmp_path, tmp_path / "cache")


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_packages_of_the_real_lake_come_out_as_they_went_in(tmp_path: Path, file_format: str) -> None:
    """Quarantined rows are Parquet in either case."""
    now = datetime(2026, 5, 1, tzinfo=UTC)
    lineage = {"source": "src", "load_timestamp": now, "_load_id": "20260501-a", "_run_id": "run-1"}
    columns = [*PRICES.columns, *LINEAGE_COLUMNS]
    landed = [*price_rows(0, 3), {"symbol": "", "price": None, "trades": None, "observed_at": None}]
    reason = {"table_name": "raw_prices", "reason": "not a number", "value": "n/a", "row": '{"price": "n/a"}'}
    with real_lake(tmp_path, file_format) as lake:
        writer = lake.writer(
            source="src", resource="prices", table=PRICES, run_id="run-1", load_id="20260501-a", since_seq=0
        )
        writer.write(arrow_rows(columns, [{**lineage, **row} for row in landed]))
        writer.write_rejected(arrow_rows(QUARANTINE_COLUMNS, [{**lineage, **reason}]))
        assert writer.publish(columns, {}, now, now) is not None
        with DucklakeWarehouse("warehouse", tmp_path / "warehouse", tmp_path / "data") as opened:
            opened.ensure([PRICES])
            report = catch_up(opened, lake, [PRICES])
            assert (report.errors, report.rows, report.quarantined) == ([], 4, 1)
            opened.publish()
            with opened.reader() as reader:
                names = ", ".join(column.name for column in PRICES.columns)
                found = reader.sql(f"select {names} from landing.raw_prices order by trades").to_arrow_table()
                assert found.to_pylist() == landed
                assert reader.execute("select value, reason from landing._quarantine").fetchall() == [
                    ("n/a", "not a number")
                ]
