"""Every command that a page names exists with those options, and the cheap ones run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from engine.cli import cli
from tests.docs.pages import ROOT, commands

NAMED = sorted({(page, *words) for page, words in commands()})
CHEAP = {"validate", "plan", "ls", "schema"}
NOT_YET = {"ask", "dashboard"}
"""Commands that pages name only to say that they do not exist yet."""


def engine(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the real command."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("engine")), *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def options(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


def test_pages_name_commands() -> None:
    assert len({words[1] for words in NAMED if words[1] == "engine"}) == 1
    assert {words[2] for words in NAMED if words[1] == "engine" and len(words) > 2} >= {"run", "query", "replay"}


@pytest.mark.parametrize("named", NAMED, ids=" ".join)
def test_a_command_on_a_page_exists(named: tuple[str, ...]) -> None:
    _page, tool, *words = named
    if tool == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        return
    given = [word.split("=")[0] for word in words if word.startswith("-")]
    name = next((word for word in words if not word.startswith("-")), "")
    if name in NOT_YET:
        assert name not in cli.commands, f"{name} exists now: say so on the pages"
        return
    assert name in cli.commands
    assert set(given) <= options(cli.commands[name])


def test_the_cheap_commands_on_the_pages_run(tmp_path: Path) -> None:
    for name in ("pipelines.yaml", "transforms", "data"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    cheap = {words[2:] for words in NAMED if words[1] == "engine" and len(words) > 2 and words[2] in CHEAP}
    assert {words[0] for words in cheap} == CHEAP
    for words in sorted(cheap):
        done = engine(*(word for word in words if word != "PIPELINE"), cwd=tmp_path)
        assert done.returncode == 0, (words, done.stderr)


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_and_option_has_help(name: str) -> None:
    command = cli.commands[name]
    assert (command.help or "").strip()
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert (parameter.help or "").strip(), parameter.name


def test_help_is_shown(tmp_path: Path) -> None:
    done = engine("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert all(f"\n  {name} " in done.stdout for name in cli.commands)


def test_errors_and_messages_name_only_options_that_exist() -> None:
    known = {option for command in cli.commands.values() for option in options(command)} | {"--version"}
    foreign = {"--all-extras", "--require-hashes", "--gateway", "--paths"}  # uv's, pip's, sqlmesh's
    for path in [*(ROOT / "engine").rglob("*.py"), *(ROOT / "destinations").rglob("*.py")]:
        named = set(re.findall(r"(?<![\w`-])--[a-z][a-z-]+", path.read_text(encoding="utf-8")))
        assert named <= known | foreign, path.name
