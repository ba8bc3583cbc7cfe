"""The first build of a million transactions, beside hand-written SQL that fills the same tables, in one run.

    python -m tests.bench.bench_first_build [ROWS]

Lands transactions and customers of the project's own Faker source, builds every model over them with SQLMesh, then
fills tables of the same columns by CREATE TABLE AS in the same DuckLake, and prints both times and their ratio, which
is to stay below 3.
"""

from __future__ import annotations

import gc
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from destinations.ducklake import DucklakeWarehouse
from engine.cli import GARBAGE
from sources.faker.people import customers
from tests.bench.bench_increment import History

ROWS = 1_000_000
RATIO = 3.0
HASH = "md5(replace(replace({0}, '~', '~0'), '|', '~1'))"
FOLD = "translate(nullif(trim({0}), ''), 'abcdefghijklmnopqrstuvwxyz', 'ABCDEFGHIJKLMNOPQRSTUVWXYZ')"
TEXTS = ("transaction_type", "customer_tier", "customer_risk_tolerance", "customer_type", "data_source")
REST = ("quantity", "price_per_unit", "transaction_amount", "fee_amount", "transaction_timestamp", "data_date")


def by_hand() -> list[str]:
    """Return the statements that a person would write: each table once, from landing, without care for late rows."""
    texts = ", ".join(f"nullif(trim({name}), '') as {name}" for name in TEXTS)
    values = ", ".join((*TEXTS, *REST))
    hashed = "md5(concat_ws('|', customer_id, asset_type, asset_symbol, " + ", ".join(
        f"coalesce({name}::text, '~n')" for name in (*TEXTS, *REST)
    ) + "))"  # fmt: skip
    first = "qualify row_number() over (partition by {0} order by load_timestamp, source) = 1"
    return [
        f"""create table stage as select {HASH.format("transaction_id")} as transaction_hk, * from (
              select {FOLD.format("transaction_id")} as transaction_id, {FOLD.format("customer_id")} as customer_id,
                lower(trim(asset_type)) as asset_type, {FOLD.format("asset_symbol")} as asset_symbol,
                {texts}, {", ".join(REST)}, load_timestamp, source, _load_id
              from landing.raw_transaction_personal)""",
        f"""create table people as select {HASH.format("customer_id")} as customer_hk, * from (
              select {FOLD.format("customer_id")} as customer_id, {FOLD.format("company_id")} as company_id,
                * exclude (customer_id, company_id) from landing.raw_customers)""",
        f"""create table hub_transaction as select transaction_hk, transaction_id, load_timestamp, source, _load_id
              from stage {first.format("transaction_hk")}""",
        f"""create table hub_customer as select customer_hk, customer_id, load_timestamp, source from (
              select customer_hk, customer_id, load_timestamp, source from people union all
              select {HASH.format("customer_id")}, customer_id, load_timestamp, source from stage)
              {first.format("customer_hk")}""",
        f"""create table hub_asset as select md5(asset_symbol || '|' || asset_type) as asset_hk, asset_symbol,
              asset_type, load_timestamp, source from stage {first.format("asset_hk")}""",
        f"""create table link_customer_transaction as select md5(customer_hk || '|' || transaction_hk) as link_hk, *
              from (select {HASH.format("customer_id")} as customer_hk, transaction_hk, load_timestamp, source
              from stage)
              {first.format("link_hk")}""",
        f"""create table link_transaction_asset as select md5(transaction_hk || '|' || asset_hk) as link_hk, * from (
              select transaction_hk, md5(asset_symbol || '|' || asset_type) as asset_hk, load_timestamp, source
              from stage)
              {first.format("link_hk")}""",
        f"""create table sat_transaction as select transaction_hk, transaction_id, load_timestamp, source,
              {hashed} as hashdiff, customer_id, asset_type, asset_symbol, {values}, _load_id from stage
              qualify lag(hashdiff) over (partition by transaction_hk, source order by load_timestamp)
                is distinct from hashdiff""",
        """create table sat_customer as select *,
              md5(concat_ws('|', first_name, last_name, email, country, customer_tier,
              risk_tolerance, registration_date::text, company_id)) as hashdiff from people
              qualify lag(hashdiff) over (partition by customer_hk, source order by load_timestamp)
                is distinct from hashdiff""",
        """create table history as select *,
              lead(load_timestamp) over (partition by customer_hk order by load_timestamp)
              as effective_to from sat_customer""",
        """create table customers as select h.customer_hk as hub_hk, h.customer_id as hub_id, c.* from hub_customer h
              left join history c on c.customer_hk = h.customer_hk and c.effective_to is null""",
        f"""create table facts as select transaction_hk, transaction_id, {HASH.format("customer_id")} as customer_hk,
              md5(asset_symbol || '|' || asset_type) as asset_hk, customer_id, asset_symbol, asset_type, {values},
              transaction_amount - fee_amount as net_amount, 100 * fee_amount / transaction_amount as fee_percentage,
              transaction_timestamp::date as transaction_date, year(transaction_timestamp) as y,
              quarter(transaction_timestamp) as q, month(transaction_timestamp) as m, day(transaction_timestamp) as d,
              hour(transaction_timestamp) as h, source, load_timestamp, _load_id from sat_transaction
              qualify row_number() over (partition by transaction_hk order by load_timestamp desc) = 1""",
    ]


def main(rows: int = ROWS) -> int:
    """Print the figures; return 1 if the ratio is missed."""
    from sqlmesh.core.console import NoopConsole, set_console

    set_console(NoopConsole())
    folder = Path(tempfile.mkdtemp(prefix="build-"))
    try:
        history = History(rows, folder)
        numbers = np.arange(history.people)
        history.models.land_table("raw_customers", customers(history.world, numbers, np.zeros_like(numbers)))
        history.models.land_table("raw_transaction_personal", history.trades.rows(0, rows))
        engine = history.run()
        history.models.close()
        with DucklakeWarehouse(
            "warehouse", history.models.warehouse.path, history.models.project.data_dir
        ) as warehouse:
            warehouse._writer.execute("SET memory_limit = '1GB'")
            warehouse._writer.execute("CREATE SCHEMA by_hand")
            warehouse._writer.execute("USE lake.by_hand")
            started = time.perf_counter()
            for statement in by_hand():
                warehouse._writer.execute(statement.replace(" landing.", " lake.landing."))
            hand = time.perf_counter() - started
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ratio = engine / hand
    print(f"{rows:,} transactions: models {engine:.1f} s, by hand {hand:.1f} s: {ratio:.2f} times (below {RATIO})")
    return int(ratio > RATIO)


if __name__ == "__main__":
    gc.set_threshold(*GARBAGE)  # as the command does
    sys.exit(main(*(int(word.replace("_", "")) for word in sys.argv[1:])))
