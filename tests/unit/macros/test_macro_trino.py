"""Keys, hashes and quotients on a real Trino: byte for byte and digit for digit what DuckDB answers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
import sqlglot

from engine.models.trino import said_for_trino
from engine.sql import literal
from tests.servers.trino_server import GROUP, TrinoServer
from tests.unit.macros.engines import PROBES, Engines
from tests.unit.macros.test_macro_keys import LETTERS, LOOKALIKES, WHITE_SPACE

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # SQLMesh's own, while it is imported
    pytest.mark.xdist_group(GROUP),
]
TEXTS = [
    None,
    "",
    " ",
    "".join(WHITE_SPACE),
    *(f"{space}Key{space}1{space}" for space in WHITE_SPACE),
    *LOOKALIKES,
    *LETTERS,
    "straße İı ÅÅ Ωω",
    "a|b",
    "a~1b",
    "~n",
    "'; DROP TABLE x; --",
    "x" * 5_000,
]
TINY, HUGE = Decimal("0.000000000000000001"), Decimal("99999999999999999999.999999999999999999")
NUMBERS = [
    None,
    Decimal(0),
    Decimal(1),
    -TINY,
    TINY,
    HUGE,
    HUGE.copy_negate(),
    Decimal("12.5"),
    Decimal(3),
    Decimal(10) ** 14 - 1,
]
INSTANTS = [
    None,
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2024, 10, 27, 1, 30, 0, 1, tzinfo=UTC),
    datetime(9999, 12, 31, tzinfo=UTC),
    datetime(1900, 1, 1, tzinfo=UTC),
]
ROWS: list[Mapping[str, Any]] = [
    {
        "a": text,
        "b": TEXTS[-1 - number],
        "n": NUMBERS[number % len(NUMBERS)],
        "m": NUMBERS[(number * 7 + 3) % len(NUMBERS)],
        "t": INSTANTS[number % len(INSTANTS)],
        "d": (None, date(1, 1, 1), date(2024, 2, 29), date(9999, 12, 31))[number % 4],
        "k": (None, 0, -(2**63), 2**63 - 1)[number % 4],
        "f": (None, True, False)[number % 3],
    }
    for number, text in enumerate(TEXTS)
]


def written(row: Mapping[str, Any], number: int) -> str:
    texts = [f"CAST({'NULL' if row[c] is None else literal(row[c])} AS varchar)" for c in "ab"]
    numbers = [f"CAST({'NULL' if row[c] is None else literal(str(row[c]))} AS decimal(38,18))" for c in "nm"]
    at = "NULL" if row["t"] is None else f"TIMESTAMP '{row['t']:%Y-%m-%d %H:%M:%S.%f} UTC'".replace("' 1", "'1")
    day = "NULL" if row["d"] is None else f"DATE '{row['d'].isoformat()}'"
    others = [f"CAST({at} AS timestamp(6) with time zone)", f"CAST({day} AS date)"]
    others += ["CAST(NULL AS bigint)" if row["k"] is None else f"CAST('{row['k']}' AS bigint)"]
    others += ["CAST(NULL AS boolean)" if row["f"] is None else str(row["f"])]
    return f"({number}, {', '.join([*texts, *numbers, *others])})"


@pytest.fixture(scope="module")
def answers(trino: TrinoServer, engines: Engines) -> dict[str, list[Any]]:
    trino.execute("CREATE SCHEMA IF NOT EXISTS src")
    values = ", ".join(written(row, number) for number, row in enumerate(ROWS))
    trino.execute(f"CREATE OR REPLACE TABLE src.t AS SELECT * FROM (VALUES {values}) AS v (i, a, b, n, m, t, d, k, f)")
    found = {}
    for probe in PROBES:
        tree = said_for_trino(sqlglot.parse_one(engines.rendered["trino"][probe], dialect="trino"))
        for table in tree.find_all(sqlglot.exp.Table):
            table.set("catalog", None)
        query = tree.sql("trino")
        found[probe] = [answer for (answer,) in trino.execute(f"{query}{'' if probe == 'mean' else ' ORDER BY i'}")]
    trino.execute("DROP SCHEMA src CASCADE")
    return found


@pytest.mark.parametrize("probe", PROBES)
def test_trino_answers_as_duckdb(probe: str, answers: dict[str, list[Any]], engines: Engines) -> None:
    assert answers[probe] == engines.ask("duckdb", probe, ROWS)


def test_the_answers_tell_rows_apart(answers: dict[str, list[Any]]) -> None:
    assert len(set(answers["row"])) == len(ROWS)
    assert sum(text is None for text in answers["trimmed"]) == 4
    assert any(answer is not None and answer != 0 for answer in answers["ratio"])
