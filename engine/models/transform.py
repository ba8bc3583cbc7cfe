"""Run the models: SQLMesh plans and builds them on the warehouse's own engine; here is only when, and which.

Arrival decides what a run processes: models read `landing._packages.arrived_at`, which never goes back, and a run's
execution time lies behind the newest arrival, even when the clock does not.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.compose import Composed
from engine.errors import TickhouseError
from engine.models.checks import Checks, failure, listen
from engine.models.context import open_context, state_file, state_folder
from engine.models.dbt import has_models, model_files, notes
from engine.models.errors import ModelError, clear_model_errors, failed_model, reason_of
from engine.models.intervals import note_arrivals, tables_are_made
from engine.models.migration import migrate
from engine.models.mistakes import refuse_mistakes
from engine.models.state import forget, heal, on_trial, start_over
from engine.table import Column, DataType, Table

if TYPE_CHECKING:
    from sqlmesh import Context

    from destinations.protocol import Warehouse
    from engine.config.project import Project

log = logging.getLogger(__name__)
ONE_AT_A_TIME = threading.Lock()
"""SQLMesh and dbt keep console, macros, loaded modules and flags in the process; a run may have two warehouses."""


BUILDING, BUILT = {"building": True}, {"building": False}
"""In the marker: whether production was left half-made by a run that failed or died."""


def warm_up() -> None:
    """Import SQLMesh in the background, while sources still wait for their APIs: it takes seconds."""

    def load() -> None:
        with suppress(Exception):  # said when the models run; a run that ends meanwhile needs it no more
            import_module("sqlmesh")

    threading.Thread(target=load, name="warm-up", daemon=True).start()


class TransformError(TickhouseError):
    """A model failed. The marts keep their last good state for readers; the next run builds the interval again."""


def transform(
    project: Project,
    name: str,
    warehouse: Warehouse,
    composed: Composed,
    say: Callable[[str], None],
    warn: Callable[[str], None] = log.warning,
    run_id: str = "",
) -> int:
    """Build the models downstream of what this pipeline loads; return how many were evaluated (0: nothing new).

    SQLMesh is imported only when a package has arrived or a model file has changed since the last finished run.
    `warn` hears of audits that found something and stop nothing. Raises TransformError for a model that fails, and
    ModelError for files that cannot be read, which no retry mends.
    """
    transforms = project.project_dir / "transforms"
    if not has_models(transforms):
        return 0
    marker = Marker(project, name)
    files = fingerprint(transforms)
    cursors = warehouse.cursors()
    now: dict[str, Any] = {
        "files": files,
        "cursors": {table.name: cursors.get(table.name, 0) for table in composed.tables},
    }
    # the tables always: two pipelines of one selection would take each other's cursors for their own
    key = (" ".join(composed.select) or "downstream") + ":" + ",".join(sorted(table.name for table in composed.tables))
    before = noted_of(marker, warehouse, state_file(project, name), warn, from_lake=composed.rebuild)
    if before.get(key) == now and not composed.rebuild:
        return 0
    arrivals = warehouse.begin_models()
    if arrivals is None:
        return 0
    arrived = changed(before.get(key), now)
    if composed.rebuild:  # SQLMesh restates up to the last whole interval only, and keeps what lies behind it
        start_over(state_file(project, name))
    known = heal(state_file(project, name))
    with ONE_AT_A_TIME:
        migrated = migrate(
            state_file(project, name), lambda: open_context(project, name, warehouse, arrivals[0], load=False)
        )
    edited = migrated or not known or before.get("planned") != files
    held = known and edited and on_trial(state_file(project, name))
    if held:
        warn(
            f"edited models wait, production's are run as they are: {', '.join(held)} is on trial "
            f"(`engine apply` promotes, `engine apply --env {held[0]} --drop` gives up)"
        )
        edited, now["files"] = False, before.get("planned")
    if not (arrived or edited):
        marker.write({**before, key: now})
        return 0
    say("planning" if edited else "building")
    with ONE_AT_A_TIME:
        built = _build(
            project,
            name,
            warehouse,
            composed,
            arrivals,
            () if held else arrived,  # the files' own graph may not be production's: every model is asked
            files="" if edited else files,
            edited=edited,
            new=not known,
            say=say,
            warn=warn,
            run_id=run_id,
            begin=lambda: marker.write(before | BUILDING),
        )
    marker.write({**before, "planned": now["files"], key: now} | BUILT)
    return built


def noted_of(
    marker: Marker,
    warehouse: Warehouse,
    state: Path,
    warn: Callable[[str], None] = log.warning,
    *,
    from_lake: bool = False,
) -> dict[str, Any]:
    """Return what the marker says of this warehouse; what was noted about another one is put aside first.

    `from_lake`: every table has just been loaded from the lake, which a new warehouse wants.
    """
    noted, identity = marker.read(), warehouse.identity()
    if noted.get("warehouse") == identity:
        return noted
    if "warehouse" in noted:
        forget(state)
        some = "the tables of this pipeline alone (`engine replay` loads all others from the lake)"
        every = "all that the lake has" if from_lake else some
        warn(f"the warehouse is another one than before: every model is built anew, from {every}")
        noted = {}
    noted["warehouse"] = identity
    marker.write(noted)  # before the models: a first plan that is killed leaves a state of this warehouse
    return noted


def _build(
    project: Project,
    name: str,
    warehouse: Warehouse,
    composed: Composed,
    arrivals: tuple[datetime, datetime],
    arrived: Sequence[str],
    *,
    files: str,
    edited: bool,
    new: bool,
    say: Callable[[str], None],
    warn: Callable[[str], None] = log.warning,
    run_id: str = "",
    begin: Callable[[], None] = lambda: None,
) -> int:
    """Open, plan and run; `begin` is called before anything is changed, and after the files have been understood."""
    import duckdb
    import sqlmesh  # noqa: F401 - whole before its parts: while warm_up imports it, a part would be half a module
    from sqlmesh.core.console import set_console
    from sqlmesh.utils import CompletionStatus
    from sqlmesh.utils.errors import SQLMeshError

    console, checks = listening_console(say), Checks()
    broken: ModelError | None = None
    set_console(console)
    logging.getLogger("sqlmesh").setLevel(logging.ERROR)
    first, until = arrivals
    for note in notes(project.project_dir / "transforms") if edited else ():
        warn(note)
    try:
        with clear_model_errors(project.project_dir):
            opened = open_context(project, name, warehouse, first, files=files)
        with closing(opened) as context:
            if edited:
                refuse_mistakes(context, project)
            begin()
            warehouse.provide(landing_tables(context))
            note_arrivals(context, warehouse.arrivals())
            checks = listen(context)
            try:
                if edited:
                    _plan(context, until, empty=new)
                if new:
                    tables_are_made(context, until)
                    warehouse.tables_made()
                status = context.run(
                    ignore_cron=True,
                    end=until,  # not now: the clock may stand before what has arrived, or jump back behind it
                    execution_time=until,
                    select_models=None if new else _selection(context, composed, arrived) or None,
                    skip_janitor=not edited,
                )
            finally:
                broken = _broken(context, project, console.failures)
    except (SQLMeshError, duckdb.Error, *_errors_of(warehouse)) as error:
        if not checks.blocked:
            raise broken or model_failure(console.failures, str(error)) from error
    finally:
        checks.keep(warehouse, run_id, until)
        for check in checks.warned:
            warn(check.line)
    if checks.blocked:
        raise TransformError(*failure(checks.blocked))
    if status is CompletionStatus.FAILURE or console.failures:
        raise broken or model_failure(console.failures, "a model failed")
    return len(console.models)


def _errors_of(warehouse: Warehouse) -> tuple[type[Exception], ...]:
    """The errors of a warehouse's own client, for one that is no DuckDB."""
    return warehouse.model_errors() if hasattr(warehouse, "model_errors") else ()


