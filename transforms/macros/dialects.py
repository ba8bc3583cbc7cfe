"""The few SQL fragments that Snowflake and Trino spell in other ways than DuckDB.

Keys must come out byte for byte alike on all three.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp, parse_one

if TYPE_CHECKING:
    from sqlmesh.core.macros import MacroEvaluator

DIALECTS = ("duckdb", "snowflake", "trino")
VARIABLE = "warehouse_dialect"
"""The SQLMesh variable that says which engine the models run on; DuckDB if it is not set."""

FRAGMENTS: dict[str, dict[str, str]] = {
    "duckdb": {
        "md5": "MD5(x)",
        "instant": "STRFTIME(x AT TIME ZONE 'UTC', '%Y-%m-%d %H:%M:%S.%f')",
        "day": "STRFTIME(x, '%Y-%m-%d')",
        "trim": "TRIM(x, w)",
        "divide": "(x // y)",
        "whole": "CAST(x AS HUGEINT)",
        "bits": "CAST('0x' || LEFT(x, 15) AS BIGINT)",
    },
    "snowflake": {
        "md5": "MD5(x)",
        "instant": "STRFTIME(x AT TIME ZONE 'UTC', '%Y-%m-%d %H:%M:%S.%f')",
        "day": "STRFTIME(x, '%Y-%m-%d')",
        "trim": "TRIM(x, CHR(11) || w)",  # Snowflake's literals have no escape for a vertical tab
        "divide": "(CAST(x - MOD(x, y) AS DECIMAL(38, 0)) / y)",
        "whole": "CAST(x AS DECIMAL(38, 0))",
        "bits": "TO_DECIMAL(SUBSTR(x, 1, 15), 'XXXXXXXXXXXXXXX')",
    },
    "trino": {
        "md5": "MD5(TO_UTF8(x))",
        "instant": "CAST(CAST(x AT TIME ZONE 'UTC' AS TIMESTAMP(6)) AS TEXT)",
        "day": "CAST(x AS TEXT)",
        "trim": "TRIM(x, w)",
        "divide": "(CAST(x - MOD(x, y) AS DECIMAL(38, 0)) / y)",  # of a DECIMAL, or the quotient would be a DOUBLE
        "whole": "CAST(x AS DECIMAL(38, 0))",
        "bits": "FROM_BASE(SUBSTR(x, 1, 15), 16)",
    },
}
"""Written as DuckDB writes it, but such that SQLGlot renders it for the engine that it is for.

SQLMesh parses a macro's answer once more in the models' own dialect, DuckDB's: what only another dialect can say
would not survive that. tests/unit/macros looks at what comes out for each engine.
"""


def dialect_of(evaluator: MacroEvaluator) -> str:
    """Name of the engine that the models are rendered for.

    An audit is rendered with what its model has: where no macro of that asks for the variable, the engine says it.
    """
    adapter = evaluator.locals.get("engine_adapter")
    running = getattr(adapter, "dialect", "")
    return str(evaluator.var(VARIABLE) or (running if running in DIALECTS else "duckdb"))


def fragment(name: str, dialect: str, x: exp.Expression, **others: exp.Expression) -> exp.Expression:
    """Return one fragment of `dialect` with its operands `x`, `y`, `w` put in."""
    operands = {"x": x, **others}
    tree = parse_one(FRAGMENTS[dialect][name], dialect="duckdb")

    def put_in(node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.Column) and not node.table and node.name in operands:
            return operands[node.name].copy()
        return node

    return tree.transform(put_in)
