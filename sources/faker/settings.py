"""The YAML of a `type: faker` source: how many customers, corporates and transactions a run brings."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from engine.table import Column, Table
from sources.protocol import AssetLists, Resource, SourceContext


class Population(BaseModel):
    """Customers or corporates: the first run brings `first`; each later run changes some and adds some."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first: int = Field(default=1_000, ge=1, le=10_000_000, description="rows of the first run")
    changed: int = Field(default=50, ge=0, le=10_000_000, description="known ones that each later run brings changed")
    new: int = Field(default=20, ge=0, le=10_000_000, description="new ones that each later run adds")


class Corporates(Population):
    """As customers, fewer."""

    first: int = Field(default=200, ge=1, le=10_000_000, description="rows of the first run")
    changed: int = Field(default=5, ge=0, le=10_000_000, description="known ones that each later run brings changed")
    new: int = Field(default=2, ge=0, le=10_000_000, description="new ones that each later run adds")


class PersonalTransactions(BaseModel):
    """Transactions a run; the first run spreads them over `history_days` days, a later one since the run before."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int = Field(default=5_000, ge=0, le=100_000_000, description="transactions a run")
    history_days: int = Field(default=30, ge=1, le=3_650, description="days before now that the first run spreads over")


class CorporateTransactions(PersonalTransactions):
    """As personal ones, fewer and larger."""

    rows: int = Field(default=1_000, ge=0, le=100_000_000, description="transactions a run")


class FakerTables(BaseModel):
    """The four tables; each may be resized."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    raw_customers: Population = Field(default=Population(), description="people")
    raw_corporates: Corporates = Field(default=Corporates(), description="companies")
    raw_transaction_personal: PersonalTransactions = Field(
        default=PersonalTransactions(), description="what people buy and sell"
    )
    raw_transaction_corporate: CorporateTransactions = Field(
        default=CorporateTransactions(), description="what companies buy and sell"
    )


class FakerSource(BaseModel):
    """A source block of `type: faker`. One seed gives one world; changing it starts another beside it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["faker"] = Field(description="simulated customers, companies and transactions")
    optional: bool = Field(default=False, description="true: skipped with one line where a ${NAME} of it is not set")
    seed: int = Field(default=7, ge=0, le=999_999, description="one seed, one world: the same people and trades")
    resources: FakerTables = Field(default=FakerTables(), description="sizes of the four tables")

    def resources_of(self, name: str, assets: AssetLists) -> list[Resource]:  # noqa: ARG002 - lists come with the run
        """Return the four resources; light, draws nothing."""
        return [self._resource(name, table) for table in TABLES]

    def _resource(self, source: str, table: Table) -> Resource:
        def build(ctx: SourceContext) -> object:
            from sources.faker.resource import simulated

            return simulated(source, self, table, ctx)

        return Resource(name=table.name, table=table, build=build, simulated=True)


def _text(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, "text") for name in names)


def _decimals(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name, "decimal") for name in names)


CUSTOMERS = Table(
    name="raw_customers",
    columns=(
        Column("customer_id", "text", nullable=False),
        *_text("first_name", "last_name", "email", "gender", "age_group", "country"),
        Column("registration_date", "date"),
        *_text("customer_tier", "risk_tolerance", "customer_type", "company_id"),
        Column("is_kyc_verified", "bool"),
    ),
    primary_key=("customer_id",),
    description="Simulated customers; a changed one comes again with the same id",
)
CORPORATES = Table(
    name="raw_corporates",
    columns=(
        Column("company_id", "text", nullable=False),
        *_text("company_name", "company_type", "company_email", "country"),
        Column("year_founded", "bigint"),
        *_text("tax_number", "office_primary_location"),
        Column("registration_date", "date"),
    ),
    primary_key=("company_id",),
    description="Simulated companies; a changed one comes again with the same id",
)
TRANSACTION_COLUMNS = (
    Column("transaction_id", "text", nullable=False),
    *_text("customer_id", "asset_type", "asset_symbol", "transaction_type"),
    *_decimals("quantity", "price_per_unit", "transaction_amount", "fee_amount"),
    Column("transaction_timestamp", "timestamp"),
    Column("data_date", "date"),
    *_text("customer_tier", "customer_risk_tolerance", "customer_type", "data_source", "quote_currency"),
)
PERSONAL = Table(
    name="raw_transaction_personal",
    columns=TRANSACTION_COLUMNS,
    primary_key=("transaction_id",),
    description="Simulated transactions of customers",
)
CORPORATE = Table(
    name="raw_transaction_corporate",
    columns=TRANSACTION_COLUMNS,
    primary_key=("transaction_id",),
    description="Simulated transactions of companies; customer_id is the company's id",
)
TABLES = (CUSTOMERS, CORPORATES, PERSONAL, CORPORATE)
