"""A small project on trial: its folder, the market replay that outlives its runs, and what it holds.

`Trial` is what the fixture `project` gives: pipelines.yaml cut down to three assets, the sources binance, coingecko,
faker and history, and one pipeline `everything` in the profile `faults`. Start the engine with `trial.engine(...)`
(to its end) or `trial.start(...)` (to be killed on the way).
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from tests.price_models import copy_price_models

ROOT = Path(__file__).parents[2]
PIPELINE = "everything"
PROFILE = "faults"
RUN_SECONDS = 240.0
"""Longer than any run on a busy machine: a run that takes longer hangs."""


@dataclass(frozen=True)
class Ended:
    """How a run of the engine ended. `code` is negative if a signal ended it (-9: killed)."""

    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def text(self) -> str:
        return self.stdout + self.stderr


class Server:
    """The fork server (see fork_server.py), and the runs it has under way."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.fork_server"],
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self._started: queue.Queue[int] = queue.Queue()
        self._ended: dict[int, queue.Queue[int]] = {}
        ready = self._process.stdout.readline()
        assert "ready" in ready, f"the fork server did not start: {ready!r}"
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, request: Mapping[str, Any]) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._started.get(timeout=60)

    def wait(self, pid: int, seconds: float) -> int:
        """The exit code of a run; raises queue.Empty when it takes longer."""
        return os.waitstatus_to_exitcode(self._ended[pid].get(timeout=seconds))

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        assert self._process.stdout is not None

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            if "status" in answer:
                self._ended[answer["pid"]].put(answer["status"])
            else:
                self._ended[answer["pid"]] = queue.Queue()
                self._started.put(answer["pid"])


class Running:
    """A run under way."""

    def __init__(self, server: Server, pid: int, out: Path, err: Path) -> None:
        self.pid, self._server, self._out, self._err = pid, server, out, err
        self._began = time.monotonic()
        self._code: int | None = None

    def signal(self, number: int) -> bool:
        """Send a signal to the run's own process; False if it has ended already."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
            return True
        return False

    def ended_within(self, seconds: float) -> bool:
        if self._code is None:
            try:
                self._code = self._server.wait(self.pid, max(0.001, seconds))
            except queue.Empty:
                return False
        return True

    def wait(self, seconds: float = RUN_SECONDS) -> Ended:
        """Wait for the end; a run that takes longer is killed, and the test fails."""
        if not self.ended_within(seconds):
            self.signal(signal.SIGKILL)
            raise AssertionError(f"the engine did not end within {seconds:g} s:\n{self._err.read_text()}")
        assert self._code is not None
        took = time.monotonic() - self._began
        return Ended(self._code, self._out.read_text(), self._err.read_text(), took)

    def state(self) -> str:
        """One letter: T is stopped, Z has ended."""
        return Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]

    def alive(self) -> list[int]:
        """Processes of this run's session that live: its own and its children's, orphans as well."""
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError, IndexError):
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                if int(fields[3]) == self.pid and fields[0] != "Z":
                    found.append(int(entry.name))
        return found


@dataclass(frozen=True)
class Landed:
    """One committed package as its log entry and its manifest tell it, read without the engine."""

    seq: int
    load_id: str
    source: str
    resource: str
    table: str
    rows: int
    quarantined: int
    folder: Path
    manifest: Mapping[str, Any] = field(repr=False)

    def read(self) -> pa.Table:
        """The package's rows."""
        files = [file["name"] for file in self.manifest["files"] if not file["quarantine"]]
        parts = [pq.read_table(self.folder / name) for name in files]
        return pa.concat_tables(parts, promote_options="default") if parts else pa.table({})


