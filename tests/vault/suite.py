"""Plays cases.yaml: a case lands rows, runs models and says what the vault must hold then.

    doc = read("cases.yaml")
    for case in doc.cases:
        assert play(doc, case, adapter) == []

An adapter has `reset, alter, land, run, rows` (see adapter.py). Rows name business keys, never hashes:
`@customer.customer_id` stands for the hub_customer row that the row's customer_hk points to. Both sides of a
comparison are brought to one form first: numbers, UTC instants, dates, folded keys, trimmed text of which '' is NULL.
"""

from __future__ import annotations

import random
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any, Protocol

import yaml

HUBS: Mapping[str, tuple[str, ...]] = {
    "customer": ("customer_id",),
    "company": ("company_id",),
    "asset": ("asset_symbol", "asset_type"),
    "transaction": ("transaction_id",),
    "news": ("url",),
}
LINKS: Mapping[str, tuple[str, str]] = {
    "link_customer_transaction": ("customer", "transaction"),
    "link_company_transaction": ("company", "transaction"),
    "link_customer_company": ("customer", "company"),
    "link_transaction_asset": ("transaction", "asset"),
    "link_news_asset": ("news", "asset"),
}
SATELLITES: Mapping[str, str] = {
    "sat_customer_profile": "customer",
    "sat_company_details": "company",
    "sat_transaction_personal": "transaction",
    "sat_transaction_corp": "transaction",
    "sat_asset_price_crypto": "asset",
    "sat_asset_price_stock": "asset",
    "sat_news_content": "news",
}
VAULT = (*(f"hub_{hub}" for hub in HUBS), *LINKS, *SATELLITES)
SNAPSHOT = (*VAULT, "fct_transactions", "dim_customer_history")
SHUFFLES = 2
KEYS = frozenset(column for columns in HUBS.values() for column in columns)
WHITE_SPACE = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
"""Unicode's White_Space; Python's own strip() takes four control characters more."""
END = datetime(9999, 12, 31, tzinfo=UTC)

Row = Mapping[str, Any]
Tables = dict[str, "Counter[tuple[tuple[str, str], ...]]"]


class Adapter(Protocol):
    """What a case is played on."""

    def reset(self, types: Mapping[str, Any], raw_defaults: Mapping[str, Any]) -> None: ...
    def alter(self, raw_table: str, added_columns: Sequence[str]) -> None: ...
    def land(self, raw_table: str, rows: Sequence[Row]) -> None: ...
    def run(self, models: str | Sequence[str]) -> None: ...
    def rows(self, logical_table: str) -> list[dict[str, Any]]: ...


@dataclass(frozen=True)
class Document:
    """A file of cases: column -> its type, raw table -> a row's defaults, the cases as written."""

    types: Mapping[str, str]
    kinds: Mapping[str, Sequence[str]]
    raw_defaults: Mapping[str, Mapping[str, Any]]
    cases: tuple[Mapping[str, Any], ...]

    def case(self, case_id: str) -> Mapping[str, Any]:
        """Return the case of this id; KeyError if there is none."""
        return {case["id"]: case for case in self.cases}[case_id]


