"""Servers of the conformance tests, started when a test first asks."""

from tests.servers.databases import database, postgres_server, snowflake, snowflake_port, timescale, timescale_dsn

__all__ = ["database", "postgres_server", "snowflake", "snowflake_port", "timescale", "timescale_dsn"]
