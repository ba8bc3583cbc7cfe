"""Arrow does without pandas until there is pandas, and then knows it as ever. Each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

MADE = "import pyarrow as pa; pa.array(['1.5', None]).cast(pa.decimal128(38, 18)); pa.scalar(1)"
ALONE = f"from engine.arrow_alone import use_arrow_alone; use_arrow_alone(); {MADE}; "


def told(code: str) -> str:
    """Run the code in a new process; give what it prints."""
    return subprocess.run(
        [sys.executable, "-c", f"import sys; {code}"], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.mark.parametrize(("before", "imported"), [("", "True"), (ALONE, "False")])
def test_arrays_import_no_pandas(before: str, imported: str) -> None:
    """By itself Arrow imports pandas for an array; else there would be nothing to do."""
    assert told(f"{before}{MADE}; print('pandas' in sys.modules)") == imported


THINGS = (
    "import pandas as pd; s = pd.Series([1.5, float('nan')]); f = pd.DataFrame({'a': pd.to_datetime(['2026-01-01'])});"
    "print(pa.array(s).null_count, pa.Table.from_pandas(f).schema.field('a').type, pa.array(s).to_pandas().tolist(),"
    "pa.array(pd.Categorical(['x'])).type, pd.__spec__.loader is pd.__loader__, type(pd.__loader__).__name__,"
    "pa.scalar(1, pa.timestamp('ns')).as_py())"
)


def test_pandas_that_comes_later_is_known() -> None:
    """NaN of a Series is NULL, frames and categories are taken: as without our doing."""
    assert told(f"{ALONE}{THINGS}") == told(f"{MADE}; {THINGS}")


def test_pandas_that_came_before_stays() -> None:
    assert told(f"import pandas; {ALONE}{THINGS}") == told(f"{MADE}; {THINGS}")


def test_two_threads_may_import_it_at_a_time() -> None:
    """One imports pandas while the other makes arrays and imports it too; both end with all of it."""
    code = (
        "import threading, pyarrow as pa; done = []\n"
        "def one():\n"
        "    import pandas as pd; done.append(pa.array(pd.Series([float('nan')])).null_count)\n"
        "def two():\n"
        "    [pa.array([n]) for n in range(1000)]; one()\n"
        "threads = [threading.Thread(target=work) for work in (one, two, one, two)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]; print(done)"
    )
    assert told(f"{ALONE}\n{code}") == "[1, 1, 1, 1]"
