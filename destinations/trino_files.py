"""Where the files of Trino's landing tables lie: package files under names of the tables' own, for `add_files`.

    <files>/<table>/<load_id>/<load_id>.<file>     or, of many packages at once, <files>/<table>/<first>-<last>/...

What stands there belongs to the tables: dropping one removes its files, and never a package. A file of the lake is
linked (copied to S3) as it is, unless it is CSV or has a column that the table stores wider: then it is written anew.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from destinations.links import link, sync_directory
from destinations.package_rows import LandedFile, arrow_type, csv_rows, fit_of_file
from destinations.trino_settings import S3, TrinoSettings
from engine.errors import DestinationError
from engine.table import DataType


class Files(Protocol):
    """A place that Trino reads too. `where` names it in errors."""

    where: str

    def put(self, folder: str, files: Sequence[tuple[str, Path]]) -> str:
        """Put files (name, path) there, alone in `folder`; return the folder's URL for Trino."""

    def remove(self, folder: str) -> None:
        """Remove a folder with all that is in it."""


def open_files(settings: TrinoSettings, project_dir: Path) -> Files:
    """Return the place that `files:` names."""
    if settings.files.startswith(S3):
        return Bucket(settings)
    return Folder((project_dir / settings.files.removeprefix("file://")).absolute())


class Folder:
    """A folder of this machine; Trino runs here as well, and may read what this user writes."""

    def __init__(self, root: Path) -> None:
        """Made with the first file."""
        self._root, self.where = root, str(root)

    def put(self, folder: str, files: Sequence[tuple[str, Path]]) -> str:
        """Link the files."""
        self.remove(folder)
        target = self._root / folder
        target.mkdir(parents=True)
        for name, path in files:
            link(path, target / name)
        sync_directory(target)
        return f"file://{target}"

    def remove(self, folder: str) -> None:
        """Remove the links."""
        shutil.rmtree(self._root / folder, ignore_errors=True)


class Bucket:
    """A prefix of a bucket."""

    def __init__(self, settings: TrinoSettings) -> None:
        """Connects with the first file."""
        import s3fs

        self._root, self.where = settings.files.removeprefix(S3).strip("/"), settings.files
        self._fs: Any = s3fs.S3FileSystem(
            key=settings.access_key.get_secret_value() if settings.access_key else None,
            secret=settings.secret_key.get_secret_value() if settings.secret_key else None,
            endpoint_url=settings.endpoint,
            client_kwargs={"region_name": settings.region},
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def look(self) -> None:
        """Read the bucket's beginning; raises what s3fs says where that cannot be."""
        self._fs.call_s3("list_objects_v2", Bucket=self._root.partition("/")[0], MaxKeys=1)

    def put(self, folder: str, files: Sequence[tuple[str, Path]]) -> str:
        """Upload the files."""
        self.remove(folder)
        for name, path in files:
            self._fs.put_file(str(path), f"{self._root}/{folder}/{name}")
        return f"{S3}{self._root}/{folder}"

    def remove(self, folder: str) -> None:
        """Remove the objects."""
        if self._fs.exists(f"{self._root}/{folder}"):
            self._fs.rm(f"{self._root}/{folder}", recursive=True)


def place(
    files: Files,
    destination: str,
    folder: str,
    landed: Sequence[LandedFile],
    types: Mapping[str, tuple[str, DataType]],
) -> str:
    """Put package files into a folder of `files`, as the table stores them; return its URL for Trino.

    `types` has for each column of the table (lower case) its SQL type as package_rows names it, and its data type.
    """
    import pyarrow as pa

    stored = {name: sql for name, (sql, _) in types.items()}
    with tempfile.TemporaryDirectory(prefix="tickhouse-") as scratch:
        placed = []
        for file in landed:
            path, name = file.path, f"{file.load_id}.{file.name}"
            if file.is_csv or fit_of_file(destination, file, stored) == "widens":
                name = f"{name}.parquet" if file.is_csv else name
                try:
                    path = _written_anew(destination, file, types, Path(scratch) / name)
                except (pa.ArrowException, OSError) as error:
                    raise DestinationError(
                        destination,
                        f"{file.described} cannot be written anew: {str(error).splitlines()[0]}",
                        "Restore the package from a backup of the lake, or free space for temporary files; run again.",
                    ) from error
            placed.append((name, path))
        try:
            return files.put(folder, placed)
        except Exception as error:  # whatever a file system or s3fs and what lies below it raise
            first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
            raise DestinationError(
                destination,
                f"files cannot be written to {files.where}: {type(error).__name__}: {first[:300]}".rstrip(": "),
                "Check `files:` of the destination (for S3 its endpoint, bucket and keys), then run again.",
            ) from error


def _written_anew(destination: str, file: LandedFile, types: Mapping[str, tuple[str, DataType]], target: Path) -> Path:
    """Write a file's rows with the columns' types as the table has them; to a double, a whole number is rounded."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = csv_rows(destination, file) if file.is_csv else pq.ParquetFile(file.path)
    batches = source if file.is_csv else source.iter_batches()
    given = source.schema if file.is_csv else source.schema_arrow
    schema = pa.schema([(field.name, arrow_type(types[field.name.lower()][1])) for field in given])
    with pq.ParquetWriter(target, schema) as writer:
        for batch in batches:
            columns = [
                column.cast(field.type, safe=not pa.types.is_floating(field.type))
                for column, field in zip(batch.columns, schema, strict=True)
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    return target
