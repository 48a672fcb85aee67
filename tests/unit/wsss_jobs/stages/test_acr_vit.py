"""ACR + ViT as stages: a transformer is trained, its file read, and another network's CAMs are spread by it."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from wsss_jobs import networks
from wsss_jobs.config.recipe import load_recipe
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import StageError
from wsss_jobs.pipeline import build_plan
from wsss_jobs.records import ARTIFACT_FILE, Cams, ClassifierCheckpoint, TransformerCheckpoint
from wsss_jobs.stages.base import ItemInput, Ok, StageContext
from wsss_jobs.stages.refine_cams import RefineCams, RefineCamsConfig
from wsss_jobs.stages.train_class_tokens import CosineSchedule, TrainClassTokens, TrainClassTokensConfig
from wsss_jobs.stages.trained_encoder import encoder_or_classifiers

CONTEXT = StageContext(("cat", "dog"), seed=3, device="cpu", num_threads=1, artifacts={})
ITEM = DatasetItem("item", "image", "", 48, 40, (2,), "train")
OPTIONS = {
    "transformer": {"encoder": {"name": "timm/test_vit", "weights": None, "output_stride": 16, "size_multiple": 16}},
    "crop_px": 48,
    "long_side_px": (40, 60),
}


class Reader:
    def image(self, item):
        return np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """A transformer after one step."""
    job = TrainClassTokens.task(TrainClassTokensConfig.model_validate(OPTIONS), CONTEXT, [ITEM], Reader())
    model = job.build_model().train()
    sample = {name: tensor[None] for name, tensor in job.sample(0, 0).items()}
    assert sample["image"].shape == (1, 3, 48, 48)
    assert sample["target"].tolist() == [[0.0, 1.0]]
    optimiser = torch.optim.AdamW(job.parameter_groups(model), lr=0.01)
    losses = [float(job.losses(model, sample)["loss"].detach())]
    for _ in range(3):
        optimiser.zero_grad()
        job.losses(model, sample)["loss"].backward()
        optimiser.step()
    losses.append(float(job.losses(model.eval(), sample)["loss"].detach()))
    assert losses[1] < losses[0]
    job.save(model, tmp_path / ARTIFACT_FILE)
    return tmp_path


def test_cams_are_spread_and_keep_their_classes_and_sizes(folder):
    context = StageContext(CONTEXT.class_names, 3, "cpu", 1, {"transformer": folder})
    rng = np.random.default_rng(1)
    cams = Cams((2,), rng.random((1, 10, 12)).astype(np.float16), rng.random((1, 40, 48)).astype(np.float16))
    [outcome] = RefineCams(RefineCamsConfig(), context).process([ItemInput(ITEM, Reader().image(ITEM), {"cams": cams})])
    assert isinstance(outcome, Ok), outcome
    found = outcome.record
    assert found.class_ids == (2,)
    assert (found.cam_Khw.shape, found.high_res_KHW.shape) == ((1, 10, 12), (1, 40, 48))
    assert found.cam_Khw.dtype == np.float16
    assert not np.array_equal(found.cam_Khw, cams.cam_Khw)
    assert 0 <= found.cam_Khw.min() <= found.cam_Khw.max() <= 1


def test_a_transformer_is_a_classifier_for_cams_and_no_encoder(folder):
    assert issubclass(TransformerCheckpoint, ClassifierCheckpoint)
    assert networks.load_classifier(folder / ARTIFACT_FILE).num_foreground == 2
    context = StageContext(CONTEXT.class_names, 3, "cpu", 1, {"classifier": folder})
    with pytest.raises(StageError, match="name an encoder"):
        encoder_or_classifiers(None, context)


def test_the_rate_rises_for_the_warm_up_and_falls_to_nothing():
    schedule = CosineSchedule()
    factors = [schedule.lr_factor(step, 600) for step in range(600)]
    assert factors[:3] == pytest.approx([1 / 50, 2 / 50, 3 / 50])
    assert factors[50] == pytest.approx(1.0)
    assert factors[325] == pytest.approx(0.5)
    assert factors[-1] < 1e-4
    assert all(a >= b for a, b in pairwise(factors[50:]))


def test_the_recipe_spreads_the_cams_of_acr():
    plan = build_plan(load_recipe("acr_vit_voc").stages, "data", 0)
    assert plan.stage("infer_cams").inputs["classifier"] == "train_acr"
    assert plan.stage("refine_cams").inputs == {"cams": "infer_cams", "transformer": "train_class_tokens"}
    assert plan.stage("make_affinity_labels").inputs["cams"] == "refine_cams"
