"""How an answer's bytes travel: whole, or as a wire fault has it."""

from __future__ import annotations

import json
import socket
import struct
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Protocol

from sources.market_replay.exchange import Answer
from sources.market_replay.faults import Fault
from sources.market_replay.mutate import LITERAL, literal_of

SIMULATED = "X-Tickhouse-Simulated"
BLOCK = 1 << 20


class Writer(Protocol):
    """Where the bytes go: the handler's side of the connection."""

    def write(self, data: bytes, /) -> int:
        """Send."""
        ...

    def writelines(self, lines: Iterable[bytes], /) -> None:
        """Send one after the other."""
        ...

    def flush(self) -> None:
        """Nothing is kept back."""
        ...


class ConnectionCutError(Exception):
    """The fault asks for a reset: the handler closes the socket without a farewell."""


def body_of(answer: Answer, fault: Fault | None) -> bytes:
    """The answer's bytes as they should arrive."""
    if isinstance(answer.payload, str):
        return answer.payload.encode("utf-8", "surrogatepass")
    text = json.dumps(answer.payload, separators=(",", ":"))
    if fault is not None and LITERAL in text:
        text = text.replace(f'"{LITERAL}"', literal_of(fault))
    return text.encode()


def head(answer: Answer, length: int | None, extra: Mapping[str, str] | None = None) -> bytes:
    """Status line and headers."""
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = "Unknown"
    headers = {SIMULATED: "1", "Content-Type": answer.content_type, **answer.headers, **(extra or {})}
    if length is not None:
        headers["Content-Length"] = str(length)
    lines = [f"HTTP/1.1 {answer.status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def send(out: Writer, answer: Answer, fault: Fault | None) -> None:
    """Write the answer; ConnectionCutError where the fault wants the connection reset."""
    kind = "" if fault is None else fault.kind
    if fault is None or kind not in _SENDERS:
        body = body_of(answer, fault)
        out.write(head(answer, len(body)) + body)
        return
    _SENDERS[kind](out, answer, fault)


def _reset_before(out: Writer, answer: Answer, fault: Fault) -> None:  # noqa: ARG001 - nothing is sent
    raise ConnectionCutError


def _reset_middle(out: Writer, answer: Answer, fault: Fault) -> None:
    body = body_of(answer, fault)
    out.write(head(answer, len(body)) + body[: fault.count or len(body) // 2])
    out.flush()
    # what was sent has to leave before the reset discards the send buffer
    time.sleep(0.05)
    raise ConnectionCutError


def _truncated(out: Writer, answer: Answer, fault: Fault) -> None:
    body = body_of(answer, fault)
    cut = body[: fault.count or len(body) // 2]
    out.write(head(answer, len(cut)) + cut)


def _slow(out: Writer, answer: Answer, fault: Fault) -> None:
    time.sleep(fault.seconds)
    body = body_of(answer, fault)
    out.write(head(answer, len(body)) + body)


def _trickle(out: Writer, answer: Answer, fault: Fault) -> None:
    body = body_of(answer, fault)
    whole = head(answer, len(body)) + body
    step = max(1, fault.rate // 20)
    for at in range(0, len(whole), step):
        out.write(whole[at : at + step])
        out.flush()
        time.sleep(step / fault.rate)


def _huge(out: Writer, answer: Answer, fault: Fault) -> None:
    """Valid JSON of at least that size in chunks: the payload again and again as the elements of a list."""
    out.write(head(answer, None, {"Transfer-Encoding": "chunked"}))
    out.writelines(b"%x\r\n%b\r\n" % (len(block), block) for block in _repeated(body_of(answer, fault), fault.size))
    out.write(b"0\r\n\r\n")


def _bomb(out: Writer, answer: Answer, fault: Fault) -> None:
    """A small gzip body that unpacks to that many bytes of blanks inside a list."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = [packer.compress(b"[")]
    blank = b" " * BLOCK
    packed += [packer.compress(blank) for _ in range(max(1, fault.size // BLOCK))]
    packed += [packer.compress(b"]"), packer.flush()]
    body = b"".join(packed)
    out.write(head(answer, len(body), {"Content-Encoding": "gzip"}) + body)


def _repeated(body: bytes, size: int) -> Iterator[bytes]:
    element = body.strip() or b"null"
    many = (b"," + element) * max(1, BLOCK // (len(element) + 1))
    yield b"[" + element
    sent = len(element)
    while sent < size:
        yield many
        sent += len(many)
    yield b"]"


_SENDERS = {
    "reset_before": _reset_before,
    "reset_middle": _reset_middle,
    "truncated_json": _truncated,
    "slow": _slow,
    "trickle": _trickle,
    "huge_answer": _huge,
    "gzip_bomb": _bomb,
}


def reset(connection: socket.socket) -> None:
    """Close so that the peer sees a reset instead of an orderly end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
