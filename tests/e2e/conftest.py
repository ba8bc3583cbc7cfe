"""Fixtures of the end-to-end tests: a finished demo, small projects to edit, and the market they ask."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sources.market_replay import MarketReplay
from tests.e2e.engine_project import Ended, EngineProject, make_small, new_project
from tests.servers.databases import snowflake_port, timescale, timescale_dsn
from tests.servers.trino_server import TrinoServer, trino_server

__all__ = ["snowflake_port", "timescale", "timescale_dsn"]
MARKET = "    market: replay\n"


@pytest.fixture
def trino(tmp_path: Path) -> Iterator[TrinoServer]:
    """A Trino that no other test has filled: a project's tables there are of one lake."""
    with trino_server(tmp_path / "trino") as server:
        yield server


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have one worker run all tests that share `finished_small`, which would be made by each."""
    for item in items:
        if "finished_small" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("e2e-small"))


@dataclass(frozen=True, slots=True)
class Demo:
    """A demo that has run: the project, how the command ended, how long it took, and what its market was asked."""

    project: EngineProject
    ended: Ended
    seconds: float
    asked: list[tuple[str, str]]


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """`engine demo --no-app` in a fresh clone, on a market whose requests are known. To be read, not changed."""
    with MarketReplay() as replay:
        project = new_project(tmp_path_factory.mktemp("demo") / "clone")
        project.replace(MARKET, f"{MARKET}    market_url: {replay.url}\n")
        began = time.monotonic()
        ended = project.engine("demo", "--no-app", expect=None)
        seconds = time.monotonic() - began
        project.replace(f"    market_url: {replay.url}\n", "")
        return Demo(project, ended, seconds, [(served.host, served.path) for served in replay.requests])


@pytest.fixture(scope="session")
def finished_small(tmp_path_factory: pytest.TempPathFactory) -> EngineProject:
    """A small project after a run of the crypto pipeline. To be copied, not changed."""
    project = make_small(new_project(tmp_path_factory.mktemp("small") / "finished"))
    project.engine("run", "prices-crypto-pipeline")
    return project


@pytest.fixture
def small_project(tmp_path: Path) -> Callable[..., EngineProject]:
    """Make a small project that has never run; `models=False` leaves the models out."""

    def make(name: str = "project", *, profile: str = "demo", models: bool = True, **env: str) -> EngineProject:
        project = make_small(new_project(tmp_path / name, profile, **env))
        if not models:
            text = project.file.read_text(encoding="utf-8")
            project.file.write_text(
                text.replace("    load: [warehouse, timeseries]\n", "    load: [warehouse]\n    transform: false\n")
            )
        return project

    return make


@pytest.fixture
def ran_project(tmp_path: Path, finished_small: EngineProject) -> EngineProject:
    """A copy of a small project whose crypto pipeline has run."""
    return finished_small.copy(tmp_path / "ran")


@pytest.fixture
def market() -> Iterator[MarketReplay]:
    """A market of the test's own: its requests are known, its faults can be set."""
    with MarketReplay() as replay:
        yield replay
