"""`python -m engine.schedules.server_process`: Prefect's server in a process that ends with the one that started it.

Host, port and folder are in its environment (engine/schedules/settings.py).
"""

from __future__ import annotations

import os
import signal
import sys
import threading

GRACE_SECONDS = 5.0


def main() -> None:
    """Serve until standard input ends, which it does when the parent is gone, however that happened."""
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    from prefect.cli import app

    sys.argv = ["prefect", "server", "start"]
    app()


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    last = threading.Timer(GRACE_SECONDS, os._exit, (1,))
    last.daemon = True
    last.start()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
