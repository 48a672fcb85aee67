"""The training of AffinityNet: what a sample is, whose weights it starts from, and one optimiser step."""

from dataclasses import asdict

import numpy as np
import pytest
import torch

from models.affinity.affinitynet import AffinityNet
from models.backbones import EncoderConfig
from models.classifiers.cam import CamClassifierConfig, build_cam_classifier
from wsss_jobs import networks
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.records import ARTIFACT_FILE, AffinityScores
from wsss_jobs.stages.base import StageContext
from wsss_jobs.stages.train_affinitynet import TrainAffinityNet, TrainAffinityNetConfig

HEIGHT, WIDTH = 72, 96
ITEM = DatasetItem("a", "a", "", WIDTH, HEIGHT, (1, 2), "train")


class Reader:
    """One image whose left half is class 1, whose right half is background, and whose scores say so."""

    def __init__(self):
        self.image_HW3 = np.random.default_rng(0).integers(1, 256, (HEIGHT, WIDTH, 3), np.uint8)
        scores = np.zeros((2, 3, HEIGHT, WIDTH), np.float16)
        scores[:, 1, :, : WIDTH // 2] = 1
        scores[:, 0, :, WIDTH // 2 :] = 1
        self.scores = AffinityScores((1, 2), scores)

    def image(self, item):
        return self.image_HW3

    def record(self, port, item):
        assert port == "scores"
        return self.scores


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    torch.manual_seed(0)
    config = CamClassifierConfig(EncoderConfig("timm/test_efficientnet", weights=None), frozen_stages=0)
    networks.save_classifier(build_cam_classifier(config, 2), folder / ARTIFACT_FILE)
    return StageContext(("cat", "dog"), seed=3, device="cpu", num_threads=1, artifacts={"classifier": folder})


def task(context, **options):
    options = {"crop_px": 112, "colour_jitter": 0.0, "group_norm": True, "frozen_stages": 0, **options}
    return TrainAffinityNet.task(TrainAffinityNetConfig(**options), context, [ITEM], Reader())


def test_defaults_are_those_of_the_released_code():
    config = TrainAffinityNetConfig()
    schedule = config.schedule
    assert (schedule.num_epochs, schedule.global_batch_size, schedule.weight_decay) == (8, 8, 5e-4)
    assert (config.radius, config.crop_px, config.colour_jitter, config.frozen_stages) == (5, 448, 0.3, 1)
    assert (config.encoder_lr, config.new_lr) == (0.1, 1.0)
    assert asdict(config.biases) == {"lr_factor": 2.0, "decay": False}


def test_a_sample_keeps_image_and_label_together(context):
    for epoch in range(6):
        sample = task(context).sample(0, epoch)
        assert sample["image"].shape == (3, 112, 112)
        assert sample["label"].shape == (14, 14)
        labels = sample["label"].numpy()
        assert set(np.unique(labels)) <= {0, 1, 255}
        black = -torch.tensor([0.485, 0.456, 0.406]) / torch.tensor([0.229, 0.224, 0.225])
        outside = (sample["image"] - black[:, None, None]).abs().amax(dim=0) < 1e-5  # no pixel of the image is black
        cells = outside.reshape(14, 8, 14, 8).permute(0, 2, 1, 3).flatten(2)
        assert np.array_equal(labels == 255, cells.all(dim=2).numpy())
        inside = np.argwhere(~outside.numpy())
        assert (np.ptp(inside, axis=0) + 1).tolist() == [HEIGHT, WIDTH]


def test_mirrored_samples_have_their_labels_mirrored(context):
    lefts = set()
    for epoch in range(12):
        labels = task(context).sample(0, epoch)["label"].numpy()
        columns = [int(np.argwhere(labels == value)[:, 1].mean()) for value in (0, 1)]
        lefts.add(columns[1] < columns[0])
    assert lefts == {True, False}


def test_the_same_sample_comes_back_and_jitter_changes_the_image_only(context):
    plain, jittered = task(context), task(context, colour_jitter=0.3)
    assert torch.equal(jittered.sample(0, 1)["image"], jittered.sample(0, 1)["image"])
    assert plain.sample(0, 1)["image"].shape == jittered.sample(0, 1)["image"].shape
    assert set(jittered.sample(0, 1)["label"].unique().tolist()) == {0, 1, 255}


def test_it_starts_from_the_classifier_and_comes_back_from_its_file(context, tmp_path):
    job, again = task(context), task(context)
    torch.manual_seed(7)
    model = job.build_model()
    classifier = networks.load_classifier(context.artifacts["classifier"] / ARTIFACT_FILE)
    for name, value in classifier.encoder.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[name], value)
    torch.manual_seed(7)
    assert torch.equal(again.build_model().f9.weight, model.f9.weight)  # the loop's seed decides
    job.save(model, tmp_path / ARTIFACT_FILE)
    loaded, encoder = networks.load_affinity(tmp_path / ARTIFACT_FILE)
    assert isinstance(loaded, AffinityNet)
    assert encoder == classifier.config.encoder
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))


def test_steps_lower_the_loss_and_leave_batch_norm_alone(context):
    job = task(context)
    torch.manual_seed(0)
    model = job.build_model().train()
    optimiser = torch.optim.AdamW([dict(group) for group in job.parameter_groups(model)], lr=1e-3)
    for group in optimiser.param_groups:
        group["lr"] = 1e-3
    frozen = [p.detach().clone() for p in model.encoder.batch_norm_parameters()]
    batch = {name: tensor[None] for name, tensor in job.sample(0, 0).items()}
    history = []
    for _ in range(8):
        losses = job.losses(model, batch)
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
        history.append(float(losses["loss"].detach()))
    assert history[-1] < history[0]
    assert all(torch.equal(p, q) for p, q in zip(model.encoder.batch_norm_parameters(), frozen, strict=True))


def test_vgg16_gets_its_dilation_with_the_classifiers_weights(tmp_path):
    torch.manual_seed(0)
    encoder = EncoderConfig("vgg16_largefov", weights=None, output_stride=8)
    classifier = build_cam_classifier(CamClassifierConfig(encoder, frozen_stages=1), 2)
    networks.save_classifier(classifier, tmp_path / ARTIFACT_FILE)
    context = StageContext(("cat", "dog"), seed=3, device="cpu", num_threads=1, artifacts={"classifier": tmp_path})
    model = task(context, dilate=True, frozen_stages=1).build_model()
    assert model.config.encoder.dilate
    assert model.encoder.net.fc6.dilation == (4, 4)
    assert torch.equal(model.encoder.net.fc6.weight, classifier.encoder.net.fc6.weight)


def test_a_crop_that_is_no_multiple_of_8_is_refused():
    with pytest.raises(ValueError, match="multiple of 8"):
        TrainAffinityNetConfig(crop_px=100)
