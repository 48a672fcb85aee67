"""The training of a segmentation network on Ray Train: how many workers, and which of them die, changes nothing."""

import os
import signal
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from ray import cloudpickle

from models.backbones import EncoderConfig
from models.segmentation import DeepLabConfig
from models.segmentation.multi_scale import class_probabilities
from wsss_jobs import networks
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.records import Mask
from wsss_jobs.report.training_curves import METRICS, METRICS_KEY
from wsss_jobs.stage_io import StageFolder, StageInputs
from wsss_jobs.stages.train_segmentation import TrainSegmentation, TrainSegmentationConfig
from wsss_jobs.stages.train_segmentation_task import SegmentationTask
from wsss_jobs.storage.stage_outputs import StageOutputs
from wsss_jobs.storage.tables import read_table
from wsss_jobs.storage.uris import open_store
from wsss_jobs.training.job import TrainJob, TrainScale
from wsss_jobs.training.run import run_training
from wsss_jobs.worker import CHECKPOINT_KEY

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]

# The stage that kills its worker lives in this file, which the workers' processes cannot import.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

# Sums round differently when a batch is shared. Nothing else may differ: the head has GroupNorm, the encoder's
# BatchNorm is frozen, and there is no dropout, whose draws belong to a worker.
RELATIVE_TOLERANCE = 1e-5
NUM_EPOCHS, STEPS_AN_EPOCH, BATCH = 4, 4, 4
SIZE_PX = 64
CONFIG = TrainSegmentationConfig(
    network=DeepLabConfig(
        EncoderConfig("timm/test_efficientnet", None, output_stride=16),
        rates=(1, 2),
        head_channels=16,
        low_level_channels=8,
        head_dropout=0.0,
    ),
    schedule={"num_steps": None, "num_epochs": NUM_EPOCHS, "global_batch_size": BATCH, "momentum": 0.5},
    encoder_lr=0.02,
    head_lr=0.2,
    augmentation={"scales": (0.75, 1.0, 1.25), "crop_px": SIZE_PX},
    loss_at="image",
    confidence={"changed_by_crf": 0.5},
    held_splits=("val",),
)


def killed_once(marker):
    """The stage, with a worker 1 that dies as by a spot node's end in the middle of the second epoch, once."""

    class DyingTask(SegmentationTask):
        num_losses = 0

        def losses(self, model, batch):
            self.num_losses += 1
            is_mid_epoch = self.num_losses == STEPS_AN_EPOCH + 2
            if is_mid_epoch and torch.distributed.get_rank() == 1 and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().losses(model, batch)

    class DyingTraining(TrainSegmentation):
        task = staticmethod(DyingTask)

    return DyingTraining


def picture(seed):
    """A grey image with a red square, class 1; a ring around it is unlabelled, so images differ in labelled pixels."""
    rng = np.random.default_rng(seed)
    image_HW3 = rng.integers(90, 160, (SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    label_HW = np.zeros((SIZE_PX, SIZE_PX), dtype=np.uint8)
    top, left = rng.integers(6, 26, 2)
    side, ring = int(rng.integers(16, 30)), int(rng.integers(0, 6))
    label_HW[top - ring : top + side + ring, left - ring : left + side + ring] = 255
    label_HW[top : top + side, left : left + side] = 1
    image_HW3[top : top + side, left : left + side] = (250, 10, 10)
    return image_HW3, label_HW


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """(items, folder of their masks)."""
    folder = tmp_path_factory.mktemp("data")
    masks = StageFolder(StageOutputs(open_store(folder), "gcn_masks", "abcd", Mask.variants), Mask)
    items = []
    for index in range(BATCH * STEPS_AN_EPOCH + 4):
        image_HW3, label_HW = picture(index)
        path = folder / f"{index:02}.png"
        Image.fromarray(image_HW3).save(path)
        split = "train" if index < BATCH * STEPS_AN_EPOCH else "val"
        items.append(DatasetItem(f"{index:020}", path.stem, str(path), SIZE_PX, SIZE_PX, (1,), split))
        masks.commit(items[-1], Mask(label_HW, np.roll(label_HW, 3, axis=1)))
    return tuple(items), masks


def trained(data, folder, num_workers, spec=TrainSegmentation, config=CONFIG):
    """Trains; returns (one dict of metrics an epoch, path of the network)."""
    items, masks = data
    store = open_store(folder)
    outputs = StageOutputs(store, "train_segmentation", "abcd")
    inputs = StageInputs(stored={"masks": masks}, artifacts={}, streamed="")
    job = TrainJob(spec, config, inputs, outputs, store, ("square",), 5, items)
    run_training(job, TrainScale("cpu", num_workers, 1), lambda progress: None)
    history = read_table(outputs.folder, METRICS_KEY, METRICS).to_pylist()
    return history, folder / "train_segmentation-abcd" / CHECKPOINT_KEY


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory):
    """What one worker learns."""
    return trained(data, tmp_path_factory.mktemp("alone"), 1)


def check_same(found, expected):
    """Compares the curves of losses and held accuracy, and the networks."""
    (history, path), (expected_history, expected_path) = found, expected
    assert [row["step"] for row in history] == [row["step"] for row in expected_history]
    for name in ("loss", "held_pixel_accuracy"):
        curve, expected_curve = ([row[name] for row in rows] for rows in (history, expected_history))
        assert np.allclose(curve, expected_curve, rtol=RELATIVE_TOLERANCE, atol=0), (name, curve, expected_curve)
    parameters, others = (networks.load_deeplab(p).parameters() for p in (path, expected_path))
    for own, other in zip(parameters, others, strict=True):
        assert torch.allclose(own, other, rtol=0.0, atol=1e-5)


def test_one_worker_learns_the_squares(alone, data):
    history, path = alone
    assert [row["step"] for row in history] == [STEPS_AN_EPOCH * (epoch + 1) for epoch in range(NUM_EPOCHS)]
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    model = networks.load_deeplab(path)
    image_HW3, label_HW = picture(1000)
    label = class_probabilities(model, image_HW3, (1.0,), "mean_probability", flip=True).argmax(0)
    square, found = label_HW == 1, (label == 1) & (label_HW != 255)
    assert (square & found).sum() / (square | found).sum() > 0.5  # a guess of everything: 0.2


def test_two_workers_have_the_loss_curve_of_one(alone, data, tmp_path):
    check_same(trained(data, tmp_path, 2), alone)


@pytest.mark.long
def test_a_worker_killed_in_mid_epoch_changes_nothing(alone, data, tmp_path):
    marker = tmp_path / "killed"
    found = trained(data, tmp_path / "run", 2, killed_once(marker))
    assert marker.exists()
    check_same(found, alone)


def test_bfloat16_changes_the_rounding_on_a_cpu_too_and_no_more(data, alone, tmp_path):
    schedule = CONFIG.schedule.model_copy(update={"precision": "bfloat16"})
    history, path = trained(data, tmp_path, 1, config=CONFIG.model_copy(update={"schedule": schedule}))
    losses = np.array([[epoch["loss"] for epoch in each] for each in (history, alone[0])])
    assert not np.array_equal(losses[0], losses[1])
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.05)
    assert all(value.dtype != torch.bfloat16 for value in networks.load_deeplab(path).state_dict().values())
