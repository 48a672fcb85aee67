"""Runs the jobs of a comparison one after the other; one that fails is reported, and the others still run."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cluster.errors import ClusterError
from models.errors import InvalidInputError
from wsss_jobs.comparison.jobs import VariantJob
from wsss_jobs.errors import WsssError
from wsss_jobs.job import PreparedJob, RunResult

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VariantOutcome:
    """How one job ended.

    Attributes:
        num_failed: Images without a mask.
        error: Why the job stopped; empty when it ended well.
    """

    variant: str
    seed: int
    num_failed: int
    error: str = ""


def run_variants(jobs: Sequence[VariantJob], run: Callable[[PreparedJob], RunResult]) -> list[VariantOutcome]:
    """Returns how each job ended. An interruption ends all; what is done is stored, and the next run goes on.

    Args:
        run: Runs one job, such as `run_job` with its options.
    """
    return [_outcome(each, run) for each in jobs]


def _outcome(each: VariantJob, run: Callable[[PreparedJob], RunResult]) -> VariantOutcome:
    try:
        return VariantOutcome(each.variant, each.seed, run(each.job).num_failed)
    except (WsssError, ClusterError, InvalidInputError) as error:
        _log.exception("variant failed variant=%s seed=%d", each.variant, each.seed)
        return VariantOutcome(each.variant, each.seed, 0, str(error) or type(error).__name__)
