"""What happens when: kills and outages of a soak, from its length and a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Kind = Literal["kill run", "kill worker", "kill server", "destination away", "worker away"]
KILLS: tuple[Kind, ...] = ("kill run", "kill server", "kill worker")
MINUTES_A_KILL = 5
FEWEST_KILLS = 3
AWAY: dict[float, Kind] = {0.25: "destination away", 0.62: "worker away"}
"""Outages by the share of the time at which they begin; each lasts until its alerts have fired."""
CALM = (0.04, 0.23), (0.43, 0.60), (0.75, 0.94)
"""The shares of the time in which kills happen: not within an outage, which would be another experiment."""


@dataclass(frozen=True, order=True)
class Step:
    """One of the things that go wrong. `at`: seconds from the beginning; it is never earlier, and may be later."""

    at: float
    kind: Kind


def plan(minutes: int, seed: int) -> list[Step]:
    """Twelve kills of three kinds and two outages in an hour; at least one kill of each kind."""
    drawn = random.Random(seed)
    count = max(FEWEST_KILLS, minutes // MINUTES_A_KILL)
    kinds = [KILLS[number % len(KILLS)] for number in range(count)]
    drawn.shuffle(kinds)
    whole = sum(end - begin for begin, end in CALM)
    slot = whole / count
    shares = [_share(slot * (number + drawn.uniform(0.2, 0.8))) for number in range(count)]
    steps = [Step(share * minutes * 60, kind) for share, kind in zip(shares, kinds, strict=True)]
    return sorted([*steps, *(Step(share * minutes * 60, kind) for share, kind in AWAY.items())])


def _share(calm: float) -> float:
    """The share of the whole time at which so much of the calm time has passed."""
    for begin, end in CALM:
        if calm < end - begin:
            return begin + calm
        calm -= end - begin
    raise AssertionError(calm)
