"""The head is killed in mid-job, with all of its cluster: the job ends, and goes on with another head."""

import shutil
import subprocess
import time

import pytest
from ray_head import RayHead
from small_job import NUM_IMAGES, digests

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.timeout(600)]

STAGE = "gcn_masks"
PATTERNS = (f"{STAGE}-*/*masks*/*.png", f"{STAGE}-*/_MANIFEST.json")


def test_the_head_is_killed_and_another_finishes_the_job(finished_job, wsss, tmp_path):
    recipe, finished, done = finished_job
    assert done.returncode == 0, done.stderr[-3000:]
    run = tmp_path / finished.name
    shutil.copytree(finished, run, ignore=shutil.ignore_patterns(f"{STAGE}-*", "evaluation", "report"))
    arguments = ("run", recipe, "--no-report", "--set", f"store.uri={tmp_path}")
    arguments += ("--set", f"stages.{STAGE}.resources.batch_size=1")
    arguments += ("--set", "stages.propagate_gcn.resources.batch_size=1")
    head = RayHead(num_cpus=2)
    driver = subprocess.Popen(
        wsss.command(*arguments, "--address", head.gcs_address), env=wsss.environment, stderr=subprocess.PIPE, text=True
    )
    try:
        while not next(run.glob(f"{STAGE}-*/masks/*.png"), None):
            assert driver.poll() is None, "the job ended before it could be disturbed"
            time.sleep(0.01)
        head.kill()
        _, stderr = driver.communicate(timeout=240)
    finally:
        driver.kill()
        head.close()
    assert driver.returncode not in {0, 3}, stderr[-3000:]
    masks = {path: path.stat().st_mtime_ns for path in run.glob(f"{STAGE}-*/masks/*.png")}
    assert 0 < len(masks) < NUM_IMAGES
    head = RayHead(num_cpus=2)
    try:
        again = wsss(*arguments, "--address", head.gcs_address)
    finally:
        head.close()
    assert again.returncode == 0, again.stderr[-3000:]
    assert f"stage started stage={STAGE} todo={NUM_IMAGES - len(masks)} done={len(masks)} failed=0" in again.stderr
    assert digests(run, *PATTERNS) == digests(finished, *PATTERNS)
    assert all(path.stat().st_mtime_ns == written for path, written in masks.items())
