"""The yfinance block of pipelines.yaml."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from sources.protocol import Asset
from sources.yfinance.settings import YfinanceSource, yahoo_symbol

LISTS = {
    "crypto": [Asset("BTC", "crypto"), Asset("XYZ", "crypto", symbols={"yfinance": ""})],
    "stocks": [Asset("AAPL", "stock"), Asset("MSFT", "stock")],
}


def test_what_it_extracts_and_costs() -> None:
    crypto, stocks = YfinanceSource(type="yfinance").resources_of("yfinance", LISTS)
    assert (crypto.name, crypto.table.name, crypto.assets) == ("crypto", "raw_cryptoprices_yfinance", "crypto")
    assert (stocks.name, stocks.table.name, stocks.assets) == ("stocks", "raw_stockprices_yfinance", "stocks")
    assert crypto.calls is not None
    assert stocks.calls is not None
    assert (crypto.calls.calls, stocks.calls.calls) == (1 + 2, 2 * 2 + 2)
    assert crypto.backfill == timedelta(days=365)
    assert crypto.carries is not None
    assert [crypto.carries(asset) for asset in LISTS["crypto"]] == [True, False]


@pytest.mark.parametrize(
    ("asset", "symbol"),
    [
        (Asset("BTC", "crypto"), "BTC-USD"),
        (Asset("UNI", "crypto", symbols={"yfinance": "UNI7083-USD"}), "UNI7083-USD"),
        (Asset("BRK.B", "stock"), "BRK-B"),
        (Asset("VOD", "stock", symbols={"yfinance": "VOD.L"}), "VOD.L"),
        (Asset("XYZ", "stock", symbols={"yfinance": ""}), ""),
    ],
)
def test_symbols(asset: Asset, symbol: str) -> None:
    assert yahoo_symbol(asset) == symbol


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ({"resources": {"etfs": {}}}, "needs `kind: crypto` or `kind: stocks`"),
        ({"resources": {"stocks": {"interval": "1y"}}}, "interval"),
        ({"resources": {"stocks": {"tabel": "x"}}}, "tabel"),
        ({"client": {"parallel": 0}}, "greater than or equal to 1"),
    ],
)
def test_wrong_words_are_refused(block: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        YfinanceSource.model_validate({"type": "yfinance", **block})


def test_a_resource_of_another_name_and_table() -> None:
    block = {"type": "yfinance", "resources": {"hourly": {"kind": "crypto", "table": "raw_hourly", "interval": "1h"}}}
    (hourly,) = YfinanceSource.model_validate(block).resources_of("yahoo", LISTS)
    assert (hourly.name, hourly.table.name, hourly.backfill) == ("hourly", "raw_hourly", timedelta(days=59))


def test_settings_import_nothing_heavy() -> None:
    code = (
        "import sys, sources.yfinance.settings, sources.karpet.settings;"
        "print(sorted({'dlt', 'yfinance', 'pandas', 'karpet', 'requests', 'pyarrow'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
