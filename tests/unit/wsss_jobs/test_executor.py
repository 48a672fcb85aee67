"""How a stage's resources become a leg of the fan-out."""

import pytest

from wsss_jobs.executor import batch_size
from wsss_jobs.stages.base import StageResources
from wsss_jobs.stages.infer_cams import InferCams
from wsss_jobs.stages.propagate_gcn import PropagateGcn


@pytest.mark.parametrize(("spec", "device", "expected"), [(PropagateGcn, "cpu", 8), (PropagateGcn, "cuda", 64)])
def test_a_stage_takes_the_batch_that_suits_the_device(spec, device, expected):
    assert batch_size(spec, spec.RESOURCES, device) == expected


def test_a_stage_without_wishes_takes_single_items():
    assert batch_size(InferCams, InferCams.RESOURCES, "cuda") == 1


def test_the_recipe_s_number_is_taken_on_every_device():
    assert batch_size(PropagateGcn, StageResources(num_gpus=1, batch_size=3), "cuda") == 3
    assert batch_size(PropagateGcn, StageResources(num_gpus=1, batch_size=3), "cpu") == 3
