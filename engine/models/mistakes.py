"""Mistakes in models that SQLMesh reads without a word: they would be met when the model is built, or never.

A table that nobody has, a landed column's name misspelt, a kind whose properties are misspelt or name no column, an
audit's argument that it does not use, what the vault's macros refuse once they know the other models. Each is one
ModelError with file and line, before anything is built.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.compose import every_table
from engine.config.problems import did_you_mean
from engine.models.errors import REMEDY, problem_in, reason_of
from engine.table import LINEAGE_COLUMNS

if TYPE_CHECKING:
    from sqlmesh import Context

    from engine.config.project import Project


def refuse_mistakes(context: Context, project: Project) -> None:
    """Raise ModelError for the first mistake found in the models that were loaded.

    What a model reads comes first, for all of them: a macro that looks at another model would blame its own.
    """
    known = _Known(context, project)
    for found in (
        _unknown_tables,
        _misspelt_in_landing,
        _waits_for_whole_intervals,
        _kind,
        _audits,
        _refused_by_macros,
    ):
        for model in context.models.values():
            path = model._path  # noqa: SLF001 - has no other name
            for reason, word, hint in found(known, model) if path else ():
                raise problem_in(project.project_dir, Path(path), None, word, reason, hint + REMEDY)


LOOKS_AT_OTHERS = "get_snapshot("
"""Of a macro's source: it asks for other models, so that only now it can say what is wrong."""
LANDED = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'landing'"
NEARLY = 0.85
"""How alike two names are of which one is taken for the other misspelt: one letter of seven, or two of fourteen."""
OR_DECLARE = "If it is yet to come, declare it in pipelines.yaml. "
USED_BY_ALL = frozenset({"blocking", "this_model", "start_dt", "end_dt"})
"""What every audit may be given, and what SQLMesh gives it."""
Mistake = tuple[str, str, str]
"""What is wrong, the word of the file that is, and what may have been meant."""


class _Known:
    """The models there are: their names, and the schemas that have any; and the columns of landed tables."""

    def __init__(self, context: Context, project: Project) -> None:
        self.snapshots = context.snapshots
        self._context, self._project = context, project
        self.names = {_short(fqn) for fqn in (model.fqn for model in context.models.values())}
        self.schemas = {name.partition(".")[0] for name in self.names}

    @cached_property
    def declared(self) -> dict[str, set[str]]:
        """Columns by table that the file's sources declare."""
        lineage = {column.name for column in LINEAGE_COLUMNS}
        return {
            table.name.lower(): lineage | {column.name.lower() for column in table.columns}
            for table in every_table(self._project)
        }

    @cached_property
    def landed(self) -> dict[str, set[str]]:
        """Columns by table that are declared, or in the warehouse: asked for when something is not declared."""
        found = {table: set(columns) for table, columns in self.declared.items()}
        for table, column in self._context.engine_adapter.fetchall(LANDED):
            found.setdefault(str(table).lower(), set()).add(str(column).lower())
        return found

    @cached_property
    def read(self) -> set[str]:
        """The landed tables that some model reads."""
        return {_short(name) for snapshot in self.snapshots.values() for name in snapshot.node.depends_on}

    def lacks(self, name: str) -> bool:
        """Whether it is of a schema that has models, and none of them."""
        return name not in self.names and name.partition(".")[0] in self.schemas


def _short(fqn: str) -> str:
    """Return schema and name of `"catalog"."schema"."name"`."""
    return ".".join(part.strip('"') for part in fqn.split(".")[-2:])


def _unknown_tables(known: _Known, model: Any) -> Iterator[Mistake]:
    """Yield the tables it reads, of schemas that have models, which neither a model nor landing has."""
    for name in sorted(_short(read) for read in model.depends_on):
        if known.lacks(name):
            hint = did_you_mean(name, known.names) or "Name a model of transforms/models or a table of landing. "
            yield f"there is no model {name}", name.partition(".")[2], hint


