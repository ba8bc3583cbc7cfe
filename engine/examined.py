"""One answer of a server to `engine doctor`."""

from __future__ import annotations

from typing import NamedTuple


class Examined(NamedTuple):
    """One check: what, whether it is as it should be, what was found, and how to mend it."""

    what: str
    ok: bool
    detail: str
    remedy: str = ""
