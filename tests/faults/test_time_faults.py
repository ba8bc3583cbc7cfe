"""Time faults, case by case: zones, gaps, clocks that jump, late and future events, in landing and in the marts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.faults.fake_api import Asked, FakeApi, Reply
from tests.faults.fake_clock import clock_env, seconds_until, set_clock
from tests.faults.rest_project import TABLE, RestProject, assert_consistent, assert_whole
from tests.faults.trial import Server

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("time-faults")]

PRICES = "raw_cryptoprices_coingecko"
MARKET: dict[str, Any] = {
    "table": PRICES,
    "primary_key": ["id"],
    "paginate": {"type": "page_number"},
    "columns": {
        "id": {"type": "bigint"},
        "symbol": {},
        "base_currency": {"from": "symbol"},
        "quote_currency": {"value": "USD"},
        "price": {"type": "decimal"},
        "volume": {"type": "decimal", "optional": True},
        "volume_unit": {"value": "quote"},
        "observed_at": {"type": "timestamp", "timezone": "America/New_York"},
    },
}
MARTS = "SELECT observed_at, price_date, price FROM marts.fct_asset_prices ORDER BY price"


def price(number: int, at: str) -> dict[str, Any]:
    return {"id": number, "symbol": "BTC", "price": number, "observed_at": at}


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass
class Feed:
    """An API that serves one batch a run, as one page and an empty one; `meanwhile` runs before the second."""

    folder: Path
    batch: list[dict[str, Any]] = field(default_factory=list)
    meanwhile: Any = None

    def __post_init__(self) -> None:
        self.api = FakeApi(self.folder / "ledger.jsonl", self._answer)
        self.api.__enter__()
        self.project = RestProject(self.folder / "p", self.api.url, MARKET, load=["warehouse"], models=True)
        self.project.document["sources"]["shop"]["client"].update({"timeout": 60, "deadline": 120, "budget": 300})
        self.project.write()

    def _answer(self, asked: Asked) -> Reply:
        if asked.query["page"] == "1":
            return Reply(self.batch)
        if self.meanwhile is not None:
            self.meanwhile()
        return Reply()

    def prices(self) -> list[dict[str, Any]]:
        return self.project.ask(MARTS)

    def assert_all_there(self) -> None:
        """Everything served is landed once or set aside, and what is landed is in the mart."""
        held = self.project.holds("warehouse", PRICES)
        landed = [row["id"] for row in held.rows]
        aside = [json.loads(row["row"])["id"] for row in held.set_aside]
        assert Counter(landed + aside) == Counter(row["id"] for row in self.api.ledger())
        assert sorted(int(row["price"]) for row in self.prices()) == sorted(landed)


# T01, T02, T08, T10: one project under a week of clocks and zones


@dataclass(frozen=True)
class Story:
    """What the runs of `clocks` left behind."""

    feed: Feed
    runs: list[str]
    arrivals: list[datetime]


NEW_YORK_GAP = datetime(2026, 3, 8, 7, tzinfo=UTC).timestamp()
BERLIN_DOUBLE_HOUR = datetime(2026, 10, 25, 1, tzinfo=UTC).timestamp()


@pytest.fixture(scope="module")
def clocks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Run in five zones and at six clocks; every run delivers one row more."""
    folder = tmp_path_factory.mktemp("clocks")
    feed = Feed(folder)
    clock = folder / "clock"
    texts: list[str] = []
    running: list[subprocess.Popen[str]] = []

    def run(zone: str, moment: float) -> None:
        number = len(texts) + 1
        feed.batch = [price(number, f"2026-03-0{number}T12:00:00")]
        set_clock(clock, seconds=seconds_until(moment))
        with feed.project.start(env={"TZ": zone, **clock_env(file=clock, seconds=seconds_until(moment))}) as process:
            running[:] = [process]
            out, err = process.communicate(timeout=250)
        assert process.returncode == 0, out + err
        texts.append(out)

    def back_an_hour() -> None:
        set_clock(clock, seconds=seconds_until(BERLIN_DOUBLE_HOUR - 3600))

    def asleep() -> None:
        running[0].send_signal(signal.SIGSTOP)
        set_clock(clock, seconds=seconds_until(BERLIN_DOUBLE_HOUR + 6 * 3600))
        time.sleep(0.2)
        running[0].send_signal(signal.SIGCONT)

    try:
        run("America/New_York", NEW_YORK_GAP - 120)
        run("America/New_York", NEW_YORK_GAP + 30)
        run("Europe/Berlin", BERLIN_DOUBLE_HOUR + 600)
        run("Asia/Kolkata", BERLIN_DOUBLE_HOUR - 2400)  # back by 50 minutes
        feed.meanwhile = back_an_hour
        run("Australia/Lord_Howe", BERLIN_DOUBLE_HOUR + 900)
        feed.meanwhile = asleep
        run("Europe/Berlin", BERLIN_DOUBLE_HOUR + 1200)
        packages = feed.project.ask("SELECT arrived_at FROM landing._packages ORDER BY seq, arrived_at")
        arrived = feed.project.ask(
            f"SELECT arrived_at FROM landing._packages WHERE table_name = '{PRICES}' ORDER BY seq"
        )
        assert len(packages) == 7
        yield Story(feed, texts, [row["arrived_at"] for row in arrived])
    finally:
        feed.api.__exit__()


