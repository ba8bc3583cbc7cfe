"""The models as a graph: names, keys, columns and queries, read from their files alone.

No warehouse is opened and no model runs: the context is one on an empty database in memory, and the state that runs
keep is left alone, so that this works before the first run and beside a running one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

from sqlglot import exp

from engine.compose import every_table
from engine.errors import UsageError
from engine.models.context import sqlmesh_config, state_folder
from engine.models.dbt import has_models
from engine.table import LINEAGE_COLUMNS
from engine.trace.derivation import Reading, plain_name, readings

if TYPE_CHECKING:
    from engine.config.project import Project

START = datetime(2020, 1, 1, tzinfo=UTC)
"""Models need a start; nothing is built here, so that any does. A constant, so that SQLMesh's cache is found again."""
LANDING = "landing"


@dataclass(frozen=True, slots=True)
class Model:
    """One model, or a landed table (`kind` "landed": it has no query).

    `key` are the columns of which a group of rows is made anew together, `grain` those that make a row unique; both
    may be empty. `series` are columns beside the key that tell independent histories apart: a satellite keeps one a
    source. `native` is SQLMesh's own model.
    """

    name: str
    kind: str
    description: str
    key: tuple[str, ...]
    grain: tuple[str, ...]
    upstream: tuple[str, ...]
    series: tuple[str, ...] = ()
    native: Any = field(repr=False, compare=False, default=None)

    @property
    def landed(self) -> bool:
        """Whether it is a table that packages are loaded into."""
        return self.kind == "landed"


class ModelGraph:
    """Every model and every landed table that one reads, by `schema.name`."""

    def __init__(self, models: Iterable[Model], landed: Mapping[str, Sequence[str]]) -> None:
        """`models` in an order in which each stands behind what it reads; `landed` the columns that sources declare."""
        self.models: Mapping[str, Model] = {model.name: model for model in models}
        self._landed = landed
        self._queries: dict[str, exp.Query | None] = {}
        self._readings: dict[str, list[Reading]] = {}

    def __iter__(self) -> Iterator[Model]:
        """Yield what is read before what reads it."""
        return iter(self.models.values())

    def columns(self, name: str) -> tuple[str, ...]:
        """Return the columns of a model, or those that sources declare of a landed table; () if they are unknown."""
        model = self.models[name]
        if model.landed:
            return tuple(self._landed.get(name.split(".", 1)[1], ()))
        query = self.query(name)
        if query is None:
            return tuple(model.native.columns_to_types or ())
        return tuple(column for column in query.named_selects if column != "*")

    def query(self, name: str) -> exp.Query | None:
        """Return a model's rendered query with every column's table written out; None if it has no query (Python).

        SQLMesh can do so only where it knows the types of all that is read; names suffice here, and stars that stand
        over models are written out model by model.
        """
        from sqlglot.errors import SqlglotError
        from sqlmesh.utils.errors import SQLMeshError

        if name not in self._queries:
            try:
                self._queries[name] = self._qualified(self.models[name])
            except (SQLMeshError, SqlglotError) as error:
                raise _unreadable(error) from error
        return self._queries[name]

    def readings(self, name: str) -> list[Reading]:
        """Return where a model's query reads what its rows come from; [] if it has no query."""
        if name not in self._readings:
            query = self.query(name)
            self._readings[name] = readings(query) if query is not None else []
        return self._readings[name]

    def _qualified(self, model: Model) -> exp.Query | None:
        from sqlglot import exp
        from sqlglot.optimizer.qualify import qualify

        if model.native is None or not model.native.is_sql:
            return None
        query = model.native.render_query_or_raise().copy()
        stars = query.find(exp.Star) is not None
        schema: dict[str, dict[str, dict[str, str]]] = {}
        for parent in model.upstream:
            columns = self.columns(parent) if stars or not self.models[parent].landed else ()
            if columns:
                db, table = parent.split(".", 1)
                schema.setdefault(db, {})[table] = dict.fromkeys(columns, "unknown")
        for table in query.find_all(exp.Table):
            table.set("catalog", None)
        qualified = qualify(
            query, dialect=model.native.dialect, schema=schema, infer_schema=True, validate_qualify_columns=False
        )
        return cast("exp.Query", qualified)

    def find(self, name: str) -> Model:
        """Return a model by `schema.name`, or by a name that only one schema has; UsageError if there is none."""
        wanted = name.strip().replace('"', "").lower()
        found = self.models.get(wanted)
        if found is not None:
            return found
        same = [model for model in self if model.name.split(".", 1)[1] == wanted]
        if len(same) == 1:
            return same[0]
        listed = [model.name for model in same] or self._near(wanted)
        what = "is the name of several tables" if same else "is no table of the models"
        raise UsageError(
            f"{name!r} {what}",
            f"Did you mean {', '.join(listed)}?" if listed else "`engine query 'SHOW TABLES'` lists what there is.",
        )

    def _near(self, wanted: str) -> list[str]:
        by_name = {model.name.split(".", 1)[1]: model.name for model in self}
        by_name.update({model.name: model.name for model in self})
        return list(dict.fromkeys(by_name[match] for match in get_close_matches(wanted[:200], by_name, n=3)))


