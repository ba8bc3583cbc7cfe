"""Prefect's settings for every process of `engine up`: its own folder, no telemetry, no prompts, loopback only.

They are environment variables, so that a run that Prefect starts has them too; they are set before Prefect is imported.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from engine.errors import UsageError

HOST = "127.0.0.1"
HEARTBEAT_SECONDS = 30
KEEP_DAYS = 30
"""Runs that ended so long ago are removed from our own server, with their tasks, logs and pages; events after 7."""


def own_server(folder: Path, port: int) -> dict[str, str]:
    """Settings of a server in `folder` (SQLite, leases of slots) and of its clients."""
    address = f"http://{HOST}:{port}"
    return {
        "PREFECT_API_URL": f"{address}/api",
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder / 'prefect.db'}",
        # kept in memory, a lease would not survive a restart of the server, and its slot would stay taken
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        # a start after a long stop finds many runs overdue; to mark each as late, every five seconds, locks the SQLite
        "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "60",
        # runs, tasks, logs, pages and events would be kept for ever
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "true",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(KEEP_DAYS * 24 * 60 * 60),
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # a page of another site, open in a browser of this machine, must not reach the API
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": address,
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # not the user's own folder, whose settings are meant for another server
        "PREFECT_HOME": str(folder),
        "PREFECT_PROFILES_PATH": str(folder / "profiles.toml"),
        **client(),
    }


def named_server(address: str) -> dict[str, str]:
    """Settings of clients of a server that runs already.

    A user and a password in the address become Prefect's own setting for them: what logs an address would show them.
    """
    parts = urlsplit(address)
    key, _, host = parts.netloc.rpartition("@")
    found = {"PREFECT_API_URL": urlunsplit(parts._replace(netloc=host)), **client()}
    if key and not os.environ.get("PREFECT_API_AUTH_STRING"):
        user, _, password = key.partition(":")
        found["PREFECT_API_AUTH_STRING"] = f"{unquote(user)}:{unquote(password)}"
    return found


def client() -> dict[str, str]:
    """Settings of a process that talks to a server."""
    return {
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        "DO_NOT_TRACK": "1",
    }


def server_address(option: str | None = None) -> str:
    """Return the API's address: the option, else PREFECT_API_URL; `/api` is added where it is left out.

    Raises UsageError where neither is set.
    """
    address = (option or os.environ.get("PREFECT_API_URL", "")).rstrip("/")
    if not address:
        raise UsageError(
            "no Prefect server is named",
            "Set PREFECT_API_URL, or give --server http://HOST:4200/api. Without a server, `engine up` runs the "
            "schedules on one of its own.",
        )
    return address if "/api" in address else f"{address}/api"


def shown(address: str) -> str:
    """Return the address without the user and the password that may stand in it."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))