def test_t01_t02_t10_no_clock_hides_a_row_from_the_marts(clocks: Story) -> None:
    clocks.feed.assert_all_there()
    started = [text.rsplit("(run ", 1)[1][:15] for text in clocks.runs]
    assert started[0][:11] == "20260308T06"
    assert started[1][:11] == "20260308T07"
    assert started[3] < started[2], "the clock did not go back"


def test_t02_arrivals_go_on_whatever_the_clock_does(clocks: Story) -> None:
    assert clocks.arrivals == sorted(set(clocks.arrivals))
    stamps = clocks.feed.project.ask(f"SELECT load_timestamp FROM landing.{PRICES} ORDER BY id")
    taken = [row["load_timestamp"] for row in stamps]
    assert taken[3] < taken[2], "load_timestamp follows the clock, arrival does not"
    ids = [path.parent.name for path in clocks.feed.project.manifests()]
    assert len(ids) == len(set(ids)) == 7


def test_t10_a_machine_asleep_for_six_hours_lands_what_it_was_about(clocks: Story) -> None:
    (last,) = clocks.feed.project.ask(f"SELECT id, _load_id FROM landing.{PRICES} WHERE id = 6")
    manifests = {path.parent.name: json.loads(path.read_text()) for path in clocks.feed.project.manifests()}
    taken = manifests[last["_load_id"]]
    slept = datetime.fromisoformat(taken["extracted_to"]) - datetime.fromisoformat(taken["extracted_from"])
    assert timedelta(hours=5) < slept < timedelta(hours=7), "the machine did not sleep in the extraction"


def test_t08_the_zone_of_a_process_changes_no_value(clocks: Story) -> None:
    expected = [instant(f"2026-03-0{number}T17:00:00") for number in range(1, 7)]
    landed = clocks.feed.project.ask(f"SELECT observed_at FROM landing.{PRICES} ORDER BY id")
    assert [row["observed_at"] for row in landed] == expected
    assert [row["observed_at"] for row in clocks.feed.prices()] == expected
    assert [row["price_date"] for row in clocks.feed.prices()] == [moment.date() for moment in expected]
    answers = []
    for zone in ("Asia/Kolkata", "Australia/Lord_Howe"):
        asked = clocks.feed.project.run_apart("query", MARTS, "--json", env={"TZ": zone})
        assert asked.code == 0, asked.text
        answers.append(json.loads(asked.out))
    assert answers[0] == answers[1]
    assert answers[0]["rows"][0][0] == "2026-03-01T17:00:00+00:00"


# T01, T04, T05, T06, T07: odd instants, in one project

EARLY, LATE, FUTURE = 100, 200, 300
NEW_YORK = {
    # naive times are New York's: what they mean, None where they mean nothing
    1: ("2026-03-08T01:59:59", "2026-03-08T06:59:59"),
    2: ("2026-03-08T02:30:00", None),
    3: ("2026-03-08T03:00:00", "2026-03-08T07:00:00"),
    4: ("2026-11-01T00:59:59", "2026-11-01T04:59:59"),
    5: ("2026-11-01T01:30:00", "2026-11-01T05:30:00"),
    6: ("2026-11-01T01:30:00-05:00", "2026-11-01T06:30:00"),
    7: ("2026-11-01T02:00:00", "2026-11-01T07:00:00"),
    8: ("2026-03-29T02:30:00+01:00", "2026-03-29T01:30:00"),
    9: ("2026-03-29T01:30:00.000001Z", "2026-03-29T01:30:00.000001"),
    # T04
    20: ("2026-06-30T23:59:60Z", None),
    21: ("2026-06-30T24:00:00Z", None),
    22: ("9999-12-31T23:59:59Z", None),
    23: ("10000-01-01T00:00:00Z", None),
    24: ("-1", None),
    25: ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00"),
    26: ("infinity", None),
    27: ("0", None),
    28: ("0001-01-01T00:00:00Z", None),
    # T06
    30: ("2026-05-01T12:05:00.000000Z", "2026-05-01T12:05:00"),
    31: ("2026-05-01T12:04:59.999999999Z", "2026-05-01T12:04:59.999999"),
    32: ("2026-05-01T12:04:59.999998Z", "2026-05-01T12:04:59.999998"),
}


