"""One read-only statement on a warehouse, in two layers.

First a list of what may run, decided on DuckDB's own parse of the statement; then a reader that is opened read-only on
the published state, without files, network or settings. Neither is enough alone.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from destinations.failures import CORRUPT
from engine.errors import TickhouseError, UsageError
from engine.sql import literal

if TYPE_CHECKING:
    import duckdb

    from destinations.protocol import Warehouse

TABLE_FUNCTIONS = frozenset({"range", "generate_series", "unnest", "repeat", "repeat_row"})
"""Table functions that a query may call. The others read files, catalogs or settings, or change something."""
REFUSED_FUNCTIONS = frozenset({"getenv", "setseed", "write_log", "nextval", "getvariable", "parse_duckdb_log_message"})
SHOW_TABLES = re.compile(r"\s*SHOW\s+TABLES\s*;?\s*", re.IGNORECASE)
TABLES = (
    "FROM information_schema.tables "
    "WHERE table_catalog = current_database() AND table_schema NOT LIKE 'sqlmesh%' ORDER BY ALL"
)
"""Every table that may be queried. DuckDB's own SHOW TABLES lists those of schema main, where nothing is."""
ONLY_READING = (
    "Queries read: SELECT, WITH, FROM, VALUES, DESCRIBE, SHOW, SUMMARIZE and EXPLAIN. "
    "What changes data is a model under transforms/ or a pipeline."
)


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Columns, their SQL types, and rows of Python values (Decimal, datetime with offset, ...).

    `truncated` says that there were more rows than asked for.
    """

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    truncated: bool = False


def query(
    warehouse: Warehouse,
    sql: str,
    *,
    limit_seconds: float = 60.0,
    max_rows: int | None = None,
    unpublished: bool = False,
) -> QueryResult:
    """Run one read-only statement on the published state of a warehouse; or on what is there now, `unpublished`.

    Raises UsageError for what may not run or cannot be understood, TickhouseError for what failed or took too long.
    """
    import duckdb

    check(sql)
    if SHOW_TABLES.fullmatch(sql):
        sql = f"SELECT table_schema AS schema, table_name AS name {TABLES}"
    with warehouse.reader(unpublished=unpublished) as connection, _interrupted_after(connection, limit_seconds):
        try:
            return _fetch(connection, sql, max_rows)
        except duckdb.InterruptException:
            raise TickhouseError(
                f"the query was stopped after {limit_seconds:g} seconds",
                "Ask for fewer rows, or for a shorter span of time (WHERE, LIMIT).",
            ) from None
        except duckdb.CatalogException as error:
            raise _unknown_name(connection, str(error)) from error
        except (duckdb.BinderException, duckdb.ParserException, duckdb.ConversionException) as error:
            raise UsageError(
                _sentence(error), "Correct the statement; `engine query 'SHOW TABLES'` lists what there is."
            ) from error
        except duckdb.Error as error:
            raise TickhouseError(_sentence(error), _remedy(error)) from error


def check(sql: str) -> None:
    """Raise UsageError unless `sql` is exactly one statement of those that read, calling nothing that does more."""
    import duckdb

    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise UsageError(_sentence(error), "Correct the statement.") from error
    if len(statements) != 1:
        what = "nothing to run" if not statements else "more than one statement (or a PIVOT without its IN list)"
        raise UsageError(f"the query is {what}", "Give one statement.")
    kind = statements[0].type
    if kind == duckdb.StatementType.EXPLAIN:
        check(_explained(sql))
    elif kind == duckdb.StatementType.SELECT:
        _check_tree(_parsed(sql))
    else:
        raise UsageError(f"{kind.name} is not allowed here", ONLY_READING)


def _explained(sql: str) -> str:
    """Return what an EXPLAIN explains."""
    bare = re.sub(r"\A(?:\s|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*", "", sql, flags=re.DOTALL)
    inner = re.sub(r"\AEXPLAIN\s+(?:ANALYZE\s+|\([^)]*\)\s*)?", "", bare, count=1, flags=re.IGNORECASE)
    if inner == bare:
        raise UsageError("this EXPLAIN is not understood", "Write EXPLAIN, a space, and the statement.")
    return inner


def _parsed(sql: str) -> Any:
    import json

    import duckdb

    with duckdb.connect() as connection:
        # a literal, not a parameter: binding one imports pandas, which would be half of a short query's time
        tree = json.loads(connection.execute(f"SELECT json_serialize_sql({literal(sql)})").fetchall()[0][0])
    if tree.get("error"):
        raise UsageError(str(tree.get("error_message", "the statement is not understood")), ONLY_READING)
    return tree


def _check_tree(tree: Any) -> None:
    for node in _nodes(tree):
        if node.get("type") == "TABLE_FUNCTION":
            name = str(node.get("function", {}).get("function_name", "")).lower()
            if name not in TABLE_FUNCTIONS:
                raise UsageError(f"the table function {name} is not allowed here", ONLY_READING)
        elif node.get("class") == "FUNCTION" and str(node.get("function_name", "")).lower() in REFUSED_FUNCTIONS:
            raise UsageError(f"the function {node['function_name']} is not allowed here", ONLY_READING)
        elif node.get("type") == "BASE_TABLE":
            _check_table(node)


def _check_table(node: dict[str, Any]) -> None:
    catalog, name = str(node.get("catalog_name", "")), str(node.get("table_name", ""))
    if catalog.startswith("__ducklake") or str(node.get("schema_name", "")).startswith("__ducklake"):
        raise UsageError("DuckLake's own catalog is not open to queries", ONLY_READING)
    if re.search(r"[./\\:*?]", name):
        raise UsageError(f"{name!r} is a file, not a table", "Query tables such as marts.fct_asset_prices.")


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            yield node
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)


@contextmanager
def _interrupted_after(connection: duckdb.DuckDBPyConnection, seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _fetch(connection: duckdb.DuckDBPyConnection, sql: str, max_rows: int | None) -> QueryResult:
    """Fetch by way of Arrow: Python's own zone information then suffices for timestamps."""
    cursor = connection.execute(sql)
    description = cursor.description or []
    types = tuple(str(column[1]) for column in description)
    rows: list[tuple[Any, ...]] = []
    for batch in cursor.to_arrow_reader(2048):
        columns = [_values(column.to_pylist(), kind) for column, kind in zip(batch.columns, types, strict=True)]
        rows += zip(*columns, strict=True)
        if max_rows is not None and len(rows) > max_rows:
            break
    truncated = max_rows is not None and len(rows) > max_rows
    return QueryResult(tuple(str(column[0]) for column in description), types, tuple(rows[:max_rows]), truncated)


