"""The real models over a handful of rows, on a DuckDB file; each test breaks a table and puts it back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from tests.vault.adapter import Models

NOW = "2026-05-01T12:00:00Z"


@dataclass
class Built:
    """Models that were run once over sound rows."""

    models: Models

    def snapshot(self, name: str) -> Any:
        return next(s for s in self.models.context.snapshots.values() if s.name.replace('"', "").endswith(f".{name}"))

    def table(self, name: str) -> str:
        """The physical table of a model."""
        return str(self.snapshot(name).table_name())

    def audit(self, name: str, statements: Sequence[str] = ()) -> list[Any]:
        """Break what `{schema.model}` stands for, run the model's audits over all that arrived, put it back."""
        from sqlmesh.core.snapshot import DeployabilityIndex
        from sqlmesh.core.snapshot.definition import parent_snapshots_by_name

        from engine.models.checks import listen

        context = self.models.context
        known = {snapshot.snapshot_id: snapshot for snapshot in context.snapshots.values()}
        adapter = context.snapshot_evaluator.adapter
        evaluator = context.snapshot_evaluator
        whole = evaluator.audit, evaluator.set_correlation_id
        checks = listen(context)
        adapter.execute("BEGIN TRANSACTION")
        try:
            for statement in statements:
                for model in {"landing._packages", *(m.name for m in context.models.values())}:
                    if f"{{{model}}}" in statement:
                        table = model if model.startswith("landing.") else self.table(model)
                        statement = statement.replace(f"{{{model}}}", table)  # noqa: PLW2901
                adapter.execute(statement)
            evaluator.audit(
                snapshot=self.snapshot(name),
                snapshots=parent_snapshots_by_name(self.snapshot(name), known),
                start="2026-01-01",
                end="2100-01-01",
                execution_time="2100-01-01",
                deployability_index=DeployabilityIndex.all_deployable(),
            )
            for check in checks.all:
                if check.failed_rows and check.sample:
                    assert adapter.fetchone(f"SELECT count(*) FROM ({check.look})") != (0,), check.look
        finally:
            adapter.execute("ROLLBACK")
            evaluator.audit, evaluator.set_correlation_id = whole
        return checks.all


@pytest.fixture(scope="session")
def built() -> Iterator[Built]:
    """Customers, companies, transactions, prices of three sources, candles and an article."""
    with closing(Models("duckdb")) as models:
        day = "2026-05-01T10:00:00Z"
        models.land(
            "raw_customers",
            [
                {
                    "customer_id": "C1",
                    "customer_tier": "GOLD",
                    "company_id": "O1",
                    "source": "crm",
                    "load_timestamp": "2026-04-01T00:00:00Z",
                },
                {
                    "customer_id": "C1",
                    "customer_tier": "SILVER",
                    "company_id": "O1",
                    "source": "crm",
                    "load_timestamp": NOW,
                },
                {"customer_id": "C2", "customer_tier": "GOLD", "source": "crm", "load_timestamp": NOW},
            ],
        )
        models.land("raw_corporates", [{"company_id": "O1", "company_name": "Quay", "load_timestamp": NOW}])
        for table, number, owner in (("personal", "T1", "C1"), ("personal", "T2", "C2"), ("corporate", "T3", "O1")):
            models.land(
                f"raw_transaction_{table}",
                [
                    {
                        "transaction_id": number,
                        "customer_id": owner,
                        "asset_symbol": "BTC",
                        "asset_type": "crypto",
                        "quantity": "2",
                        "price_per_unit": "5",
                        "transaction_amount": "10",
                        "fee_amount": "1",
                        "transaction_timestamp": day,
                        "load_timestamp": NOW,
                    },
                ],
            )
        for source, price in (("coingecko", "100"), ("yfinance", "101"), ("binance", "100")):
            models.land(
                f"raw_cryptoprices_{source}",
                [
                    {
                        "symbol": "BTC",
                        "base_currency": "BTC",
                        "quote_currency": "USD",
                        "price": price,
                        "observed_at": at,
                        "source": source,
                        "load_timestamp": NOW,
                    }
                    for at in (day, "2099-12-31T00:00:00Z")
                ],
            )
        models.land(
            "raw_stockprices_yfinance",
            [
                {
                    "ticker": "AAPL",
                    "close_price": "200",
                    "observed_at": "2099-12-31T00:00:00Z",
                    "source": "yfinance",
                    "load_timestamp": NOW,
                }
            ],
        )
        models.land(
            "raw_crypto_candles_binance",
            [
                {
                    "symbol": "BTCUSDT",
                    "base_currency": "BTC",
                    "quote_currency": "USDT",
                    "interval": "1h",
                    "open_time": f"2026-05-01T0{hour}:00:00Z",
                    "close_time": f"2026-05-01T0{hour}:59:59.999Z",
                    "open": "1",
                    "high": "2",
                    "low": "1",
                    "close": "2",
                    "load_timestamp": NOW,
                }
                for hour in range(5)
            ],
        )
        models.land(
            "raw_news", [{"url": "u", "ticker": "BTC", "asset_type": "crypto", "title": "t", "load_timestamp": NOW}]
        )
        models.run(None)
        yield Built(models)
