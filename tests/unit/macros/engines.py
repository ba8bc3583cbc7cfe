"""The macros as SQLMesh renders them for each engine, and a DuckDB to run them on.

What is rendered for Snowflake and Trino is translated back and run on DuckDB: that shows what the statements say by
SQLGlot's reading of them, not what those engines do. Two things need help: whole DECIMAL(38, 0)s, which both engines
multiply and divide exactly and DuckDB as DOUBLEs, are HUGEINTs there; and STAND_INS are what SQLGlot hands through.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import exp

import engine.models.transform  # noqa: F401 - before SQLMesh: it says that no workers are forked

TRANSFORMS = Path(__file__).parents[3] / "transforms"
ENGINES = ("duckdb", "snowflake", "trino")
PROBES: Mapping[str, str] = {
    "trimmed": "@text(a)",
    "upper": "@fold_upper(a)",
    "lower": "@fold_lower(a)",
    "key": "@hash_key(a)",
    "pair": "@hash_key(a, b)",
    "row": "@row_hash(a, b, n::DECIMAL(38,18), t::TIMESTAMPTZ, d::DATE, k::BIGINT, f::BOOLEAN)",
    "bits": "@key_bits(@hash_key(a))",
    "ratio": "@ratio(n, m)",
    "mean": "@mean(n)",
}
COLUMNS = pa.schema(
    [
        ("a", pa.string()),
        ("b", pa.string()),
        ("n", pa.decimal128(38, 18)),
        ("m", pa.decimal128(38, 18)),
        ("t", pa.timestamp("us", "UTC")),
        ("d", pa.date32()),
        ("k", pa.int64()),
        ("f", pa.bool_()),
    ]
)
STAND_INS = (
    "CREATE MACRO at_timezone(x, zone) AS x AT TIME ZONE zone",
    "CREATE MACRO from_base(x, base) AS CAST('0x' || x AS BIGINT)",
)


class Engines:
    """Rendered probes by engine and name, and what they answer."""

    def __init__(self, rendered: Mapping[str, Mapping[str, str]], connection: duckdb.DuckDBPyConnection) -> None:
        """`connection` is where they all run."""
        self.rendered, self.connection = rendered, connection

    def ask(self, engine: str, probe: str, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Return what the probe answers of each row, in order (of all rows together: the mean)."""
        arrived = pa.Table.from_pylist([{name: row.get(name) for name in COLUMNS.names} for row in rows], COLUMNS)
        self.connection.register("arrived", arrived)
        self.connection.execute("CREATE OR REPLACE TABLE src.t AS SELECT * FROM arrived")
        return [value for (value,) in self.connection.execute(self.on_duckdb(engine, probe)).fetchall()]

    def on_duckdb(self, engine: str, probe: str) -> str:
        """Return the probe in DuckDB's words."""
        sql = self.rendered[engine][probe]
        if engine == "duckdb":
            return sql
        tree = sqlglot.parse_one(sql, dialect=engine)
        for cast in tree.find_all(exp.Cast):
            if cast.to.sql() == "DECIMAL(38, 0)":
                cast.set("to", exp.DataType.build("HUGEINT", dialect="duckdb"))
        for divided in list(tree.find_all(exp.Div)):
            divided.replace(exp.IntDiv(this=divided.this, expression=divided.expression))
        return tree.transform(_as_documented).sql("duckdb")


def _as_documented(node: exp.Expression) -> exp.Expression:
    """Put in for SQLGlot what it has no word for in DuckDB: hexadecimal formats, texts of TIMESTAMP(6)."""
    if isinstance(node, exp.ToNumber) and set(node.args["format"].name) == {"X"}:
        return exp.cast(exp.DPipe(this=exp.Literal.string("0x"), expression=node.this), "BIGINT")
    inner = node.this if isinstance(node, exp.Cast) and node.is_type("VARCHAR") else None
    if isinstance(inner, exp.Cast) and inner.to.sql() == "TIMESTAMP(6)":
        return exp.func("STRFTIME", inner, exp.Literal.string("%Y-%m-%d %H:%M:%S.%f"), dialect="duckdb")
    return node


def open_engines(folder: Path) -> Engines:
    """Render every probe for every engine, through the project's own macros."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("CREATE SCHEMA src")
    for stand_in in STAND_INS:
        connection.execute(stand_in)
    return Engines({engine: render(folder / engine, engine) for engine in ENGINES}, connection)


def render(folder: Path, engine: str) -> dict[str, str]:
    """Render the probes for one engine, as SQLMesh renders a model."""
    shutil.copytree(TRANSFORMS / "macros", folder / "macros")
    (folder / "models").mkdir()
    for name, call in PROBES.items():
        model = f"MODEL (name probe.{name}, kind VIEW);\nSELECT {call} AS answer FROM src.t"
        (folder / "models" / f"{name}.sql").write_text(model)
    models = open_models(folder, engine)
    return {name: models[f"probe.{name}"] for name in PROBES}


def open_models(folder: Path, engine: str) -> dict[str, str]:
    """Return every model of a SQLMesh project, and every audit of each, rendered for an engine."""
    from sqlmesh import Context
    from sqlmesh.core.config import Config, DuckDBConnectionConfig, GatewayConfig, ModelDefaultsConfig
    from sqlmesh.core.console import NoopConsole, set_console

    set_console(NoopConsole())
    config = Config(
        gateways={"memory": GatewayConfig(connection=DuckDBConnectionConfig())},
        model_defaults=ModelDefaultsConfig(
            dialect="duckdb", start="2026-01-01", cron="*/5 * * * *", optimize_query=False
        ),
        variables={"warehouse_dialect": engine},
        cache_dir=str(folder / "cache"),
        infer_python_dependencies=False,
        disable_anonymized_analytics=True,
    )
    context = Context(paths=[str(folder)], config=config)
    rendered = {}
    for model in context.models.values():
        query = model.render_query()
        assert query is not None, model.name
        rendered[model.name] = query.sql(dialect=engine)
        for audit, arguments in model.audits_with_args:
            running = SimpleNamespace(dialect=engine, columns=lambda _: {})
            looked = model.render_audit_query(audit, engine_adapter=running, **arguments)
            rendered[f"{audit.name} of {model.name}"] = looked.sql(dialect=engine)
    return rendered
