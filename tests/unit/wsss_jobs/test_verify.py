"""`wsss verify` on a run whose stages were written without running them."""

import re

import numpy as np
import pytest
from small_job import SMALL_STAGES, small_recipe, write_recipe
from typer.testing import CliRunner

from wsss_jobs.cli.main import app
from wsss_jobs.config.recipe import load_recipe
from wsss_jobs.datasets.synthetic import SyntheticStyle, generate
from wsss_jobs.job import prepare
from wsss_jobs.stage_io import stage_folder, stage_kind

STAGES = [stage for stage in SMALL_STAGES if stage["stage"] != "random_walk" and stage.get("name") != "walk_masks"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(recipe file, job) of a run with every stage complete; one image failed in the CAMs."""
    folder = tmp_path_factory.mktemp("job")
    generate(folder / "voc", 12, style=SyntheticStyle(width_px=64, height_px=48))
    dataset = {"format": "voc", "root": str(folder / "voc"), "splits": ["train"]}
    path = write_recipe(
        folder / "small.yaml", small_recipe(folder / "voc", folder / "runs", STAGES) | {"dataset": dataset}
    )
    job = prepare(load_recipe(str(path)))
    lost, *items = job.dataset.items
    for stage in (stage for stage in job.plan.stages if not stage.is_streamed):
        outputs, kind = stage_folder(stage, job.store).outputs, stage_kind(stage)
        reads_cams = stage.name not in {"train_classifier", "infer_cams"}
        for item in items if kind != "artifacts" else ():
            if kind == "tensors":
                outputs.commit_tensors(item, {"cam": np.zeros((1, 2, 3), np.float16)})
            for variant in outputs.mask_variants if kind == "masks" else ():
                outputs.commit_mask(item, np.ones((4, 5), np.uint8), variant)
        if stage.name == "infer_cams":
            outputs.commit_failure(lost, "died", "twice")
        if kind == "artifacts":
            outputs.folder.put("checkpoint/model.pt", b"weights")
        outputs.finalise(items if reads_cams else job.dataset.items, kind) if kind != "artifacts" else (
            outputs.finalise((), kind)
        )
    return path, job


def verify(path, *options):
    """Exit code, and (kind, stage, key) of what was found."""
    done = CliRunner().invoke(app, ["verify", str(path), *options])
    pattern = re.compile(r"^(missing|torn|foreign): (\S+?)-\w+/(.*?): ", re.MULTILINE)
    return done.exit_code, sorted(pattern.findall(done.output))


def test_findings_exit_codes_and_repair(finished):
    path, job = finished
    assert verify(path) == (0, []), "an image that failed upstream is not missing downstream"
    masks = stage_folder(job.plan.stage("gcn_masks"), job.store).outputs.folder
    model = stage_folder(job.plan.stage("train_classifier"), job.store).outputs.folder
    first, second = [info.key for info in masks.list("masks/")][:2]
    masks.put(first, masks.get(first)[:-20])
    masks.delete([second])
    masks.put("masks/of somebody.png", b"?")
    model.put("checkpoint/model.pt", b"others")
    found = [
        ("foreign", "gcn_masks", "masks/of somebody.png"),
        ("missing", "gcn_masks", second),
        ("torn", "gcn_masks", first),
        ("torn", "train_classifier", "checkpoint/model.pt"),
    ]
    assert verify(path) == (1, found)
    assert masks.exists(first), "looking changes nothing"
    assert verify(path, "--repair") == (1, found)
    assert verify(path) == (1, found[:1]), "torn ones are gone, and what is missing is work to do"
    assert not masks.exists(first)
    assert stage_folder(job.plan.stage("gcn_masks"), job.store).outputs.manifest() is None
    assert stage_folder(job.plan.stage("infer_cams"), job.store).outputs.manifest() is not None
