"""ISIM's whole chain in one process, through the store, without Ray: ports, artifacts, generations and their scores."""

from types import SimpleNamespace

import pytest
import ray.train
import ray.train.torch
import torch

from cluster.fan_out import WorkItem
from wsss_jobs import networks
from wsss_jobs.config.recipe import parse_recipe
from wsss_jobs.datasets.synthetic import SyntheticStyle, generate
from wsss_jobs.job import prepare
from wsss_jobs.quality.evaluate import evaluate_run
from wsss_jobs.report.generations import generations
from wsss_jobs.stage_io import stage_folder, stage_inputs, stage_kind
from wsss_jobs.stages.base import StageContext
from wsss_jobs.training.loop import LoopOptions, TrainLoop
from wsss_jobs.training.run import _StoreReader
from wsss_jobs.worker import CHECKPOINT_KEY, StageJob, StageWorker

NUM_IMAGES = 6
ENCODER = {"name": "timm/test_efficientnet", "weights": None, "size_multiple": 32}
SECTION = {
    "stage": "isim",
    "regenerate_after": [1, 2],
    "num_epochs": 4,
    "training": {
        "network": {
            "classifier": {"encoder": ENCODER, "frozen_stages": 0, "train_batch_norm": True},
            "decoder": "unet_learnable",
            "unet_channels": [8, 8, 8, 8, 4],
        },
        "schedule": {"global_batch_size": 3, "optimiser": "adamw"},
        "encoder_lr": 0.002,
        "head_lr": 0.002,
        "decoder_lr": 0.002,
        "augmentation": {"long_side_px": [64, 96], "crop_px": 64},
    },
    "cams": {"scales": [1.0]},
}


@pytest.fixture
def _one_worker(monkeypatch):
    context = SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: 1)
    monkeypatch.setattr(ray.train, "get_context", lambda: context)
    monkeypatch.setattr(ray.train, "get_checkpoint", lambda: None)
    monkeypatch.setattr(ray.train, "report", lambda metrics, checkpoint=None: None)
    monkeypatch.setattr(ray.train.torch, "get_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(ray.train.torch, "prepare_model", lambda model: model)


def train(job, stage, tmp_path):
    """What a Ray Train worker does."""
    inputs = stage_inputs(stage, {each.name: each for each in job.plan.stages}, job.store)
    outputs = stage_folder(stage, job.store).outputs
    artifacts = {port: folder.outputs.local_copy(CHECKPOINT_KEY).parent for port, folder in inputs.artifacts.items()}
    context = StageContext(job.dataset.class_names, 0, "cpu", 1, artifacts)
    task = stage.spec.task(stage.config, context, job.dataset.items, _StoreReader(inputs))
    model = TrainLoop(task, LoopOptions(0, 1, 0), None).run()
    task.save(model, tmp_path / "model.pt")
    outputs.put_file(tmp_path / "model.pt", CHECKPOINT_KEY)
    outputs.finalise((), "artifacts")


def label(job, segment):
    """What the actors of a segment do."""
    by_name = {each.name: each for each in job.plan.stages}
    payloads = [None] * NUM_IMAGES
    folder = stage_folder(segment.sink, job.store)
    for stage in segment.stages:
        worker = StageWorker(
            StageJob(
                stage.name,
                stage.spec,
                stage.config,
                stage_inputs(stage, by_name, job.store),
                folder if stage is segment.sink else None,
                job.store,
                job.dataset.class_names,
                0,
                "cpu",
                1,
                "run",
            )
        )
        outcomes = worker.run([WorkItem(item.item_id, item) for item in job.dataset.items], payloads)
        assert all(outcome.ok for outcome in outcomes), outcomes
        payloads = [outcome.payload for outcome in outcomes]
    folder.outputs.finalise(job.dataset.items, stage_kind(segment.sink))


@pytest.mark.usefixtures("_one_worker")
def test_the_chain_runs_from_tags_to_scored_generations(tmp_path):
    generate(tmp_path / "voc", NUM_IMAGES, style=SyntheticStyle(width_px=80, height_px=64))
    dataset = {
        "format": "voc",
        "root": str(tmp_path / "voc"),
        "splits": ["train"],
        "masks": ["SegmentationClass"],
    }
    after = [
        {"stage": "infer_cams", "scales": [1.0]},
        {"stage": "make_affinity_labels"},
        {
            "stage": "train_affinity",
            "encoder": None,
            "schedule": {"num_epochs": 1, "global_batch_size": 3},
            "radius": 4,
            "crop_px": 64,
        },
    ]
    recipe = {"name": "r", "dataset": dataset, "store": {"uri": str(tmp_path / "runs")}, "stages": [SECTION, *after]}
    job = prepare(parse_recipe(recipe))
    for segment in job.plan.segments:
        if segment.sink.is_training:
            train(job, segment.sink, tmp_path)
        else:
            label(job, segment)
    phases = [networks.load_isim(path) for path in sorted(job.store.root.glob("isim_train_*/checkpoint/model.pt"))]
    assert [state.epoch for _, state in phases] == [1, 2, 4]
    assert [network.decoder is None for network, _ in phases] == [True, False, False]
    weights = [network.classifier.head.weight for network, _ in phases]
    assert not torch.equal(weights[0], weights[1])
    steps = {evaluation.name: evaluation for evaluation in evaluate_run(job.plan, job.dataset, job.store)}
    for generation in (1, 2):
        assert len(steps[f"isim_masks_{generation}"].images) == NUM_IMAGES
        assert f"isim_masks_{generation}/before_crf" in steps
    drawn = generations(job.plan, list(steps.values()))
    assert drawn.phases == (0, 1, 2)  # masks of phases 0 and 1, the last CAMs of phase 2
    assert [curve.name for curve in drawn.curves] == ["CAM at its best threshold", "CAM mask", "CAM mask with CRF"]
    # IRN on top of it took the encoder of the last phase.
    [path] = job.store.root.glob("train_affinity-*/checkpoint/model.pt")
    irnet, _ = networks.load_irnet(path)
    last = phases[-1][0].classifier.encoder.state_dict()
    assert all(torch.equal(value, last[name]) for name, value in irnet.encoder.state_dict().items())
