"""A webhook, and a small project that tells it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.config.load import load_project
from engine.config.project import Project
from tests.faults.small_project import SMALL, SmallProject
from tests.servers.webhook import Webhook, webhook_server

SECRET = "hooks-T0451-PlantedSecret-zq7qzq"  # noqa: S105


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with webhook_server(SECRET) as running:
        yield running


class ToldProject(SmallProject):
    """A small project whose failures are told to the webhook."""

    def project(self, profile: str = "local") -> Project:
        env = {"SLACK_WEBHOOK": (self.folder / "webhook").read_text()}
        return load_project(self.folder / "pipelines.yaml", profile=profile, env=env)

    def break_the_shop(self) -> None:
        (self.folder / "in").rename(self.folder / "away")

    def mend_the_shop(self) -> None:
        (self.folder / "away").rename(self.folder / "in")


@pytest.fixture
def told(tmp_path: Path, webhook: Webhook) -> ToldProject:
    project = ToldProject(tmp_path)
    schedule = 'daily: {extract: [shop], load: [warehouse], transform: false, schedule: "*/5 * * * *"}'
    project.write(
        SMALL.replace("daily: {extract: [shop], load: [warehouse], transform: false}", schedule)
        + 'notify: {webhook: "${SLACK_WEBHOOK}"}\n'
    )
    (tmp_path / "webhook").write_text(webhook.url)
    project.orders(1)
    return project
