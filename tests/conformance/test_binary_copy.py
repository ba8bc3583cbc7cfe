"""Binary COPY says the same as PostgreSQL's own reading of the text, to the last digit, for whatever is in a batch."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from destinations.postgres_binary import binary_rows
from destinations.postgres_session import POSTGRES
from tests.servers.databases import Dsn

TYPES = {
    "a_text": ("VARCHAR", pa.string()),
    "a_decimal": ("DECIMAL(38,18)", pa.decimal128(38, 18)),
    "a_bigint": ("BIGINT", pa.int64()),
    "a_double": ("DOUBLE", pa.float64()),
    "a_bool": ("BOOLEAN", pa.bool_()),
    "a_date": ("DATE", pa.date32()),
    "a_timestamp": ("TIMESTAMP WITH TIME ZONE", pa.timestamp("us", "UTC")),
}
SCHEMA = pa.schema([(name, kind) for name, (_, kind) in TYPES.items()])
WORDS = {name: word for name, (word, _) in TYPES.items()}
EDGES = [
    "0",
    "1",
    "-1",
    "1e-18",
    "-1e-18",
    "9999",
    "10000",
    "0.0001",
    "0.00001",
    "9223372036854775807.5",
    "1e19",
    "100",
]


def made(seed: int, rows: int, *, nulls: bool, digits: int) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)

    def row(number: int) -> dict[str, Any]:
        sign = chance.choice([1, -1])
        places = chance.randint(0, 18)
        decimal = Decimal(sign * chance.randrange(10 ** (digits + places))).scaleb(-places)
        if number < len(EDGES) and digits > 18:
            decimal = Decimal(EDGES[number])
        found = {
            "a_text": "".join(chance.choices("aZ\\,\"'\n\tä東🪙", k=chance.randint(0, 12))),
            "a_decimal": decimal,
            "a_bigint": chance.randint(-(2**63), 2**63 - 1),
            "a_double": chance.choice([0.1, -1e300, 5e-324, float(number)]),
            "a_bool": chance.random() < 0.5,
            "a_date": date(1, 1, 1) + timedelta(days=chance.randrange(3_600_000)),
            "a_timestamp": epoch + timedelta(microseconds=chance.randint(-(10**16), 10**17)),
        }
        return {name: None if nulls and chance.random() < 0.3 else value for name, value in found.items()}

    return [row(number) for number in range(rows)]


@pytest.mark.parametrize(("nulls", "digits", "offset"), [(False, 6, 0), (True, 19, 7), (True, 12, 0), (False, 1, 3)])
def test_every_value_arrives_as_it_is(database: Dsn, *, nulls: bool, digits: int, offset: int) -> None:
    rows = made(20260501 + digits, 500, nulls=nulls, digits=digits)
    whole = pa.RecordBatch.from_pylist(rows, schema=SCHEMA)
    content = binary_rows(whole.slice(offset), WORDS)
    assert content is not None
    with psycopg.connect(database(), autocommit=True) as connection:
        connection.execute("set timezone = 'UTC'")
        columns = ", ".join(f"{name} {POSTGRES.spelled(word)}" for name, word in WORDS.items())
        connection.execute(f"create table t (n serial, {columns})".encode())
        with connection.cursor().copy(f"copy t ({', '.join(WORDS)}) from stdin (format binary)".encode()) as copy:
            copy.write(content)
        found = connection.execute(f"select {', '.join(WORDS)} from t order by n".encode()).fetchall()
        assert found == [tuple(row.values()) for row in rows[offset:]]
        scales = connection.execute("select distinct scale(a_decimal) from t where a_decimal is not null").fetchall()
        assert scales == [(18,)], "as a decimal that came as text"


def test_one_value_in_all_rows_and_long_texts_arrive_as_they_are(database: Dsn) -> None:
    """A column of one value is made once for all rows; zero with a sign is not zero without."""
    alike = {
        "a_text": "東\\,",
        "a_decimal": Decimal("-12345.678900000000000001"),
        "a_bigint": -7,
        "a_double": 0.0,
        "a_bool": True,
        "a_date": date(1999, 12, 31),
        "a_timestamp": datetime(2026, 5, 1, 10, tzinfo=UTC),
    }
    rows = [{**alike, "a_double": -0.0 if number == 1 else 0.0} for number in range(4)]
    nothing = [dict.fromkeys(alike)] * 3
    long = [{**alike, "a_text": "x" * length} for length in (300_000, 0, 1)]
    with psycopg.connect(database(), autocommit=True) as connection:
        connection.execute("set timezone = 'UTC'")
        columns = ", ".join(f"{name} {POSTGRES.spelled(word)}" for name, word in WORDS.items())
        connection.execute(f"create table alike (n serial, {columns})".encode())
        for batch in (rows, nothing, long):
            content = binary_rows(pa.RecordBatch.from_pylist(batch, schema=SCHEMA), WORDS)
            assert content is not None
            statement = f"copy alike ({', '.join(WORDS)}) from stdin (format binary)".encode()
            with connection.cursor().copy(statement) as copy:
                copy.write(content)
        found = connection.execute(f"select {', '.join(WORDS)} from alike order by n".encode()).fetchall()
    assert found == [tuple(row.values()) for row in (*rows, *nothing, *long)]
    assert [str(row[3]) for row in found[:4]] == ["0.0", "-0.0", "0.0", "0.0"]


def test_what_has_no_binary_form_goes_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def one(name: str, value: Any, word: str | None = None) -> bytes | None:
        batch = pa.RecordBatch.from_pylist([{name: value}], schema=pa.schema([SCHEMA.field(name)]))
        return binary_rows(batch, {name: word or WORDS[name]})

    assert one("a_decimal", Decimal(99999999999999999999)) is None
    assert one("a_bigint", 1, "DOUBLE") is None
    monkeypatch.setattr("destinations.postgres_binary.MOST_BYTES", 1000)
    assert one("a_text", "x" * 1001) is None
    assert one("a_text", "x" * 900) is not None
