"""A pause on Prefect's page while `engine up` runs is noted, and so is its end. The server is a stand-in."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self
from uuid import uuid4

import httpx
import pytest

from engine.config.load import load_project
from engine.ledger import Ledger
from engine.schedules import serving
from engine.schedules.deployments import SLUG
from tests.faults.small_project import SMALL, SmallProject


def test_a_pause_is_noted_while_it_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SmallProject(tmp_path).write(SMALL)
    project = load_project(tmp_path / "pipelines.yaml")
    ledger = Ledger(project.data_dir)
    schedule = SimpleNamespace(slug=SLUG, active=True)
    daily = SimpleNamespace(id=uuid4(), paused=False, schedules=[schedule])
    away: list[bool] = []

    class Client:
        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

        async def read_deployments(self, **_: object) -> list[Any]:
            if away:
                raise httpx.ConnectError("it is away")
            return [daily]

    monkeypatch.setattr(serving, "get_client", lambda **_: Client())
    served = serving.Serving(project, "local", print, lambda: project, named="http://127.0.0.1:9/api")
    served._ids = {"daily": daily.id}
    for stopped, active in ((False, True), (False, False), (True, True), (False, True)):
        daily.paused, schedule.active = stopped, active
        asyncio.run(served._ask_paused())
        paused = stopped or not active
        assert (ledger.paused_since("daily") is not None, "daily" in served.paused) == (paused, paused)
    daily.paused = True
    away.append(True)
    asyncio.run(served._ask_paused())
    assert served.paused == frozenset()
