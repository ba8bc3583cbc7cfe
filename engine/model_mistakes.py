"""Mistakes in models that SQLMesh reads without a word: they would be met when the model is built, or never.

A table that nobody has, a kind whose properties are misspelt or name no column, what the vault's macros refuse once
they know the other models. Each is one ModelError with file and line, before anything is built.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config.problems import did_you_mean
from engine.model_errors import REMEDY, problem_in, reason_of

if TYPE_CHECKING:
    from sqlmesh import Context


def refuse_mistakes(context: Context, project_dir: Path) -> None:
    """Raise ModelError for the first mistake found in the models that were loaded."""
    for model in context.models.values():
        path = model._path  # noqa: SLF001 - has no other name
        if not path:
            continue
        for reason, word, hint in (
            *_unknown_tables(context, model),
            *_kind(model),
            *_refused_by_macros(context, model),
        ):
            raise problem_in(project_dir, Path(path), None, word, reason, hint + REMEDY)


Mistake = tuple[str, str, str]
"""What is wrong, the word of the file that is, and what may have been meant."""


def _unknown_tables(context: Context, model: Any) -> Iterator[Mistake]:
    """Yield the tables it reads, of schemas that have models, which neither a model nor landing has."""
    from sqlglot import exp

    known = {(exp.to_table(one.fqn).db, exp.to_table(one.fqn).name) for one in context.models.values()}
    schemas = {schema for schema, _ in known}
    names = [f"{schema}.{name}" for schema, name in known]
    for read in sorted(model.depends_on):
        table = exp.to_table(read)
        if table.db in schemas and (table.db, table.name) not in known:
            name = f"{table.db}.{table.name}"
            hint = did_you_mean(name, names) or "Name a model of transforms/models or a table of landing. "
            yield f"there is no model {name}", table.name, hint


def _kind(model: Any) -> Iterator[Mistake]:
    """Yield what the model's materialization has against how it is declared; those of others have nothing to say."""
    from sqlmesh.core.snapshot.evaluator import get_custom_materialization_type

    if not model.kind.is_custom:
        return
    found = get_custom_materialization_type(model.kind.materialization, raise_errors=False)
    if found is None or not hasattr(found[1], "mistakes"):
        return
    for reason, word in found[1].mistakes(model):
        yield reason, word, ""


def _refused_by_macros(context: Context, model: Any) -> Iterator[Mistake]:
    """Yield what a macro raises when it is told of all models; while they are read each is told of none."""
    from sqlmesh.core.constants import EPOCH
    from sqlmesh.utils.errors import SQLMeshError

    if not model.is_sql or not any(executable.is_definition for executable in model.python_env.values()):
        return
    try:  # `start` alone makes SQLMesh render again: what it keeps was rendered while the files were read
        model.render_query(start=EPOCH, snapshots=context.snapshots)
    except SQLMeshError as error:
        reason = reason_of(error)
        table = re.search(r"\w+\.(\w+)", reason)
        yield reason, table[1] if table else "", ""
