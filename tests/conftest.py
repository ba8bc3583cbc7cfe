"""Servers that tests of several folders share: one of a kind for all tests of a process."""

from tests.servers.trino_server import trino, trino_landing

__all__ = ["trino", "trino_landing"]
