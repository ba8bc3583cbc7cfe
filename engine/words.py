"""How lines for a person write numbers with their nouns, and models by their names."""

from __future__ import annotations

import re

CATALOG = re.compile(r"\A\w+\.(?=\w+\.\w+\Z)")


def counted(number: int, noun: str) -> str:
    """Return "1 package", "2 packages", "1,200 rows"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def model_name(text: str) -> str:
    """Return `stage.company` of `lake.stage.company`; what is no model with its catalog stays as it is."""
    return CATALOG.sub("", text)
