"""What is wrong with this machine, the lake or a destination, and how to mend it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from engine.compose import every_table, pipelines_by_table
from engine.config.models import S3Lake
from engine.errors import LakeError, NotPublishedError, TickhouseError
from engine.rebuilding import Rebuilding
from engine.words import counted

if TYPE_CHECKING:
    from engine.config.project import Project
    from engine.load import LakeReader

LOW_SPACE_BYTES = 2_000_000_000
NEEDED = {
    "duckdb_extension_ducklake": "the embedded warehouse (ducklake)",
    "duckdb_extension_sqlite": "the embedded warehouse's catalog",
    "sqlmesh": "the models",
    "yfinance": "Yahoo Finance prices",
    "karpet": "crypto news",
    "faker": "synthetic customers and transactions",
    "s3fs": "lakes and files on S3",
    "psycopg": "PostgreSQL and TimescaleDB",
    "snowflake.connector": "Snowflake",
    "prefect": "schedules (engine up)",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. `remedy` says what to do when it is not ok."""

    what: str
    ok: bool
    detail: str
    remedy: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def examine(project: Project) -> list[Finding]:
    """Run every check; a check that fails does not keep the others from running."""
    found, lake = _lake(project)
    return [
        *_machine(project),
        *found,
        *_destinations(project, lake, sound=all(finding.ok for finding in found)),
        *_sources(project),
        *_messages(project),
        *_catalogue(project),
    ]


def _machine(project: Project) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", (3, 11) <= sys.version_info[:2] <= (3, 12), version, "Tickhouse runs on 3.11 and 3.12.")
    folder = project.data_dir
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    yield Finding(
        "space",
        free > LOW_SPACE_BYTES,
        f"{free / 1e9:.1f} GB free for {project.profile.data}",
        "Free some space, or point `data:` and `lake:` of the profile elsewhere.",
    )
    for package, purpose in NEEDED.items():
        present = find_spec(package) is not None
        yield Finding(f"package {package}", present, f"for {purpose}", "Run `make demo` or `uv sync --all-extras`.")


def _lake(project: Project) -> tuple[list[Finding], LakeReader | None]:
    """Check the lake; return it too, if it answers."""
    from engine.lake.lake import open_lake

    found: list[Finding] = []
    try:
        if isinstance(project.profile.lake, S3Lake):
            from engine.lake.bucket_doctor import examine as examine_bucket

            for what, ok, detail, remedy in examine_bucket(project.profile.lake):
                found.append(Finding(f"lake: {what}", ok, detail, remedy))
        lake = open_lake(project.profile.lake, project.project_dir, project.data_dir / "cache")
        problems = lake.verify()
    except TickhouseError as error:
        return [*found, Finding("lake", ok=False, detail=error.reason, remedy=error.remedy)], None
    if not problems:
        found.append(Finding("lake", ok=True, detail="every package is there, with its checksums"))
    found += [Finding("lake", problem.harmless, problem.reason, problem.remedy) for problem in problems]
    return found, lake


def _destinations(project: Project, lake: LakeReader | None, *, sound: bool) -> Iterator[Finding]:
    """Ask each destination; `sound` is whether the lake is: a warehouse may share its files."""
    from destinations import open_destination

    tables = {table.name for table in every_table(project)}
    for name, settings in project.destinations.items():
        yield from _replay(project, name)
        try:
            opened: Any = open_destination(name, settings, project.project_dir, project.data_dir)
            if hasattr(opened, "examine"):
                for what, ok, detail, remedy in opened.examine():
                    yield Finding(f"destination {name}: {what}", ok, detail, remedy)
                if hasattr(opened, "books"):
                    yield Finding(f"destination {name}", ok=True, detail=f"opens; {_loaded(opened)}")
                yield from _landing(project, name, opened, lake, tables, sound=sound)
                continue
            with opened:
                loaded = counted(len(opened.cursors()), "table")
                yield Finding(f"destination {name}", ok=True, detail=f"opens; {loaded} loaded")
                yield from _landing(project, name, opened, lake, tables, sound=sound)
        except LakeError as error:  # told once, of the lake, which is not asked again
            lake = None
            yield Finding("lake", ok=False, detail=error.reason, remedy=error.remedy)
        except TickhouseError as error:
            yield Finding(f"destination {name}", False, error.reason.removeprefix(f"{name}: "), error.remedy)
        except Exception as error:  # a check that fails does not keep the others from running
            yield Finding(f"destination {name}", ok=False, detail=f"unexpected {type(error).__name__}: {error}")
    for name, reason in project.skipped_destinations.items():
        yield Finding(f"destination {name}", ok=True, detail=f"optional and left out: {reason}")


def _loaded(opened: Any) -> str:
    """How many tables a warehouse on a server has."""
    try:
        return counted(len(opened.books("SELECT DISTINCT table_name FROM landing._packages")), "table") + " loaded"
    except NotPublishedError:
        return "nothing is loaded yet"


def _landing(
    project: Project, name: str, opened: Any, lake: LakeReader | None, tables: Collection[str], *, sound: bool
) -> Iterator[Finding]:
    """Look at schema landing, if something is loaded there."""
    from destinations.failures import DamagedError
    from engine.behind import lost_books

    with suppress(NotPublishedError):
        columns = opened.columns()
        try:
            lost = lost_books(name, opened, columns, lake, tables)
        except DamagedError:
            if sound:
                raise
            lost = None  # said of the lake already, whose files they are
        if lost is not None:
            yield Finding(f"destination {name}: books", lost.ok, lost.detail, lost.remedy)
        if lost is None or {"_packages", "_cursor"} <= columns.keys():
            yield from _rows(project, name, opened, tables, sound=sound)
            yield from _columns(name, opened, columns, lake, tables)
            yield from _against(project, name, opened, lake)


