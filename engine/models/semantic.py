"""The semantic catalogue, transforms/semantic/*.yaml: what can be asked of the published tables, and in which words.

Dashboards and the chatbot read it. A measure says how its rows are put together and which dimensions must be fixed or
grouped by for that to make sense; nothing adds up different units.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from engine.errors import UsageError

Kind = Literal["text", "date", "timestamp", "decimal", "integer", "boolean"]
Aggregation = Literal["sum", "count", "count_distinct", "mean", "min", "max", "first", "last", "ratio"]
SQL_KINDS: Mapping[str, Kind] = {
    "VARCHAR": "text",
    "DATE": "date",
    "TIMESTAMP WITH TIME ZONE": "timestamp",
    "BIGINT": "integer",
    "INTEGER": "integer",
    "BOOLEAN": "boolean",
}
COUNTS = ("count", "count_distinct")
"""Aggregations that look at no amount."""
SUMMED = ("sum", "mean")
"""Aggregations that need numbers."""
SQL = {
    "sum": "sum({value})",
    "count": "count(*)",
    "count_distinct": "count(DISTINCT {value})",
    "mean": "avg({value})",
    "min": "min({value})",
    "max": "max({value})",
    "first": "arg_min({value}, {time})",
    "last": "arg_max({value}, {time})",
}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Measure(_Part):
    """One number, and how it is made of rows. `unit` is a unit, or the columns that say which one a row has."""

    label: str
    description: str
    aggregation: Aggregation
    expression: str | None = None
    numerator: str | None = None
    denominator: str | None = None
    unit: str | list[str]
    format: Literal["integer", "number", "money", "price", "percent", "instant"]
    within: list[str] = []
    """Dimensions of which the question fixes one value, or groups by: across them the number means nothing."""
    synonyms: list[str] = []

    @property
    def additive(self) -> bool:
        """Whether the parts of a whole add up to it."""
        return self.aggregation in {"sum", "count"}


class Dimension(_Part):
    """A column to filter and group by. `values`: all there are, or `distinct` (ask the table), or `many` (do not)."""

    type: Kind
    label: str
    values: list[str] | Literal["distinct", "many"]
    personal: bool = False
    synonyms: list[str] = []


class Time(_Part):
    """The column by which periods are meant, and the one with its UTC date if there is one."""

    column: str
    type: Literal["date", "timestamp"]
    date: str | None = None


class DefaultFilter(_Part):
    """Holds unless the question names one of the dimensions in `unless`."""

    dimension: str
    values: list[str] = Field(min_length=1)
    unless: list[str] = []


class SemanticTable(_Part):
    """One table or view that can be asked."""

    table: str
    label: str
    description: str
    synonyms: list[str] = []
    grain: list[str] = Field(min_length=1)
    time: Time
    units: dict[str, str | list[str]] = {}
    measures: dict[str, Measure]
    dimensions: dict[str, Dimension]
    default_filters: list[DefaultFilter] = []

    @field_validator("measures", "dimensions")
    @classmethod
    def _not_empty(cls, value: dict[str, object]) -> dict[str, object]:
        if not value:
            raise ValueError("has none")
        return value

    @property
    def personal(self) -> list[str]:
        """Columns with personal data."""
        return [name for name, dimension in self.dimensions.items() if dimension.personal]

    def sql(self, name: str) -> str:
        """Return a measure's aggregate, to stand in a SELECT. Percentages are in percent. Raises KeyError."""
        measure = self.measures[name]
        if measure.aggregation == "ratio":
            above, below = (self.sql(str(part)) for part in (measure.numerator, measure.denominator))
            return f"{'100.0 * ' if measure.unit == 'percent' else ''}{above} / nullif({below}, 0)"
        return SQL[measure.aggregation].format(value=quoted(measure.expression or ""), time=quoted(self.time.column))


class Catalogue(_Part):
    """All that can be asked."""

    tables: list[SemanticTable]

    def table(self, name: str) -> SemanticTable:
        """Return one table's part. Raises KeyError."""
        return {table.table: table for table in self.tables}[name]


def load_catalogue(folder: Path) -> Catalogue:
    """Read every YAML file of a folder. Raises UsageError: one line, which begins with the file and its line."""
    return Catalogue(tables=[_read(path) for path in sorted(folder.glob("*.yaml"))])


def check_catalogue(folder: Path) -> None:
    """Raise UsageError for a catalogue that cannot be read, or that contradicts itself; without one, do nothing."""
    found = problems(load_catalogue(folder))
    if found:
        more = f" (and {len(found) - 1} more: `engine doctor`)" if found[1:] else ""
        raise UsageError(f"semantic catalogue: {found[0]}{more}", "Correct transforms/semantic.")


def _read(path: Path) -> SemanticTable:
    import yaml

    name = f"transforms/semantic/{path.name}"
    try:
        text = path.read_text(encoding="utf-8")
        return SemanticTable.model_validate(yaml.safe_load(text))
    except ValidationError as error:
        first = error.errors()[0]
        line, reason = _line(yaml.compose(text), first["loc"]), f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except yaml.MarkedYAMLError as error:
        line, reason = error.problem_mark.line + 1 if error.problem_mark else 1, f"is no YAML: {error.problem}"
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line, reason = 1, f"is no YAML: {getattr(error, 'reason', 'it cannot be read')}"
    raise UsageError(f"{name}:{line}: {reason.removeprefix(': ')}", f"Correct {name}.")


