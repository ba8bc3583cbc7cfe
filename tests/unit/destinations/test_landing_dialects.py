"""Landing over databases that are not DuckDB: here DuckDB plays one whose DDL commits by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from destinations.dialect import DUCKDB
from destinations.landing import Landing
from destinations.landing_rules import bookkeeping
from destinations.session import DuckdbSession
from destinations.snowflake_session import SNOWFLAKE
from tests.conformance.landed_packages import PRICES, FolderLake, price_rows


class CommitsDdl(DuckdbSession):
    """DDL commits what is open, as Snowflake's does."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self.open = False

    def execute(self, statement: str, values: Any = ()) -> list[tuple[Any, ...]]:
        assert not (self.open and statement.lstrip().startswith(("CREATE", "ALTER"))), "this would commit half a load"
        return super().execute(statement, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with super().transaction():
            self.open = True
            try:
                yield
            finally:
                self.open = False


def test_where_ddl_commits_by_itself_it_runs_before_the_loads_transaction(tmp_path: Path) -> None:
    lake, dialect = FolderLake(tmp_path), replace(DUCKDB, commits_ddl=True)
    packages = [lake.land(price_rows(0, 3))]
    with duckdb.connect() as connection:
        for statement in bookkeeping(dialect):
            connection.execute(statement)
        full = True

        def add(table: str, files: Any, types: Any) -> None:
            if full:
                raise OSError("no space")
            for file in files:
                connection.execute(f"INSERT INTO landing.{table} BY NAME SELECT * FROM read_parquet('{file.path}')")

        landing = Landing("test", CommitsDdl(connection), dialect, add)
        with pytest.raises(OSError, match="no space"):
            landing.load(PRICES.name, packages)
        assert landing.cursors() == {}
        full = False
        assert landing.load(PRICES.name, packages).rows == 3
        assert landing.cursors() == {"raw_prices": 1}
        assert connection.execute("select count(*) from landing.raw_prices").fetchall() == [(3,)]


@pytest.mark.parametrize("commits_ddl", [True, False])
def test_a_lost_table_that_cannot_be_made_keeps_its_cursor(tmp_path: Path, *, commits_ddl: bool) -> None:
    """What has its name is no table; when the table comes back, its rows are behind the cursor as before."""
    dialect, made = replace(DUCKDB, commits_ddl=commits_ddl), "select seq, (select count(*) from landing.raw_prices)"
    with duckdb.connect() as connection:
        for statement in bookkeeping(dialect):
            connection.execute(statement)
        session = CommitsDdl(connection) if commits_ddl else DuckdbSession(connection)
        landing = Landing("test", session, dialect, lambda *_: None)
        connection.execute("INSERT INTO landing._cursor VALUES ('raw_prices', 3), ('raw_other', 2)")
        connection.execute("CREATE VIEW landing.raw_prices AS SELECT 1 AS one")
        with pytest.raises(duckdb.Error, match="raw_prices"):
            landing.set_back(PRICES)
        assert landing.cursors() == {"raw_prices": 3, "raw_other": 2}
        connection.execute("DROP VIEW landing.raw_prices")
        landing.set_back(PRICES)
        assert landing.cursors() == {"raw_other": 2}
        assert connection.execute(f"{made} from landing._cursor where table_name = 'raw_prices'").fetchall() == [(0, 0)]


def test_words_marks_and_quotes_are_the_dialects(tmp_path: Path) -> None:
    statements: list[tuple[str, list[Any]]] = []

    class Listening:
        def execute(self, statement: str, values: Any = ()) -> list[tuple[Any, ...]]:
            statements.append((statement, list(values)))
            return []

        def change(self, statement: str, values: Any = ()) -> int:
            self.execute(statement, values)
            return 1

        @contextmanager
        def transaction(self) -> Iterator[None]:
            yield

    dialect = replace(
        DUCKDB, mark=":1", quote=lambda name: f"[{name.upper()}]", types={"VARCHAR": "STRING"}, columns="SELECT 1"
    )
    Landing("test", Listening(), dialect, lambda *_: None).load(
        PRICES.name, [FolderLake(tmp_path).land(price_rows(0, 1))]
    )
    said = [statement for statement, _ in statements]
    [created] = [statement for statement in said if statement.startswith("CREATE")]
    assert created.startswith("CREATE TABLE landing.[RAW_PRICES] ([SYMBOL] STRING, [PRICE] DECIMAL(38,18), ")
    assert "UPDATE landing._cursor SET seq = :1 WHERE table_name = :1 AND seq = :1" in said
    assert not [statement for statement in said if "?" in statement]


def test_rows_are_counted_by_the_names_that_the_database_gave() -> None:
    """Snowflake's are in capitals; its stand-in would take any."""
    said: list[str] = []

    class Answering(DuckdbSession):
        def execute(self, statement: str, values: Any = ()) -> list[tuple[Any, ...]]:
            del values
            said.append(statement)
            if "information_schema" in statement:
                return [("raw_prices", "symbol", "TEXT")]
            return [("raw_prices",)] if "GROUP BY" in statement else [(5, 4)]

    with duckdb.connect() as connection:
        landing = Landing("test", Answering(connection), SNOWFLAKE, lambda *_: None)
        assert landing.row_counts(["raw_prices"]) == {"raw_prices": (5, 4)}
    assert 'FROM landing."RAW_PRICES" WHERE' in said[-1]
