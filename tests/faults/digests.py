"""Digests of every table that readers of a project see: `python -m tests.faults.digests PROFILE`, in its folder.

Prints JSON: table -> SHA-256 of its rows, in the order of their text. Columns of the engine's lineage (`_...`), of the
instant at which a row was extracted, and tables of the engine's books are left out: they differ from run to run.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from destinations import open_destination
from engine.config.load import load_project
from engine.sql import identifier

TABLES = """
    SELECT table_schema, table_name, list(column_name ORDER BY ordinal_position)
    FROM information_schema.columns
    WHERE table_schema IN ('landing', 'raw', 'vault', 'marts', 'semantic') AND NOT starts_with(table_name, '_')
    AND NOT starts_with(column_name, '_') AND column_name <> 'load_timestamp'
    GROUP BY ALL ORDER BY ALL
"""


def digests(folder: Path, profile: str) -> dict[str, str]:
    """Return the digest of each table that the warehouse of a project has published, with the count of its rows."""
    project = load_project(folder / "pipelines.yaml", profile=profile, env={})
    settings = project.destinations["warehouse"]
    connection = open_destination("warehouse", settings, folder, project.data_dir).reader()
    found = {}
    try:
        for schema, table, columns in connection.execute(TABLES).fetchall():
            names = ", ".join(f"{identifier(column)}::VARCHAR" for column in columns)
            rows = connection.execute(f"SELECT {names} FROM {identifier(schema)}.{identifier(table)}").fetchall()
            text = "\n".join(sorted(map(repr, rows)))
            found[f"{schema}.{table}"] = f"{len(rows)} rows, {hashlib.sha256(text.encode()).hexdigest()}"
    finally:
        connection.close()
    return found


if __name__ == "__main__":
    json.dump(digests(Path.cwd(), *sys.argv[1:]), sys.stdout)
