"""The vault's three kinds of table, each a query over staged deliveries: `@hub`, `@link`, `@satellite`.

A run takes what has arrived since the last one (`_arrived_at`), never what its load time or business time says, so a
late row is a new row like any other. Nothing here looks at the table it fills: how the rows get into it is the
model's kind (materializations/). Staged feeds have load_timestamp, record_source, _load_id and _arrived_at.

A hub's `_arrived_at` is the first arrival of its key, by any feed. What is related to a key that is new in the interval
has no past, so `@elsewhere` does not look for one: an increment of new transactions searches no history of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp, parse_one
from sqlmesh import macro
from sqlmesh.utils.errors import SQLMeshError

from macros.dialects import dialect_of, fragment
from macros.interval import arrived_in, end_of, start_of
from macros.keys import hash_key, hash_of, key_bits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlmesh.core.macros import MacroEvaluator

DELETED = "f" * 32
"""The hashdiff of a deletion: no payload's, and at one load time it counts before any of them."""


@macro()
def hub(evaluator: MacroEvaluator, name: exp.Expression, key: exp.Expression, feeds: exp.Expression) -> exp.Expression:
    """Return each business key once, as it was seen first among the rows that have arrived.

    `@hub(asset, key := (asset_symbol, asset_type), feeds := (stage.news, ...))` gives asset_hk, the key columns,
    load_timestamp, record_source: the earliest load time, then the first source in alphabetical order.
    """
    columns = _names(key)
    hash_column = f"{name.name}_hk"
    _must_be_kept_by(evaluator, "insert_new", [hash_column])
    for feed in _items(feeds):
        _must_have(evaluator, feed, _items(key))
    hashed = hash_key(evaluator, *(exp.column(column) for column in columns))
    return _first_seen(evaluator, hash_column, {hash_column: hashed}, columns, _names(feeds))


@macro()
def link(
    evaluator: MacroEvaluator, name: exp.Expression, hubs: exp.Expression, feeds: exp.Expression
) -> exp.Expression:
    """Return each combination of hubs once, as it was seen first among the rows that have arrived.

    `@link(transaction_asset, hubs := (transaction(transaction_id), asset(asset_symbol, asset_type)), feeds := (...))`
    gives transaction_asset_hk, transaction_hk, asset_hk, load_timestamp, record_source.
    """
    ends = {
        f"{end.name}_hk": hash_key(evaluator, *(column.copy() for column in end.expressions)) for end in _items(hubs)
    }
    for end in _items(hubs):
        hub_table = exp.table_(f"hub_{end.name}", db="vault")
        if not end.expressions:
            raise SQLMeshError(
                f"hubs := ({end.sql('duckdb')}(...)): name the columns that make that hub's key in the feed"
            )
        for feed in _items(feeds):
            _must_have(evaluator, feed, end.expressions)
        _must_be_the_key(evaluator, [column.name for column in end.expressions], hub_table)
        for feed in _items(feeds):
            _must_feed(evaluator, feed, hub_table)
    hash_column = f"{name.name}_hk"
    _must_be_kept_by(evaluator, "insert_new", [hash_column])
    together = {hash_column: _link_key(evaluator, list(ends))}
    return _first_seen(evaluator, hash_column, {**together, **ends}, [], _names(feeds), together)


