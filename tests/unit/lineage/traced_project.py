"""One small project with the real models: a transaction delivered three times, its customer twice, prices, news."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from destinations import open_destination
from engine.compose import every_table
from engine.lake.lake import open_lake
from engine.models.graph import ModelGraph
from engine.trace import output as trace_output
from engine.trace.trace import Trace, trace

DAYS = ("2024-05-01", "2024-05-02", "2024-05-03")


@dataclass(frozen=True)
class Traced:
    """The project, its models, and the warehouse that a first run has filled."""

    project: Any
    graph: ModelGraph

    @property
    def lake_folder(self) -> Path:
        return Path(self.project.project_dir, self.project.profile.lake.path)

    def find(self, table: str, *key: str, limit: int = 100, lake: Path | None = None) -> Trace:
        """As `engine trace` does; `lake` is another folder than the project's."""
        project, model = self.project, self.graph.find(table)
        warehouse = open_destination(
            "warehouse", project.destinations["warehouse"], project.project_dir, project.data_dir
        )
        declared = {landed.name: landed.primary_key for landed in every_table(project)}
        settings = project.profile.lake.model_copy(update={"path": str(lake)}) if lake else project.profile.lake
        with open_lake(settings, project.project_dir, project.data_dir / "cache") as opened:
            natural = declared.get(model.name.split(".", 1)[1], ())
            return trace(self.graph, model, warehouse, opened, key, natural=natural, limit=limit)

    def document(self, table: str, *key: str, **options: Any) -> dict[str, Any]:
        return trace_output.document(self.find(table, *key, **options))

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        settings = self.project.destinations["warehouse"]
        warehouse: Any = open_destination("warehouse", settings, self.project.project_dir, self.project.data_dir)
        with warehouse.reader() as connection:
            return [tuple(row.values()) for row in connection.sql(sql).to_arrow_table().to_pylist()]


def deliveries() -> Iterator[tuple[str, Sequence[Mapping[str, Any]]]]:
    """Yield packages: T-1 first, again unchanged under another spelling, and corrected."""
    yield "raw_assets", [row(DAYS[0], asset_symbol="BTC", asset_type="crypto", asset_name="Bitcoin")]
    yield (
        "raw_customers",
        [customer(DAYS[0], " c-1", "silver"), customer(DAYS[0], "C-2", "gold"), customer(DAYS[0], " ", "x")],
    )
    yield "raw_transaction_personal", [transaction(DAYS[0], "T-1"), transaction(DAYS[0], "T-2", customer_id="C-2")]
    yield "raw_transaction_personal", [transaction(DAYS[1], "t-1\u00a0")]
    yield "raw_transaction_personal", [transaction(DAYS[2], "T-1", fee_amount="2.5")]
    yield "raw_customers", [customer(DAYS[2], "C-1", "gold")]
    yield "raw_cryptoprices_binance", [price(day, amount) for day, amount in zip(DAYS, ("50", "52", "60"), strict=True)]
    yield "raw_cryptoprices_coingecko", [price(DAYS[0], "51", source="coingecko")]
    yield "raw_news", [row(DAYS[0], url="https://n/1", ticker="btc", asset_type="crypto", date=DAYS[0], title="up")]
    yield "raw_corporates", [row(DAYS[0], company_id="K-1", company_name="Kay")]


def row(day: str, **columns: Any) -> dict[str, Any]:
    """One row, extracted at noon of a day."""
    return {"load_timestamp": f"{day}T12:00:00Z", **columns}


def customer(day: str, customer_id: str, tier: str) -> dict[str, Any]:
    return row(day, customer_id=customer_id, first_name="Ann", country="VN", customer_tier=tier, company_id="K-1")


def transaction(day: str, transaction_id: str, **columns: Any) -> dict[str, Any]:
    return row(
        day,
        **{
            "transaction_id": transaction_id,
            "customer_id": "C-1",
            "asset_type": "crypto",
            "asset_symbol": "BTC",
            "transaction_type": "buy",
            "quantity": "2",
            "price_per_unit": "50",
            "transaction_amount": "100",
            "fee_amount": "1",
            "transaction_timestamp": f"{DAYS[0]}T10:00:00Z",
            **columns,
        },
    )


def price(day: str, amount: str, source: str = "binance") -> dict[str, Any]:
    columns = {"symbol": "BTC", "base_currency": "btc", "quote_currency": "USD", "price": amount, "source": source}
    return row(day, **columns, observed_at=f"{day}T00:00:00Z")
