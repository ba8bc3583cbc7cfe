"""What must hold after a fault and one ordinary run. Each check returns findings, one sentence each; none is a pass.

The checks read the lake's files and the warehouse's published state themselves; they trust no number that the engine
reports. Every one of them is shown to find what it is for in test_oracle.py.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from tests.faults.trial import Landed, Trial

STEP = {"1m": timedelta(minutes=1), "1h": timedelta(hours=1), "1d": timedelta(days=1)}
TRANSACTIONS = {"raw_transaction_personal": "transaction_id", "raw_transaction_corporate": "transaction_id"}
POPULATIONS = {"raw_customers": "customer_id", "raw_corporates": "company_id"}


def nothing_lost_or_doubled(trial: Trial) -> list[str]:
    """Every check that needs no further run."""
    packages = trial.packages()
    return [
        *numbered(packages),
        *no_leftovers(trial, packages),
        *cursors_agree(trial, packages),
        *landing_is_the_lake(trial, packages),
        *served_is_landed(trial, packages),
        *state_is_one_with_its_package(packages),
        *whole_ranges(trial),
        *files_once(trial),
        *candles_without_holes(trial, packages),
    ]


def numbered(packages: Sequence[Landed]) -> list[str]:
    """Every table's log counts 1, 2, 3 ... and no package id comes twice."""
    findings = []
    by_table: dict[str, list[int]] = {}
    for package in packages:
        by_table.setdefault(package.table, []).append(package.seq)
    for table, numbers in by_table.items():
        if numbers != list(range(1, len(numbers) + 1)):
            findings.append(f"{table}: the log's numbers are {numbers}")
    for load_id, times in Counter(package.load_id for package in packages).items():
        if times > 1:
            findings.append(f"package {load_id} is in the log {times} times")
    return findings


def no_leftovers(trial: Trial, packages: Sequence[Landed]) -> list[str]:
    """No folder in the lake that the log does not know, no scratch of a dead writer, no lock that is held."""
    stray = trial.package_folders() - {package.folder for package in packages}
    findings = [f"{folder.relative_to(trial.lake)} is in the lake but not in its log" for folder in sorted(stray)]
    findings += [f"left in staging: {path.name}" for path in sorted((trial.lake / "_staging").glob("*"))]
    if (trial.data / "warehouse" / "loading.json").exists():
        findings.append("the warehouse's note of a load under way was left behind")
    return findings


def cursors_agree(trial: Trial, packages: Sequence[Landed]) -> list[str]:
    """The cursor, the data's own package list and the lake's log say the same."""
    findings = []
    logged = Counter(package.table for package in packages)
    cursors = trial.cursors()
    if cursors != dict(logged):
        findings.append(f"cursors {cursors}, the lake's log {dict(logged)}")
    arrived = {
        (row["_load_id"], row["table_name"], row["rows"], row["seq"]) for row in trial.landed("_packages").to_pylist()
    }
    expected = {(package.load_id, package.table, package.rows, package.seq) for package in packages}
    findings += [f"landed but not in the lake's log: {row}" for row in sorted(arrived - expected)]
    findings += [f"in the lake's log but not landed: {row}" for row in sorted(expected - arrived)]
    rows = trial.landed("_packages")
    if rows.num_rows != len(packages):
        findings.append(f"landing._packages has {rows.num_rows} rows for {len(packages)} packages")
    if len(set(rows["arrived_at"].to_pylist())) != rows.num_rows:
        findings.append("two packages arrived at one instant")
    return findings


def landing_is_the_lake(trial: Trial, packages: Sequence[Landed]) -> list[str]:
    """Each landing table is the union of its committed packages, row for row, with each manifest's count."""
    findings = []
    tables = {package.table for package in packages}
    for table in sorted(tables):
        mine = [package for package in packages if package.table == table]
        landed = trial.landed(table)
        counted = Counter(landed["_load_id"].to_pylist())
        expected = {package.load_id: package.rows for package in mine if package.rows}
        if dict(counted) != expected:
            findings.append(f"{table}: rows by package are {dict(counted)}, by manifest {expected}")
        findings += different(table, landed, [package.read() for package in mine])
    aside = Counter(trial.quarantine()["_load_id"].to_pylist())
    expected_aside = {package.load_id: package.quarantined for package in packages if package.quarantined}
    if dict(aside) != expected_aside:
        findings.append(f"set aside by package: {dict(aside)}, by manifest {expected_aside}")
    empty = [table for table in trial.tables("landing") if not table.startswith("_") and table not in tables]
    findings += [f"{table}: rows that no package brought" for table in empty if trial.landed(table).num_rows]
    return findings


