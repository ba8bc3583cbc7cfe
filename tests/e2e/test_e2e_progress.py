"""What a person sees while a run goes on: plain lines in a log, a live line on a terminal, no secret anywhere."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from collections.abc import Callable

from tests.e2e.engine_project import EngineProject

Make = Callable[..., EngineProject]
CONTROL = "\x1b["


def on_a_terminal(project: EngineProject, *arguments: str) -> tuple[int, str]:
    """Run a command whose standard error is a terminal; return its exit code and what the terminal got."""
    leader, follower = pty.openpty()
    environment = {name: value for name, value in project.environment.items() if name not in {"NO_COLOR", "COLUMNS"}}
    process = subprocess.Popen(
        project.command(*arguments),
        cwd=project.folder,
        env={**environment, "TERM": "xterm-256color"},
        stdout=subprocess.DEVNULL,
        stderr=follower,
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            more = os.read(leader, 65_536)
        except OSError:  # the terminal is closed: the process has ended
            break
        if not more:
            break
        shown += more
    os.close(leader)
    return process.wait(), shown.decode()


def test_plain_lines_without_a_terminal(small_project: Make) -> None:
    project = small_project(models=False)
    ended = project.engine("run", "historical-backfill")
    assert CONTROL not in ended.err + ended.out
    head, *steps = ended.err.splitlines()
    assert head == "historical-backfill (demo)"
    lines, runs = zip(*(step.removesuffix("]").split("  [run ") for step in steps), strict=True)
    assert len(set(runs)) == 1
    assert runs[0] in ended.out
    assert any(
        re.fullmatch(r"  ok  extract history\.raw_history_ohlcv: [\d,]+ rows, [\d,]+ kB, [\d.]+ s", s) for s in lines
    )
    assert any(re.fullmatch(r"  ok  load warehouse: [\d,]+ rows in 2 packages, [\d.]+ s", line) for line in lines)
    assert not any(line.startswith("  ok") for line in ended.out.splitlines()), "the summary stands alone"
    again = project.engine("run", "historical-backfill")
    assert "nothing new" in again.err
    assert "warehouse: unchanged, 0 rows" in again.out


def test_a_live_line_on_a_terminal(small_project: Make) -> None:
    code, shown = on_a_terminal(small_project(models=False), "run", "prices-stock-pipeline")
    assert code == 0
    assert CONTROL in shown
    assert re.search(r"\x1b\[2K", shown), "the live line is drawn anew"
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "extract yfinance.stocks" in plain
    assert re.search(r"ok\s+load warehouse", plain)
    assert shown.rstrip().endswith("\x1b[?25h") or "\x1b[?25l" not in shown.split("\x1b[?25h")[-1], "the cursor is back"
