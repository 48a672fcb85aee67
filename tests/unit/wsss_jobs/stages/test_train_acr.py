"""The stages of ACR: samples, who learns in each of the paper's settings, and files that CAM inference reads."""

import numpy as np
import pytest
import torch

from models.classifiers.multi_scale_cam import multi_scale_cam
from wsss_jobs import networks
from wsss_jobs.config.recipe import load_recipe
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import ConfigError, StageError
from wsss_jobs.pipeline import build_plan
from wsss_jobs.records import ARTIFACT_FILE, ClassifierCheckpoint, ReconstructorCheckpoint
from wsss_jobs.stages.base import StageContext
from wsss_jobs.stages.train_acr import TrainAcr, TrainAcrConfig
from wsss_jobs.stages.train_reconstructor import TrainReconstructor, TrainReconstructorConfig
from wsss_jobs.training.task import AlternatingTask, KeepingTask, LossTask

CONTEXT = StageContext(("cat", "dog", "cow"), seed=3, device="cpu", num_threads=1, artifacts={})
ENCODER = {"name": "timm/test_efficientnet", "weights": None, "output_stride": 8}
RECONSTRUCTOR = {
    "encoder": ENCODER,
    "tap_channels": (3, 4, 5),
    "head_channels": 4,
    "decoder": {"depth": 3, "base_channels": 4, "max_channels": 8},
}
OPTIONS = {
    "reconstructor": RECONSTRUCTOR,
    "schedule": {"optimiser": "adamw", "global_batch_size": 2, "num_epochs": 2},
    "augmentation": {"long_side_px": (40, 60), "crop_px": 52},
    "remnants": {"cells": 4},
}
ITEMS = [DatasetItem(f"item{i}", f"image{i}", "", 48, 40, tags, "train") for i, tags in enumerate([(1, 3), (2,), ()])]


class Reader:
    def image(self, item):
        return np.random.default_rng([*item.item_id.encode()]).integers(0, 256, (40, 48, 3), dtype=np.uint8)

    def record(self, port, item):
        raise AssertionError

    def score(self, port, item, column):
        raise AssertionError


def task(context=CONTEXT, **options):
    options = {"classifier": {"encoder": ENCODER, "head_channels": 6}, **OPTIONS, **options}
    return TrainAcr.task(TrainAcrConfig.model_validate(options), context, ITEMS, Reader())


def batch_of(job, epoch=0):
    samples = [job.sample(index, epoch) for index in range(len(ITEMS))]
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


def step(job, model):
    """One step of the training loop, without Ray; returns the losses by name."""
    found = {}
    for player in job.players(model):
        losses = player.losses(player.network, batch_of(job))
        optimiser = torch.optim.AdamW(player.groups, lr=0.01)
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
        found |= {player.prefix + name: float(value.detach()) for name, value in losses.items()}
    return found


