"""From the stages of a segment to the legs of its fan-out: which run in one process, and what an actor occupies."""

from collections.abc import Sequence
from itertools import groupby

from cluster.fan_out import ActorResources, Leg
from wsss_jobs.chain_worker import ChainJob
from wsss_jobs.pipeline import PlannedStage
from wsss_jobs.run_store import forwarded_environment
from wsss_jobs.stages.base import Device, ItemStage, StageResources
from wsss_jobs.worker import StageJob


def legs_of(stages: Sequence[PlannedStage], jobs: Sequence[StageJob]) -> list[Leg]:
    """Returns the legs of a segment, in order.

    Neighbours that ask for the same CPUs become one leg: whatever their shares of the work, no core waits for the
    other stage, and records stay in the process. A GPU stage keeps its own, so that its GPU never waits for a CPU.
    """
    pairs = list(zip(stages, jobs, strict=True))
    groups = [list(group) for _, group in groupby(pairs, key=lambda pair: _place(*pair))]
    return [_leg([stage for stage, _ in group], [job for _, job in group]) for group in groups]


def _place(stage: PlannedStage, job: StageJob) -> tuple[object, ...]:
    """Equal for stages that may share a process."""
    takes = stage.resources
    return (takes.num_cpus, takes.max_workers) if job.device == "cpu" else (stage.name,)


def _leg(stages: Sequence[PlannedStage], jobs: Sequence[StageJob]) -> Leg:
    first, last = stages[0], stages[-1]
    assert issubclass(first.spec, ItemStage)
    return Leg(
        name=last.name,
        factory=jobs[0] if len(jobs) == 1 else ChainJob(tuple(jobs)),
        resources=_actor_resources(last.resources, jobs[0].device),
        max_actors=last.resources.max_workers,
        batch_size=batch_size(first.spec, first.resources, jobs[0].device),
        deadline_s=sum(stage.resources.deadline_s for stage in stages),
        env_vars=forwarded_environment(),
    )


def _actor_resources(takes: StageResources, device: Device) -> ActorResources:
    if device == "cuda":
        return ActorResources(num_cpus=0, num_gpus=takes.num_gpus)
    return ActorResources(num_cpus=max(takes.num_cpus, 1e-3))


def batch_size(spec: type[ItemStage], resources: StageResources, device: Device) -> int:
    """Returns how many items a worker gets a call: the recipe's number, else what suits the stage on the device."""
    return resources.batch_size or spec.BATCH_SIZES[device]
