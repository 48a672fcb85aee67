"""What trainings over single items share."""

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

import torch
from torch import nn

from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.stages.base import StageContext
from wsss_jobs.training.task import ItemReader, Schedule


class _Scheduled(Protocol):
    @property
    def schedule(self) -> Schedule: ...


ConfigT = TypeVar("ConfigT", bound=_Scheduled)


class ItemTask(Generic[ConfigT]):
    """Keeps what a `TrainTask` is built from: an item is a sample, and nothing is left to do at the end."""

    def __init__(
        self, config: ConfigT, context: StageContext, items: Sequence[DatasetItem], reader: ItemReader
    ) -> None:
        self.schedule = config.schedule
        self._config = config
        self._context = context
        self._items = items
        self._reader = reader

    def __len__(self) -> int:
        return len(self._items)

    def finish(self, model: nn.Module, device: torch.device) -> None:
        """Nothing is left to do."""
