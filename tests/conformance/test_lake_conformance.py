"""One body for every lake: a local folder, and a bucket on a real S3 server."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from engine.config.models import FilesystemLake
from engine.errors import LakeConflictError, LakeError
from engine.lake.lake import Lake, new_load_id
from engine.lake.package import Entry
from engine.table import QUARANTINE_COLUMNS, Column, Table
from tests.conformance.lake_places import (
    NOW,
    ONE,
    PRICES,
    Place,
    minio,
    place,
    prices,
    publish,
    server,
)
from tests.unit.lake.landing import land

__all__ = ["minio", "place", "server"]


def rows_of(lake: Lake, entry: Entry) -> list[dict[str, Any]]:
    return pa.concat_tables([pq.read_table(file) for file in lake.open(entry).local_files]).to_pylist()


def test_an_empty_lake_has_nothing_and_says_so(place: Place) -> None:
    lake = place.fresh()
    assert (lake.head("raw_prices"), lake.tables(), lake.columns("raw_prices")) == (None, [], ())
    assert list(lake.entries("raw_prices", after=0)) == []
    assert lake.state("binance", "ticker", "raw_prices") == ({}, 0)
    assert lake.verify() == []


def test_packages_come_back_in_order_and_exact(place: Place) -> None:
    lake = place.open()
    landed = [publish(lake, prices((f"S{i}", f"{i}.000000000000000001", NOW))) for i in range(5)]
    other = place.fresh()
    entries = list(other.entries("raw_prices", after=0, limit=None))
    assert entries == landed
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5]
    assert other.head("raw_prices") == landed[-1]
    assert [entry.seq for entry in other.entries("raw_prices", after=2, limit=2)] == [3, 4]
    assert [rows_of(other, entry)[0] for entry in entries] == [
        {"symbol": f"S{i}", "price": Decimal(f"{i}.000000000000000001"), "observed_at": NOW} for i in range(5)
    ]
    assert (other.tables(), other.columns("raw_prices")) == (["raw_prices"], PRICES.columns)
    assert other.verify() == []


def test_a_manifest_says_what_the_package_holds(place: Place) -> None:
    lake = place.open()
    with lake.writer(
        source="coingecko",
        resource="markets",
        table=PRICES,
        run_id="run-7",
        load_id="20260501T120000000000-abc",
        since_seq=0,
        simulated=True,
    ) as writer:
        writer.write(ONE)
        writer.write_rejected(
            pa.table({c.name: pa.array(["x"], pa.string()) for c in QUARANTINE_COLUMNS if c.data_type != "timestamp"})
        )
        entry = writer.publish(PRICES.columns, {"cursor": NOW, "page": 3}, NOW, NOW + timedelta(seconds=2))
    assert entry is not None
    manifest = place.fresh().open(entry).manifest
    assert entry.path == "coingecko/raw_prices/2026-05-01/20260501T120000000000-abc"
    assert (manifest.rows, manifest.quarantined, manifest.simulated) == (1, 1, True)
    assert (manifest.run_id, manifest.primary_key) == ("run-7", ("symbol", "observed_at"))
    assert [(file.name, file.quarantine) for file in manifest.files] == [
        ("part-00000.parquet", False),
        ("quarantine-00000.parquet", True),
    ]
    assert (manifest.extracted_from, manifest.extracted_to) == (NOW, NOW + timedelta(seconds=2))
    assert lake.state("coingecko", "markets", "raw_prices") == ({"cursor": NOW, "page": 3}, 1)


def test_text_of_every_script_survives(place: Place) -> None:
    texts = ["giá vàng", "金", "🪙", "\u202eRTL", 'quote"comma,\nline', "", None]
    lake = place.open()
    table = Table("bảng_giá", (Column("symbol", "text"),))
    entry = publish(lake, pa.table({"symbol": pa.array(texts, pa.string())}), source="nguồn", table=table)
    assert entry is not None
    assert [row["symbol"] for row in rows_of(place.fresh(), entry)] == texts


def test_nothing_new_is_no_package_but_a_new_state_is(place: Place) -> None:
    lake = place.open()
    assert publish(lake, None) is None
    assert publish(lake, prices(("A", "1", None)).slice(0, 0)) is None
    assert lake.head("raw_prices") is None
    first = publish(lake, None, state={"cursor": 1})
    assert first is not None
    assert (first.rows, lake.open(first).local_files) == (0, ())
    assert publish(lake, None, state={"cursor": 1}) is None
    assert lake.state("binance", "ticker", "raw_prices") == ({"cursor": 1}, 1)
    assert place.fresh().verify() == []


def test_a_stale_extraction_is_refused_and_leaves_nothing(place: Place) -> None:
    lake, other = place.open(), place.fresh()
    stale = other.state("binance", "ticker", "raw_prices")[1]
    publish(lake)
    with pytest.raises(LakeConflictError, match="another run landed binance/ticker of raw_prices first"):
        publish(other, since_seq=stale)
    publish(other, source="coingecko", since_seq=0)
    head = place.fresh().head("raw_prices")
    assert head is not None
    assert (head.seq, head.last_by_source) == (2, {"binance/ticker": 1, "coingecko/ticker": 2})
    assert lake.verify() == []


def test_the_loser_of_a_race_joins_the_columns_or_gives_up(place: Place) -> None:
    lake = place.open()
    wide = Table("raw_prices", (*PRICES.columns, Column("volume", "decimal", nullable=False)))
    clash = Table("raw_prices", (Column("volume", "text"),))
    writers = [
        lake.writer(source=source, resource="r", table=table, run_id="r", load_id=new_load_id(NOW), since_seq=0)
        for source, table in (("a", PRICES), ("b", wide), ("c", clash))
    ]
    for writer in writers:
        writer.write(ONE)
    assert writers[1].publish(wide.columns, {}, NOW, NOW)
    assert writers[0].publish(PRICES.columns, {}, NOW, NOW)
    with pytest.raises(LakeConflictError, match="column volume of raw_prices is decimal"):
        writers[2].publish(clash.columns, {}, NOW, NOW)
    assert [column.name for column in lake.columns("raw_prices")] == ["symbol", "price", "observed_at", "volume"]
    assert lake.verify() == []


@pytest.mark.parametrize("log_too", [False, True], ids=["answer-lost", "and-the-log-unreadable"])
def test_a_lost_answer_lands_once(place: Place, monkeypatch: pytest.MonkeyPatch, *, log_too: bool) -> None:
    lake = place.open()
    writer = lake.writer(source="s", resource="r", table=PRICES, run_id="r", load_id=new_load_id(NOW), since_seq=0)
    writer.write(ONE)
    create = lake._store.create

    def lost(*_: Any) -> Any:
        raise LakeError("lake: connection reset")

    def lose_the_answer(*arguments: Any) -> bool:
        create(*arguments)
        if log_too:
            monkeypatch.setattr(lake._store, "newest", lost)
        lost()
        return False

    monkeypatch.setattr(lake._store, "create", lose_the_answer)
    if log_too:
        with pytest.raises(LakeError, match="connection reset"):
            writer.publish(PRICES.columns, {}, NOW, NOW)
        monkeypatch.undo()
    entry = writer.publish(PRICES.columns, {}, NOW, NOW)
    assert entry is not None
    assert list(place.fresh().entries("raw_prices", after=0)) == [entry]
    assert place.fresh().verify() == []


def test_a_failed_commit_leaves_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = place.open()

    def refuse(*_: Any) -> bool:
        raise LakeError("lake: no space left")

    monkeypatch.setattr(lake._store, "create", refuse)
    with pytest.raises(LakeError, match="no space left"):
        publish(lake)
    assert place.fresh().head("raw_prices") is None
    assert place.fresh().verify() == []


def test_discarded_and_failed_packages_leave_nothing(place: Place) -> None:
    lake = place.open()
    publish(lake)
    writer = lake.writer(source="s", resource="r", table=PRICES, run_id="r", load_id="x1", since_seq=0)
    with writer:
        writer.write(ONE)
    with pytest.raises(LakeError, match="discarded"):
        writer.write(ONE)
    assert lake.verify() == []
    assert len(list(lake.entries("raw_prices", after=0))) == 1
    leftovers = [path for path in place.tmp_path.rglob("*") if path.suffix in {".lock", ".entry"}]
    assert leftovers == []


def test_publishers_of_different_sources_lose_nothing(place: Place) -> None:
    """Two processes and two threads land at once on one table; numbers stay consecutive."""
    each = 50 if isinstance(place.settings, FilesystemLake) else 12
    settings = place.settings.model_dump()
    if settings["type"] == "filesystem":
        settings["path"] = str(place.tmp_path / "lake")
    command = [sys.executable, "-m", "tests.unit.lake.landing", json.dumps(settings)]
    processes = [
        subprocess.Popen([*command, str(place.tmp_path / f"cache-{name}"), name, str(each)], cwd=Path.cwd())
        for name in ("p1", "p2")
    ]
    threads = [threading.Thread(target=land, args=(place.fresh(), name, each // 4)) for name in ("t1", "t2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait() for process in processes] == [0, 0]
    lake = place.fresh()
    entries = list(lake.entries("raw_numbers", after=0))
    assert [entry.seq for entry in entries] == list(range(1, 2 * each + 2 * (each // 4) + 1))
    landed: dict[str, list[int]] = {}
    for entry in entries:
        for row in rows_of(lake, entry):
            landed.setdefault(row["who"], []).append(row["n"])
    everything = {"p1": each, "p2": each, "t1": each // 4, "t2": each // 4}
    assert landed == {who: list(range(1, count + 1)) for who, count in everything.items()}


def test_two_runs_of_one_resource_land_every_row_once(place: Place) -> None:
    """Whoever loses gets LakeConflictError and runs again; nobody's rows are doubled."""
    conflicts = []

    def insist(lake: Lake) -> None:
        while True:
            try:
                land(lake, "same", 10)
            except LakeConflictError as error:
                conflicts.append(error)
            else:
                return

    threads = [threading.Thread(target=insist, args=(place.fresh(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lake = place.fresh()
    assert [rows_of(lake, entry)[0]["n"] for entry in lake.entries("raw_numbers", after=0)] == list(range(1, 11))
    assert lake.verify() == []


def test_a_new_column_starts_a_new_file(place: Place) -> None:
    lake = place.open()
    with lake.writer(source="s", resource="r", table=PRICES, run_id="r", load_id="l1", since_seq=0) as writer:
        writer.write(ONE.select(["symbol"]))
        writer.write(ONE.select(["price", "symbol"]))
        writer.write(ONE.select(["symbol"]))
        entry = writer.publish(PRICES.columns, {}, NOW, NOW)
    assert entry is not None
    tables = [pq.read_table(file) for file in place.fresh().open(entry).local_files]
    assert [table.column_names for table in tables] == [["symbol"], ["symbol", "price"]]
    assert tables[1]["price"].to_pylist() == [Decimal("100000.123456789012345678"), None]


def test_csv_keeps_null_empty_text_and_every_digit(place: Place) -> None:
    lake = place.open(format="csv")
    rows = prices(("", "-0.000000000000000001", NOW), (None, None, None), ('a"b,\n', "12345678901234567890.5", NOW))
    entry = publish(lake, rows)
    assert entry is not None
    package = lake.open(entry)
    (path,) = package.local_files
    assert (package.manifest.format, Path(path).suffix) == ("csv", ".csv")
    lines = Path(path).read_text()
    assert lines.startswith(
        '"symbol","price","observed_at"\n"","-0.000000000000000001","2026-05-01 12:00:00.123456Z"\n,,\n'
    )
    types = pa_csv.ConvertOptions(
        column_types={field.name: field.type for field in rows.schema},
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    parsing = pa_csv.ParseOptions(newlines_in_values=True)
    assert pa_csv.read_csv(path, parse_options=parsing, convert_options=types).to_pylist() == rows.to_pylist()


@pytest.mark.faults
@pytest.mark.parametrize(
    ("edit", "says"),
    [
        pytest.param(lambda data: data[:-8], "truncated", id="L01-8-bytes"),
        pytest.param(lambda data: data[: len(data) // 2], "truncated", id="L01-half"),
        pytest.param(lambda _: b"", "truncated", id="L01-empty"),
        pytest.param(lambda _: None, "missing", id="L03"),
        pytest.param(lambda data: data + b"x", "changed", id="L08-one-byte-more"),
        pytest.param(lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:], "changed", id="L08-one-bit"),
    ],
)
@pytest.mark.parametrize("name", ["part-00000.parquet", "manifest.json"])
def test_a_damaged_package_is_named(place: Place, edit: Callable[[bytes], bytes | None], says: str, name: str) -> None:
    lake = place.open()
    good = publish(lake)
    bad = publish(lake)
    assert good is not None
    assert bad is not None
    place.change(f"{bad.path}/{name}", edit)
    if name == "manifest.json" and says == "truncated":
        says = "changed"
    for reader in (place.open(), place.fresh()):
        with pytest.raises(LakeError, match=says) as caught:
            reader.open(bad)
        assert bad.load_id in caught.value.reason
        assert "backup" in caught.value.remedy
        assert reader.open(good).manifest.rows == 1
    assert [(problem.kind, problem.load_id) for problem in lake.verify()] == [("damaged", bad.load_id)]
    assert [problem.load_id for problem in place.fresh().scrub(1).problems] == [bad.load_id]


@pytest.mark.faults
def test_strays_in_a_package_are_ignored(place: Place) -> None:
    """L04."""
    lake = place.open()
    entry = publish(lake)
    assert entry is not None
    for stray in ("part-00001.parquet", "x.tmp", ".x.crc", "part-00000.parquet~"):
        place.change(f"{entry.path}/{stray}", lambda _: b"stray")
    other = place.fresh()
    assert [len(rows_of(other, found)) for found in other.entries("raw_prices", after=0)] == [1]
    assert other.verify() == []


@pytest.mark.faults
def test_a_frozen_clock_makes_different_packages(place: Place) -> None:
    """L05: `publish` names every package at the same instant."""
    lake = place.open()
    entries = [publish(lake) for _ in range(3)]
    assert len({entry.load_id for entry in entries if entry}) == 3
    moments = [entry.committed_at for entry in entries if entry]
    assert moments == sorted(set(moments))


def test_a_load_id_is_used_once(place: Place) -> None:
    lake = place.open()
    entry = publish(lake, load_id="20260501T120000000000-abc")
    with pytest.raises(LakeError, match="already a package"):
        publish(lake, load_id="20260501T120000000000-abc")
    assert list(place.fresh().entries("raw_prices", after=0)) == [entry]
    assert place.fresh().verify() == []


def test_scrubbing_comes_around_to_every_package(place: Place) -> None:
    lake = place.open()
    entries = [publish(lake) for _ in range(6)]
    third = entries[2]
    assert third is not None
    place.change(f"{third.path}/part-00000.parquet", lambda data: data + b"x")
    found = [place.open().scrub(2).problems for _ in range(3)]  # the head and one older package each time
    assert [[problem.load_id for problem in problems] for problems in found] == [[], [], [third.load_id]]


def test_scrubbing_returns_to_what_was_damaged_until_it_is_whole(place: Place) -> None:
    lake = place.open()
    entries = [publish(lake) for _ in range(6)]
    first = entries[0]
    assert first is not None
    place.change(f"{first.path}/part-00000.parquet", lambda data: data + b"x")
    found = [place.open().scrub(2) for _ in range(4)]
    assert [[problem.load_id for problem in scrub.problems] for scrub in found] == [[first.load_id]] * 4
    place.change(f"{first.path}/part-00000.parquet", lambda data: data[:-1])
    scrub = place.open().scrub(2)
    assert scrub.problems == ()
    assert first in scrub.sound


def test_a_gap_in_the_log_is_refused(place: Place) -> None:
    lake = place.open()
    for _ in range(5):
        publish(lake)
    place.change("_log/raw_prices/00000000000000000004.json", lambda _: None)
    # and the package of the lost entry is not called an orphan, which one is told to remove
    assert [problem.kind for problem in place.fresh().verify()] == ["gap"]
    with pytest.raises(LakeError, match="entry 4 is missing"):
        list(place.open().entries("raw_prices", after=2))


def test_an_orphan_is_reported_and_does_no_harm(place: Place) -> None:
    lake = place.open()
    publish(lake)
    place.change("binance/raw_prices/2026-05-01/dead/part-00000.parquet", lambda _: b"half")
    problems = place.fresh().verify()
    assert [(problem.kind, problem.load_id, problem.harmless) for problem in problems] == [("orphan", "dead", True)]
