"""Group-wise training and inference without Ray: what a sample is, who is whose partner, and a short training."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.utils.data import default_collate

from models.groupwise.group_cams import GroupCamOptions, GroupCamReader
from models.groupwise.network import build_groupwise
from wsss_jobs import networks
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import DataError, StageError
from wsss_jobs.records import ARTIFACT_FILE, Cams, ClassPrediction
from wsss_jobs.stages.base import DatasetView, Failed, ItemInput, Ok, StageContext
from wsss_jobs.stages.infer_groupwise_cams import InferGroupwiseCams, InferGroupwiseCamsConfig
from wsss_jobs.stages.train_groupwise import GroupSchedule, TrainGroupwise, TrainGroupwiseConfig
from wsss_jobs.stages.trained_encoder import encoder_or_classifiers

CONTEXT = StageContext(("cat", "dog"), seed=3, device="cpu", num_threads=1, artifacts={})
ENCODER = {"name": "timm/test_efficientnet", "weights": None, "output_stride": 16, "size_multiple": 16}
NETWORK = {
    "encoder": ENCODER,
    "node_channels": 16,
    "group_size": 3,
    "num_steps": 2,
    "train_batch_norm": True,
    "init": "pytorch",
}


def item(index, labels, split="train"):
    return DatasetItem(f"item{index}", f"image{index}", "", 64, 48, labels, split)


ITEMS = [item(0, (1,)), item(1, (1,)), item(2, (1, 2)), item(3, (2,)), item(4, (2,), "test")]


class Reader:
    """A red square for class 1, a blue one for class 2, on noise; `broken` items cannot be decoded."""

    def __init__(self, broken=(), predictions=None):
        self.broken = broken
        self.predictions = predictions or {}
        self.asked = []

    def image(self, item):
        self.asked.append(item.item_id)
        if item.item_id in self.broken:
            raise DataError(item.source_key, "truncated", "cannot be decoded")
        rng = np.random.default_rng([*item.item_id.encode()])
        image_HW3 = rng.integers(90, 160, (48, 64, 3), dtype=np.uint8)
        for label in item.labels:
            left = 4 + 28 * (label - 1)
            image_HW3[10:38, left : left + 24] = ((250, 10, 10), (10, 10, 250))[label - 1]
        return image_HW3

    def record(self, port, item):
        assert port == "predictions"
        if item.item_id not in self.predictions:
            raise DataError(item.source_key, "missing_input", "was not predicted")
        return ClassPrediction((self.predictions[item.item_id],), np.ones(1, dtype=np.float32))


def task(items=None, **options):
    options = {"network": NETWORK, "resize_px": 64, "crop_px": 48, "colour_jitter": 0.0, **options}
    config = TrainGroupwiseConfig.model_validate(options)
    return TrainGroupwise.task(config, CONTEXT, items or ITEMS, Reader())


def test_defaults_are_the_papers():
    config = TrainGroupwiseConfig()
    network, schedule = config.network, config.schedule
    assert (network.group_size, network.num_steps, network.reduction) == (4, 3, 4)
    assert (network.loss.graph, network.loss.intermediate, network.loss.edge) == (0.7, 0.1, 0.2)
    assert (network.dropout.drop_probability, network.dropout.region_threshold) == (0.2, 0.7)
    assert (config.encoder_lr, config.new_lr, config.crop_px, config.sampling) == (1e-3, 1e-2, 224, "greedy")
    assert (schedule.num_epochs, schedule.weight_decay) == (15, 5e-4)
    assert schedule.sgd_options() == {"momentum": 0.9, "weight_decay": 5e-4, "nesterov": True}


def test_learning_rates_fall_every_five_epochs():
    schedule = GroupSchedule()
    factors = [schedule.lr_factor(step, 150) for step in (0, 49, 50, 99, 100, 149)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert GroupSchedule(lr_step_epochs=None).lr_factor(75, 150) == pytest.approx(0.5**0.9)


def test_a_sample_is_a_group_with_its_tags():
    training = task()
    sample = training.sample(0, 0)
    assert sample["image"].shape == (3, 3, 48, 48)
    assert sample["present"].tolist() == [True, True, True]
    assert sample["target"][0].tolist() == [1, 0]
    assert sorted(sample["target"][1:].tolist()) == [[1, 0], [1, 1]]  # image 1 before image 2, and never image 3
    again = task().sample(0, 0)
    assert all(torch.equal(sample[name], again[name]) for name in sample)
    assert not torch.equal(sample["image"], training.sample(0, 1)["image"])


def test_an_image_without_partner_is_a_group_with_empty_places():
    sample = task([item(0, (1,)), item(1, (2,))]).sample(0, 0)
    assert sample["present"].tolist() == [True, False, False]
    assert not sample["image"][1:].any()
    assert not sample["target"][1:].any()


def test_only_the_named_splits_are_learned_from():
    assert len(task(splits=["train"])) == 4
    with pytest.raises(StageError, match=r"no images of splits \['val'\]"):
        task(splits=["val"])


def test_configs_that_make_no_sense():
    with pytest.raises(ValidationError, match="crop_px 300 must not be larger than resize_px 256"):
        TrainGroupwiseConfig(crop_px=300)
    with pytest.raises(ValidationError, match="nesterov needs momentum"):
        GroupSchedule(momentum=0.0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network after some steps, and its folder."""
    torch.manual_seed(0)
    training = task()
    model = training.build_model().train()
    optimiser = torch.optim.Adam(training.parameter_groups(model), lr=0.01)
    first = last = None
    for step in range(12):
        batch = default_collate([training.sample(index, step) for index in range(4)])
        losses = training.losses(model, batch)
        assert set(losses) == {"loss", "graph", "intermediate", "edge"}
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
        last = float(losses["loss"].detach())
        first = last if first is None else first
    folder = tmp_path_factory.mktemp("network")
    training.save(model, folder / ARTIFACT_FILE)
    return first, last, folder


