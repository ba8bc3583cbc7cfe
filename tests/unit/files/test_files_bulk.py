import json
import subprocess
import sys
from pathlib import Path

import pytest

COLUMNS = {
    "symbol": {},
    "open_time": {"type": "timestamp"},
    **{name: {"type": "decimal"} for name in ("open", "high", "low", "close", "volume")},
}
PROBE = """
import json, resource, sys
from datetime import UTC, datetime
from pathlib import Path
from engine.extract import pages
from sources.files.settings import FilesSource
from sources.protocol import SourceContext
folder = Path(sys.argv[1])
block = {"type": "files", "path": "in", "settle_seconds": 0, "resources": {"t": json.loads(sys.argv[2])}}
[one] = FilesSource.model_validate(block).resources_of("history", {})
ctx = SourceContext("history", {}, datetime.now(UTC), folder, folder, lambda *a, **k: print(a, k))
from sources.files import resource as ready
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = sum(page.num_rows for page in pages(one.build(ctx), "history", {}))
print(json.dumps([rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before]))
"""


@pytest.fixture(scope="module")
def million(tmp_path_factory):
    """1,000,000 bars in one CSV (about 90 MB), written in pieces of text."""
    folder = tmp_path_factory.mktemp("bulk")
    (folder / "in").mkdir()
    bars = "".join(
        f"BTC,2024-01-01T00:{n // 60 % 60:02}:{n % 60:02}Z,{42_000 + n}.12345678,"
        f"{43_000 + n}.1,{41_000 + n}.5,42{n}.25,{n}.75\n"
        for n in range(2_000)
    )
    with (folder / "in" / "bars.csv").open("w") as file:
        file.write("symbol,open_time,open,high,low,close,volume\n")
        for _ in range(500):
            file.write(bars)
    return folder


def test_a_large_file_takes_little_memory(million):

    spec = json.dumps({"files": "*.csv", "columns": COLUMNS})
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(million), spec],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    rows, kilobytes = json.loads(done.stdout)
    assert rows == 1_000_000
    assert kilobytes < 300_000, f"{kilobytes / 1000:.0f} MB"
