"""A phase of ISIM: the schedule of the released code, samples, where it starts, what it learns, and its file."""

import gc
import math
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.nn import functional as F

from models.backbones import EncoderConfig
from models.classifiers.cam import CamClassifierConfig
from models.classifiers.isim_config import IsimConfig
from wsss_jobs import networks
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import DataError
from wsss_jobs.records import ARTIFACT_FILE, Mask
from wsss_jobs.stages.base import StageContext
from wsss_jobs.stages.train_isim import IsimSchedule, TrainIsim, TrainIsimConfig
from wsss_jobs.training.optimiser_state import named_state
from wsss_jobs.training.task import ContinuedTask, TrainingState

HEIGHT, WIDTH = 48, 64
CONTEXT = StageContext(("cat", "dog"), seed=3, device="cpu", num_threads=1, artifacts={})
CLASSIFIER = CamClassifierConfig(EncoderConfig("timm/test_efficientnet", None), frozen_stages=0, train_batch_norm=True)
NETWORK = IsimConfig(CLASSIFIER, rates=(1, 2), decoder_channels=16, low_level_channels=8, decoder_dropout=0.0)
FIRST = {"generation": 0, "network": replace(NETWORK, decoder="none")}


def item(index, labels=(1,)):
    return DatasetItem(f"item{index}", f"image{index}", "", WIDTH, HEIGHT, labels, "train")


class Reader:
    """A grey image with a red square, class 1, in its left half; `image2` has no object in its pseudo label."""

    def image(self, item):
        image_HW3 = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
        image_HW3[8:40, 4:28] = (250, 10, 10)
        return image_HW3

    def record(self, port, item):
        assert port == "masks"
        label_HW = np.zeros((HEIGHT, WIDTH), np.uint8)
        if item.item_id != "item2":
            label_HW[8:40, 4:28] = 1
        return Mask(label_HW, label_HW)


class WrongSize(Reader):
    def record(self, port, item):
        return Mask(np.zeros((4, 5), np.uint8), np.zeros((4, 5), np.uint8))


def task(context=CONTEXT, reader=None, items=None, **options):
    augmentation = {"long_side_px": (64, 64), "crop_px": 64, **options.pop("augmentation", {})}
    config = TrainIsimConfig.model_validate({"network": NETWORK, "augmentation": augmentation, **options})
    return TrainIsim.task(config, context, items or [item(0), item(1)], reader or Reader())


@pytest.fixture(scope="module")
def after_tags(tmp_path_factory):
    """The context of generation 1: a first phase of three epochs lies before it."""
    folder = tmp_path_factory.mktemp("previous")
    first = task(**FIRST)
    torch.manual_seed(1)
    model = first.build_model()
    optimiser = torch.optim.AdamW([p for group in first.parameter_groups(model) for p in group["params"]], lr=1e-3)
    batch = batch_of(first)
    first.losses(model, batch)["loss"].backward()
    optimiser.step()
    first.end(TrainingState(3, named_state(model, optimiser)))
    first.save(model, folder / ARTIFACT_FILE)
    return replace(CONTEXT, artifacts={"previous": folder})


def batch_of(job, epoch=0):
    samples = [job.sample(index, epoch) for index in range(len(job))]
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


def test_defaults_are_those_of_the_released_code():
    config = TrainIsimConfig()
    assert (config.encoder_lr, config.decoder_lr, config.head_lr, config.segmentation_weight) == (0.1, 0.1, 1.0, 1.0)
    assert (config.schedule.momentum, config.schedule.weight_decay, config.schedule.poly_power) == (0.0, 1e-4, 0.9)
    assert (config.schedule.global_batch_size, config.schedule.poly_epochs) == (32, 5)
    augmentation = config.augmentation
    assert (augmentation.long_side_px, augmentation.crop_px, augmentation.padding_label) == ((320, 640), 320, 0)
    assert (config.network.decoder, config.network.rates) == ("deeplab_v3plus", (6, 12, 18))
    assert config.network.classifier.frozen_stages == 0


