import pyarrow as pa
import pytest

from wsss_jobs.errors import StorageError
from wsss_jobs.storage.local_store import LocalStore
from wsss_jobs.storage.object_store import ObjectNotFoundError
from wsss_jobs.storage.tables import (
    TableKind,
    encode_table,
    metadata_of,
    read_columns,
    read_pieces,
    read_table,
    table_of_rows,
    table_writer,
    write_table,
)

KIND = TableKind("things", 2, pa.schema([("name", pa.string()), ("sizes", pa.list_(pa.int32()))]))
ROWS = [{"name": "é", "sizes": [1, 2]}, {"name": None, "sizes": []}]


def test_round_trip_with_metadata(store):
    write_table(store, "t.parquet", KIND, table_of_rows(KIND, ROWS), {"note": "größe"})
    table = read_table(store, "t.parquet", KIND)
    assert table.to_pylist() == ROWS
    assert table.schema.equals(KIND.schema)
    assert metadata_of(table, "note") == "größe"
    assert metadata_of(table, "other") is None


def test_same_rows_same_bytes():
    tables = [table_of_rows(KIND, ROWS).replace_schema_metadata({"from": str(number)}) for number in range(2)]
    assert encode_table(KIND, tables[0]) == encode_table(KIND, tables[1])


def test_a_column_that_the_first_row_lacks_is_kept():
    table = table_of_rows(TableKind("free", 1), [{"item_id": "failed"}, {"item_id": "done", "score": 0.5}])
    assert table.to_pylist() == [{"item_id": "failed", "score": None}, {"item_id": "done", "score": 0.5}]


def test_an_empty_table_keeps_its_columns(tmp_path):
    store = LocalStore(tmp_path)
    write_table(store, "t", KIND, table_of_rows(KIND, []))
    assert read_table(store, "t", KIND).schema.equals(KIND.schema)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (TableKind("things", 1), "written by a newer version"),
        (TableKind("things", 3), "things/2, expected things/3"),
        (TableKind("others", 2), "things/2, expected others/2"),
    ],
)
def test_files_of_another_kind_or_version_are_refused(tmp_path, other, message):
    store = LocalStore(tmp_path)
    write_table(store, "t", KIND, table_of_rows(KIND, ROWS))
    with pytest.raises(StorageError, match=message):
        read_table(store, "t", other)


def test_a_table_is_written_and_read_in_pieces(store):
    table = table_of_rows(KIND, ROWS)
    with table_writer(store, "t", KIND, KIND.schema) as writer:
        writer.write_table(table)
    assert store.get("t") == encode_table(KIND, table), "one row group has the bytes of a table written whole"
    with table_writer(store, "t", KIND, KIND.schema) as writer:
        for _ in range(3):
            writer.write_table(table)
    pieces = list(read_pieces(store, "t", KIND, num_rows=2))
    assert [piece.to_pylist() for piece in pieces] == [ROWS] * 3
    assert read_table(store, "t", KIND).to_pylist() == ROWS * 3
    columns = read_columns(store, "t", KIND)
    assert columns.equals(read_table(store, "t", KIND), check_metadata=True)
    assert [column.num_chunks for column in columns.columns] == [1, 1], "although there are three row groups"


def test_nothing_is_written_when_the_writer_fails(tmp_path):
    store = LocalStore(tmp_path)
    with pytest.raises(RuntimeError), table_writer(store, "t", KIND, KIND.schema):
        raise RuntimeError
    assert not store.exists("t")


def test_broken_and_missing_files(tmp_path):
    store = LocalStore(tmp_path)
    store.put("t", encode_table(KIND, table_of_rows(KIND, ROWS))[:-9])
    with pytest.raises(StorageError, match="not a readable Parquet file"):
        read_table(store, "t", KIND)
    with pytest.raises(StorageError, match="not a readable Parquet file"):
        list(read_pieces(store, "t", KIND, num_rows=2))
    with pytest.raises(ObjectNotFoundError):
        read_table(store, "nothing", KIND)
