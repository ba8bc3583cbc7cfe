"""Servers and destinations of the conformance tests, started when a test first asks."""

from tests.conformance.killable_servers import killed
from tests.conformance.target_fixtures import proxy, six_packages, target
from tests.servers.databases import database, postgres_server, snowflake, snowflake_port, timescale, timescale_dsn

__all__ = [
    "database",
    "killed",
    "postgres_server",
    "proxy",
    "six_packages",
    "snowflake",
    "snowflake_port",
    "target",
    "timescale",
    "timescale_dsn",
]
