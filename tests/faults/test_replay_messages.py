"""Every fault of the market replay: the message a user gets, and that nothing was lost or doubled.

One project asks the replay again and again; each test arms one fault for a run, and after a failure runs once more.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from destinations import open_destination
from destinations.settings import DucklakeSettings
from sources.http import limits
from sources.market_replay import Fault, MarketReplay
from sources.market_replay.faults import Kind
from tests.faults.rest_project import ROOT, Finished, engine

pytestmark = [pytest.mark.faults, pytest.mark.xdist_group("replay-messages")]

COINGECKO = "api.coingecko.com"
PRO = "pro-api.coingecko.com"
BINANCE = "data-api.binance.vision"
QUICK = {"timeout": 8, "deadline": 10, "budget": 25, "tries": 2, "max_body_mb": 1}
LATER = "Run again later; what was landed before stays."
LISTING = "raw_listing"
PRICES = "raw_cryptoprices_coingecko"
TICKER = "raw_cryptoprices_binance"
SOURCE_OF = {PRICES: "coingecko", TICKER: "binance", LISTING: "listing"}


@dataclass(frozen=True)
class Case:
    """A fault and what a run under it must show. `fails`: nothing of the table lands, the words are in the line.

    Otherwise the run is a success; `note` is a sentence of the summary, and of the table's rows `aside` are set aside.
    """

    fault: Fault
    fails: tuple[str, ...] = ()
    note: str = ""
    aside: int = 0
    table: str = PRICES
    client: tuple[tuple[str, float], ...] = ()
    """Shorter bounds than the others': a fault that is about them."""


def coingecko(kind: Kind, **words: Any) -> Fault:
    return Fault(kind, host=COINGECKO, query="ids=", times=None, **words)


def listing(kind: Kind, **words: Any) -> Fault:
    return Fault(kind, host=PRO, query="per_page=20", times=None, **words)


RENAMED = "the field 'current_price' (column price) is in none of 3 rows: has the API renamed it?"
CASES: dict[str, Case] = {
    "status 429": Case(coingecko("status", status=429, retry_after="none"), ("answered 429 (2 times", LATER)),
    "status 429, wait": Case(coingecko("status", status=429), ("asks to wait 60 s", "Run again in 1 minutes")),
    "status 429, wait 0": Case(coingecko("status", status=429, retry_after="0"), ("answered 429 (2 times", LATER)),
    "status 429, date": Case(
        coingecko("status", status=429, retry_after="date:90"), ("answered 429 and asks to wait",)
    ),
    "status 418": Case(coingecko("status", status=418, retry_after="none"), ("is banned", "lower `limits`")),
    "status 451": Case(coingecko("status", status=451), ("refuses your region", "Use a host that serves it")),
    "status 401": Case(coingecko("status", status=401), ("401", "refuses the credentials", "Check that the key")),
    "status 500": Case(coingecko("status", status=500), ("answered 500 (2 times", LATER)),
    "status 503": Case(coingecko("status", status=503), ("answered 503 (2 times", LATER)),
    "error_object": Case(coingecko("error_object"), ("answered 200", "where a list of rows is expected")),
    "html": Case(coingecko("html"), ("answered 200 with an HTML page", "look at the address in a browser")),
    "empty": Case(coingecko("empty"), ("answered 200 with an empty body",)),
    "recording": Case(
        coingecko("recording", to="coingecko/error_401_10005_pro_only.json"), ("401", "refuses the credentials")
    ),
    "redirect": Case(coingecko("redirect"), ("sends on to https://elsewhere.invalid", "client.redirect_hosts")),
    "added_field": Case(coingecko("added_field", field="mood", to="fine")),
    "removed_field": Case(coingecko("removed_field", field="current_price"), note=RENAMED),
    "renamed_field": Case(coingecko("renamed_field", field="current_price", to="last_price"), note=RENAMED),
    "retyped_field, text": Case(coingecko("retyped_field", field="current_price", to="text")),
    "retyped_field, object": Case(
        coingecko("retyped_field", field="current_price", to="object"),
        note=f"set aside in {PRICES}: 3 rows: price: a nested value in a decimal column",
        aside=3,
    ),
    "retyped_field, bool": Case(
        coingecko("retyped_field", field="current_price", to="bool", row=1),
        note=f"set aside in {PRICES}: 1 row: price: a boolean in a decimal column",
        aside=1,
    ),
    "null": Case(coingecko("null", field="current_price")),
    "nan": Case(coingecko("nan", field="current_price", row=0), note="1 row: price: not a number"),
    "huge_number": Case(
        coingecko("huge_number", field="current_price"),
        note=f"set aside in {PRICES}: 3 rows: price: a decimal with more than 20 digits before the point",
        aside=3,
    ),
    "literal": Case(coingecko("literal", field="current_price", to="18446744073709551616")),
    "odd_text, nul": Case(
        coingecko("odd_text", field="name", to="nul"), note=f"set aside in {PRICES}: 3 rows: name: ", aside=3
    ),
    "odd_text, surrogate": Case(
        coingecko("odd_text", field="name", to="surrogate"), note=f"set aside in {PRICES}: 3 rows: name: ", aside=3
    ),
    "odd_text, emoji": Case(coingecko("odd_text", field="name", to="emoji")),
    "duplicate_rows": Case(coingecko("duplicate_rows", count=2)),
    "empty_page": Case(coingecko("empty_page"), note="the answer has no row for this symbol"),
    "future_times": Case(coingecko("future_times", seconds=10 * 365 * 86_400)),
    "seconds_for_milliseconds": Case(
        Fault("seconds_for_milliseconds", host=BINANCE, times=None),
        note="an epoch number outside the years 1990 to 2100: is its unit right?",
        aside=2,
        table=TICKER,
    ),
    "shifting_pages": Case(listing("shifting_pages", count=5), table=LISTING),
    "looping_pages": Case(listing("looping_pages", count=1), ("goes in a circle", "Check `paginate:`"), table=LISTING),
    "reset_before": Case(coingecko("reset_before"), ("broke the connection off (2 times", LATER)),
    "reset_middle": Case(coingecko("reset_middle"), ("broke the connection off (2 times", LATER)),
    "slow": Case(coingecko("slow", seconds=2.5), ("stopped answering (timeout)", LATER), client=(("timeout", 1),)),
    "trickle": Case(
        coingecko("trickle", rate=40), ("did not finish its answer within 1.0 s", LATER), client=(("deadline", 1),)
    ),
    "truncated_json": Case(coingecko("truncated_json"), ("answered 200 with JSON that is broken off",)),
    "huge_answer": Case(coingecko("huge_answer", size=3_000_000), ("sent more than 1 MiB",)),
    "gzip_bomb": Case(coingecko("gzip_bomb", size=3_000_000), ("sent more than 1 MiB",)),
}


