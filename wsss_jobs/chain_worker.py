"""Stages that share a process: the record of one is the next one's input, and never leaves memory."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from cluster.fan_out import Outcome, WorkItem
from wsss_jobs.worker import StageJob, StageWorker


@dataclass(frozen=True)
class ChainJob:
    """Neighbouring stages of a segment; picklable, and called in the actor's process."""

    jobs: tuple[StageJob, ...]

    def __call__(self) -> "ChainWorker":
        """Returns the worker; loads the weights of all stages."""
        return ChainWorker([job() for job in self.jobs])


class ChainWorker:
    """Runs batches through all stages; an item that fails in one does not reach the next."""

    def __init__(self, workers: Sequence[StageWorker]) -> None:
        self._workers = workers

    def run(self, items: Sequence[WorkItem], upstream: Sequence[Any]) -> list[Outcome]:
        """Returns one outcome an item: its failure, or what the last stage gave, with the receipts of all."""
        outcomes = [Outcome(item.id, ok=True, payload=payload) for item, payload in _paired(items, upstream)]
        for number, worker in enumerate(self._workers):
            good = [index for index, outcome in enumerate(outcomes) if outcome.ok]
            if not good:
                break
            payloads = [outcomes[index].payload for index in good] if number or upstream else []
            for index, outcome in zip(good, _timed(worker, [items[i] for i in good], payloads), strict=True):
                outcomes[index] = replace(outcome, receipt={**outcomes[index].receipt, **outcome.receipt})
        return outcomes


def _paired(items: Sequence[WorkItem], upstream: Sequence[Any]) -> list[tuple[WorkItem, Any]]:
    return list(zip(items, upstream or [None] * len(items), strict=True))


def _timed(worker: StageWorker, items: Sequence[WorkItem], payloads: Sequence[Any]) -> list[Outcome]:
    """Returns the outcomes; their receipts say the stage's own seconds, shared equally among the items."""
    started = time.perf_counter()
    outcomes = worker.run(items, payloads)
    seconds = (time.perf_counter() - started) / len(items)
    return [replace(outcome, receipt={**outcome.receipt, f"{worker.name}_seconds": seconds}) for outcome in outcomes]
