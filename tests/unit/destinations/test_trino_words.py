"""What is said to Trino, of it and about it, without a server."""

from __future__ import annotations

import pytest
import sqlglot
from pydantic import ValidationError

from destinations.trino_session import explain
from destinations.trino_settings import TrinoSettings
from engine.models.trino import said_for_trino

KEYS = {"access_key": "open-word", "secret_key": "hush-word", "password": "hush-word", "scheme": "https"}


def said(sql: str) -> str:
    return said_for_trino(sqlglot.parse_one(sql, dialect="duckdb")).sql("trino")


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ({"files": "files", "password": "hush-word"}, "sent over https only"),
        ({"files": "s3://bucket/prefix"}, "need access_key and secret_key"),
        ({"files": "files", "catalog": "a.b"}, "catalog"),
    ],
)
def test_a_block_that_cannot_work_is_refused(block: dict[str, str], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason) as raised:
        TrinoSettings(type="trino", **block)
    assert "hush-word" not in str(raised.value)


def test_no_secret_in_the_settings_as_text() -> None:
    settings = TrinoSettings(type="trino", files="s3://bucket/prefix", **KEYS)
    assert "hush-word" not in f"{settings!r} {settings}"


def test_timestamps_have_microseconds() -> None:
    assert said("SELECT a::TIMESTAMPTZ, b::DATE") == "SELECT CAST(a AS TIMESTAMP(6) WITH TIME ZONE), CAST(b AS DATE)"
    assert said("SELECT CAST(a AS TIMESTAMP(3))") == "SELECT CAST(a AS TIMESTAMP(3))"


def test_every_column_beside_a_qualify_comes_once() -> None:
    first = "SELECT *, MAX(z) OVER () AS top FROM t QUALIFY ROW_NUMBER() OVER (ORDER BY x) = 1"
    assert said(f"WITH a AS ({first}) SELECT k FROM a") == (
        "WITH a AS (SELECT * FROM (SELECT *, MAX(z) OVER () AS top, ROW_NUMBER() OVER (ORDER BY x) AS _window_1 "
        "FROM t) AS _qualified_2 WHERE _window_1 = 1) SELECT k FROM a"
    )


def test_a_limit_beside_a_qualify_is_of_what_is_left() -> None:
    text = "SELECT * FROM t QUALIFY ROW_NUMBER() OVER (PARTITION BY t.k ORDER BY t.x) = 1 ORDER BY t.k LIMIT 5"
    assert said(text) == (
        "SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY t.k ORDER BY t.x) AS _window_1 FROM t) "
        "AS _qualified_2 WHERE _window_1 = 1 ORDER BY k LIMIT 5"
    )


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("HTTPConnectionPool: Max retries exceeded", "T does not answer"),
        (
            "TrinoUserError(type=USER_ERROR, name=CATALOG_NOT_FOUND, message=\"Catalog 'x' not found\", query_id=1)",
            "T: Catalog 'x' not found",
        ),
        ("error 401: Unauthorized", "T refuses"),
        (
            "TrinoUserError(type=USER_ERROR, name=TABLE_NOT_FOUND, message=\"Table 't' does not exist\", query_id=1)",
            "Table 't' does not exist (T)",
        ),
    ],
)
def test_a_failure_is_one_clear_sentence(message: str, reason: str) -> None:
    error = explain("warehouse", "T", message)
    assert reason in error.reason
    assert "Trino" not in error.reason.removeprefix("warehouse: ")
    assert error.remedy
