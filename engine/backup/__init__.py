"""Backup and restore: a copy of the lake that grows by what is new, and snapshots of what stands beside it.

    <folder>/lake/                     a lake like any other: every committed package, copied once
    <folder>/snapshots/<UTC instant>/  snapshot.json, state/ (history of runs, SQLMesh's state), project/ (the YAML,
                                       transforms/); complete once it has its name

The lake is the record; what destinations hold is filled from it again, so they are not part of a backup. Nor is .env:
secrets are kept elsewhere.
"""
