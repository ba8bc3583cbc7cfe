"""The project of the soak: the product's own sources and price models, each pipeline as often as it may run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import yaml
from psycopg import sql

from tests.faults.trial import ROOT, Landed, Trial
from tests.price_models import copy_price_models

PROFILE = "soak"
MIRROR = "postgres"
EVERY_MINUTE = ("prices", "files")
MODELS = "models"
PIPELINES = (*EVERY_MINUTE, MODELS)
INTERVALS = {**dict.fromkeys(EVERY_MINUTE, 60), MODELS: 300}
"""Seconds from run to run: models cannot follow a schedule of less than five minutes."""
EVERYTHING = "everything"
"""Runs by hand, before the soak and after it: all sources, all models."""


def write_project(folder: Path, market_url: str, metrics_port: int) -> None:
    """Write pipelines.yaml and the models. SOAK_DSN and SLACK_WEBHOOK are of the environment."""
    whole = yaml.safe_load((ROOT / "pipelines.yaml").read_text())
    sources = {name: whole["sources"][name] for name in ("binance", "coingecko", "history")}
    candles = sources["binance"]["resources"]["candles"]
    candles["vary"] = {"interval": ["1m"]}
    candles["incremental"] = {**candles["incremental"], "initial": {"1m": "10m"}}
    del sources["coingecko"]["client"]["limits"]["per_month"]  # a plan that allows a call a minute
    sources["history"]["settle_seconds"] = 0
    assets = {name: {**block, "top": 3} for name, block in whole["assets"].items()}
    always = {"load": ["warehouse", MIRROR], "retries": 1, "retry_delay_seconds": 2}
    each_minute = {**always, "schedule": "* * * * *", "transform": False}
    document: dict[str, Any] = {
        "timezone": "UTC",
        "notify": {"webhook": "${SLACK_WEBHOOK}"},
        "assets": assets,
        "profiles": {
            PROFILE: {
                "data": ".data",
                "market": "replay",
                "market_url": market_url,
                "metrics": {"port": metrics_port},
                "lake": {"type": "filesystem", "path": ".data/lake"},
                "warehouse": {"type": "ducklake", "path": ".data/warehouse"},
                MIRROR: {"type": "postgres", "dsn": "${SOAK_DSN}"},
            }
        },
        "sources": sources,
        "pipelines": {
            "prices": {**each_minute, "extract": ["binance"]},
            "files": {**each_minute, "extract": ["history"]},
            # it meets `files` at the same resource: one of two that land at once extracts again
            MODELS: {**always, "schedule": "*/5 * * * *", "extract": ["coingecko", "history"]},
            EVERYTHING: {**always, "extract": list(sources)},
        },
    }
    folder.mkdir(parents=True)
    (folder / "pipelines.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    copy_price_models(folder)
    (folder / "data" / "history").mkdir(parents=True)


def without_schedules(folder: Path) -> None:
    """Edit the file: from now on its pipelines run on request only."""
    file = folder / "pipelines.yaml"
    document = yaml.safe_load(file.read_text())
    for block in document["pipelines"].values():
        block.pop("schedule", None)
    partial = folder / "pipelines.new"
    partial.write_text(yaml.safe_dump(document, sort_keys=False))
    partial.replace(file)


class Mirror(Trial):
    """The project as its PostgreSQL holds it: what the checks of tests/faults/oracle.py ask, asked there."""

    def __init__(self, trial: Trial, dsn: str) -> None:
        super().__init__(trial.folder, trial.replay, trial._server)
        self._dsn = dsn

    def sql(self, query: str) -> pa.Table:
        names, rows = self._ask(sql.SQL(query))
        return pa.table({name: [row[at] for row in rows] for at, name in enumerate(names)})

    def landed(self, table: str) -> pa.Table:
        """Every row of a landing table, in the types that the lake has."""
        names, rows = self._ask(sql.SQL("SELECT * FROM landing.{}").format(sql.Identifier(table)))
        known = _types([package for package in self.packages() if package.table == table])
        columns = {name: [row[at] for row in rows] for at, name in enumerate(names)}
        return pa.table({name: pa.array(values, known.get(name)) for name, values in columns.items()})

    def tables(self, schema: str) -> list[str]:
        asked = sql.SQL("SELECT table_name FROM information_schema.tables WHERE table_schema = {} ORDER BY 1")
        return [name for (name,) in self._ask(asked.format(sql.Literal(schema)))[1]]

    def _ask(self, asked: sql.Composable) -> tuple[list[str], list[tuple[Any, ...]]]:
        """The names of the columns, and the rows."""
        with psycopg.connect(self._dsn) as connection:
            cursor = connection.execute(asked)
            return [column.name for column in cursor.description or ()], cursor.fetchall()


def _types(packages: list[Landed]) -> dict[str, pa.DataType]:
    schemas = [pa.schema([]), *(package.read().schema for package in packages)]
    return {field.name: field.type for field in pa.unify_schemas(schemas, promote_options="permissive")}
