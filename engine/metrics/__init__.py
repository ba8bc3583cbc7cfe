"""Prometheus metrics of a project, made from what the engine keeps anyway: the ledger, the lake's heads, destinations.

with serve(lambda: project) as server: ...      # /metrics of a long-running process
exposition(project)                             # the same as text, for a textfile or a Pushgateway
"""

from engine.metrics.collector import Metrics
from engine.metrics.server import MetricsServer, exposition, push, serve, write_textfile

__all__ = ["Metrics", "MetricsServer", "exposition", "push", "serve", "write_textfile"]
