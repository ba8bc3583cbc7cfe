"""The cache of a broker's jars: fetched once however many ask, whole or not there, and a reason where it fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kafka import jars

FETCHES = """#!/bin/sh
echo asked >> "$0.log"
for each; do case "$each" in -DoutputDirectory=*) folder=${each#*=};; esac; done
mkdir "$folder" && sleep 0.5 && echo jar > "$folder/kafka.jar"
"""
FAILS = """#!/bin/sh
echo "[ERROR] no network"
exit 1
"""


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A PATH on which java is, and mvn as the test writes it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    command(folder, "java", "#!/bin/sh\n")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CI_REQUIRE_SERVERS", raising=False)
    jars._found.cache_clear()
    yield folder
    jars._found.cache_clear()  # what was found here is no broker: the tests beside these ask again


def command(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def test_two_who_ask_at_once_fetch_once(commands: Path, tmp_path: Path) -> None:
    command(commands, "mvn", FETCHES)
    found: list[Path] = []
    asking = [threading.Thread(target=lambda: found.append(jars.jars("kafka-4"))) for _ in range(3)]
    for each in asking:
        each.start()
    for each in asking:
        each.join(30)
    assert len(found) == 3
    assert len({*found}) == 1
    assert (found[0] / "kafka.jar").read_text() == "jar\n"
    assert (commands / "mvn.log").read_text() == "asked\n"
    assert {each.name for each in (tmp_path / "cache/tickhouse").iterdir()} == {found[0].name, f"{found[0].name}.lock"}


def test_a_fetch_that_fails_leaves_nothing_and_is_a_skip_with_its_reason(commands: Path, tmp_path: Path) -> None:
    command(commands, "mvn", FAILS)
    with pytest.raises(pytest.skip.Exception, match=r"kafka-4: Maven could not fetch it: \[ERROR\] no network"):
        jars.require_broker("kafka-4")
    assert not [each for each in (tmp_path / "cache/tickhouse").iterdir() if each.is_dir()]


def test_where_servers_are_required_it_is_a_failure(commands: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(commands, "mvn", FAILS)
    monkeypatch.setenv("CI_REQUIRE_SERVERS", "1")
    with pytest.raises(pytest.fail.Exception, match="no network"):
        jars.require_broker("kafka-4")


@pytest.mark.parametrize("missing", ["java", "mvn"])
def test_a_command_that_is_missing_is_named(missing: str, commands: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(commands, "mvn", FETCHES)
    (commands / missing).unlink()
    monkeypatch.setenv("PATH", str(commands))
    with pytest.raises(pytest.skip.Exception, match=f"there is no `{missing}` on PATH"):
        jars.require_broker("kafka-4")
