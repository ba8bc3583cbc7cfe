"""The keyed kinds on Trino and Snowflake: one MERGE each.

Trino has no transaction over several statements, and Snowflake none over a statement that makes a table.

A kill leaves all of an insertion or nothing, and whoever reads meanwhile sees the table before or after it. To let rows
go and others come in one MERGE, the source has both: rows marked `_old` match what has to go and are deleted with it;
the others match nothing and are inserted. A row of the table matches at most one of them.
"""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from collections.abc import Sequence


def insert_new(target: str, query: str, columns: Sequence[str], key: Sequence[str]) -> str:
    """Insert keys that the table does not have; a row that arrived before the table's takes its place."""
    return _upsert(target, query, columns, key, "o._arrived_at < x._arrived_at")


def keep_newest(target: str, query: str, columns: Sequence[str], key: Sequence[str], newest: Sequence[str]) -> str:
    """Keep of each key the row that is the greatest in the columns `newest`."""
    return _upsert(target, query, columns, key, newer(newest))


def newer(columns: Sequence[str]) -> str:
    """Return the condition that row `o` is the greater one in these columns, the first counting most, NULL least.

    Spelt out: Trino compares no rows with a NULL in them, and looks at the condition also where nothing matched.
    """
    first, *others = columns
    greater = f"o.{first} > x.{first} OR (x.{first} IS NULL AND NOT o.{first} IS NULL)"
    alike = f" OR (o.{first} IS NOT DISTINCT FROM x.{first} AND {newer(others)})" if others else ""
    return f"({greater}{alike})"


def replace_keys(
    target: str, query: str, columns: Sequence[str], key: Sequence[str], *, by: Sequence[str], lasting: str = "TRUE"
) -> str:
    """Replace all rows of each key by the query's, as far as these last. `by` are columns that are never NULL."""
    once = ", ".join([*by, *key])
    source = (
        f"SELECT {_of('q', columns)}, u._old FROM "
        f"(SELECT a.*, ROW_NUMBER() OVER (PARTITION BY {once}) AS _nth FROM ({query}) AS a) AS q "
        f"CROSS JOIN (SELECT TRUE AS _old UNION ALL SELECT FALSE AS _old) AS u "
        f"WHERE (u._old AND q._nth = 1) OR (NOT u._old AND {lasting})"
    )
    return _exchange(target, source, columns, key, by)


def replace_versions(
    target: str, fresh: str, columns: Sequence[str], key: Sequence[str], version: Sequence[str]
) -> str:
    """Replace the rows of each key of which one has to go; of other keys add the versions that are new.

    `fresh` is a table with the query's rows, each version of a key once: it is read several times.
    """
    gone = (
        f"SELECT DISTINCT {_of('t', [*key, '_key'])} FROM {target} AS t "
        f"JOIN (SELECT DISTINCT {_of('f', [*key, '_key'])} FROM {fresh} AS f) AS k ON {_same('t', 'k', key)} "
        f"LEFT JOIN {fresh} AS f ON {_same('f', 't', [*key, *version])} WHERE f._key IS NULL"
    )
    own = {*key, '"_key"'}
    nothing = ", ".join(f"g.{name}" if name in own else f"NULL AS {name}" for name in columns)
    source = (
        f"WITH gone AS ({gone}) "
        f"SELECT {_of('o', columns)}, FALSE AS _old FROM {fresh} AS o "
        f"LEFT JOIN {target} AS t ON {_same('t', 'o', [*key, *version])} "
        f"LEFT JOIN gone AS g ON {_same('g', 'o', key)} "
        f"WHERE t._key IS NULL OR NOT g._key IS NULL "
        f"UNION ALL SELECT {nothing}, TRUE AS _old FROM gone AS g"
    )
    return _exchange(target, source, columns, key, ["_key"])


def _upsert(target: str, query: str, columns: Sequence[str], key: Sequence[str], better: str) -> str:
    settings = ", ".join(f"{name} = o.{name}" for name in columns)
    return (
        f"MERGE INTO {target} AS x USING ({query}) AS o ON {_same('x', 'o', key)} "
        f"WHEN MATCHED AND {better} THEN UPDATE SET {settings} "
        f"WHEN NOT MATCHED THEN INSERT ({', '.join(columns)}) VALUES ({_of('o', columns)})"
    )


def _exchange(target: str, source: str, columns: Sequence[str], key: Sequence[str], by: Sequence[str]) -> str:
    return (
        f"MERGE INTO {target} AS x USING ({source}) AS o ON o._old AND {_same('x', 'o', key, by)} "
        f"WHEN MATCHED THEN DELETE "
        f"WHEN NOT MATCHED AND NOT o._old THEN INSERT ({', '.join(columns)}) VALUES ({_of('o', columns)})"
    )


def _same(left: str, right: str, names: Sequence[str], by: Sequence[str] = ("_key",)) -> str:
    """Equal in `by`, which Trino can join by, and in `names`, NULL being equal to NULL."""
    equal = [f"{left}.{name} = {right}.{name}" for name in by]
    return " AND ".join([*equal, *(f"{left}.{name} IS NOT DISTINCT FROM {right}.{name}" for name in names)])


def _of(alias: str, names: Sequence[str]) -> str:
    return ", ".join(f"{alias}.{name}" for name in names)
