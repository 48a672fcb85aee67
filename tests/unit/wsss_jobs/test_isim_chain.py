"""ISIM's whole chain in one process, through the store, without Ray: ports, artifacts, generations and their scores."""

import shutil
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

NETWORKS = "isim_train_*/checkpoint/model.pt"
LAST_MASKS = "isim_masks_2-*/masks/*.png"


@pytest.fixture
def _one_worker(monkeypatch):
    context = SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: 1)
    monkeypatch.setattr(ray.train, "get_context", lambda: context)
    monkeypatch.setattr(ray.train, "get_checkpoint", lambda: None)
    monkeypatch.setattr(ray.train, "report", lambda metrics, checkpoint=None: None)
    monkeypatch.setattr(ray.train.torch, "get_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(ray.train.torch, "prepare_model", lambda model: model)


def dataset_of(tmp_path):
    """Writes the images; returns their section of a recipe."""
    generate(tmp_path / "voc", NUM_IMAGES, style=SyntheticStyle(width_px=80, height_px=64))
    return {"format": "voc", "root": str(tmp_path / "voc"), "splits": ["train"], "masks": ["SegmentationClass"]}


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


def label(job, segment, num_items=NUM_IMAGES):
    """What the actors of a segment do with so many of the items that are not done yet."""
    by_name = {each.name: each for each in job.plan.stages}
    folder = stage_folder(segment.sink, job.store)
    done = folder.outputs.done_item_ids(job.dataset.items)
    items = [item for item in job.dataset.items if item.item_id not in done][:num_items]
    payloads = [None] * len(items)
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
        outcomes = worker.run([WorkItem(item.item_id, item) for item in items], payloads)
        assert all(outcome.ok for outcome in outcomes), outcomes
        payloads = [outcome.payload for outcome in outcomes]
    if len(done) + len(items) == NUM_IMAGES:
        folder.outputs.finalise(job.dataset.items, stage_kind(segment.sink))


@pytest.mark.usefixtures("_one_worker")
def test_the_chain_runs_from_tags_to_scored_generations(tmp_path):
    dataset = dataset_of(tmp_path)
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
    phases = [networks.load_isim(path) for path in sorted(job.store.root.glob(NETWORKS))]
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


@pytest.mark.usefixtures("_one_worker")
def test_converging_phases_and_stored_cams_end_equal_when_each_was_interrupted(tmp_path, monkeypatch):
    """Every training stops behind its first epoch and every labelling in the midst of its items; both go on."""
    section = SECTION | {
        "regenerate_after": [1],
        "num_epochs": 8,
        "keep_cams": True,
        "convergence": {"num_generations": 2, "patience_epochs": 1, "min_improvement": 0.9, "max_epochs": 3},
    }
    content = {"name": "r", "dataset": dataset_of(tmp_path), "stages": [section]}
    whole, parts = (
        prepare(parse_recipe(content | {"store": {"uri": str(tmp_path / name)}})) for name in ("whole", "parts")
    )
    for segment in whole.plan.segments:
        train(whole, segment.sink, tmp_path) if segment.sink.is_training else label(whole, segment)
    for segment in parts.plan.segments:
        if segment.sink.is_training:
            with monkeypatch.context() as ray_train:
                interrupted(lambda stage=segment.sink: train(parts, stage, tmp_path), ray_train, tmp_path)
        else:
            label(parts, segment, num_items=NUM_IMAGES // 2)
            label(parts, segment)
    found, expected = (
        {path.parts[-3].rpartition("-")[0]: networks.load_isim(path) for path in job.store.root.glob(NETWORKS)}
        for job in (parts, whole)
    )
    assert {name: state.epoch for name, (_, state) in expected.items()} == {
        "isim_train_0": 1,
        "isim_train_1": 3,  # converged: two epochs each, where it might have had three
        "isim_train_2": 5,
    }
    for name, (network, state) in expected.items():
        assert found[name][1].epoch == state.epoch
        weights = found[name][0].state_dict()
        assert all(torch.equal(weights[key], value) for key, value in network.state_dict().items()), name
    masks = [{path.name: path.read_bytes() for path in job.store.root.glob(LAST_MASKS)} for job in (parts, whole)]
    assert len(masks[0]) == NUM_IMAGES
    assert masks[0] == masks[1]


def interrupted(run, monkeypatch, folder):
    """Runs a training that stops behind its first epoch, and again from its checkpoint."""

    def stop(metrics, checkpoint=None):
        shutil.copytree(checkpoint.path, folder / "state", dirs_exist_ok=True)
        raise InterruptedError

    monkeypatch.setattr(ray.train, "report", stop)
    with pytest.raises(InterruptedError):
        run()
    monkeypatch.setattr(ray.train, "report", lambda metrics, checkpoint=None: None)
    checkpoint = ray.train.Checkpoint.from_directory(str(folder / "state"))
    monkeypatch.setattr(ray.train, "get_checkpoint", lambda: checkpoint)
    run()
