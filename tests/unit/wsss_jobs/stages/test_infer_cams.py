import numpy as np
import pytest
import torch

from models.adversarial.classifier import build_acr_classifier
from models.adversarial.config import AcrClassifierConfig
from models.backbones import EncoderConfig
from wsss_jobs import networks
from wsss_jobs.config.recipe import parse_recipe
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import ConfigError
from wsss_jobs.pipeline import build_plan
from wsss_jobs.records import ClassifierCheckpoint
from wsss_jobs.stage_io import StageFolder, StageInputs
from wsss_jobs.stages.base import Failed, ItemInput
from wsss_jobs.stages.infer_cams import InferCams, InferCamsConfig
from wsss_jobs.storage.local_store import LocalStore
from wsss_jobs.storage.stage_outputs import StageOutputs
from wsss_jobs.worker import StageJob

FILES = {None: "model.pt", 2: "epoch_2.pt", 5: "epoch_5.pt"}


def test_an_image_without_tags_is_a_failed_item():
    item = DatasetItem("0" * 20, "empty", "empty.jpg", 24, 16, (), "train")
    stage = InferCams.__new__(InferCams)  # no network is asked
    (outcome,) = stage.process([ItemInput(item, np.zeros((16, 24, 3), dtype=np.uint8), {})])
    assert isinstance(outcome, Failed)
    assert outcome.reason == "unlabelled"


@pytest.fixture
def training(tmp_path, monkeypatch):
    """A finished training's folder, each file with a head of its own; a copy lies alone, as one from S3 does."""
    outputs = StageOutputs(LocalStore(tmp_path / "run"), "train_acr", "abcd")
    config = AcrClassifierConfig(EncoderConfig("timm/test_efficientnet", None), head_channels=None)
    classifier = build_acr_classifier(config, 2)
    for epoch, name in FILES.items():
        with torch.no_grad():
            classifier.heads[0][-1].weight.fill_(float(epoch or 9))
        networks.save_classifier(classifier, tmp_path / name)
        outputs.put_file(tmp_path / name, f"checkpoint/{name}")

    def copied(self, key, cache_root=None):
        copy = tmp_path / "cache" / key.replace("/", "-") / key.rpartition("/")[2]
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(self.folder.get(key))
        return copy

    monkeypatch.setattr(StageOutputs, "local_copy", copied)
    return StageFolder(outputs, ClassifierCheckpoint)


@pytest.mark.parametrize("epoch", FILES)
def test_a_worker_loads_the_weights_behind_the_epoch(training, epoch):
    inputs = StageInputs({}, {"classifier": training}, "")
    job = StageJob(
        "cams", InferCams, InferCamsConfig(epoch=epoch), inputs, None, None, ("cat", "dog"), 0, "cpu", 1, "r"
    )
    assert set(job()._stage._model.heads[0][-1].weight.unique().tolist()) == {float(epoch or 9)}


def chain(train, **cams):
    dataset = {"format": "voc", "root": "."}
    stages = [train, {"stage": "infer_cams", "name": "grown", **cams}]
    return build_plan(parse_recipe({"name": "x", "dataset": dataset, "stages": stages}).stages, "data", 0)


ACR = {"stage": "train_acr", "keep_epochs": [2, 5]}


@pytest.mark.parametrize(
    ("train", "epoch", "message"),
    [
        (ACR, 3, r"stages\.grown\.epoch: its training stores no weights behind epoch 3; its keep_epochs are \[2, 5\]"),
        (ACR, 40, "For the last epoch leave `epoch` out"),
        ({"stage": "train_acr"}, 3, r"its keep_epochs are \[\]"),
        ({"stage": "train_classifier"}, 3, "only those behind the last one; `train_acr` alone has `keep_epochs`"),
    ],
)
def test_an_epoch_that_is_not_kept_is_refused_before_anything_runs(train, epoch, message):
    with pytest.raises(ConfigError, match=message):
        chain(train, epoch=epoch)


def test_the_epoch_is_part_of_the_fingerprint_and_its_absence_is_not():
    found = [
        chain(ACR, **cams).stage("grown").fingerprint for cams in ({}, {"epoch": None}, {"epoch": 2}, {"epoch": 5})
    ]
    assert found[0] == found[1]
    assert len(set(found)) == 3
    assert set(InferCamsConfig().model_dump(mode="json")) == {"scales", "keep_high_res", "resampling"}