def _line(node: Any, loc: Sequence[int | str]) -> int:
    """The line of what stands at `loc` in a YAML tree; of what is missing there, that of the block it lacks in."""
    line = node.start_mark.line + 1 if node is not None else 1
    for part in loc:
        items = node.value if isinstance(node.value, list) else []
        if isinstance(part, int):
            node = items[part] if part < len(items) and not isinstance(items[part], tuple) else None
        else:
            pairs = [item for item in items if isinstance(item, tuple) and item[0].value == part]
            line = pairs[0][0].start_mark.line + 1 if pairs else line
            node = pairs[0][1] if pairs else None
        if node is None:
            break
    return line


def problems(catalogue: Catalogue) -> list[str]:
    """Return what is wrong in the catalogue itself: names that collide, parts that are missing, units that differ."""
    found = [*_collisions(catalogue)]
    for table in catalogue.tables:
        found += [f"{table.table}: {problem}" for problem in (*_references(table), *_units(table))]
    return found


def differences(catalogue: Catalogue, columns: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return where the catalogue differs from the tables: `columns` has their SQL types by table and column."""
    found = []
    for table in catalogue.tables:
        there = columns.get(table.table, {})
        wanted: dict[str, set[str]] = {name: {dimension.type} for name, dimension in table.dimensions.items()}
        wanted[table.time.column] = {table.time.type}
        for measure in table.measures.values():
            for column in columns_of(measure.expression or ""):
                wanted.setdefault(column, set())
                if measure.aggregation in SUMMED:
                    wanted[column] |= {"decimal", "integer"}
        for column in (*table.units, *table.grain, *([table.time.date] if table.time.date else [])):
            wanted.setdefault(column, set())
        for column, kinds in wanted.items():
            kind = _kind(there[column]) if column in there else None
            if column not in there:
                found.append(f"{table.table} has no column {column}")
            elif kinds and kind not in kinds:
                found.append(f"{table.table}.{column} is {there[column]}, not {' or '.join(sorted(kinds))}")
    return found


COLUMNS = "SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns"


def by_table(rows: Iterable[Sequence[str]]) -> dict[str, dict[str, str]]:
    """Return the rows of COLUMNS as `differences` takes them."""
    found: dict[str, dict[str, str]] = {}
    for schema, table, column, data_type in rows:
        found.setdefault(f"{schema}.{table}", {})[column] = data_type
    return found


def columns_of(expression: str) -> list[str]:
    """Return the names in an expression of columns, numbers and + - * / ( )."""
    return list(dict.fromkeys(re.findall(r"[A-Za-z_]\w*", expression)))


def quoted(expression: str) -> str:
    """Return the expression with its columns quoted: some are called as SQL's own words are."""
    return re.sub(r"[A-Za-z_]\w*", lambda match: f'"{match[0]}"', expression)


def _kind(sql_type: str) -> Kind | None:
    return "decimal" if sql_type.startswith("DECIMAL") else SQL_KINDS.get(sql_type)


def _collisions(catalogue: Catalogue) -> Iterator[str]:
    """A word means one thing: a table, a measure, or a dimension, which tables may share if they say it alike."""
    meant: dict[str, tuple[str, str]] = {}
    shared: dict[str, Dimension] = {}
    for table in catalogue.tables:
        words = [(word, "table", table.table) for word in (table.table, *table.synonyms)]
        for name, measure in table.measures.items():
            # a column is often measured under its own name, on the table that has it
            words += [(word, "measure", f"{table.table}.{name}") for word in (name, *measure.synonyms)]
        for name, dimension in table.dimensions.items():
            words += [(word, "dimension", name) for word in (name, *dimension.synonyms)]
            known = shared.setdefault(name, dimension)
            if (known.type, known.synonyms, known.personal) != (dimension.type, dimension.synonyms, dimension.personal):
                yield f"dimension {name} of {table.table} differs from that of another table"
        for word, kind, name in words:
            before = meant.setdefault(word.casefold(), (kind, name))
            if before != (kind, name):
                yield f"{word!r} means {' '.join(before)} and {kind} {name}"


def _references(table: SemanticTable) -> Iterator[str]:
    for name, measure in table.measures.items():
        if measure.aggregation == "ratio":
            for part in (measure.numerator, measure.denominator):
                if part not in table.measures or table.measures[str(part)].aggregation == "ratio":
                    yield f"{name}: {part} is no measure to divide"
        elif (measure.expression is None) != (measure.aggregation == "count"):
            yield f"{name}: count has no expression, everything else has one"
        elif not re.fullmatch(r"[\w\s+\-*/().]*", measure.expression or ""):
            yield f"{name}: {measure.expression!r} is more than columns, numbers and + - * / ( )"
        yield from (f"{name}: within {d}, which is no dimension" for d in measure.within if d not in table.dimensions)
    for default in table.default_filters:
        for dimension in (default.dimension, *default.unless):
            if dimension not in table.dimensions:
                yield f"default filter: {dimension} is no dimension"


def _units(table: SemanticTable) -> Iterator[str]:
    """Whatever is added up, compared or averaged is of one unit, and the measure says which."""
    for name, measure in table.measures.items():
        if measure.aggregation in COUNTS or measure.unit == "instant":
            continue
        if measure.aggregation == "ratio":
            parts = [
                table.measures[part].unit for part in (measure.numerator, measure.denominator) if part in table.measures
            ]
            if measure.unit == "percent" and any(unit != parts[0] for unit in parts):
                yield f"{name}: a percentage of {parts[0]} in {parts[-1]}"
            continue
        columns = columns_of(measure.expression or "")
        units = {column: table.units.get(column) for column in columns}
        for column, unit in units.items():
            if unit is None:
                yield f"{name}: {column} has no unit in `units`"
            elif unit != measure.unit:
                yield f"{name}: is in {measure.unit}, {column} in {unit}"
            elif isinstance(unit, list) and not set(unit) <= set(measure.within):
                lacking = ", ".join(sorted(set(unit) - set(measure.within)))
                yield f"{name}: adds up different units: `within` lacks {lacking}"
