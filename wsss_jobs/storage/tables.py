"""Parquet files with a name and a version: small tables written and read whole.

Every file carries `wsss.table` = "<name>/<version>" in its metadata. Columns may be added within a version; when a
column changes meaning or goes away, the version grows. Files are zstd-compressed and have the same bytes for the same
rows and the same pyarrow.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wsss_jobs.errors import StorageError
from wsss_jobs.storage.item_names import in_one_piece
from wsss_jobs.storage.object_store import ObjectStore, TornObjectError

_KIND_KEY = b"wsss.table"
_ZSTD_LEVEL = 3


@dataclass(frozen=True, slots=True)
class TableKind:
    """What a Parquet file holds.

    Args:
        name: Such as "dataset_items".
        version: Grows when a column changes meaning or goes away.
        schema: Its columns, or None where writers may choose (receipts).
    """

    name: str
    version: int
    schema: pa.Schema | None = None

    @property
    def tag(self) -> bytes:
        """What a file of this kind says of itself."""
        return f"{self.name}/{self.version}".encode()


def table_of_rows(kind: TableKind, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """A table of dicts, with the kind's columns or, where it has none, with those of all rows; Arrow infers types."""
    if kind.schema is not None:
        return pa.Table.from_pylist(list(rows), schema=kind.schema)
    names = dict.fromkeys(name for row in rows for name in row)  # Arrow itself looks at the first row only
    return pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows])


def write_table(
    store: ObjectStore, key: str, kind: TableKind, table: pa.Table, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a table as one object.

    Args:
        store: Where to.
        key: Under which key.
        kind: What it is; goes into the file's metadata.
        table: Its rows.
        metadata: More text for the file's metadata.
    """
    store.put(key, encode_table(kind, table, metadata))


@contextlib.contextmanager
def table_writer(store: ObjectStore, key: str, kind: TableKind, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Give a writer of a table that does not fit into memory; the object appears when the block ends well.

    Each `write_table` is a row group. The bytes of a table in one row group are those of `write_table`.

    Args:
        store: Where to.
        key: Under which key.
        kind: What it is; goes into the file's metadata.
        schema: Its columns.
    """
    with tempfile.TemporaryDirectory(prefix="wsss-table-") as scratch:
        path = Path(scratch) / "table.parquet"
        tagged = with_tag(schema.empty_table(), kind).schema
        with pq.ParquetWriter(path, tagged, compression="zstd", compression_level=_ZSTD_LEVEL) as writer:
            yield writer
        store.upload(path, key)


def encode_table(kind: TableKind, table: pa.Table, metadata: Mapping[str, str] | None = None) -> bytes:
    """The Parquet bytes of a table."""
    sink = pa.BufferOutputStream()
    pq.write_table(with_tag(table, kind, metadata), sink, compression="zstd", compression_level=_ZSTD_LEVEL)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def with_tag(table: pa.Table, kind: TableKind, metadata: Mapping[str, str] | None = None) -> pa.Table:
    """The table with the kind's tag, and nothing else that came with it, in its metadata."""
    extra = {name.encode(): value.encode() for name, value in (metadata or {}).items()}
    return table.replace_schema_metadata({_KIND_KEY: kind.tag, **extra})


def read_table(store: ObjectStore, key: str, kind: TableKind) -> pa.Table:
    """The table under a key.

    Raises:
        ObjectNotFoundError: There is none.
        TornObjectError: It is no readable Parquet file, or of another kind.
        StorageError: It is of a newer version.
    """
    return decode_table(store.get(key), kind, store.uri_of(key))


def decode_table(data: bytes, kind: TableKind, uri: str) -> pa.Table:
    """The table in Parquet bytes. See `read_table`."""
    with _torn_unless_readable(uri), pq.ParquetFile(pa.BufferReader(data)) as file:
        table = file.read(use_threads=False)  # `pq.read_table` imports and starts much that a small table needs not
    check_tag(table.schema, kind, uri)
    return table


def read_columns(store: ObjectStore, key: str, kind: TableKind) -> pa.Table:
    """The table under a key, each column in one piece, and read alone: a large one takes little more than itself.

    No name of a column may have a dot. See `read_table`.
    """
    data, uri = store.get(key), store.uri_of(key)
    with _torn_unless_readable(uri), pq.ParquetFile(pa.BufferReader(data)) as file:
        check_tag(file.schema_arrow, kind, uri)
        columns = [_column(file, name) for name in file.schema_arrow.names]
        table = pa.Table.from_arrays(columns, schema=file.schema_arrow)
    del data
    pa.default_memory_pool().release_unused()
    return table


def _column(file: pq.ParquetFile, name: str) -> pa.Array:
    return in_one_piece(file.read(columns=[name], use_threads=False).column(0))


def read_pieces(store: ObjectStore, key: str, kind: TableKind, num_rows: int) -> Iterator[pa.Table]:
    """The rows under a key, at most `num_rows` at a time, for tables that do not fit into memory. See `read_table`."""
    with tempfile.TemporaryDirectory(prefix="wsss-table-") as scratch:
        path = Path(scratch) / "table.parquet"
        store.download(key, path)
        with _torn_unless_readable(store.uri_of(key)), pq.ParquetFile(path) as file:
            check_tag(file.schema_arrow, kind, store.uri_of(key))
            for batch in file.iter_batches(num_rows):
                yield pa.Table.from_batches([batch])


@contextlib.contextmanager
def _torn_unless_readable(uri: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        hint = "`wsss verify --repair` removes it"
        raise TornObjectError(f"{uri}: not a readable Parquet file ({error}); {hint}") from error


def check_tag(schema: pa.Schema, kind: TableKind, uri: str) -> None:
    """Nothing, if a file with this schema is of this kind and version.

    Raises:
        TornObjectError: It is of another kind.
        StorageError: It is of a newer version.
    """
    found = (schema.metadata or {}).get(_KIND_KEY, b"nothing of ours")
    if found == kind.tag:
        return
    name, _, version = found.decode("utf-8", "replace").partition("/")
    if name == kind.name and version.isdigit() and int(version) > kind.version:
        raise StorageError(f"{uri}: written by a newer version ({version} > {kind.version}); upgrade this installation")
    raise TornObjectError(
        f"{uri}: holds {found.decode('utf-8', 'replace')}, expected {kind.tag.decode()}; wrong folder or old run?"
    )


def metadata_of(table: pa.Table, name: str) -> str | None:
    """A text from the file's metadata."""
    value = (table.schema.metadata or {}).get(name.encode())
    return None if value is None else value.decode()
