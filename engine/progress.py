"""Progress for people: a live table on a terminal, plain lines anywhere else. Always on standard error."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Protocol, TextIO

from engine.redact import visible


class Progress(Protocol):
    """Steps are named (`extract binance.candles`, `load warehouse`, `transform warehouse`)."""

    def begin(self, step: str) -> None:
        """Show that a step has begun."""

    def update(self, step: str, text: str) -> None:
        """Show where a step is: "12,000 rows", "waiting 8 s for the rate limit"."""

    def say(self, step: str, text: str) -> None:
        """Show at once why a step does not go on: another process holds a lock."""

    def end(self, step: str, text: str, *, ok: bool = True) -> None:
        """Show how a step ended."""


class Silent:
    """No progress: tests and --json without a terminal."""

    def begin(self, step: str) -> None:
        """Say nothing."""

    def update(self, step: str, text: str) -> None:
        """Say nothing."""

    def say(self, step: str, text: str) -> None:
        """Say nothing."""

    def end(self, step: str, text: str, *, ok: bool = True) -> None:
        """Say nothing."""


class PlainLines:
    """One line when a step begins to wait and one when it ends: readable in a log."""

    def __init__(self, stream: TextIO, redact: Callable[[str], str]) -> None:
        """Write to `stream`, every line through `redact`."""
        self._stream = stream
        self._redact = redact
        self._lock = threading.Lock()
        self._said: dict[str, float] = {}

    def begin(self, step: str) -> None:
        """Remember when the step began; the line comes with its end or with its first long wait."""
        self._said[step] = time.monotonic()

    def update(self, step: str, text: str) -> None:
        """Print at most one line every ten seconds for a step."""
        if time.monotonic() - self._said.get(step, 0.0) >= 10:  # noqa: PLR2004 - seconds between two lines
            self.say(step, text)

    def say(self, step: str, text: str) -> None:
        """Print a line now."""
        self._said[step] = time.monotonic()
        self._print(f"  ... {step}: {text}")

    def end(self, step: str, text: str, *, ok: bool = True) -> None:
        """Print the step's line."""
        self._print(f"  {'ok ' if ok else 'ERR'} {step}: {text}")

    def _print(self, line: str) -> None:
        with self._lock:
            print(self._redact(visible(line)), file=self._stream, flush=True)


class LiveLines(PlainLines):
    """As PlainLines, with one status line at the bottom that shows the steps under way."""

    def __init__(self, stream: TextIO, redact: Callable[[str], str]) -> None:
        """Show a rich status on `stream`."""
        super().__init__(stream, redact)
        from rich.console import Console

        self._console = Console(file=stream, highlight=False)
        self._status = self._console.status("starting")
        self._running: dict[str, str] = {}

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

    def end(self, step: str, text: str, *, ok: bool = True) -> None:
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


def for_stream(redact: Callable[[str], str], stream: TextIO | None = None) -> Progress:
    """Return live progress on a terminal, plain lines elsewhere."""
    stream = stream or sys.stderr
    return LiveLines(stream, redact) if stream.isatty() else PlainLines(stream, redact)
