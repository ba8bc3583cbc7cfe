"""The asset lists, resolved: rows of a CSV file, then the assets written in pipelines.yaml."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.config.document import LINE_BREAK, Document, KeyPath, YamlValue
from engine.config.models import AssetList, InlineAsset, ProjectFile
from engine.config.problems import Position, Problem, Text, choices, did_you_mean
from engine.table import LINEAGE_COLUMNS
from sources.protocol import ASSET_FIELDS, Asset

SEED_FILE = "transforms/seeds/assets.csv"
FIXED_COLUMNS = ("asset_symbol", "asset_type", "asset_name", "asset_category")
USUAL_COLUMNS = ("binance", "coingecko", "yfinance", "freecryptoapi")
ASSET_TYPES = ("crypto", "stock")
MAX_FILE_BYTES = 20_000_000
MAX_SYMBOL = 64
COLUMN_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
ASSET_REFERENCE = re.compile(r"(?:\{\s*|\A)assets\.([^{}.|]+)(?:\.([^{}.|]+))?(?:[|}]|\Z)")
RESERVED = frozenset({*FIXED_COLUMNS, *ASSET_FIELDS, *(column.name for column in LINEAGE_COLUMNS)})


@dataclass(frozen=True, slots=True)
class AssetFile:
    """A CSV file of assets: its columns, and (line, row) pairs with texts trimmed."""

    text: Text
    columns: tuple[str, ...]
    rows: tuple[tuple[int, Mapping[str, str]], ...]

    @property
    def symbol_columns(self) -> tuple[str, ...]:
        """Columns that hold the symbol at a source."""
        return tuple(column for column in self.columns if column not in FIXED_COLUMNS)


@dataclass(slots=True)
class AssetResolver:
    """Resolves every list of a project. What is wrong is collected in `problems`."""

    document: Document
    project_dir: Path
    problems: list[Problem] = field(default_factory=list)
    positions: dict[tuple[str, str, str], KeyPath] = field(default_factory=dict)
    """Where each (list, type, symbol) comes from: its own place in the YAML, or the list's."""
    files: dict[str, AssetFile | None] = field(default_factory=dict)

    def resolve(self, file: ProjectFile) -> dict[str, tuple[Asset, ...]]:
        """Return the lists by name; a list with a problem may be incomplete."""
        for name, block in file.assets.items():
            if block.file is not None:
                self._file(block.file, ("assets", name, "file"))
        return {name: tuple(self._list(name, block)) for name, block in file.assets.items()}

    def _list(self, name: str, block: AssetList) -> list[Asset]:
        path: KeyPath = ("assets", name)
        before = len(self.problems)
        chosen: dict[tuple[str, str], Asset] = {}
        if block.file is not None and (table := self.files.get(block.file)) is not None:
            for asset in self._selected(table, block, path):
                chosen[asset.asset_type, asset.symbol] = asset
                self.positions[name, asset.asset_type, asset.symbol] = (*path, "file")
        added: set[tuple[str, str]] = set()
        for index, item in enumerate(block.add):
            asset_or_none = self._inline(item, block, (*path, "add", index))
            if asset_or_none is None:
                continue
            key = (asset_or_none.asset_type, asset_or_none.symbol)
            if key in added:
                reason = f"the asset {key[1]!r} stands twice in this list: a duplicate"
                self._add((*path, "add", index), reason, "Fix it: remove one of the two.")
            added.add(key)
            chosen[key] = asset_or_none
            self.positions[name, *key] = (*path, "add", index)
        if not chosen and len(self.problems) == before:
            reason = f"the asset list {name!r} is empty"
            self._add(path, reason, "Set `file:` (check `where:`) or `add:` so that it has an asset.", key=True)
        return list(chosen.values())

    def _selected(self, table: AssetFile, block: AssetList, path: KeyPath) -> list[Asset]:
        for column in block.where:
            if column not in table.columns:
                remedy = f"{did_you_mean(column, table.columns)}Columns of {block.file}: {choices(table.columns)}."
                self._add((*path, "where", column), f"unknown column {column!r}", remedy, key=True)
                return []
        rows = [row for _, row in table.rows if all(row[column] == value for column, value in block.where.items())]
        return [_asset(row) for row in rows[: block.top]]

    def _inline(self, item: str | InlineAsset, block: AssetList, path: KeyPath) -> Asset | None:
        given = {"symbol": item} if isinstance(item, str) else item.model_dump(exclude_unset=True)
        symbol = str(given.pop("symbol"))
        symbol_path = path if isinstance(item, str) else (*path, "symbol")
        if reason := _bad_symbol(symbol):
            self._add(symbol_path, reason, "Set the symbol as the market writes it, such as BTC or BRK-B.")
            return None
        asset_type = given.pop("asset_type", None) or block.asset_type or block.where.get("asset_type")
        if asset_type not in ASSET_TYPES:
            self._add(
                path, f"the type of the asset {symbol!r} is not known", "Set `asset_type: crypto` or stock on the list."
            )
            return None
        known = self._symbol_columns()
        at_sources = _source_columns(self.document.value)
        for key in [key for key in given if key not in {"name", "category", *known, *at_sources}]:
            options = {*ASSET_FIELDS, *known, *at_sources}
            remedy = f"{did_you_mean(key, options)}Keys here: {choices(options)}."
            self._add((*path, key), f"unknown key {key!r}", remedy, key=True)
            return None
        known += [key for key in given if key in at_sources and key not in known]
        seed = self._seed_row(block, asset_type, symbol)
        named = {key: str(given[key]).strip() for key in given if key in known}
        usual = {} if named else usual_symbols(asset_type, symbol)
        symbols = {**dict.fromkeys(known, ""), **(seed.symbols if seed else usual), **named}
        for key in known:
            if symbols[key] and (reason := _bad_symbol(symbols[key])):
                self._add((*path, key), reason, "Set the symbol as the source writes it.")
                return None
        name, category = given.get("name"), given.get("category")
        return Asset(
            symbol=symbol,
            asset_type=asset_type,
            name=name if name is not None else (seed.name if seed else symbol),
            category=category if category is not None else (seed.category if seed else ""),
            symbols=symbols,
        )

    def _symbol_columns(self) -> list[str]:
        columns = dict.fromkeys(USUAL_COLUMNS)
        for table in self.files.values():
            columns |= dict.fromkeys(table.symbol_columns if table else ())
        return list(columns)

    def _seed_row(self, block: AssetList, asset_type: str, symbol: str) -> Asset | None:
        name = block.file or SEED_FILE
        if name not in self.files and (self.project_dir / name).is_file():
            self._file(name, ("assets",))
        table = self.files.get(name)
        for _, row in table.rows if table else ():
            if (row["asset_type"], row["asset_symbol"]) == (asset_type, symbol):
                return _asset(row)
        return None

    def _add(self, path: KeyPath, reason: str, remedy: str, *, key: bool = False) -> None:
        self.problems.append(self.document.problem(path, reason, remedy, key=key))

    def _file(self, name: str, path: KeyPath) -> None:
        """Read a CSV file once."""
        if name in self.files:
            return
        self.files[name] = None
        try:
            with (self.project_dir / name).open("rb") as stream:
                data = stream.read(MAX_FILE_BYTES + 1)
            content = data.decode("utf-8-sig")
            if "\0" in content:
                raise ValueError(name)
        except OSError as error:
            reason = f"the assets file {name!r} cannot be read: {error.strerror or error}"
            self._add(path, reason, "Check the path; it starts at the folder of pipelines.yaml.")
            return
        except (UnicodeDecodeError, ValueError):
            self._add(path, f"the assets file {name!r} is not UTF-8 text", "Set its encoding to UTF-8 in the editor.")
            return
        if len(data) > MAX_FILE_BYTES:
            self._add(path, f"the assets file {name!r} is larger than 20 MB", "Set a smaller file.")
            return
        table, problems = read_assets(name, content)
        self.problems += problems
        self.files[name] = table