def _values(values: list[Any], kind: str) -> list[Any]:
    """Whole numbers beyond 64 bits travel as decimals in Arrow."""
    if kind in {"HUGEINT", "UHUGEINT"}:
        return [None if value is None else int(value) for value in values]
    return values


def _unknown_name(connection: duckdb.DuckDBPyConnection, message: str) -> UsageError:
    """Name what there is instead of a table that there is not."""
    asked = re.search(r"Table with name ([^ ]+) does not exist", message)
    if asked is None:
        return UsageError(message.splitlines()[0].removeprefix("Catalog Error: "), "Correct the statement.")
    rows = connection.execute(f"SELECT table_schema || '.' || table_name {TABLES}").fetchall()
    tables = [str(row[0]) for row in rows]
    wanted = asked[1].lower()
    by_name = {table.split(".", 1)[-1]: table for table in tables}
    near = [table for table in tables if table.split(".", 1)[-1] == wanted] or [
        by_name.get(match) or match for match in get_close_matches(wanted, [*by_name, *tables], n=3)
    ]
    hint = f"Did you mean {', '.join(dict.fromkeys(near))}?" if near else _listing(tables)
    return UsageError(f"there is no table called {asked[1]}", hint)


def _listing(tables: list[str]) -> str:
    return f"Tables: {', '.join(tables[:20])}." if tables else "There is no table yet: run a pipeline first."


def _remedy(error: Exception) -> str:
    if any(words in str(error) for words in CORRUPT):
        return (
            "A file of the warehouse is damaged: `engine doctor` checks it against the lake and says what to restore."
        )
    return "The statement itself is allowed; it failed while it ran."


def _sentence(error: Exception) -> str:
    line = next((line for line in str(error).splitlines() if line.strip()), "the query failed")
    return re.sub(r"^[A-Z][A-Za-z ]* Error: ", "", line)
