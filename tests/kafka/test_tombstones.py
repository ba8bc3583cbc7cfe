"""What a producer deletes by a tombstone is in no current view any more, and all that was ever said of it is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("confluent_kafka")

from tests.faults.small_project import HEAD, SmallProject
from tests.kafka import brokers
from tests.kafka.topics import Message, produce

pytestmark = [
    pytest.mark.xdist_group(brokers.GROUP),
    pytest.mark.timeout(580),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # SQLMesh's own, while it is imported
]
ROOT = Path(__file__).parents[2]
KEYS = {"raw_customers": "customer_id", "raw_corporates": "company_id", "raw_transaction_personal": "transaction_id"}
TOPICS = "".join(f"      {topic}: {{deletes: {key}, dead_letter: ''}}\n" for topic, key in KEYS.items())
PROJECT = """\
assets:
  crypto: {asset_type: crypto, add: [BTC]}
sources:
  stream:
    type: kafka
    brokers: "%s"
    resources:
%s
pipelines:
  drain: {extract: [stream], load: [warehouse]}
"""
COMPACTED = {
    "cleanup_policy": "compact",
    "segment_ms": "100",
    "min_cleanable_dirty_ratio": "0.001",
    "max_compaction_lag_ms": "100",
}
TABLES = (
    "vault.sat_customer_profile",
    "business.transaction",
    "marts.dim_customer",
    "marts.dim_customer_history",
    "marts.dim_company",
    "marts.fct_transactions",
    "semantic.semantic_customer_overview",
)


@dataclass(frozen=True)
class StreamProject(SmallProject):
    """Three topics and the models of this repository."""

    def on(self, bootstrap: str) -> StreamProject:
        self.folder.mkdir()
        self.write(HEAD + PROJECT % (bootstrap, TOPICS))
        unwanted = shutil.ignore_patterns("__pycache__", ".cache")
        shutil.copytree(ROOT / "transforms", self.folder / "transforms", ignore=unwanted)
        return self

    def drain(self) -> None:
        """Run, and see that there is nothing to say of it: no gap above all."""
        report = self.run("drain")
        assert report.status == "ok", report.failures
        assert [notice for resource in report.resources for notice in resource.notices] == []

    def names(self, table: str, column: str) -> list[str]:
        return [row[0] for row in self.rows(f"select {column} from {table} order by 1")]

    def contents(self) -> dict[str, list[str]]:
        """Every table's rows, without lineage."""
        found = {}
        for table in TABLES:
            rows = self.rows(f"select columns(c -> c not like '\\_%' escape '\\') from {table}")
            found[table] = sorted(map(str, rows))
        return found


def said(key: str, **fields: Any) -> Message:
    return Message(key.encode(), json.dumps(fields).encode())


def customer(name: str) -> Message:
    return said(name, customer_id=name, first_name=name.title(), customer_tier="GOLD")


def company(name: str) -> Message:
    return said(name, company_id=name, company_name=name.title())


def trade(name: str, of: str) -> Message:
    amounts = {"quantity": "2", "price_per_unit": "3", "transaction_amount": "6", "fee_amount": "1"}
    what = {"asset_type": "crypto", "asset_symbol": "BTC", "transaction_timestamp": "2026-05-01T00:00:00Z"}
    return said(name, transaction_id=name, customer_id=of, transaction_type="BUY", **amounts, **what)


def deleted(key: str) -> Message:
    return Message(key.encode(), None)


@pytest.mark.chaos  # DEL-01 of the vault's own cases has the models' part in every run
def test_deleted_keys_leave_the_current_views_and_their_history_stays(
    topic: Callable[..., str], tmp_path: Path
) -> None:
    """F03 (tombstones on compacted topics) and F13 (a producer's doubles: same key, other offset)."""
    bootstraps = {topic(1, name, **COMPACTED) for name in KEYS}
    (bootstrap,) = bootstraps
    project = StreamProject(tmp_path / "project").on(bootstrap)
    first = [customer(name) for name in ("ANN", "BEA", "CID", "DEE")]
    produce(bootstrap, "raw_customers", [*first, deleted("DEE"), deleted("EVE"), customer("EVE"), deleted("FAY")])
    produce(bootstrap, "raw_corporates", [company("OAK"), company("PINE")])
    produce(bootstrap, "raw_transaction_personal", [trade("T1", "ANN"), trade("T2", "BEA"), trade("T1", "ANN")])
    project.drain()
    assert project.names("marts.dim_customer", "customer_id") == ["ANN", "BEA", "CID", "EVE"], "deleted in one breath"
    assert project.names("marts.fct_transactions", "transaction_id") == ["T1", "T2"], "a double is one in the marts"
    offsets = "select _kafka_offset from landing.raw_transaction_personal where transaction_id = 'T1' order by 1"
    assert project.rows(offsets) == [(0,), (2,)], "and two messages in landing"

    for name, key in zip(KEYS, ("BEA", "PINE", "T2"), strict=True):
        produce(bootstrap, name, [deleted(key)])
    project.drain()
    assert project.names("marts.dim_customer", "customer_id") == ["ANN", "CID", "EVE"]
    assert project.names("semantic.semantic_customer_overview", "customer_id") == ["ANN", "CID", "EVE"]
    assert project.names("marts.dim_company", "company_id") == ["OAK"]
    assert project.names("marts.fct_transactions", "transaction_id") == ["T1"]
    assert project.names("semantic.semantic_transactions", "transaction_id") == ["T1"]
    told = "select first_name, is_current, is_deleted from marts.dim_customer_history where customer_id = 'BEA' "
    assert project.rows(f"{told} order by effective_from") == [("Bea", False, False), (None, False, True)]
    assert project.names("vault.hub_customer", "customer_id") == ["ANN", "BEA", "CID", "DEE", "EVE", "FAY"]
    held = "select customer_id, is_deleted from landing.raw_customers where customer_id in ('BEA', 'CID') order by all"
    assert project.rows(held) == [("BEA", True), ("BEA", None), ("CID", None)], "landing has every message"
    assert project.names("landing._quarantine", "reason") == []
    assert project.names("vault.rejects", "reason") == []

    produce(bootstrap, "raw_customers", [customer("BEA")])
    produce(bootstrap, "raw_transaction_personal", [trade("T2", "BEA")])
    project.drain()
    assert project.names("marts.dim_customer", "customer_id") == ["ANN", "BEA", "CID", "EVE"], "said again as it was"
    assert project.names("marts.fct_transactions", "transaction_id") == ["T1", "T2"]
    assert project.rows(f"{told} order by effective_from") == [
        ("Bea", False, False),
        (None, False, True),
        ("Bea", True, False),
    ]

    step_by_step = project.contents()
    shutil.rmtree(project.warehouse)
    shutil.rmtree(project.data)
    done = project.engine("replay", seconds=300)
    assert done.returncode == 0, done.stderr + done.stdout
    assert project.contents() == step_by_step, "from the lake, in one go"
