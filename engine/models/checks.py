"""Checks: what the models' audits found. Every result is kept in `landing._checks` of the warehouse they ran on.

An audit looks at what arrived since the run before, so that a failure is told once; the table remembers it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from engine.errors import TickhouseError
from engine.sql import literal

if TYPE_CHECKING:
    from sqlmesh import Context

    from destinations.protocol import Warehouse

SAMPLED = 5
"""Failed rows that are kept of one result."""
TOLD_COLUMNS = ("problem", "look_in")
"""What an audit may say beside the keys of a row: what is wrong, and in which table to look, if not in its own."""
TOLD = 3
"""Failed checks that a run's error names."""
SHOWN_HOURS = 24
"""For how long `engine status` shows a failure after which the check has passed again."""


@dataclass(frozen=True, slots=True)
class Check:
    """One audit's result on one model. `sample` has the keys of a few failed rows, `table` is where they are."""

    model: str
    audit: str
    blocking: bool
    failed_rows: int = 0
    sample: Sequence[Mapping[str, Any]] = ()
    table: str = ""

    @property
    def status(self) -> str:
        """`passed` or `failed`."""
        return "failed" if self.failed_rows else "passed"

    @property
    def line(self) -> str:
        """Say what is wrong, in one line."""
        rows = "1 row" if self.failed_rows == 1 else f"{self.failed_rows:,} rows"
        problem = self.sample[0].get("problem") if self.sample else None
        return f"{self.model}: check {self.audit} failed for {rows}" + (f" ({problem})" if problem else "")

    @property
    def look(self) -> str:
        """SQL that shows the first failed row."""
        first = self.sample[0] if self.sample else {}
        keys = [(name, value) for name, value in first.items() if name not in TOLD_COLUMNS and value is not None]
        where = " AND ".join(f"{_column(name)} = {literal(str(value))}" for name, value in keys)
        table = first.get("look_in") or self.table or self.model
        return f"SELECT * FROM {table} WHERE {where}" if where else f"SELECT * FROM {table}"

    def row(self, run_id: str, checked_at: datetime) -> tuple[Any, ...]:
        """Return the row of `landing._checks`."""
        sample = json.dumps([{name: _plain(value) for name, value in row.items()} for row in self.sample])
        look = self.look if self.failed_rows else None
        return (run_id, checked_at, self.model, self.audit, self.blocking, self.status, self.failed_rows, sample, look)


@dataclass(slots=True)
class Checks:
    """What the audits of one model run found, in the order they ran."""

    _found: dict[tuple[str, str], Check] = field(default_factory=dict)

    def add(self, check: Check) -> None:
        """Take a result; the intervals of one model add up."""
        before = self._found.get((check.model, check.audit))
        if before is not None:
            check = Check(
                check.model,
                check.audit,
                check.blocking,
                before.failed_rows + check.failed_rows,
                [*before.sample, *check.sample][:SAMPLED],
                check.table,
            )
        self._found[check.model, check.audit] = check

    @property
    def all(self) -> list[Check]:
        """Every result."""
        return list(self._found.values())

    @property
    def blocked(self) -> list[Check]:
        """Failures because of which nothing is published."""
        return [check for check in self.all if check.failed_rows and check.blocking]

    @property
    def warned(self) -> list[Check]:
        """Failures that are told, and stop nothing."""
        return [check for check in self.all if check.failed_rows and not check.blocking]

    def keep(self, warehouse: Warehouse, run_id: str, checked_at: datetime) -> None:
        """Write the results into the warehouse, whose writer's lock the caller holds."""
        if self._found:
            warehouse.note_checks([check.row(run_id, checked_at) for check in self.all])


def listen(context: Context) -> Checks:
    """Return the results of every audit that this context is going to run."""
    checks = Checks()
    _hear(context, context.snapshot_evaluator, checks)
    return checks


def _hear(context: Context, evaluator: Any, checks: Checks) -> None:
    audit, copied = evaluator.audit, evaluator.set_correlation_id

    def audited(snapshot: Any, **kwargs: Any) -> Any:
        if _is_idle(context, snapshot, kwargs):
            for passed, _ in snapshot.node.audits_with_args:
                checks.add(Check(_name(snapshot), passed.name, passed.blocking))
            return []
        results = audit(snapshot=snapshot, **kwargs)
        for result in results:
            if not result.skipped:
                checks.add(_check(context, snapshot, result))
        return results

    def copy(correlation_id: Any) -> Any:
        """Hear the copy too: a plan and a run each work with one that carries their id."""
        made = copied(correlation_id)
        _hear(context, made, checks)
        return made

    evaluator.audit, evaluator.set_correlation_id = audited, copy


def failure(blocked: Sequence[Check]) -> tuple[str, str]:
    """Return reason and remedy of failed blocking checks."""
    told, more = blocked[:TOLD], len(blocked) - TOLD
    reason = "; ".join(check.line for check in told) + (f"; and {more} more checks" if more > 0 else "")
    remedy = (
        f'Look at the rows: engine query --unpublished "{blocked[0].look}". Nothing of this run is published: '
        "readers keep the last good state. Mend the data or the model under transforms/, then run the pipeline again."
    )
    return reason, remedy


