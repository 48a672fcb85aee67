"""Reading every image once: who is who by content, how large it is, and which images cannot be used."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import TypeVar

from wsss_jobs.datasets.images import MIN_SIDE_PX, decode_image
from wsss_jobs.datasets.records import Dataset, DatasetItem, SourceImage, make_dataset
from wsss_jobs.errors import DataError
from wsss_jobs.storage.object_store import AccessDeniedError, ObjectNotFoundError
from wsss_jobs.storage.uris import read_uri

Progress = Callable[[int, int], None]  # (number done, number in all)

_ITEM_ID_HEX_DIGITS = 20
_IN_FLIGHT_PER_THREAD = 4
_In = TypeVar("_In")
_Out = TypeVar("_Out")


def build_index(
    sources: Sequence[SourceImage],
    class_names: tuple[str, ...],
    *,
    num_threads: int = 16,
    min_side_px: int = MIN_SIDE_PX,
    on_progress: Progress | None = None,
) -> tuple[Dataset, list[DataError]]:
    """The data set of all usable images, and one error for every other, both in source-key order.

    Every file is read, for its hash, and decoded, so that no stage meets a broken one later: a training cannot go on
    without an image that it has counted. The result depends on the files and the tags alone.

    Raises:
        StorageError: The store cannot be reached, which is no image's fault.
    """
    ordered = sorted(sources, key=lambda source: source.source_key)
    read = parallel_map(lambda source: _read(source, min_side_px), ordered, num_threads, on_progress)
    usable: list[DatasetItem] = []
    errors: list[DataError] = []
    num_copies: Counter[str] = Counter()
    for result in read:
        if isinstance(result, DataError):
            errors.append(result)
        else:
            usable.append(_with_copy_number(result, num_copies))
    return make_dataset(class_names, usable), errors


def read_image_file(source: SourceImage) -> bytes:
    """The bytes of an image file.

    Raises:
        DataError: `missing` or `unreadable`.
    """
    try:
        return read_uri(source.uri)
    except ObjectNotFoundError as error:
        message = f"there is no file {source.uri}; restore it or remove the image from the list"
        raise DataError(source.source_key, "missing", message) from error
    except AccessDeniedError as error:
        raise DataError(source.source_key, "unreadable", str(error)) from error


def parallel_map(
    function: Callable[[_In], _Out], values: Sequence[_In], num_threads: int, on_progress: Progress | None
) -> Iterator[_Out]:
    """The results of a function on a pool of threads, in order, with a bounded number in flight."""
    with ThreadPoolExecutor(num_threads) as pool:
        remaining: Iterator[_In] = iter(values)
        pending = [pool.submit(function, value) for value in islice(remaining, num_threads * _IN_FLIGHT_PER_THREAD)]
        try:
            for num_done in range(1, len(values) + 1):
                result = pending.pop(0).result()
                pending += [pool.submit(function, value) for value in islice(remaining, 1)]
                if on_progress is not None:
                    on_progress(num_done, len(values))
                yield result
        finally:
            _cancel(pending)


def _cancel(futures: Iterable["Future[_Out]"]) -> None:
    for future in futures:
        future.cancel()


def _read(source: SourceImage, min_side_px: int) -> DatasetItem | DataError:
    if source.problem is not None:
        return source.problem
    try:
        data = read_image_file(source)
        height_px, width_px = decode_image(data, source.source_key, min_side_px).shape[:2]
    except DataError as error:
        return error
    item_id = hashlib.sha256(data).hexdigest()[:_ITEM_ID_HEX_DIGITS]
    return DatasetItem(
        item_id,
        source.source_key,
        source.uri,
        width_px,
        height_px,
        source.labels,
        source.split,
        source.mask_uri,
        source.boxes_xywh,
    )


def _with_copy_number(item: DatasetItem, num_copies: Counter[str]) -> DatasetItem:
    num_copies[item.item_id] += 1
    number = num_copies[item.item_id]
    return item if number == 1 else replace(item, item_id=f"{item.item_id}-{number}")
