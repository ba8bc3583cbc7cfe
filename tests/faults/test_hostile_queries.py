"""`engine query`: no statement reads, writes or lasts beyond what it may."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.faults.rest_project import engine
from tests.faults.small_project import SmallProject, small_project

pytestmark = pytest.mark.faults


QUERIES = [
    "select * from read_csv('/etc/passwd')",
    "select * from read_text('/etc/passwd')",
    "select * from read_blob('/etc/passwd')",
    "select * from read_parquet('lake/**/*.parquet')",
    "select * from glob('/etc/*')",
    "select * from sniff_csv('/etc/passwd')",
    "from '/etc/passwd'",
    "from 'x.parquet'",
    'select * from "/etc/passwd"',
    "copy (select 1) to 'CANARY'",
    "copy landing.raw_orders to 'CANARY'",
    "attach 'CANARY' as other",
    "install httpfs",
    "load sqlite_scanner",
    "set enable_external_access = true",
    "reset lock_configuration",
    "pragma database_list",
    "call pragma_version()",
    "call ducklake_expire_snapshots('lake')",
    "call ducklake_cleanup_old_files('lake', cleanup_all => true)",
    "select * from ducklake_snapshots('lake')",
    "select * from ducklake_add_data_files('lake', 'raw_orders', ['x'])",
    "select * from lake.snapshots()",
    "select * from __ducklake_metadata_lake.ducklake_data_file",
    "select getenv('HOME')",
    "select * from duckdb_secrets()",
    "select * from duckdb_settings()",
    "select * from which_secret('s3://x', 's3')",
    "select 1; select 2",
    "select 1; drop table landing.raw_orders",
    "/* x */ select 1 /* ; */; delete from landing.raw_orders --",
    "with gone as (delete from landing.raw_orders returning *) select * from gone",
    "explain analyze delete from landing.raw_orders",
    "insert into landing.raw_orders (id) values (1)",
    "update landing.raw_orders set id = 1",
    "create table landing.x as select 1",
    "create temp table x as select 1",
    "create macro f() as 1",
    "drop schema landing cascade",
    "select pg_read_file('/etc/passwd')",
    "select lo_import('/etc/passwd')",
    "select * from query('select * from duckdb_secrets()')",
    "select * from query_table('/etc/passwd')",
    "select * from sqlite_scan('warehouse/catalog.sqlite', 'ducklake_table')",
    "select * from (select * from read_csv('/etc/passwd'))",
    "select (select content from read_text('/etc/passwd'))",
    "select 1 union all select count(*) from read_csv('/etc/passwd')",
    "select 1 order by (select count(*) from glob('/*'))",
    "select * from parquet_metadata('lake/x')",
    "select * from READ_CSV('/etc/passwd')",
    "select * from \"read_csv\"('/etc/passwd')",
    "export database 'CANARY'",
    "import database 'CANARY'",
    "checkpoint",
    "vacuum",
    "use memory",
    "select * from test_all_types()",
    "select nextval('s')",
    "execute x",
    "prepare x as select 1",
]
HARMLESS = ["select current_setting('home_directory')", "select current_database()", "select version()"]


@pytest.fixture(scope="module")
def queried(tmp_path_factory: pytest.TempPathFactory) -> SmallProject:
    shop = small_project(tmp_path_factory.mktemp("queried"))
    shop.orders(1)
    assert shop.run().failures == []
    return shop


@pytest.mark.parametrize("sql", QUERIES)
def test_hostile_queries(queried: SmallProject, sql: str) -> None:
    """Q14 as far as `engine query` goes: refused with exit 2, nothing read, nothing written."""
    target = queried.folder / "canary"
    ended = engine(
        "query", sql.replace("CANARY", str(target)), "--json", "--file", str(queried.folder / "pipelines.yaml")
    )
    assert ended.code == 2, ended.text
    assert ended.out == ""
    assert "root:" not in ended.text
    assert "Traceback" not in ended.text
    assert 2 <= len(ended.err.splitlines()) <= 5  # the reason, then what to do
    assert not target.exists()


def test_nothing_of_the_hostile_queries_stayed(queried: SmallProject) -> None:
    """What is allowed reads no file and no secret; and the table is as it was."""
    for sql in HARMLESS:
        ended = engine("query", sql, "--json", "--file", str(queried.folder / "pipelines.yaml"))
        assert ended.code in {0, 2}
        assert str(Path.home()) not in ended.out
    assert queried.ids() == [10, 11, 12]
    assert queried.run().failures == []


def test_a_query_without_end(queried: SmallProject) -> None:
    """Q17 as far as `engine query` goes: a cross join of 10^15 rows is stopped in time."""
    from destinations import open_destination
    from engine.errors import TickhouseError
    from engine.query import query

    project = queried.project()
    warehouse = open_destination("warehouse", project.destinations["warehouse"], queried.folder, queried.data)
    started = time.monotonic()
    with pytest.raises(TickhouseError, match="stopped after 1 second"):
        query(
            warehouse,
            "select count(*) from range(100000) a, range(100000) b, range(100000) c where a.range * b.range = c.range",
            limit_seconds=1,
        )
    assert time.monotonic() - started < 10
