"""Paging, cursors, assets side by side: every row once, and an end in every case."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from engine.errors import SourceError, UsageError
from sources.protocol import Asset, Window

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def ids(run) -> list[int]:
    return [row["id"] for row in run.rows]


def rows(start: int, end: int) -> list[dict[str, int]]:
    return [{"id": number} for number in range(start, end)]


def test_page_numbers_end_with_an_empty_page(api, extract, block):
    api.answer = lambda _path, query: rows(0, 25)[(int(query["page"]) - 1) * 10 :][:10]
    run = extract(block({"paginate": {"type": "page_number"}}))
    assert ids(run) == list(range(25))
    assert [query["page"] for _, query in api.seen] == ["1", "2", "3", "4"]


def test_offsets_and_a_total(api, extract, block):
    def answer(_path, query):
        at, limit = int(query["offset"]), int(query["limit"])
        return {"data": rows(0, 25)[at : at + limit], "total": 25}

    api.answer = answer
    paginate = {"type": "offset", "limit": 10, "total": "total"}
    run = extract(block({"select": "data", "paginate": paginate}))
    assert ids(run) == list(range(25))
    assert len(api.seen) == 3


def test_rows_pushed_onto_the_next_page_are_not_delivered_twice(api, extract, block):
    listing = rows(0, 30)

    def answer(_path, query):
        at = int(query["offset"])
        page = listing[at : at + 10]
        if at == 0:
            listing[:0] = rows(100, 104)
        return page

    api.answer = answer
    run = extract(block({"paginate": {"type": "offset", "limit": 10}}))
    assert ids(run) == list(range(30))


def test_tokens_lead_over_an_empty_page_to_the_end(api, extract, block):
    pages = {"": ([0], "a"), "a": ([], "b"), "b": ([1], "c"), "c": ([2], None)}

    def answer(_path, query):
        found, token = pages[query.get("cursor", "")]
        return {"rows": [{"id": number} for number in found], "meta": {"next": token}}

    api.answer = answer
    run = extract(block({"select": "rows", "paginate": {"type": "cursor", "next": "meta.next", "param": "cursor"}}))
    assert ids(run) == [0, 1, 2]


@pytest.mark.parametrize("kind", ["cursor", "next_link"])
def test_paging_in_a_circle_is_an_error_after_few_requests(api, extract, block, kind):
    nexts = {"cursor": "page2", "next_link": f"{api.url}/v1/rows?cursor=page2"}
    words = {"cursor": {"next": "next", "param": "cursor"}, "next_link": {"next": "next"}}
    api.answer = lambda _path, _query: {"rows": rows(0, 1), "next": nexts[kind]}
    with pytest.raises(SourceError, match="goes in a circle") as caught:
        extract(block({"select": "rows", "paginate": {"type": kind, **words[kind]}}))
    assert caught.value.terminal
    assert len(api.seen) == 2


def test_pages_without_end_are_an_error(api, extract, block, monkeypatch):
    monkeypatch.setattr("sources.rest.walk.MOST_PAGES", 20)
    api.answer = lambda _path, query: rows(int(query["page"]), int(query["page"]) + 1)
    with pytest.raises(SourceError, match="more than 20 pages"):
        extract(block({"paginate": {"type": "page_number"}}))
    assert len(api.seen) == 20


def test_a_server_that_ignores_the_page_asked_for_is_an_error_after_few_requests(api, extract, block):
    api.answer = lambda _path, query: [{**row, "price": query["page"]} for row in rows(0, 2)]
    with pytest.raises(SourceError, match="same rows 4 pages in a row: its paging goes in a circle") as caught:
        extract(block({"paginate": {"type": "page_number"}, "primary_key": ["id"], "columns": {"id": {}}}))
    assert caught.value.terminal
    assert len(api.seen) == 4


def test_links_in_the_header_are_followed(api, extract, block):
    def answer(_path, query):
        page = int(query.get("page", 1))
        link = {"Link": f'<{api.url}/v1/rows?page={page + 1}>; rel="next"'} if page < 3 else {}
        return 200, link, json.dumps(rows(page, page + 1)).encode()

    api.answer = answer
    assert ids(extract(block({"paginate": {"type": "next_link"}}))) == [1, 2, 3]


def test_a_next_page_on_another_host_is_refused(api, extract, block):
    api.answer = lambda _path, _query: {"rows": rows(0, 1), "next": "http://169.254.169.254/latest"}
    with pytest.raises(SourceError, match="which is another host"):
        extract(block({"select": "rows", "paginate": {"type": "next_link", "next": "next"}}))
    assert len(api.seen) == 1


def test_a_page_that_cannot_be_paged_is_explained(api, extract, block):
    api.answer = lambda _path, _query: {"rows": rows(0, 1)}
    paginate = {"type": "page_number", "total": "pages"}
    with pytest.raises(SourceError, match="cannot be paged") as caught:
        extract(block({"select": "rows", "paginate": paginate}))
    assert "paginate" in caught.value.remedy


@pytest.mark.parametrize("token", [{"a": 1}, 7, ["x"]])
def test_a_next_page_that_is_no_address_is_explained(api, extract, block, token):
    api.answer = lambda _path, _query: {"rows": rows(0, 1), "next": token}
    with pytest.raises(SourceError, match=r"cannot be paged|another host|cannot be asked"):
        extract(block({"select": "rows", "paginate": {"type": "next_link", "next": "next"}}))


def test_a_jsonpath_that_cannot_be_read_is_an_error_of_the_file(api, extract, block):
    with pytest.raises(UsageError, match=r"'data\[\[' is no JSONPath"):
        extract(block({"select": "data[["}))
    assert api.seen == []


SINCE = {
    "params": {"since": "{cursor|iso}"},
    "incremental": {"column": "updated", "initial": "1d"},
    "columns": {"updated": {"type": "timestamp"}},
}


def moment(minutes: int) -> str:
    return (NOW - timedelta(hours=1) + timedelta(minutes=minutes)).isoformat()


def events(api, listing):
    def answer(_path, query):
        since = query["since"].replace("Z", "+00:00")
        return [row for row in listing if row["updated"] >= since]

    api.answer = answer


def test_only_what_is_new_is_asked_for_and_the_border_is_delivered_once(api, extract, block):
    listing = [{"id": number, "updated": moment(5)} for number in range(500)]
    events(api, listing)
    state: dict[str, object] = {}
    first = extract(block(SINCE), state=state)
    assert api.seen[0][1]["since"] == "2026-04-30T12:00:00Z"
    listing += [{"id": number, "updated": moment(5)} for number in range(500, 510)]
    second = extract(block(SINCE), state=state)
    assert api.seen[1][1]["since"] == moment(5).replace("+00:00", "Z")
    third = extract(block(SINCE), state=state)
    assert [len(run.rows) for run in (first, second, third)] == [500, 10, 0]
    assert ids(second) == list(range(500, 510))
    assert len(json.dumps(state)) < 32_768


def test_more_rows_of_one_time_than_a_page_holds_are_said(api, extract, block):
    words = {**SINCE, "incremental": {**SINCE["incremental"], "full_page": 10}}
    events_of_one_time = [{"id": number, "updated": moment(5)} for number in range(30)]
    api.answer = lambda _path, _query: events_of_one_time[:10]
    run = extract(block(words))
    assert len(run.rows) == 10
    assert any("more than 10 rows share one value of updated" in message for _, message in run.notices)
    assert len(api.seen) == 2


def test_a_late_row_within_the_lag_is_delivered_and_nothing_twice(api, extract, block):
    words = {**SINCE, "incremental": {**SINCE["incremental"], "lag": "30m"}}
    listing = [{"id": number, "updated": moment(number)} for number in range(41, 61)]
    events(api, listing)
    state: dict[str, object] = {}
    extract(block(words), state=state)
    listing.append({"id": 1041, "updated": moment(41)})
    assert ids(extract(block(words), state=state)) == [1041]
    assert ids(extract(block(words), state=state)) == []


def test_a_corrected_row_is_delivered_again(api, extract, block):
    listing = [{"id": 1, "updated": moment(5), "value": "A"}]
    events(api, listing)
    state: dict[str, object] = {}
    values = []
    for value in "ABAA":
        listing[0]["value"] = value
        values += [row["value"] for row in extract(block(SINCE), state=state).rows]
    assert values == ["A", "B", "A"]


def test_a_time_far_ahead_does_not_hide_what_follows(api, extract, block):
    listing = [{"id": 1, "updated": "2199-01-01T00:00:00+00:00"}, {"id": 2, "updated": moment(1)}]
    events(api, listing)
    state: dict[str, object] = {}
    assert ids(extract(block(SINCE), state=state)) == [1, 2]
    listing.append({"id": 3, "updated": moment(2)})
    assert 3 in ids(extract(block(SINCE), state=state))


def test_rows_whose_cursor_is_no_time_are_left_to_the_typing_step(api, extract, block):
    api.answer = lambda _path, _query: [{"id": 1, "updated": "yesterday"}, {"id": 2, "updated": None}, {"id": 3}]
    assert len(extract(block(SINCE)).rows) == 3


def test_a_failed_run_leaves_the_position_where_it_was(api, extract, block):
    api.answer = lambda _path, _query: (500, {}, b"")
    state: dict[str, object] = {}
    with pytest.raises(SourceError):
        extract(block(SINCE, tries=1), state=state)
    assert state in ({}, {"cursors": {}})


def test_windows_of_a_backfill(api, extract, block):
    words = {"params": {"from": "{window.start|s}", "to": "{window.end|date}", "limit": 5}, "backfill": "7d"}
    api.answer = lambda _path, _query: rows(0, 1)
    extract(block(words))
    window = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 8, tzinfo=UTC))
    extract(block(words), window=window)
    assert [query for _, query in api.seen] == [
        {"limit": "5"},
        {"from": "1767225600", "to": "2026-01-08", "limit": "5"},
    ]


def each(**words):
    return {"path": "coins/{each}", "each": "assets.crypto.here", "columns": {"symbol": {"value": "{each}"}}, **words}


def many(number: int):
    return {"crypto": [Asset(f"A{at}", "crypto", symbols={"here": f"a{at}"}) for at in range(number)]}


def test_assets_side_by_side_come_in_order(api, extract, block):
    meeting = threading.Barrier(4)

    def answer(path, _query):
        number = int(path.rpartition("a")[2])
        if number < 4:
            meeting.wait(10)  # nobody is answered before four have asked
        time.sleep(0.02 * (number % 3))
        return [{"id": number}]

    api.answer = answer
    run = extract(block(each(), parallel=4), assets=many(30))
    assert ids(run) == list(range(30))
    assert [row["symbol"] for row in run.rows] == [f"a{at}" for at in range(30)]


@pytest.mark.parametrize("status", [404, 500])
def test_one_asset_that_fails_costs_only_itself(api, extract, block, status):
    api.answer = lambda path, _query: (status, {}, b"no") if path.endswith("/a3") else rows(0, 1)
    run = extract(block(each(), tries=1), assets=many(8))
    assert [row["symbol"] for row in run.rows] == [f"a{at}" for at in range(8) if at != 3]
    assert [item for item, _ in run.notices] == ["a3"]
    assert f"answered {status}" in run.notices[0][1]


def test_when_every_asset_fails_the_source_fails(api, extract, block):
    api.answer = lambda _path, _query: (404, {}, b"no")
    with pytest.raises(SourceError, match="answered 404"):
        extract(block(each()), assets=many(6))
    assert len(api.seen) == 6


@pytest.mark.parametrize("status", [401, 403, 451])
def test_what_every_asset_would_get_is_not_asked_for_each(api, extract, block, status):
    api.answer = lambda _path, _query: (status, {}, b"no")
    with pytest.raises(SourceError, match=f"answered {status}"):
        extract(block(each(), parallel=2), assets=many(50))
    assert len(api.seen) <= 3


def test_a_host_that_is_down_is_given_up_after_a_few_assets(api, extract, block):
    api.answer = lambda _path, _query: (503, {}, b"")
    with pytest.raises(SourceError, match="answered 503"):
        extract(block(each(), parallel=2, tries=1), assets=many(50))
    assert len(api.seen) <= 8


def test_leaving_early_ends_what_is_under_way(api, block, tmp_path):
    from engine.extract import pages
    from sources.protocol import SourceContext
    from sources.rest.settings import RestSource

    api.answer = lambda path, _query: rows(0, 1) if path.endswith("/a0") else (429, {"Retry-After": "60"}, b"")
    assets = many(9)
    resource = RestSource.model_validate(block(each(), budget=100)).resources_of("probe", assets)[0]
    context = SourceContext("probe", assets, NOW, tmp_path, tmp_path, lambda *_, **__: None)
    iterator = pages(resource.build(context), "probe", {})
    assert len(next(iterator)) == 1
    began = time.monotonic()
    iterator.close()
    assert time.monotonic() - began < 5


def failing_on(api, page: str, listing, *, paged: str):
    """Two assets, ten rows a page; a1 fails on one page until the returned switch is cleared."""
    broken = {"now": True}

    def answer(path, query):
        asked = query[paged]
        if broken["now"] and path.endswith("/a1") and asked == page:
            return 500, {}, b""
        new = [row for row in listing if row["updated"] >= query["since"].replace("Z", "+00:00")]
        return new[(int(query.get("page", 1)) - 1) * 10 :][:10]

    api.answer = answer
    return broken


def delivered(run, symbol: str) -> list[int]:
    return [row["id"] for row in run.rows if row["symbol"] == symbol]


PAGED = {**SINCE, **each(), "columns": {**SINCE["columns"], "symbol": {"value": "{each}"}}}


@pytest.mark.parametrize("newest_first", [True, False], ids=["newest first", "oldest first"])
def test_an_asset_that_fails_on_a_later_page_is_delivered_once(api, extract, block, newest_first):
    listing = [{"id": number, "updated": moment(number)} for number in range(25)]
    broken = failing_on(api, "2", listing[::-1] if newest_first else listing, paged="page")
    words, state = {**PAGED, "paginate": {"type": "page_number"}}, {}
    first = extract(block(words, tries=1), assets=many(2), state=state)
    assert [item for item, _ in first.notices] == ["a1"]
    broken["now"] = False
    second = extract(block(words, tries=1), assets=many(2), state=state)
    for symbol in ("a0", "a1"):
        got = delivered(first, symbol) + delivered(second, symbol)
        assert sorted(got) == list(range(25)), symbol


def test_an_asset_that_pages_along_its_cursor_goes_on_behind_the_page_that_failed(api, extract, block):
    listing = [{"id": number, "updated": moment(number)} for number in range(25)]
    broken = failing_on(api, moment(9).replace("+00:00", "Z"), listing, paged="since")
    words, state = {**PAGED, "incremental": {**SINCE["incremental"], "full_page": 10}}, {}
    first = extract(block(words, tries=1), assets=many(2), state=state)
    assert delivered(first, "a1") == list(range(10))
    broken["now"] = False
    second = extract(block(words, tries=1), assets=many(2), state=state)
    assert delivered(second, "a1") == list(range(10, 25))
    assert delivered(second, "a0") == []


def test_a_walk_too_long_to_be_held_back_fails_the_table(api, extract, block, monkeypatch):
    monkeypatch.setattr("sources.rest.resource.MOST_HELD", 15)
    listing = [{"id": number, "updated": moment(number)} for number in range(25)]
    broken = failing_on(api, "3", listing, paged="page")
    words = {**PAGED, "paginate": {"type": "page_number"}}
    with pytest.raises(SourceError, match="answered 500"):
        extract(block(words, tries=1), assets=many(2))
    broken["now"] = False
    assert len(extract(block(words, tries=1), assets=many(2)).rows) == 50


def test_an_asset_that_failed_is_counted_as_missed(api, extract, block):
    api.answer = lambda path, _query: (500, {}, b"no") if path.endswith("/a3") else rows(0, 1)
    missed: list[str] = []
    extract(block(each(), tries=1), assets=many(8), missed=missed.append)
    assert missed == ["a3"]
