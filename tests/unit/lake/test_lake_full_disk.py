"""A lake whose disk is full, without inodes, read-only or limited: one clear sentence, and nothing half-written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PROGRAM = textwrap.dedent("""
    import os, subprocess, sys
    from datetime import UTC, datetime
    from pathlib import Path
    import pyarrow as pa
    from engine.config.models import FilesystemLake
    from engine.errors import LakeError
    from engine.lake.lake import open_lake
    from engine.table import Column, Table

    folder, rows, packages, between = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    table = Table("raw_t", (Column("v", "text"),))
    lake = open_lake(FilesystemLake(type="filesystem", path="lake"), folder, folder / "cache")
    now = datetime.now(UTC)

    def land(number, size):
        seq = lake.state("s", "r", "raw_t")[1]
        with lake.writer(source="s", resource="r", table=table, run_id="r", load_id=f"l{number}", since_seq=seq) as w:
            for start in range(0, size, 250_000):
                w.write(pa.table({"v": [os.urandom(8).hex() for _ in range(min(250_000, size - start))]}))
            w.publish(table.columns, {"n": number}, now, now)

    try:
        land(0, 1)
        if between:
            subprocess.run(between, check=True)
        for number in range(1, packages + 1):
            land(number, rows)
    except LakeError as error:
        print(error.reason, "|", error.remedy)
    print("LANDED", [entry.rows for entry in lake.entries("raw_t")], "PROBLEMS", lake.verify())
    staging = list((folder / "lake" / "_staging").iterdir())
    print("STAGING", staging)
""")


def outcome(tmp_path: Path, before: list[str], *arguments: str) -> list[str]:
    (tmp_path / "lake").mkdir()
    command = [*before, sys.executable, "-c", PROGRAM, str(tmp_path), *arguments]
    result = subprocess.run(command, cwd=Path.cwd(), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def in_tmpfs(tmp_path: Path, options: str) -> list[str]:
    return ["unshare", "-m", "sh", "-c", f'mount -t tmpfs -o {options} tmpfs {tmp_path / "lake"} && exec "$@"', "sh"]


private_mounts = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"]).returncode != 0,  # noqa: PLW1510
    reason="private mounts need root",
)


@pytest.mark.faults
@private_mounts
@pytest.mark.parametrize(
    ("options", "rows", "packages", "says"),
    [
        pytest.param("size=2m", "300000", "1", "no space left", id="R01"),
        pytest.param("size=64m,nr_inodes=60", "1", "40", "no inodes left", id="R02"),
    ],
)
def test_a_full_disk(tmp_path: Path, options: str, rows: str, packages: str, says: str) -> None:
    message, landed, staging = outcome(tmp_path, in_tmpfs(tmp_path, options), rows, packages)
    assert message.startswith("lake lake: ")
    assert says in message
    assert "nothing is lost" in message
    assert landed.startswith("LANDED [1")
    assert landed.endswith("PROBLEMS []")
    assert staging == "STAGING []"


@pytest.mark.faults
@private_mounts
def test_a_lake_that_turns_read_only(tmp_path: Path) -> None:
    """L06."""
    remount = ["mount", "-o", "remount,ro", str(tmp_path / "lake")]
    message, landed, _ = outcome(tmp_path, in_tmpfs(tmp_path, "size=16m"), "1", "1", *remount)
    assert "read-only" in message
    assert landed == "LANDED [1] PROBLEMS []"


@pytest.mark.faults
@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit is not installed")
def test_a_file_size_limit(tmp_path: Path) -> None:
    """R03."""
    message, landed, staging = outcome(tmp_path, ["prlimit", "--fsize=1000000", "--"], "300000", "1")
    assert "ulimit -f" in message
    assert (landed, staging) == ("LANDED [1] PROBLEMS []", "STAGING []")
