"""The same models on Trino and on Snowflake's stand-in: what all cases deliver gives the same tables as on DuckDB.

Every row of every case comes in two deliveries, so keys, missing keys, hashes, time zones, ties and late rows are all
among them; their own checks, case by case, are played by `make vault-engines`, and there the marts are compared too.
Hash keys are compared as they stand.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.servers.trino_server import GROUP, TrinoServer
from tests.vault.adapter import SERVER, SNOWFLAKE, Models
from tests.vault.suite import read, written

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # SQLMesh's own, while it is imported
]
HERE = Path(__file__).parent
EVERYTHING = os.environ.get("TICKHOUSE_VAULT_WAREHOUSE")
"""The engine that `make vault-engines` is at: marts and semantic views too, which double the minute of the vault."""
ENGINES = [pytest.param("trino", marks=pytest.mark.xdist_group(GROUP)), "snowflake"]
VAULT = ("+vault.*",)
LONG = 10_000
"""Texts are cut to this length: one case delivers a hundred thousand characters."""
LINEAGE = ("_load_id", "_arrived_at")
"""What another landing of the same rows names in another way."""


def deliveries() -> list[dict[str, list[dict[str, Any]]]]:
    """All rows of all cases, by table: each case's first half of the steps, then the others."""
    cases = read(HERE / "cases.yaml")
    halves: list[dict[str, list[dict[str, Any]]]] = [{}, {}]
    for doc in (cases, read(HERE / "more_cases.yaml", cases)):
        for case in doc.cases:
            landings = [step["land"] for step in case["steps"] if "land" in step]
            for number, landing in enumerate(landings):
                half = halves[int(number >= (len(landings) + 1) // 2)]
                for table, rows in landing.items():
                    half.setdefault(table, []).extend(
                        {**doc.raw_defaults[table], **{name: written(value) for name, value in row.items()}}
                        for row in rows
                    )
    return halves


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an engine whose server runs."""
    kind: str = request.param
    if kind == "trino":
        monkeypatch.setenv(SERVER, str(request.getfixturevalue("trino").port))
    else:
        monkeypatch.setenv(SNOWFLAKE, str(request.getfixturevalue("snowflake_port")))
    return kind


@pytest.mark.timeout(1200)  # on a machine that does other things as well
def test_every_table_is_the_same_as_on_duckdb(engine: str, tmp_path: Path) -> None:
    before, after = deliveries()
    built = {}
    whole = engine == EVERYTHING
    for kind in ("duckdb", engine):
        started = time.perf_counter()
        built[kind] = Models(kind, tmp_path / kind, first=before, only=() if whole else VAULT)
        planned = time.perf_counter()
        for table, rows in sorted(after.items()):
            built[kind].land(table, rows)
        landed = time.perf_counter()
        built[kind].run(None)
        seconds = (planned - started, landed - planned, time.perf_counter() - landed)
        print(f"{kind}: first delivery and plan, second, its run: {seconds} s")  # noqa: T201 - figures, with -rP
    different, found = [], 0
    compared = sorted(tables(built["duckdb"]))
    for name in compared:
        ours, theirs = (content(models, name) for models in built.values())
        found += ours.total()
        if ours != theirs:
            different.append((name, list((ours - theirs).items())[:2], list((theirs - ours).items())[:2]))
    assert different == []
    assert len(compared) > (40 if whole else 25)
    assert found > 1000
    for models in built.values():
        models.close()


def tables(models: Models) -> Iterator[str]:
    """The tables and views that were built."""
    environment = models.context.state_reader.get_environment("prod")
    for snapshot in environment.snapshots:
        yield ".".join(snapshot.name.replace('"', "").split(".")[-2:])


def content(models: Models, table: str) -> Counter[tuple[tuple[str, str], ...]]:
    """A table's rows in no order, each value as text: exact, instants in UTC."""
    return Counter(
        tuple(sorted((name, shown(value)) for name, value in row.items() if name not in LINEAGE))
        for row in models.rows(table)
    )


def shown(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:.18f}"
    if isinstance(value, datetime):
        return f"{value.timestamp():.6f}"
    return str(value)[:LONG]


def test_what_is_delivered_has_late_rows() -> None:
    first, second = deliveries()
    newest: Mapping[str, str] = {t: max(str(row["load_timestamp"]) for row in rows) for t, rows in first.items()}
    assert sum(str(row["load_timestamp"]) < newest.get(t, "") for t, rows in second.items() for row in rows) > 50


FIRST_ROWS = ("(1, 'a', 2, 'old')", "(1, 'b', NULL, 'old')", "(2, 'c', 5, 'old')", "(2, NULL, 1, 'old')")
NEWER_ROWS = (
    *("(1, 'a', 2, 'equal')", "(1, 'b', 0, 'newer')", "(2, 'c', 4, 'older')", "(2, NULL, 3, 'newer')"),
    *("(3, 'd', NULL, 'first')", "(3, NULL, NULL, 'first')"),
)
KEPT = [
    *((1, "a", 2, "old"), (1, "b", 0, "newer"), (2, "c", 5, "old"), (2, None, 3, "newer")),
    *((3, "d", None, "first"), (3, None, None, "first")),
]


@pytest.mark.xdist_group(GROUP)
def test_the_newest_row_is_kept_where_keys_and_versions_are_null(trino: TrinoServer) -> None:
    """One MERGE, the same on both engines: no NULL is compared, and what matches nothing is inserted."""
    import duckdb
    from sqlmesh.utils import sys_path

    with sys_path(HERE.parents[1] / "transforms"):
        from materializations import merging
    trino.execute("CREATE SCHEMA IF NOT EXISTS merged")
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA merged")
        for execute in (lambda text: connection.execute(text).fetchall(), trino.execute):
            execute("CREATE TABLE merged.newest (_key BIGINT, name VARCHAR, version BIGINT, said VARCHAR)")
            execute(f"INSERT INTO merged.newest VALUES {', '.join(FIRST_ROWS)}")
            query = f"SELECT * FROM (VALUES {', '.join(NEWER_ROWS)}) AS given (_key, name, version, said)"
            columns = ["_key", "name", "version", "said"]
            execute(merging.keep_newest("merged.newest", query, columns, ["name"], ["version", "said"]))
            found = [tuple(row) for row in execute("SELECT * FROM merged.newest ORDER BY _key, name NULLS LAST")]
            assert found == KEPT
            execute("DROP TABLE merged.newest")
    trino.execute("DROP SCHEMA merged")
