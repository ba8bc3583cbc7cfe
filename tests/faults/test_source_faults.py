"""Source faults, case by case: what a user reads, and that nothing of the API's ledger is lost or doubled."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from tests.faults.fake_api import Asked, FakeApi, Reply, Script
from tests.faults.fake_clock import clock_env
from tests.faults.rest_project import TABLE, RestProject, assert_clear, assert_consistent, assert_whole

pytestmark = pytest.mark.faults

PLAIN: dict[str, Any] = {"primary_key": ["id"], "columns": {"id": {"type": "bigint"}, "name": {}}}
SECRET = "kZ8/+q%\"'w1T$pXr"  # noqa: S105 - a canary
TOKENS: dict[str, Any] = {
    **PLAIN,
    "select": "rows",
    "paginate": {"type": "cursor", "next": "next", "param": "token"},
}
OFFSETS: dict[str, Any] = {**PLAIN, "paginate": {"type": "offset", "limit": 20}}


def rows(first: int, last: int) -> list[dict[str, Any]]:
    return [{"id": number, "name": f"row {number}"} for number in range(first, last + 1)]


Serve = Callable[[Script], FakeApi]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    started: list[FakeApi] = []

    def start(script: Script) -> FakeApi:
        api = FakeApi(tmp_path / f"ledger-{len(started)}.jsonl", script)
        started.append(api.__enter__())
        return api

    yield start
    for api in started:
        api.__exit__()


def script_of(*replies: Reply) -> Script:
    """Answer with one reply after the other, with the last one from then on."""
    left = list(replies)

    def answer(_: Asked) -> Reply:
        return left.pop(0) if len(left) > 1 else left[0]

    return answer


def token_pages(pages: dict[str, tuple[list[Any], str | None]]) -> Script:
    """Pages by token ("" is the first): their rows, and the token of the next."""

    def answer(asked: Asked) -> Reply:
        found, token = pages[asked.query.get("token", "")]
        return Reply(found, {"rows": found, "next": token})

    return answer


@pytest.mark.parametrize("header", ["seconds", "date"])
def test_s01_a_wait_that_the_api_asks_for_is_kept_by_a_clock_that_is_an_hour_off(
    serve: Serve, tmp_path: Path, header: str
) -> None:
    refused_at: list[float] = []

    def answer(_: Asked) -> Reply:
        if refused_at:
            return Reply(rows(1, 3))
        now = datetime.now(UTC)
        refused_at.append(time.monotonic())
        asks = "2" if header == "seconds" else format_datetime(now + timedelta(seconds=2), usegmt=True)
        return Reply(status=429, headers={"Retry-After": asks, "Date": format_datetime(now, usegmt=True)})

    api = serve(answer)
    project = RestProject(tmp_path / "p", api.url, PLAIN)

    run = project.run_apart(env=clock_env(hours=1))

    assert run.code == 0, run.text
    assert api.faults_fired == 1
    assert f"run {datetime.now(UTC) + timedelta(hours=1):%Y%m%dT%H}" in run.out, "the client's clock was not moved"
    early = [asked for asked in api.asked[1:] if asked.at - refused_at[0] < 2]
    assert early == []
    assert len(api.asked) == 2
    assert_whole(project, api.ledger())


def test_s01_a_wait_beyond_the_bound_is_not_sat_out_and_not_ignored(serve: Serve, tmp_path: Path) -> None:
    api = serve(script_of(Reply(status=429, headers={"Retry-After": "3600"}), Reply(rows(1, 3))))
    project = RestProject(tmp_path / "p", api.url, PLAIN)

    run = project.run()

    assert_clear(run, "answered 429", "3600 s", "Run again in 60 minutes")
    assert len(api.asked) == 1


def test_s02_errors_and_a_reset_are_asked_again(serve: Serve, tmp_path: Path) -> None:
    good = Reply(rows(1, 40))
    api = serve(script_of(Reply(status=500), Reply(status=502), Reply(wire="reset"), good))
    project = RestProject(tmp_path / "p", api.url, PLAIN, client={"tries": 5, "budget": 60})

    run = project.run()

    assert run.code == 0, run.text
    assert api.faults_fired == 3
    assert len(api.asked) <= 12
    assert_whole(project, api.ledger())


def test_s03_a_reset_in_the_middle_of_a_body_leaves_no_half_page(serve: Serve, tmp_path: Path) -> None:
    def answer(asked: Asked) -> Reply:
        start = int(asked.query["offset"])
        page = rows(start + 1, min(start + 20, 50)) if start < 50 else []
        return Reply(page, wire="reset_middle" if asked.number == 2 else "whole")

    api = serve(answer)
    project = RestProject(tmp_path / "p", api.url, OFFSETS)

    run = project.run()

    assert run.code == 0, run.text
    assert api.faults_fired == 1
    assert len(assert_whole(project, api.ledger()).rows) == 50


def test_s03_a_connection_that_never_lasts_costs_the_run_and_no_row(serve: Serve, tmp_path: Path) -> None:
    def answer(asked: Asked) -> Reply:
        start = int(asked.query["offset"])
        return Reply(rows(start + 1, start + 20) if start < 40 else [], wire=wire if start else "whole")

    wire: Any = "short"
    api = serve(answer)
    api.label = "broken"
    project = RestProject(tmp_path / "p", api.url, OFFSETS, client={"tries": 2})

    assert_clear(project.run(), "broke the connection off", "Run again later")
    assert api.faults_fired == 2

    wire, api.label = "whole", "sound"
    assert project.run().code == 0
    assert len(assert_whole(project, api.ledger("sound")).rows) == 40


def test_s05_rows_that_come_in_front_while_pages_are_read_are_neither_lost_nor_doubled(
    serve: Serve, tmp_path: Path
) -> None:
    listed = rows(1, 60)
    inserted = 0

    def answer(asked: Asked) -> Reply:
        nonlocal inserted
        since, start = int(asked.query.get("since", "0")), int(asked.query["offset"])
        if asked.number in {2, 3}:
            inserted += 10
            listed.extend(rows(len(listed) + 1, len(listed) + 10))
        newest_first = [row for row in reversed(listed) if row["id"] >= since]
        return Reply(newest_first[start : start + 20])

    api = serve(answer)
    resource = {**OFFSETS, "params": {"since": "{cursor}"}, "incremental": {"column": "id"}}
    project = RestProject(tmp_path / "p", api.url, resource)

    assert project.run().code == 0
    assert inserted == 20
    served = [row["id"] for row in api.ledger()]
    assert len(served) > len(set(served)), "no row was served twice: the pages did not shift"

    assert project.run().code == 0
    held = assert_whole(project, api.ledger())
    assert {row["id"] for row in held.rows} == {row["id"] for row in listed}


def test_s06_a_token_that_loops_ends_the_paging(serve: Serve, tmp_path: Path) -> None:
    api = serve(token_pages({"": (rows(1, 20), "page2"), "page2": (rows(21, 40), "page2")}))
    project = RestProject(tmp_path / "p", api.url, TOKENS)
    began = time.monotonic()

    assert_clear(project.run(), "goes in a circle", "paginate")

    assert len(api.asked) == 2, "the loop did not begin, or was followed"
    assert time.monotonic() - began < 60
    api.script, api.label = token_pages({"": (rows(1, 20), "page2"), "page2": (rows(21, 40), None)}), "sound"
    assert project.run().code == 0
    assert_whole(project, api.ledger("sound"))


def test_s06_a_server_that_ignores_the_page_asked_for_is_found_out(serve: Serve, tmp_path: Path) -> None:
    api = serve(script_of(Reply(rows(1, 20))))
    project = RestProject(tmp_path / "p", api.url, OFFSETS)
    began = time.monotonic()

    assert_clear(project.run(), "goes in a circle", "paginate")

    assert 1 < len(api.asked) <= 10
    assert time.monotonic() - began < 60


def test_s07_an_empty_page_with_a_next_token_is_not_the_end(serve: Serve, tmp_path: Path) -> None:
    pages: dict[str, tuple[list[Any], str | None]] = {
        ("" if page == 1 else f"p{page}"): (
            [] if page == 4 else rows(page * 10 + 1, page * 10 + 10),
            f"p{page + 1}" if page < 6 else None,
        )
        for page in range(1, 7)
    }
    api = serve(token_pages(pages))
    project = RestProject(tmp_path / "p", api.url, TOKENS)

    assert project.run().code == 0
    assert [asked.query.get("token") for asked in api.asked][3] == "p4"
    assert len(assert_whole(project, api.ledger()).rows) == 50


def test_s08_a_200_that_is_no_data_is_named_and_lands_nothing(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_KEY", SECRET)
    bodies: dict[str, Any] = {
        "<!DOCTYPE": f"<!DOCTYPE html><html><body>Hello {SECRET}, just a moment...</body></html>",
        "a list of rows is expected": {"error": {"message": f"no plan for {SECRET}"}},
        "an empty body": "",
    }
    api = serve(script_of(*(Reply(body=body) for body in bodies.values()), Reply(rows(1, 5))))
    key = {"type": "api_key", "query": "key", "key": "${SHOP_KEY}"}
    project = RestProject(tmp_path / "p", api.url, PLAIN, client={"auth": key})

    for words in bodies:
        run = project.run()
        assert_clear(run, "answered 200", words)
        assert SECRET not in run.text
        assert "raw_rows" not in project.heads()
    assert [asked.query["key"] for asked in api.asked] == [SECRET] * 3

    assert project.run().code == 0
    assert_whole(project, api.ledger())


def test_s09_rows_that_share_one_cursor_value_come_once_each(serve: Serve, tmp_path: Path) -> None:
    moment = "2026-05-01T12:00:00Z"
    table = [{"id": number, "name": "x", "updated_at": moment} for number in range(1, 301)]

    def answer(asked: Asked) -> Reply:
        start = int(asked.query["offset"])
        fresh = [row for row in table if row["updated_at"] >= asked.query.get("since", "")]
        return Reply(fresh[start : start + 100])

    api = serve(answer)
    resource = {
        **PLAIN,
        "params": {"since": "{cursor|iso}"},
        "incremental": {"column": "updated_at"},
        "paginate": {"type": "offset", "limit": 100},
        "columns": {**PLAIN["columns"], "updated_at": {"type": "timestamp"}},
    }
    project = RestProject(tmp_path / "p", api.url, resource)

    assert project.run().code == 0
    table += [{"id": number, "name": "x", "updated_at": moment} for number in range(301, 501)]
    assert project.run().code == 0
    assert project.run().code == 0

    assert api.asked[-1].query["since"] == moment
    assert len(assert_whole(project, api.ledger()).rows) == 500
    assert max(path.stat().st_size for path in project.manifests()) < 256 * 1024


def test_s10_a_row_that_appears_behind_the_cursor_is_fetched_within_the_lag(serve: Serve, tmp_path: Path) -> None:
    start = datetime(2026, 5, 1, 12, tzinfo=UTC)

    def row(number: int) -> dict[str, Any]:
        at = start + timedelta(minutes=number)
        return {"id": number, "name": "x", "updated_at": at.isoformat().replace("+00:00", "Z")}

    shown = [row(number) for number in range(1, 61) if number != 41]

    def answer(asked: Asked) -> Reply:
        return Reply([each for each in shown if each["updated_at"] >= asked.query.get("since", "")])

    api = serve(answer)
    resource = {
        **PLAIN,
        "params": {"since": "{cursor|iso}"},
        "incremental": {"column": "updated_at", "lag": "1h"},
        "columns": {**PLAIN["columns"], "updated_at": {"type": "timestamp"}},
    }
    project = RestProject(tmp_path / "p", api.url, resource)

    assert project.run().code == 0
    shown.append(row(41))
    assert project.run().code == 0

    assert api.asked[1].query["since"] == "2026-05-01T12:00:00Z"
    assert sorted(each["id"] for each in assert_whole(project, api.ledger()).rows) == list(range(1, 61))


def test_s12_a_token_that_expires_on_the_way_is_said_and_a_new_one_makes_it_whole(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    valid = f"Bearer {SECRET}"
    served = 0

    def answer(asked: Asked) -> Reply:
        nonlocal valid, served
        served += 1
        if served == 5:
            valid = "Bearer the-next-one"
        if asked.headers["authorization"] != valid:
            return Reply(status=401, body={"error": f"{asked.headers['authorization']} has expired"})
        start = int(asked.query["offset"])
        return Reply(rows(start + 1, start + 20) if start < 120 else [])

    api = serve(answer)
    api.label = "expiring"
    monkeypatch.setenv("SHOP_TOKEN", SECRET)
    auth = {"type": "bearer", "token": "${SHOP_TOKEN}"}
    project = RestProject(tmp_path / "p", api.url, OFFSETS, client={"auth": auth})

    run = project.run()

    assert_clear(run, "401", "refuses the credentials", "Check that the key")
    assert SECRET not in run.text
    assert len(api.asked) == 5, "a 401 must not be asked again"
    assert TABLE not in project.heads()

    monkeypatch.setenv("SHOP_TOKEN", "the-next-one")
    api.label = "renewed"
    assert project.run().code == 0
    assert len(assert_whole(project, api.ledger("renewed")).rows) == 120


def test_s13_odd_text_is_landed_or_set_aside_and_the_same_everywhere(serve: Serve, tmp_path: Path) -> None:
    texts = ["a\x00b", "\ud83d", "rocket \U0001f680", "\u202eabc\u202c", "e\u0301", "tab\tline\r\n"]
    served = [{"id": number, "name": text, "note": text} for number, text in enumerate(texts)]
    api = serve(script_of(Reply(served)))
    project = RestProject(tmp_path / "p", api.url, PLAIN)

    run = project.run()

    assert run.code == 0, run.text
    assert "set aside in raw_rows: 1 row: name: " in run.out
    held = assert_whole(project, api.ledger())
    assert {row["id"]: row["name"] for row in held.rows} == {
        2: "rocket \U0001f680",
        3: "\u202eabc\u202c",
        4: "\u00e9",
        5: "tab\tline\r\n",
    }
    assert {json.loads(row["row"])["id"] for row in held.set_aside} == {0, 1}
    assert all(row["note"] == row["name"] for row in held.rows)


def test_s14_numbers_at_the_edge_are_exact_or_set_aside_and_the_same_everywhere(serve: Serve, tmp_path: Path) -> None:
    tokens = ["1e400", "NaN", "-0", str(2**63), str(2**64), "9" * 38, f"0.{'1' * 60}", '"1,5"', "-Infinity", "1.50"]
    tokens += [f"{'9' * 20}.{'9' * 18}", "1e-18", "1E+3", str(2**63 - 1)]
    served = [{"id": number} for number in range(len(tokens))]
    parts = [f'{{"id": {n}, "price": {token}, "other": {token}}}' for n, token in enumerate(tokens)]
    api = serve(script_of(Reply(served, f"[{', '.join(parts)}]")))
    resource = {"columns": {"id": {"type": "bigint"}, "price": {"type": "decimal"}}}
    project = RestProject(tmp_path / "p", api.url, resource)
    whole = {
        **resource,
        "path": "whole",
        "columns": {"id": {"type": "bigint"}, "count": {"type": "bigint", "from": "price"}},
    }
    project.document["sources"]["shop"]["resources"]["raw_counts"] = whole
    project.write()

    run = project.run()

    assert run.code == 0, run.text
    assert "set aside in raw_rows" in run.out
    held = assert_whole(project, served)
    prices = {tokens[row["id"]]: row["price"] for row in held.rows}
    assert prices.pop("NaN") is None
    assert prices.pop("-Infinity") is None
    assert prices == {
        "-0": Decimal(0),
        str(2**63): Decimal(2**63),
        str(2**64): Decimal(2**64),
        str(2**63 - 1): Decimal(2**63 - 1),
        "1.50": Decimal("1.5"),
        f"{'9' * 20}.{'9' * 18}": Decimal(f"{'9' * 20}.{'9' * 18}"),
        "1e-18": Decimal("1e-18"),
        "1E+3": Decimal(1000),
    }
    assert {row["value"] for row in held.aside if row not in held.set_aside} == {"NaN", "-Infinity"}
    counts = {tokens[row["id"]]: row["count"] for row in project.holds("second", "raw_counts").rows}
    assert counts[str(2**63 - 1)] == 2**63 - 1
    assert str(2**63) not in counts


def test_s15_every_version_of_a_row_is_kept_and_the_last_one_is_found(serve: Serve, tmp_path: Path) -> None:
    versions = [
        [{"id": 1, "name": "first"}, {"id": 2, "name": "stays"}, {"id": 3, "name": "goes"}],
        [{"id": 1, "name": "second"}, {"id": 2, "name": "stays"}, {"id": 3, "name": "goes", "deleted": True}],
        [{"id": 1, "name": "first"}, {"id": 2, "name": "stays"}],
    ]
    api = serve(script_of(*(Reply(version) for version in versions)))
    project = RestProject(tmp_path / "p", api.url, PLAIN)

    for _ in versions:
        assert project.run().code == 0

    held = assert_consistent(project)
    assert len(held.rows) == sum(map(len, versions)) == len(api.ledger())
    latest = project.ask(
        """
        SELECT r.id, r.name, r.deleted FROM landing.raw_rows AS r JOIN landing._packages AS p USING (_load_id)
        QUALIFY row_number() OVER (PARTITION BY r.id ORDER BY p.arrived_at DESC) = 1 ORDER BY r.id
        """
    )
    assert [(row["id"], row["name"], row["deleted"]) for row in latest] == [
        (1, "first", None),
        (2, "stays", None),
        (3, "goes", True),
    ]


@pytest.mark.parametrize("wire", ["trickle", "trickle_head"])
def test_s16_an_answer_of_a_byte_a_second_is_cut_and_said(serve: Serve, tmp_path: Path, wire: Any) -> None:
    api = serve(script_of(*[Reply(rows(1, 20), wire=wire, pace=0.3)] * 2, Reply(rows(1, 20))))
    api.label = "slow"
    project = RestProject(tmp_path / "p", api.url, PLAIN, client={"deadline": 1, "tries": 2})
    began = time.monotonic()

    assert_clear(project.run(), "did not finish its answer within 1.0 s (2 times", "Run again later")

    assert time.monotonic() - began < 60
    assert api.faults_fired == 2
    api.label = "sound"
    assert project.run().code == 0
    assert_whole(project, api.ledger("sound"))


def test_s17_one_source_of_five_that_is_down_costs_only_itself(serve: Serve, tmp_path: Path) -> None:
    apis = [serve(script_of(Reply(rows(100 * number, 100 * number + 9)))) for number in range(5)]
    client = {"allow_private": True, "timeout": 2, "deadline": 4, "budget": 6, "tries": 2}
    others = {
        f"shop{number}": {
            "type": "rest",
            "client": {"base_url": api.url, **client},
            "resources": {f"raw_rows_{number}": {"path": "rows", **PLAIN}},
        }
        for number, api in enumerate(apis[1:], start=1)
    }
    project = RestProject(tmp_path / "p", apis[0].url, PLAIN, sources=others, client=client, load=["warehouse"])
    down = project.document["sources"]["shop3"]["client"]
    down["base_url"] = "http://127.0.0.1:9"  # the discard port: nobody listens
    project.write()

    for run in (project.run(), project.run()):
        line = assert_clear(run, "refuses the connection", "Run again later", source="shop3")
        assert line.startswith("FAILED: shop3: 127.0.0.1:9/rows ")
        assert "done in part" in run.out
    assert apis[3].asked == []

    down["base_url"] = apis[3].url
    project.write()
    assert project.run().code == 0
    for number, api in enumerate(apis):
        table = f"raw_rows_{number}" if number else TABLE
        landed = sorted(row["id"] for row in project.holds("warehouse", table).rows)
        assert landed == sorted(row["id"] for row in api.ledger())
        assert len(landed) == (10 if number == 3 else 30)


def test_the_environment_of_a_moved_clock_is_only_in_its_own_process() -> None:
    assert "LD_PRELOAD" not in os.environ
    assert clock_env(hours=1)["FAKETIME"] == "+3600"