@pytest.mark.parametrize(("batch", "tail"), [(16, 6.8e-4), (32, 1.27e-3), (48, 1.83e-3)])
def test_the_tail_of_the_released_schedule(batch, tail):
    schedule = IsimSchedule(num_epochs=50, global_batch_size=batch)
    num_steps = schedule.total_steps(10582)
    steps = 10582 // batch * 5
    assert schedule.lr_factor(0, num_steps) == 1.0
    assert schedule.lr_factor(steps - 1, num_steps) == pytest.approx(tail, rel=0.01)
    assert schedule.lr_factor(num_steps - 1, num_steps) == schedule.lr_factor(steps - 1, num_steps)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 9), st.integers(1, 100), st.integers(0, 500))
def test_the_rate_of_a_step_does_not_depend_on_where_the_phase_ends(ends, later, poly, num_items, step):
    rates = []
    for last in (ends, ends + later):
        schedule = IsimSchedule(num_epochs=last, global_batch_size=4, poly_epochs=poly)
        rates.append(schedule.lr_factor(step, schedule.total_steps(num_items)))
    assert rates[0] == rates[1]
    curve = max(num_items // 4, 1) * poly
    assert rates[0] == pytest.approx((1 - min(step, curve - 1) / curve) ** 0.9)


def test_a_sample_keeps_image_and_label_together(after_tags):
    job = task(after_tags, augmentation={"long_side_px": (64, 128), "padding_label": 255, "crop_px": 80})
    between, mirrored = ((120 + 250) / 2 / 255 - 0.485) / 0.229, set()  # of the reds of background and square
    for epoch in range(10):
        sample = job.sample(0, epoch)
        assert sample["image"].shape == (3, 80, 80)
        assert sample["label"].dtype == torch.uint8
        assert sample["target"].tolist() == [1.0, 0.0]
        outside = (sample["image"] == 0).all(dim=0)
        assert torch.equal(outside, sample["label"] == 255)
        is_red, square = (sample["image"][0] > between) & ~outside, sample["label"] == 1
        assert (is_red == square).float().mean() > 0.98
        if (sample["label"] == 0).any() and square.any():
            mirrored.add(bool(square.nonzero()[:, 1].float().mean() > (~outside).nonzero()[:, 1].float().mean()))
    assert mirrored == {True, False}


def test_padding_is_background_as_released_and_the_long_side_is_drawn_or_clipped(after_tags):
    sample = task(after_tags, augmentation={"crop_px": 80}).sample(0, 0)
    assert set(sample["label"].unique().tolist()) == {0, 1}
    rng = np.random.default_rng(0)
    drawn = TrainIsimConfig().augmentation
    longest = [max(drawn.resized((300, 500), rng)) for _ in range(200)]
    assert min(longest) < 350
    assert max(longest) > 600
    assert set(longest) <= set(range(320, 641))
    clipped = drawn.model_copy(update={"long_side": "clipped"})
    sizes = [clipped.resized(size, rng) for size in ((300, 500), (600, 1200), (100, 160))]
    assert sizes == [(300, 500), (320, 640), (200, 320)]


def test_the_same_sample_comes_back_and_the_first_phase_asks_for_no_mask():
    job = task(reader=WrongSize(), **FIRST)
    one, same, other = job.sample(0, 1), job.sample(0, 1), job.sample(0, 2)
    assert torch.equal(one["image"], same["image"])
    assert not one["label"].any()
    assert one["image"].shape == other["image"].shape


def test_a_mask_of_another_size_is_that_items_fault(after_tags):
    with pytest.raises(DataError, match=r"\(5, 4\) pixels .* the image \(64, 48\)"):
        task(after_tags, WrongSize()).sample(0, 0)


def test_it_goes_on_from_the_phase_before(after_tags):
    job = task(after_tags)
    assert isinstance(job, ContinuedTask)
    assert job.start().epoch == 3
    previous, state = networks.load_isim(after_tags.artifacts["previous"] / ARTIFACT_FILE)
    assert state.optimiser.keys() == {name for name, p in previous.named_parameters() if p.requires_grad}
    torch.manual_seed(5)
    model = job.build_model()
    for name, value in previous.classifier.state_dict().items():
        assert torch.equal(model.classifier.state_dict()[name], value)
    torch.manual_seed(5)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), job.build_model().parameters(), strict=True))
    assert task(**FIRST).start() is None


