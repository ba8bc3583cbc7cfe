"""Servers that tests of several folders share, one of a kind for all tests of a process; the command's collector."""

import gc

from engine.cli import GARBAGE
from tests.servers.trino_server import trino, trino_landing

gc.set_threshold(*GARBAGE)

__all__ = ["trino", "trino_landing"]
