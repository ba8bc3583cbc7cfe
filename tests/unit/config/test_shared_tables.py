"""Two sources of one table: what one declares, the other's rows are typed by, whichever lands first."""

from __future__ import annotations

from engine.compose import typed_alike
from engine.table import Column, Contract, Table
from sources.protocol import Resource

PRICE = Column("price", "decimal", nullable=False, timezone="UTC", description="what it costs")


def resource(*columns: Column, table: str = "raw_orders", contract: Contract | None = None) -> Resource:
    return Resource(name="orders", table=Table(table, columns, contract=contract or Contract()), build=lambda _: None)  # type: ignore[arg-type, return-value]


def types(resources: list[Resource]) -> list[dict[str, str]]:
    return [{column.name: column.data_type for column in one.table.columns} for one in resources]


def test_a_declared_column_types_the_other_source_too() -> None:
    shared = typed_alike({"stream": [resource()], "batch": [resource(PRICE)]})
    assert types(shared["stream"]) == [{"price": "decimal"}]
    (there,) = shared["stream"][0].table.columns
    assert (there.nullable, there.timezone) == (True, None)  # how the batch writes it is its own affair
    assert shared["batch"][0].table.columns == (PRICE,)


def test_a_source_keeps_its_own_word() -> None:
    text = Column("price", "text")
    shared = typed_alike({"stream": [resource(text)], "batch": [resource(PRICE)]})
    assert types(shared["stream"]) == [{"price": "text"}]


def test_other_tables_and_positions_and_closed_contracts_are_left_alone() -> None:
    position = Column("_kafka_offset", "bigint")
    frozen = Contract(columns="freeze")
    shared = typed_alike(
        {
            "stream": [resource(position), resource(table="raw_others")],
            "batch": [resource(PRICE)],
            "strict": [resource(contract=frozen)],
        }
    )
    assert types(shared["stream"]) == [{"_kafka_offset": "bigint", "price": "decimal"}, {}]
    assert types(shared["batch"]) == [{"price": "decimal"}]
    assert types(shared["strict"]) == [{}]