def read(path: Path, base: Document | None = None) -> Document:
    """Read a file of cases; with `base`, its defaults are taken and the file's own types come beside its types."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    kinds = dict(content["types"])
    for kind, columns in base.kinds.items() if base else ():
        kinds[kind] = [*columns, *kinds.get(kind, ())]
    defaults = content.get("raw_defaults") or (base.raw_defaults if base else {})
    types = {column: kind for kind, columns in kinds.items() for column in columns}
    return Document(types, kinds, defaults, tuple(content["cases"]))


def play(doc: Document, case: Mapping[str, Any], adapter: Adapter) -> list[str]:
    """Play a case in every way it asks for; return what is wrong, nothing if all is well."""
    one = Play(doc, case, adapter)
    wrong = one.through()
    if wrong or not (case.get("permute") or case.get("compare_runs")):
        return wrong
    in_order = one.state(VAULT)
    for seed in range(SHUFFLES if case.get("permute") else 0):
        shuffled = Play(doc, case, adapter, random.Random(seed))
        wrong += [f"rows shuffled with seed {seed}: {what}" for what in shuffled.through()]
        if shuffled.state(VAULT) != in_order:
            wrong.append(f"rows shuffled with seed {seed}: another vault than in the order written")
    if case.get("compare_runs"):
        wrong += [f"everything landed first, one run: {what}" for what in Play(doc, case, adapter).at_once()]
    return wrong


class Play:
    """One pass through a case; with `shuffle` each landing's rows come in another order."""

    def __init__(
        self, doc: Document, case: Mapping[str, Any], adapter: Adapter, shuffle: random.Random | None = None
    ) -> None:
        """Nothing is done yet."""
        self._doc, self._case, self._adapter, self._shuffle = doc, case, adapter, shuffle
        self._defaults = {table: dict(row) for table, row in doc.raw_defaults.items()}
        self._snapshots: dict[str, Tables] = {}

    def through(self) -> list[str]:
        """Take every step in order."""
        return self._take(self._case["steps"])

    def at_once(self) -> list[str]:
        """Land everything, run once, check what the last check says."""
        steps = self._case["steps"]
        first = [step for step in steps if "land" in step or "alter" in step]
        last = [step for step in steps if "check" in step][-1]
        return self._take([*first, {"run": "all"}, last])

    def state(self, tables: Iterable[str]) -> Tables:
        """Return each table's rows but for lineage columns and ghosts, in no order."""
        return {
            table: Counter(
                tuple(sorted((name, str(value)) for name, value in row.items() if not name.startswith("_")))
                for row in business(self._adapter, table)
            )
            for table in tables
        }

    def _take(self, steps: Iterable[Mapping[str, Any]]) -> list[str]:
        self._adapter.reset(self._doc.kinds, self._defaults)
        for table, columns in (self._case.get("schema") or {}).items():
            self._alter(table, columns["add"])
        wrong: list[str] = []
        for number, step in enumerate(steps, 1):
            wrong += [f"step {number}: {what}" for what in self._step(step)]
        return wrong

    def _step(self, step: Mapping[str, Any]) -> list[str]:
        ((kind, what),) = step.items()
        if kind == "land":
            for table, rows in what.items():
                self._land(table, rows)
        elif kind == "alter":
            for table, columns in what.items():
                self._alter(table, columns["add"])
        elif kind == "run":
            self._adapter.run(what)
        elif kind == "snapshot":
            self._snapshots[what] = self.state(SNAPSHOT)
        elif kind == "check":
            return self._check(what)
        else:
            raise ValueError(f"a case has no step {kind!r}")
        return []

    def _land(self, table: str, rows: Sequence[Row]) -> None:
        full = [{**self._defaults[table], **{name: written(value) for name, value in row.items()}} for row in rows]
        if self._shuffle is not None:
            self._shuffle.shuffle(full)
        self._adapter.land(table, full)

    def _alter(self, table: str, columns: Sequence[str]) -> None:
        self._adapter.alter(table, columns)
        for column in columns:
            self._defaults[table].setdefault(column, None)

    def _check(self, check: Mapping[str, Any]) -> list[str]:
        view = View(self._doc, self._adapter)
        wrong: list[str] = []
        for kind, what in check.items():
            if kind == "same_as":
                before, now = self._snapshots[what], self.state(SNAPSHOT)
                wrong += [f"{table} is not as it was at {what!r}" for table in now if now[table] != before[table]]
            else:
                wrong += CHECKS[kind](view, what)
        return wrong


