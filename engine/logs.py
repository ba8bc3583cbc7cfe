"""Logs for machines: every line on standard error, and on standard output but for --json's document, is a JSON object.

`time` is UTC with milliseconds, `level` info, warning or error, `run_id` the run that the line belongs to (null before
one has begun), `message` the text for people. A step's lines have `step` and `event` besides (begin, progress, wait,
end), and its end has figures: `rows`, `bytes` (of the packages' files), `seconds`; one that is no number is null.
"""

from __future__ import annotations

import atexit
import io
import json
import logging
import math
import os
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from engine.redact import visible

if TYPE_CHECKING:
    from engine.errors import TickhouseError

FORMAT_VARIABLE = "TICKHOUSE_LOG_FORMAT"
NO_RUN: dict[str, Any] = {"run_id": None}
SAID: dict[str, Any] = {"said": True}
"""`extra` of a record for other handlers, whose object this process has written already."""
OPENING = '{"time": '
LEVELS = ((logging.ERROR, "error"), (logging.WARNING, "warning"), (logging.INFO, "info"))
"""From which of logging's numbers on a record has the word; a library may have levels of its own. Below: debug."""


class JsonLog:
    """Writes the objects, one a line, whole, from whatever thread, every text through `redact`."""

    def __init__(self, stream: TextIO, redact: Callable[[str], str]) -> None:
        """Write to `stream`. `redact` may be set anew when secrets become known."""
        self._stream = stream
        self.redact = redact
        self._lock = threading.Lock()
        self.run: dict[str, Any] = NO_RUN
        self.document: TextIO = stream
        """Where --json's one document goes."""

    def write(self, message: str, *, level: str = "info", **more: Any) -> None:
        """Write one line. `more` are JSON values."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._put({"time": at, "level": level, **self.run, **more, "message": _shown(message)})

    def refuse(self, error: TickhouseError) -> None:
        """Write why something could not be done at all."""
        self.write(error.reason, level="error", event="error", exit_code=error.exit_code, remedy=error.remedy)

    def pass_on(self, line: str) -> bool:
        """Write a line of a process of this one, whose output passes through here; False if it is no such line."""
        try:
            made = json.loads(line) if line.startswith(OPENING) else {}
        except ValueError:
            return False
        if not {"time", "level", "run_id", "message"} <= made.keys():
            return False
        self._put(made)
        return True

    def _put(self, line: dict[str, Any]) -> None:
        # secrets are looked for in the texts themselves: a quote in one of them is written otherwise in JSON
        text = json.dumps({key: self._safe(value) for key, value in line.items()}, ensure_ascii=False, default=str)
        with self._lock:
            self._stream.write(text + "\n")
            self._stream.flush()

    def _safe(self, value: Any) -> Any:
        """Without a secret, and as JSON has it: no NaN, no infinity."""
        if isinstance(value, dict):
            return {self.redact(str(key)): self._safe(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self._safe(one) for one in value]
        if isinstance(value, float) and not math.isfinite(value):
            return None
        return self.redact(value) if isinstance(value, str) else value


def _shown(text: str) -> str:
    """Lines stay lines: JSON writes a line's end as two characters; what else is invisible is written out."""
    return "\n".join(visible(line) for line in text.split("\n"))


class _Lines(io.TextIOBase):
    """A stream whose lines become messages: what libraries and the interpreter print."""

    def __init__(self, log: JsonLog, level: str) -> None:
        self._log = log
        self._level = level
        self._kept: dict[threading.Thread, str] = {}  # two threads' halves of lines do not mix
        self._ends = False

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        thread = threading.current_thread()
        *lines, rest = (self._kept.pop(thread, "") + text).split("\n")
        if rest:
            self._kept[thread] = rest
        for line in lines:
            self._tell(line)
        return len(text)

    def flush(self) -> None:
        """Nothing: half a line waits for its other half, until the process ends."""
        if self._ends:
            for thread in list(self._kept):
                self._tell(self._kept.pop(thread, ""))

    def end(self) -> None:
        """From now on nothing waits: the interpreter flushes once more behind this."""
        self._ends = True
        self.flush()

    def _tell(self, line: str) -> None:
        if line.strip() and not self._log.pass_on(line):
            self._log.write(line, level=self._level)


class _Records(logging.Handler):
    def __init__(self, log: JsonLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; a traceback is a text of its own, and a task of Prefect's has its name."""
        if hasattr(record, "said"):
            return
        try:
            more = {"task": record.task_run_name} if hasattr(record, "task_run_name") else {}
            if record.exc_info:
                more["traceback"] = logging.Formatter().formatException(record.exc_info)
            level = next((word for least, word in LEVELS if record.levelno >= least), "debug")
            self._log.write(record.getMessage(), level=level, logger=record.name, **more)
        except Exception:
            self.handleError(record)


class PrefectConsole(_Records):
    """Prefect's console, where its lines are to be JSON as ours: PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS names it."""

    def __init__(self, stream: TextIO | None = None, styles: object = None) -> None:  # noqa: ARG002 - Prefect's words
        """Turn this process's output to JSON lines; what Prefect sets of a stream and of colours is not needed."""
        super().__init__(talk_json(str))


_current: JsonLog | None = None


def current() -> JsonLog | None:
    """The log of this process; None while it talks to people."""
    return _current


def talk_json(redact: Callable[[str], str]) -> JsonLog:
    """From now on everything that this process prints is JSON lines on standard error; twice is once."""
    global _current  # noqa: PLW0603 - one process, one standard error
    if _current is None:
        _current = JsonLog(sys.stderr, redact)
        _current.document = sys.stdout
        for name in ("stdout", "stderr"):
            lines = _Lines(_current, "info")
            setattr(sys, name, lines)
            atexit.register(lines.end)
        handler = _Records(_current)
        logging.getLogger().addHandler(handler)
        for name in ("engine", "sources", "destinations"):
            logger = logging.getLogger(name)
            logger.handlers.clear()  # --debug's, for people
            logger.setLevel(min(logger.level or logging.INFO, logging.INFO))
        logging.captureWarnings(capture=True)
        os.environ[FORMAT_VARIABLE] = "json"  # processes of this one
    return _current
