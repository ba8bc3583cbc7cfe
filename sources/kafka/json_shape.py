"""What stands behind the colons of many JSON messages, counted over their bytes at once instead of parsed.

Where no white space stands before a colon, every member of an object has `":` in the text, its key's closing quote and
the colon. Texts may have it too, so a count of them is never below that of the members, but may be above. A parser has
lost or changed nothing where its members are as many as were counted, and each is of the kind that was counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

QUOTE, COLON, SPACE, BRACE, END = b'":  {}'[0], b":"[0], b" "[0], b"{"[0], b"}"[0]
LOWER_N, LOWER_U, LOWER_L = b"nul"
WINDOW = 1 << 17
"""Bytes looked at in one go: they and what is made of them stay in the cache, and in memory that is there."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How many `":` there are in messages of which each begins with `{` and ends with `}`.

    `texts` of them stand before a quote, `nulls` before `nu`; at most one space between. `closed`: each message ends as
    one does whose last value is a text or null, and so with no comma too many.
    """

    members: int
    texts: int
    nulls: int
    closed: bool


def shape_of(messages: pa.BinaryArray) -> Shape | None:
    """Count; None where white space stands before a colon, or where a message is not between braces."""
    _, offsets, data = messages.buffers()
    bounds = np.frombuffer(offsets, np.int32, len(messages) + 1)
    text = np.frombuffer(data, np.uint8)
    if bounds[0] or int(np.diff(bounds).min()) < len("{}"):
        return None
    text = text[: bounds[-1]]
    if (text[bounds[:-1]] != BRACE).any() or (text[bounds[1:] - 1] != END).any():
        return None
    members = texts = nulls = 0
    for start in range(0, len(text), WINDOW):
        colons = np.flatnonzero(text[start : start + WINDOW] == COLON)
        colons += start
        before = text[colons - 1]
        if (before <= SPACE).any():
            return None
        value = colons[before == QUOTE] + 1
        first = text[value]
        spaced = first == SPACE
        if spaced.any():
            value += spaced
            first = text[value]
        members += len(value)
        texts += int(np.count_nonzero(first == QUOTE))
        null = value[first == LOWER_N]
        if len(null):
            nulls += int(np.count_nonzero(text[null + 1] == LOWER_U))
    last = text[bounds[1:] - 2]
    return Shape(members, texts, nulls, closed=bool(((last == QUOTE) | (last == LOWER_L)).all()))
