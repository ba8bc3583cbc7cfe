"""An edit under `engine up`: read, said where it cannot be, and given to a server that is away once it is back."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self
from uuid import uuid4

import pytest

from engine.config.load import load_project
from engine.errors import TickhouseError
from engine.schedules import serving
from engine.schedules.flow_file import modified
from engine.schedules.serving import Serving
from tests.faults.small_project import SmallProject, small_project


@pytest.fixture
def shop(tmp_path: Path) -> SmallProject:
    return small_project(tmp_path)


class Followed:
    """A serving that follows its file twenty times a second; the server takes deployments, or is `away`."""

    def __init__(self, shop: SmallProject, patch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        self.away = False
        self.odd = False
        self.taken: list[list[str]] = []
        path = shop.folder / "pipelines.yaml"
        patch.setattr(serving, "LOOK_SECONDS", 0.05)
        load = lambda: load_project(path, profile="local", env={})  # noqa: E731
        self.serving = Serving(shop.project(), "local", self.said.append, load, named="http://127.0.0.1:1/api")
        patch.setattr(self.serving, "_register", self.register)

    async def register(self) -> dict[str, Any]:
        if self.away:
            raise TickhouseError("the server is away")
        if self.odd:
            raise KeyError("a deployment that went between two questions")
        self.taken.append(list(self.serving.project.file.pipelines))
        return {}

    async def says(self, words: str) -> None:
        for _ in range(200):
            if any(words in line for line in self.said):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(self.said)


def test_a_broken_edit_is_known_until_it_is_mended(shop: SmallProject, monkeypatch: pytest.MonkeyPatch) -> None:
    followed = Followed(shop, monkeypatch)
    text = (shop.folder / "pipelines.yaml").read_text()

    async def edit() -> None:
        following = asyncio.create_task(followed.serving._follow())
        shop.write(text.replace("load: [warehouse]", "loud: [warehouse]"))
        await followed.says("the edited pipelines.yaml is not followed, and every run fails until then: ")
        assert followed.serving.unread.startswith("pipelines.yaml:17 pipelines.daily.loud: ")
        assert "\n" not in followed.serving.unread
        assert list(followed.serving.project.file.pipelines) == ["land", "daily"]
        shop.write(text.replace("  daily:", "  nightly:"))
        await followed.says("the schedules are as pipelines.yaml says now")
        assert followed.serving.unread == ""
        following.cancel()

    asyncio.run(edit())
    assert followed.taken == [["land", "nightly"]]


def test_a_broken_edit_is_noticed_while_the_server_is_away(shop: SmallProject, monkeypatch: pytest.MonkeyPatch) -> None:
    followed = Followed(shop, monkeypatch)
    text = (shop.folder / "pipelines.yaml").read_text()
    followed.away = True

    async def edit() -> None:
        following = asyncio.create_task(followed.serving._follow())
        shop.write(text.replace("  daily:", "  nightly:"))
        await followed.says("is followed once Prefect's server takes it: the server is away")
        shop.write("{")
        await followed.says("every run fails until then: ")
        assert followed.serving.unread
        followed.away = False
        await followed.says("the schedules are as pipelines.yaml says now")
        following.cancel()

    asyncio.run(edit())
    assert followed.taken == [["land", "nightly"]], "the file as it was read last"
    assert sum("is away" in line for line in followed.said) == 1


def test_an_unexpected_error_ends_no_following(shop: SmallProject, monkeypatch: pytest.MonkeyPatch) -> None:
    followed = Followed(shop, monkeypatch)
    text = (shop.folder / "pipelines.yaml").read_text()
    followed.odd = True

    async def edit() -> None:
        following = asyncio.create_task(followed.serving._follow())
        shop.write(text.replace("  daily:", "  nightly:"))
        await followed.says("unexpected KeyError: 'a deployment that went between two questions'")
        followed.odd = False
        await followed.says("the schedules are as pipelines.yaml says now")
        following.cancel()

    asyncio.run(edit())
    assert followed.taken == [["land", "nightly"]]


def test_a_deployment_that_somebody_deleted_is_made_again(shop: SmallProject, monkeypatch: pytest.MonkeyPatch) -> None:
    followed = Followed(shop, monkeypatch)
    followed.serving._ids = {"land": uuid4(), "daily": uuid4()}
    monkeypatch.setattr(serving, "PAUSES_SECONDS", 0.0)
    monkeypatch.setattr(serving, "is_paused", lambda _: False)
    left = SimpleNamespace(id=followed.serving._ids["daily"])

    class Server:
        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

        async def read_deployments(self, **_: object) -> list[SimpleNamespace]:
            return [left]

    monkeypatch.setattr(serving, "get_client", Server)

    async def look() -> None:
        following = asyncio.create_task(followed.serving._follow())
        await followed.says(
            "land was deleted on Prefect's page, and is deployed again: pause it there, or take it out of"
        )
        await followed.says("the schedules are as pipelines.yaml says now")
        following.cancel()

    asyncio.run(look())
    assert followed.taken[0] == ["land", "daily"]


def test_an_edit_of_the_variables_is_an_edit(shop: SmallProject) -> None:
    path = shop.folder / "pipelines.yaml"
    before = modified(path)
    (shop.folder / ".env").write_text("SLACK_WEBHOOK=http://127.0.0.1:1/x\n")
    after = modified(path)
    assert after != before
    os.utime(path, ns=(1, 1))
    assert modified(path) not in {before, after}
