"""Rules of schema `landing` that ask no database: which package may follow, how a table makes room, what is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from destinations.dialect import Dialect
from destinations.package_rows import SQL_TYPES, LandedFile, fit
from destinations.protocol import Loaded
from engine.errors import DestinationError
from engine.table import LINEAGE_COLUMNS, QUARANTINE, QUARANTINE_COLUMNS, Column, Table

if TYPE_CHECKING:
    from engine.lake.package import Package

AGAIN = "Run again: the destination catches up from its own cursor."
ONE_TYPE = "Give the column the type back that it had in pipelines.yaml, or land it under another name."

TABLES: Mapping[str, Mapping[str, str]] = {
    "_cursor": {"table_name": "VARCHAR", "seq": "BIGINT"},
    "_packages": {
        "_load_id": "VARCHAR",
        "table_name": "VARCHAR",
        "arrived_at": "TIMESTAMP WITH TIME ZONE",
        "rows": "BIGINT",
        "source": "VARCHAR",
        "seq": "BIGINT",
    },
    "_model_runs": {"until": "TIMESTAMP WITH TIME ZONE"},
    "_identity": {"identity": "VARCHAR"},
    "_checks": {
        "run_id": "VARCHAR",
        "checked_at": "TIMESTAMP WITH TIME ZONE",
        "model": "VARCHAR",
        "audit": "VARCHAR",
        "blocking": "BOOLEAN",
        "status": "VARCHAR",
        "failed_rows": "BIGINT",
        "sample": "VARCHAR",
        "look": "VARCHAR",
    },
    QUARANTINE: {column.name: SQL_TYPES[column.data_type] for column in QUARANTINE_COLUMNS},
}
"""The tables of the bookkeeping: columns and their type words."""


def bookkeeping(dialect: Dialect) -> tuple[str, ...]:
    """Return the statements that make schema landing and its bookkeeping where they are missing.

    Elsewhere these names are written without quotes: `quote` has to mean the same name.
    """
    statements = ["CREATE SCHEMA IF NOT EXISTS landing"]
    for table, columns in TABLES.items():
        body = ", ".join(f"{dialect.quote(name)} {dialect.spelled(word)}" for name, word in columns.items())
        statements.append(f"CREATE TABLE IF NOT EXISTS landing.{dialect.quote(table)} ({body})")
    return tuple(statements)


def check_sequence(destination: str, table: str, cursor: int, packages: Sequence[Package]) -> None:
    """Refuse a package that is loaded already or that leaves a gap, before anything is touched."""
    sequence = [package.entry.seq for package in packages]
    expected = cursor + 1
    if sequence == list(range(expected, expected + len(sequence))):
        return
    why = "is loaded already" if sequence[0] < expected else "does not follow the last one loaded"
    raise DestinationError(
        destination,
        f"package {sequence[0]} of {table} {why}: the next is {expected}",
        AGAIN,
    )


def overtaken(destination: str, table: str, before: int) -> DestinationError:
    """Return the error of a load whose cursor's compare-and-swap found another number."""
    reason = f"the cursor of {table} is no longer at {before}: another program loaded this table"
    return DestinationError(destination, reason, AGAIN)


def doubled(destination: str, table: str) -> DestinationError:
    """Return the error of a table that has rows though nothing was loaded into it, as its cursor says."""
    return DestinationError(
        destination,
        f"landing.{table} has rows, though its cursor in landing._cursor stands before the first package: loading "
        "would double them",
        f"`engine replay --destination {destination}` fills it from the lake and builds the models anew.",
    )


def gone(destination: str, table: str) -> DestinationError:
    """Return the error of a table that somebody dropped: made for models, it would stay empty behind its cursor."""
    return DestinationError(
        destination,
        f"landing.{table} is gone, though packages of it were loaded: no model can read it",
        f"Run a pipeline that loads there; if that refuses it, `engine replay --destination {destination}`.",
    )


def lost(destination: str, table: str, columns: Iterable[str], *, set_back: bool) -> DestinationError:
    """Return the error of a table some of whose columns somebody dropped: added again, they would be empty."""
    names = sorted(columns)
    what = f"column {names[0]!r}" if len(names) == 1 else f"columns {', '.join(map(repr, names))}"
    are, them = ("is", "it") if len(names) == 1 else ("are", "them")
    alone = f"; or DROP TABLE landing.{table}: the next run fills that table alone" if set_back else ""
    return DestinationError(
        destination,
        f"{what} of landing.{table} {are} gone, though packages with {them} were loaded",
        f"`engine replay --destination {destination}` restores {them} from the lake{alone}.",
    )