def different(what: str, have: pa.Table, parts: Sequence[pa.Table]) -> list[str]:
    """Compare rows as multisets; a column that only one side has counts as null on the other."""
    want = pa.concat_tables([part for part in parts if part.num_columns], promote_options="permissive")
    names = sorted({*have.column_names, *want.column_names})
    have, want = _wide(have, names), _wide(want, names)
    with duckdb.connect() as connection:
        connection.register("have", have)
        connection.register("want", want)
        too_many = connection.execute("SELECT * FROM have EXCEPT ALL SELECT * FROM want").fetchall()
        missing = connection.execute("SELECT * FROM want EXCEPT ALL SELECT * FROM have").fetchall()
    findings = []
    if too_many:
        findings.append(f"{what}: {len(too_many)} rows too many, such as {too_many[0]}")
    if missing:
        findings.append(f"{what}: {len(missing)} rows are missing, such as {missing[0]}")
    return findings


def served_is_landed(trial: Trial, packages: Sequence[Landed]) -> list[str]:
    """What the replay served while a committed package was extracted is in landing: its ledger was written first."""
    findings = []
    spans: dict[str, list[tuple[float, float, str]]] = {}
    for package in packages:
        begin, end = (datetime.fromisoformat(package.manifest[key]) for key in ("extracted_from", "extracted_to"))
        spans.setdefault(package.table, []).append((begin.timestamp(), end.timestamp(), package.load_id))
    rows = {table: _delivered(table, trial) for table in _SERVED.values() if table in spans}
    for entry in trial.replay.ledger():
        table = _SERVED.get(entry["resource"])
        if table is None or entry["fault"]:
            continue
        here = [load for begin, end, load in spans.get(table, []) if begin <= entry["time"] <= end]
        if not here:
            continue
        key = _key(entry)
        # a candle that an earlier package brought unchanged is left out of the later ones
        found = rows[table].get(key, set())
        if not found or (table != "raw_crypto_candles_binance" and here[0] not in found):
            findings.append(f"{table}: served in {here[0]} and not landed: {key}")
    return findings


def whole_ranges(trial: Trial) -> list[str]:
    """Faker's ids are 0, 1, 2 ... without a gap; a transaction comes once, a person again only as a change."""
    findings = []
    for table, column in {**TRANSACTIONS, **POPULATIONS}.items():
        if table not in trial.tables("landing"):
            continue
        ids = [int(text.rsplit("-", 1)[1]) for text in trial.landed(table)[column].to_pylist()]
        numbers = sorted(ids) if table in TRANSACTIONS else sorted(set(ids))
        if numbers != list(range(len(numbers))):
            gaps = sorted(set(range(max(numbers) + 1)) - set(numbers))
            twice = [number for number, times in Counter(numbers).items() if times > 1]
            findings.append(f"{table}: ids missing {gaps[:5]}, ids twice {twice[:5]}")
    return findings


def files_once(trial: Trial) -> list[str]:
    """Every row of every file in the history folder, once."""
    expected: Counter[tuple[str, int]] = Counter()
    for path in trial.history.glob("*.csv"):
        with path.open(newline="") as file:
            expected.update((row["Ticker"], int(row["Volume"])) for row in csv.DictReader(file))
    landed = trial.landed("raw_history_ohlcv")
    found = Counter(
        (symbol, int(volume))
        for symbol, volume in zip(landed["symbol"].to_pylist(), landed["volume"].to_pylist(), strict=True)
    )
    findings = [f"rows of files missing: {sorted((expected - found).items())[:3]}"] if expected - found else []
    return findings + ([f"rows of files twice: {sorted((found - expected).items())[:3]}"] if found - expected else [])


def candles_without_holes(trial: Trial, packages: Sequence[Landed]) -> list[str]:
    """Every series of candles is whole from its first to the candle that was open when it was last asked for."""
    ends = [
        datetime.fromisoformat(package.manifest["extracted_from"])
        for package in packages
        if package.table == "raw_crypto_candles_binance"
    ]
    series: dict[tuple[str, str], set[datetime]] = {}
    if ends:
        for row in trial.landed("raw_crypto_candles_binance").to_pylist():
            series.setdefault((row["symbol"], row["interval"]), set()).add(row["open_time"])
    findings = []
    for (symbol, interval), times in series.items():
        step = STEP[interval]
        first, newest = min(times), max(times)
        holes = int((newest - first) / step) + 1 - len(times)
        if holes:
            findings.append(f"{symbol} {interval}: {holes} candles are missing between {first} and {newest}")
        if newest + step <= max(ends) - timedelta(seconds=5):
            findings.append(f"{symbol} {interval}: ends at {newest}, asked at {max(ends)}")
    return findings