LAST = """
    WITH newest AS (SELECT max(checked_at) AS at FROM landing._checks), ranked AS (
        SELECT *, row_number() OVER (PARTITION BY model, audit ORDER BY checked_at DESC) AS place
        FROM landing._checks
    )
    SELECT model, audit, any_value(blocking),
        max(CASE WHEN place = 1 THEN status END), max(CASE WHEN place = 1 THEN checked_at END),
        max(CASE WHEN status = 'failed' THEN checked_at END),
        max_by(failed_rows, CASE WHEN status = 'failed' THEN checked_at END),
        max_by(sample, CASE WHEN status = 'failed' THEN checked_at END),
        max_by(look, CASE WHEN status = 'failed' THEN checked_at END)
    FROM ranked, newest GROUP BY model, audit, newest.at ORDER BY model, audit
"""


def last_checks(warehouse: Warehouse, *, unpublished: bool = True) -> list[dict[str, Any]]:
    """Return the last result of each check, and its last failure that is remembered; `unpublished` ones too."""
    from engine.query import query

    if hasattr(warehouse, "books"):  # a server
        return [_as_last(row) for row in warehouse.books(LAST)]
    try:
        rows = query(warehouse, LAST, unpublished=unpublished).rows
    except TickhouseError:  # a writer has the file, or there is none yet
        rows = query(warehouse, LAST).rows
    return [_as_last(row) for row in rows]


def shown(checks: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those to be shown: what failed the last time, or within the last day before the newest result."""
    checks = list(checks)
    newest = max((check["checked_at"] for check in checks), default="")
    return [check for check in checks if check["status"] == "failed" or _is_recent(check["failed_at"], newest)]


def _is_recent(failed_at: str | None, newest: str) -> bool:
    if failed_at is None:
        return False
    age = datetime.fromisoformat(newest) - datetime.fromisoformat(failed_at)
    return age.total_seconds() <= SHOWN_HOURS * 3600


def _as_last(row: Sequence[Any]) -> dict[str, Any]:
    model, audit, blocking, status, checked_at, failed_at, failed_rows, sample, look = row
    problems = [found.get("problem") for found in json.loads(sample or "[]")]
    return {
        "model": model,
        "check": audit,
        "blocking": blocking,
        "status": status,
        "checked_at": checked_at.isoformat(),
        "failed_at": failed_at.isoformat() if failed_at else None,
        "failed_rows": int(failed_rows or 0),
        "problem": next((problem for problem in problems if problem), None),
        "look": look,
    }


def _is_idle(context: Context, snapshot: Any, interval: Mapping[str, Any]) -> bool:
    """Whether the interval brought nothing to a table that knows when its rows arrived: no audit can fail there."""
    from sqlglot import exp
    from sqlmesh.utils.date import to_datetime

    if not snapshot.node.audits_with_args or not (snapshot.is_model and snapshot.model.kind.is_custom):
        return False
    low, high = (
        exp.cast(exp.Literal.string(to_datetime(interval[name]).isoformat(" ")), "TIMESTAMPTZ")
        for name in ("start", "end")
    )
    arrived = exp.Between(this=exp.column("_arrived_at"), low=low, high=high)
    table = snapshot.table_name(interval["deployability_index"].is_deployable(snapshot))
    query = exp.select("1").from_(exp.to_table(table)).where(arrived).limit(1)
    return not context.snapshot_evaluator.get_adapter(snapshot.model_gateway).fetchone(query)


def _name(snapshot: Any) -> str:
    """Name of the model; an audit that stands alone (dbt's tests of several models) is told of one that it reads."""
    name = min(snapshot.node.depends_on, default=snapshot.name) if snapshot.is_audit else snapshot.name
    return str(name).replace('"', "").split(".", 1)[-1]


def _check(context: Context, snapshot: Any, result: Any) -> Check:
    from sqlglot import exp

    model, count = _name(snapshot), int(result.count or 0)
    if not count:
        return Check(model, result.audit.name, result.blocking)
    adapter = context.snapshot_evaluator.get_adapter(snapshot.model_gateway)
    adapter.execute(f"SELECT * FROM ({adapter._to_sql(result.query)}) AS failed LIMIT {SAMPLED}")  # noqa: SLF001 - as SQLMesh ran it
    names = [column[0].lower() for column in adapter.cursor.description]  # in capitals on Snowflake
    sample = [dict(zip(names, row, strict=True)) for row in adapter.cursor.fetchall()]
    if snapshot.is_audit:
        return Check(model, result.audit.name, result.blocking, count, sample)
    if "problem" not in names:  # an audit that shows whole rows: of them only the keys
        keys = {
            column.name.lower()
            for grain in getattr(snapshot.node, "grains", ())
            for column in grain.find_all(exp.Column)
        }
        sample = [{name: value for name, value in row.items() if name in keys} for row in sample]
    return Check(model, result.audit.name, result.blocking, count, sample, _where(context, snapshot, model))


def _where(context: Context, snapshot: Any, model: str) -> str:
    """Name of the table in which the rows are: what the model is published as, if that is this version of it."""
    published = context.state_reader.get_environment("prod")
    known = {one.snapshot_id for one in published.snapshots} if published else set()
    return model if snapshot.snapshot_id in known else str(snapshot.table_name()).replace('"', "").split(".", 1)[-1]


def _column(name: str) -> str:
    return f'"{name}"' if name in {"interval", "open", "close", "date"} else name


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int) else str(value)