def read_assets(name: str, content: str) -> tuple[AssetFile | None, list[Problem]]:
    """Read the text of an assets file; problems carry the file's own lines."""
    text = Text(name, tuple(LINE_BREAK.split(content)))
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)

    def problem(line: int, reason: str, remedy: str, path: str = "") -> Problem:
        return Problem(text, Position(max(line, 1), 1, len(text.lines[max(line, 1) - 1]) or 1), path, reason, remedy)

    try:
        header = [column.strip() for column in next(reader, [])]
        lines = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        return None, [problem(reader.line_num, f"not CSV: {error}", "Check the quotes on this line.")]
    missing = [column for column in FIXED_COLUMNS if column not in header]
    if missing:
        remedy = f"Set the first line to {','.join((*FIXED_COLUMNS, *USUAL_COLUMNS))}."
        return None, [problem(1, f"the column {missing[0]!r} is missing", remedy)]
    wrong = next((column for column in header if not COLUMN_NAME.match(column)), None)
    if wrong is not None or len(set(header)) < len(header):
        said = (
            f"the column name {wrong!r} is not allowed"
            if wrong is not None
            else "a column name stands twice: a duplicate"
        )
        return None, [problem(1, said, "Set column names in lower case (a-z, 0-9, _), each once.")]
    rows: list[tuple[int, Mapping[str, str]]] = []
    problems: list[Problem] = []
    seen: dict[tuple[str, str], int] = {}
    for line, values in lines:
        if not any(value.strip() for value in values):
            continue
        row = dict(zip(header, (value.strip() for value in values), strict=False))
        key = (row.get("asset_type", ""), row.get("asset_symbol", ""))
        said = _bad_row(row, len(values), len(header))
        if not said and key in seen:
            said = f"the asset {key[1]!r} stands twice, on lines {seen[key]} and {line}: a duplicate"
        if said:
            problems.append(problem(line, said, "Fix this line.", key[1] if key[1].isprintable() else ""))
            continue
        seen[key] = line
        rows.append((line, row))
    return AssetFile(text, tuple(header), tuple(rows)), problems