def _misspelt_in_landing(known: _Known, model: Any) -> Iterator[Mistake]:
    """Yield tables and columns of landing that nothing delivers, and that are nearly the name of one that is not read.

    Others that nothing delivers are empty: a source that was left out of the file must not break the models.
    """
    from sqlglot import exp

    if not model.is_sql or not any(_short(name).startswith("landing.") for name in model.depends_on):
        return
    aliases: dict[str, str] = {}
    for table in model.query.find_all(exp.Table):
        if table.db != "landing" or table.name.startswith("_"):
            continue
        name = aliases[table.alias_or_name] = table.name.lower()
        if name not in known.declared and name not in known.landed:
            unread = [one for one in known.landed if f"landing.{one}" not in known.read]
            if near := get_close_matches(name, unread, 1, NEARLY):
                reason = f"nothing delivers landing.{table.name}"
                yield reason, f"landing.{table.name}", f"Did you mean {near[0]!r}? {OR_DECLARE}"
    columns = {
        (aliases[one.table], one.name.lower()) for one in model.query.find_all(exp.Column) if one.table in aliases
    }
    for table_name, column in sorted(columns):
        if column in known.declared.get(table_name, ()) or column in known.landed.get(table_name, {column}):
            continue
        unread = [name for name in known.landed[table_name] if (table_name, name) not in columns]
        if near := get_close_matches(column, unread, 1, NEARLY):
            yield f"landing.{table_name} has no column {column}", column, f"Did you mean {near[0]!r}? {OR_DECLARE}"


def _waits_for_whole_intervals(_known: _Known, model: Any) -> Iterator[Mistake]:
    """Yield models with a table of their own that would lack what arrived since the last whole five minutes."""
    kind = model.kind
    own_table = not (kind.is_view or kind.is_symbolic or kind.is_seed)
    if own_table and not model.allow_partials and not getattr(model, "dbt_node_info", None):
        yield "a run takes what has arrived, this model only whole intervals: add allow_partials TRUE", "kind", ""


def _audits(known: _Known, model: Any) -> Iterator[Mistake]:
    """Yield arguments that an audit does not use, and models it is to look in that there are not.

    Either would switch a part of the check off in silence.
    """
    from sqlglot import exp
    from sqlmesh.core.dialect import Jinja

    for audit, arguments in model.audits_with_args:
        if isinstance(audit.query, Jinja):
            continue
        used = {*USED_BY_ALL, *audit.defaults, *re.findall(r"@\{?(\w+)", audit.query.sql(dialect="duckdb"))}
        for name, value in arguments.items():
            if name.lower() not in {one.lower() for one in used}:
                yield f"the audit {audit.name} has no argument {name}", name, did_you_mean(name, used - USED_BY_ALL)
            tables = [f"{column.table}.{column.name}" for column in value.find_all(exp.Column) if column.table]
            for table in filter(known.lacks, tables):
                yield f"there is no model {table}", table.partition(".")[2], did_you_mean(table, known.names)


def _kind(_known: _Known, model: Any) -> Iterator[Mistake]:
    """Yield what the model's materialization has against how it is declared; those of others have nothing to say."""
    from sqlmesh.core.snapshot.evaluator import get_custom_materialization_type

    if not model.kind.is_custom:
        return
    found = get_custom_materialization_type(model.kind.materialization, raise_errors=False)
    if found is None or not hasattr(found[1], "mistakes"):
        return
    for reason, word in found[1].mistakes(model):
        yield reason, word, ""


def _refused_by_macros(known: _Known, model: Any) -> Iterator[Mistake]:
    """Yield what a macro raises when it is told of all models; while they are read each is told of none."""
    from sqlmesh.core.constants import EPOCH
    from sqlmesh.utils.errors import SQLMeshError

    if not model.is_sql or not any(LOOKS_AT_OTHERS in each.payload for each in model.python_env.values()):
        return
    try:  # `start` alone makes SQLMesh render again: what it keeps was rendered while the files were read
        model.render_query(start=EPOCH, snapshots=known.snapshots)
    except SQLMeshError as error:
        reason = reason_of(error)
        word = re.search(r"`(\w+)`", reason) or re.search(r"\w+\.(\w+)", reason)
        yield reason.replace("`", ""), word[1] if word else "", ""
