"""Who looks after a webhook that takes nothing: the log says it once, status and doctor as long as it is so."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from engine.attend import attended
from engine.cli import cli
from engine.doctor import _messages
from engine.ledger import Ledger
from engine.notify import Lookout
from engine.notify.heard import unheard
from engine.notify.runs import tell_run
from engine.status import status
from tests.unit.notify.conftest import SECRET, ToldProject, Webhook
from tests.unit.notify.test_notify import NOON, failed

AWAY = "http://127.0.0.1:1/services/x"


def until(enough: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not enough():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_webhook_that_refuses_is_shown_until_it_takes_a_message(told: ToldProject, webhook: Webhook) -> None:
    project = told.project()
    assert unheard(project) == ""
    webhook.status = 404
    for minutes in (0, 5):
        tell_run(project, failed("daily", "timeseries"), NOON + timedelta(minutes=minutes))
    why = "the last one is not known to have arrived (127.0.0.1 answered 404; so since 2026-03-01 12:00 UTC)"
    assert unheard(project) == why
    assert [note for note in status(project)["notes"] if "messages" in note] == [f"messages: {why}"]
    shown = CliRunner().invoke(
        cli, ["status", "-f", str(told.folder / "pipelines.yaml")], env={"SLACK_WEBHOOK": webhook.url}
    )
    assert f"note: messages: {why}\n" in shown.output
    (finding,) = _messages(project)
    assert (finding.ok, finding.detail) == (False, why)
    assert SECRET not in (told.data / "state" / "last-message.json").read_text()
    webhook.status = 200
    tell_run(project, failed("daily", "timeseries"), NOON)
    assert unheard(project) == ""
    (finding,) = _messages(project)
    assert (finding.ok, finding.detail) == (
        True,
        "tells of failure, recovery, lateness; the webhook's host answers",
    )
    assert len(webhook.texts) == 1, "to ask the host tells nobody anything"


def test_a_message_whose_record_cannot_be_written_is_told_once(told: ToldProject, webhook: Webhook) -> None:
    (told.data / "state" / "last-message.new").mkdir(parents=True)
    for minutes in (0, 5):
        assert tell_run(told.project(), failed("daily", "timeseries"), NOON + timedelta(minutes=minutes)) == []
    assert len(webhook.texts) == 1


def test_another_address_has_another_record(told: ToldProject, webhook: Webhook) -> None:
    webhook.status = 404
    tell_run(told.project(), failed("daily", "timeseries"), NOON)
    (told.folder / "webhook").write_text(AWAY)
    project = told.project()
    assert unheard(project) == ""
    (finding,) = _messages(project)
    assert (finding.ok, finding.detail) == (False, "127.0.0.1 cannot be reached (ConnectionError)")


def test_a_webhook_that_does_not_answer_is_told_nothing_twice_and_shown(
    told: ToldProject, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.notify.webhook.ANSWER_SECONDS", 0.1)
    webhook.delay = 0.5
    project = told.project()
    for _ in range(2):
        assert tell_run(project, failed("daily", "timeseries"), NOON) == []
    until(lambda: len(webhook.texts) == 1)
    assert "127.0.0.1 does not answer in time; the message may have arrived" in unheard(project)


def test_a_long_running_process_says_it_once_and_its_end(
    told: ToldProject, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.notify.lookout.EVERY_SECONDS", 0.02)
    project, said = told.project(), list[str]()
    webhook.status = 500
    with attended(lambda: project, said.append):
        tell_run(project, failed("daily", "timeseries"))  # as a run in another process does
        until(lambda: len(said) == 1)
        time.sleep(0.2)
        assert len(said) == 1
        assert said[0].startswith("messages: the last one is not known to have arrived (127.0.0.1 answered 500; so")
        webhook.status = 200
        tell_run(project, failed("daily", "timeseries"))
        until(lambda: len(said) == 2)
    assert said[1] == "messages: none fails any more"


def test_notify_that_an_edit_adds_is_taken_up(
    told: ToldProject, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.notify.lookout.EVERY_SECONDS", 0.02)
    with_it = told.project()
    text = (told.folder / "pipelines.yaml").read_text()
    told.write(text.partition("notify:")[0])
    followed = [told.project()]
    Ledger(told.data).start("r1", "daily", datetime.now(UTC))  # which nobody runs: it has died
    with attended(lambda: followed[0], str):
        time.sleep(0.1)
        assert webhook.texts == []
        followed[0] = with_it
        until(lambda: len(webhook.texts) == 1)
    assert "died before it ended" in webhook.texts[0]


def test_a_file_that_cannot_be_read_is_told_once_and_its_end_once(told: ToldProject, webhook: Webhook) -> None:
    """By the settings of the file as it was read last; a process that does not follow the file says nothing of it."""
    project, why = told.project(), ["pipelines.yaml:9  pipelines.daily: unknown key 'loud' — Remove it."]
    lookout = Lookout(lambda: project, lambda: why[0])
    for minutes in (0, 1, 2):
        lookout.look(NOON + timedelta(minutes=minutes))
    (text,) = webhook.texts
    assert text.startswith(
        "FAILED: pipelines.yaml\n• edit: it cannot be read, and every run fails until it is corrected: "
        "pipelines.yaml:9 pipelines.daily: unknown key 'loud' — Remove it.\n"
    )
    Lookout(lambda: project).look(NOON + timedelta(minutes=3))
    assert len(webhook.texts) == 1
    why[0] = ""
    for minutes in (4, 5):
        lookout.look(NOON + timedelta(minutes=minutes))
    assert webhook.texts[1].startswith(
        "WORKS AGAIN: pipelines.yaml\n• edit, after 4 min: it can be read again, and every run goes by it\n"
    )
    assert len(webhook.texts) == 2
