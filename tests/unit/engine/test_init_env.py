"""`engine init-env`: secrets that nobody else has, in a file that nobody else reads, and nothing overwritten."""

from __future__ import annotations

import stat
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from engine.cli import cli
from engine.config.environment import read_env_file
from engine.config.load import load_project
from engine.errors import UsageError
from engine.init_env import VARIABLES, init_env
from sources.kafka.mock import MOCK
from tests.deploy.compose_file import ROOT

NAMES = [name for name, _make, _why in VARIABLES]
SECRET = ("S3_ACCESS_KEY", "S3_SECRET_KEY", *(name for name in NAMES if name.endswith("PASSWORD")))


def test_a_new_file_has_every_variable_and_is_its_owners(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    assert init_env(file) == (NAMES, [])
    values = read_env_file(file)
    assert list(values) == NAMES
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [".env"]
    address = urlsplit(values["TIMESCALE_DSN"])
    assert address.password == values["TIMESCALE_PASSWORD"]


def test_secrets_are_long_and_never_the_same(tmp_path: Path) -> None:
    found = []
    for name in ("one", "other"):
        init_env(tmp_path / name)
        values = read_env_file(tmp_path / name)
        found += [values[secret] for secret in SECRET]
    assert len(SECRET) == 8
    assert len(set(found)) == len(found)
    assert min(map(len, found)) >= 32


def test_what_is_there_stays_and_what_is_missing_is_added(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    before = (
        "# mine\nexport S3_SECRET_KEY='my own'\nOTHER=1\nPGADMIN_PASSWORD=\nTIMESCALE_DSN=postgresql://me:p%40ss@db/x"
    )
    file.write_text(before)
    file.chmod(0o644)
    added, kept = init_env(file)
    assert kept == ["S3_SECRET_KEY", "TIMESCALE_DSN"]
    assert set(added) == set(NAMES) - set(kept)
    assert file.read_text().startswith(before + "\n")
    values = read_env_file(file)
    assert values["S3_SECRET_KEY"] == "my own"  # noqa: S105 - a test's
    assert values["OTHER"] == "1"
    assert len(values["PGADMIN_PASSWORD"]) >= 32
    assert values["TIMESCALE_PASSWORD"] == "p@ss"  # noqa: S105 - the one that the address has
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_second_time_nothing_changes(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    init_env(file)
    before = file.read_bytes()
    assert init_env(file) == ([], NAMES)
    assert file.read_bytes() == before


def test_a_file_that_is_none_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("a secret without a name\n")
    with pytest.raises(UsageError, match=r"\.env:1  not a NAME=value line") as raised:
        init_env(file)
    assert "secret" not in str(raised.value)
    assert file.read_text() == "a secret without a name\n"
    with pytest.raises(UsageError, match="cannot be written"):
        init_env(tmp_path / "missing" / ".env")


def test_the_command_says_names_and_shows_no_value(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    done = CliRunner().invoke(cli, ["init-env", "--env-file", str(file)], catch_exceptions=False)
    assert done.exit_code == 0
    assert all(name in done.output for name in NAMES)
    values = read_env_file(file)
    assert not [name for name in SECRET if values[name] in done.output]
    again = CliRunner().invoke(cli, ["init-env", "--env-file", str(file), "--json"], catch_exceptions=False)
    assert '"added": []' in again.output


def test_the_demo_beside_it_still_asks_no_server(tmp_path: Path) -> None:
    init_env(tmp_path / ".env")
    env = read_env_file(tmp_path / ".env")
    project = load_project(ROOT / "pipelines.yaml", profile="demo", env=env)
    assert project.sources["kafka"].brokers == MOCK
    assert load_project(ROOT / "pipelines.yaml", profile="local", env=env).sources["kafka"].brokers == "127.0.0.1:9092"


@pytest.mark.parametrize("more", ["", "security: {protocol: SSL}"], ids=["open", "secure"])
@pytest.mark.parametrize("brokers", ["10.0.0.1:9092", "${BROKERS}"])
@pytest.mark.parametrize("broker", ["mock", "live"])
def test_a_profile_with_a_mock_has_it_whatever_the_brokers_are(
    broker: str, brokers: str, more: str, tmp_path: Path
) -> None:
    source = f'type: kafka, brokers: "{brokers}", resources: {{orders: {{}}}}, {more}'
    (tmp_path / "pipelines.yaml").write_text(
        f"profiles: {{local: {{broker: {broker}, lake: {{type: filesystem, path: lake}}}}}}\n"
        f"sources: {{stream: {{{source}}}}}\n"
        "pipelines: {one: {extract: [stream]}}\n"
    )
    found = load_project(tmp_path / "pipelines.yaml", env={"BROKERS": "10.0.0.1:9092"}).sources["stream"]
    expected = (MOCK, True) if broker == "mock" else ("10.0.0.1:9092", not more)
    assert (found.brokers, found.security is None) == expected
