"""Load packages for the destinations' tests: made of Arrow tables, laid out as the lake lays them out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from engine.errors import LakeError
from engine.lake.package import Entry, Manifest, Package, PackageFile
from engine.table import LINEAGE_COLUMNS, QUARANTINE_COLUMNS, Column, Table
from engine.timeseries import TimeSeries

ARROW = {
    "text": pa.string(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "decimal": pa.decimal128(38, 18),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "json": pa.string(),
}
PRICES = Table(
    "raw_prices",
    (
        Column("symbol", "text", nullable=False),
        Column("price", "decimal"),
        Column("trades", "bigint"),
        Column("observed_at", "timestamp"),
    ),
    primary_key=("symbol", "observed_at"),
    timeseries=TimeSeries("observed_at", timedelta(days=1)),  # only a destination of type timescaledb reads it
)
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def arrow_rows(columns: Sequence[Column], rows: Sequence[dict[str, object]]) -> pa.Table:
    """Type rows by their columns; a missing key is null."""
    schema = pa.schema([(column.name, ARROW[column.data_type]) for column in columns])
    return pa.Table.from_pylist([{c.name: row.get(c.name) for c in columns} for row in rows], schema=schema)


def price_rows(start: int, count: int) -> list[dict[str, object]]:
    """Rows that differ in every column and are exact to the last digit."""
    return [
        {
            "symbol": f"S{number}",
            "price": Decimal(number) + Decimal("0.000000000000000001"),
            "trades": number,
            "observed_at": datetime(2026, 5, 1, 12, 0, 0, number % 1_000_000, tzinfo=UTC),
        }
        for number in range(start, start + count)
    ]


@dataclass
class FolderLake:
    """The lake's reading side over a folder: head, entries, open. `broken` are sequence numbers that fail to open."""

    root: Path
    packages: dict[str, list[Package]] = field(default_factory=dict)
    broken: set[tuple[str, int]] = field(default_factory=set)

    def head(self, table: str) -> Entry | None:
        packages = self.packages.get(table)
        return packages[-1].entry if packages else None

    def entries(self, table: str, after: int = 0, limit: int | None = None) -> Iterator[Entry]:
        yield from [package.entry for package in self.packages.get(table, [])[after:]][:limit]

    def open(self, entry: Entry) -> Package:
        if (entry.table, entry.seq) in self.broken:
            raise LakeError(f"package {entry.load_id} was changed after it was landed", "Restore it.")
        return self.packages[entry.table][entry.seq - 1]

    def manifest(self, entry: Entry) -> Manifest:
        return self.open(entry).manifest

    def land(
        self,
        rows: Sequence[dict[str, object]] | pa.Table,
        table: Table = PRICES,
        *,
        columns: Sequence[Column] | None = None,
        quarantined: Sequence[dict[str, object]] = (),
        file_format: str = "parquet",
        schema: Sequence[Column] | None = None,
    ) -> Package:
        """Write one package. `columns` are the file's own, `schema` the manifest's (both default to the table's)."""
        own = [*(columns or table.columns), *LINEAGE_COLUMNS]
        seq = len(self.packages.setdefault(table.name, [])) + 1
        load_id = f"{table.name}-{seq:06}"
        folder = self.root / "src" / table.name / "2026-05-01" / load_id
        folder.mkdir(parents=True)
        lineage = {"source": "src", "load_timestamp": NOON, "_load_id": load_id, "_run_id": "run-1"}
        if not isinstance(rows, pa.Table):
            rows = arrow_rows(own, [{**lineage, **row} for row in rows])
        bad = arrow_rows(QUARANTINE_COLUMNS, [{**lineage, **row} for row in quarantined])
        files = [self._write(folder, "part-00000", rows, file_format, quarantine=False)]
        if quarantined:
            files.append(self._write(folder, "quarantine-00000", bad, file_format, quarantine=True))
        manifest = Manifest(
            load_id=load_id,
            run_id="run-1",
            source="src",
            resource="prices",
            table=table.name,
            format=file_format,
            rows=rows.num_rows,
            quarantined=bad.num_rows,
            bytes=sum(file.bytes for file in files),
            extracted_from=NOON,
            extracted_to=NOON,
            files=tuple(files),
            columns=(*(schema or columns or table.columns), *LINEAGE_COLUMNS),
        )
        entry = Entry(
            seq=seq,
            load_id=load_id,
            path=str(folder.relative_to(self.root)),
            source="src",
            resource="prices",
            table=table.name,
            rows=manifest.rows,
            quarantined=manifest.quarantined,
            bytes=manifest.bytes,
            committed_at=NOON,
            manifest_sha256="",
            last_by_source={"src/prices": seq},
        )
        package = Package(entry, manifest, tuple(str(folder / file.name) for file in files))
        self.packages[table.name].append(package)
        return package

    def checksums(self) -> dict[str, str]:
        """Content of every file of the lake."""
        return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in self.root.rglob("*") if p.is_file()}

    def _write(self, folder: Path, stem: str, rows: pa.Table, file_format: str, *, quarantine: bool) -> PackageFile:
        path = folder / f"{stem}.{file_format}"
        if file_format == "parquet":
            pq.write_table(rows, path)
        else:
            csv.write_csv(rows, path, csv.WriteOptions(quoting_style="needed"))
        content = path.read_bytes()
        return PackageFile(path.name, rows.num_rows, len(content), hashlib.sha256(content).hexdigest(), quarantine)
