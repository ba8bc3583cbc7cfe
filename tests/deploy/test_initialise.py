"""deploy/initialise.py against real servers: what was missing is made, a second time nothing is."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.s3_server import s3_server
from tests.deploy.compose_file import ROOT, services
from tests.kafka.brokers import GROUP, Broker
from tests.kafka.jars import require_broker
from tests.kafka.processes import Java
from tests.servers.postgres_server import PostgresServer
from tests.servers.trino_server import GROUP as TRINO_GROUP
from tests.servers.trino_server import TrinoServer


def initialise(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "deploy" / "initialise.py"), *words]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_buckets(tmp_path: Path) -> None:
    with s3_server(tmp_path / "s3") as s3:
        keys = {"S3_ENDPOINT": s3.url, "S3_ACCESS_KEY": s3.access_key, "S3_SECRET_KEY": s3.secret_key}
        assert initialise("buckets", "lake", "warehouse", **keys).stdout == "buckets: made lake, warehouse\n"
        assert initialise("buckets", "lake", "more", **keys).stdout == "buckets: made more\n"
        refused = initialise("buckets", "other", **{**keys, "S3_SECRET_KEY": "wrong-secret"})
        assert refused.returncode == 1
        assert refused.stderr.startswith("initialise: buckets: ")
        assert refused.stderr.count("\n") == 1


def test_databases() -> None:
    with PostgresServer() as server:
        keys = {"TIMESCALE_DSN": server.dsn(), "TRINO_CATALOG_PASSWORD": "it's \\ one"}
        done = initialise("databases", **keys)
        assert done.stdout == "databases: made user catalog, database catalog\n", done.stderr
        assert initialise("databases", **keys).stdout == "databases: all there\n"
        assert initialise("databases", **{**keys, "TRINO_CATALOG_PASSWORD": "another"}).returncode == 0
        owned = "SELECT tablename, tableowner FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        expected = [("iceberg_namespace_properties", "catalog"), ("iceberg_tables", "catalog")]
        assert server.execute(owned, "catalog") == expected
        (rights,) = server.execute("SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = 'catalog'")
        assert rights == (False, False)


@pytest.mark.xdist_group(GROUP)
def test_topics(tmp_path: Path) -> None:
    with Broker("kafka-4", tmp_path / "kafka") as broker:
        done = initialise("topics", KAFKA_BROKERS=broker.bootstrap)
        expected = "raw_corporates, raw_customers, raw_transaction_corporate, raw_transaction_personal"
        assert done.stdout == f"topics: made {expected}\n", done.stderr
        assert initialise("topics", KAFKA_BROKERS=broker.bootstrap).stdout == "topics: all there\n"


@pytest.mark.xdist_group(TRINO_GROUP)
def test_schemas(trino: TrinoServer) -> None:
    where = {"TRINO_HOST": "127.0.0.1", "TRINO_PORT": str(trino.port)}
    try:
        done = initialise("schemas", "lake.made_once", **where)
        assert done.stdout == "schemas: made lake.made_once\n", done.stderr
        assert initialise("schemas", "lake.made_once", **where).stdout == "schemas: all there\n"
        assert ["made_once"] in trino.execute("SHOW SCHEMAS FROM lake")
    finally:
        trino.execute("DROP SCHEMA IF EXISTS lake.made_once")
    refused = initialise("schemas", "nowhere.made_once", **where)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)


def test_what_is_wrong_is_one_line() -> None:
    done = initialise("bucket")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    done = initialise("databases")
    assert (done.returncode, done.stderr) == (2, "initialise: the variable 'TIMESCALE_DSN' is not set\n")


def test_every_step_that_compose_names_exists() -> None:
    named = {each["command"][0] for each in services().values() if each.get("restart") == "no"}
    assert named == {"buckets", "databases", "topics", "schemas"}


@pytest.mark.xdist_group(GROUP)
def test_kafka_takes_the_settings_that_its_container_starts_with(tmp_path: Path) -> None:
    """deploy/kafka/start.sh, its two programs being the real ones over a folder of this test."""
    java = Java(require_broker("kafka-4"), tmp_path)
    (tmp_path / "bin").mkdir()
    storage = shlex.join(java.command("kafka.tools.StorageTool"))
    moved = f'sed "s#^log.dirs=.*#log.dirs={tmp_path}/data#" "${{@: -1}}" > {tmp_path}/settings'
    for name, line in (
        ("kafka-storage.sh", f'{moved}\nexec {storage} "${{@:1:$#-1}}" {tmp_path}/settings'),
        ("kafka-server-start.sh", f"{moved}\necho started"),
    ):
        (tmp_path / "bin" / name).write_text(f"#!/usr/bin/env bash\nset -e\n{line}\n")
        (tmp_path / "bin" / name).chmod(0o700)
    environment = {**os.environ, "KAFKA_HOME": str(tmp_path), "CLUSTER_ID": "TAAAAAAAAAAAAAAAAAAAAA"}

    def start(settings: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", str(ROOT / "deploy" / "kafka" / "start.sh"), settings]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)

    for _again in range(2):
        done = start("server.properties")
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.endswith("started\n")
    assert (tmp_path / "data" / "meta.properties").exists()
    assert "HOST://127.0.0.1:9092" in (tmp_path / "settings").read_text()
    done = start("server-zookeeper.properties")
    assert done.stdout == "started\n", done.stderr
    assert "CONTROLLER" not in (tmp_path / "settings").read_text()
