"""How lines for a person write numbers with their nouns, lengths of time, and models by their names."""

from __future__ import annotations

import re
from datetime import timedelta

CATALOG = re.compile(r"\A\w+\.(?=\w+\.\w+\Z)")


def counted(number: int, noun: str) -> str:
    """Return "1 package", "2 packages", "1,200 rows"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def length(of: timedelta) -> str:
    """Return a time as people say it: its two largest units."""
    minutes = max(int(of.total_seconds()) // 60, 0)
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    words = [f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (rest, "min")) if count]
    return " ".join(words[:2]) or "less than a minute"


def model_name(text: str) -> str:
    """Return `stage.company` of `lake.stage.company`; what is no model with its catalog stays as it is."""
    return CATALOG.sub("", text)
