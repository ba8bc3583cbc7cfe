"""What has to be there before servers and the engine use each other: docker-compose runs it in services of its own.

    initialise.py buckets NAME...     on the S3 server of S3_ENDPOINT, S3_ACCESS_KEY, S3_SECRET_KEY
    initialise.py databases           Trino's catalog, its user and its tables, on the server of TIMESCALE_DSN
    initialise.py topics              those that pipelines.yaml reads, at KAFKA_BROKERS
    initialise.py schemas NAME...     catalog.schema, on the Trino of TRINO_HOST and TRINO_PORT

What is there already stays as it is, so each may run again at any time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 60.0


def buckets(*names: str) -> list[str]:
    """Make the buckets of these names; return those that were missing."""
    import s3fs

    server = s3fs.S3FileSystem(
        key=os.environ["S3_ACCESS_KEY"], secret=os.environ["S3_SECRET_KEY"], endpoint_url=os.environ["S3_ENDPOINT"]
    )
    made = [name for name in names if not server.exists(name)]
    for name in made:
        server.mkdir(name)
    return made


def databases() -> list[str]:
    """Make the database `catalog` and its user, whose password is set anew, and Iceberg's tables in it."""
    import psycopg
    from psycopg import sql

    dsn, password = os.environ["TIMESCALE_DSN"], os.environ["TRINO_CATALOG_PASSWORD"]
    name = sql.Identifier("catalog")
    made = []
    with psycopg.connect(dsn, autocommit=True) as server:
        if not server.execute("SELECT FROM pg_roles WHERE rolname = 'catalog'").rowcount:
            server.execute(sql.SQL("CREATE ROLE {} LOGIN").format(name))
            made.append("user catalog")
        server.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(name, sql.Literal(password)))
        if not server.execute("SELECT FROM pg_database WHERE datname = 'catalog'").rowcount:
            server.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, name))
            made.append("database catalog")
    with psycopg.connect(dsn, dbname="catalog", user="catalog", password=password) as catalog:
        catalog.execute((ROOT / "deploy" / "trino" / "catalog.sql").read_bytes())
    return made


def topics() -> list[str]:
    """Make the topics that pipelines.yaml reads, as the brokers are set to; return those that were missing."""
    import yaml
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import AdminClient, NewTopic

    sources = yaml.safe_load((ROOT / "pipelines.yaml").read_text(encoding="utf-8"))["sources"]
    resources = [source["resources"] for source in sources.values() if source["type"] == "kafka"]
    wanted = {(settings or {}).get("topic", name) for each in resources for name, settings in each.items()}
    brokers = AdminClient({"bootstrap.servers": os.environ["KAFKA_BROKERS"]})
    missing = sorted(wanted - set(brokers.list_topics(timeout=SECONDS).topics))
    for made in brokers.create_topics([NewTopic(name) for name in missing]).values() if missing else ():
        try:
            made.result(SECONDS)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    return missing


def schemas(*names: str) -> list[str]:
    """Make the schemas of these names; return those that were missing."""
    from trino.dbapi import connect

    from engine.sql import identifier

    with connect(host=os.environ["TRINO_HOST"], port=int(os.environ["TRINO_PORT"]), user="initialise") as connection:
        cursor = connection.cursor()
        missing = []
        for name in names:
            catalog, schema = (identifier(part) for part in name.split("."))
            there = cursor.execute(f"SHOW SCHEMAS FROM {catalog}").fetchall()
            if [name.partition(".")[2]] not in there:
                cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {catalog}.{schema}").fetchall()
                missing.append(name)
    return missing


STEPS: dict[str, Callable[..., list[str]]] = {
    "buckets": buckets,
    "databases": databases,
    "topics": topics,
    "schemas": schemas,
}


def main() -> int:
    """Do one step; return 0, 1 after one line if it failed, 2 if there is none of that name."""
    step, *names = sys.argv[1:] or [""]
    if step not in STEPS:
        print(f"initialise: no step {step!r}; there are {', '.join(STEPS)}", file=sys.stderr)
        return 2
    try:
        made = STEPS[step](*names)
    except KeyError as missing:
        print(f"initialise: the variable {missing} is not set", file=sys.stderr)
        return 2
    except Exception as error:
        print(f"initialise: {step}: {type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(f"{step}: {('made ' + ', '.join(made)) if made else 'all there'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