def test_training_lowers_the_loss(trained):
    first, last, _ = trained
    assert last < 0.95 * first


def test_the_loss_is_the_weighted_sum_of_its_terms():
    training = task()
    model = training.build_model().eval()
    losses = training.losses(model, default_collate([training.sample(0, 0), training.sample(3, 0)]))
    expected = 0.7 * losses["graph"] + 0.1 * losses["intermediate"] + 0.2 * losses["edge"]
    torch.testing.assert_close(losses["loss"], expected)


def test_the_file_gives_the_network_back(trained):
    network = networks.load_groupwise(trained[2] / ARTIFACT_FILE)
    assert network.num_foreground == 2
    assert network.config.group_size == 3
    assert not network.training


def stage(folder, reader=None, items=ITEMS, **options):
    context = StageContext(("cat", "dog"), 3, "cpu", 1, {"network": folder}, DatasetView(items, reader or Reader()))
    config = InferGroupwiseCamsConfig(input_px=48, **options)
    return InferGroupwiseCams(config, context)


def outcomes(infer, numbers, records=None):
    reader = Reader()
    return infer.process([ItemInput(ITEMS[n], reader.image(ITEMS[n]), records or {}) for n in numbers])


def test_cams_are_the_records_of_infer_cams(trained):
    infer = stage(trained[2])
    results = outcomes(infer, [2, 3])
    for result, ids in zip(results, [(1, 2), (2,)], strict=True):
        assert isinstance(result, Ok)
        cams = result.record
        assert isinstance(cams, Cams)
        assert cams.class_ids == ids
        assert cams.cam_Khw.shape == (len(ids), 12, 16)
        assert cams.high_res_KHW.shape == (len(ids), 48, 64)
        assert cams.cam_Khw.dtype == np.float16
        assert 0 <= cams.cam_Khw.min() <= cams.cam_Khw.max() <= 1
        assert result.scores["num_partners"] == 2


def test_cams_do_not_depend_on_who_else_is_worked_on(trained):
    together = outcomes(stage(trained[2]), [0, 1, 2, 3])
    alone = outcomes(stage(trained[2]), [2])
    backwards = outcomes(stage(trained[2]), [3, 2, 1, 0])[::-1]
    assert np.array_equal(together[2].record.cam_Khw, alone[0].record.cam_Khw)
    for one, other in zip(together, backwards, strict=True):
        assert np.array_equal(one.record.cam_Khw, other.record.cam_Khw)


