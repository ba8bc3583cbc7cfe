"""Asset lists: the file's rows, inline assets, columns that a user adds, and mistakes in the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config.assets import FIXED_COLUMNS, USUAL_COLUMNS, read_assets
from engine.config.load import Project
from sources.assets import asset_resource, asset_rows

HEADER = ",".join((*FIXED_COLUMNS, *USUAL_COLUMNS))
ROOT = Path(__file__).parents[3]


def test_rows_in_the_order_of_the_file_filtered_and_cut(edited: Callable[..., Project]) -> None:
    project = edited()
    assert [asset.symbol for asset in project.assets["crypto"]] == ["BTC", "ETH", "USDT"]
    assert project.assets["crypto"][0].symbols["coingecko"] == "bitcoin"
    assert project.assets["crypto"][2].symbols["binance"] == ""


def test_an_inline_symbol_takes_its_row_from_the_file(edited: Callable[..., Project]) -> None:
    sui = edited(("top: 3", "top: 1, add: [SUI]")).assets["crypto"][1]
    assert (sui.name, sui.category, sui.symbols["yfinance"]) == ("Sui", "Layer 1", "SUI20947-USD")


def test_an_inline_symbol_gets_the_usual_symbols(edited: Callable[..., Project]) -> None:
    project = edited(("top: 3", "top: 3, add: [NEW, {symbol: ODD, name: Oddcoin, binance: '', coingecko: odd-coin}]"))
    new, odd = project.assets["crypto"][3:]
    assert new.symbols == {"binance": "NEWUSDT", "coingecko": "", "yfinance": "NEW-USD", "freecryptoapi": "NEW"}
    assert (odd.name, odd.asset_type) == ("Oddcoin", "crypto")
    assert odd.symbols == {"binance": "", "coingecko": "odd-coin", "yfinance": "", "freecryptoapi": ""}
    assert project.assets["stocks"][1].symbols["yfinance"] == "ARM"
    assert project.assets["stocks"][1].symbols["binance"] == ""


def test_keys_of_an_inline_asset_go_before_its_row_in_the_file(edited: Callable[..., Project]) -> None:
    sui = edited(("top: 3", "top: 1, add: [{symbol: SUI, binance: ''}]")).assets["crypto"][1]
    assert (sui.name, sui.symbols["binance"], sui.symbols["coingecko"]) == ("Sui", "", "sui")


def test_bare_words_and_numbers_stay_text(edited: Callable[..., Project]) -> None:
    project = edited(("add: [ARM]", "add: [NO, TRUE, 007, 1, {symbol: 5, name: 1.50}]"))
    assert [asset.symbol for asset in project.assets["stocks"]][1:] == ["NO", "TRUE", "007", "1", "5"]
    assert project.assets["stocks"][5].name == "1.50"


def test_a_column_that_a_user_adds_is_a_source_symbol(folder: Path, edited: Callable[..., Project]) -> None:
    rows = (folder / "assets.csv").read_text().splitlines()
    extra = ["kraken", "XBTUSD", *[""] * (len(rows) - 2)]
    (folder / "assets.csv").write_text("\n".join(f"{row},{more}" for row, more in zip(rows, extra, strict=True)))
    project = edited(("top: 3", "top: 1, add: [{symbol: DOT, kraken: DOTUSD, yfinance: DOT-USD}]"))
    assert [asset.symbols["kraken"] for asset in project.assets["crypto"]] == ["XBTUSD", "DOTUSD"]


KRAKEN = """sources:
  kraken:
    type: rest
    client: {base_url: "https://api.kraken.com/0/public"}
    resources:
      raw_kraken:
        path: Ticker
        each: assets.crypto.COLUMN
        params: {pair: "{each}"}
        columns: {symbol: {value: "{each}"}}
