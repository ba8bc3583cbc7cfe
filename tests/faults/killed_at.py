"""The engine's command; killed before the KILL_NTH statement of SQLMesh that matches KILL_BEFORE, if that is set.

KILL_BEFORE='INSERT INTO' python -m tests.faults.killed_at run daily
"""

from __future__ import annotations

import os
import re
import signal
import sys
from typing import Any


def arm(pattern: str, nth: int) -> None:
    """Kill this process before the n-th statement that matches."""
    from sqlmesh.core.engine_adapter.base import EngineAdapter

    execute, seen = EngineAdapter._execute, 0

    def watched(self: Any, sql: str, *args: Any, **kwargs: Any) -> Any:
        nonlocal seen
        if re.search(pattern, sql, re.DOTALL):
            seen += 1
            if seen == nth:
                os.kill(os.getpid(), signal.SIGKILL)
        return execute(self, sql, *args, **kwargs)

    EngineAdapter._execute = watched


def main() -> None:
    """Run the command line."""
    if os.environ.get("KILL_BEFORE"):
        arm(os.environ["KILL_BEFORE"], int(os.environ.get("KILL_NTH", "1")))
    from engine.cli import main as command

    sys.exit(command())


if __name__ == "__main__":
    main()
