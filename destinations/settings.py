"""Destinations' blocks in pipelines.yaml: light to import, so that `engine validate` stays fast."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import ClassVar, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

LAST_PORT = 65_535
THIS_MACHINE = {"", "localhost", "127.0.0.1", "::1"}


class DestinationSettings(BaseModel):
    """What every destination has."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    runs_models: ClassVar[bool] = True
    """Whether it is a warehouse, on which the models run."""
    answers_cost: ClassVar[bool] = False
    """Whether each answer is billed, so that metrics ask seldom: one that is asked each minute never goes to sleep."""

    def filled_database(self) -> str | None:
        """Name the database that it fills, the same for two spellings of one; None where a path says it."""
        return None

    optional: bool = Field(default=False, description="true: left out with one line where a ${NAME} of it is not set")


def server(host: str, port: int) -> str:
    """Name a server the same for every way to say: this machine."""
    host = host.lower()
    return f"{'127.0.0.1' if host in THIS_MACHINE else host}:{port}"


class DucklakeSettings(DestinationSettings):
    """DuckLake: a SQLite catalog and Parquet data in a folder; lake files become table data without a copy."""

    type: Literal["ducklake"] = Field(description="a DuckLake in a local folder")
    path: str = Field(description="folder of the warehouse, relative to the project; made by the first run")


class DuckdbSettings(DestinationSettings):
    """One DuckDB file; readers get a published copy."""

    type: Literal["duckdb"] = Field(description="one DuckDB file")
    path: str = Field(description="the database file, relative to the project; readers' copies lie beside it")


DSN = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, libpq's parameters behind it (?sslmode=require); write ${NAME}"


def _check_ports(listed: Iterable[str]) -> None:
    """Raise ValueError for what is no port; several hosts have several, with commas between."""
    for port in filter(None, ",".join(listed).split(",")):
        if not port.isdecimal():
            raise ValueError(
                "the port in the dsn is no number\nWrite it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE; "
                "percent-encode @ / ? : in user and password."
            )
        if not 0 < int(port) <= LAST_PORT:
            raise ValueError(
                f"the dsn names a port that there is not\nSet one of 1 to {LAST_PORT}; PostgreSQL's is 5432."
            )


class PostgresSettings(DestinationSettings):
    """PostgreSQL: schema landing, loaded by COPY. No models run there."""

    runs_models: ClassVar[bool] = False

    type: Literal["postgres"] = Field(description="a database of a PostgreSQL server")
    dsn: SecretStr = Field(description=DSN)

    @field_validator("dsn")
    @classmethod
    def is_a_dsn(cls, dsn: SecretStr) -> SecretStr:
        """A URL of PostgreSQL, or libpq's own `key=value` words; the rest is libpq's to say."""
        text = dsn.get_secret_value().strip()
        if not text.startswith(("postgresql://", "postgres://")):
            if "=" not in text:
                raise ValueError("this is no dsn\nWrite it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE.")
            _check_ports(re.findall(r"(?:\A|\s)port\s*=\s*'?([^'\s]*)", text))
            return dsn
        _, _, rest = text.partition("://")
        place, _, behind = rest.partition("?")
        who_and_where, _, database = place.partition("/")
        user, _, where = who_and_where.rpartition("@")
        if "@" in user or "@" in database or (not user and "@" in behind):
            # taken as it stands, a part of the password would be the host's name, and shown in every error
            raise ValueError(
                "a character of the user, the password or the database has a meaning of its own in a dsn\n"
                "Percent-encode it: @ is %40, / is %2F, ? is %3F, : is %3A."
            )
        ports = [each.rpartition(":")[2] for each in where.rpartition("]")[2].split(",") if ":" in each]
        _check_ports([*ports, *(value for name, value in parse_qsl(behind) if name == "port")])
        return dsn

    def filled_database(self) -> str:
        """Server and database. A DSN in libpq's words is taken as it stands."""
        text = self.dsn.get_secret_value().strip()
        if "://" not in text:
            return text
        try:
            url = urlsplit(text)
        except ValueError:  # a bracket in the password, say: libpq takes it
            return text.rpartition("@")[2]
        named = dict(parse_qsl(url.query))
        try:
            where = server(named.get("host") or url.hostname or "", url.port or 5432)
        except ValueError:  # several hosts
            where = url.netloc.rpartition("@")[2]
        return f"{where}/{named.get('dbname') or url.path.strip('/') or url.username or ''}"


class TimescaledbSettings(PostgresSettings):
    """TimescaleDB: as postgres, and for each table with `timeseries:` a hypertable and its candles."""

    type: Literal["timescaledb"] = Field(description="a database of a PostgreSQL server with TimescaleDB")  # type: ignore[assignment]
