"""Identifiers and literals for generated SQL. Values go as parameters; only names pass through here."""

from __future__ import annotations


def identifier(name: str) -> str:
    """Quote one SQL identifier (double quotes doubled), for DuckDB and PostgreSQL."""
    return '"' + name.replace('"', '""') + '"'


def qualified(*names: str) -> str:
    """Quote and join names with dots: catalog.schema.table."""
    return ".".join(identifier(name) for name in names)


def literal(text: str) -> str:
    """Quote one text literal, for statements that take no parameters (ATTACH, CALL, COPY)."""
    return "'" + text.replace("'", "''") + "'"