"""


def test_an_inline_asset_names_its_symbol_at_a_source_that_only_the_yaml_knows(
    edited: Callable[..., Project], refused: Callable[..., str]
) -> None:
    new_source = ("sources:\n", KRAKEN.replace("COLUMN", "kraken_pair"))
    extract = ("extract: [coingecko, ", "extract: [kraken, coingecko, ")
    project = edited(("top: 3", "top: 1, add: [{symbol: XMR, name: Monero, kraken_pair: XMRUSD}]"), new_source, extract)
    assert [asset.at("kraken_pair") for asset in project.assets["crypto"]] == ["", "XMRUSD"]
    [kraken] = project.resources["kraken"]
    assert kraken.calls is not None
    assert kraken.calls.calls == 1
    landed = asset_resource(project.assets).table
    assert "kraken_pair" in [column.name for column in landed.columns]
    assert [row.get("kraken_pair") for row in asset_rows(project.assets)] == [None, "XMRUSD", None, None]
    by_name = edited(("top: 3", "top: 1, add: [{symbol: XMR, kraken: XMRUSD, kraken_pair: x}]"), new_source, extract)
    assert by_name.assets["crypto"][1].symbols["kraken"] == "XMRUSD"
    said = refused(("top: 3", "top: 1, add: [{symbol: XMR, kraken_par: XMRUSD}]"), new_source, extract)
    assert "unknown key 'kraken_par'" in said
    assert "Did you mean 'kraken_pair'?" in said
    said = refused(("top: 3", "top: 1, add: [{symbol: XMR, load_timestamp: x}]"), new_source, extract)
    assert "unknown key 'load_timestamp'" in said


def test_a_source_that_reads_the_assets_own_symbols_carries_each(edited: Callable[..., Project]) -> None:
    """An inline asset that no other source carries is one of them."""
    project = edited(
        ("top: 3", "top: 1, add: [{symbol: XMR, binance: ''}]"),
        ("sources:\n", KRAKEN.replace("COLUMN", "symbol")),
        ("extract: [coingecko, yfinance.crypto]", "extract: [kraken]"),
    )
    [kraken] = project.resources["kraken"]
    assert kraken.carries is not None
    assert [kraken.carries(asset) for asset in project.assets["crypto"]] == [True, True]


def test_a_list_of_inline_assets_only(edited: Callable[..., Project]) -> None:
    project = edited(("{file: assets.csv, where: {asset_type: stock}, add: [ARM]}", "{asset_type: stock, add: [ARM]}"))
    assert [asset.symbol for asset in project.assets["stocks"]] == ["ARM"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("BTC,crypto,Bitcoin", "3 values for 8 columns"),
        ("X,bond,X,,,,,", "asset_type 'bond' is neither crypto nor stock"),
        (",crypto,X,,,,,", "an asset symbol is empty"),
        ("AAPL,stock,Again,,,,AAPL,", "the asset 'AAPL' stands twice, on lines 6 and 7: a duplicate"),
        ('"A\x07",stock,Bell,,,,A,', "has control characters"),
        (f"{'A' * 65},stock,Long,,,,A,", "more than 64 characters"),
    ],
)
def test_a_bad_row_names_the_line_of_the_file(row: str, reason: str, folder: Path, refused: Callable[..., str]) -> None:
    with (folder / "assets.csv").open("a") as stream:
        stream.write(row + "\n")
    said = refused()
    assert said.startswith("assets.csv:7")
    assert reason in said
    assert said.endswith("Fix assets.csv, then run `engine validate`.")


def test_a_bad_header(folder: Path, refused: Callable[..., str]) -> None:
    (folder / "assets.csv").write_text("symbol,type\nBTC,crypto\n")
    assert "assets.csv:1" in (said := refused())
    assert f"the column 'asset_symbol' is missing\n  Set the first line to {HEADER}." in said
    (folder / "assets.csv").write_text(f"{HEADER},Bad Column\n")
    assert "the column name 'Bad Column' is not allowed" in refused()
    (folder / "assets.csv").write_bytes(b"\xff\xfe")
    assert "the assets file 'assets.csv' is not UTF-8 text" in refused()
    (folder / "assets.csv").write_bytes(bytes(100))
    assert "the assets file 'assets.csv' is not UTF-8 text" in refused()
    (folder / "assets.csv").write_text(f'{HEADER}\n"x')
    assert "not CSV: unexpected end of data" in refused()


@settings(deadline=None)
@given(st.text(max_size=120))
def test_any_text_is_rows_or_problems(text: str) -> None:
    table, problems = read_assets("assets.csv", f"{HEADER}\n{text}")
    assert table is not None or problems
    assert all(problem.lines() for problem in problems)


def test_the_seed_file_is_complete() -> None:
    table, problems = read_assets("assets.csv", (ROOT / "transforms/seeds/assets.csv").read_text())
    assert problems == []
    assert table is not None
    assert table.columns == (*FIXED_COLUMNS, *USUAL_COLUMNS)
    crypto = [row for _, row in table.rows if row["asset_type"] == "crypto"]
    stocks = [row for _, row in table.rows if row["asset_type"] == "stock"]
    assert len(crypto) >= 50
    assert len(stocks) >= 90
    assert crypto[0]["asset_symbol"] == "BTC"
    assert all(row["asset_name"] and row["asset_category"] and row["yfinance"] for row in (*crypto, *stocks))
    for column in ("coingecko", "freecryptoapi"):
        assert len({row[column] for row in crypto} - {""}) == len(crypto)
    assert all(row["binance"] in {"", f"{row['asset_symbol']}USDT"} for row in crypto)
    assert next(row["binance"] for row in crypto if row["asset_symbol"] == "USDT") == ""
