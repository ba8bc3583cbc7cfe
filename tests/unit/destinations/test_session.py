"""DuckDB without a network: extensions come from the installed packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from destinations import session
from engine.errors import TickhouseError


def test_extensions_are_placed_once_and_load(tmp_path: Path) -> None:
    directory = session.extension_directory(tmp_path)
    placed = {path.name: path.stat() for path in directory.rglob("*.duckdb_extension")}
    assert set(placed) == {"ducklake.duckdb_extension", "sqlite_scanner.duckdb_extension"}
    assert session.extension_directory(tmp_path) == directory
    again = {path.name: path.stat() for path in directory.rglob("*") if path.is_file()}
    assert {name: found.st_ino for name, found in again.items()} == {name: was.st_ino for name, was in placed.items()}
    with session.connect(tmp_path, extensions=True) as connection:
        loaded = connection.execute("select extension_name from duckdb_extensions() where loaded").fetchall()
        assert {("ducklake",), ("sqlite_scanner",)} <= set(loaded)
        assert connection.execute("select current_setting('TimeZone')").fetchall() == [("UTC",)]


def test_a_missing_extension_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "find_spec", lambda _: None)
    with pytest.raises(TickhouseError, match="extension 'ducklake'") as raised:
        session.extension_directory(tmp_path)
    assert "pip install duckdb-extension-ducklake==" in raised.value.remedy
