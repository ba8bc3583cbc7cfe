"""What becomes of a package whose writer died while committing it."""

from __future__ import annotations

from engine.lake.codec import read_entry
from engine.lake.names import safe_package_path, safe_part
from engine.lake.scratch import Intent
from engine.lake.store import Store


def entry_path(table: str, seq: int) -> str:
    """Return the path of a log entry."""
    return f"_log/{safe_part(table, 'table')}/{seq:020d}.json"


def committed(store: Store, table: str, load_id: str, after: int) -> bool:
    """Whether the log has an entry of this package behind `after`."""
    seq = after + 1
    while (data := store.read(path := entry_path(table, seq))) is not None:
        if read_entry(data, f"{store.where}: {path}").load_id == load_id:
            return True
        seq += 1
    return False


def settle(store: Store, intent: Intent) -> None:
    """Remove the package of a dead writer unless the log has it."""
    path = safe_package_path(intent.path)
    if path.rsplit("/", 1)[1] == intent.load_id and not committed(store, intent.table, intent.load_id, intent.after):
        store.remove_package(path)
