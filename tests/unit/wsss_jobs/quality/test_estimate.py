"""The quality of a small run whose stages are filled by hand: parts by plain code, ranks against the truth."""

import numpy as np
import pytest

from wsss_jobs.errors import ConfigError
from wsss_jobs.quality.boundary_fit import boundary_fit
from wsss_jobs.quality.calibration import FEWEST_TAGS, calibrate, spearman, with_predictions
from wsss_jobs.quality.estimate import estimate_quality, framing
from wsss_jobs.quality.evaluate import evaluate_run, read_truth
from wsss_jobs.quality.quality_files import quality_key, read_quality, write_quality
from wsss_jobs.stage_io import stage_folder
from wsss_jobs.worker import read_image

KEYS = [f"image {n:02d}" for n in range(12)]


@pytest.fixture
def job(make_job, run_of):
    """Masks that lie 0 to 11 px beside the truth, from which the CAMs are made."""
    return make_job(run_of(keys=KEYS, shift_px={key: n for n, key in enumerate(KEYS)}))


def estimate(job, step=None):
    return estimate_quality(job.plan, job.dataset, job.store, step)


def read_label(job):
    return stage_folder(job.plan.stage("gcn_masks"), job.store).outputs.read_mask


def iou(first, second):
    return (first & second).sum() / (first | second).sum()


def plain_agreement(first, second, classes):
    return np.mean([iou(first == c, second == c) for c in classes])


def test_parts_by_plain_code(job):
    found = {image.source_key: image for image in estimate(job).images}
    folders = {stage.name: stage_folder(stage, job.store).outputs for stage in job.plan.stages}
    for item in job.dataset.items[::4]:
        label = folders["gcn_masks"].read_mask(item)
        classes = (0, *item.labels)
        partial = folders["label_partially"].read_mask(item).repeat(4, axis=0).repeat(4, axis=1)[:38, :50]
        others = [
            np.where(partial == 255, 0, partial),
            folders["walk_masks"].read_mask(item),
            folders["gcn_masks"].read_mask(item, "masks_before_crf"),
        ]
        parts = found[item.source_key].parts
        assert parts["stage_agreement"] == pytest.approx(np.mean([plain_agreement(o, label, classes) for o in others]))
        assert parts["boundary_fit"] == pytest.approx(boundary_fit(label, read_image(item)))
        assert parts["tag_coverage"] == 1.0
        rim = np.ones((38, 50), bool)
        rim[1:-1, 1:-1] = False
        assert parts["framing"] == pytest.approx((label[rim] == 0).mean())
        assert parts["confidence"] is None  # the receipts of the scores hold none; the CRF's own says nothing
        assert parts["flip_stability"] is None
        present = [value for value in parts.values() if value is not None]
        assert found[item.source_key].score == pytest.approx(np.mean(present))


def test_worst_first_and_by_shift(job):
    images = estimate(job).images
    assert images[-1].parts["cam_agreement"] > images[0].parts["cam_agreement"]
    by_key = {image.source_key: image.parts["cam_agreement"] for image in images}
    assert [by_key[key] for key in KEYS] == sorted(by_key.values(), reverse=True)


def test_another_step(job):
    found = estimate(job, "gcn_masks/before_crf")
    assert found.step == "gcn_masks/before_crf"
    assert found.images != estimate(job).images
    with pytest.raises(ConfigError, match="no step with masks is called so; there are walk_masks"):
        estimate(job, "nothing")


def test_unfinished_steps(make_job, run_of):
    early = make_job(run_of(stages_done=5))
    with pytest.raises(ConfigError, match="no step with masks is finished"):
        estimate(early)
    with pytest.raises(ConfigError, match="--step gcn_masks: is not finished"):
        estimate(early, "gcn_masks")


def test_images_that_failed_and_records_that_are_gone(make_job, run_of):
    job = make_job(run_of(keys=["a", "b", "c"], failed={"label_partially": ["a"]}, missing={"walk_masks": ["b"]}))
    found = estimate(job)
    assert [image.source_key for image in found.images] in (["b", "c"], ["c", "b"])
    assert found.num_missing == 1


