"""A stand-in for Snowflake: fakesnow (DuckDB behind Snowflake's protocol), run in an environment of its own.

    python snowflake_program.py      # prints `port N`, then serves on 127.0.0.1

It shows the flow of statements, files and answers through the real connector. It cannot show Snowflake's own semantics:
keys, roles and grants (any login is let in), load history and FORCE, locks and isolation between sessions, how
Parquet's types become Snowflake's, warehouses and what they cost.
"""

from __future__ import annotations

import socket
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

_execute = fakesnow.cursor.FakeSnowflakeCursor.execute
_urls = fakesnow.copy_into._source_urls
_struct = fakesnow.arrow.timestamp_to_sf_struct


def execute(self: Any, command: str, *arguments: Any, **named: Any) -> Any:
    """Answer what fakesnow cannot do as an error of SQL: as an internal one the connector would try for minutes.

    A query tag is taken and forgotten; the warehouse is a word.
    """
    command = command.replace("CURRENT_WAREHOUSE()", "'STAND_IN'")
    if command.startswith("ALTER SESSION SET QUERY_TAG = "):
        command = "SELECT 'Statement executed successfully.' AS status"
    try:
        return _execute(self, command, *arguments, **named)
    except snowflake.connector.errors.Error:
        raise
    except Exception as error:
        said = f"stand-in: {type(error).__name__}: {error}"
        raise snowflake.connector.errors.ProgrammingError(msg=said, errno=1003, sqlstate="42000") from error


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


fakesnow.copy_into._source_urls = staged_files
fakesnow.cursor.FakeSnowflakeCursor.execute = execute
fakesnow.arrow.timestamp_to_sf_struct = struct_with_nulls

if __name__ == "__main__":
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    print(f"port {listening.getsockname()[1]}", flush=True)  # noqa: T201 - whoever started it reads this
    uvicorn.Server(uvicorn.Config(fakesnow.server.app, log_level="warning")).run(sockets=[listening])