def wanted_columns(packages: Iterable[Package]) -> list[Column]:
    """Return the columns that a table needs for these packages, each once, the lineage's last."""
    columns = {column.name: column for package in packages for column in package.manifest.columns}
    return [*columns.values(), *(column for column in LINEAGE_COLUMNS if column.name not in columns)]


def landed_files(table: str, packages: Iterable[Package]) -> Iterator[LandedFile]:
    """Yield the packages' files, each with the table that it goes into."""
    for package in packages:
        manifest = package.manifest
        for file, path in zip(manifest.files, package.local_files, strict=True):
            yield LandedFile(
                path=Path(path),
                table=QUARANTINE if file.quarantine else table,
                load_id=manifest.load_id,
                name=file.name,
                rows=file.rows,
                columns=QUARANTINE_COLUMNS if file.quarantine else manifest.columns,
                lake_path=f"{package.entry.path}/{file.name}",
            )


def loaded(packages: Sequence[Package]) -> Loaded:
    """Return what these packages brought."""
    return Loaded(
        rows=sum(package.manifest.rows for package in packages),
        quarantined=sum(package.manifest.quarantined for package in packages),
        bytes=sum(package.manifest.bytes for package in packages),
        seq=packages[-1].entry.seq,
    )


def _other_type(destination: str, table: str, column: str, stored: str, delivered: str) -> DestinationError:
    """Return the error of a column whose type is not what is delivered: the file was edited, or the table was."""
    remedy = ONE_TYPE
    if stored not in SQL_TYPES.values():  # pipelines.yaml cannot have asked for it
        remedy = (
            "Somebody altered it there. Give it its type back, or, where values were cut, "
            f"`engine replay --destination {destination}` makes the tables anew from the lake."
        )
    reason = f"column {column!r} of landing.{table} is stored as {stored}, not as {delivered}"
    return DestinationError(destination, reason, remedy)


def creation(dialect: Dialect, table: str, columns: Sequence[Column]) -> str:
    """Return the CREATE TABLE of a landing table."""
    body = ", ".join(
        f"{dialect.quote(column.name)} {dialect.spelled(SQL_TYPES[column.data_type])}" for column in _once(columns)
    )
    return f"CREATE TABLE landing.{dialect.quote(table)} ({body})"


def evolution(
    destination: str, dialect: Dialect, table: str, existing: Mapping[str, str], wanted: Sequence[Column]
) -> list[str]:
    """Return the ALTERs that make room for `wanted`: new columns, and whole numbers that became doubles.

    `existing` has type words by lower-case name. A column that is wider in the table already stays as it is (an older
    package arrives late).
    """
    statements = []
    for column in wanted:
        stored, delivered = existing.get(column.name.lower()), SQL_TYPES[column.data_type]
        name = dialect.quote(column.name)
        change = f"ALTER TABLE landing.{dialect.quote(table)}"
        if stored is None:
            statements.append(f"{change} ADD COLUMN {name} {dialect.spelled(delivered)}")
        elif fit(delivered, stored) == "conflict":
            if (stored, delivered) != ("BIGINT", "DOUBLE"):
                raise _other_type(destination, table, column.name, stored, delivered)
            whole = f"landing.{dialect.quote(table)}"
            statements.append(dialect.retype.format(name, dialect.spelled("DOUBLE"), table=whole))
    return statements


def refuse_other_types(destination: str, table: Table, package: Package) -> None:
    """Raise DestinationError if a package was landed as another type than is declared now; bigint is double's too.

    Stricter than `fit`: a decimal column would take whole numbers, but no run lands them as decimals from now on.
    """
    declared = {column.name.lower(): column.data_type for column in table.columns}
    for column in package.manifest.columns:
        wanted, landed = declared.get(column.name.lower()), column.data_type
        if wanted in {None, landed} or {wanted, landed} == {"bigint", "double"}:
            continue
        raise DestinationError(
            destination,
            f"nothing was emptied: column {column.name!r} of {table.name} is landed as {landed} in package "
            f"{package.entry.load_id}, and declared as {wanted}",
            ONE_TYPE,
        )


def lacks(existing: Mapping[str, str], wanted: Sequence[Column]) -> bool:
    """Whether a table has to be altered, or refused, for these columns."""
    return any(existing.get(column.name.lower()) != SQL_TYPES[column.data_type] for column in wanted)


def _once(columns: Sequence[Column]) -> list[Column]:
    """Each column once; the first declaration counts (a payload's own `source`, for one)."""
    once: dict[str, Column] = {}
    for column in columns:
        once.setdefault(column.name.lower(), column)
    return list(once.values())
