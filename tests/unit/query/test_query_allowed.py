"""What `engine query` lets through, by DuckDB's own parse: the first of its two layers."""

from __future__ import annotations

import pytest

from engine.errors import UsageError
from engine.query import check

READING = [
    "select 1",
    "SELECT 1;",
    "-- a comment\nselect 1",
    "from range(3)",
    "with x as (select 1) from x",
    "values (1), (2)",
    "table marts.fct_asset_prices",
    "describe marts.fct_asset_prices",
    "describe select 1",
    "show tables",
    "show all tables",
    "summarize marts.fct_asset_prices",
    "explain select 1",
    "explain analyze select 1",
    "/* why */ EXPLAIN (FORMAT json) SELECT 1",
    "select unnest([1, 2])",
    "from t pivot (sum(a) for b in (1, 2))",
    "select * from information_schema.tables",
    "select symbol, max(price) from marts.a group by all order by all limit 3",
]
REFUSED = [
    "",
    "   ",
    "-- nothing",
    "select 1; select 2",
    "select 1; drop table t",
    "insert into t values (1)",
    "update t set a = 1",
    "delete from t",
    "create table t (a int)",
    "create view v as select 1",
    "drop schema marts cascade",
    "truncate t",
    "alter table t add column b int",
    "attach '/elsewhere/other.duckdb' as other",
    "detach lake",
    "use memory",
    "copy (select 1) to '/elsewhere/x.csv'",
    "copy t from '/etc/passwd'",
    "export database '/elsewhere/x'",
    "install httpfs",
    "load sqlite_scanner",
    "pragma database_list",
    "pragma show_tables",
    "set threads = 1",
    "reset threads",
    "call pragma_version()",
    "checkpoint",
    "vacuum",
    "begin",
    "prepare p as select 1",
    "execute p",
    "explain insert into t values (1)",
    "explain/**/select 1",
    "explain analyze delete from t",
    "explain (format json) drop table t",
    "explain explain analyze copy (select 1) to 'x'",
    "select * from read_csv('/etc/passwd')",
    "select * from read_text('/etc/hostname')",
    "select * from glob('/*')",
    "select * from '/etc/passwd'",
    "select * from 'prices.parquet'",
    "select (select content from read_text('/etc/hostname'))",
    "with x as (from read_blob('/etc/hostname')) from x",
    "describe select * from read_csv('/etc/passwd')",
    "summarize '/etc/passwd'",
    "select * from sqlite_scan('catalog.sqlite', 'ducklake_table')",
    "select * from ducklake_expire_snapshots('lake', older_than => now())",
    "select * from query('drop table t')",
    "select * from duckdb_settings()",
    "select * from duckdb_secrets()",
    "select * from __ducklake_metadata_lake.ducklake_table",
    "select getenv('HOME')",
    "selec 1",
]


@pytest.mark.parametrize("sql", READING)
def test_reading_statements_pass(sql: str) -> None:
    check(sql)


@pytest.mark.parametrize("sql", REFUSED)
def test_everything_else_is_refused_with_a_remedy(sql: str) -> None:
    with pytest.raises(UsageError) as raised:
        check(sql)
    assert raised.value.remedy
    assert "Traceback" not in str(raised.value)


def test_the_refusal_says_what_is_wrong() -> None:
    with pytest.raises(UsageError, match="table function read_csv is not allowed"):
        check("select * from read_csv('/etc/passwd')")
    with pytest.raises(UsageError, match="more than one statement"):
        check("select 1; select 2")
    with pytest.raises(UsageError, match="DROP is not allowed"):
        check("drop table t")
