"""U06: keys and hashes of 200 rows as the first release wrote them; they stand in people's tables.

golden_keys.jsonl holds values and what they hash to, by the reference of test_macro_keys.py. A failure here is no
reason to write it anew: a rule that changes needs a release that rebuilds every table (`engine replay`), and says so.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.unit.macros.engines import ENGINES, Engines

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # SQLMesh's own, while it is imported
    pytest.mark.xdist_group("macros"),
]
PLACES = Decimal(1).scaleb(-18)
READ = {
    "n": lambda text: Decimal(text).quantize(PLACES, context=Context(prec=50)),
    "t": datetime.fromisoformat,
    "d": date.fromisoformat,
}


def golden() -> list[dict[str, Any]]:
    lines = Path(__file__).with_name("golden_keys.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("probe", ["key", "pair", "row"])
def test_a_hash_is_what_it_was(engines: Engines, engine: str, probe: str) -> None:
    rows = golden()
    given = [
        {name: READ.get(name, lambda it: it)(row[name]) if row[name] is not None else None for name in "abntdkf"}
        for row in rows
    ]
    assert len(rows) == 200
    assert engines.ask(engine, probe, given) == [row[probe] for row in rows]
