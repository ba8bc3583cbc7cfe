"""Starts the engine again and again in a short time: the heavy imports are done once, each run is a fork.

    python -m tests.faults.fork_server

A request is a line of JSON on standard input: {"argv": ["run", "p"], "cwd": folder, "env": {...}, "out": file,
"err": file, "stopped": bool}. The answer is {"pid": n} at once and {"pid": n, "status": wait status} at the end. A
forked run is a process (and a session) of its own that executes `engine.cli.main` from its first line; with "stopped"
it waits for SIGCONT first, so that a tracer can attach.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import sys
from typing import Any


def run(request: dict[str, Any]) -> None:
    """Become the engine; never returns."""
    os.setsid()
    os.chdir(request["cwd"])
    os.environ.update(request["env"])
    for number, path in ((0, os.devnull), (1, request["out"]), (2, request["err"])):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(handle, number)
    if request["stopped"]:
        os.kill(os.getpid(), signal.SIGSTOP)
    sys.argv = ["engine", *request["argv"]]
    from engine.cli import main

    status = 0
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    sys.exit(status)


def warm_up() -> None:
    """Import what a run imports; connect to nothing."""
    import importlib

    for name in (
        "engine.cli",
        "engine.models.transform",  # before SQLMesh: it sets SQLMesh's environment
        "engine.run",
        "engine.load",
        "engine.conform",
        "engine.summary",
        "engine.query",
        "engine.lake.lake",
        "engine.lake.folder",
        "engine.lake.parts",
        "destinations.ducklake",
        "sources.rest.resource",
        "sources.faker.resource",
        "sources.files.resource",
        "pyarrow.parquet",
        "pandas",
        "dlt.sources.rest_api",
        "sqlmesh",
        "sqlmesh.core.console",
        "sqlmesh.core.plan",
    ):
        importlib.import_module(name)


def serve() -> None:
    """Answer requests until standard input ends; then end every run."""
    warm_up()
    say({"ready": True})
    running: dict[int, int] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        pending = b""
        while True:
            for key, _ in selector.select():
                handle = int(key.fd)
                if handle in running:
                    selector.unregister(handle)
                    os.close(handle)
                    pid = running.pop(handle)
                    say({"pid": pid, "status": os.waitpid(pid, 0)[1]})
                    continue
                data = os.read(0, 65_536)
                if not data:
                    for pid in running.values():
                        os.kill(pid, signal.SIGKILL)
                    return
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    pid = os.fork()
                    if pid == 0:
                        for other in running:
                            os.close(other)
                        selector.close()
                        run(json.loads(line))
                    watch = os.pidfd_open(pid)
                    running[watch] = pid
                    selector.register(watch, selectors.EVENT_READ)
                    say({"pid": pid})


def say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve()
