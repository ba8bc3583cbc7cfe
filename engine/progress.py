"""Progress for people: a live table on a terminal, plain lines anywhere else. Always on standard error."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, TextIO

from engine.logs import JsonLog, current
from engine.redact import visible

SECONDS_BETWEEN = 10.0
"""Between two lines of a step that only say how far it is."""


class Progress(Protocol):
    """Steps are named (`extract binance.candles`, `load warehouse`, `transform warehouse`)."""

    def of_run(self, run_id: str, pipeline: str) -> None:
        """Say that what follows belongs to this run of the pipeline."""

    def begin(self, step: str) -> None:
        """Show that a step has begun."""

    def update(self, step: str, text: str) -> None:
        """Show where a step is: "12,000 rows", "waiting 8 s for the rate limit"."""

    def say(self, step: str, text: str) -> None:
        """Show at once why a step does not go on: another process holds a lock."""

    def end(self, step: str, text: str, *, ok: bool = True, **figures: float) -> None:
        """Show how a step ended; its `rows`, `bytes` and `seconds` for machines, `text` has them for people."""


class Silent:
    """No progress: tests and --json without a terminal."""

    def of_run(self, run_id: str, pipeline: str) -> None:
        """Say nothing."""

    def begin(self, step: str) -> None:
        """Say nothing."""

    def update(self, step: str, text: str) -> None:
        """Say nothing."""

    def say(self, step: str, text: str) -> None:
        """Say nothing."""

    def end(self, step: str, text: str, *, ok: bool = True, **figures: float) -> None:
        """Say nothing."""


class PlainLines:
    """One line when a step begins to wait and one when it ends, each with the run's id: readable in a log."""

    def __init__(self, stream: TextIO, redact: Callable[[str], str]) -> None:
        """Write to `stream`, every line through `redact`."""
        self._stream = stream
        self._redact = redact
        self._lock = threading.Lock()
        self._said: dict[str, float] = {}
        self._run = ""

    def of_run(self, run_id: str, pipeline: str) -> None:  # noqa: ARG002 - said by whoever begins it
        """End every line from here on with the run's id."""
        self._run = f"  [run {run_id}]"

    def begin(self, step: str) -> None:
        """Remember when the step began; the line comes with its end or with its first long wait."""
        self._said[step] = time.monotonic()

    def update(self, step: str, text: str) -> None:
        """Print at most one line every ten seconds for a step."""
        if time.monotonic() - self._said.get(step, 0.0) >= SECONDS_BETWEEN:
            self.say(step, text)

    def say(self, step: str, text: str) -> None:
        """Print a line now."""
        self._said[step] = time.monotonic()
        self._print(f"  ... {step}: {text}")

    def end(self, step: str, text: str, *, ok: bool = True, **figures: float) -> None:  # noqa: ARG002
        """Print the step's line."""
        self._print(f"  {'ok ' if ok else 'ERR'} {step}: {text}")

    def _print(self, line: str) -> None:
        with self._lock:
            print(self._redact(visible(line + self._run)), file=self._stream, flush=True)


class LiveLines(PlainLines):
    """As PlainLines, with one status line at the bottom that shows the steps under way."""

    def __init__(self, stream: TextIO, redact: Callable[[str], str]) -> None:
        """Show a rich status on `stream`."""
        super().__init__(stream, redact)
        from rich.console import Console

        self._console = Console(file=stream, highlight=False)
        self._status = self._console.status("starting")
        self._running: dict[str, str] = {}

    def of_run(self, run_id: str, pipeline: str) -> None:
        """Say nothing: a terminal shows one run at a time, and its summary has the id."""

    def begin(self, step: str) -> None:
        """Add the step to the status line."""
        with self._lock:
            self._running[step] = ""
            self._show()

    def update(self, step: str, text: str) -> None:
        """Change the step's text in the status line."""
        with self._lock:
            self._running[step] = text
            self._show()

    def say(self, step: str, text: str) -> None:
        """Print a line now, above the status line."""
        from rich.text import Text

        with self._lock:
            self._console.print(Text(self._redact(visible(f"  ... {step}: {text}"))))

    def end(self, step: str, text: str, *, ok: bool = True, **figures: float) -> None:  # noqa: ARG002
        """Print the step's line and take it out of the status line."""
        from rich.text import Text

        mark = Text("  ok  ", style="green") if ok else Text("  ERR ", style="bold red")
        with self._lock:
            self._running.pop(step, None)
            self._console.print(mark + Text(self._redact(visible(f"{step}: {text}"))))
            self._show()

    def _show(self) -> None:
        if not self._running:
            self._status.stop()
            return
        steps = list(self._running.items())
        shown = ", ".join(f"{step} {text}".strip() for step, text in steps[:3])
        more = f" and {len(steps) - 3} more" if len(steps) > 3 else ""  # noqa: PLR2004 - steps that fit a line
        from rich.text import Text

        self._status.update(Text(self._redact(visible(f"{shown}{more}"))))
        self._status.start()


class JsonProgress:
    """The steps of a run as JSON lines."""

    def __init__(self, log: JsonLog) -> None:
        """Write to `log`."""
        self._log = log
        self._said: dict[str, float] = {}

    def of_run(self, run_id: str, pipeline: str) -> None:
        """Give every line from here on the run's id."""
        self._log.run = {"run_id": run_id, "pipeline": pipeline}
        self._log.write(f"{pipeline}: began", event="run_begin")

    def begin(self, step: str) -> None:
        """Write that the step has begun."""
        self._write(step, "begin", "began")

    def update(self, step: str, text: str) -> None:
        """Write where the step is, at most every ten seconds."""
        if time.monotonic() - self._said.get(step, 0.0) >= SECONDS_BETWEEN:
            self._write(step, "progress", text)

    def say(self, step: str, text: str) -> None:
        """Write why the step does not go on."""
        self._write(step, "wait", text)

    def end(self, step: str, text: str, *, ok: bool = True, **figures: float) -> None:
        """Write how the step ended, with its figures."""
        self._write(step, "end", text, level="info" if ok else "error", **figures)

    def _write(self, step: str, event: str, text: str, **more: Any) -> None:
        self._said[step] = time.monotonic()
        self._log.write(text, step=step, event=event, **more)


def for_stream(redact: Callable[[str], str], stream: TextIO | None = None) -> Progress:
    """Return live progress on a terminal, plain lines elsewhere, JSON where the process talks JSON."""
    if (log := current()) is not None and stream is None:
        return JsonProgress(log)
    stream = stream or sys.stderr
    return LiveLines(stream, redact) if stream.isatty() else PlainLines(stream, redact)