@macro()
def satellite(
    evaluator: MacroEvaluator,
    hub_name: exp.Expression,
    key: exp.Expression,
    feed: exp.Expression,
    payload: exp.Expression,
    child: exp.Expression | None = None,
    deleted: exp.Expression | None = None,
) -> exp.Expression:
    """Return every version of each key that the arrived rows touch, from all that was ever delivered of it.

    `@satellite(customer, key := customer_id, feed := stage.customer, payload := (email, is_kyc_verified::BOOLEAN))`
    gives customer_hk, customer_id, load_timestamp, record_source, hashdiff and the payload. A version is a delivery
    whose payload differs from the one before it (by load time) of the same key and source; of two payloads at one
    load time the one with the greater hashdiff counts. `child` columns join the key. A column is text unless it is
    cast. The feed has `<hub>_hk` and `_key`: `@key_bits(<hub>_hk)`, or with `child`
    `@key_bits(@row_hash(key columns, child columns))`; a feed staged for another key is refused.

    `deleted` is a boolean column of the feed: where it is true the source says that the key is no more, in a row
    without a payload, which becomes a version of its own. What any source says of the key after it is a version,
    also when it is what that source had said before.
    """
    keys = _names(key)
    hash_column = f"{hub_name.name}_hk"
    own_hub = exp.table_(f"hub_{hub_name.name}", db="vault")
    _must_be_the_key(evaluator, keys, own_hub)
    _must_feed(evaluator, feed, own_hub)
    _must_have(evaluator, feed, [*_items(key), *_items(payload), *(_items(child) if child is not None else [])])
    group = [hash_column, *(one.alias_or_name for one in (_items(child) if child is not None else []))]
    _must_be_kept_by(evaluator, "replace_groups", group, ["record_source", "load_timestamp", "hashdiff"])
    series = ", ".join([*group, "record_source"])
    values = _items(payload)
    hashdiff = hash_of(dialect_of(evaluator), values)
    said = "_hashdiff" if deleted is None else f"CASE WHEN {deleted.name} THEN '{DELETED}' ELSE _hashdiff END"
    by_time = f"OVER (PARTITION BY {series} ORDER BY load_timestamp)"
    life = again = ""
    if deleted is not None:  # how often the key has been deleted up to there, by any source
        so_far = f"OVER (PARTITION BY {', '.join(group)} ORDER BY load_timestamp)"
        life = f", COUNT(CASE WHEN {deleted.name} THEN 1 END) {so_far} AS _life"
        again = f" OR LAG(_life) {by_time} <> _life"
    carried = ", ".join([*group, *keys, "load_timestamp", "record_source"])
    names = ", ".join([value.alias_or_name for value in values] + ([] if deleted is None else [deleted.name]))
    same = " AND ".join(
        f"t.{column} = s.{column}" if column == hash_column else f"t.{column} IS NOT DISTINCT FROM s.{column}"
        for column in group
    )
    staged = feed.sql(dialect="duckdb")
    children = [] if child is None else _items(child)
    whole = hash_of(dialect_of(evaluator), [*(exp.column(name) for name in keys), *children]) if children else None
    own_key = key_bits(evaluator, whole or exp.column(hash_column))
    # history is looked up by the feed's _key: of another key it would be another history. A text that depends on the
    # row, so that no engine tries the cast before there is such a row
    other = f"the _key of {staged} is not that of {', '.join(group)}, stage a feed for it, see "
    refusal = f"CAST('{other}' || {hash_column} AS BIGINT)"
    arrived = arrived_in(evaluator)
    # `known` is read from one narrow column: where every key is new, as with transactions, nothing wide is read at all
    query = parse_one(
        f"""
        WITH touched AS (
          SELECT DISTINCT {", ".join(group)}, CASE WHEN _key = _own_key THEN _key ELSE {refusal} END AS _key
          FROM {staged}
          WHERE {arrived} AND NOT {hash_column} IS NULL
        ), known AS (
          {_keys_elsewhere(evaluator, feed, "touched", own_hub)}
        ), history AS (
          SELECT * FROM {staged} WHERE {arrived} AND NOT {hash_column} IS NULL
          UNION ALL
          SELECT s.* FROM {staged} AS s
          WHERE NOT s.{arrived}
            AND s._key IN (SELECT _key FROM known)
            AND EXISTS(SELECT 1 FROM touched AS t WHERE t._key = s._key AND {same})
        ), deliveries AS (
          SELECT {carried}, {said} AS hashdiff, {names}, _load_id, _arrived_at, _key FROM history
        ), chosen AS (
          SELECT * FROM deliveries
          QUALIFY ROW_NUMBER() OVER (PARTITION BY {series}, load_timestamp ORDER BY hashdiff DESC, _load_id) = 1
        ), lives AS (
          SELECT *, MAX(_arrived_at) OVER (PARTITION BY {", ".join(group)}) AS _touched_at{life} FROM chosen
        )
        SELECT {carried}, hashdiff, {names}, _load_id, _touched_at AS _arrived_at, _key
        FROM lives
        QUALIFY LAG(hashdiff) {by_time} IS DISTINCT FROM hashdiff{again}
        """,
        dialect="duckdb",
    )
    return query.transform(_in_place_of, {"_hashdiff": hashdiff, "_own_key": own_key})


@macro()
def elsewhere(
    evaluator: MacroEvaluator, table: exp.Expression, touched: exp.Expression, hub_table: exp.Expression
) -> exp.Expression:
    """Return the `_key` values of `touched` that `table` also has in rows from outside the interval.

    `@elsewhere(stage.customer, touched, vault.hub_customer)`; `touched` has customer_hk and _key. Of keys that the hub
    has got in this interval there are no earlier rows; later ones, of any key, only where an interval is run again.
    """
    return parse_one(_keys_elsewhere(evaluator, table, touched.name, hub_table), dialect="duckdb")


