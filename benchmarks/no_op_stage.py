"""A stage that does nothing, and a data set of any size: what is left is the work of the service itself."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.records import LabelMap
from wsss_jobs.stages.base import Device, ItemInput, ItemStage, Ok, StageConfig, StageContext

_LABEL_HW = np.zeros((1, 1), dtype=np.uint8)


class NoOpConfig(StageConfig):
    """Settings.

    Attributes:
        item_ms: Milliseconds that an item sleeps; 0 does nothing at all.
    """

    item_ms: float = 0.0


class NoOp(ItemStage):
    """Reads nothing, and says of every item that its mask is one background pixel."""

    NAME: ClassVar[str] = "no_op"
    VERSION: ClassVar[int] = 1
    Config: ClassVar[type[StageConfig]] = NoOpConfig
    READS: ClassVar[Mapping[str, type]] = {}
    WRITES: ClassVar[type] = LabelMap
    NEEDS_IMAGE: ClassVar[bool] = False
    BATCH_SIZES: ClassVar[Mapping[Device, int]] = {"cpu": 1, "cuda": 1}

    def __init__(self, config: NoOpConfig, context: StageContext) -> None:
        del context
        self._item_s = config.item_ms / 1000

    def _one(self, entry: ItemInput) -> Ok:
        del entry
        if self._item_s:
            time.sleep(self._item_s)
        return Ok(LabelMap(_LABEL_HW))


def no_op_items(num_items: int) -> Iterator[DatasetItem]:
    """Returns items as an index would make them; their images do not exist, and are not asked for."""
    for number in range(num_items):
        name = f"train/{number:08d}"
        item_id = hashlib.sha256(name.encode()).hexdigest()[:20]
        yield DatasetItem(item_id, name, f"/data/images/{name}.jpg", 500, 375, (1 + number % 20,), "train")
