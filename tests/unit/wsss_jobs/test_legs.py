"""How a stage's resources become a leg of the fan-out."""

from types import SimpleNamespace

import pytest

from wsss_jobs.chain_worker import ChainJob
from wsss_jobs.legs import batch_size, legs_of
from wsss_jobs.stages.base import StageResources
from wsss_jobs.stages.infer_cams import InferCams
from wsss_jobs.stages.propagate_gcn import PropagateGcn
from wsss_jobs.stages.refine_masks import RefineMasks


@pytest.mark.parametrize(("spec", "device", "expected"), [(PropagateGcn, "cpu", 8), (PropagateGcn, "cuda", 64)])
def test_a_stage_takes_the_batch_that_suits_the_device(spec, device, expected):
    assert batch_size(spec, spec.RESOURCES, device) == expected


def test_a_stage_without_wishes_takes_single_items():
    assert batch_size(InferCams, InferCams.RESOURCES, "cuda") == 1


def test_the_recipe_s_number_is_taken_on_every_device():
    assert batch_size(PropagateGcn, StageResources(num_gpus=1, batch_size=3), "cuda") == 3
    assert batch_size(PropagateGcn, StageResources(num_gpus=1, batch_size=3), "cpu") == 3


def legs(first: StageResources, second: StageResources, device: str = "cpu"):
    stages = [
        SimpleNamespace(name="gcn", spec=PropagateGcn, resources=first),
        SimpleNamespace(name="crf", spec=RefineMasks, resources=second),
    ]
    jobs = [SimpleNamespace(name=stage.name, device=stage.resources.device_on(device)) for stage in stages]
    return legs_of(stages, jobs)


def test_stages_that_ask_for_the_same_cpus_share_their_processes():
    [leg] = legs(StageResources(num_gpus=1, deadline_s=60), StageResources(deadline_s=30))
    assert isinstance(leg.factory, ChainJob)
    assert [job.name for job in leg.factory.jobs] == ["gcn", "crf"]
    assert (leg.name, leg.batch_size, leg.deadline_s, leg.resources.num_cpus) == ("crf", 8, 90, 1)


@pytest.mark.parametrize(
    "first",
    [StageResources(num_cpus=0.5), StageResources(max_workers=3)],
)
def test_stages_that_ask_for_different_cpus_have_pools_of_their_own(first):
    assert [leg.name for leg in legs(first, StageResources())] == ["gcn", "crf"]


def test_a_gpu_never_waits_for_a_cpu_stage():
    gcn, crf = legs(StageResources(num_gpus=1), StageResources(), "cuda")
    assert (gcn.resources.num_gpus, gcn.resources.num_cpus, gcn.batch_size) == (1, 0, 64)
    assert (crf.resources.num_gpus, crf.resources.num_cpus) == (0, 1)


def test_two_gpu_stages_keep_their_own_processes():
    assert len(legs(StageResources(num_gpus=1), StageResources(num_gpus=1), "cuda")) == 2
