"""What `engine status` shows: the last run of each pipeline, and how fresh and how far behind each table is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from engine.compose import every_table, pipelines_by_table
from engine.errors import NotPublishedError, TickhouseError
from engine.ledger import Ledger
from engine.standing import last_run, next_due

if TYPE_CHECKING:
    from engine.config.project import Project
    from engine.lake.lake import Lake

FRESHNESS = (
    "SELECT p.table_name, max(p.arrived_at) AS arrived_at, sum(p.rows) AS rows, max(c.seq) AS seq "
    "FROM landing._packages p JOIN landing._cursor c ON c.table_name = p.table_name AND p.seq <= c.seq "
    "GROUP BY p.table_name"
)
"""Up to the cursor: packages behind it belong to a table that somebody dropped and that is being filled again."""
PACKAGES_ALONE = (
    "SELECT table_name, max(arrived_at) AS arrived_at, sum(rows) AS rows, max(seq) AS seq "
    "FROM landing._packages GROUP BY table_name"
)
"""Where a cursor is what `_packages` says, and cannot be set back."""


def status(project: Project) -> dict[str, Any]:
    """Return runs and tables as plain values; a warehouse that cannot be read is said, not raised."""
    ledger = Ledger(project.data_dir)
    now = datetime.now(UTC)
    pipelines = []
    for name, block in project.file.pipelines.items():
        last, state = last_run(project, ledger, name)
        paused = ledger.paused_since(name)
        expected = next_due(project, ledger, name, ledger.standing(name))
        pipelines.append(
            {
                "pipeline": name,
                "schedule": block.schedule,
                "status": state,
                "run_id": last and last.run_id,
                "started_at": last and last.started_at,
                "ended_at": last and last.ended_at,
                "backfill": bool(last and last.backfill),
                "paused_since": paused and paused.isoformat(),
                "due_at": expected and expected.at.isoformat(),
                "late_seconds": _since(expected.at, now) if expected and now >= expected.late_at else None,
                "failures": last.report.get("failures", []) if last else [],
                "notices": _notices(last.report) if last else [],
            }
        )
    from engine.lag import lags
    from engine.lake.lake import open_lake

    lake = open_lake(project.profile.lake, project.project_dir, project.data_dir / "cache")
    from engine.notify.heard import unheard

    tables, notes = _tables(project, lake)
    notes += [f"messages: {said}"] if (said := unheard(project)) else []
    partitions, unknown = lags(project, lake, ledger, now)
    return {
        "profile": project.profile_name,
        "pipelines": pipelines,
        "tables": tables,
        "lag": [partition.as_json() for partition in partitions],
        "checks": _checks(project),
        "notes": notes + unknown,
    }


def _checks(project: Project) -> list[dict[str, Any]]:
    """Of each warehouse how many checks passed the last time, and those that failed lately."""
    from destinations import open_destination
    from engine.models.checks import last_checks, shown

    found = []
    for name, settings in project.warehouses.items():
        with suppress(TickhouseError):  # said where its tables are; one that an older version made has no checks
            warehouse = open_destination(name, settings, project.project_dir, project.data_dir)
            results = last_checks(warehouse)
            passed = sum(result["status"] == "passed" for result in results)
            found.append({"warehouse": name, "passed": passed, "failed": shown(results)})
    return found


def _notices(report: Mapping[str, Any]) -> list[str]:
    """What the resources that landed could not deliver; what a failed one met is in its failure."""
    met = (n for r in report.get("resources", []) if r["status"] != "failed" for n in r["notices"])
    return list(dict.fromkeys(met))


def freshness(project: Project, name: str) -> Sequence[Sequence[Any]]:
    """Return (table, newest arrival, rows, cursor) of each table that a destination has. Raises TickhouseError."""
    from destinations import open_destination
    from engine.query import query

    destination: Any = open_destination(name, project.destinations[name], project.project_dir, project.data_dir)
    if hasattr(destination, "books"):
        return list(destination.books(FRESHNESS if hasattr(destination, "set_back") else PACKAGES_ALONE))
    if name in project.warehouses:
        return query(destination, FRESHNESS).rows
    with destination.reader() as connection:
        rows: list[Sequence[Any]] = connection.execute(FRESHNESS).fetchall()
        return rows


def _tables(project: Project, lake: Lake) -> tuple[list[dict[str, Any]], list[str]]:
    notes: list[str] = []
    heads = {table.name: lake.head(table.name) for table in every_table(project)}
    rows = []
    for name in project.destinations:
        found: dict[str, Any] | None = None
        wanted = pipelines_by_table(project, name)
        try:
            found = {row[0]: row for row in freshness(project, name)}
        except NotPublishedError:
            found = {}
        except TickhouseError as error:
            notes.append(f"{name}: {error.reason.removeprefix(f'{name}: ')}")
        for table, head in heads.items():
            if head is None:
                continue
            row = found.get(table) if found else None
            if row is None and table not in wanted:  # no pipeline loads it there, and none did
                continue
            known = found is not None  # else the server is away: what it holds is not known
            behind = max(head.seq - (int(row[3]) if row else 0), 0)
            rows.append(
                {
                    "destination": name,
                    "table": table,
                    "rows": int(row[2]) if row else 0 if known else None,
                    "arrived_at": row[1].isoformat() if row else None,
                    "age_seconds": _since(row[1], datetime.now(UTC)) if row else None,
                    "packages_behind": behind if known and table in wanted else None,
                    "landed_at": head.committed_at.isoformat(),
                }
            )
    return rows, notes


def _since(moment: datetime, now: datetime) -> int:
    """Whole seconds from a moment to now; 0 for one that a clock which jumped back has still to reach."""
    return max(int((now - moment).total_seconds()), 0)