def test_an_image_that_cannot_be_read_any_more(make_job, run_of, tmp_path):
    job = make_job(run_of())
    (tmp_path / "data" / "images" / "b.png").write_bytes(b"nothing")
    found = {image.source_key: image for image in estimate(job).images}
    assert found["b"].parts["boundary_fit"] is None
    assert 0 < found["b"].score < 1


def test_flips_and_confidence_come_from_the_receipts(make_job, run_of):
    job = make_job(run_of())
    rows = [
        {
            "item_id": item.item_id,
            "attempt": 2,
            "infer_cams_flip_agreement": 0.1 * n,
            "propagate_gcn_mean_confidence": 0.9,
        }
        for n, item in enumerate(job.dataset.items)
    ]
    for name in ("infer_cams", "gcn_masks"):
        outputs = stage_folder(job.plan.stage(name), job.store).outputs
        items = list(job.dataset.items)
        outputs.folder.delete(["_MANIFEST.json"])
        outputs.write_receipts(rows)
        outputs.finalise(items, "tensors" if name == "infer_cams" else "masks")
    by_id = {image.item_id: image.parts for image in estimate(job).images}
    flips = [by_id[item.item_id]["flip_stability"] for item in job.dataset.items]
    assert flips == pytest.approx([0.0, 0.1, 0.2])
    assert {parts["confidence"] for parts in by_id.values()} == {0.9}


def test_no_truth_is_read(job, tmp_path):
    before = estimate(job)
    for path in (tmp_path / "data" / "masks").glob("*.png"):
        path.unlink()
    assert estimate(job) == before


def test_framing():
    label = np.zeros((4, 5), np.uint8)
    label[0] = 3
    assert framing(label) == pytest.approx(9 / 14)


def test_the_file(job):
    found = with_predictions(estimate(job), calibrate(estimate(job), read_label(job), job.dataset).fit)
    assert read_quality(job.store, "tiny") is None
    write_quality(job.store, "tiny", found)
    assert read_quality(job.store, "tiny") == found
    assert quality_key("tiny") == "evaluation/tiny-quality.parquet"


def test_calibration(job):
    found = estimate(job)
    calibration = calibrate(found, read_label(job), job.dataset, worst_share=0.25)
    evaluation = next(e for e in evaluate_run(job.plan, job.dataset, job.store) if e.name == "gcn_masks")
    mious = {image.item_id: image.miou for image in evaluation.images}
    scores = [image.score for image in found.images]
    assert calibration.num_images == 12
    assert calibration.spearman == pytest.approx(spearman(scores, [mious[image.item_id] for image in found.images]))
    assert calibration.spearman > 0.7  # the CAMs are the truth here
    assert calibration.spearman_of_parts["cam_agreement"] == pytest.approx(1.0)
    assert np.isnan(calibration.spearman_of_parts[FEWEST_TAGS])  # all have one
    assert calibration.miou == pytest.approx(evaluation.scores.miou)
    kept = {image.item_id for image in found.images[3:]}
    hits, unions = np.zeros(3), np.zeros(3)
    for item in job.dataset.items:
        if item.item_id in kept:
            label, truth = read_label(job)(item), read_truth(item)
            hits += [((label == c) & (truth == c)).sum() for c in range(3)]
            unions += [((label == c) | (truth == c)).sum() for c in range(3)]
    assert calibration.miou_without_worst == pytest.approx(np.mean(hits / unions))
    assert calibration.miou_without_worst > calibration.miou
    assert sum(each.num_images for each in calibration.bins) == 12
    assert calibration.bins[0].actual < calibration.bins[-1].actual


def test_one_image_with_truth_is_not_enough(make_job, run_of):
    job = make_job(run_of(keys=["a"]))
    assert calibrate(estimate(job), read_label(job), job.dataset) is None


def test_spearman_equals_scipy():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 6, (2, 40)).astype(float)
    assert spearman(first, second) == pytest.approx(spearmanr(first, second).statistic)