def _plan(context: Context, until: datetime, *, empty: bool) -> None:
    """Build every model up to `until`; the run that follows finds nothing left to do.

    `empty` only makes the tables, all in one transaction, and leaves the filling to the run.
    """
    context.plan(
        auto_apply=True,
        no_prompts=True,
        no_diff=True,
        skip_tests=True,
        run=True,
        ignore_cron=True,
        execution_time=until,
        skip_backfill=empty,
        no_gaps=empty,  # SQLMesh's condition for leaving a backfill out
    )


LANDED_TYPES: Mapping[str, DataType] = {
    "TEXT": "text",
    "VARCHAR": "text",
    "BIGINT": "bigint",
    "DOUBLE": "double",
    "DECIMAL": "decimal",
    "BOOLEAN": "bool",
    "DATE": "date",
    "TIMESTAMPTZ": "timestamp",
}


def landing_tables(context: Context) -> list[Table]:
    """What the models read from landing, as their casts type it: a source left out of the file must not break them."""
    from sqlglot import exp

    columns: dict[str, dict[str, Column]] = {}
    for model in context.models.values():
        if not model.is_sql:  # a seed, or a model in Python, has no query to look into
            continue
        aliases = {
            table.alias_or_name: table.name.lower()  # as all of landing's are called
            for table in model.query.find_all(exp.Table)
            if table.db == "landing" and not table.name.startswith("_")
        }
        for cast in model.query.find_all(exp.Cast):
            column = cast.this
            if isinstance(column, exp.Column) and column.table in aliases:
                data_type = LANDED_TYPES.get(cast.to.this.value, "text")
                columns.setdefault(aliases[column.table], {})[column.name] = Column(column.name, data_type)
    return [Table(name, tuple(found.values())) for name, found in columns.items()]


