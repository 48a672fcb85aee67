"""Which stages the variants of a comparison have in common, and what of them is done."""

from collections.abc import Sequence
from dataclasses import dataclass

from wsss_jobs.comparison.jobs import VariantJob
from wsss_jobs.stage_status import StageStatus, stage_statuses


@dataclass(frozen=True)
class SharedStage:
    """One stage as it is stored.

    Attributes:
        status: How far it is.
        users: Variants that read or make it, each once.
        seeds: Seeds that it belongs to.
    """

    status: StageStatus
    users: tuple[str, ...]
    seeds: tuple[int, ...]


def shared_stages(jobs: Sequence[VariantJob]) -> list[SharedStage]:
    """Returns every different stage of the jobs, in the order in which they come up."""
    statuses: dict[tuple[str, str], StageStatus] = {}
    users: dict[tuple[str, str], list[VariantJob]] = {}
    for each in jobs:
        new = {(s.stage.name, s.stage.fingerprint): s for s in stage_statuses(each.job)}
        statuses = new | statuses
        for key in new:
            users.setdefault(key, []).append(each)
    return [
        SharedStage(
            statuses[key],
            tuple(dict.fromkeys(each.variant for each in using)),
            tuple(dict.fromkeys(each.seed for each in using)),
        )
        for key, using in users.items()
    ]
