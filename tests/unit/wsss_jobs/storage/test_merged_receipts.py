import json

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from wsss_jobs.storage import merged_receipts
from wsss_jobs.storage.local_store import LocalStore
from wsss_jobs.storage.merged_receipts import sorted_union
from wsss_jobs.storage.receipts import write_receipts

ROWS = st.lists(
    st.fixed_dictionaries(
        {"item_id": st.sampled_from("abcdefg")},
        optional={"attempt": st.integers(1, 3), "score": st.sampled_from([0.5, 1.0]), "node": st.just("n")},
    ),
    max_size=15,
)


def plain_union(rows):
    """Written from the description: each row once, by item id and then by what it says."""
    return sorted({(row["item_id"], json.dumps(row, sort_keys=True)) for row in rows})


def as_texts(tables):
    rows = [row for table in tables for row in table.to_pylist()]
    return [
        (row["item_id"], json.dumps({name: value for name, value in row.items() if value is not None}, sort_keys=True))
        for row in rows
    ]


@settings(max_examples=30, deadline=None)
@given(flushes=st.lists(ROWS, max_size=4), splitters=st.sets(st.sampled_from("abcdefgh"), max_size=3).map(sorted))
def test_ranges_hold_every_row_once_in_order(tmp_path_factory, flushes, splitters):
    folder = LocalStore(tmp_path_factory.mktemp("stage"))
    for rows in flushes:
        write_receipts(folder, rows)
    expected = plain_union([row for rows in flushes for row in rows])
    for _ in range(2):  # what was merged before is merged again
        with merged_receipts.merged_receipts(folder, splitters) as merged:
            tables = list(merged)
        assert len(tables) == len(splitters) + 1
        assert all(table.schema.equals(merged.schema) for table in tables)
        assert as_texts(tables) == expected
        for table, low, high in zip(tables, ["", *splitters], [*splitters, "z"], strict=True):
            assert all(low <= item_id < high for item_id in table.column("item_id").to_pylist())
        if any(flushes):
            assert as_texts([pq.read_table(folder.root / "receipts.parquet")]) == expected


def test_equal_rows_with_other_columns_are_one():
    table = pa.table({"item_id": ["b", "a", "b"], "score": [1.0, None, 1.0], "node": ["n", "m", "n"]})
    assert sorted_union(table).to_pylist() == [
        {"item_id": "a", "score": None, "node": "m"},
        {"item_id": "b", "score": 1.0, "node": "n"},
    ]