class Market:
    """The project, and what its runs landed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "pipelines.yaml"
        document = yaml.safe_load((ROOT / "pipelines.yaml").read_text())
        document["assets"] = {"crypto": {**document["assets"]["crypto"], "top": 3}}
        sources = document["sources"]
        kept = {name: sources[name] for name in ("binance", "coingecko")}
        del kept["binance"]["resources"]["candles"]
        kept["listing"] = {
            "type": "rest",
            "client": {"base_url": f"https://{PRO}/api/v3", "headers": {"x-cg-pro-api-key": "demo"}},
            "resources": {
                LISTING: {
                    "path": "coins/markets",
                    "params": {"vs_currency": "usd", "per_page": 20},
                    "paginate": {"type": "page_number"},
                    "numbers": "text",
                    "primary_key": ["id"],
                    "columns": {"id": {}},
                }
            },
        }
        for source in kept.values():
            source["client"].update(QUICK)
            source["client"].pop("limits", None)
        document["sources"] = kept
        document["pipelines"] = {"pull": {"extract": list(kept), "load": ["warehouse"], "transform": False}}
        self.document = document
        (folder / "transforms").mkdir()
        shutil.copytree(ROOT / "transforms" / "seeds", folder / "transforms" / "seeds")

    def run(self, url: str, client: tuple[tuple[str, float], ...] = ()) -> tuple[Finished, str]:
        """Run the pipeline on the replay at `url`, CoinGecko within these bounds; return the run's id as well."""
        self.document["sources"]["coingecko"]["client"].update({**QUICK, **dict(client)})
        self.document["profiles"] = {
            "replay": {
                "data": ".data",
                "market": "replay",
                "market_url": url,
                "lake": {"type": "filesystem", "path": ".data/lake"},
                "warehouse": {"type": "ducklake", "path": ".data/warehouse"},
            }
        }
        self.file.write_text(yaml.safe_dump(self.document, sort_keys=False))
        run = engine("run", "pull", "--file", str(self.file), "--profile", "replay")
        found = re.search(r"\(run (\S+)\)", run.out)
        assert found, run.text
        return run, found[1]

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        settings = DucklakeSettings(type="ducklake", path=".data/warehouse")
        with open_destination("warehouse", settings, self.folder, self.folder / ".data").reader() as connection:
            rows: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
            return rows

    def outcome(self, run_ids: list[str]) -> dict[tuple[str, str], tuple[Counter[str], int]]:
        """By run and table: how often each symbol landed, and how many rows were set aside."""
        wanted = ", ".join(f"'{run_id}'" for run_id in run_ids)
        parts = [
            f"SELECT _run_id, '{table}', {key}, count(*) FROM landing.{table} WHERE _run_id IN ({wanted}) GROUP BY ALL"
            for table, key in ((PRICES, "symbol"), (TICKER, "symbol"), (LISTING, "id"))
        ]
        parts.append(
            "SELECT _run_id, table_name, NULL, count(*) FROM landing._quarantine "
            f"WHERE _run_id IN ({wanted}) AND reason NOT LIKE 'not a number%' GROUP BY ALL"
        )
        found: dict[tuple[str, str], tuple[Counter[str], int]] = {
            (run_id, table): (Counter(), 0) for run_id in run_ids for table in SOURCE_OF
        }
        for run_id, table, symbol, count in self.ask(" UNION ALL ".join(parts)):
            landed, aside = found[run_id, table]
            if symbol is None:
                found[run_id, table] = (landed, aside + count)
            else:
                landed[symbol] += count
        return found


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    market = Market(tmp_path_factory.mktemp("market"))
    with MarketReplay() as replay:
        run, run_id = market.run(replay.url)
        assert run.code == 0, run.text
        found = market.outcome([run_id])
        assert [sum(found[run_id, table][0].values()) for table in (PRICES, TICKER)] == [
            3,
            2,
        ]  # no pair for the tether itself
    yield market
    doubled = market.ask("SELECT count(*) - count(DISTINCT _load_id) FROM landing._packages")
    assert doubled == [(0,)]


