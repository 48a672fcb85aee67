"""The same work for every item that a stage has left something of, on all cores of the driver."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import DataError
from wsss_jobs.storage.object_store import ObjectNotFoundError

T = TypeVar("T")


def each_item(work: Callable[[DatasetItem], T], items: Sequence[DatasetItem]) -> Iterator[tuple[DatasetItem, T]]:
    """Yields `work` of each item that has something to score, in order."""

    def guarded(item: DatasetItem) -> T | None:
        try:
            return work(item)
        except ObjectNotFoundError:
            return None
        except DataError as error:
            if error.reason == "nan_cam":  # a row in `failed` of the stages that read it; the others are scored
                return None
            raise

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for item, result in zip(items, pool.map(guarded, items), strict=True):
            if result is not None:
                yield item, result