@macro()
def effectivity(
    evaluator: MacroEvaluator,
    name: exp.Expression,
    hubs: exp.Expression,
    driving: exp.Expression,
    versions: exp.Expression,
    start: exp.Expression,
) -> exp.Expression:
    """Return from when to when the driving hub's key was related to which other one; it has one or none at a time.

    `@effectivity(customer_company, hubs := (customer, company), driving := customer, versions := ..., start := ...)`
    gives customer_company_hk, customer_hk, company_hk, effective_from, effective_to (9999-12-31 for what holds now),
    is_current. A relationship that ends and comes back has two rows. `versions` has a row a change, from `start` on.
    """
    keys = [f"{hub.name}_hk" for hub in _items(hubs)]
    key = f"{driving.name}_hk"
    (end,) = (column for column in keys if column != key)
    query = parse_one(
        f"""
        WITH changes AS (
          SELECT {key}, {end}, {start.name} AS effective_from, record_source, _load_id
          FROM {versions.sql(dialect="duckdb")}
          QUALIFY
            ROW_NUMBER() OVER (PARTITION BY {key} ORDER BY {start.name}) = 1
            OR LAG({end}) OVER (PARTITION BY {key} ORDER BY {start.name}) IS DISTINCT FROM {end}
        ), spans AS (
          SELECT *, LEAD(effective_from) OVER (PARTITION BY {key} ORDER BY effective_from) AS next_from FROM changes
        )
        SELECT _link AS {name.name}_hk, {", ".join(keys)}, effective_from,
          COALESCE(next_from, CAST('9999-12-31 00:00:00+00' AS TIMESTAMPTZ)) AS effective_to,
          next_from IS NULL AS is_current, record_source, _load_id
        FROM spans
        WHERE NOT {end} IS NULL
        """,
        dialect="duckdb",
    )
    return query.transform(_in_place_of, {"_link": _link_key(evaluator, keys)})


def _keys_elsewhere(evaluator: MacroEvaluator, table: exp.Expression, touched: str, hub_table: exp.Expression) -> str:
    _must_feed(evaluator, table, hub_table, satellites=True)
    name, hub_name = table.sql("duckdb"), hub_table.sql("duckdb")
    column = _hub_column(hub_name)
    return f"""
        SELECT _key FROM {name} WHERE _arrived_at < {start_of(evaluator)} AND _key IN (
          SELECT _key FROM {touched}
          WHERE NOT {column} IN (SELECT {column} FROM {hub_name} WHERE {arrived_in(evaluator)})
        )
        UNION
        SELECT _key FROM {name} WHERE _arrived_at > {end_of(evaluator)} AND _key IN (SELECT _key FROM {touched})
    """


def _link_key(evaluator: MacroEvaluator, keys: Sequence[str]) -> exp.Expression:
    """Return the hash of the hubs' keys; NULL as soon as one of them is. Hashes need no escaping: they are hex."""
    joined: exp.Expression = exp.column(keys[0])
    for key in keys[1:]:
        joined = exp.DPipe(this=exp.DPipe(this=joined, expression=exp.Literal.string("|")), expression=exp.column(key))
    return fragment("md5", dialect_of(evaluator), joined)


def _first_seen(
    evaluator: MacroEvaluator,
    key: str,
    hashes: dict[str, exp.Expression],
    columns: Sequence[str],
    feeds: Sequence[str],
    together: dict[str, exp.Expression] | None = None,
) -> exp.Expression:
    """Return the query of a hub or a link: the first row of each key in what has arrived, and when the key first did.

    `hashes` are computed from the feeds' columns, those named in `together` from the others.
    """
    together = together or {}
    own = [name for name in hashes if name not in together]
    seen = [*columns, "load_timestamp", "record_source", "_load_id"]
    carried = [*seen, "_arrived_at"]
    new = arrived_in(evaluator)
    arrived = " UNION ALL ".join(
        f"SELECT {', '.join(f'_{name} AS {name}' for name in own)}, {', '.join(carried)} FROM {feed} WHERE {new}"
        for feed in feeds
    )
    outer = ", ".join(f"_{name} AS {name}" if name in together else name for name in hashes)
    query = parse_one(
        f"""
        SELECT {", ".join([*hashes, *seen])}, MIN(_arrived_at) OVER (PARTITION BY {key}) AS _arrived_at, _bits AS _key
        FROM (SELECT {outer}, {", ".join(carried)} FROM ({arrived}) AS arrived) AS hashed
        WHERE NOT {key} IS NULL
        QUALIFY ROW_NUMBER() OVER (PARTITION BY {key} ORDER BY load_timestamp, record_source, _load_id) = 1
        """,
        dialect="duckdb",
    )
    values = {f"_{name}": value for name, value in hashes.items()}
    return query.transform(_in_place_of, {**values, "_bits": key_bits(evaluator, exp.column(key))})