def test_the_next_generation_keeps_the_decoder(after_tags, tmp_path):
    job = task(after_tags)
    model = job.build_model()
    job.end(TrainingState(7, {}))
    job.save(model, tmp_path / ARTIFACT_FILE)
    again = task(replace(CONTEXT, artifacts={"previous": tmp_path}), generation=2)
    assert again.start() == TrainingState(7, {})
    rebuilt = again.build_model()
    assert all(torch.equal(value, rebuilt.state_dict()[name]) for name, value in model.state_dict().items())


def test_nothing_of_the_phase_before_is_kept_beside_what_learns(after_tags, monkeypatch):
    read, load = [], networks.load_isim

    def watched(path):
        found = load(path)
        read.extend(weakref.ref(each) for each in found)
        return found

    monkeypatch.setattr(networks, "load_isim", watched)
    job = task(after_tags, convergence={"max_epochs": 2})
    model = job.build_model()
    assert job.start().epoch == 3
    gc.collect()
    assert read
    assert not any(each() is not None for each in read)
    assert model.decoder is not None  # job and model are still there


def test_others_see_a_classifier(after_tags):
    path = after_tags.artifacts["previous"] / ARTIFACT_FILE
    classifier = networks.load_classifier(path)
    assert classifier.config == CLASSIFIER
    assert not classifier.training
    assert torch.equal(classifier.head.weight, networks.load_isim(path)[0].classifier.head.weight)


def test_the_loss_is_that_of_tags_plus_that_of_pixels(after_tags):
    job = task(after_tags, items=[item(0, (1, 2)), item(2)], segmentation_weight=0.5)
    torch.manual_seed(2)
    model, batch = job.build_model().eval(), batch_of(job)
    found = job.losses(model, batch)
    tags, pixels = model(batch["image"])
    expected = F.binary_cross_entropy_with_logits(tags[0], batch["target"])
    assert torch.allclose(found["classification"], expected)
    normal = F.cross_entropy(pixels[:1], batch["label"][:1].long())
    assert torch.allclose(found["segmentation"], (normal + math.log(3)) / 2, atol=1e-6)
    assert torch.allclose(found["loss"], found["classification"] + 0.5 * found["segmentation"])
    first = task(items=[item(0)], **FIRST)
    assert first.losses(first.build_model(), batch_of(first)).keys() == {"loss", "classification"}


def test_ignored_pixels_leave_the_mean(after_tags):
    job = task(after_tags, augmentation={"crop_px": 96, "padding_label": 255})
    model, batch = job.build_model().eval(), batch_of(job)
    assert (batch["label"] == 255).float().mean() > 0.3
    logits = model(batch["image"])[1]
    expected = F.cross_entropy(logits, batch["label"].long(), ignore_index=255)
    assert torch.allclose(job.losses(model, batch)["segmentation"], expected, atol=1e-6)


def test_steps_lower_both_losses(after_tags):
    job = task(after_tags)
    torch.manual_seed(0)
    model, batch = job.build_model().train(), batch_of(job)
    optimiser = torch.optim.AdamW([p for group in job.parameter_groups(model) for p in group["params"]], lr=3e-3)
    history = []
    for _ in range(12):
        losses = job.losses(model, batch)
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
        history.append({name: float(value.detach()) for name, value in losses.items()})
    assert history[-1]["segmentation"] < 0.6 * history[0]["segmentation"]
    assert history[-1]["classification"] < history[0]["classification"]


def test_convergence_ends_a_phase_and_bounds_it(after_tags):
    rule = {"patience_epochs": 2, "max_epochs": 6}
    job = task(after_tags, convergence=rule, schedule={"num_epochs": 20})
    assert job.schedule.num_epochs == 3 + 6
    assert task(after_tags, convergence=rule, schedule={"num_epochs": 8}).schedule.num_epochs == 8
    assert not job.is_finished([1.0, 0.9, 0.8])
    assert job.is_finished([1.0, 1.0, 1.0])
    assert not task(after_tags).is_finished([1.0] * 9)


def test_a_generation_needs_its_decoder_and_the_first_phase_has_none():
    for wrong in ({"generation": 0}, {"generation": 1, "network": {"decoder": "none"}}):
        with pytest.raises(ValidationError, match="generation 0 has no pseudo labels and no decoder"):
            TrainIsimConfig.model_validate(wrong)
