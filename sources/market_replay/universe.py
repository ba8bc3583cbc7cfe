"""What the replay lists: every asset of the project's seed file, and some more real coins and stocks.

`universe.csv` beside this module gives each asset its symbols, a rounded start price, its supply (coins, shares), the
standard deviation of a day's log return, yearly dividends in dollars and its split. An asset that only the seed file
knows gets a start price hashed from its symbol, so that a new line there is answered at once.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
SEED_FILE = HERE.parents[1] / "transforms" / "seeds" / "assets.csv"
SYMBOL_COLUMNS = ("binance", "coingecko", "yfinance", "freecryptoapi")
HALTED = ("BCCUSDT", "HSRUSDT", "VENUSDT", "BCCBTC", "HSRBTC")
"""Binance pairs that no longer trade: all zeros, firstId -1."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One asset as the market knows it. An empty symbol says that the source does not carry it."""

    symbol: str
    asset_type: str
    name: str
    category: str
    binance: str
    coingecko: str
    yfinance: str
    freecryptoapi: str
    exchange: str
    start_price: float
    supply: float
    volatility: float
    yearly_dividend: float = 0.0
    split: tuple[int, int] | None = None
    """New shares for old ones, on the first Monday of June of every second year (`split_parity`)."""
    split_parity: int = 0

    @property
    def is_stock(self) -> bool:
        """Trades in the hours of the New York Stock Exchange only."""
        return self.asset_type == "stock"

    @property
    def pegged(self) -> bool:
        """A stablecoin: its price has no memory."""
        return self.category.lower() == "stablecoin"


class Universe:
    """The listings by each source's symbol."""

    def __init__(self, listings: Iterable[Listing]) -> None:
        self.listings = tuple(listings)
        self.by_binance = {item.binance: item for item in self.listings if item.binance}
        self.by_base = {item.symbol: item for item in self.listings if not item.is_stock}
        self.by_coingecko = {item.coingecko: item for item in self.listings if item.coingecko}
        self.by_yahoo = {item.yfinance: item for item in self.listings if item.yfinance}
        self.by_freecryptoapi = {item.freecryptoapi: item for item in self.listings if item.freecryptoapi}

    def __iter__(self) -> Iterator[Listing]:
        """In the order of the file: the greatest assets first."""
        return iter(self.listings)

    def __len__(self) -> int:
        """How many assets are listed."""
        return len(self.listings)


def load_universe(seed_file: Path | None = None) -> Universe:
    """The bundled universe with the seed file's symbols over it.

    Args:
        seed_file: the project's asset list; the default is the committed one, and a missing file adds nothing.
    """
    rows = {(row["asset_symbol"], row["asset_type"]): row for row in _rows(HERE / "universe.csv")}
    for seed in _rows(seed_file or SEED_FILE):
        key = (seed.get("asset_symbol", ""), seed.get("asset_type", ""))
        known = rows.setdefault(key, {})
        known.update({column: value for column, value in seed.items() if column and value})
    return Universe(_listing(row) for row in rows.values() if row.get("asset_symbol"))


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _listing(row: Mapping[str, str]) -> Listing:
    symbol, asset_type = row["asset_symbol"], row.get("asset_type") or "crypto"
    stock = asset_type == "stock"
    ratio, _, years = (row.get("split") or "").partition(" ")
    new, _, old = ratio.partition(":")
    return Listing(
        symbol=symbol,
        asset_type=asset_type,
        name=row.get("asset_name") or symbol,
        category=row.get("asset_category") or "other",
        **{column: row.get(column) or "" for column in SYMBOL_COLUMNS},
        exchange=row.get("exchange") or ("NMS" if stock else "CCC"),
        start_price=float(row.get("start_price") or _hashed_price(symbol, stock=stock)),
        supply=float(row.get("supply") or 500_000_000),
        volatility=float(row.get("daily_volatility") or (0.017 if stock else 0.035)),
        yearly_dividend=float(row.get("yearly_dividend") or 0),
        split=(int(new), int(old)) if old else None,
        split_parity=1 if years == "odd" else 0,
    )


def _hashed_price(symbol: str, *, stock: bool) -> float:
    """A price that stays the same for a symbol: 20 to 300 dollars a share, 0.05 to 50 a coin."""
    share = int.from_bytes(hashlib.blake2b(symbol.encode(), digest_size=4).digest(), "big") / 2**32
    return round(20 * 15**share, 2) if stock else round(0.05 * 1000**share, 4)
