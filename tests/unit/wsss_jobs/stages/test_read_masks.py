"""Masks made elsewhere: from a stage of another run, packed or not, and from a folder of files."""

import numpy as np
import pytest

from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import ConfigError, StageError
from wsss_jobs.quality.estimate import QualityEstimate
from wsss_jobs.quality.image_quality import ImageQuality
from wsss_jobs.quality.quality_files import write_quality
from wsss_jobs.stages.base import Failed, ItemInput, StageContext
from wsss_jobs.stages.read_masks import ReadMasks, ReadMasksConfig
from wsss_jobs.storage.mask_png import encode_mask
from wsss_jobs.storage.stage_outputs import StageOutputs
from wsss_jobs.storage.uris import open_store

ITEMS = [DatasetItem(f"{index:020x}", f"folder/image {index}", "", 9, 7, (1,), "train") for index in range(4)]
CONTEXT = StageContext(("cat",), seed=0, device="cpu", num_threads=1, artifacts={})


def mask_of(item, shift=0):
    return np.random.default_rng([*item.item_id.encode(), shift]).integers(0, 2, (7, 9), dtype=np.uint8)


def results(items=ITEMS, **options):
    worker = ReadMasks(ReadMasksConfig(**options), CONTEXT)
    return worker.process([ItemInput(item, None, {}) for item in items])


@pytest.fixture(params=[False, True], ids=["objects", "packed"])
def finished_stage(request, store):
    """A complete mask stage in another run, on a folder and on S3, with a number for all items but the last."""
    outputs = StageOutputs(store, "gcn_masks", "abcd", ("masks_before_crf", "masks"))
    for index, item in enumerate(ITEMS):
        facts = [
            outputs.commit_mask(item, mask_of(item, 1), "masks_before_crf"),
            outputs.commit_mask(item, mask_of(item)),
        ]
        row = {"item_id": item.item_id, "attempt": 1, "masks": [fact.as_receipt() for fact in facts]}
        outputs.write_receipts([row | ({"gcn_masks_mean_confidence": index / 10} if index < 3 else {})])
    outputs.finalise(ITEMS, "masks", pack_masks=request.param)
    return outputs.folder.uri


def test_masks_of_a_stage_come_back_with_their_numbers(finished_stage):
    found = results(source=finished_stage, image_column="gcn_masks_mean_confidence")
    for item, result in zip(ITEMS, found, strict=True):
        assert np.array_equal(result.record.label_HW, mask_of(item))
        assert np.array_equal(result.record.before_crf_HW, mask_of(item, 1))
    assert [dict(result.scores) for result in found] == [{"confidence": v} for v in (0.0, 0.1, 0.2)] + [{}]
    with pytest.raises(StageError, match=r"no numbers 'nothing'; it has gcn_masks_mean_confidence"):
        results(source=finished_stage, image_column="nothing")


def test_files_of_a_folder_are_read_by_source_key_and_bad_ones_fail_alone(tmp_path):
    for item in ITEMS[:2]:
        path = tmp_path / f"{item.source_key}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode_mask(mask_of(item)))
    (tmp_path / f"{ITEMS[2].source_key}.png").write_bytes(encode_mask(np.zeros((9, 7), np.uint8)))
    good, also_good, turned, missing = results(source=str(tmp_path))
    assert np.array_equal(good.record.label_HW, mask_of(ITEMS[0]))
    assert np.array_equal(also_good.record.before_crf_HW, mask_of(ITEMS[1]))
    assert isinstance(turned, Failed)
    assert (turned.reason, missing.reason) == ("size_mismatch", "missing_mask")
    assert "7 x 9" in turned.message
    assert str(tmp_path) in missing.message
    with pytest.raises(ConfigError, match="no folder of a complete stage"):
        results(source=str(tmp_path), image_column="x")


def test_a_relative_source_means_the_same_in_every_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = ReadMasksConfig(source="masks")
    assert config.source == str(tmp_path / "masks")
    assert ReadMasksConfig(source="s3://bucket/masks").source == "s3://bucket/masks"


def test_quality_scores_become_the_confidence(finished_stage, tmp_path):
    images = [
        ImageQuality(item.item_id, item.source_key, 0.2 * index, {}, "framing", "")
        for index, item in enumerate(ITEMS[:3])
    ]
    write_quality(open_store(tmp_path), "masks", QualityEstimate("gcn_masks", "abcd", tuple(images), 1))
    path = str(tmp_path / "evaluation" / "masks-quality.parquet")
    found = results(source=finished_stage, quality=path)
    assert [dict(result.scores) for result in found] == [{"confidence": pytest.approx(v)} for v in (0.0, 0.2, 0.4)] + [
        {}
    ]
    with pytest.raises(ConfigError, match="there is no such file; `wsss quality` writes it"):
        results(source=finished_stage, quality=str(tmp_path / "nothing.parquet"))
    (tmp_path / "torn.parquet").write_bytes(b"torn")
    with pytest.raises(ConfigError, match="is no Parquet file"):
        results(source=finished_stage, quality=str(tmp_path / "torn.parquet"))
    with pytest.raises(ConfigError, match="has no column 'score'"):
        results(source=finished_stage, quality=f"{finished_stage.removeprefix('file://')}/masks.parquet")
    with pytest.raises(ValueError, match="not both"):
        ReadMasksConfig(source="x", quality="y", image_column="z")
