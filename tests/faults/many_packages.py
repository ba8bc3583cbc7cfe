"""Thousands of packages in a lake within seconds: copies of a landed one, each with its own name, rows and entry."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

WITH_ROWS = 20
"""Every twentieth package has the rows of the first, the others none: it is the number of packages that counts."""


def fill_lake(lake: Path, source: str, table: str, total: int) -> None:
    """Bring a table's log from its only package to `total` ones, written as the lake writes them but not synced."""
    log = lake / "_log" / table
    (first,) = log.iterdir()
    entry = json.loads(first.read_bytes())
    origin = lake / entry["path"]
    manifest = json.loads((origin / "manifest.json").read_bytes())
    folder = origin.parent
    for seq in range(2, total + 1):
        load_id = f"20260501T000000{seq:06d}-{seq:012x}"
        package = folder / load_id
        package.mkdir()
        empty = {"files": [], "rows": 0, "bytes": 0} if seq % WITH_ROWS else {}
        for file in manifest["files"] if not empty else ():
            os.link(origin / file["name"], package / file["name"])
        text = json.dumps({**manifest, "load_id": load_id, **empty}).encode()
        (package / "manifest.json").write_bytes(text)
        record = {
            **entry,
            "seq": seq,
            **({"rows": 0, "bytes": 0} if empty else {}),
            "load_id": load_id,
            "path": str(package.relative_to(lake)),
            "manifest_sha256": hashlib.sha256(text).hexdigest(),
            "last_by_source": {f"{source}/{entry['resource']}": seq},
        }
        (log / f"{seq:020d}.json").write_text(json.dumps(record))
