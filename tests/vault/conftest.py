"""Snowflake's stand-in, started when a test of the vault first asks."""

from tests.servers.databases import snowflake_port

__all__ = ["snowflake_port"]