def marts(trial: Trial) -> dict[str, pa.Table]:
    """Every mart without its lineage: when and with which package the warehouse got to know a row."""
    found = {}
    for name in trial.tables("marts"):
        table = trial.sql(f'SELECT * FROM marts."{name}"')
        found[name] = table.drop_columns([column for column in table.column_names if column.startswith("_")])
    return found


def rebuilds_equal(trial: Trial, folder: Path) -> list[str]:
    """The marts equal those that `engine replay` builds from a copy of the lake in a warehouse that is new."""
    fresh = trial.copy(folder)
    before = marts(trial)
    for name in ("warehouse", "state", "cache", "locks"):
        _remove(fresh.data / name)
    ended = fresh.engine("replay")
    if ended.code != 0:
        return [f"engine replay ended with {ended.code}: {ended.text[-500:]}"]
    after = marts(fresh)
    findings = [] if set(before) == set(after) else [f"marts {sorted(before)} became {sorted(after)}"]
    for name in sorted(set(before) & set(after)):
        findings += different(f"marts.{name} (against a rebuild)", before[name], [after[name]])
    if not any(table.num_rows for table in before.values()):
        findings.append("there are no marts to compare")
    return findings


def healed(trial: Trial) -> list[str]:
    """ONE ordinary run after a fault: it ends well, and nothing is lost or doubled."""
    before = {(package.table, package.seq) for package in trial.packages()}
    ended = trial.run()
    findings = [] if ended.code == 0 else [f"the run after the fault ended with {ended.code}: {ended.text[-1500:]}"]
    new = {package.table for package in trial.packages() if (package.table, package.seq) not in before}
    if "raw_transaction_personal" not in new:
        findings.append("the run after the fault extracted nothing new")
    return findings + nothing_lost_or_doubled(trial)


def state_is_one_with_its_package(packages: Sequence[Landed]) -> list[str]:
    """The position that a package carries is exactly what was delivered up to it."""
    findings = []
    for table in TRANSACTIONS:
        delivered = 0
        for package in packages:
            if package.table == table:
                delivered += package.rows
                if package.manifest["state"]["next"] != delivered:
                    findings.append(f"{table}: package {package.seq} says {package.manifest['state']['next']} rows")
    return findings


def no_dlt_package(trial: Trial) -> list[str]:
    """dlt keeps no load package of its own anywhere, so none can get stuck: its load step is not used."""
    words = {"normalized", "loaded", "package_completed.json", "load_package.json"}
    places = [path for root in (trial.data, trial.dlt) if root.exists() for path in root.rglob("*")]
    return [f"dlt left {path}" for path in places if path.name in words]


_SERVED = {
    "binance.ticker": "raw_cryptoprices_binance",
    "binance.klines": "raw_crypto_candles_binance",
    "coingecko.markets": "raw_cryptoprices_coingecko",
}
"""The ledger's resources and the tables they land in."""


def _key(entry: dict[str, Any]) -> tuple[Any, ...]:
    row = entry["row"]
    if entry["resource"] == "binance.ticker":
        return (row["symbol"], Decimal(row["lastPrice"]), _from_ms(row["closeTime"]))
    if entry["resource"] == "binance.klines":
        query = dict(part.split("=", 1) for part in entry["query"].split("&"))
        return (query["symbol"], query["interval"], _from_ms(row[0]), Decimal(row[4]), Decimal(row[5]))
    return (row["id"], Decimal(str(row["current_price"])), datetime.fromisoformat(row["last_updated"]))


def _delivered(table: str, trial: Trial) -> dict[tuple[Any, ...], set[str]]:
    """Landed rows by the key of _key: the packages that brought them."""
    columns = {
        "raw_cryptoprices_binance": ("symbol", "price", "observed_at"),
        "raw_crypto_candles_binance": ("symbol", "interval", "open_time", "close", "volume"),
        "raw_cryptoprices_coingecko": ("symbol", "price", "observed_at"),
    }[table]
    found: dict[tuple[Any, ...], set[str]] = {}
    for row in trial.landed(table).to_pylist():
        found.setdefault(tuple(row[column] for column in columns), set()).add(row["_load_id"])
    return found


def _from_ms(milliseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


def _wide(table: pa.Table, names: Iterable[str]) -> pa.Table:
    columns = {}
    for name in names:
        if name in table.column_names:
            column = table[name]
            columns[name] = column.cast(pa.timestamp("us", "UTC")) if pa.types.is_timestamp(column.type) else column
        else:
            columns[name] = pa.nulls(table.num_rows)
    return pa.table(columns)


def _remove(folder: Path) -> None:
    import shutil

    if folder.exists():
        shutil.rmtree(folder)
