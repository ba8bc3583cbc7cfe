"""What `engine doctor` asks the S3 server of a lake: who it is, rights, clock. A probe object is put and removed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

from engine.config.models import S3Lake
from engine.errors import LakeError
from engine.examined import Examined
from engine.lake.remote import CLOCK_REMEDY, Remote, error_code

SKEW_SECONDS = 60.0
"""S3 refuses requests of a clock that is a quarter of an hour off."""

STALE_REMEDY = "A lake needs a server that gives back at once what was written: look for a cache or a proxy before it."


def examine(settings: S3Lake) -> Iterator[Examined]:
    """Check the server. Raises LakeError where it does not answer or refuses to be read."""
    remote = Remote(settings)
    started = time.time()
    try:
        answer = remote.call("list_objects_v2", Prefix=f"{remote.prefix}_probes/", MaxKeys=1)
    except LakeError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        detail = f"the bucket {remote.bucket} is not there yet: the first run makes it, if the key may"
        yield Examined("server", ok=True, detail=f"{settings.endpoint or 'AWS'}; {detail}")
        return
    ended = time.time()
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    called = f" ({headers['server']})" if headers.get("server") else ""
    took = (ended - started) * 1000
    yield Examined("server", ok=True, detail=f"{settings.endpoint or 'AWS'}{called}, answers in {took:.0f} ms")
    if headers.get("date"):
        yield _clock(parsedate_to_datetime(headers["date"]).timestamp(), started, ended)
    yield _rights(remote)
    yield Examined("space", ok=True, detail="S3 does not say what is free")


def _clock(theirs: float, started: float, ended: float) -> Examined:
    """The server's clock, in whole seconds, against this machine's when it was asked and when the answer was there."""
    behind, ahead = started - theirs, theirs - ended
    skew = max(behind - 1, ahead, 0.0)  # what may be the rounding of the header is none
    detail = (
        "as this machine's" if skew <= 1 else f"{skew:.0f} s {'behind' if behind > ahead else 'ahead of'} this machine"
    )
    return Examined("clock", skew <= SKEW_SECONDS, detail, CLOCK_REMEDY)


def _rights(remote: Remote) -> Examined:
    """Whether the key may do what a lake does. Raises LakeError where the server goes away meanwhile."""
    probe, written = f"_probes/{secrets.token_hex(8)}", b"probe"
    doing = "write"
    try:
        remote.put(probe, written)
        doing = "read"
        found = remote.read(probe)
        doing = "remove what it wrote"
        remote.remove_object(probe)
    except LakeError as error:
        if isinstance(error.__cause__, PermissionError):
            detail = f"the key may not {doing}: {error.reason}"
        elif error_code(error.__cause__):
            detail = f"the key could not {doing}: {error.reason}"
        else:
            raise
        return Examined("rights", ok=False, detail=detail, remedy=error.remedy)
    if found != written:
        what = "nothing" if found is None else "something else"
        return Examined("rights", ok=False, detail=f"a probe was written, and {what} was read", remedy=STALE_REMEDY)
    return Examined("rights", ok=True, detail="the key may write, read and remove")
