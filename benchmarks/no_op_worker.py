"""Workers that do nothing, for the fan-out and for plain Ray; they import nothing heavy, and start at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cluster.fan_out import Outcome, WorkItem


@dataclass(frozen=True)
class NoOpFactory:
    """Makes workers; an item sleeps `item_s` seconds."""

    item_s: float = 0.0

    def __call__(self) -> NoOpWorker:
        """Returns a worker."""
        return NoOpWorker(self.item_s)


class NoOpWorker:
    """Answers for every item, and does nothing else."""

    def __init__(self, item_s: float = 0.0) -> None:
        self._item_s = item_s

    def run(self, items: Sequence[WorkItem], upstream: Sequence[Any]) -> list[Outcome]:
        """Returns an outcome an item."""
        del upstream
        if self._item_s:
            time.sleep(self._item_s * len(items))
        return [Outcome(item.id, ok=True, receipt={"device": "cpu"}) for item in items]
