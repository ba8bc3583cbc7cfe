"""The webhook of the soak, and what came over it: what broke, what works again."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TITLE = re.compile(r"(FAILED|LATE|STILL SO|WORKS AGAIN): (\S+)")
THING = re.compile(r"• ([^:,]+)[:,]")


@dataclass(frozen=True)
class Told:
    """One line of a message. `thing`: `destination postgres`, or with its pipeline `run of files`."""

    at: float
    broke: bool
    thing: str


@dataclass
class Webhook:
    """Takes Slack's `{"text": ...}` on loopback."""

    url: str = ""
    told: list[Told] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def take(self, text: str) -> None:
        self.texts.append(text)
        broke, pipeline = True, ""
        for line in text.splitlines():
            if title := TITLE.match(line):
                broke, pipeline = title[1] != "WORKS AGAIN", title[2]
            elif thing := THING.match(line):
                what = thing[1] if thing[1].startswith("destination ") else f"{thing[1]} of {pipeline}"
                self.told.append(Told(time.time(), broke, what))


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Listen while the block runs."""
    found = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.take(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        found.url = f"http://127.0.0.1:{server.server_port}/services/soak"
        yield found
        server.shutdown()
        thread.join()