def test_a_partner_that_cannot_be_decoded_is_left_out(trained):
    infer = stage(trained[2], Reader(broken=("item1",)))
    (result,) = outcomes(infer, [0])
    assert result.scores["num_partners"] == 1


def test_an_image_without_tags_is_a_failed_item(trained):
    untagged = DatasetItem("item9", "image9", "", 64, 48, (), "train")
    infer = stage(trained[2], items=[*ITEMS, untagged])
    (result,) = infer.process([ItemInput(untagged, np.zeros((48, 64, 3), np.uint8), {})])
    assert isinstance(result, Failed)
    assert result.reason == "unlabelled"


def test_groups_by_predicted_class_stay_within_a_split(trained):
    reader = Reader(predictions={"item0": 2, "item1": 1, "item2": 2, "item3": 2, "item4": 2})
    infer = stage(trained[2], reader, labels="predicted")
    prediction = {"predictions": ClassPrediction((2,), np.ones(1, dtype=np.float32))}
    (result,) = outcomes(infer, [0], prediction)
    assert set(reader.asked) == {"item2", "item3"}  # predicted as 2, and in `train`; item 4 is in `test`
    assert result.record.class_ids == (1, 2)  # the tag and the prediction


def test_maps_are_the_mean_of_both_read_outs(trained):
    model = networks.load_groupwise(trained[2] / ARTIFACT_FILE)
    image_HW3 = Reader().image(ITEMS[2])
    options = GroupCamOptions(input_px=48, normalisation="min_max")
    reader = GroupCamReader(model, options)
    group = [reader.encode(image_HW3), reader.encode(Reader().image(ITEMS[0]))]
    got = reader.read([group], (48, 64), [2]).high_res_KHW[0]
    nodes = torch.stack([views[0] for views in group])[None]
    with torch.no_grad():
        maps = model.class_maps(nodes, torch.ones(1, 2, dtype=torch.bool))
    mean_hw = (maps.graph_GKLhw[0, 0, 1] + maps.intermediate_GKLhw[0, 0, 1]) / 2
    raw = torch.nn.functional.interpolate(mean_hw[None, None], (48, 64), mode="bilinear")[0, 0]
    torch.testing.assert_close(got, (raw - raw.min()) / (raw.max() - raw.min()), atol=1e-5, rtol=1e-4)


def test_mirrored_views_mirror_the_maps(trained):
    model = networks.load_groupwise(trained[2] / ARTIFACT_FILE)
    reader = GroupCamReader(model, GroupCamOptions(input_px=48, flip=True, scales=(1.0, 1.5)))
    image_HW3 = Reader().image(ITEMS[2])
    cam = reader.read([[reader.encode(image_HW3)]], (48, 64), [1, 2]).high_res_KHW
    mirrored = np.ascontiguousarray(image_HW3[:, ::-1])
    other = reader.read([[reader.encode(mirrored)]], (48, 64), [1, 2]).high_res_KHW
    torch.testing.assert_close(cam, other.flip(-1), atol=1e-4, rtol=1e-3)


def test_a_readout_that_was_not_trained_is_named():
    config = TrainGroupwiseConfig.model_validate({"network": {**NETWORK, "loss": {"intermediate": 0.0}}}).network
    model = build_groupwise(config, 2, load_weights=False)
    with pytest.raises(ValueError, match="readout 'intermediate': the network was trained without it"):
        GroupCamReader(model, GroupCamOptions(readout="intermediate"))


def test_later_stages_can_have_the_encoder(trained):
    context = StageContext(("cat", "dog"), 3, "cpu", 1, {"classifier": trained[2]})
    config, encoder = encoder_or_classifiers(None, context)
    network = networks.load_groupwise(trained[2] / ARTIFACT_FILE)
    assert config == network.config.encoder
    for mine, theirs in zip(encoder.parameters(), network.encoder.parameters(), strict=True):
        assert torch.equal(mine, theirs)
