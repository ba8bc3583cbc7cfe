"""`trino-incremental-dbt-5min` builds its models on Trino and on Snowflake's stand-in in one run; one of them fails."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from destinations.snowflake_session import connect
from engine.config.load import load_project
from tests.e2e.engine_project import EngineProject, new_project
from tests.e2e.test_e2e_compose import content
from tests.servers.snowflake_server import LOGIN
from tests.servers.trino_server import GROUP, TrinoServer

pytestmark = [
    pytest.mark.chaos,  # minutes: the models of three runs on Trino
    pytest.mark.timeout(1800),
    pytest.mark.xdist_group(GROUP),
]
PIPELINE = "trino-incremental-dbt-5min"
WAREHOUSE = "    warehouse: {type: ducklake, path: .data/demo/warehouse}\n"
TABLES = ("vault.hub_customer", "vault.link_customer_transaction", "vault.sat_transaction_corp", "marts.dim_customer")
TABLES += ("marts.dim_company", "marts.fct_transactions", "semantic.semantic_customer_overview")
RUN_SECONDS = 900


class Both:
    """The project as it is cloned, its topics on the mock broker, on two warehouses."""

    def __init__(self, folder: Path, trino: TrinoServer, snowflake_port: int) -> None:
        self.project: EngineProject = new_project(folder / "clone")
        self._trino, self._ports = trino, {"trino": trino.port, "snowflake": snowflake_port}
        self.project.replace(WAREHOUSE, WAREHOUSE + self._blocks(self._ports))
        self.project.replace("load: [warehouse, timeseries, trino, snowflake]", "load: [trino, snowflake]", 5)

    def _blocks(self, ports: dict[str, int]) -> str:
        files = str(self._trino.files / "two")
        trino = {"type": "trino", "port": ports["trino"], "files": files}
        snow = {**LOGIN, "port": ports["snowflake"], "database": "TWO_ENGINES", "login_seconds": 2}
        return f"    trino: {json.dumps(trino)}\n    snowflake: {json.dumps(snow)}\n"

    def without(self, name: str) -> list[str]:
        """Run while nothing listens where one of them should be; return what the run says of it."""
        away = self._blocks({**self._ports, name: 9})
        self.project.replace(self._blocks(self._ports), away)
        ended = self.project.engine("run", PIPELINE, "--json", expect=1, limit=RUN_SECONDS)
        self.project.replace(away, self._blocks(self._ports))
        [run] = ended.document()["runs"]
        assert run["status"] == "partial"
        failures: list[str] = run["failures"]
        return failures

    def run(self) -> None:
        ended = self.project.engine("run", PIPELINE, "--json", limit=RUN_SECONDS)
        [run] = ended.document()["runs"]
        assert {t["warehouse"]: t["status"] for t in run["transforms"]} == {"trino": "built", "snowflake": "built"}

    def tables(self, name: str) -> dict[str, Counter[tuple[str, ...]]]:
        """What one of them has."""
        found = {}
        settings = load_project(self.project.file, profile="demo", env=self.project.environment).destinations
        with connect(settings["snowflake"]) as connection:
            for table in TABLES:
                cursor = connection.cursor().execute(f"select * from {table}")
                columns, rows = [column[0].lower() for column in cursor.description], cursor.fetchall()
                if name == "trino":
                    rows = self._trino.execute(f"SELECT {', '.join(columns)} FROM {table}")
                found[table] = content(columns, rows)
        return found


def test_one_failing_does_not_stop_the_other(tmp_path: Path, trino: TrinoServer, snowflake_port: int) -> None:
    both = Both(tmp_path, trino, snowflake_port)
    both.run()
    first = both.tables("trino")
    assert both.tables("snowflake") == first
    assert first["marts.fct_transactions"].total() > 1000

    [line] = both.without("snowflake")
    assert line.startswith("snowflake: Snowflake account fakesnow, database TWO_ENGINES cannot be reached")
    second = both.tables("trino")
    assert second["marts.fct_transactions"].total() > first["marts.fct_transactions"].total()
    assert both.tables("snowflake") == first

    [line] = both.without("trino")
    assert line.startswith("trino: Trino at http://127.0.0.1:9 does not answer")
    assert both.tables("trino") == second
    assert both.tables("snowflake")["marts.fct_transactions"].total() > second["marts.fct_transactions"].total()

    both.run()
    assert both.tables("trino") == both.tables("snowflake")
