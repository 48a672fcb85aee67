"""The training of a segmentation network: what a sample is, what a pixel weighs, the schedule, and a short training."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.backbones import EncoderConfig
from models.segmentation import DeepLabConfig
from models.segmentation.multi_scale import class_probabilities
from wsss_jobs import networks
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import DataError, StageError
from wsss_jobs.records import ARTIFACT_FILE, Mask
from wsss_jobs.stages.base import StageContext
from wsss_jobs.stages.train_segmentation import SegmentationSchedule, TrainSegmentation, TrainSegmentationConfig
from wsss_jobs.training.task import ScoredTask

HEIGHT, WIDTH = 48, 64
CONTEXT = StageContext(("cat", "dog"), seed=3, device="cpu", num_threads=1, artifacts={})
NETWORK = DeepLabConfig(
    EncoderConfig("timm/test_efficientnet", None, output_stride=16),
    rates=(1, 2),
    head_channels=16,
    low_level_channels=8,
    train_batch_norm=True,
)


def item(index, split="train"):
    return DatasetItem(f"item{index}", f"image{index}", "", WIDTH, HEIGHT, (1, 2), split)


class Reader:
    """Grey images with a red square (class 1) and a blue one (class 2), unlabelled around; the CRF changed class 2."""

    def __init__(self, numbers=(("item0", 0.25), ("item1", None))):
        self.numbers = dict(numbers)

    def image(self, item):
        return self.picture(item)[0]

    def record(self, port, item):
        assert port == "masks"
        label_HW = self.picture(item)[1]
        return Mask(label_HW, np.where(label_HW == 2, 1, label_HW).astype(np.uint8))

    def score(self, port, item, column):
        return self.numbers.get(item.item_id)

    def picture(self, item):
        rng = np.random.default_rng([*item.item_id.encode()])
        image_HW3 = rng.integers(90, 160, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        label_HW = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        for class_id, colour, half in ((1, (250, 10, 10), 2), (2, (10, 10, 250), 34)):
            top, left = int(rng.integers(2, 20)), half + int(rng.integers(0, 6))
            label_HW[top - 2 : top + 24, left - 2 : left + 24] = 255
            label_HW[top : top + 22, left : left + 22] = class_id
            image_HW3[top : top + 22, left : left + 22] = colour
        return image_HW3, label_HW


def task(items=None, reader=None, **options):
    options = {"network": NETWORK, "augmentation": {"scales": (1.0,), "crop_px": 64}, "loss_at": "image", **options}
    config = TrainSegmentationConfig.model_validate(options)
    return TrainSegmentation.task(config, CONTEXT, items or [item(0), item(1)], reader or Reader())


def test_defaults_are_those_of_deeplab_v2_on_voc():
    config = TrainSegmentationConfig()
    schedule = config.schedule
    assert (schedule.num_steps, schedule.global_batch_size, schedule.momentum) == (20_000, 10, 0.9)
    assert (schedule.weight_decay, schedule.poly_power, schedule.lr_update_steps) == (5e-4, 0.9, 10)
    assert (config.encoder_lr, config.head_lr, config.biases.lr_factor) == (2.5e-4, 2.5e-3, 2.0)
    assert (config.network.encoder.name, config.network.head, config.loss_at) == ("resnet101", "v2", "head")
    assert (config.augmentation.scales, config.augmentation.crop_px) == ((0.5, 0.75, 1.0, 1.25, 1.5), 321)


@given(num_items=st.integers(1, 200), steps=st.integers(1, 500), every=st.integers(1, 20), step=st.integers(0, 499))
def test_the_schedule_is_the_poly_curve_in_stairs(num_items, steps, every, step):
    schedule = SegmentationSchedule(num_steps=steps, lr_update_steps=every)
    assert schedule.total_steps(num_items) == steps
    step = min(step, steps - 1)
    assert schedule.lr_factor(step, steps) == pytest.approx((1 - (step // every) * every / steps) ** 0.9)


def test_without_a_number_of_steps_epochs_count():
    schedule = SegmentationSchedule(num_steps=None, num_epochs=50, global_batch_size=16)
    assert schedule.total_steps(10_582) == 661 * 50


def test_a_sample_keeps_image_label_and_weight_together():
    job = task(confidence={"changed_by_crf": 0.5}, augmentation={"scales": [0.75, 1.5], "crop_px": 96})
    seen = set()
    for epoch in range(12):
        sample = job.sample(1, epoch)
        image, label, weight = sample["image"], sample["label"], sample["weight"]
        assert (image.shape, label.shape, weight.shape) == ((3, 96, 96), (96, 96), (96, 96))
        inside = image.abs().sum(0) > 0
        assert (label[~inside] == 255).all()
        assert set(weight[label == 2].tolist()) <= {0.5}
        assert set(weight[(label == 0) | (label == 1)].tolist()) <= {1.0}
        red, blue = image[0] - image[2] > 2, image[2] - image[0] > 2
        assert (red[label == 1]).float().mean() > 0.9
        assert (blue[label == 2]).float().mean() > 0.9
        columns = [float(torch.nonzero(label == class_id)[:, 1].float().mean()) for class_id in (1, 2)]
        seen.add((columns[0] < columns[1], int(inside.sum()) > HEIGHT * WIDTH))
    assert len(seen) == 4  # plain and mirrored, reduced and enlarged


@settings(deadline=None, max_examples=20)
@given(low=st.integers(20, 60), spread=st.integers(0, 60), seed=st.integers(0, 99))
def test_the_longer_side_is_drawn_from_the_range(low, spread, seed):
    augmentation = TrainSegmentationConfig(
        augmentation={"long_side_px": (low, low + spread), "crop_px": 64}
    ).augmentation
    height, width = augmentation.drawn_size((HEIGHT, WIDTH), np.random.default_rng(seed))
    assert low <= width <= low + spread
    assert height == round(width * HEIGHT / WIDTH)


def test_an_images_confidence_weights_all_of_its_pixels():
    job = task(confidence={"image_column": "c"})
    weights = [job.sample(index, 0)["weight"] for index in (0, 1)]
    assert [float(weight.max()) for weight in weights] == [0.25, 1.0]


def test_images_below_the_minimum_count_nothing():
    for minimum, wanted in ((0.2, [0.25, 1.0]), (0.25, [0.25, 1.0]), (0.3, [0.0, 1.0])):
        job = task(confidence={"image_column": "c", "image_minimum": minimum})
        assert [float(job.sample(index, 0)["weight"].max()) for index in (0, 1)] == wanted
    with pytest.raises(ValueError, match="image_minimum needs an image_column"):
        task(confidence={"image_minimum": 0.5})


@pytest.mark.parametrize("encoder", ["timm/test_efficientnet", "mobilenet_v2"])
def test_batch_norm_counts_over_all_workers_where_there_is_cuda(encoder):
    models = []
    for device in ("cpu", "cuda"):
        context = StageContext(CONTEXT.class_names, 0, device, 1, {})
        network = replace(NETWORK, encoder=EncoderConfig(encoder, None), head_norm="batch")
        torch.manual_seed(0)
        config = TrainSegmentationConfig(network=network)
        models.append(TrainSegmentation.task(config, context, [item(0)], Reader()).build_model().eval())
    ours, synchronised = models
    norms = [m for m in synchronised.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert all(isinstance(norm, torch.nn.SyncBatchNorm) for norm in norms)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(ours(images)[0], synchronised(images)[0])  # nothing but the statistics is another
    assert ours.state_dict().keys() == synchronised.state_dict().keys()


def losses_of(job, model, indices):
    samples = [job.sample(index, 0) for index in indices]
    batch = {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}
    return job.losses(model, batch)["loss"], batch


@pytest.mark.parametrize("loss_at", ["image", "head"])
def test_the_loss_is_the_weighted_mean_over_the_labelled_pixels_of_the_batch(loss_at):
    job = task(confidence={"changed_by_crf": 0.5, "image_column": "c"}, loss_at=loss_at)
    torch.manual_seed(0)
    model = job.build_model().eval()
    with torch.no_grad():
        loss, batch = losses_of(job, model, (0, 1))
        logits = model.pixel_logits(batch["image"]) if loss_at == "image" else model(batch["image"])[0]
    centres = np.floor((np.arange(logits.shape[2]) + 0.5) * 64 / logits.shape[2]).astype(int)
    label = batch["label"].numpy()[:, centres][:, :, centres]
    weight = batch["weight"].numpy()[:, centres][:, :, centres]
    log_prob = logits.log_softmax(1).numpy()
    total = weights = 0.0
    for b, y, x in np.argwhere(label != 255):
        total -= weight[b, y, x] * log_prob[b, label[b, y, x], y, x]
        weights += weight[b, y, x]
    assert float(loss) == pytest.approx(total / weights, rel=1e-5)


def test_several_scales_add_their_losses():
    job = task(network=DeepLabConfig(NETWORK.encoder, "v2", (1, 2), training_scales=(0.5, 0.75)), loss_at="head")
    torch.manual_seed(0)
    model = job.build_model().train()
    for parameter in model.head.parameters():
        torch.nn.init.zeros_(parameter)
    loss, _ = losses_of(job, model, (0, 1))
    assert float(loss.detach()) == pytest.approx(4 * np.log(3), rel=1e-5)  # image, two scales, and their maximum


def test_a_batch_without_labels_costs_nothing_and_teaches_nothing():
    class Unlabelled(Reader):
        def record(self, port, item):
            empty = np.full((HEIGHT, WIDTH), 255, np.uint8)
            return Mask(empty, empty)

    job = task(reader=Unlabelled())
    model = job.build_model().train()
    loss, _ = losses_of(job, model, (0, 1))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        (np.zeros((HEIGHT, WIDTH + 1), np.uint8), "size_mismatch"),
        (np.full((HEIGHT, WIDTH), 7, np.uint8), "out_of_range"),
    ],
)
def test_masks_that_do_not_fit_are_named(label, reason):
    class Bad(Reader):
        def record(self, port, item):
            return Mask(label, label)

    with pytest.raises(DataError, match="its mask") as error:
        task(reader=Bad()).sample(0, 0)
    assert reason in error.value.reason


def test_a_confidence_beyond_one_and_a_set_without_items_are_refused():
    with pytest.raises(DataError, match=r"must lie in 0\.\.1; it is 12"):
        task(reader=Reader([("item0", 12.0)]), confidence={"image_column": "c"}).sample(0, 0)
    with pytest.raises(StageError, match="no items are left"):
        task(held_splits=("train",))
    with pytest.raises(ValueError, match="not both"):
        task(augmentation={"scales": [1.0], "long_side_px": [32, 64]})


def test_a_short_training_learns_the_squares_and_is_scored_on_held_items(tmp_path):
    """No Ray: a dozen steps of the task, then the network from its file on images that it has not seen."""
    items = [item(index) for index in range(8)] + [item(index, "val") for index in range(8, 11)]
    job = task(items, held_splits=("val",), encoder_lr=3e-3, head_lr=3e-3)
    assert len(job) == 8
    assert isinstance(job, ScoredTask)
    torch.manual_seed(0)
    model = job.build_model().train()
    optimiser = torch.optim.AdamW(job.parameter_groups(model))
    before = job.scores(model.eval(), torch.device("cpu"))["held_pixel_accuracy"]
    for epoch in range(20):
        model.train()
        samples = [job.sample(index, epoch) for index in range(8)]
        batch = {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}
        loss = job.losses(model, batch)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    after = job.scores(model.eval(), torch.device("cpu"))["held_pixel_accuracy"]
    assert after > max(before, 0.8)  # all background: 0.63
    job.save(model, tmp_path / ARTIFACT_FILE)
    loaded = networks.load_deeplab(tmp_path / ARTIFACT_FILE)
    image_HW3, label_HW = Reader().picture(item(9))
    label = class_probabilities(loaded, image_HW3, (1.0,), "mean_probability", flip=True).argmax(0)
    ious = [
        ((label == c) & (label_HW == c)).sum() / (((label == c) & (label_HW != 255)) | (label_HW == c)).sum()
        for c in range(3)
    ]
    assert np.mean(ious) > 0.5  # all background: 0.21


def test_held_accuracy_counts_labelled_pixels():
    job = task([item(0), item(1, "val")], held_splits=("val",))
    model = job.build_model().eval()
    image_HW3, label_HW = Reader().picture(item(1))
    label = class_probabilities(model, image_HW3, (1.0,), "mean_probability", flip=False).argmax(0)
    expected = (label == label_HW)[label_HW != 255].mean()
    assert job.scores(model, torch.device("cpu")) == {"held_pixel_accuracy": pytest.approx(expected)}
    assert task().scores(model, torch.device("cpu")) == {}
