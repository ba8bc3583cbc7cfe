"""Every fault of the market replay, met by the shipped blocks: all rows arrive, or one clear message says why not."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.errors import SourceError
from sources.market_replay import MarketReplay
from sources.market_replay.faults import Fault
from sources.protocol import Asset

PROJECT = Path(__file__).parents[3]
FIXED = {"asset_symbol", "asset_type", "asset_name", "asset_category"}
GECKO, BINANCE = "api.coingecko.com", "data-api.binance.vision"

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def market() -> Iterator[MarketReplay]:
    with MarketReplay() as replay:
        yield replay


@pytest.fixture
def replay(market: MarketReplay) -> Iterator[MarketReplay]:
    yield market
    market.clear_faults()


@pytest.fixture(scope="module")
def crypto() -> dict[str, list[Asset]]:
    with (PROJECT / "transforms" / "seeds" / "assets.csv").open() as lines:
        rows = [row for row in csv.DictReader(lines) if row["asset_type"] == "crypto"][:20]
    return {
        "crypto": [
            Asset(row["asset_symbol"], "crypto", symbols={key: row[key] for key in row.keys() - FIXED}) for row in rows
        ]
    }


@pytest.fixture
def land(extract, shipped, replay, crypto):
    def run(source: str, only: str = "", **client):
        block = shipped(source, redirected=False)
        block["client"] |= {"budget": 8, **client}
        return extract(block, only=only, assets=crypto, replay_url=replay.url, now=datetime.now(UTC))

    return run


PASSING = [
    Fault("status", status=500, times=2),
    Fault("status", status=503, retry_after="1"),
    Fault("status", status=429, retry_after="0", times=2),
    Fault("status", status=429, retry_after="1"),
    Fault("status", status=429, retry_after="date:1"),
    Fault("status", status=418, retry_after="1"),
    Fault("reset_before"),
    Fault("reset_middle", count=2000),
    Fault("slow", seconds=0.5),
]


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: f"{fault.kind}-{fault.status}-{fault.retry_after}")
def test_what_passes_loses_nothing_and_doubles_nothing(replay, land, crypto, fault):
    (armed,) = replay.inject(fault)
    run = land("coingecko")
    assert armed.fired == (fault.times or 1)
    asked = [asset.symbols["coingecko"] for asset in crypto["crypto"]]
    assert sorted(row["symbol"] for row in run.rows) == sorted(asked)
    assert run.notices == []


FAILING = [
    (Fault("status", status=451), "answered 451: it refuses your region"),
    (Fault("status", status=401), "answered 401: it refuses the credentials"),
    (Fault("status", status=403), "answered 403: it forbids"),
    (Fault("status", status=418, retry_after="none"), "banned"),
    (Fault("status", status=429, retry_after="600"), "asks to wait 600 s; a request waits 8 s at most"),
    (Fault("status", status=500, times=None), "answered 500 ("),
    (Fault("error_object"), "is an object where a list of rows is expected"),
    (Fault("html"), "an HTML page where JSON was expected"),
    (Fault("empty"), "an empty body"),
    (Fault("truncated_json"), "broken off or malformed"),
    (Fault("redirect", to="https://elsewhere.example/x"), "sends on to https://elsewhere.example"),
    (Fault("reset_before", times=None), "broke the connection off"),
    (Fault("trickle", rate=1, times=None), "did not finish its answer within"),
    (Fault("gzip_bomb", size=80_000_000), "sent more than 1 MiB"),
    (Fault("huge_answer", size=20_000_000), "sent more than 1 MiB"),
]


@pytest.mark.parametrize(("fault", "words"), FAILING, ids=lambda given: getattr(given, "kind", None))
def test_what_does_not_pass_gives_one_clear_message(replay, land, fault, words):
    (armed,) = replay.inject(fault)
    with pytest.raises(SourceError) as caught:
        land("coingecko", deadline=2, budget=8 if fault.kind != "trickle" else 3, max_body_mb=1)
    assert armed.fired >= 1
    assert words in caught.value.reason
    assert caught.value.reason.startswith(f"probe: {GECKO}/api/v3/coins/markets")
    assert caught.value.remedy
    assert "\n" not in caught.value.reason


def test_a_field_that_came_on_top_is_kept(replay, land):
    (armed,) = replay.inject(Fault("added_field", field="newField", to="x"))
    rows = land("coingecko").rows
    assert armed.fired == 1
    assert all(row["new_field"] == "x" for row in rows)


@pytest.mark.parametrize(
    "fault",
    [Fault("removed_field", field="current_price"), Fault("renamed_field", field="current_price", to="price_now")],
    ids=lambda fault: fault.kind,
)
def test_a_field_that_went_is_said(replay, land, fault):
    (armed,) = replay.inject(fault)
    run = land("coingecko")
    assert armed.fired == 1
    assert all(row["price"] is None for row in run.rows)
    assert any("'current_price' (column price) is in none of 20 rows" in message for _, message in run.notices)


@pytest.mark.parametrize(
    ("fault", "price"),
    [
        (Fault("null", field="current_price", row=0), None),
        (Fault("nan", field="current_price", row=0), "NaN"),
        (Fault("literal", field="current_price", to="18446744073709551616", row=0), 2**64),
        (Fault("retyped_field", field="current_price", to="bool", row=0), True),
    ],
    ids=lambda given: getattr(given, "kind", None),
)
def test_odd_values_reach_the_typing_step_as_sent(replay, land, fault, price):
    (armed,) = replay.inject(fault)
    rows = land("coingecko").rows
    assert armed.fired == 1
    assert rows[0]["price"] == price
    assert len(rows) == 20


@pytest.mark.parametrize("to", ["nul", "surrogate", "rtl", "emoji"])
def test_odd_text_reaches_the_typing_step_as_sent(replay, land, to):
    (armed,) = replay.inject(Fault("odd_text", field="name", to=to, row=0))
    rows = land("coingecko").rows
    assert armed.fired == 1
    sent = {"nul": "\0", "surrogate": "\ud800", "rtl": "\u202e", "emoji": "\U0001f600"}
    assert isinstance(rows[0]["name"], str)
    assert any(ord(letter) > 127 or letter == "\0" for letter in rows[0]["name"]), sent[to]


def test_one_symbol_that_binance_does_not_know(replay, land, crypto):
    crypto["crypto"].append(Asset("NOPE", "crypto", symbols={"binance": "NOPEUSDT"}))
    try:
        run = land("binance", "ticker")
    finally:
        crypto["crypto"].pop()
    carried = [asset.symbols["binance"] for asset in crypto["crypto"] if asset.symbols["binance"]]
    assert sorted(row["symbol"] for row in run.rows) == sorted(carried)
    assert run.notices == [("NOPEUSDT", "Binance does not know this symbol")]


def test_candles_of_one_asset_that_fail_cost_only_themselves(replay, land, crypto):
    (armed,) = replay.inject(Fault("status", host=BINANCE, query="ETHUSDT", status=404, times=None))
    run = land("binance", "candles")
    assert armed.fired == 2
    carried = {asset.symbols["binance"] for asset in crypto["crypto"] if asset.symbols["binance"]}
    assert {row["symbol"] for row in run.rows} == carried - {"ETHUSDT"}
    assert {item for item, _ in run.notices} == {"ETHUSDT"}
    days = [row for row in run.rows if row["interval"] == "1d" and row["symbol"] == "BTCUSDT"]
    assert len({row["open_time"] for row in days}) == len(days)
    assert len(days) in {365, 366}
