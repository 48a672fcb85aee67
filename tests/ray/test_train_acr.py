"""ACR on Ray Train: two networks under DDP, and neither the number of workers nor a lost one changes what is learnt."""

import os
import signal
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from ray import cloudpickle

from wsss_jobs import networks
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.report.training_curves import METRICS, METRICS_KEY
from wsss_jobs.stage_io import StageInputs
from wsss_jobs.stages.train_acr import TrainAcr, TrainAcrConfig
from wsss_jobs.stages.train_acr_task import AcrTask
from wsss_jobs.storage.stage_outputs import StageOutputs
from wsss_jobs.storage.tables import read_table
from wsss_jobs.storage.uris import open_store
from wsss_jobs.training.job import TrainJob, TrainScale
from wsss_jobs.training.run import run_training
from wsss_jobs.worker import CHECKPOINT_KEY

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]

# The stage that kills its worker lives in this file, which the workers' processes cannot import.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

ENCODER = {"name": "timm/test_efficientnet", "weights": None, "output_stride": 8}
NUM_EPOCHS, STEPS_AN_EPOCH, BATCH = 2, 4, 4
SIZE_PX = 64
CONFIG = TrainAcrConfig.model_validate(
    {
        "classifier": {"encoder": ENCODER, "head_channels": 8},
        "reconstructor": {
            "encoder": ENCODER,
            "tap_channels": (4, 4, 8),
            "head_channels": 8,
            "decoder": {"depth": 3, "base_channels": 4, "max_channels": 8, "dropout": 0.0},  # its draws are a worker's
            "masking": "grid",
        },
        "schedule": {"num_epochs": NUM_EPOCHS, "global_batch_size": BATCH, "checkpoint_steps": 3},
        "transposed_lr_factor": 2.0,
        "augmentation": {"long_side_px": (64, 80), "crop_px": SIZE_PX},
        "remnants": {"cells": 4},
        "keep_epochs": [1],
    }
)


def killed_once(marker):
    """The stage, with a worker 1 that dies in the second epoch behind its first checkpoint, once."""

    class DyingTask(AcrTask):
        num_samples = 0

        def sample(self, index, epoch):
            self.num_samples += epoch
            if self.num_samples > 3 * BATCH // 2 and torch.distributed.get_rank() == 1 and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().sample(index, epoch)

    class DyingTraining(TrainAcr):
        task = staticmethod(DyingTask)

    return DyingTraining


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    """Grey images with a coloured square; its colour is the tag."""
    folder = tmp_path_factory.mktemp("data")
    found = []
    for index in range(BATCH * STEPS_AN_EPOCH):
        rng, label = np.random.default_rng(index), index % 2 + 1
        image_HW3 = rng.integers(90, 160, (SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
        top, left = rng.integers(4, 30, 2)
        image_HW3[top : top + 28, left : left + 28] = (250, 10, 10) if label == 1 else (10, 10, 250)
        path = folder / f"{index:02}.png"
        Image.fromarray(image_HW3).save(path)
        found.append(DatasetItem(f"{index:020}", path.stem, str(path), SIZE_PX, SIZE_PX, (label,), "train"))
    return tuple(found)


def trained(items, folder, num_workers, spec=TrainAcr):
    """Trains; returns (one dict of metrics an epoch, path of the classifier)."""
    store = open_store(folder)
    outputs = StageOutputs(store, "train_acr", "abcd")
    inputs = StageInputs(stored={}, artifacts={}, streamed="")
    job = TrainJob(spec, CONFIG, inputs, outputs, store, ("red", "blue"), 5, items)
    run_training(job, TrainScale("cpu", num_workers, 1), lambda progress: None)
    history = read_table(outputs.folder, METRICS_KEY, METRICS).to_pylist()
    return history, folder / "train_acr-abcd" / CHECKPOINT_KEY


@pytest.fixture(scope="module")
def alone(items, tmp_path_factory):
    """What one worker learns."""
    return trained(items, tmp_path_factory.mktemp("alone"), 1)


def check_same(found, expected):
    """Compares the curves of all losses of both networks, and the classifiers."""
    (history, path), (expected_history, expected_path) = found, expected
    assert [row["step"] for row in history] == [row["step"] for row in expected_history]
    for name in set(expected_history[0]) - {"epoch", "step", "seconds", "peak_memory_mib"}:
        curve, expected_curve = ([row[name] for row in rows] for rows in (history, expected_history))
        assert np.allclose(curve, expected_curve, rtol=1e-3, atol=1e-5), (name, curve, expected_curve)
    parameters, others = (networks.load_classifier(p).parameters() for p in (path, expected_path))
    for own, other in zip(parameters, others, strict=True):
        assert torch.allclose(own, other, rtol=0.0, atol=1e-4)


def test_one_worker_trains_both_networks(alone):
    history, path = alone
    assert [row["step"] for row in history] == [STEPS_AN_EPOCH * (epoch + 1) for epoch in range(NUM_EPOCHS)]
    assert {"loss", "spoilt_target", "reconstructor_loss", "reconstructor_whole"} <= set(history[0])
    assert history[-1]["reconstructor_loss"] < history[0]["reconstructor_loss"]
    assert networks.load_classifier(path).num_foreground == 2
    kept, last = (networks.load_classifier(each).state_dict() for each in (path.with_name("epoch_1.pt"), path))
    assert any(not torch.equal(kept[name], last[name]) for name in last)


def test_two_workers_learn_what_one_does(alone, items, tmp_path):
    check_same(trained(items, tmp_path, 2), alone)


@pytest.mark.long
def test_a_worker_lost_within_an_epoch_changes_nothing(alone, items, tmp_path):
    marker = tmp_path / "killed"
    found = trained(items, tmp_path / "run", 2, killed_once(marker))
    assert marker.exists()
    check_same(found, alone)