def state(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def changed(network, before):
    return any(not torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_sample_holds_a_crop_its_tags_a_target_among_them_and_leaks():
    job = task()
    targets, leaks = set(), []
    for epoch in range(30):
        sample = job.sample(0, epoch)
        assert sample["image"].shape == (3, 52, 52)
        assert sample["labels"].tolist() == [1.0, 0.0, 1.0]
        assert sample["leak"].shape == (1, 4, 4)
        targets.add(int(sample["target"]))
        leaks.append(float(sample["leak"].mean()))
    assert targets == {0, 2}
    assert np.mean(leaks[:10]) > np.mean(leaks[-10:]) > 0.35  # 0.8 falls by 0.01 an epoch
    assert int(job.sample(2, 0)["target"]) == -1
    again, other = job.sample(0, 4), task().sample(0, 4)
    assert all(torch.equal(again[name], other[name]) for name in again)


def test_the_papers_range_of_sizes_replaces_the_long_side():
    job = task(augmentation={"scale_range": (0.5, 0.5), "crop_px": 52})
    covered = job.sample(0, 0)["image"].abs().sum(0) > 0
    assert int(covered.sum()) == 20 * 24
    with pytest.raises(ValueError, match="0 < low <= high"):
        TrainAcrConfig.model_validate({**OPTIONS, "augmentation": {"scale_range": (1.3, 0.5)}})


def test_both_networks_learn_in_turns_each_with_its_own_rates():
    job = task(encoder_lr=0.1, head_lr=0.2, reconstructor_lr=0.3, decoder_lr=0.4, transposed_lr_factor=10.0)
    model = job.build_model().train()
    assert isinstance(job, AlternatingTask)
    assert not isinstance(job, LossTask)
    reconstructor, classifier = job.players(model)
    assert (reconstructor.prefix, classifier.prefix) == ("reconstructor_", "")
    assert {group["lr"] for group in classifier.groups} == {0.1, 0.2}
    assert {group["lr"] for group in reconstructor.groups} == {0.3, 0.6, 0.4, 0.8, 4.0}  # biases: x2
    transposed = {id(layer.conv.weight) for layer in model.reconstructor.decoder.up}
    [fast] = [group for group in reconstructor.groups if group["lr"] == 4.0]
    assert {id(parameter) for parameter in fast["params"]} == transposed
    norms = {id(p) for net in (model.classifier, model.reconstructor) for p in net.encoder.batch_norm_parameters()}
    listed = [id(p) for player in (reconstructor, classifier) for group in player.groups for p in group["params"]]
    assert len(listed) == len(set(listed))
    assert not norms & set(listed)
    before = state(model.classifier), state(model.reconstructor)
    losses = step(job, model)
    assert {"loss", "spoilt_target", "spoilt_rest", "reconstructor_loss", "reconstructor_whole"} <= set(losses)
    assert changed(model.classifier, before[0])
    assert changed(model.reconstructor, before[1])


def test_the_baseline_has_no_reconstructor():
    job = task(adversary="none")
    model = job.build_model().train()
    assert model.reconstructor is None
    assert set(step(job, model)) == {"loss"}
    assert TrainAcr.reads(TrainAcrConfig(adversary="none")) == {}


@pytest.fixture
def pretrained(tmp_path):
    """Folder of a reconstructor that was trained against a finished baseline."""
    baseline = task(adversary="none")
    (tmp_path / "classifier").mkdir()
    baseline.save(baseline.build_model(), tmp_path / "classifier" / ARTIFACT_FILE)
    context = StageContext(CONTEXT.class_names, 3, "cpu", 1, {"classifier": tmp_path / "classifier"})
    job = TrainReconstructor.task(TrainReconstructorConfig.model_validate(OPTIONS), context, ITEMS, Reader())
    model = job.build_model().train()
    before = state(model.classifier), state(model.reconstructor)
    assert set(step(job, model)) == {"loss", "target", "rest", "whole", "classification"}
    assert not changed(model.classifier, before[0])
    assert changed(model.reconstructor, before[1])
    (tmp_path / "reconstructor").mkdir()
    job.save(model, tmp_path / "reconstructor" / ARTIFACT_FILE)
    loaded = networks.load_reconstructor(tmp_path / "reconstructor" / ARTIFACT_FILE)
    assert not changed(loaded, state(model.reconstructor))
    return tmp_path / "reconstructor"


def test_a_pretrained_reconstructor_stays_as_it_is(pretrained):
    config = TrainAcrConfig(adversary="pretrained")
    assert TrainAcr.reads(config) == {"reconstructor": ReconstructorCheckpoint}
    job = task(StageContext(CONTEXT.class_names, 3, "cpu", 1, {"reconstructor": pretrained}), adversary="pretrained")
    model = job.build_model().train()
    before = state(model.classifier), state(model.reconstructor)
    assert set(step(job, model)) == {"loss", "classification", "spoilt_target", "spoilt_rest"}
    assert changed(model.classifier, before[0])
    assert not changed(model.reconstructor, before[1])


def test_only_acrs_classifier_can_teach_a_reconstructor(tmp_path):
    from models.backbones import EncoderConfig
    from models.classifiers.cam import build_cam_classifier
    from models.classifiers.config import CamClassifierConfig

    other = build_cam_classifier(CamClassifierConfig(EncoderConfig("timm/test_efficientnet", None)), 3)
    networks.save_classifier(other, tmp_path / ARTIFACT_FILE)
    context = StageContext(CONTEXT.class_names, 3, "cpu", 1, {"classifier": tmp_path})
    with pytest.raises(StageError, match="train_acr"):
        TrainReconstructor.task(TrainReconstructorConfig.model_validate(OPTIONS), context, ITEMS, Reader())


def test_its_file_gives_the_cams_of_the_released_inference(tmp_path):
    """Fact sheet 1.3: ReLU of the maps, enlarged to the image, summed, least to greatest."""
    job = task(adversary="none")
    model = job.build_model()
    job.save(model, tmp_path / ARTIFACT_FILE)
    loaded = networks.load_classifier(tmp_path / ARTIFACT_FILE)
    assert not changed(loaded, state(model.classifier))
    image = Reader().image(ITEMS[0])
    found = multi_scale_cam(loaded, image, (1, 3), (1.0,), "psa").high_res_KHW
    with torch.no_grad():
        x = loaded.normalisation(image)[None]
        plain, mirrored = loaded(x)[0].clamp_min(0), loaded(x.flip(-1))[0].clamp_min(0).flip(-1)
        total = torch.nn.functional.interpolate(plain + mirrored, size=(40, 48), mode="bilinear")[0, [0, 2]]
    low, high = total.amin((1, 2), keepdim=True), total.amax((1, 2), keepdim=True)
    assert torch.allclose(found, (total - low - 1e-5).clamp_min(0) / (high - low + 1e-5), atol=1e-5)


def test_recipes_feed_what_is_read():
    for name in ("acr_voc", "acr_wsgcn_voc", "acr_coco", "acr_small"):
        plan = build_plan(load_recipe(name).stages, "data", 0)
        assert plan.stage("infer_cams").inputs == {"classifier": "train_acr"}
        assert plan.stage("train_acr").inputs == {}
    with pytest.raises(ConfigError, match="no earlier stage writes ReconstructorCheckpoint"):
        build_plan(load_recipe("acr_small", ["stages.train_acr.adversary=pretrained"]).stages, "data", 0)


def test_kept_epochs_are_files_of_the_classifier_alone(tmp_path):
    job = task(schedule={"num_epochs": 9}, keep_epochs=[2, 5])
    assert isinstance(job, KeepingTask)
    assert job.keep_epochs == (2, 5)
    model = job.build_model().train()
    job.save(model, tmp_path / "epoch_2.pt")
    assert model.training  # the training goes on
    assert not changed(networks.load_classifier(tmp_path / "epoch_2.pt"), state(model.classifier))


@pytest.mark.parametrize("epochs", [[5, 2], [2, 2], [0, 2], [2, 9], [10]])
def test_epochs_to_keep_are_ascending_and_before_the_last(epochs):
    with pytest.raises(ValueError, match=r"ascending and before the last epoch, 9"):
        TrainAcrConfig.model_validate({"schedule": {"num_epochs": 9}, "keep_epochs": epochs})


def test_who_keeps_no_epochs_has_the_fingerprint_of_before():
    assert "keep_epochs" not in TrainAcrConfig().model_dump(mode="json")
    assert TrainAcrConfig(keep_epochs=(3,)).model_dump(mode="json")["keep_epochs"] == [3]
    plain, keeping = (
        build_plan(load_recipe("acr_small", overrides).stages, "data", 0)
        for overrides in ([], ["stages.train_acr.keep_epochs=[3]"])
    )
    assert {stage.name for stage in plain.stages if stage.fingerprint != keeping.stage(stage.name).fingerprint} == {
        "train_acr", "infer_cams", "read_cams", "cam_masks",
    }  # fmt: skip


def test_acr_voc_and_its_gcn_share_all_stages_up_to_the_walk():
    plans = [build_plan(load_recipe(name).stages, "data", 0) for name in ("acr_voc", "acr_wsgcn_voc")]
    own, other = ({stage.name: stage.fingerprint for stage in plan.stages} for plan in plans)
    assert own.items() <= other.items()
    assert issubclass(plans[0].stage("train_acr").spec.WRITES, ClassifierCheckpoint)
    assert {load_recipe(name).run or load_recipe(name).name for name in ("acr_voc", "acr_wsgcn_voc")} == {"acr_voc"}


def test_defaults_are_those_of_the_released_code():
    config, recipe = TrainAcrConfig(), load_recipe("acr_voc").stages[0].config
    for name in ("losses", "remnants", "augmentation", "biases", "encoder_lr", "head_lr", "reconstructor_lr"):
        assert getattr(config, name) == getattr(recipe, name) or name == "losses"
    assert config.losses.terms == recipe.losses.terms
    assert recipe.schedule.total_steps(10_582) == 52_880  # fact sheet 2.8: drop_last, 1,322 an epoch
    assert (config.decoder_lr, config.transposed_lr_factor) == (recipe.decoder_lr, recipe.transposed_lr_factor)