def _bad_row(row: Mapping[str, str], found: int, wanted: int) -> str:
    if found != wanted:
        return f"{found} values for {wanted} columns"
    if row["asset_type"] not in ASSET_TYPES:
        return f"asset_type {row['asset_type'][:40]!r} is neither crypto nor stock"
    symbols = [row["asset_symbol"], *(row[column] for column in row if column not in FIXED_COLUMNS and row[column])]
    return next((reason for symbol in symbols if (reason := _bad_symbol(symbol))), "")


def _bad_symbol(symbol: str) -> str:
    """Why a symbol is refused; empty when it is fine."""
    if not symbol.strip() or symbol != symbol.strip():
        return "an asset symbol is empty or has spaces around it"
    if len(symbol) > MAX_SYMBOL:
        return f"an asset symbol has more than {MAX_SYMBOL} characters"
    if not symbol.isprintable():
        return f"the asset symbol name {symbol!r} has control characters"
    return ""


def _asset(row: Mapping[str, str]) -> Asset:
    return Asset(
        symbol=row["asset_symbol"],
        asset_type=row["asset_type"],
        name=row["asset_name"],
        category=row["asset_category"],
        symbols={column: value for column, value in row.items() if column not in FIXED_COLUMNS},
    )


def usual_symbols(asset_type: str, symbol: str) -> dict[str, str]:
    """Symbols by the sources' own rules, for an asset that no file knows. CoinGecko's ids cannot be derived."""
    if asset_type == "stock":
        return {"yfinance": symbol}
    return {"binance": f"{symbol}USDT", "yfinance": f"{symbol}-USD", "freecryptoapi": symbol}


def _source_columns(value: YamlValue) -> set[str]:
    """Columns that the file's own sources give a meaning: their names, and what they read by `assets.LIST.COLUMN`."""
    sources = value.get("sources") if isinstance(value, dict) else None
    if not isinstance(sources, dict):
        return set()
    columns = {*sources, *(column for text in _texts(sources) for _, column in ASSET_REFERENCE.findall(text))}
    return {column for column in columns if COLUMN_NAME.match(column)} - RESERVED


def _texts(value: YamlValue) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def asset_columns(assets: Mapping[str, Any]) -> set[str]:
    """Every symbol column that some asset has."""
    return {column for listed in assets.values() for asset in listed for column in asset.symbols}