@pytest.fixture(scope="module")
def instants(tmp_path_factory: pytest.TempPathFactory, fork_server: Server) -> Iterator[Feed]:
    """First the odd instants and a future one, then an ordinary one, then what is days late."""
    feed = Feed(tmp_path_factory.mktemp("instants"))
    try:
        feed.batch = [price(number, text) for number, (text, _) in NEW_YORK.items()]
        feed.batch.append(price(FUTURE, f"{datetime.now(UTC).year + 10}-01-01T00:00:00Z"))
        for batch in (
            feed.batch,
            [price(EARLY, "2026-05-02T00:00:00Z")],
            [price(LATE, "2026-04-29T00:00:00Z"), price(LATE + 1, "2026-05-01T23:59:59Z")],
        ):
            feed.batch = batch
            run = feed.project.run_forked(fork_server)
            assert run.code == 0, run.text
        yield feed
    finally:
        feed.api.__exit__()


def test_t01_t04_t06_an_instant_is_exact_or_set_aside(instants: Feed) -> None:
    held = instants.project.holds("warehouse", PRICES)
    landed = {row["id"]: row["observed_at"] for row in held.rows}
    for number, (text, meaning) in NEW_YORK.items():
        assert landed.get(number) == (instant(meaning) if meaning else None), text
    aside = {json.loads(row["row"])["id"] for row in held.set_aside}
    assert aside == {number for number, (_, meaning) in NEW_YORK.items() if meaning is None}


def test_t05_t06_t07_late_border_and_future_events_are_all_in_the_mart_once(instants: Feed) -> None:
    instants.assert_all_there()
    marts = {int(row["price"]): row["observed_at"] for row in instants.prices()}
    assert marts[LATE] < marts[EARLY] < marts[FUTURE]
    assert {30, 31, 32, LATE, LATE + 1, EARLY, FUTURE} <= set(marts)


def test_t05_t06_t07_the_marts_built_in_steps_are_those_built_in_one_go(instants: Feed, fork_server: Server) -> None:
    before = instants.prices()
    replayed = instants.project.run_forked(fork_server, "replay")
    assert replayed.code == 0, replayed.text
    assert instants.prices() == before


# T07, T04 without models: cursors, and both destinations


def test_t07_a_future_event_does_not_move_the_cursor_past_others(tmp_path: Path) -> None:
    now = datetime.now(UTC).replace(microsecond=0)

    def row(number: int, at: datetime) -> dict[str, Any]:
        return {"id": number, "at": at.isoformat()}

    shown = [row(1, now - timedelta(hours=2)), row(2, now + timedelta(days=3650)), row(3, now - timedelta(hours=1))]

    def answer(asked: Asked) -> Reply:
        since = asked.query.get("since", "1970")
        return Reply([each for each in shown if each["at"] >= since.replace("Z", "+00:00")])

    resource = {
        "params": {"since": "{cursor|iso}"},
        "incremental": {"column": "at"},
        "columns": {"id": {"type": "bigint"}, "at": {"type": "timestamp"}},
    }
    with FakeApi(tmp_path / "ledger.jsonl", answer) as api:
        project = RestProject(tmp_path / "p", api.url, resource)
        assert project.run().code == 0
        shown.append(row(4, now - timedelta(minutes=30)))
        assert project.run().code == 0
        asked = [each.query.get("since") for each in api.asked]

    assert datetime.fromisoformat(str(asked[1])) == now - timedelta(hours=1)
    held = assert_consistent(project)
    landed = Counter(each["id"] for each in held.rows)
    assert set(landed) == {1, 2, 3, 4}, "a row was missed behind the future one"
    assert landed[1] == landed[3] == landed[4] == 1
    assert landed[2] >= 1, "a value that is not believed is not remembered: landing keeps each delivery"


def test_t04_odd_times_are_the_same_everywhere(tmp_path: Path) -> None:
    served = [{"id": number, "at": text, "note": text} for number, (text, _) in NEW_YORK.items()]
    served += [{"id": 50 + place, "at": value} for place, value in enumerate([-1, 0, 10**18, 1.5e9, True])]
    resource = {
        "columns": {"id": {"type": "bigint"}, "at": {"type": "timestamp", "timezone": "Asia/Kolkata", "epoch": "ms"}}
    }
    with FakeApi(tmp_path / "ledger.jsonl", lambda _: Reply(served)) as api:
        project = RestProject(tmp_path / "p", api.url, resource)
        run = project.run()
        assert run.code == 0, run.text
        held = assert_whole(project, api.ledger())
    assert {52, 54} <= {json.loads(row["row"])["id"] for row in held.set_aside}
    assert f"set aside in {TABLE}" in run.out
    assert {row["at"].tzinfo is not None for row in held.rows} == {True}


def test_the_clock_of_this_process_is_its_own() -> None:
    assert "FAKETIME" not in os.environ