def read_models(project: Project) -> ModelGraph:
    """Read the models under transforms/. Raises UsageError if there are none, or a file cannot be understood."""
    from sqlglot.errors import SqlglotError
    from sqlmesh.utils.errors import SQLMeshError

    transforms = project.project_dir / "transforms"
    if not has_models(transforms):
        raise UsageError("there are no models", "They stand in transforms/models/.")
    try:
        context = _context(project)
        try:
            return ModelGraph(_models(context), _landed_columns(project))
        finally:
            context.close()
    except (SQLMeshError, SqlglotError) as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> UsageError:
    return UsageError(
        f"the models cannot be read: {' '.join(str(error).split())[:600]}", "Correct the file under transforms/."
    )


def _context(project: Project) -> Any:
    """Open SQLMesh on the model files, with settings of its own in place of a warehouse and a state."""
    import sqlmesh
    from sqlmesh.core.config import DuckDBConnectionConfig
    from sqlmesh.core.console import NoopConsole, set_console

    from engine.models.dbt import with_dbt

    logging.getLogger("sqlmesh").setLevel(logging.ERROR)
    set_console(NoopConsole())
    config = sqlmesh_config(project, "lineage", {"type": "duckdb"}, START)
    gateway = config.gateways["lineage"].model_copy(update={"state_connection": DuckDBConnectionConfig()})
    config = config.model_copy(
        update={
            "gateways": {"lineage": gateway},
            "cache_dir": str(state_folder(project) / "lineage-cache"),
        }
    )
    return sqlmesh.Context(config=with_dbt(project.project_dir / "transforms", config))


def _landed_columns(project: Project) -> dict[str, list[str]]:
    return {
        table.name: [column.name for column in (*table.columns, *LINEAGE_COLUMNS)] for table in every_table(project)
    }


def _models(context: Any) -> Iterator[Model]:
    for fqn in context.dag.sorted:
        native = context.models.get(fqn)
        if native is None:
            yield Model(plain_name(fqn), "landed", "", (), (), ())
            continue
        grain = tuple(column for part in native.grains for column in _columns(part))
        yield Model(
            name=plain_name(fqn),
            kind=kind_of(native),
            description=native.description or "",
            key=_key(native) or grain,
            grain=grain or _key(native),
            upstream=tuple(sorted(plain_name(parent) for parent in native.depends_on)),
            series=tuple(name for name in _property(native, "version") if name == "record_source"),
            native=native,
        )


def kind_of(native: Any) -> str:
    """Return a word for how the model is kept: view, full, seed ..., or the name of its materialization."""
    if native.kind.is_custom:
        return str(native.kind.materialization)
    return str(native.kind.name.value).lower()


def kept_by(native: Any) -> tuple[str, ...]:
    """Return the columns by which a model's rows are kept, key and version of its materialization; or ()."""
    return (*_property(native, "key"), *_property(native, "version"))


def _key(native: Any) -> tuple[str, ...]:
    if not native.kind.is_custom:
        return tuple(column for part in getattr(native.kind, "unique_key", None) or () for column in _columns(part))
    return _property(native, "key")


def _property(native: Any, name: str) -> tuple[str, ...]:
    """Return the columns that a property of a materialization lists; () if it is not set."""
    value = native.custom_materialization_properties.get(name) if native.kind.is_custom else None
    return () if value is None else _columns(value)


def _columns(value: exp.Expression) -> tuple[str, ...]:
    """Return the names in `(a, b)`, or the one that stands alone."""
    items = value.expressions if isinstance(value, exp.Tuple | exp.Array) else [value.unnest()]
    return tuple(item.name for item in items)
