"""`python -m sources.market_replay`: the replay in a process of its own. Its URL is the first line of the output."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from datetime import datetime
from pathlib import Path

from sources.market_replay.server import MarketReplay


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m sources.market_replay", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (0: any free one)")
    parser.add_argument("--seed", type=int, default=7, help="another seed, another market")
    parser.add_argument(
        "--now", type=datetime.fromisoformat, help="fix the clock, for example 2026-05-18T12:00:00+00:00"
    )
    parser.add_argument("--speed", type=float, help="simulated seconds a second (1 without --now, 0 with it)")
    parser.add_argument("--assets", type=Path, help="asset list (CSV) instead of the project's seed file")
    parser.add_argument("--enforce-limits", action="store_true", help="answer 429 and 418 when a limit is exceeded")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input ends (with its parent)")
    parser.add_argument("--ledger", type=Path, help="append every served row to this file (JSON lines), on disk first")
    given = parser.parse_args(arguments)
    replay = MarketReplay(
        port=given.port,
        seed=given.seed,
        now=given.now,
        speed=given.speed,
        seed_file=given.assets,
        enforce_limits=given.enforce_limits,
        ledger_file=given.ledger,
    )
    sys.stdout.write(replay.url + "\n")
    sys.stdout.flush()
    if given.until_eof:
        threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        replay.serve_forever()
    except KeyboardInterrupt:
        return 0
    finally:
        replay.stop()
    return 0


def _end_with_input() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
