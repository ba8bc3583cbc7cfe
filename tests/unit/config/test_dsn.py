"""A DSN whose password would be taken for another part of it is refused, and nothing of it is shown."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from destinations.settings import PostgresSettings


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:canary/1@127.0.0.1:5432/db",
        "postgresql://u:canary@1@127.0.0.1:5432/db",
        "postgresql://u:canary?1@127.0.0.1:5432/db",
        "postgresql://u:canary",
        "postgresql://127.0.0.1:canary/db",
        "canary",
        "postgresql://u:canary@127.0.0.1:99999/db",
        "postgresql://u:canary@127.0.0.1:5432,127.0.0.1:0/db",
        "postgresql://u:canary@/db?host=127.0.0.1&port=65536",
        "host=127.0.0.1 port=99999 password=canary",
    ],
)
def test_what_would_be_misread_is_refused(dsn: str) -> None:
    with pytest.raises(ValidationError) as caught:
        PostgresSettings(type="postgres", dsn=dsn)
    assert "dsn" in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:%40%2F%3F:x@127.0.0.1:5432/db?sslmode=require",
        "postgres://u:p@[::1]:5432/db",
        "postgresql://u:p@a:1,b:2/db?target_session_attrs=read-write",
        "postgresql:///db?host=/var/run/postgresql",
        "postgresql://localhost",
        "host=localhost password=a@b/c",
    ],
)
def test_what_libpq_reads_is_taken(dsn: str) -> None:
    assert PostgresSettings(type="postgres", dsn=dsn).dsn.get_secret_value() == dsn


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("postgresql://a:1@localhost/db", "postgresql://b:2@127.0.0.1:5432/db?connect_timeout=5", True),
        ("postgres://a@[::1]:5432/db", "postgresql://a@127.0.0.1/db", True),
        ("postgresql://a@h/db", "postgresql://a@H:5432/db", True),
        ("postgresql://a@h:1/db", "postgresql://a@h:2/db", False),
        ("postgresql://a@h/db", "postgresql://a@h/other", False),
        ("postgresql:///db?host=/run/pg", "postgresql:///db?host=/run/pg2", False),
        ("postgresql://a@h:1,g:2/db", "postgresql://b@h:1,g:2/db", True),
        ("postgresql://a:[1@h/db", "postgresql://b:2]@h/db", True),
        ("postgresql://a:[1@h/db", "postgresql://a:[1@h/other", False),
    ],
)
def test_two_ways_to_say_one_database_are_known(one: str, other: str, *, same: bool) -> None:
    first, second = (PostgresSettings(type="postgres", dsn=dsn).filled_database() for dsn in (one, other))
    assert (first == second) == same