class Replay:
    """The market replay in a process of its own, on a port that stays."""

    def __init__(self, ledger: Path, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sources.market_replay", "--ledger", str(ledger), *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        self.ledger_file = ledger

    def ledger(self) -> list[dict[str, Any]]:
        """Every row served so far: time (seconds), host, path, query, resource, fault, row."""
        return [json.loads(line) for line in self.ledger_file.read_text().splitlines()]

    def control(self, path: str, body: Any = None, method: str = "GET") -> Any:
        """Ask the replay's control: /requests, /faults, /clock."""
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{self.url}/_control{path}", None if body is None else json.dumps(body).encode(), method=method
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback
            return json.load(answer)

    def inject(self, **fault: Any) -> None:
        """Arm a fault (sources/market_replay/faults.py)."""
        self.control("/faults", fault, "POST")

    def fired(self) -> int:
        """How often the armed faults fired."""
        return sum(fault["fired"] for fault in self.control("/faults"))

    def heal(self) -> None:
        """Disarm every fault."""
        self.control("/faults", method="DELETE")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
        assert self._process.stdout is not None
        self._process.stdout.close()


class Trial:
    """The project in one folder."""

    def __init__(self, folder: Path, replay: Replay, server: Server) -> None:
        self.folder, self.replay, self._server = folder, replay, server
        self._looking: tuple[str, Any] | None = None
        self.first_run_seconds = self.later_run_seconds = 0.0

    @property
    def data(self) -> Path:
        return self.folder / ".data"

    @property
    def lake(self) -> Path:
        return self.data / "lake"

    def start(self, *arguments: str, env: Mapping[str, str] | None = None, stopped: bool = False) -> Running:
        """Start `engine ARGUMENTS` and return at once."""
        logs = Path(tempfile.mkdtemp(prefix="run-", dir=self._logs()))
        request = {
            "argv": arguments,
            "cwd": str(self.folder),
            "env": {"ENGINE_PROFILE": PROFILE, "DLT_DATA_DIR": str(self.dlt), **(env or {})},
            "out": str(logs / "out"),
            "err": str(logs / "err"),
            "stopped": stopped,
        }
        running = Running(self._server, self._server.start(request), logs / "out", logs / "err")
        while stopped and running.state() != "T":
            time.sleep(0.01)
        return running

    def engine(self, *arguments: str, env: Mapping[str, str] | None = None) -> Ended:
        """Run `engine ARGUMENTS` to its end."""
        return self.start(*arguments, env=env).wait()

    def run(self) -> Ended:
        """One ordinary run of the pipeline."""
        return self.engine("run", PIPELINE)

    def add_file(self, name: str, rows: int = 5) -> None:
        """Put a file into the history folder, whole from the first moment; each row has a volume of its own."""
        lines = ["Ticker,Date,Open,High,Low,Close,Volume,Adj Close"]
        start = 1_000_000 * (1 + len(list(self.history.glob("*.csv"))))
        lines += [f"T{start},2020-01-{day + 1:02d},1.5,2.25,1.125,2,{start + day},2" for day in range(rows)]
        partial = self.history / f".{name}.partial"
        partial.write_text("\n".join(lines) + "\n")
        partial.replace(self.history / f"{name}.csv")

    @property
    def dlt(self) -> Path:
        """Where dlt would keep a pipeline's working folder."""
        return self.folder.parent / f"{self.folder.name}-dlt"

    @property
    def history(self) -> Path:
        return self.folder / "data" / "history"

    def copy(self, folder: Path) -> Trial:
        """The same project with all its data, elsewhere, on the same replay."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Trial(folder, self.replay, self._server)

    def remove(self) -> None:
        """Free the disk."""
        self.look_away()
        self.remove_folder(self.folder)

    @staticmethod
    def remove_folder(folder: Path) -> None:
        shutil.rmtree(folder)

    # -- what it holds ------------------------------------------------------------------------------------------

    def packages(self) -> list[Landed]:
        """The lake's committed packages by table and number."""
        found = []
        for path in sorted(self.lake.glob("_log/*/*.json")):
            entry = json.loads(path.read_text())
            assert entry["seq"] == int(path.stem)
            assert entry["table"] == path.parent.name
            folder = self.lake / entry["path"]
            manifest = json.loads((folder / "manifest.json").read_text())
            found.append(
                Landed(
                    entry["seq"],
                    entry["load_id"],
                    entry["source"],
                    entry["resource"],
                    entry["table"],
                    entry["rows"],
                    entry["quarantined"],
                    folder,
                    manifest,
                )
            )
        return found

    def package_folders(self) -> set[Path]:
        """Every package folder of the lake, committed or not."""
        return {path for path in self.lake.glob("[!_]*/*/*/*") if path.is_dir()}

    def sql(self, query: str) -> pa.Table:
        """Ask the warehouse as a reader does (the last published state)."""
        state = (self.data / "warehouse" / "published.json").read_text()
        if self._looking is None or self._looking[0] != state:
            self.look_away()
            self._looking = (state, self.reader())
        return self._looking[1].execute(query).to_arrow_table()

    def look_away(self) -> None:
        """Close the connection that `sql` keeps."""
        if self._looking is not None:
            self._looking[1].close()
        self._looking = None

    def reader(self) -> Any:
        """Open a reader's connection, the product's own."""
        return warehouse(self.folder).reader()

    def tables(self, schema: str) -> list[str]:
        """Names of the tables and views of a schema."""
        found = self.sql(
            "SELECT table_name FROM information_schema.tables "
            f"WHERE table_catalog = current_database() AND table_schema = '{schema}' ORDER BY 1"
        )
        return [str(name) for name in found["table_name"].to_pylist()]

    def landed(self, table: str) -> pa.Table:
        """Every row of a landing table."""
        return self.sql(f'SELECT * FROM landing."{table}"')

    def cursors(self) -> dict[str, int]:
        """The warehouse's cursors: the last package loaded, by table."""
        rows = self.sql("SELECT table_name, seq FROM landing._cursor WHERE seq > 0").to_pylist()
        return {row["table_name"]: row["seq"] for row in rows}

    def quarantine(self) -> pa.Table:
        """The rows set aside."""
        return self.landed("_quarantine")

    def _logs(self) -> Path:
        logs = self.folder.parent / f"{self.folder.name}-runs"
        logs.mkdir(exist_ok=True)
        return logs


def warehouse(folder: Path) -> Any:
    """The project's warehouse, not opened."""
    from destinations import open_destination
    from destinations.settings import DucklakeSettings

    settings = DucklakeSettings(type="ducklake", path=".data/warehouse")
    return open_destination("warehouse", settings, folder, folder / ".data")


SOURCES = ("binance", "coingecko", "faker", "history")


def write_project(folder: Path, url: str, extract: Sequence[str] = SOURCES) -> None:
    """Write a small project: the product's own pipelines.yaml with fewer assets and rows, and its models."""
    document = yaml.safe_load((ROOT / "pipelines.yaml").read_text())
    document["assets"]["crypto"]["top"] = 3
    document["assets"]["stocks"]["top"] = 3
    document["profiles"] = {
        PROFILE: {
            "data": ".data",
            "market": "replay",
            "market_url": url,
            "lake": {"type": "filesystem", "path": ".data/lake"},
            "warehouse": {"type": "ducklake", "path": ".data/warehouse"},
        }
    }
    document["sources"]["faker"]["resources"] = {
        "raw_customers": {"first": 100, "changed": 5, "new": 2},
        "raw_corporates": {"first": 20, "changed": 2, "new": 1},
        "raw_transaction_personal": {"rows": 200, "history_days": 5},
        "raw_transaction_corporate": {"rows": 50, "history_days": 5},
    }
    document["sources"]["history"]["settle_seconds"] = 0
    document["pipelines"] = {PIPELINE: {"extract": list(extract), "load": ["warehouse"]}}
    folder.mkdir(parents=True)
    (folder / "pipelines.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    copy_price_models(folder)
    (folder / "data" / "history").mkdir(parents=True)
