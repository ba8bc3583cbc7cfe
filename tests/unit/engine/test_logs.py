"""Lines for people end with the run's id; lines for machines are JSON objects that have it, whatever printed them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.logs import JsonLog
from engine.progress import JsonProgress, PlainLines
from engine.redact import Redactor
from tests.faults.small_project import SmallProject, small_project

SECRET = "pa\"ss'wo/rd-1234"  # noqa: S105 - a planted one


@pytest.fixture
def shop(tmp_path: Path) -> SmallProject:
    made = small_project(tmp_path)
    made.orders(1)
    return made


def engine(shop: SmallProject, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    command = [str(Path(sys.executable).with_name("engine")), *words, "--file", str(shop.folder / "pipelines.yaml")]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **env}, cwd="/")


def objects(text: str) -> list[dict[str, Any]]:
    """Every line, of which none may be anything but an object with the words that every line has."""
    lines = [json.loads(line) for line in text.splitlines()]
    assert all({"time", "level", "run_id", "message"} <= line.keys() for line in lines)
    return lines


def test_plain_lines_end_with_the_run() -> None:
    said = io.StringIO()
    lines = PlainLines(said, str)
    lines.say("pipeline daily", "another run holds the lock")
    lines.of_run("20260101T000000-ab12cd34", "daily")
    lines.end("load store", "3 rows", rows=3)
    lines.end("load store", "away", ok=False)
    assert said.getvalue().splitlines() == [
        "  ... pipeline daily: another run holds the lock",
        "  ok  load store: 3 rows  [run 20260101T000000-ab12cd34]",
        "  ERR load store: away  [run 20260101T000000-ab12cd34]",
    ]


def test_steps_as_objects() -> None:
    """Times in UTC, secrets hidden also where JSON would write them otherwise, control characters shown."""
    said = io.StringIO()
    progress = JsonProgress(JsonLog(said, Redactor([SECRET])))
    progress.begin("pipeline daily")
    progress.of_run("r1", "daily")
    progress.end("load store", f"no \x1b[31mlogin with {SECRET}\nat all", ok=False, rows=0, seconds=0.25)
    first, began, last = objects(said.getvalue())
    assert (first["run_id"], first["event"], began["event"]) == (None, "begin", "run_begin")
    assert last.pop("time")[10:] > "T"
    assert last == {
        "level": "error",
        "run_id": "r1",
        "pipeline": "daily",
        "step": "load store",
        "event": "end",
        "rows": 0,
        "seconds": 0.25,
        "message": "no \\x1b[31mlogin with ***\nat all",
    }


def test_figures_and_texts_are_json_without_a_secret() -> None:
    """At any depth; a figure that is no number in JSON is null."""
    said = io.StringIO()
    log = JsonLog(said, Redactor([SECRET]))
    log.write("figures", rows=float("nan"), inner={"s": [float("inf"), {SECRET: (SECRET, 1.5)}]})
    assert log.pass_on('{"time": "t", "level": "info", "run_id": null, "rows": NaN, "message": "of a child"}')
    first, second = (json.loads(line, parse_constant=pytest.fail) for line in said.getvalue().splitlines())
    assert (first["rows"], first["inner"], second["rows"]) == (None, {"s": [None, {"***": ["***", 1.5]}]}, None)


def test_a_run_in_json(shop: SmallProject) -> None:
    shop.deliver("orders2", [{"id": 20 + i, "price": "dear", "note": "x"} for i in range(2)])
    done = engine(shop, "run", "daily", "--log-format", "json")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    lines = objects(done.stderr)
    status = json.loads(engine(shop, "status", "--json").stdout)
    [run_id] = {line["run_id"] for line in lines}
    assert run_id in json.dumps(status)
    assert (lines[0]["event"], lines[-1]["event"], lines[-1]["status"]) == ("run_begin", "run_end", "ok")
    ends = {line["step"]: line for line in lines if line.get("event") == "end"}
    assert sum(line["rows"] for step, line in ends.items() if step.startswith("extract")) == lines[-1]["rows"] > 0
    assert lines[-1]["quarantined"] == 2
    [[reason, count]] = lines[-1]["set_aside"].pop("raw_orders").items()
    assert ("price" in reason, count, lines[-1]["set_aside"]) == (True, 2, {}), reason


def test_the_document_stays_alone_on_standard_output(shop: SmallProject) -> None:
    """The variable chooses as the option does; --json's document is what it is without it."""
    done = engine(shop, "run", "daily", "--json", TICKHOUSE_LOG_FORMAT="json")
    [run] = json.loads(done.stdout)["runs"]
    assert {line["run_id"] for line in objects(done.stderr)} == {run["run_id"]}


def test_a_refusal_is_an_object(shop: SmallProject) -> None:
    done = engine(shop, "run", "nosuch", "--log-format", "json")
    [line] = objects(done.stderr)
    assert (done.returncode, line["exit_code"], line["level"], line["run_id"]) == (2, 2, "error", None)
    assert "nosuch" in line["message"]
    assert line["remedy"]


def test_what_others_print_is_objects_too() -> None:
    """Prints of two threads, warnings, records of libraries with a traceback, and an error that nobody expected."""
    code = """
import logging, sys, threading, warnings
from engine.logs import talk_json
log = talk_json(lambda text: text.replace("hidden", "***"))
log.run = {"run_id": "r1"}
threads = [threading.Thread(target=lambda: [print("whole", "line", file=sys.stderr) for _ in range(200)]) for _ in "ab"]
[t.start() for t in threads]; [t.join() for t in threads]
print("hidden things")
warnings.warn("old words")
try:
    raise ValueError("hidden reason")
except ValueError:
    logging.getLogger("library").warning("failed", exc_info=True)
logging.getLogger("library").info("not told")
logging.getLogger("library").log(35, "a level of its own")
print("half a line", end="", flush=True)
thread = threading.Thread(target=lambda: print("another's half", end="")); thread.start(); thread.join()
raise RuntimeError("hidden end")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    lines = objects(done.stderr)
    assert done.stdout == ""
    assert "hidden" not in done.stderr
    assert [line["message"] for line in lines[:401]] == ["whole line"] * 400 + ["*** things"]
    assert {line["run_id"] for line in lines} == {"r1"}
    rest = lines[401:]
    assert "old words" in rest[0]["message"]
    assert (rest[1]["logger"], rest[1]["level"], "ValueError: *** reason" in rest[1]["traceback"]) == (
        "library",
        "warning",
        True,
    )
    assert (rest[2]["message"], rest[2]["level"]) == ("a level of its own", "warning")
    assert [line["message"] for line in rest[-3:]] == ["RuntimeError: *** end", "half a line", "another's half"]
