"""Every recorded chart goes through the source, and its numbers are found again to the last digit."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import sources
from sources.protocol import Asset

FOLDER = Path(sources.__file__).parent / "market_replay/recordings/yahoo_chart_v8"
CHARTS = sorted(path for path in FOLDER.glob("*.json") if not path.name.startswith("error_"))
COLUMNS = {"open_price": "open", "high_price": "high", "low_price": "low", "close_price": "close", "volume": "volume"}


def recorded(path: Path) -> dict[str, Any]:
    """The recording, every number kept as the text that stands in the file."""
    answer = json.loads(path.read_bytes(), parse_float=lambda text: ("n", text), parse_int=lambda text: ("n", text))
    return answer["chart"]["result"][0]  # type: ignore[no-any-return]


def whole(value: Any) -> int:
    return int(value[1])


def test_recordings_are_there() -> None:
    assert len(CHARTS) == 30


@pytest.mark.parametrize("path", CHARTS, ids=lambda path: path.stem)
def test_every_number_is_found_again(path: Path, yahoo: Any, extract: Callable[..., Any]) -> None:
    result = recorded(path)
    meta = result["meta"]
    symbol = meta["symbol"]
    yahoo.charts[symbol] = (200, path.read_bytes())
    outcome = extract("stocks", [Asset(symbol, "stock")], facts=False, interval=meta["dataGranularity"])
    stamps = [whole(stamp) for stamp in result.get("timestamp", [])]
    quote = result["indicators"]["quote"][0]
    adjusted = result["indicators"].get("adjclose", [{}])[0].get("adjclose")
    zone = ZoneInfo(meta["exchangeTimezoneName"])
    assert outcome.error is None
    assert [row["observed_at"] for row in outcome.rows] == [datetime.fromtimestamp(s, tz=UTC) for s in stamps]
    for at, row in enumerate(outcome.rows):
        for column, name in COLUMNS.items():
            assert str(row[column]) == quote[name][at][1]
        assert row["adj_close_price"] == (Decimal(adjusted[at][1]) if adjusted else None)
        assert row["date"] == row["observed_at"].astimezone(zone).date()
        assert row["currency"] == meta["currency"]
        assert not any(isinstance(value, float) for value in row.values())
    events = result.get("events", {})
    paid = sum((Decimal(event["amount"][1]) for event in events.get("dividends", {}).values()), Decimal(0))
    assert sum(row["dividends"] for row in outcome.rows) == paid
    ratios = [Fraction(whole(e["numerator"]), whole(e["denominator"])) for e in events.get("splits", {}).values()]
    assert [Fraction(row["stock_splits"]) for row in outcome.rows if row["stock_splits"]] == ratios


@pytest.mark.parametrize(
    ("name", "live"),
    [("GME_3mo_1d_64", True), ("SPY_1d_261_2020-2021", True), ("chart-AAPL-2020-08-31-to-2020-11-07", False),
     ("chart-BTC-USD-2020-01-01-to-2020-01-03", False), ("hist-MSFT-dividends-2021-02-01-to-2022-01-31", False),
     ("AAPL_1mo_25_div8_split1", False), ("IDX_GSPC_1m_390_2022-03-18", False)],
)  # fmt: skip
def test_a_last_bar_off_the_grid_is_live(name: str, *, live: bool, yahoo: Any, extract: Callable[..., Any]) -> None:
    path = FOLDER / f"{name}.json"
    meta = recorded(path)["meta"]
    yahoo.charts[meta["symbol"]] = (200, path.read_bytes())
    outcome = extract("stocks", [Asset(meta["symbol"], "stock")], facts=False, interval=meta["dataGranularity"])
    assert [row["is_live"] for row in outcome.rows] == [False] * (len(outcome.rows) - 1) + [live]


def test_a_split_stands_on_its_day(yahoo: Any, extract: Callable[..., Any]) -> None:
    yahoo.charts["AAPL"] = (200, (FOLDER / "chart-AAPL-2020-08-31-to-2020-11-07.json").read_bytes())
    rows = extract("stocks", [Asset("AAPL", "stock")], facts=False).rows
    assert [(str(row["date"]), row["stock_splits"]) for row in rows if row["stock_splits"]] == [("2020-08-31", 4)]
    assert [(str(row["date"]), row["dividends"]) for row in rows if row["dividends"]] == [
        ("2020-11-06", Decimal("0.205"))
    ]


def test_crypto_rows(yahoo: Any, extract: Callable[..., Any]) -> None:
    yahoo.charts["BTC-USD"] = (200, (FOLDER / "chart-BTC-USD-2020-01-01-to-2020-01-03.json").read_bytes())
    outcome = extract("crypto", [Asset("BTC", "crypto", symbols={"yfinance": "BTC-USD"})])
    assert outcome.rows[-1] == {
        "symbol": "BTC-USD",
        "base_currency": "BTC",
        "quote_currency": "USD",
        "price": Decimal("7344.88427734375"),
        "open": Decimal("6984.4287109375"),
        "high": Decimal("7413.71533203125"),
        "low": Decimal("6914.99609375"),
        "volume": 28111481032,
        "volume_unit": "quote",
        "observed_at": datetime(2020, 1, 3, tzinfo=UTC),
        "interval": "1d",
        "is_live": False,
    }
    assert outcome.rows[0]["observed_at"] == outcome.rows[-1]["observed_at"] - timedelta(days=2)
