"""A process that builds a project, delivers, and is killed (-9) at a statement of its second model run.

python -m tests.vault.killed_run FOLDER KIND STATEMENT
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tests.vault.adapter import Models
from tests.vault.histories import BEFORE_THE_KILL, THE_KILLED, dying_at


def main(folder: Path, kind: str, statement: int) -> None:
    models = Models(kind, folder)
    for delivery in BEFORE_THE_KILL:
        models.land(delivery.table, delivery.rows)
    models.run(None)
    for delivery in THE_KILLED:
        models.land(delivery.table, delivery.rows)
    with dying_at(models, statement, lambda: os.kill(os.getpid(), signal.SIGKILL)):
        models.run(None)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
