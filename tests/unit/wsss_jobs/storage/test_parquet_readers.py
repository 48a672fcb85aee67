"""Other tools read what stages leave: pyarrow data sets, pandas and DuckDB (Ray Data: tests/ray)."""

from dataclasses import dataclass

import duckdb
import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from wsss_jobs.storage.local_store import LocalStore
from wsss_jobs.storage.mask_png import decode_mask
from wsss_jobs.storage.stage_outputs import StageOutputs


@dataclass(frozen=True)
class Item:
    item_id: str
    source_key: str


ITEMS = [Item(f"{number:020x}", f"bild ä{number}") for number in range(5)]


def cam_of(item):
    return np.random.default_rng(int(item.item_id, 16)).random((2, 4, 5)).astype(np.float16)


def mask_of(item):
    return np.full((4, 6), int(item.item_id, 16), np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run with a complete stage of tensors and one of packed masks."""
    root = tmp_path_factory.mktemp("run")
    cams = StageOutputs(LocalStore(root), "infer_cams", "abcd")
    masks = StageOutputs(LocalStore(root), "refine_masks", "abcd")
    for item in ITEMS:
        cams.commit_tensors(item, {"class_ids": np.array([1, 2], np.int32), "cam": cam_of(item)})
        facts = masks.commit_mask(item, mask_of(item)).as_receipt()
        masks.write_receipts([{"item_id": item.item_id, "masks": [facts], "attempt": 1, "crf_seconds": 0.5}])
    cams.finalise(ITEMS, "tensors")
    masks.finalise(ITEMS, "masks", pack_masks=True)
    return root


def test_duckdb_reads_tensors_masks_and_receipts(run):
    with duckdb.connect() as database:
        tensors = database.execute(
            f"select item_id, cam_shape, cam from '{run}/infer_cams-*/part-*.parquet' order by item_id"
        ).fetchall()
        for item, (item_id, shape, cam) in zip(ITEMS, tensors, strict=True):
            assert (item_id, shape) == (item.item_id, [2, 4, 5])
            np.testing.assert_array_equal(np.array(cam, np.float16).reshape(shape), cam_of(item))
        joined = database.execute(
            f"select m.source_key, m.sha256 = sha256(p.png), m.class_pixels, m.crf_seconds, p.png "
            f"from '{run}/refine_masks-*/masks.parquet' m join '{run}/refine_masks-*/packed/*.parquet' p "
            "using (key) order by m.item_id"
        ).fetchall()
    for item, (source_key, is_same, pixels, seconds, png) in zip(ITEMS, joined, strict=True):
        assert (source_key, is_same, pixels, seconds) == (item.source_key, True, {int(item.item_id, 16): 24}, 0.5)
        np.testing.assert_array_equal(decode_mask(png), mask_of(item))


def test_pandas_reads_tensors_and_masks(run):
    cams = pd.concat(pd.read_parquet(path) for path in run.glob("infer_cams-*/part-*.parquet"))
    assert list(cams.columns) == ["item_id", "source_key", "class_ids", "class_ids_shape", "cam", "cam_shape"]
    np.testing.assert_array_equal(cams.cam[0].reshape(cams.cam_shape[0]), cam_of(ITEMS[0]))
    masks = pd.concat(pd.read_parquet(path) for path in run.glob("refine_masks-*/packed/*.parquet"))
    assert list(masks.columns) == ["item_id", "source_key", "variant", "key", "png"]
    assert list(masks.source_key) == [item.source_key for item in ITEMS]


def test_an_arrow_data_set_filters_by_item(run):
    table = ds.dataset(sorted(run.glob("infer_cams-*/part-*.parquet"))).to_table(
        columns=["cam"], filter=ds.field("item_id") == ITEMS[3].item_id
    )
    np.testing.assert_array_equal(table["cam"][0].values.to_numpy().reshape(2, 4, 5), cam_of(ITEMS[3]))


def test_every_file_says_what_it_is_and_of_which_version(run):
    kinds = {path.name: pq.read_schema(path).metadata[b"wsss.table"].decode() for path in run.rglob("*.parquet")}
    assert kinds == {
        "part-00000.parquet": "tensor_rows/1",
        "masks-00000.parquet": "mask_rows/1",
        "masks.parquet": "masks/1",
        "receipts.parquet": "receipts/1",
        "failed.parquet": "failures/1",
    }
