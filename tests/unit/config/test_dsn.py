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
