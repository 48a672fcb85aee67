"""Ray Data reads the Parquet files that stages leave."""

from dataclasses import dataclass

import numpy as np
import pytest

from wsss_jobs.storage.local_store import LocalStore
from wsss_jobs.storage.mask_png import decode_mask
from wsss_jobs.storage.stage_outputs import StageOutputs

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]


@dataclass(frozen=True)
class Item:
    item_id: str
    source_key: str


ITEMS = [Item(f"{number:020x}", f"image {number}") for number in range(4)]


def test_tensors_and_packed_masks(ray_cluster, tmp_path):
    import ray.data

    cams, masks = StageOutputs(LocalStore(tmp_path), "cams", "a"), StageOutputs(LocalStore(tmp_path), "masks", "a")
    for number, item in enumerate(ITEMS):
        cams.commit_tensors(item, {"cam": np.full((1, 2, 3), number, np.float16)})
        masks.commit_mask(item, np.full((2, 3), number, np.uint8))
    cams.finalise(ITEMS, "tensors")
    masks.finalise(ITEMS, "masks", pack_masks=True)
    rows = ray.data.read_parquet(str(cams.folder.root / "part-00000.parquet")).take_all()
    assert {row["item_id"]: (list(row["cam_shape"]), set(row["cam"])) for row in rows} == {
        item.item_id: ([1, 2, 3], {float(number)}) for number, item in enumerate(ITEMS)
    }
    rows = ray.data.read_parquet(str(masks.folder.root / "packed" / "masks-00000.parquet")).take_all()
    assert {row["source_key"]: int(decode_mask(row["png"]).max()) for row in rows} == {
        item.source_key: number for number, item in enumerate(ITEMS)
    }
