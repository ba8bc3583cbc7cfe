"""Commands that follow data: lineage by the models' text, trace by the rows themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from engine.cli.errors import redact
from engine.cli.options import json_option, print_json, with_project
from engine.errors import UsageError
from engine.redact import visible

if TYPE_CHECKING:
    from engine.config.project import Project
    from engine.trace.lineage import ColumnNode, TableNode

SHOWN = 110
"""Characters of an expression that a line shows; --json has all."""


@click.command()
@click.argument("target", metavar="TABLE[.COLUMN]")
@json_option
@with_project
def lineage(project: Project, target: str, as_json: bool) -> None:  # noqa: FBT001
    """Show what a column is made of, down to landed columns, or which models a table is built from.

    Reads the models' files only: no data is needed and nothing runs. `engine lineage
    marts.fct_transactions.net_amount` follows a column, `engine lineage marts.fct_transactions` the table.
    """
    from engine.models.graph import read_models
    from engine.trace import lineage as lines

    graph = read_models(project)
    model, column = lines.split_target(graph, target)
    if column is None:
        tables = lines.table_lineage(graph, model)
        landed = lines.landed_tables(tables)
        if as_json:
            print_json({**tables.as_json(), "columns": list(graph.columns(model.name)), "landed": landed})
            return
        _print(_table_lines(tables))
    else:
        columns = lines.column_lineage(graph, model, column)
        landed = lines.landed_columns(columns)
        if as_json:
            print_json({**columns.as_json(), "landed_columns": landed})
            return
        _print(_column_lines(columns))
    click.echo(f"\nlanded in: {visible(', '.join(landed)) or 'nothing: it is a constant, or no query says what of'}")


@click.command()
@click.argument("table")
@click.argument("key", nargs=-1)
@click.option(
    "--limit", default=100, show_default=True, type=click.IntRange(1, 10_000), help="Rows of a table, at most."
)
@click.option("--on", "warehouse", default=None, help="Which warehouse; default: the profile's first.")
@json_option
@with_project
def trace(
    project: Project,
    table: str,
    key: tuple[str, ...],
    limit: int,
    warehouse: str | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Trace the rows of TABLE with a KEY back to the rows that were landed for them, and their load packages.

    KEY is a business key (`engine trace marts.fct_transactions T-1`), several for a key of several columns, or
    column=value. Keys are folded as the vault folds them.
    """
    from destinations import open_destination
    from engine.compose import every_table
    from engine.lake.lake import open_lake
    from engine.models.graph import read_models
    from engine.trace import output as trace_output
    from engine.trace.trace import trace as follow

    name = warehouse or next(iter(project.warehouses), "")
    if name not in project.warehouses:
        known = ", ".join(project.warehouses) or "none"
        raise UsageError(f"profile {project.profile_name} has no warehouse {name!r}", f"It has: {known}.")
    graph = read_models(project)
    model = graph.find(table)
    declared = {landed.name: landed.primary_key for landed in every_table(project)}
    destination = open_destination(name, project.destinations[name], project.project_dir, project.data_dir)
    with open_lake(project.profile.lake, project.project_dir, project.data_dir / "cache") as lake:
        natural = declared.get(model.name.split(".", 1)[1], ())
        found = follow(graph, model, destination, lake, key, natural=natural, limit=limit)
    if as_json:
        print_json(trace_output.document(found))
    else:
        _print(trace_output.lines(found))


def _print(lines: Iterator[str]) -> None:
    for line in lines:
        click.echo(visible(redact(line)))


def _column_lines(node: ColumnNode, first: str = "", rest: str = "") -> Iterator[str]:
    own = node.steps[0] if node.steps and node.steps[0].column == node.column else None
    again = "  (as above)" if node.repeated else ""
    yield f"{first}{node.name}{f' = {_cut(own.expression)}' if own else ''}{again}"
    stem = "│ " if node.made_of else "  "
    for step in node.steps[1 if own else 0 :]:
        yield f"{rest}{stem}  where {step.column} = {_cut(step.expression)}"
    for place, child in enumerate(node.made_of):
        last = place == len(node.made_of) - 1
        yield from _column_lines(child, f"{rest}{'└─ ' if last else '├─ '}", f"{rest}{'   ' if last else '│  '}")


def _table_lines(node: TableNode, first: str = "", rest: str = "") -> Iterator[str]:
    again = "  (as above)" if node.repeated else ""
    yield f"{first}{node.name}  {node.kind}{again}"
    for place, child in enumerate(node.reads):
        last = place == len(node.reads) - 1
        yield from _table_lines(child, f"{rest}{'└─ ' if last else '├─ '}", f"{rest}{'   ' if last else '│  '}")


def _cut(expression: str) -> str:
    text = " ".join(expression.split())
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


COMMANDS = (lineage, trace)
