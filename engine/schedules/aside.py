"""Work in a thread that nobody waits for at the end: Prefect asks a server that hangs for minutes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def aside(work: Callable[..., T], *given: Any) -> T:
    """Return what `work` returns, or raise what it raises. A cancellation leaves it alone; it ends with the process."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(how: Callable[[Any], None], what: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(lambda: None if done.done() else how(what))

    def carry_out() -> None:
        try:
            found = work(*given)
        except BaseException as error:
            tell(done.set_exception, error)
        else:
            tell(done.set_result, found)

    threading.Thread(target=carry_out, name="aside", daemon=True).start()
    return await done