class View:
    """The tables as a check sees them: no ghosts, values in one form, hash keys followed to their hubs."""

    def __init__(self, doc: Document, adapter: Adapter) -> None:
        """Read each table when it is asked for, once."""
        self._doc, self._adapter = doc, adapter
        self._hubs: dict[str, dict[Any, Row]] = {}
        self._tables: dict[str, list[dict[str, Any]]] = {}

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return a table's rows without ghosts."""
        if table not in self._tables:
            self._tables[table] = business(self._adapter, table)
        return self._tables[table]

    def ghosts(self, table: str) -> int:
        """Return how many ghost rows a table has."""
        return sum(is_ghost(row) for row in self._adapter.rows(table))

    def hub(self, name: str) -> dict[Any, Row]:
        """Return a hub's rows by their hash key."""
        if name not in self._hubs:
            self._hubs[name] = {row[f"{name}_hk"]: row for row in self._adapter.rows(f"hub_{name}")}
        return self._hubs[name]

    def value(self, row: Row, column: str) -> Any:
        """Return a row's value of `column`, or of `@hub.column`, in one form."""
        if not column.startswith("@"):
            return self.form(column, row[column])
        hub, name = column[1:].split(".")
        key = row[f"{hub}_hk"]
        if key is None:
            return None
        found = self.hub(hub).get(key)
        return self.form(name, found[name]) if found else "(not in the hub)"

    def form(self, column: str, value: Any) -> Any:
        """Return a value in the form in which both sides are compared."""
        name = column.rsplit(".", 1)[-1]
        return form(name, self._doc.types.get(name, "text"), written(value))


def rows_are(view: View, what: Mapping[str, Any]) -> list[str]:
    """Each table has exactly these rows, in no order."""
    wrong = []
    for table, expected in what.items():
        columns = expected["cols"]
        wanted = Counter(
            tuple(view.form(name, value) for name, value in zip(columns, row, strict=True)) for row in expected["rows"]
        )
        found = Counter(tuple(view.value(row, column) for column in columns) for row in view.rows(table))
        if found != wanted:
            wrong.append(f"{table} lacks {shown(wanted - found)} and has {shown(found - wanted)}")
    return wrong


def counts_are(view: View, what: Mapping[str, int]) -> list[str]:
    """Each table has this many rows."""
    found = {table: len(view.rows(table)) for table in what}
    return [f"{table} has {found[table]} rows, not {count}" for table, count in what.items() if found[table] != count]


def is_unique(view: View, what: Mapping[str, Sequence[str]]) -> list[str]:
    """No two rows of a table are equal in these columns."""
    wrong = []
    for table, columns in what.items():
        seen = Counter(tuple(row[column] for column in columns) for row in view.rows(table))
        wrong += [f"{table} has {count} rows of one {columns}" for count in seen.values() if count > 1]
    return wrong


def was_at(view: View, what: Sequence[Mapping[str, Any]]) -> list[str]:
    """At a time, a satellite said this of a key: the version with the latest load time up to then."""
    wrong = []
    for point in what:
        hub, at = SATELLITES[point["sat"]], instant(point["at"])
        versions = [
            row
            for row in view.rows(point["sat"])
            if instant(row["load_timestamp"]) <= at
            and all(view.value(row, f"@{hub}.{name}") == view.form(name, value) for name, value in point["key"].items())
        ]
        version = max(versions, key=lambda row: instant(row["load_timestamp"]), default=None)
        expected = point["expect"]
        if expected is None or version is None:
            if version is not expected:
                wrong.append(f"{point['sat']} of {point['key']} at {point['at']} is {version}, not {expected}")
            continue
        for name, value in expected.items():
            if view.value(version, name) != view.form(name, value):
                wrong.append(f"{name} of {point['key']} at {point['at']} is {version[name]!r}, not {value!r}")
    return wrong


def no_overlap(view: View, what: Mapping[str, str]) -> list[str]:
    """The half-open spans of each key follow one another without gap or overlap; the last is open."""
    spans: dict[Any, list[tuple[datetime, datetime]]] = defaultdict(list)
    for row in view.rows(what["table"]):
        until = row[what["to"]]
        span = instant(row[what["from"]]), END if until is None else instant(until)
        spans[view.value(row, what["key"])].append(span)
    wrong = []
    for key, found in spans.items():
        found.sort()
        ends, starts = [end for _, end in found], [start for start, _ in found]
        if any(start >= end for start, end in found) or ends[:-1] != starts[1:]:
            wrong.append(f"{what['table']}: the spans of {key} have a gap or overlap: {found}")
        if sum(end.year == END.year for end in ends) != 1:
            wrong.append(f"{what['table']}: {key} has not exactly one current span")
    return wrong


