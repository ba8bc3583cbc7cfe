"""One signal ends `engine up`, whatever it waits for."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from engine.schedules import up
from engine.schedules.aside import aside


class Stuck:
    """A Serving that hangs in one of its phases, and swallows so many cancellations."""

    project, paused = None, frozenset[str]()

    def __init__(self, phase: str, *, stubborn: int = 0) -> None:
        self.phase = phase
        self.stubborn = stubborn
        self.ended: list[str] = []

    async def begin(self) -> None:
        await self._hang("begin")

    async def work(self) -> None:
        await self._hang("work")

    async def _hang(self, phase: str) -> None:
        if phase != self.phase:
            return
        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGINT)
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.stubborn -= 1
                if self.stubborn < 0:
                    raise

    async def end(self) -> bool:
        self.ended.append("end")
        return False

    def kill_runs(self) -> None:
        self.ended.append("runs killed")


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done to the server, and whether the process was left."""
    found: list[str] = []
    monkeypatch.setattr(up, "timetable", lambda *_: {})
    monkeypatch.setattr(up, "AWAY_SECONDS", (0.05, 0.05))

    def leave(code: int) -> None:
        found.append(f"left with {code}")
        raise SystemExit(code)

    def timer(seconds: float, work: object, given: tuple[object, ...]) -> Any:
        assert (seconds, work, len(given)) == (up.LAST_SECONDS, up._leave, 2)
        return SimpleNamespace(start=lambda: found.append("last resort"))

    monkeypatch.setattr(up.os, "_exit", leave)
    monkeypatch.setattr(up.threading, "Timer", timer)
    return found


def serve(serving: Stuck, found: list[str]) -> None:
    server: Any = SimpleNamespace(end=lambda seconds: found.append(f"end {seconds}"), kill=lambda: found.append("kill"))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        asyncio.run(up._until_told(serving, lambda _: None, server))  # type: ignore[arg-type]
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("phase", ["begin", "work"])
def test_one_signal_ends_what_waits_for_a_server(phase: str, ended: list[str]) -> None:
    serving = Stuck(phase)
    serve(serving, ended)
    assert (serving.ended, ended) == (["end"], ["last resort", "end 2.0"])


def test_what_does_not_end_is_left_with_nothing_behind(ended: list[str]) -> None:
    serving = Stuck("work", stubborn=2)
    with pytest.raises(SystemExit):
        serve(serving, ended)
    assert serving.ended == ["end", "runs killed"]
    assert ended == ["last resort", "end 2.0", "kill", "left with 1"]


def test_an_end_waits_for_no_thread_that_asks_a_server() -> None:
    hung = threading.Event()

    async def ask() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(aside(hung.wait, 20), 0.1)

    began = time.monotonic()
    asyncio.run(ask())
    assert time.monotonic() - began < 5
    hung.set()


def test_what_is_done_aside_is_returned_or_raised() -> None:
    async def both() -> int:
        with pytest.raises(ZeroDivisionError):
            await aside(divmod, 1, 0)
        return await aside(int, "7")

    assert asyncio.run(both()) == 7
