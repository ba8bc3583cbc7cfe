"""The ways out of the metrics: a small HTTP server, text, a file for node_exporter, a Pushgateway."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, generate_latest, push_to_gateway, start_http_server

from engine.errors import TickhouseError, UsageError
from engine.metrics.collector import Metrics
from engine.metrics.probes import OVERDUE_SECONDS

if TYPE_CHECKING:
    from engine.config.project import Project

PUSH_SECONDS = 10.0
JOB = "tickhouse"


class MetricsServer:
    """Serves /metrics in the background until it is closed. `port` is where, also if any free one was asked for."""

    def __init__(self, server: Any, thread: Thread) -> None:
        """Take what prometheus_client started."""
        self._server, self._thread = server, thread
        self.port: int = server.server_port

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def serve(project: Callable[[], Project], *, host: str = "127.0.0.1", port: int = 9464) -> MetricsServer:
    """Serve the metrics of the project that `project()` returns at the time. Raises TickhouseError: no such port."""
    try:
        server, thread = start_http_server(port, addr=host, registry=_registry(Metrics(project)))
    except OSError as error:
        raise TickhouseError(
            f"metrics cannot be served at {host}:{port}: {error.strerror or error}",
            "Does another process serve them? Set another `metrics: {port: ...}` in the profile.",
        ) from error
    return MetricsServer(server, thread)


def exposition(project: Project) -> str:
    """Return the metrics as Prometheus reads them, once everything that is asked has answered or is overdue."""
    return generate_latest(_once(project)).decode()


def write_textfile(text: str, path: Path) -> None:
    """Write the metrics in one step: who reads the file (node_exporter) never sees half of it. Raises UsageError."""
    try:
        handle, scratch = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(scratch).chmod(0o644)  # node_exporter is another user
            Path(scratch).replace(path)
        except BaseException:
            Path(scratch).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", "Name a file in a folder that exists."
        ) from error


def push(project: Project, url: str) -> None:
    """Put the metrics in a Pushgateway, in place of what this profile pushed before. Raises TickhouseError."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError("--push takes the address of a Pushgateway", "Write it as http://127.0.0.1:9091.")
    where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    key = {"instance": project.profile_name}
    try:
        push_to_gateway(url, job=JOB, registry=_once(project), grouping_key=key, timeout=PUSH_SECONDS)
    except OSError as error:
        reason = getattr(error, "reason", None) or error
        raise TickhouseError(
            f"the Pushgateway at {where} did not take the metrics: {reason}", "Check its address, and that it runs."
        ) from error


def _once(project: Project) -> CollectorRegistry:
    return _registry(Metrics(lambda: project, wait_seconds=OVERDUE_SECONDS))


def _registry(metrics: Metrics) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(metrics)
    return registry