def _rows(project: Project, name: str, opened: Any, tables: Collection[str], *, sound: bool) -> Iterator[Finding]:
    """Compare landing tables with what was loaded into them: nothing of it may be gone."""
    from destinations.failures import DamagedError
    from engine.behind import unfilled

    wrong, replay = [], not hasattr(opened, "set_back")
    try:
        counts, filled = opened.row_counts(tables), unfilled(opened)
    except DamagedError:
        if sound:
            raise
        return  # said of the lake already, whose files they are
    for table, (loaded, there) in counts.items():
        if there is None:
            wrong.append(f"landing.{table} is gone ({counted(loaded, 'row')} had been loaded)")
        elif there != loaded:
            ended = there != filled.get(table)
            told = "" if ended else ": it was gone, and is not filled again to its end"
            wrong.append(f"landing.{table} has {there:,} of the {counted(loaded, 'row')} that were loaded{told}")
            replay = replay or ended
    if counts:
        detail = "; ".join(wrong) or f"{counted(len(counts), 'table')} with every row that was loaded"
        run = next(iter(pipelines_by_table(project, name).values()), [])
        remedy = (
            f"`engine replay --destination {name}` fills it from the lake again."
            if replay or not run
            else f"`engine run {run[0]}` fills what is gone from the lake again."
        )
        yield Finding(f"destination {name}: rows", not wrong, detail, remedy)


def _against(project: Project, name: str, opened: Any, lake: LakeReader | None) -> Iterator[Finding]:
    """Compare what is loaded there with the lake, if that answers."""
    from engine.behind import compare

    if lake is not None and (compared := compare(project, name, opened, lake)) is not None:
        yield Finding(f"destination {name}: lake", compared.ok, compared.detail, compared.remedy)


def _columns(
    name: str, opened: Any, there: Mapping[str, Collection[str]], lake: LakeReader | None, tables: Collection[str]
) -> Iterator[Finding]:
    """Say which loaded columns somebody dropped: evolution must not bring them back empty."""
    from destinations.landing_rules import lost
    from engine.behind import standing
    from engine.lost import lost_columns

    if lake is None:
        return
    cursors = {table: seq for table, seq in standing(opened)[0].items() if table in tables}
    for table, columns in lost_columns(lake, cursors, there).items():
        error = lost(name, table, columns, set_back=hasattr(opened, "set_back"))
        detail = error.reason.removeprefix(f"{name}: ")
        yield Finding(f"destination {name}: columns", ok=False, detail=detail, remedy=error.remedy)


def _replay(project: Project, name: str) -> Iterator[Finding]:
    """Say so when a replay did not end: readers keep what they had, and the next run finishes it."""
    if Rebuilding(project.data_dir, name, project.destinations[name]).under_way:
        remedy = (
            f"If none is under way: run a pipeline that loads there, or `engine replay --destination {name}` again."
        )
        yield Finding(f"destination {name}: replay", ok=False, detail="a replay has not ended", remedy=remedy)


def _messages(project: Project) -> Iterator[Finding]:
    if project.silent:
        yield Finding("notify", ok=True, detail=f"off: {project.silent}")
    elif project.notify is not None:
        from engine.notify.heard import unheard, unreachable

        wrong = unheard(project) or unreachable(project.notify.webhook)
        yield Finding(
            "notify",
            not wrong,
            wrong or f"tells of {', '.join(project.notify.on)}; the webhook's host answers",
            "Correct the webhook of `notify:`, or let this machine reach it; the next message tries again.",
        )


def _sources(project: Project) -> Iterator[Finding]:
    for name in project.sources:
        if name not in project.skipped_sources:
            yield Finding(f"source {name}", ok=True, detail="configured")
    for name, reason in project.skipped_sources.items():
        yield Finding(f"source {name}", ok=True, detail=f"optional and skipped: {reason}")
    for quota in project.quota.sources:
        if quota.verdict != "ok":
            yield Finding(
                f"quota of {quota.source}",
                quota.verdict == "warn",
                quota.sentence,
                "Change the schedule or the limits in pipelines.yaml.",
            )


def _catalogue(project: Project) -> Iterator[Finding]:
    """The words of dashboards and chatbot against the views that a warehouse has published."""
    from destinations import open_destination
    from engine.models.semantic import COLUMNS, by_table, differences, load_catalogue, problems
    from engine.query import query

    folder = project.project_dir / "transforms" / "semantic"
    if not folder.is_dir():
        return
    try:
        catalogue = load_catalogue(folder)
    except TickhouseError as error:
        yield Finding("semantic catalogue", ok=False, detail=error.reason, remedy=error.remedy)
        return
    found = problems(catalogue)
    for name, settings in project.warehouses.items():
        try:
            warehouse = open_destination(name, settings, project.project_dir, project.data_dir)
            columns = by_table(query(warehouse, COLUMNS).rows)
        except TickhouseError:  # nothing is published yet; what cannot be opened is said above
            continue
        if any(table.table in columns for table in catalogue.tables):  # else the models have not run yet
            found += differences(catalogue, columns)
    measures = sum(len(table.measures) for table in catalogue.tables)
    detail = "; ".join(dict.fromkeys(found)) or f"{measures} measures over {len(catalogue.tables)} tables"
    yield Finding("semantic catalogue", not found, detail, "Correct transforms/semantic, or the model that changed.")
