"""Names, ports and variables are the same in docker-compose.yml, pipelines.yaml, .env and what is mounted."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from pydantic import SecretStr

from engine.config.environment import read_env_file
from engine.config.load import load_project
from engine.init_env import init_env
from engine.schedules.settings import own_server
from tests.deploy.compose_file import ROOT, published, services
from tests.servers.prometheus_server import require_program

DEPLOY = ROOT / "deploy"


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    init_env(tmp_path / ".env")
    return read_env_file(tmp_path / ".env")


def port_of(service: dict[str, Any], address: str) -> int:
    """The port in the container that an address on this machine leads to."""
    host, _, port = address.rpartition(":")
    assert host == "127.0.0.1"
    (target,) = [inside for inside, outside in published(service).items() if outside == int(port)]
    return target


def plain(value: Any) -> str:
    """What a setting holds, secret or not."""
    return str(value.get_secret_value() if isinstance(value, SecretStr) else value)


def profile(env: dict[str, str]) -> tuple[Any, Any]:
    """The lake and the destinations of the profile `compose` with these variables and no others."""
    project = load_project(ROOT / "pipelines.yaml", profile="compose", env=env)
    return project.profile.lake, project.destinations


def test_this_machine_reaches_every_server(variables: dict[str, str]) -> None:
    started = services(variables)
    lake, destinations = profile(variables)
    assert port_of(started["minio"], urlsplit(lake.endpoint).netloc) == 9000
    environment = started["timescaledb"]["environment"]
    dsn = urlsplit(plain(destinations["timeseries"].dsn))
    assert port_of(started["timescaledb"], f"{dsn.hostname}:{dsn.port}") == 5432
    assert dsn.username == environment["POSTGRES_USER"]
    assert dsn.password == environment["POSTGRES_PASSWORD"]
    assert dsn.path == f"/{environment['POSTGRES_DB']}"
    trino = destinations["trino"]
    assert port_of(started["trino"], f"{trino.host}:{trino.port}") == int(started["trino"]["environment"]["TRINO_PORT"])
    assert port_of(started["kafka"], variables["KAFKA_BROKERS"]) == 29092
    assert lake.bucket in started["buckets"]["command"]
    assert urlsplit(trino.files).netloc in started["buckets"]["command"]
    assert plain(lake.access_key) == started["minio"]["environment"]["MINIO_ROOT_USER"]
    assert plain(lake.secret_key) == started["minio"]["environment"]["MINIO_ROOT_PASSWORD"]


def test_the_worker_reaches_every_server_by_its_name(variables: dict[str, str]) -> None:
    started = services(variables)
    environment = {name: value for name, value in started["worker"]["environment"].items() if value}
    lake, destinations = profile(environment)
    dsn = urlsplit(plain(destinations["timeseries"].dsn))
    trino = destinations["trino"]
    brokers = environment["KAFKA_BROKERS"].rpartition(":")
    reached = [
        (urlsplit(lake.endpoint).hostname, urlsplit(lake.endpoint).port),
        (dsn.hostname, dsn.port),
        (trino.host, trino.port),
    ]
    assert [(name, port) for name, port in reached if port not in published(started[str(name)])] == []
    assert (brokers[0], brokers[2]) == ("kafka", "9092")
    assert dsn.password == started["timescaledb"]["environment"]["POSTGRES_PASSWORD"]
    assert plain(lake.secret_key) == started["minio"]["environment"]["MINIO_ROOT_PASSWORD"]


def test_the_worker_reaches_prefect_and_both_are_of_the_version_that_is_locked(variables: dict[str, str]) -> None:
    started = services(variables)
    asked = started["worker"]["environment"]
    address = urlsplit(asked["PREFECT_API_URL"])
    server = started[str(address.hostname)]
    assert address.port in published(server)
    assert address.path == "/api"
    assert asked["PREFECT_API_AUTH_STRING"] == server["environment"]["PREFECT_SERVER_API_AUTH_STRING"]
    (locked,) = re.findall(r"^prefect==(\S+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
    assert server["image"] == f"prefecthq/prefect:{locked}-python3.12"
    vacuum = {name: value for name, value in own_server(Path(), 0).items() if "_DB_VACUUM_" in name}
    assert vacuum
    assert vacuum.items() <= server["environment"].items(), "it keeps runs as long as the one of `engine up`"
    assert server["environment"]["PREFECT_HOME"] in [mount.split(":")[1] for mount in server["volumes"]]


def test_topics_are_those_of_the_file_that_the_worker_reads() -> None:
    (mounted,) = [mount for mount in services()["worker"]["volumes"] if "pipelines.yaml" in mount]
    assert mounted.split(":")[0] == "./pipelines.yaml"
    makers = [each for each in services().values() if each.get("command") == ["topics"]]
    assert len(makers) == 2
    for each in makers:
        program = PurePosixPath(each["entrypoint"][-1])
        assert mounted.split(":")[1] == str(program.parent.parent / "pipelines.yaml")
        assert mounted in each.get("volumes", ())


def test_a_command_in_the_worker_finds_its_profile_and_its_history() -> None:
    worker, image = services()["worker"], (ROOT / "Dockerfile").read_text(encoding="utf-8").split("\nFROM ")[-1]
    (folder,) = re.findall(r"^WORKDIR (\S+)$", image, re.MULTILINE)
    mounts = {target: source for source, target, *_ in (mount.split(":") for mount in worker["volumes"])}
    assert mounts[f"{folder}/pipelines.yaml"] == "./pipelines.yaml"
    name = worker["environment"]["ENGINE_PROFILE"]
    data = PurePosixPath(yaml.safe_load((ROOT / "pipelines.yaml").read_text())["profiles"][name]["data"])
    assert mounts[f"{folder}/{data.parent}"] == "worker"
    assert "ENV PATH=/opt/venv/bin:$PATH" in image


def test_the_worker_is_given_every_variable_of_its_profile() -> None:
    text = (ROOT / "pipelines.yaml").read_text(encoding="utf-8")
    blocks = yaml.safe_load(text)
    named = set(re.findall(r"(?<!\$)\$\{(\w+)", json.dumps([blocks["profiles"]["compose"], blocks["sources"]])))
    assert len(named) > 8
    assert named <= set(services()["worker"]["environment"])


def test_trino_is_given_every_variable_that_its_files_name() -> None:
    files = list((DEPLOY / "trino").rglob("*.properties"))
    named = {name for path in files for name in re.findall(r"\$\{ENV:(\w+)\}", path.read_text())}
    given = services()["trino"]["environment"]
    assert len(named) > 12
    assert named == set(given)
    assert given["TRINO_KAFKA_NODES"] == "kafka:9092"
    assert given["TRINO_TIMESERIES_DATABASE"] == services()["timescaledb"]["environment"]["POSTGRES_DB"]


def test_clients_of_kafka_are_sent_to_where_it_is() -> None:
    for name in ("compose.properties", "compose-kraft.properties"):
        assert "HOST://0.0.0.0:29092" in (DEPLOY / "kafka" / name).read_text()
    settings = (DEPLOY / "kafka" / "compose.properties").read_text()
    (advertised,) = re.findall(r"^advertised.listeners=(.*)$", settings, re.MULTILINE)
    inside, outside = advertised.split(",")
    for name in ("kafka", "kafka-zookeeper"):
        assert outside == f"HOST://127.0.0.1:{published(services()[name])[29092]}"
    assert inside == "PLAINTEXT://kafka:9092"
    assert services()["kafka-zookeeper"]["networks"]["default"]["aliases"] == ["kafka"]


def test_prometheus_asks_services() -> None:
    content = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    targets = [t for job in content["scrape_configs"] for each in job["static_configs"] for t in each["targets"]]
    assert len(targets) >= 6
    hosts = {target.split(":")[0] for target in targets}
    assert hosts - {"127.0.0.1"} <= set(services())


def test_prometheus_asks_the_worker_where_it_serves(variables: dict[str, str]) -> None:
    environment = {name: value for name, value in services(variables)["worker"]["environment"].items() if value}
    settings = load_project(ROOT / "pipelines.yaml", profile="compose", env=environment).profile.metrics
    assert settings is not None
    assert settings.host == "0.0.0.0"  # noqa: S104 - within the container
    assert published(services(variables)["worker"]) == {}
    content = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (target,) = [
        job["static_configs"][0]["targets"] for job in content["scrape_configs"] if job["job_name"] == "tickhouse"
    ]
    assert target == [f"worker:{settings.port}"]


def test_prometheus_takes_its_settings() -> None:
    command = [require_program("promtool"), "check", "config", str(DEPLOY / "prometheus" / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pgadmin_knows_every_database() -> None:
    known = json.loads((DEPLOY / "pgadmin" / "servers.json").read_text())["Servers"].values()
    expected = [
        (name, 5432, each["environment"]["POSTGRES_USER"], each["environment"]["POSTGRES_DB"])
        for name, each in services().items()
        if "POSTGRES_DB" in (each.get("environment") or {})
    ]
    assert [(s["Host"], s["Port"], s["Username"], s["MaintenanceDB"]) for s in known] == expected
    assert not [key for server in known for key in server if "pass" in key.lower()]


def test_grafana_s_settings_name_what_is_mounted() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert 9090 in published(services()["prometheus"])
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "dashboards.yml").read_text())["providers"]
    mounted = [mount.split(":")[1] for mount in services()["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounted


def test_a_run_s_page_links_to_where_a_browser_finds_it(variables: dict[str, str]) -> None:
    started = services(variables)
    environment = {name: value for name, value in started["worker"]["environment"].items() if value}
    links = load_project(ROOT / "pipelines.yaml", profile="compose", env=environment).profile.links
    address = urlsplit(links["Grafana"])
    assert port_of(started["grafana"], address.netloc) == 3000
    boards = [json.loads(path.read_text()) for path in (DEPLOY / "grafana" / "dashboards").glob("*.json")]
    (board,) = [each for each in boards if address.path == f"/d/{each['uid']}"]
    assert [f"var-{each['name']}={{{each['name']}}}" for each in board["templating"]["list"]] == [address.query]
    assert port_of(started["prefect"], urlsplit(environment["PREFECT_UI_URL"]).netloc) == 4200
