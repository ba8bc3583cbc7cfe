"""The market replay: a loopback HTTP server that speaks five market-data APIs with simulated data.

`with MarketReplay() as replay:` serves at `replay.url`; `python -m sources.market_replay` does so in a process.
"""

from sources.market_replay.faults import Armed, Fault
from sources.market_replay.ledger import Entry
from sources.market_replay.server import MarketReplay, Served

__all__ = ["Armed", "Entry", "Fault", "MarketReplay", "Served"]