def ghosts_at_most(view: View, what: Mapping[str, int]) -> list[str]:
    """A satellite has no more ghosts than this."""
    found = {table: view.ghosts(table) for table in what}
    return [f"{table} has {found[table]} ghosts" for table, most in what.items() if found[table] > most]


def is_whole(view: View, what: bool) -> list[str]:  # noqa: FBT001 - the YAML says `integrity: true`
    """Hub keys are there and unique; every link and satellite points to rows of its hubs."""
    del what
    wrong = []
    for hub in HUBS:
        keys = [row[f"{hub}_hk"] for row in view.rows(f"hub_{hub}")]
        if None in keys or len(set(keys)) != len(keys):
            wrong.append(f"hub_{hub} has a hash key that is null or there twice")
    ends: dict[str, Sequence[str]] = {**LINKS, **{name: (hub,) for name, hub in SATELLITES.items()}}
    for table, hubs in ends.items():
        wrong += [
            f"{table} has an orphan: no {hub} of {row[f'{hub}_hk']}"
            for row in view.rows(table)
            for hub in hubs
            if row[f"{hub}_hk"] not in view.hub(hub)
        ]
    return wrong


CHECKS: Mapping[str, Callable[[View, Any], list[str]]] = {
    "rows": rows_are,
    "count": counts_are,
    "unique": is_unique,
    "as_of": was_at,
    "no_overlap": no_overlap,
    "ghost_at_most": ghosts_at_most,
    "integrity": is_whole,
}


def business(adapter: Adapter, table: str) -> list[dict[str, Any]]:
    """Return a table's rows without ghosts."""
    return [row for row in adapter.rows(table) if not is_ghost(row)]


def is_ghost(row: Row) -> bool:
    """Whether a row stands for "unknown": its first hash key is all zeros, or the system itself recorded it."""
    source = str(row.get("record_source") or "").upper()
    key = next((value for name, value in row.items() if name.endswith("_hk")), None)
    digits = key.hex() if isinstance(key, bytes | bytearray) else str(key or "")
    return source.startswith(("SYSTEM", "GHOST")) or (len(digits) >= 16 and set(digits) == {"0"})


def written(value: Any) -> Any:
    """Return what a cell of a case stands for: `{repeat: [a, b, n, z]}` is a + b*n + z."""
    if isinstance(value, dict):
        start, part, times, end = value["repeat"]
        return start + part * times + end
    return value


def form(column: str, kind: str, value: Any) -> Any:
    """Return a value of a column of this type, so that equal values are equal in Python."""
    if value is None:
        return None
    if kind == "text":
        return folded(column, str(value)) if column in KEYS else str(value).strip(WHITE_SPACE) or None
    return FORMS[kind](value)


def number(value: Any) -> Decimal | None:
    """Return a number with 18 places; None for NaN and the infinities."""
    with localcontext() as context:
        context.prec = 80
        found = Decimal(str(value).strip())
        return found.quantize(Decimal("1e-18")) + 0 if found.is_finite() else None


def instant(value: Any) -> datetime:
    """Return an instant in UTC; what has no offset is UTC."""
    found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def day(value: Any) -> date:
    """Return a date."""
    return value if type(value) is date else date.fromisoformat(str(value).strip()[:10])


def truth(value: Any) -> bool:
    """Return a boolean, given as such or as text."""
    return value if isinstance(value, bool) else str(value).strip().lower() in {"true", "t", "1"}


FORMS: Mapping[str, Callable[[Any], Any]] = {
    "decimal": number,
    "timestamp": instant,
    "date": day,
    "integer": int,
    "boolean": truth,
}


def folded(column: str, value: str) -> str | None:
    """Return a business key as the contract folds it: trimmed, NFC, ASCII letters in one case; a URL only trimmed."""
    if column == "url":
        return value.strip(WHITE_SPACE) or None
    text = unicodedata.normalize("NFC", value.strip(WHITE_SPACE))
    lower = column == "asset_type"
    other_case = str.lower if lower else str.upper
    return "".join(other_case(letter) if letter.isascii() else letter for letter in text) or None


def shown(rows: Counter[tuple[Any, ...]]) -> list[tuple[str, ...]]:
    """Return rows short enough for a message."""
    return [tuple(str(value)[:40] for value in row) for row in rows.elements()]
