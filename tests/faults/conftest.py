"""Fixtures of the fault tests: a small project, the replay it asks, and the engine's runs."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.fake_api import FakeApi, Reply
from tests.faults.trial import Replay, Server, Trial, write_project


@pytest.fixture(scope="session")
def fork_server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def replay_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replay]:
    replay = Replay(tmp_path_factory.mktemp("replay") / "ledger.jsonl")
    yield replay
    replay.stop()


@pytest.fixture
def replay(replay_process: Replay) -> Iterator[Replay]:
    """The market replay, healthy at the beginning of each test and after it."""
    replay_process.heal()
    yield replay_process
    replay_process.heal()


@pytest.fixture
def new_project(replay: Replay, fork_server: Server) -> Callable[[Path], Trial]:
    """Makes projects that have never run, each with one file to load."""

    def make(folder: Path) -> Trial:
        write_project(folder, replay.url)
        trial = Trial(folder, replay, fork_server)
        trial.add_file("first")
        return trial

    return make


@pytest.fixture
def empty_project(tmp_path: Path, new_project: Callable[[Path], Trial]) -> Trial:
    """A project that has never run, with one file to load."""
    return new_project(tmp_path / "project")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, replay_process: Replay, fork_server: Server) -> Trial:
    """A project after its first two runs: to be copied, not changed."""
    folder = tmp_path_factory.mktemp("finished") / "project"
    write_project(folder, replay_process.url)
    trial = Trial(folder, replay_process, fork_server)
    trial.add_file("first")
    ended = trial.run()
    assert ended.code == 0, ended.text
    trial.first_run_seconds = ended.seconds
    ended = trial.run()
    assert ended.code == 0, ended.text
    trial.later_run_seconds = ended.seconds
    return trial


@pytest.fixture
def project(tmp_path: Path, finished: Trial, replay: Replay) -> Trial:
    """A copy of a project after its first two runs."""
    return finished.copy(tmp_path / "project")


@pytest.fixture
def engine(project: Trial) -> Callable[..., object]:
    """`engine("run", "everything")`: run the command in the project; the result has code, stdout, stderr."""
    return project.engine


@pytest.fixture
def seeded(request: pytest.FixtureRequest) -> random.Random:
    """A generator whose seed is printed; FAULTS_SEED repeats a run."""
    seed = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"{request.node.name}: FAULTS_SEED={seed}")  # noqa: T201 - pytest shows it when the test fails
    return random.Random(seed)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    """One that gives one row."""
    with FakeApi(tmp_path / "ledger.jsonl", lambda _: Reply([{"id": 1, "name": "one", "price": "1.5"}])) as running:
        yield running
