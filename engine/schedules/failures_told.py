"""A failed run's log without Prefect's own tracebacks: its state says what failed and what to do, and so does its page.

Prefect raises the state, or the timeout, again to end the process with 1, and logs that as an unexpected exception. Its
last line of a run is information, however the run ended: of one that failed it becomes an error.
"""

from __future__ import annotations

import logging
import re

import httpx
from prefect.exceptions import CancelledRun, CrashedRun, FailedRun
from prefect.flow_engine import FlowRunTimeoutError
from websockets.exceptions import WebSocketException

LOGGERS = ("prefect.flow_runs", "prefect.task_runs", "prefect.engine")
TOLD = (FailedRun, CrashedRun, CancelledRun, FlowRunTimeoutError)
"""What the run's state says already."""
FAILED = re.compile(r"Finished in state (Failed|Crashed)\(|Finished in state .*type=(FAILED|CRASHED)\)\Z", re.DOTALL)
AWAY = (httpx.TransportError, httpx.HTTPStatusError)
"""What a request meets while the server is away."""
NONE = (None, None, None)


def without_tracebacks_of_states() -> None:
    """Leave out of this process' log what is only a state raised as an error."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if _is_news not in logger.filters:
            logger.addFilter(_is_news)
    without_tracebacks_while_away()


def without_tracebacks_while_away() -> None:
    """Leave the tracebacks out of this process' log where it is the server that is away: a line says that."""
    for handler in logging.getLogger().handlers:
        if _in_short not in handler.filters:
            handler.addFilter(_in_short)


def _in_short(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, (*AWAY, OSError, WebSocketException)):
        record.msg, record.args = f"{record.getMessage()} ({type(error).__name__}: {error})", None
        record.exc_info = record.exc_text = None
    return True


def _is_news(record: logging.LogRecord) -> bool:
    if record.exc_info == NONE:  # asked for where there is no exception: it would show as `NoneType: None`
        record.exc_info = None
    if record.levelno == logging.INFO and FAILED.match(str(record.msg)):
        record.levelno, record.levelname = logging.ERROR, "ERROR"
    if record.name == "prefect.engine" and record.msg.endswith("is paused."):  # it waits, and has said for what
        return False
    return not (record.exc_info and isinstance(record.exc_info[1], TOLD))
