"""Taking turns on an S3 server that ignores If-None-Match.

Such a server cannot create an object exclusively, so writers of one table agree beforehand. A writer puts an object of
its own under `_leases/<table>/`, then lists that folder. Only if it sees no other live lease it goes on, looks that the
entry is still free, writes it and removes its lease; if it sees another, it removes its own, waits a random time and
tries again. Of two writers the one whose put came later sees the other's (listings are consistent on every S3 server
since 2020), so at most one goes on; both may step back, neither may go on wrongly.

A lease lives 60 seconds by the server's clock (LastModified, compared with the writer's own lease); its owner has to
write within 20 seconds by its own. What remains is a writer that is frozen between that check and its PUT for 40
seconds: use a server with conditional writes (AWS, MinIO since 2024-12, SeaweedFS, Ceph) where that matters.
"""

from __future__ import annotations

import random
import secrets
import time
from datetime import timedelta

from engine.errors import LakeError
from engine.lake.remote import Remote

LIVES = timedelta(seconds=60)
WRITES_WITHIN = 20.0
PATIENCE = 120.0


def create_in_turn(remote: Remote, path: str, data: bytes) -> bool:
    """Create an object if there is none of that name; False if there is. Raises LakeError after two minutes."""
    folder = f"_leases/{path.rsplit('/', 2)[1]}"
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        lease = f"{folder}/{secrets.token_hex(8)}"
        started = time.monotonic()
        remote.put(lease, b"")
        try:
            if _alone(remote, folder, lease):
                if remote.read(path) is not None:
                    return False
                if time.monotonic() - started < WRITES_WITHIN:
                    remote.put(path, data)
                    return True
        finally:
            remote.remove_object(lease)
        time.sleep(random.uniform(0.05, 0.5))  # noqa: S311 - only to spread the writers
    raise LakeError(
        f"{remote.where}: other writers held the log of this table for {PATIENCE:.0f} seconds",
        "Wait until they have finished, then run again.",
    )


def _alone(remote: Remote, folder: str, lease: str) -> bool:
    """Whether no other lease is alive; those of dead writers are removed."""
    leases = {item["path"]: item["modified"] for item in remote.list(folder)}
    if lease not in leases:
        return False
    mine = leases.pop(lease)
    dead = [path for path, modified in leases.items() if mine - modified > LIVES]
    for path in dead:
        remote.remove_object(path)
    return len(dead) == len(leases)