def changed(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> list[str]:
    """Names of the tables of which a package has arrived since the last finished model run."""
    known = (before or {}).get("cursors", {})
    return [table for table, seq in now["cursors"].items() if seq != known.get(table, 0)]


def _selection(context: Context, composed: Composed, arrived: Sequence[str]) -> list[str]:
    """Models downstream of the tables that something arrived for; of the pipeline's own selection, if it has one.

    What is left out has nothing new to read: its next run reads from where it stood.
    """
    downstream = _readers(context, arrived)
    if not composed.select or not downstream:
        return list(composed.select) or downstream
    return [f"({own}) & {one}" for own in composed.select for one in downstream]


def _readers(context: Context, tables: Sequence[str]) -> list[str]:
    """The models that read one of these landing tables (a raw model, or one of dbt with a source), and what follows."""
    from sqlglot import exp

    landed = {exp.table_(table, "landing", context.default_catalog, quoted=True).sql("duckdb") for table in tables}
    return sorted(f"{model.name}+" for model in context.models.values() if landed & model.depends_on)


def _broken(context: Context, project: Project, failures: Sequence[str]) -> ModelError | None:
    """Return what the warehouse did not understand in the first failed model; None if it is not that."""
    found = re.match(r"model (\S+): (.*)", failures[0], re.DOTALL) if failures else None
    return failed_model(context, project.project_dir, found[1], found[2]) if found else None


def model_failure(failures: Sequence[str], otherwise: str) -> TransformError:
    """Return the first failure as an error, and how many more there are."""
    first = " ".join((failures[0] if failures else otherwise).split())
    if "Please upgrade SQLMesh" in first:
        return TransformError(
            f"a newer Tickhouse has worked on the models' state ({first[:200].partition(' Please')[0].rstrip('.')})",
            "Landed and loaded data are safe. Update Tickhouse on this machine, or move the state's file away: the "
            "models are then built anew.",
        )
    more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
    return TransformError(
        f"{first[:600]}{more}",
        "Landed and loaded data are safe. Fix the model under transforms/ and run the pipeline again.",
    )


def listening_console(say: Callable[[str], None]) -> Any:
    """Return a console for SQLMesh with `models` (names evaluated) and `failures` (messages)."""
    from sqlmesh.core.console import NoopConsole

    class Listening(NoopConsole):  # type: ignore[misc]
        """Counts evaluated models and keeps what failed, in place of SQLMesh's own printing."""

        def __init__(self) -> None:
            self.models: set[str] = set()
            self.failures: list[str] = []

        def start_snapshot_evaluation_progress(self, snapshot: Any, audit_only: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
            self.models.add(snapshot.name)
            say(snapshot.name.replace('"', ""))

        def log_error(self, message: str, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002
            self.failures.append(message)

        def log_failed_models(self, errors: Sequence[Any]) -> None:
            for error in errors:
                name = getattr(error.node, "snapshot_name", str(error.node))
                self.failures.append(f"model {str(name).replace(chr(34), '')}: {reason_of(error.__cause__ or error)}")

    return Listening()


MODEL_SUFFIXES = frozenset({".sql", ".py", ".yaml", ".yml", ".csv"})


def fingerprint(transforms: Path) -> str:
    """Hash of every file that makes the models, those of dbt projects too; caches left out."""
    digest = hashlib.sha256()
    for path in model_files(transforms, MODEL_SUFFIXES):
        digest.update(str(path.relative_to(transforms)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


class Marker:
    """Remembers which packages and files the last finished model run had seen; losing it costs one idle run."""

    def __init__(self, project: Project, warehouse: str) -> None:
        """One small JSON file a warehouse."""
        self._path = state_folder(project) / f"transformed-{warehouse}.json"

    def read(self) -> dict[str, Any]:
        """Return what was written last, or nothing."""
        try:
            found = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def write(self, state: dict[str, Any]) -> None:
        """Replace it atomically."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".tmp")
        partial.write_text(json.dumps(state))
        partial.replace(self._path)
