"""`engine query` on a real warehouse: exact values, clear errors, and the reader behind the allow-list."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import duckdb
import pytest

from destinations.duckdb import DuckdbWarehouse
from destinations.ducklake import DucklakeWarehouse
from engine.errors import TickhouseError, UsageError
from engine.query import QueryResult, query
from engine.query_output import as_csv, as_json, as_table

Warehouse = DucklakeWarehouse | DuckdbWarehouse


@pytest.fixture(scope="module", params=["ducklake", "duckdb"])
def warehouse(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    folder = tmp_path_factory.mktemp(str(request.param))
    made: Warehouse = (
        DucklakeWarehouse("warehouse", folder / "warehouse", folder / "data")
        if request.param == "ducklake"
        else DuckdbWarehouse("warehouse", folder / "warehouse.duckdb", folder / "data")
    )
    with made as opened:
        opened._writer.execute("create schema marts")
        opened._writer.execute(
            "create table marts.fct_asset_prices as select 'BTC' as asset, 1.1::decimal(38, 18) as price, "
            "timestamptz '2026-05-01 12:00:00.000001+02:00' as at_time from range(3)"
        )
        opened.publish()
    return made


def test_values_are_exact_and_in_utc(warehouse: Warehouse) -> None:
    result = query(warehouse, "select distinct asset, price, at_time from marts.fct_asset_prices")
    assert result.columns == ("asset", "price", "at_time")
    assert result.types == ("VARCHAR", "DECIMAL(38,18)", "TIMESTAMP WITH TIME ZONE")
    assert result.rows == (("BTC", Decimal("1.1"), datetime(2026, 5, 1, 10, 0, 0, 1, tzinfo=UTC)),)
    assert json.loads(as_json(result)) == {
        "columns": ["asset", "price", "at_time"],
        "rows": [["BTC", "1.100000000000000000", "2026-05-01T10:00:00.000001+00:00"]],
    }


def test_every_type_has_a_json_form(warehouse: Warehouse) -> None:
    sql = """
        select sum(n)::hugeint, 'nan'::double, 1.5::double, null, true, date '2026-05-01', time '10:00', [1.5, 2],
            {'a': 1.5}, map {'k': 1}, 'x'::blob, interval 90 minute, uuid '00000000-0000-0000-0000-000000000001'
        from range(3) as t(n)
    """
    found = json.loads(as_json(query(warehouse, sql)))["rows"][0]
    assert found[:8] == [3, "nan", 1.5, None, True, "2026-05-01", "10:00:00", ["1.5", "2.0"]]
    assert found[8:11] == [{"a": "1.5"}, [["k", 1]], "78"]
    assert found[11:] == ["P0M0DT5400S", "00000000-0000-0000-0000-000000000001"]


def test_rows_may_be_bounded(warehouse: Warehouse) -> None:
    bounded = query(warehouse, "select * from range(5000)", max_rows=10)
    assert (len(bounded.rows), bounded.truncated) == (10, True)
    whole = query(warehouse, "select * from range(10)", max_rows=10)
    assert (len(whole.rows), whole.truncated) == (10, False)


@pytest.mark.parametrize("sql", ["describe marts.fct_asset_prices", "show tables from marts", "explain select 1"])
def test_statements_about_tables_answer(warehouse: Warehouse, sql: str) -> None:
    assert query(warehouse, sql).rows


def test_an_unknown_table_has_a_near_one(warehouse: Warehouse) -> None:
    with pytest.raises(UsageError, match=r"no table called fct_asset_price\b") as raised:
        query(warehouse, "select * from marts.fct_asset_price")
    assert raised.value.remedy == "Did you mean marts.fct_asset_prices?"
    with pytest.raises(UsageError) as raised:
        query(warehouse, "select * from fct_asset_prices")
    assert raised.value.remedy == "Did you mean marts.fct_asset_prices?"


@pytest.mark.parametrize("sql", ["select no_such from marts.fct_asset_prices", "select 'x'::int", "select no_such(1)"])
def test_a_wrong_statement_is_one_clear_error(warehouse: Warehouse, sql: str) -> None:
    with pytest.raises(UsageError) as raised:
        query(warehouse, sql)
    assert "\n" not in raised.value.reason
    assert raised.value.remedy


def test_a_runaway_query_is_stopped(warehouse: Warehouse) -> None:
    with pytest.raises(TickhouseError, match=r"stopped after 0\.3 seconds"):
        query(warehouse, "select count(*) from range(10000000) a, range(10000000) b", limit_seconds=0.3)


@pytest.mark.parametrize(
    "sql",
    [
        "insert into marts.fct_asset_prices select * from marts.fct_asset_prices",
        "drop table marts.fct_asset_prices",
        "from read_text('/etc/hostname')",
        "copy marts.fct_asset_prices to '/elsewhere/stolen.csv'",
        "attach '/elsewhere/other.duckdb' as other",
        "set enable_external_access = true",
        "set lock_configuration = false",
        "install httpfs",
        "from glob('/*')",
    ],
)
def test_the_reader_alone_refuses_too(warehouse: Warehouse, sql: str) -> None:
    """The second layer, with the allow-list out of the way."""
    with warehouse.reader() as connection, pytest.raises(duckdb.Error):
        connection.execute(sql)


def test_python_variables_are_not_tables(warehouse: Warehouse) -> None:
    import pyarrow as pa

    secret = pa.table({"n": [1]})
    assert secret.num_rows == 1
    with pytest.raises(UsageError, match="no table called secret"):
        query(warehouse, "select * from secret")


def test_csv_and_terminal_forms() -> None:
    result = QueryResult(
        ("a", "b"),
        ("VARCHAR", "DECIMAL(38,18)"),
        (("x, [red]", Decimal("1.500")), (None, Decimal("1E-18"))),
        truncated=True,
    )
    assert as_csv(result) == 'a,b\n"x, [red]",1.500\n,0.000000000000000001\n'
    table = as_table(result)
    assert [str(cell) for cell in table.columns[0].cells] == ["x, [red]", ""]
    assert [str(cell) for cell in table.columns[1].cells] == ["1.5", "0.000000000000000001"]
    assert table.columns[1].justify == "right"
    assert table.caption == "first 2 rows"


def test_asking_imports_no_pandas() -> None:
    """Binding a parameter would: half of the time of a short query."""
    import subprocess
    import sys

    code = "import sys; from engine.query import check; check(\"select 'it''s'\"); print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("sql", ["SHOW TABLES", "show  tables ;\n"])
def test_show_tables_lists_what_can_be_queried_in_every_schema(warehouse: Warehouse, sql: str) -> None:
    found = query(warehouse, sql)
    assert found.columns == ("schema", "name")
    assert ("marts", "fct_asset_prices") in found.rows
    assert ("landing", "_packages") in found.rows
    for schema, name in found.rows:
        query(warehouse, f'select count(*) from "{schema}"."{name}"')
    assert query(warehouse, "SHOW TABLES FROM marts").rows == (("fct_asset_prices",),)
