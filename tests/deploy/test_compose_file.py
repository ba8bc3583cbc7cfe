"""docker-compose.yml: pinned, healthy, on loopback, without a password, and each of its parts whole."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.config.environment import read_env_file
from engine.init_env import PROFILES, VARIABLES, init_env
from tests.deploy.compose_file import (
    FILE,
    ROOT,
    UnsetError,
    as_written,
    asked_for,
    interpolated,
    published,
    services,
    texts,
    with_variables,
)
from tests.deploy.compose_programs import require_program

WANTED = {
    *("timescaledb", "prefect_db", "prefect", "pgadmin", "minio", "kafka", "zookeeper", "trino"),
    *("prometheus", "grafana", "worker", "postgres-exporter", "kafka-exporter"),
}
SECRET = re.compile(r"PASSWORD|PASS$|SECRET|ACCESS_KEY|AUTH_STRING|DSN|CONNECTION_URL|ROOT_USER")


def once(service: dict[str, Any]) -> bool:
    return service.get("restart") == "no"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a ${SET} b", "a 1 b"),
        ("${SET:-other}${NOT:-x:y}", "1x:y"),
        ("${SET:?say}", "1"),
        ("$$SET ${NOT} ${NOT:-}", "$SET  "),
    ],
)
def test_variables_are_put_in(text: str, expected: str) -> None:
    assert interpolated(text, {"SET": "1", "EMPTY": ""}) == expected
    with pytest.raises(UnsetError, match="EMPTY: say"):
        interpolated("${EMPTY:?say}", {"EMPTY": ""})


def test_every_server_is_there() -> None:
    assert set(services()) >= WANTED


@pytest.mark.parametrize("name", sorted(services()))
def test_an_image_is_pinned_and_can_be_swapped(name: str) -> None:
    image = services()[name]["image"]
    found = re.fullmatch(r"\$\{(\w+)_IMAGE:-([\w./-]+):([\w.-]+)\}\$\{(\w+)_DIGEST:-\}", image)
    assert found, image
    assert found[1] == found[4]
    assert re.search(r"\d+\.\d+|\d{3}|\d{4}-\d\d", found[3]), f"{found[3]} moves"
    digest = "@sha256:" + "0" * 64
    assert interpolated(image, {f"{found[1]}_IMAGE": "own/one:2", f"{found[1]}_DIGEST": digest}) == f"own/one:2{digest}"


def test_the_origin_of_every_tag_is_named() -> None:
    lines = FILE.read_text(encoding="utf-8").splitlines()
    images = [number for number, line in enumerate(lines) if line.strip().startswith("image:")]
    assert len(images) >= len(WANTED)
    for number in images:
        above = [lines[number - back] for back in (1, 2)]
        assert any("hub.docker.com/" in line or "Dockerfile" in line for line in above), lines[number]
    assert "sha256:" not in "".join(line for line in lines if not line.startswith("#")), "a digest that nobody read"


@pytest.mark.parametrize("name", sorted(services()))
def test_a_service_is_healthy_or_runs_once(name: str) -> None:
    service = services()[name]
    if once(service):
        waits = [each["depends_on"].get(name) for each in services().values() if name in each.get("depends_on", {})]
        assert all(wait["condition"] == "service_completed_successfully" for wait in waits)
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    for other, wait in service.get("depends_on", {}).items():
        expected = "service_completed_successfully" if once(services()[other]) else "service_healthy"
        assert wait["condition"] == expected, other


def test_ports_are_on_loopback_and_nobody_else_s() -> None:
    taken = Counter(
        port for each in services({**dict.fromkeys(asked_for(), "x")}).values() for port in published(each).values()
    )
    kafka = {published(services()[name])[29092] for name in ("kafka", "kafka-zookeeper")}
    assert {port for port, count in taken.items() if count > 1} == kafka, "one Kafka at a time"
    assert len(taken) >= 10


def test_volumes_are_named_and_what_is_mounted_is_there() -> None:
    named = set()
    for name, service in services().items():
        for mount in service.get("volumes", ()):
            source, _, rest = mount.partition(":")
            if source.startswith("./"):
                assert (ROOT / source).exists(), f"{name}: {source}"
                assert rest.endswith(":ro"), f"{name} may write {source}"
            else:
                named.add(source)
    assert named == set(as_written()["volumes"])


def test_no_secret_has_a_default() -> None:
    found = 0
    for name, service in services().items():
        for key, value in (service.get("environment") or {}).items():
            if SECRET.search(key) and value and not key.startswith("SNOWFLAKE"):
                found += 1
                assert ":?" in value, f"{name}: {key} needs ${{NAME:?what to set}}"
    assert found >= 15
    for text in texts(services()):
        assert not re.search(r"\$\{\w*(PASSWORD|SECRET|KEY)\w*:-[^}]", text), text


@pytest.mark.parametrize("profile", [*PROFILES, "zookeeper"])
def test_a_part_starts_alone(profile: str) -> None:
    members = {name: each for name, each in services().items() if profile in each["profiles"]}
    assert members
    for name, service in members.items():
        needed = {other for other, wait in service.get("depends_on", {}).items() if wait.get("required", True)}
        assert needed <= set(members), f"{name} needs what `{profile}` alone does not start"


def test_the_parts_are_those_that_init_env_starts() -> None:
    assert {profile for each in services().values() for profile in each["profiles"]} == {*PROFILES, "zookeeper"}


def test_the_file_needs_the_env_of_init_env_and_nothing_else(tmp_path: Path) -> None:
    names = {name for name, _make, _why in VARIABLES}
    assert asked_for() <= names
    own = {"COMPOSE_PROFILES", "TIMESCALE_DSN", "KAFKA_BROKERS"}  # Compose's own, and the engine's on this machine
    assert names == asked_for() | own
    with pytest.raises(UnsetError, match="engine init-env"):
        services({})


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The file beside what it mounts and an .env that was just written."""
    shutil.copy(FILE, tmp_path)
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    init_env(tmp_path / ".env")
    return tmp_path


def accepted(program: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd)}
    return subprocess.run(
        [str(program), *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_the_compose_specification_s_own_reader_takes_it(project: Path) -> None:
    """Its schema and its checks, on the file with the variables put in: this program looks up none itself."""
    reader = require_program("compose-spec")
    whole = {**as_written(), **with_variables(read_env_file(project / ".env"))}
    written = project / "docker-compose.yml"
    written.write_text(yaml.safe_dump(whole))
    done = accepted(reader, "docker-compose.yml", cwd=project)
    assert done.returncode == 0, done.stderr
    assert set(yaml.safe_load(done.stdout)["services"]) == set(services())
    whole["services"]["worker"]["inti"] = whole["services"]["worker"].pop("init")
    written.write_text(yaml.safe_dump(whole))
    done = accepted(reader, "docker-compose.yml", cwd=project)
    assert done.returncode != 0
    assert "inti" in done.stderr


@pytest.mark.chaos  # its build takes minutes
@pytest.mark.timeout(2000)
def test_docker_compose_takes_it(project: Path) -> None:
    compose = require_program("docker-compose")
    done = accepted(compose, "config", "--services", cwd=project)
    assert done.returncode == 0, done.stderr
    expected = {name for name, each in services().items() if set(each["profiles"]) & set(PROFILES)}
    assert set(done.stdout.split()) == expected
    (project / ".env").unlink()
    done = accepted(compose, "--profile", "lake", "config", "--services", cwd=project)
    assert done.returncode != 0
    assert "engine init-env" in done.stderr
