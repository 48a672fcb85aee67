"""The judge of `benchmarks.chaos`: does it see what is lost and what is there twice?"""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.chaos_ledger import compare, output_digests
from wsss_jobs.storage.uris import open_store

ROWS = [("a", "masks"), ("a", "raw"), ("b", "masks")]


@pytest.fixture
def run(tmp_path):
    """A run's folder with two masks, their table, a part and a manifest."""
    store = open_store(tmp_path)
    for key in ("refine_masks-1/masks/a.png", "refine_masks-1/masks/b.png", "infer_cams-2/part-00000.parquet"):
        store.put(key, key.encode())
    for key in ("refine_masks-1/_MANIFEST.json", "refine_masks-1/receipts/1.parquet", "jobs/x.json"):
        store.put(key, b"x")
    put_table(store, ROWS)
    return store


def put_table(store, rows):
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([{"item_id": item, "variant": variant} for item, variant in rows]), buffer)
    store.put("refine_masks-1/masks.parquet", buffer.getvalue())


def test_an_equal_run_has_nothing_lost_and_nothing_doubled(run):
    expected = output_digests(run)
    assert len(expected) == 4, "masks, parts and manifests; nothing with times or hosts in it"
    run.put("refine_masks-1/receipts/2.parquet", b"another try")
    found = compare(run, expected)
    assert (found.lost, found.doubled) == ((), ())


def test_missing_changed_foreign_and_repeated_outputs_are_seen(run):
    expected = output_digests(run)
    run.delete(["refine_masks-1/masks/a.png"])
    run.put("infer_cams-2/part-00000.parquet", b"other bytes")
    run.put("refine_masks-1/masks/c.png", b"foreign")
    put_table(run, [*ROWS, ROWS[0]])
    found = compare(run, expected)
    assert set(found.lost) == {"refine_masks-1/masks/a.png", "infer_cams-2/part-00000.parquet"}
    assert found.doubled == ("refine_masks-1/masks/c.png", "a masks")
