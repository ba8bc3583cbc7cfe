"""Who is told what, how often, and that telling never costs a run more than a few seconds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine import notify
from engine.attend import attended
from engine.cli import cli
from engine.config.load import load_project
from engine.config.problems import ConfigError
from engine.doctor import examine
from engine.ledger import Ledger
from engine.locks import hold
from engine.notify import Lookout, memory, runs
from engine.notify.memory import Broken, Change
from engine.notify.runs import broken_by, tell_run
from engine.notify.texts import message
from engine.notify.webhook import WHOLE_SECONDS
from engine.report import DestinationReport, ResourceReport, RunReport, TransformReport
from engine.standing import note_deployed
from engine.status import status as standing_of
from engine.words import length
from tests.unit.notify.conftest import SECRET, ToldProject, Webhook

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def noted(told: ToldProject) -> list[str]:
    """What is noted as broken."""
    return [thing.key for thing in memory.Memory(told.data, timedelta()).broken()]


def test_a_failure_is_told_once_and_its_end_once(told: ToldProject, webhook: Webhook) -> None:
    assert told.run().status == "ok"
    assert webhook.texts == []
    assert noted(told) == []
    told.break_the_shop()
    assert told.run().status == "partial"
    (text,) = webhook.texts
    assert text.startswith("FAILED: daily\n• source shop: there is no folder in — Create it")
    assert "engine status -p local" in text
    assert told.run().status == "partial"
    assert len(webhook.texts) == 1
    told.mend_the_shop()
    assert told.run().status == "ok"
    assert told.run().status == "ok"
    assert len(webhook.texts) == 2
    assert webhook.texts[1].startswith("WORKS AGAIN: daily\n• source shop, after less than a minute: ")


def failed(pipeline: str = "daily", *destinations: str) -> RunReport:
    report = RunReport("r", pipeline, "local", "")
    report.destinations = [DestinationReport(name, "failed", errors=[f"{name}: is away"]) for name in destinations]
    return report


def worked(pipeline: str, *destinations: str) -> RunReport:
    report = RunReport("r", pipeline, "local", "")
    report.destinations = [DestinationReport(name, "loaded") for name in destinations]
    return report


@pytest.mark.faults
def test_o03_a_destination_that_is_down_for_a_day(told: ToldProject, webhook: Webhook) -> None:
    project = told.project()
    for number in range(289):  # every five minutes, from noon to noon
        tell_run(project, failed("daily", "timeseries"), NOON + timedelta(minutes=5 * number))
    assert [text.split("\n")[0] for text in webhook.texts] == ["FAILED: daily", "STILL SO: daily"]
    assert "• destination timeseries, for 1 d now: is away" in webhook.texts[1]
    tell_run(project, worked("daily", "timeseries"), NOON + timedelta(days=1, minutes=5))
    assert "• destination timeseries, after 1 d 5 min: this run has caught up" in webhook.texts[2]
    assert len(webhook.texts) == 3


def test_a_destination_is_told_once_for_all_pipelines(told: ToldProject, webhook: Webhook) -> None:
    project = told.project()
    for pipeline in ("daily", "land", "daily"):
        tell_run(project, failed(pipeline, "timeseries"), NOON)
    assert len(webhook.texts) == 1
    tell_run(project, worked("land", "warehouse"), NOON)  # says nothing of the other destination
    assert len(webhook.texts) == 1
    tell_run(project, worked("land", "timeseries"), NOON)
    tell_run(project, worked("daily", "timeseries"), NOON)
    assert len(webhook.texts) == 2


def test_another_thing_that_breaks_is_told(told: ToldProject, webhook: Webhook) -> None:
    project = told.project()
    tell_run(project, failed("daily", "timeseries"), NOON)
    both = failed("daily", "timeseries")
    both.transforms = [TransformReport("warehouse", "failed", error="check failed", remedy="Mend it.")]
    tell_run(project, both, NOON)
    tell_run(project, both, NOON)
    assert len(webhook.texts) == 2
    assert "• models on warehouse: check failed — Mend it." in webhook.texts[1]
    assert "timeseries" not in webhook.texts[1]


def test_models_that_were_not_tried_do_not_work_again(told: ToldProject, webhook: Webhook) -> None:
    project = told.project()
    broken = worked("daily", "warehouse")
    broken.transforms = [TransformReport("warehouse", "failed", error="check failed")]
    tell_run(project, broken, NOON)
    tell_run(project, worked("daily", "warehouse"), NOON)
    assert len(webhook.texts) == 1
    mended = worked("daily", "warehouse")
    mended.transforms = [TransformReport("warehouse", "built")]
    tell_run(project, mended, NOON)
    assert webhook.texts[1].startswith("WORKS AGAIN")


def test_what_was_stopped_is_no_failure(told: ToldProject, webhook: Webhook) -> None:
    report = failed("daily", "timeseries")
    report.errors = ["the run was stopped: what was landed stays"]
    tell_run(told.project(), report, NOON)
    assert webhook.texts == []


def test_a_run_that_cannot_even_begin_is_told(told: ToldProject, webhook: Webhook) -> None:
    (told.folder / "lake").write_text("no folder")
    with pytest.raises(Exception, match="lake"):
        told.run()
    assert "• run: " in webhook.texts[0]


@pytest.mark.parametrize("status", [404, 500])
def test_a_webhook_that_refuses_is_tried_by_the_next_run(told: ToldProject, webhook: Webhook, status: int) -> None:
    told.break_the_shop()
    webhook.status = status
    report = told.run()
    (note,) = [note for note in report.notes if "nobody" in note]
    assert note == f"nobody was told of this: 127.0.0.1 answered {status}; the next run tries again"
    webhook.status = 200
    told.run()
    told.run()
    assert len(webhook.texts) == 1
    webhook.status = status
    told.mend_the_shop()
    assert told.run().status == "ok"
    webhook.status = 200
    told.run()
    assert [text.split(":")[0] for text in webhook.texts] == ["FAILED", "WORKS AGAIN"]


def test_a_webhook_that_is_away_or_silent_delays_a_run_by_seconds(told: ToldProject, webhook: Webhook) -> None:
    project = told.project()
    webhook.delay = 4
    began = time.monotonic()
    assert tell_run(project, failed("daily", "timeseries"), NOON) == []  # it may have arrived: nobody is told twice
    assert time.monotonic() - began < WHOLE_SECONDS
    (told.folder / "webhook").write_text("http://127.0.0.1:1/services/x")
    began = time.monotonic()
    (note,) = tell_run(told.project(), failed("daily", "other"), NOON)
    assert "127.0.0.1 cannot be reached" in note
    assert time.monotonic() - began < 2


def test_failures_of_the_same_second_are_told_one_after_the_other(
    told: ToldProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts: list[str] = []

    def slowly(_url: str, text: str) -> str:
        time.sleep(2.6)
        texts.append(text)
        return ""

    monkeypatch.setattr(runs, "post", slowly)
    project = told.project()
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(tell_run, project, failed("daily", name), NOON) for name in ("timeseries", "warehouse")]
    assert [each.result() for each in both] == [[], []]
    assert sorted(text.split()[4] for text in texts) == ["timeseries:", "warehouse:"]
    assert memory.LOCK_SECONDS >= 5 * WHOLE_SECONDS


def test_what_could_not_be_told_in_time_is_told_by_who_looks_next(
    told: ToldProject, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = told.project()
    monkeypatch.setattr(memory, "LOCK_SECONDS", 0.0)
    with hold(told.data / "locks" / "notify.lock", "telling people"):
        for pipeline in ("daily", "land", "mended"):
            (note,) = tell_run(project, failed(pipeline, f"of-{pipeline}"), NOON)
            assert note.startswith("nobody was told of this yet: others have been telling people for 33 s, and ")
            assert note.endswith("`engine up` tells it within a minute, or the next run does")
    assert tell_run(project, worked("mended", "of-mended"), NOON) == []
    assert webhook.texts == []
    for _ in range(2):
        assert Lookout(lambda: project).look(NOON) == []
    assert [text.split("\n")[0] for text in webhook.texts] == ["FAILED: land", "FAILED: daily"]
    assert [text.split("\n")[1] for text in webhook.texts] == [
        f"• destination of-{name}: is away" for name in ("land", "daily")
    ]
    assert list((told.data / "state").glob("untold-*")) == []


def test_a_late_pipeline_is_told_once_and_when_it_runs_again(told: ToldProject, webhook: Webhook) -> None:
    project = told.project()
    ledger = Ledger(told.data)
    lookout = Lookout(lambda: project)
    lookout.look(NOON)
    assert webhook.texts == []  # it never ran, and no process serves it: nobody waits for it
    ledger.start("r1", "daily", NOON)
    ledger.finish("r1", NOON, "ok", {})
    for minutes in (1, 5, 9):
        lookout.look(NOON + timedelta(minutes=minutes))
    assert webhook.texts == []
    for minutes in (10, 11, 60):
        lookout.look(NOON + timedelta(minutes=minutes))
    (text,) = webhook.texts
    assert text.startswith(
        "LATE: daily\n• schedule: a run was due at 2026-03-01 12:05 UTC, 5 min ago, and none has begun"
    )
    assert "engine run daily -p local" in text
    ledger.start("r2", "daily", NOON + timedelta(minutes=61))
    ledger.finish("r2", NOON + timedelta(minutes=61), "ok", {})
    lookout.look(NOON + timedelta(minutes=62))
    lookout.look(NOON + timedelta(minutes=63))
    assert len(webhook.texts) == 2
    assert webhook.texts[1].startswith("WORKS AGAIN: daily\n• schedule, after 52 min: a run has begun")


def minutes_after(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def test_a_pipeline_that_is_served_and_never_runs_is_late(told: ToldProject, webhook: Webhook) -> None:
    project, ledger = told.project(), Ledger(told.data)
    lookout = Lookout(lambda: project)
    note_deployed(project, ledger, None, NOON)
    note_deployed(project, ledger, None, minutes_after(8))  # a restart: it is waited for since noon
    lookout.look(minutes_after(9))
    assert webhook.texts == []
    lookout.look(minutes_after(125))
    (text,) = webhook.texts
    assert text.startswith(
        "LATE: daily\n• schedule: a run was due at 2026-03-01 12:05 UTC, 2 h ago, and none has ever begun"
    )
    ledger.start("r1", "daily", minutes_after(126))
    lookout.look(minutes_after(127))
    assert "WORKS AGAIN: daily\n• schedule, after 2 min: a run has begun" in webhook.texts[1]


def test_a_schedule_is_waited_for_from_the_edit_that_made_it(told: ToldProject, webhook: Webhook) -> None:
    ledger = Ledger(told.data)
    ledger.start("r1", "daily", NOON - timedelta(days=90))
    ledger.finish("r1", NOON - timedelta(days=90), "ok", {})
    note_deployed(told.project(), ledger, None, NOON - timedelta(days=90))
    text = (told.folder / "pipelines.yaml").read_text()
    told.write(text.replace("*/5 * * * *", "0 * * * *"))
    project = told.project()
    note_deployed(project, ledger, None, NOON)
    Lookout(lambda: project).look(minutes_after(89))
    assert webhook.texts == []
    Lookout(lambda: project).look(minutes_after(90))
    assert "due at 2026-03-01 13:00 UTC, 30 min ago" in webhook.texts[0]


def test_what_is_paused_is_not_late_and_is_waited_for_from_when_it_goes_on(told: ToldProject, webhook: Webhook) -> None:
    project, ledger = told.project(), Ledger(told.data)
    note_deployed(project, ledger, None, NOON)
    ledger.pause({"daily": True, "land": False}, minutes_after(1))
    ledger.pause({"daily": True}, minutes_after(60))
    lookout = Lookout(lambda: project)
    assert lookout.look(minutes_after(60)) == []
    stands = {each["pipeline"]: each for each in standing_of(project)["pipelines"]}
    daily, land = stands["daily"], stands["land"]
    assert (daily["paused_since"], daily["due_at"], daily["late_seconds"]) == (minutes_after(1).isoformat(), None, None)
    assert land["paused_since"] is None
    shown = CliRunner().invoke(cli, ["status", "--file", str(told.folder / "pipelines.yaml")])
    assert "  daily: paused on Prefect's page since 2026-03-01 12:01 UTC: no run is due\n" in shown.output
    ledger.pause({"daily": False}, minutes_after(61))
    assert lookout.look(minutes_after(64)) == []
    assert webhook.texts == []
    lookout.look(minutes_after(71))
    assert webhook.texts[0].startswith("LATE: daily\n• schedule: a run was due at 2026-03-01 13:05 UTC")
    ledger.pause({"daily": True}, minutes_after(72))
    lookout.look(minutes_after(73))
    assert len(webhook.texts) == 1, "a pause is no recovery"
    note_deployed(project, ledger, "daily", minutes_after(74))  # `engine run daily --repeat`
    assert ledger.paused_since("daily") is None


def test_who_repeats_one_pipeline_waits_for_that_one(told: ToldProject) -> None:
    text = (told.folder / "pipelines.yaml").read_text()
    told.write(text.replace("load: [], transform: false}", 'load: [], transform: false, schedule: "0 * * * *"}'))
    project, ledger = told.project(), Ledger(told.data)
    note_deployed(project, ledger, "daily", NOON)
    found = [ledger.deployed_since(name, f"{block.schedule} UTC") for name, block in project.file.pipelines.items()]
    assert found == [None, NOON]
    note_deployed(project, ledger, None, minutes_after(1))
    assert ledger.deployed_since("land", "0 * * * * UTC") == minutes_after(1)
    assert ledger.deployed_since("daily", "*/5 * * * * UTC") == NOON


def past(status: str = "landed", error: str | None = None, to: str = "2026-02-01") -> RunReport:
    report = RunReport("b", "daily", "local", "", backfill=f"2026-01-01T00:00:00+00:00/{to}T00:00:00+00:00")
    report.resources = [ResourceReport("shop", "orders", "raw_orders", status, error=error)]  # type: ignore[arg-type]
    return report


def test_a_backfill_tells_no_recovery_of_what_the_next_run_will_meet(told: ToldProject, webhook: Webhook) -> None:
    project = told.project()
    broken = failed("daily", "timeseries")
    broken.errors = ["the lake is damaged"]
    broken.resources = [ResourceReport("shop", "orders", "raw_orders", "failed", error="shop: is away")]
    tell_run(project, broken, NOON)
    for status in ("unchanged", "landed"):  # a range that is landed already, or that the shop still has
        tell_run(project, past(status), minutes_after(5))
    assert len(webhook.texts) == 1
    whole = past()
    whole.destinations = [DestinationReport("timeseries", "loaded")]
    tell_run(project, whole, minutes_after(6))
    assert [line for line in webhook.texts[1].split("\n") if line.startswith("•")] == [
        "• destination timeseries, after 6 min: this run has caught up, nothing is left to do"
    ]
    mended = worked("daily")
    mended.resources = [ResourceReport("shop", "orders", "raw_orders")]
    tell_run(project, mended, minutes_after(10))
    assert "• source shop, after 10 min" in webhook.texts[2]
    assert "• run, after 10 min" in webhook.texts[2]


def test_a_backfill_s_failure_ends_with_the_same_range(told: ToldProject, webhook: Webhook) -> None:
    project = told.project()
    tell_run(
        project, past("landed", "shop.orders: 1 of 2 assets missing in window 2026-01-01 to 2026-02-01: BTC"), NOON
    )
    (text,) = webhook.texts
    assert text.startswith(
        "FAILED: daily\n• backfill 2026-01-01 to 2026-02-01, source shop: shop.orders: 1 of 2 assets"
    )
    mended = worked("daily")
    mended.resources = [ResourceReport("shop", "orders", "raw_orders")]
    tell_run(project, mended, NOON)
    tell_run(project, past(to="2026-01-15"), NOON)
    assert len(webhook.texts) == 1
    tell_run(project, past(), minutes_after(60))
    assert "WORKS AGAIN: daily\n• backfill 2026-01-01 to 2026-02-01, source shop, after 1 h" in webhook.texts[1]


def test_a_backfill_is_not_the_run_that_is_late(told: ToldProject, webhook: Webhook) -> None:
    project, ledger = told.project(), Ledger(told.data)
    ledger.start("r1", "daily", NOON)
    ledger.finish("r1", NOON, "failed", {})
    lookout = Lookout(lambda: project)
    ledger.start("b1", "daily", minutes_after(20), backfill=True)
    with hold(told.data / "locks" / "pipeline-daily.lock", "a backfill"):
        lookout.look(minutes_after(21))
    ledger.finish("b1", minutes_after(30), "ok", {})
    lookout.look(minutes_after(31))
    (text,) = webhook.texts
    assert "due at 2026-03-01 12:05 UTC, 16 min ago, and a backfill is under way" in text
    standing = ledger.standing("daily")
    assert standing is not None
    assert (standing.failed_in_a_row, standing.ok_at) == (1, None)


def test_a_run_that_died_is_told(told: ToldProject, webhook: Webhook) -> None:
    project = told.project()
    Ledger(told.data).start("r1", "daily", NOON)
    lookout = Lookout(lambda: project)
    lookout.look(NOON + timedelta(minutes=1))
    lookout.look(NOON + timedelta(minutes=2))
    (text,) = webhook.texts
    assert "• run: the run that began at 2026-03-01 12:00 UTC died before it ended" in text
    assert told.run().status == "ok"
    assert "WORKS AGAIN: daily\n• run, after" in webhook.texts[1]


def test_a_long_running_process_looks_out(told: ToldProject, webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.notify.lookout.EVERY_SECONDS", 0.05)
    project = told.project()
    note_deployed(project, Ledger(told.data), None, NOON)  # by a process that was restarted since
    with attended(lambda: project, str):
        until = time.monotonic() + 10
        while len(webhook.texts) < 1 and time.monotonic() < until:
            time.sleep(0.05)
    assert "LATE: daily" in webhook.texts[0]
    assert "and none has ever begun" in webhook.texts[0]


def test_a_run_that_died_is_told_by_the_next_one_that_begins_before_anybody_looked(
    told: ToldProject, webhook: Webhook
) -> None:
    """As where the machine died, and `engine up` runs at once what was missed."""
    Ledger(told.data).start("r0", "daily", NOON, backfill=True)  # whoever starts one sees it
    Ledger(told.data).start("r1", "daily", NOON)
    assert told.run().status == "ok"
    assert told.run().status == "ok"
    died, works = webhook.texts
    assert "• run: the run that began at 2026-03-01 12:00 UTC died before it ended" in died
    assert "WORKS AGAIN: daily\n• run, after" in works


def test_a_run_that_an_error_ended_has_not_died(
    told: ToldProject, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("engine.lake.lake.Lake.scrub", broken)
        with pytest.raises(OSError, match="No space left"):
            told.run()
    (run,) = Ledger(told.data).last("daily")
    assert (run.status, run.report["failures"]) == (
        "failed",
        ["unexpected OSError: [Errno 28] No space left on device"],
    )
    assert told.run().status == "ok"
    assert [text.split(":")[0] for text in webhook.texts] == ["FAILED", "WORKS AGAIN"]


def test_only_what_the_file_wants_is_told(told: ToldProject, webhook: Webhook) -> None:
    text = (told.folder / "pipelines.yaml").read_text()
    told.write(text.replace('WEBHOOK}"}', 'WEBHOOK}", on: [lateness]}'))
    project = told.project()
    tell_run(project, failed("daily", "timeseries"), NOON)
    tell_run(project, worked("daily", "timeseries"), NOON)
    Ledger(told.data).start("r1", "daily", NOON)
    Lookout(lambda: project).look(NOON + timedelta(minutes=20))
    (text,) = webhook.texts
    assert text.startswith("LATE")
    assert "died" not in text


def test_without_the_variable_nothing_is_told_and_one_line_says_so(told: ToldProject, webhook: Webhook) -> None:
    (told.folder / "webhook").write_text("")
    project = told.project()
    line = [text for text in project.notes if text.startswith("notify")]
    assert line == ["notify is off: SLACK_WEBHOOK is not set (pipelines.yaml:18)"]
    assert [f.detail for f in examine(project) if f.what == "notify"] == [line[0].removeprefix("notify is ")]
    told.break_the_shop()
    assert told.run().status == "partial"
    assert webhook.texts == []
    assert noted(told) == []


def test_an_address_that_is_none_is_a_mistake_that_is_not_shown(told: ToldProject) -> None:
    (told.folder / "webhook").write_text(f"hooks.example.com/{SECRET}")
    with pytest.raises(ConfigError, match="not the address of a webhook") as error:
        told.project()
    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    ("where", "right"),
    [
        ("https://hooks.example.com", True),
        ("http://localhost:8065", True),
        ("http://[::1]:8065", True),
        ("http://127.0.0.1", True),
        ("http://hooks.example.com", False),
        ("http://10.0.0.7:8065", False),
        ("http://127.0.0.1@hooks.example.com", False),
        ("http://localhost.example.com", False),
    ],
)
def test_its_address_is_shown_to_no_network(where: str, *, right: bool, told: ToldProject) -> None:
    (told.folder / "webhook").write_text(f"{where}/{SECRET}")
    if right:
        assert told.project().notify is not None
        return
    with pytest.raises(ConfigError, match="http would show the webhook's address to the network") as error:
        told.project()
    assert "Use https, or a relay on 127.0.0.1." in str(error.value)
    assert SECRET not in str(error.value)


def test_an_address_that_cannot_be_read_is_none(told: ToldProject) -> None:
    (told.folder / "webhook").write_text("http://[::1/x")
    with pytest.raises(ConfigError, match="not the address of a webhook"):
        told.project()


def test_an_unknown_word_is_a_mistake_though_the_variable_is_missing(told: ToldProject) -> None:
    text = (told.folder / "pipelines.yaml").read_text()
    told.write(text.replace('WEBHOOK}"}', 'WEBHOOK}", on: [failures]}'))
    with pytest.raises(ConfigError, match="failure"):
        load_project(told.folder / "pipelines.yaml", env={})


def test_no_secret_is_told_or_kept(told: ToldProject, webhook: Webhook) -> None:
    planted = "pw-PlantedSecret-0451-qwertz"
    text = (told.folder / "pipelines.yaml").read_text()
    told.write(text.replace("warehouse}\n", "warehouse}\n    other: {type: postgres, dsn: '${DSN}'}\n", 1))
    env = {"SLACK_WEBHOOK": webhook.url, "DSN": f"postgresql://u:{planted}@127.0.0.1:1/db"}
    project = load_project(told.folder / "pipelines.yaml", env=env)
    report = failed("daily", "other")
    report.destinations[0].errors = [f"other: {env['DSN']} refused, {webhook.url} too, <!channel>\x1b[2J"]
    tell_run(project, report, NOON)
    (told_text,) = webhook.texts
    kept = (told.data / "state" / "notified.json").read_text()
    for secret in (planted, SECRET, "\x1b", "<!channel>"):
        assert secret not in told_text
    assert planted not in kept
    assert SECRET not in kept
    assert "&lt;!channel&gt;" in told_text


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[pytest.MonkeyPatch]]:
    """While it is entered, nothing takes new room on the disk of the data folder."""

    def refuse(_path: Path, _content: bytes) -> None:
        raise OSError(28, "No space left on device")

    @contextmanager
    def entered() -> Iterator[pytest.MonkeyPatch]:
        with monkeypatch.context() as patch:
            patch.setattr(memory, "write", refuse)
            yield patch

    return entered


FULL_DISK = replace(worked("daily"), errors=["the list of runs cannot be used: disk full"])


@pytest.mark.parametrize("reserved", [True, False], ids=["room is reserved", "full from the first run on"])
def test_a_full_disk_is_told_once(
    reserved: bool,  # noqa: FBT001 - pytest calls by name
    told: ToldProject,
    webhook: Webhook,
    full: Callable[[], AbstractContextManager[pytest.MonkeyPatch]],
) -> None:
    project = told.project()
    if reserved:
        tell_run(project, worked("daily"), NOON)
    with full():
        for _ in range(3):
            assert tell_run(project, FULL_DISK, NOON) == []
            if reserved:  # the next run is another process
                memory._UNWRITTEN.clear()
        assert len(webhook.texts) == 1
        if reserved:  # its end too
            tell_run(project, worked("daily"), NOON)
            memory._UNWRITTEN.clear()
    tell_run(project, worked("daily"), NOON)
    assert [text.split(":")[0] for text in webhook.texts] == ["FAILED", "WORKS AGAIN"]
    assert noted(told) == []
    tell_run(project, worked("daily"), NOON)
    assert len(webhook.texts) == 2


def test_what_could_not_be_noted_gives_way_to_what_others_noted_since(
    told: ToldProject, webhook: Webhook, full: Callable[[], AbstractContextManager[pytest.MonkeyPatch]]
) -> None:
    project = told.project()
    with full():
        tell_run(project, FULL_DISK, NOON)
    unwritten = dict(memory._UNWRITTEN)
    memory._UNWRITTEN.clear()
    tell_run(project, failed("daily", "timeseries"), NOON)  # another process
    tell_run(project, worked("daily", "timeseries"), NOON)
    memory._UNWRITTEN.update(unwritten)
    assert noted(told) == []
    tell_run(project, failed("daily", "timeseries"), NOON)
    assert noted(told) == ["destination timeseries"]
    assert memory._UNWRITTEN == {}


def test_nobody_makes_room_where_another_is_noting(told: ToldProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "LOCK_SECONDS", 0.0)
    with hold(told.data / "locks" / "notify.lock", "telling people"):
        tell_run(told.project(), worked("daily"), NOON)
    assert not (told.data / "state" / "notified.json").exists()
    tell_run(told.project(), worked("daily"), NOON)
    assert (told.data / "state" / "notified.json").stat().st_size == 2 * memory.SLOT_BYTES


def test_a_half_written_note_is_none(told: ToldProject, webhook: Webhook) -> None:
    tell_run(told.project(), failed("daily", "timeseries"), NOON)
    tell_run(told.project(), failed("daily", "lake"), NOON)
    state = told.data / "state" / "notified.json"
    slots = bytearray(state.read_bytes())
    assert len(slots) == 2 * memory.SLOT_BYTES
    newer = 0 if b"destination lake" in slots[: memory.SLOT_BYTES] else memory.SLOT_BYTES
    slots[newer + 40 : newer + 80] = b"\0" * 40
    state.write_bytes(slots)
    assert noted(told) == ["destination timeseries"]
    tell_run(told.project(), failed("daily", "timeseries"), NOON)
    assert len(webhook.texts) == 2


def test_the_note_of_an_earlier_version_is_read(told: ToldProject, webhook: Webhook) -> None:
    state = told.data / "state" / "notified.json"
    state.parent.mkdir(parents=True)
    at = NOON.isoformat()
    state.write_text(json.dumps([{"key": "destination timeseries", "why": "is away", "since": at, "told_at": at}]))
    tell_run(told.project(), failed("daily", "timeseries"), NOON)
    assert webhook.texts == []
    tell_run(told.project(), worked("daily", "timeseries"), NOON)
    assert "WORKS AGAIN" in webhook.texts[0]
    assert noted(told) == []


def test_a_state_that_somebody_broke_tells_once_more(told: ToldProject, webhook: Webhook) -> None:
    state = told.data / "state" / "notified.json"
    state.parent.mkdir(parents=True)
    state.write_text('{"not": "a list"}')
    tell_run(told.project(), failed("daily", "timeseries"), NOON)
    tell_run(told.project(), failed("daily", "timeseries"), NOON)
    assert len(webhook.texts) == 1
    assert noted(told) == ["destination timeseries"]


def test_a_message_is_bounded(told: ToldProject) -> None:
    things = [Broken(f"destination d{n}", "x" * 5_000, NOON) for n in range(40)]
    text = message(told.project(), "daily", Change(broke=things), NOON)
    assert len(text) < 6_000
    assert "• and 32 more" in text


@pytest.mark.parametrize(
    ("seconds", "words"), [(5, "less than a minute"), (90, "1 min"), (7_500, "2 h 5 min"), (97_260, "1 d 3 h")]
)
def test_lengths_of_time(seconds: int, words: str) -> None:
    assert length(timedelta(seconds=seconds)) == words


def test_every_failure_of_a_report_is_a_thing(tmp_path: Path) -> None:
    report = failed("daily", "timeseries")
    report.errors = ["the lake is damaged"]
    report.transforms = [TransformReport("warehouse", "failed", error="e")]
    assert list(broken_by(report)) == ["run of daily", "destination timeseries", "models on warehouse of daily"]
    assert notify.__doc__
