"""Ctrl-C in and after a training: Ray Train takes the signal over while it trains, and never gives it back."""

import os
import signal

import pytest
from small_job import SMALL_STAGES, small_recipe, wait_for_first, wait_until_gone, write_recipe

pytestmark = [pytest.mark.ray, pytest.mark.slow]

TRAIN, INFER = SMALL_STAGES[:2]
LONG_TRAINING = {**TRAIN, "schedule": {**TRAIN["schedule"], "num_epochs": 6}}
CASES = {
    "in_a_training": ([LONG_TRAINING, INFER], "train_classifier-*/working/**/state.pt"),
    "behind_a_training": ([TRAIN, {**INFER, "resources": {"batch_size": 1}}], "infer_cams-*/items/*"),
}


@pytest.mark.parametrize("case", ["behind_a_training", pytest.param("in_a_training", marks=pytest.mark.long)])
def test_it_ends_with_130_and_the_same_command_goes_on(case, images, wsss, tmp_path):
    stages, pattern = CASES[case]
    recipe = write_recipe(tmp_path / "small.yaml", small_recipe(images, tmp_path / "runs", stages))
    arguments = ("run", recipe, "--no-report")
    process = wsss.start(*arguments)
    wait_for_first(tmp_path / "runs" / "small", pattern, process, timeout_s=300)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the job
    assert process.wait(timeout=60) == 130
    wait_until_gone(wsss)
    again = wsss(*arguments)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "Interrupted." not in again.stderr
