"""A stand-in for Snowflake: fakesnow (DuckDB behind Snowflake's protocol), run in an environment of its own.

    python snowflake_program.py      # prints `port N`, then serves on 127.0.0.1

It shows the flow of statements, files and answers through the real connector. It cannot show Snowflake's own semantics:
keys, roles and grants (any login is let in), load history and FORCE, locks and isolation between sessions, how
Parquet's types become Snowflake's, warehouses and what they cost. What the models need of SQL and fakesnow has not, is
translated here; docs/snowflake.md lists it, for it is not shown by that.
"""

from __future__ import annotations

import re
import socket
import time
from string import Template
from typing import Any

import fakesnow.arrow
import fakesnow.copy_into
import fakesnow.cursor
import fakesnow.server
import fakesnow.transforms.stage
import pyarrow as pa
import pyarrow.compute as pc
import snowflake.connector.errors
import uvicorn
from sqlglot import exp

_execute = fakesnow.cursor.FakeSnowflakeCursor.execute
_urls = fakesnow.copy_into._source_urls
_decimal = fakesnow.cursor.transforms.to_decimal
_precision = fakesnow.cursor.transforms.integer_precision
_trim = fakesnow.cursor.transforms.trim_cast_varchar
_struct = fakesnow.arrow.timestamp_to_sf_struct


def execute(self: Any, command: str, *arguments: Any, **named: Any) -> Any:
    """Answer what fakesnow cannot do as an error of SQL: as an internal one the connector would try for minutes.

    A query tag is taken and forgotten; the warehouse is a word; SYSTEM$WAIT waits.
    """
    command = command.replace("CURRENT_WAREHOUSE()", "'STAND_IN'")
    if command.startswith("ALTER SESSION SET QUERY_TAG = "):
        command = "SELECT 'Statement executed successfully.' AS status"
    slow = re.fullmatch(r"SELECT SYSTEM\$WAIT\(([0-9]+)\)", command)
    if slow:
        time.sleep(int(slow[1]))
        command = f"SELECT 'waited {slow[1]} seconds' AS status"
    try:
        _execute(self, command, *arguments, **named)
    except snowflake.connector.errors.Error:
        raise
    except Exception as error:
        said = f"stand-in: {type(error).__name__}: {error}"
        raise snowflake.connector.errors.ProgrammingError(msg=said, errno=1003, sqlstate="42000") from error
    if isinstance(self._last_transformed, exp.Merge):
        self._rowcount = self._arrow_table.column(0)[0].as_py()
        self._last_sql = f"SELECT {self._rowcount} AS 'number of rows merged'"  # what is said of the answer's columns
    return self


def struct_with_nulls(instants: pa.Array | pa.ChunkedArray) -> pa.StructArray:
    """Keep NULL instants: fakesnow sends them as 1970."""
    if isinstance(instants, pa.ChunkedArray):
        instants = instants.combine_chunks()
    made = _struct(instants)
    if instants.null_count == 0:
        return made
    fields = [part.fill_null(0) for part in made.flatten()]
    return pa.StructArray.from_arrays(fields, fields=list(made.type), mask=pc.is_null(instants))


def staged_files(source: str, files: list[str]) -> list[str]:
    """Find the FILES of a COPY on an internal stage too: fakesnow knows them on external ones."""
    if not fakesnow.transforms.stage.is_internal(source):
        return _urls(source, files)
    return [f"{source.rstrip('/')}/{file}" for file in files]


def merge(statement: Any) -> list[Any]:
    """Leave a MERGE to DuckDB, which has one of its own: fakesnow makes several statements of it."""
    return [statement]


def to_decimal(expression: Any) -> Any:
    """Read hexadecimal digits, which fakesnow does not: `TO_DECIMAL(x, 'XXX')`."""
    written = expression.args.get("format") if isinstance(expression, exp.ToNumber) else None
    if written is None or set(written.name) != {"X"}:
        return _decimal(expression)
    return exp.cast(exp.DPipe(this=exp.Literal.string("0x"), expression=expression.this), "BIGINT")


def integer_precision(expression: Any) -> Any:
    """Let whole numbers have 38 digits in a query, and a whole quotient be whole: fakesnow has 18, and DOUBLEs.

    On Snowflake, a NUMBER(38, 0) that is divided without a rest is divided exactly.
    """
    if expression.parent is None:
        for cast in list(expression.find_all(exp.Cast)):
            # a factor stays a DECIMAL, as which DuckDB multiplies it with another
            if cast.to.sql() == "DECIMAL(38, 0)" and not isinstance(cast.parent, exp.Mul):
                cast.set("to", exp.DataType.build("INT128"))
        for divided in list(expression.find_all(exp.Div)):
            if isinstance(divided.this, exp.Cast) and divided.this.is_type("INT128"):
                divided.replace(exp.IntDiv(this=divided.this, expression=divided.expression))
    if isinstance(expression, exp.DataType) and isinstance(expression.parent, exp.Cast):
        return expression
    return _precision(expression)


def trim_cast_varchar(expression: Any) -> Any:
    """Trim what TRIM is told to: fakesnow trims spaces, whatever the second argument is."""
    if isinstance(expression, exp.Trim) and expression.expression is not None:
        return expression
    return _trim(expression)


def numeric_agg_implicit_cast(expression: Any) -> Any:
    """Let sums be exact: fakesnow makes a DOUBLE of what is summed, for it may be text."""
    return expression


def tables_and_views(template: Template) -> Template:
    """List views in information_schema.tables too, as Snowflake does: fakesnow has tables alone there."""
    listed = template.template.replace("'BASE TABLE' AS", "tables.table_type AS").replace(
        "from duckdb_tables tables", BOTH
    )
    return Template(listed)


BOTH = """
from (
    select database_name, schema_name, table_name, estimated_size, 'BASE TABLE' as table_type from duckdb_tables()
    union all
    select database_name, schema_name, view_name, null, 'VIEW' from duckdb_views() where not internal
) as tables
"""

schema = fakesnow.cursor.info_schema
schema.SQL_CREATE_INFORMATION_SCHEMA_TABLES_VIEW = tables_and_views(schema.SQL_CREATE_INFORMATION_SCHEMA_TABLES_VIEW)
fakesnow.cursor.transforms.merge = merge
fakesnow.cursor.transforms.to_decimal = to_decimal
fakesnow.cursor.transforms.integer_precision = integer_precision
fakesnow.cursor.transforms.trim_cast_varchar = trim_cast_varchar
fakesnow.cursor.transforms.numeric_agg_implicit_cast = numeric_agg_implicit_cast
fakesnow.copy_into._source_urls = staged_files
fakesnow.cursor.FakeSnowflakeCursor.execute = execute
fakesnow.arrow.timestamp_to_sf_struct = struct_with_nulls

if __name__ == "__main__":
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    print(f"port {listening.getsockname()[1]}", flush=True)  # noqa: T201 - whoever started it reads this
    uvicorn.Server(uvicorn.Config(fakesnow.server.app, log_level="warning")).run(sockets=[listening])