def served(replay: MarketReplay, table: str, first: int) -> Counter[str]:
    """What the replay's ledger says it served for a table, from its entry `first` on."""
    fields = {PRICES: ("ids=", "id"), LISTING: ("per_page=20", "id"), TICKER: ("symbols=", "symbol")}
    query, field = fields[table]
    return Counter(str(entry.row.get(field)) for entry in replay.ledger.entries()[first:] if query in entry.query)


def test_every_kind_of_fault_has_a_case() -> None:
    assert {case.fault.kind for case in CASES.values()} == set(_kinds(Kind))


def _kinds(union: Any) -> list[str]:
    return [kind for part in get_args(union) for kind in (_kinds(part) if get_args(part) else [part])]


@pytest.mark.parametrize("name", CASES)
def test_a_fault_is_said_in_one_line_and_nothing_is_lost_or_doubled(name: str, market: Market) -> None:
    case = CASES[name]
    source = SOURCE_OF[case.table]
    with MarketReplay() as replay:
        (armed,) = replay.inject(case.fault)
        run, run_id = market.run(replay.url, case.client)
        assert armed.fired > 0, "the fault did not fire"
        under_fault = {table: served(replay, table, 0) for table in SOURCE_OF}
        length = len(replay.ledger.entries())
        run_ids = [run_id]
        if case.fails:
            replay.clear_faults()
            limits._buckets.clear()  # as in the next process: a wait that a host asked for is over by then
            again, again_id = market.run(replay.url)
            assert (again.code, again.failures) == (0, []), again.text
            run_ids.append(again_id)
        healthy = {table: served(replay, table, length) for table in SOURCE_OF}

    assert len(run.text.splitlines()) <= 40
    assert "Traceback" not in run.text
    assert ", line " not in run.text
    if case.fails:
        assert run.code == 1, run.text
        (line,) = run.failures
        assert line.startswith(f"FAILED: {source}: ")
        assert " — " in line
        assert all(words in line for words in case.fails), line
        assert len(line) < 600
    else:
        assert (run.code, run.failures) == (0, []), run.text
        assert case.note in run.out

    found = market.outcome(run_ids)
    for table in SOURCE_OF:
        expected = Counter[str]() if case.fails and table == case.table else under_fault[table]
        landed, aside = found[run_id, table]
        assert aside == (case.aside if table == case.table else 0)
        assert not landed - expected, "more than was served"
        if case.fault.kind != "duplicate_rows":  # an answer that was cut off and asked for again is served twice
            expected = Counter(set(expected))
        if case.fault.kind == "shifting_pages":  # a row seen on two pages lands again only where its price has moved
            assert set(landed) == set(expected)
        else:
            assert sum((expected - landed).values()) == aside
        for again_id in run_ids[1:]:
            landed, aside = found[again_id, table]
            assert set(landed) == set(healthy[table])
            assert max(landed.values()) == 1
            assert aside == 0


def test_a_number_beyond_64_bits_lands_to_the_last_digit(market: Market) -> None:
    with MarketReplay() as replay:
        (armed,) = replay.inject(coingecko("literal", field="current_price", to="18446744073709551616", row=0))
        run, run_id = market.run(replay.url)
    assert (run.code, armed.fired) == (0, 1)
    prices = [row[0] for row in market.ask(f"SELECT price FROM landing.{PRICES} WHERE _run_id = '{run_id}'")]
    assert len(prices) == 3
    assert Decimal(2**64) in prices
