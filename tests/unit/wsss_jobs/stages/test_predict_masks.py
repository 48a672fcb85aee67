"""Prediction: read-out, CRF, windows, and networks that a recipe names by their file."""

import numpy as np
import pytest
import torch

from models.backbones import EncoderConfig
from models.crf.config import DenseCRFConfig
from models.crf.dense_crf import DenseCRF
from models.crf.unaries import unary_from_probabilities
from models.segmentation import DeepLabConfig, build_deeplab
from models.segmentation.multi_scale import class_probabilities
from models.segmentation.sliding_window import sliding_windows
from wsss_jobs import networks
from wsss_jobs.config.assets import localise_assets, store_assets
from wsss_jobs.config.recipe import parse_recipe
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import ConfigError, StageError
from wsss_jobs.pipeline import build_plan
from wsss_jobs.records import ARTIFACT_FILE
from wsss_jobs.stages.base import Failed, ItemInput, StageContext
from wsss_jobs.stages.predict_masks import PredictMasks, PredictMasksConfig
from wsss_jobs.storage.uris import open_store

CRF = DenseCRFConfig(num_iterations=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("network")
    torch.manual_seed(0)
    encoder = EncoderConfig("timm/test_efficientnet", None, output_stride=16)
    config = DeepLabConfig(encoder, rates=(1, 2), head_channels=8, low_level_channels=4)
    networks.save_deeplab(build_deeplab(config, 3), path / ARTIFACT_FILE)
    return path


def stage(folder, classes=("cat", "dog"), **options):
    context = StageContext(classes, seed=0, device="cpu", num_threads=1, artifacts={"network": folder})
    return PredictMasks(PredictMasksConfig(**{"scales": (1.0,), "crf": None, **options}), context)


def entry(height, width):
    image_HW3 = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return ItemInput(DatasetItem("a", "a", "", width, height, (1,), "val"), image_HW3, {})


def predicted(worker, one):
    [result] = worker.process([one])
    assert not isinstance(result, Failed), result
    return result.record, result.scores


def test_the_mask_is_the_most_probable_class_before_and_after_the_crf(folder):
    one = entry(40, 56)
    model = networks.load_deeplab(folder / ARTIFACT_FILE)
    prob = class_probabilities(model, one.image, (1.0, 1.5), "sum_logits", flip=True)
    record, scores = predicted(stage(folder, scales=(1.0, 1.5), fusion="sum_logits", crf=CRF), one)
    refined = DenseCRF(CRF).refine(one.image, unary_from_probabilities(prob))
    assert np.array_equal(record.before_crf_HW, prob.argmax(0))
    assert np.array_equal(record.label_HW, refined.argmax(0))
    assert record.label_HW.dtype == np.uint8
    assert scores["mean_confidence"] == pytest.approx(float(refined.max(axis=0).mean()), rel=1e-5)


def test_a_window_that_covers_the_image_changes_nothing(folder):
    one = entry(70, 66)
    whole, _ = predicted(stage(folder, crf=CRF), one)
    windowed, _ = predicted(stage(folder, crf=CRF, window_px=70, overlap_px=32), one)
    assert np.array_equal(windowed.label_HW, whole.label_HW)


def test_windows_are_predicted_one_by_one_and_joined_at_their_cores(folder):
    one = entry(100, 150)
    model = networks.load_deeplab(folder / ARTIFACT_FILE)
    expected = np.full((100, 150), 99)
    for rows, columns in sliding_windows((100, 150), 64, 16):
        window = np.ascontiguousarray(one.image[rows.seen, columns.seen])
        label = class_probabilities(model, window, (1.0,), "mean_probability", flip=True).argmax(0)
        expected[rows.core, columns.core] = label[rows.core_in_window, columns.core_in_window]
    record, scores = predicted(stage(folder, window_px=64, overlap_px=16), one)
    assert np.array_equal(record.label_HW, expected)
    assert np.array_equal(record.label_HW, record.before_crf_HW)
    assert 1 / 3 <= scores["mean_confidence"] <= 1


def test_a_network_of_other_classes_is_refused(folder):
    with pytest.raises(StageError, match="knows 3 classes with the background, the data set 4"):
        stage(folder, classes=("cat", "dog", "cow"))


def test_a_named_file_replaces_the_input_and_is_known_by_its_content(folder, tmp_path):
    def plan(path):
        entries = [{"stage": "predict_masks", "checkpoint": {"weights": str(path)}, "crf": "isim_segmentation"}]
        content = {"name": "x", "dataset": {"format": "voc", "root": "."}, "stages": entries}
        [parsed] = parse_recipe(content).stages
        store = open_store(tmp_path / "run")
        return build_plan([type(parsed)(**vars(parsed) | {"config": store_assets(parsed.config, store)})], "d", 0)

    source = folder / ARTIFACT_FILE
    copy = tmp_path / "elsewhere.pt"
    copy.write_bytes(source.read_bytes())
    [first], [second] = plan(source).stages, plan(copy).stages
    assert first.inputs == {}
    assert first.fingerprint == second.fingerprint
    local = localise_assets(first.config, open_store(tmp_path / "run"), tmp_path / "cache")
    context = StageContext(("cat", "dog"), seed=0, device="cpu", num_threads=1, artifacts={})
    record, _ = predicted(PredictMasks(local.model_copy(update={"crf": None}), context), entry(32, 32))
    assert record.label_HW.shape == (32, 32)


def test_without_a_file_some_stage_must_train_the_network():
    content = {"name": "x", "dataset": {"format": "voc", "root": "."}, "stages": [{"stage": "predict_masks"}]}
    with pytest.raises(ConfigError, match="no earlier stage writes SegmentationCheckpoint"):
        build_plan(parse_recipe(content).stages, "d", 0)


@pytest.mark.parametrize("options", [{"overlap_px": 64, "window_px": 64}, {"scales": (0.0,)}, {"crf": "no_such"}])
def test_bad_settings_are_refused(options):
    with pytest.raises(ValueError, match=r"overlap_px 64|positive|no preset"):
        PredictMasksConfig(**options)