def _in_place_of(node: exp.Expression, values: dict[str, exp.Expression]) -> exp.Expression:
    if isinstance(node, exp.Column) and not node.table and node.name in values:
        return values[node.name].copy()
    return node


def _items(value: exp.Expression) -> list[exp.Expression]:
    """Return the members of `(a, b)`, or the one that stands alone."""
    if isinstance(value, exp.Tuple | exp.Array):
        return list(value.expressions)
    return [value.this] if isinstance(value, exp.Paren) else [value]


def _must_feed(
    evaluator: MacroEvaluator, table: exp.Expression, hub_table: exp.Expression, *, satellites: bool = False
) -> None:
    """Raise SQLMeshError where the hub does not take the keys of this table: when one came first, it would not know.

    With `satellites`, a table of the hub's own schema that depends on the hub will do: it has no other keys.
    """
    hub_model, model = evaluator.get_snapshot(hub_table.sql("duckdb")), evaluator.get_snapshot(table.sql("duckdb"))
    if hub_model is None or model is None:
        return  # the models are still being read; they are rendered again before they run
    of_hub = hub_model.name in model.model.depends_on and exp.to_table(model.name).db == exp.to_table(hub_model.name).db
    if model.name not in hub_model.model.depends_on and not (satellites and of_hub):
        raise SQLMeshError(
            f"{table.sql('duckdb')} is no feed of {hub_table.sql('duckdb')}: add it to that hub's feeds, "
            "or the hub does not know when a key was first delivered"
        )


def _must_be_the_key(evaluator: MacroEvaluator, columns: Sequence[str], hub_table: exp.Expression) -> None:
    """Raise SQLMeshError where a link names a hub by other columns than its key: a feed may bring those apart."""
    hub_model = evaluator.get_snapshot(hub_table.sql("duckdb"))
    if hub_model is None:
        return
    given = next((one for one in hub_model.model.query.find_all(exp.PropertyEQ) if one.this.name == "key"), None)
    key = [column.name for column in _items(given.expression)] if given is not None else list(columns)
    if key != list(columns):
        name, given_as = hub_table.sql("duckdb"), ", ".join([f"`{columns[0]}`", *columns[1:]])
        raise SQLMeshError(
            f"{name} is named by {given_as}, its key is {', '.join(key)}: give another role of it a hub of its own, or "
            "stage a feed that has the key under its name"
        )


def _must_be_kept_by(evaluator: MacroEvaluator, kind: str, key: Sequence[str], version: Sequence[str] = ()) -> None:
    """Raise SQLMeshError where the model's kind does not keep the rows that its macro returns."""
    own = evaluator.get_snapshot(evaluator.this_model_fqn) if evaluator.locals.get("this_model") else None
    if own is None:
        return
    properties = own.model.custom_materialization_properties if own.model.kind.is_custom else {}
    given = {
        name: {one.name.lower() for one in _items(properties[name])}
        for name in ("key", "version")
        if name in properties
    }
    if (
        not own.model.kind.is_custom
        or own.model.kind.materialization.lower() != kind
        or given.get("key") != {name.lower() for name in key}
        or not set(version) <= given.get("version", set())
    ):
        wanted = {"key": key, **({"version": version} if version else {})}
        listed = ", ".join(f"{name} = ({', '.join(of)})" for name, of in wanted.items())
        raise SQLMeshError(
            f"its rows are kept by kind CUSTOM (`materialization` '{kind}', materialization_properties ({listed}))"
        )


def _must_have(evaluator: MacroEvaluator, table: exp.Expression, expressions: Sequence[exp.Expression]) -> None:
    """Raise SQLMeshError for the first column of the expressions that a feed does not have."""
    snapshot = evaluator.get_snapshot(table.sql("duckdb"))
    known = {name.lower() for name in (snapshot.model.columns_to_types or ())} if snapshot is not None else set()
    if not known or "*" in known:
        return
    for expression in expressions:
        for column in expression.find_all(exp.Column):
            if column.name.lower() not in known:
                raise SQLMeshError(f"{table.sql('duckdb')} has no column `{column.name}`")


def _hub_column(table: str) -> str:
    """Return the column in which `vault.hub_asset`, or what names it, has its hash key: asset_hk."""
    name = table.rsplit(".", maxsplit=1)[-1].strip('"')
    return f"{name.removeprefix('hub_')}_hk"


def _names(value: exp.Expression) -> list[str]:
    return [item.sql(dialect="duckdb") for item in _items(value)]
