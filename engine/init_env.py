"""`engine init-env`: the variables that docker-compose.yml and the profile `compose` need, secrets random.

What `.env` says already stays as it is, whatever it is; only names that are missing or empty are added behind it.
"""

from __future__ import annotations

import base64
import os
import secrets
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from engine.config.environment import read_env_file
from engine.errors import UsageError

PROFILES = ("lake", "timeseries", "stream", "trino", "prefect", "admin", "monitoring", "worker")
"""Of docker-compose.yml, all but `zookeeper`, whose Kafka takes the place of the one in `stream`."""
TIMESCALE = ("tickhouse", "127.0.0.1:5432", "tickhouse")
"""User, address on this machine, and database of the service timescaledb."""
SECRET_BYTES = 24

Known = Mapping[str, str]


def _secret(_known: Known) -> str:
    return secrets.token_hex(SECRET_BYTES)  # letters and digits: safe in a URL, a shell and a YAML value alike


def _timescale_password(known: Known) -> str:
    """The one that the address names, if there is an address already."""
    try:
        given = urlsplit(known.get("TIMESCALE_DSN", "")).password
    except ValueError:
        given = None
    return unquote(given) if given else _secret(known)


def _timescale_dsn(known: Known) -> str:
    user, address, database = TIMESCALE
    return f"postgresql://{user}:{quote(known['TIMESCALE_PASSWORD'], safe='')}@{address}/{database}"


def _cluster(_known: Known) -> str:
    """A Kafka cluster's id: 16 random bytes; one that began with a minus would be taken for an option."""
    return "T" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]


VARIABLES: tuple[tuple[str, Callable[[Known], str], str], ...] = (
    ("COMPOSE_PROFILES", lambda _known: ",".join(PROFILES), "which parts `docker compose up -d` starts"),
    ("S3_ACCESS_KEY", _secret, "the lake's and Trino's key of the S3 server"),
    ("S3_SECRET_KEY", _secret, ""),
    ("TIMESCALE_PASSWORD", _timescale_password, "TimescaleDB's user tickhouse, and where this machine reaches it"),
    ("TIMESCALE_DSN", _timescale_dsn, ""),
    ("KAFKA_CLUSTER_ID", _cluster, "Kafka: no secret; it has to stay as long as its volume does"),
    ("KAFKA_BROKERS", lambda _known: "127.0.0.1:9092", ""),
    ("TRINO_CATALOG_PASSWORD", _secret, "the database of Trino's Iceberg catalog"),
    ("PREFECT_DB_PASSWORD", _secret, "Prefect's database, and the sign-in of its page (user admin)"),
    ("PREFECT_PASSWORD", _secret, ""),
    ("PGADMIN_EMAIL", lambda _known: "admin@example.com", "the sign-in of pgAdmin"),
    ("PGADMIN_PASSWORD", _secret, ""),
    ("GRAFANA_PASSWORD", _secret, "the sign-in of Grafana (user admin)"),
)
"""Name, how its value is made, and the comment above it. A later one may be made from an earlier one."""


def init_env(path: Path) -> tuple[list[str], list[str]]:
    """Add what is missing to `path`, readable by its owner only; return the names added and the names kept.

    Raises UsageError where the file is not NAME=value lines, or cannot be written.
    """
    known = read_env_file(path)
    kept = [name for name, _make, _why in VARIABLES if known.get(name)]
    lines: list[str] = []
    added: list[str] = []
    for name, make, why in VARIABLES:
        if known.get(name):
            continue
        value = make(known)
        known[name] = value
        lines += [f"# {why}"] if why else []
        lines.append(f"{name}={value}")
        added.append(name)
    try:
        if added:
            _write(path, lines)
        elif path.exists():
            path.chmod(0o600)
    except OSError as error:
        remedy = "Run it in the project's folder, as a user who may write there."
        raise UsageError(f"{path.name} cannot be written: {error.strerror}", remedy) from None
    return added, kept


def _write(path: Path, lines: list[str]) -> None:
    """Put the lines behind the file's own, all or nothing: a new file takes its name once it is whole."""
    before = path.read_text(encoding="utf-8-sig") if path.exists() else ""
    if before and not before.endswith("\n"):
        before += "\n"
    target = path.resolve()  # a link to the real file stays one
    whole = target.with_name(f"{target.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(before + "\n".join(lines) + "\n")
            file.flush()
            os.fsync(file.fileno())
        whole.replace(target)
    finally:
        whole.unlink(missing_ok=True)
