"""Company facts out of Yahoo's quoteSummary answer (v10), numbers as exact decimals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sources.yfinance.chart import read_json

MODULES = ("assetProfile", "summaryDetail", "quoteType")
"""The modules that hold the facts below; fewer modules, a smaller answer."""

Facts = dict[str, Any]
WHERE: dict[str, tuple[tuple[str, str], ...]] = {
    "company_name": (("quoteType", "longName"), ("quoteType", "shortName")),
    "sector": (("assetProfile", "sector"),),
    "industry": (("assetProfile", "industry"),),
    "market_cap": (("summaryDetail", "marketCap"),),
    "pe_ratio": (("summaryDetail", "trailingPE"),),
    "week_52_high": (("summaryDetail", "fiftyTwoWeekHigh"),),
    "week_52_low": (("summaryDetail", "fiftyTwoWeekLow"),),
    "avg_volume": (("summaryDetail", "averageVolume"),),
}
"""A column's places in the answer, the first that holds a value wins."""
NO_FACTS: Facts = dict.fromkeys(WHERE)


def parse_facts(body: bytes) -> Facts:
    """Read one answer; a fact that Yahoo does not know is None. Raises ValueError if the answer is something else."""
    answer = read_json(body)
    summary = answer.get("quoteSummary") if isinstance(answer, dict) else None
    results = summary.get("result") if isinstance(summary, dict) else None
    if not isinstance(results, list) or not results or not isinstance(results[0], dict):
        raise ValueError("the answer holds no company")
    modules = results[0]
    return {column: next((v for v in (_fact(modules, *p) for p in places) if v is not None), None)
            for column, places in WHERE.items()}  # fmt: skip


def _fact(modules: Mapping[str, Any], module: str, name: str) -> Any:
    block = modules.get(module)
    value = block.get(name) if isinstance(block, dict) else None
    if isinstance(value, dict):  # {"raw": 35.5, "fmt": "35.50"}; {} where Yahoo has nothing
        value = value.get("raw")
    return None if value in {"", "Infinity"} else value
