"""ISIM's chain killed by -9 between and inside regenerations: it goes on, and ends with the same bytes."""

import copy
import os
import shutil
import signal
import time

import pytest
import torch
from small_job import NUM_IMAGES, digests, small_recipe, wait_until_gone, write_recipe

from wsss_jobs import networks

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.long]

ENCODER = {"name": "timm/test_efficientnet", "weights": None, "size_multiple": 32}
STAGES = [
    {
        "stage": "isim",
        "regenerate_after": [1, 2],
        "num_epochs": 4,
        "training": {
            "network": {
                "classifier": {"encoder": ENCODER, "frozen_stages": 0, "train_batch_norm": True},
                "rates": [1, 2],
                "decoder_channels": 16,
                "low_level_channels": 8,
            },
            "schedule": {"global_batch_size": 8, "optimiser": "adamw"},
            "encoder_lr": 0.002,
            "head_lr": 0.002,
            "decoder_lr": 0.002,
            "augmentation": {"long_side_px": [64, 96], "crop_px": 64},
        },
        "cams": {"scales": [1.0]},
        "resources": {"cams": {"batch_size": 1}, "masks": {"batch_size": 1, "num_cpus": 0.5}},
    },
    {"stage": "infer_cams", "scales": [1.0], "keep_high_res": False},
]
MASKS = ("isim_masks_*/**/*.png", "infer_cams-*/part-*.parquet")

# What is half done when the driver dies -> the stages that are not there yet.
CASES = {
    "first_masks": ("isim_masks_1-*/masks/*.png", ("isim_masks_1-*", "isim_train_1-*", "isim_masks_2-*")),
    "second_masks": ("isim_masks_2-*/masks/*.png", ("isim_masks_2-*",)),
    "between": ("isim_masks_1-*/_MANIFEST.json", ("isim_masks_1-*", "isim_train_1-*", "isim_masks_2-*")),
    "training": ("isim_train_2-*/working/**/state.pt", ()),
}
BEHIND = ("isim_train_2-*", "infer_cams-*", "evaluation", "report")


@pytest.fixture(scope="module")
def undisturbed(wsss, images, tmp_path_factory):
    """(recipe path, run folder) of a run without disturbance."""
    folder = tmp_path_factory.mktemp("isim")
    recipe = write_recipe(folder / "small.yaml", small_recipe(images, folder / "runs", copy.deepcopy(STAGES)))
    done = wsss("run", recipe, "--no-report")
    assert done.returncode == 0, done.stderr[-3000:]
    return recipe, folder / "runs" / "small"


def networks_of(run):
    """Returns phase -> (weights, epoch) of every finished phase."""
    found = {}
    for path in sorted(run.glob("isim_train_*/checkpoint/model.pt")):
        model, state = networks.load_isim(path)
        found[path.parts[-3]] = (model.state_dict(), state.epoch)
    return found


def test_every_generation_lies_under_its_own_fingerprint(undisturbed):
    _, run = undisturbed
    epochs = [epoch for _, epoch in networks_of(run).values()]
    assert epochs == [1, 2, 4]
    for generation in (1, 2):
        [folder] = run.glob(f"isim_masks_{generation}-*")
        assert len(list((folder / "masks").glob("*.png"))) == NUM_IMAGES
        assert (folder / "_MANIFEST.json").is_file()


@pytest.mark.parametrize(
    "case",
    CASES,
)
def test_a_driver_killed_goes_on_and_ends_equal(case, undisturbed, wsss, tmp_path):
    recipe, finished = undisturbed
    pattern, missing = CASES[case]
    run = tmp_path / finished.name
    shutil.copytree(finished, run, ignore=shutil.ignore_patterns(*missing, *BEHIND))
    arguments = ("run", recipe, "--set", f"store.uri={run.parent}", "--no-report")
    kill_at(pattern, run, wsss.start(*arguments))
    wait_until_gone(wsss)
    kept = {path: path.stat().st_mtime_ns for path in run.glob("isim_masks_*/masks/*.png")}
    if case.endswith("masks"):
        assert not any(run.glob(pattern.partition("/")[0] + "/_MANIFEST.json"))

    again = wsss(*arguments)

    assert again.returncode == 0, again.stderr[-3000:]
    assert digests(run, *MASKS) == digests(finished, *MASKS)
    expected = networks_of(finished)
    for phase, (weights, epoch) in networks_of(run).items():
        assert epoch == expected[phase][1]
        assert all(torch.equal(value, expected[phase][0][name]) for name, value in weights.items()), phase
    assert networks_of(run).keys() == expected.keys()
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())


def kill_at(pattern, run, process, timeout_s=150):
    """Kills the driver, and with it its Ray, as soon as a file that matches is there."""
    deadline = time.monotonic() + timeout_s
    try:
        while next(run.glob(pattern), None) is None:
            assert process.poll() is None, "the job ended before it could be disturbed"
            assert time.monotonic() < deadline, f"nothing like {pattern} appeared within {timeout_s} s"
            time.sleep(0.002)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
