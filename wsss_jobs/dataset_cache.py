"""The index of a data set, made once: images are hashed again only when the list, a tag or a file has changed.

A local file counts as changed when its size or modification time has. An object of S3 is taken not to change under its
name; delete `index/` in the run's folder to have it looked at again.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from wsss_jobs.config.fingerprint import fingerprint
from wsss_jobs.datasets.config import DatasetConfig
from wsss_jobs.datasets.dataset_store import load_dataset, load_rejected, save_dataset
from wsss_jobs.datasets.index import build_index
from wsss_jobs.datasets.records import Dataset, SourceImage
from wsss_jobs.datasets.sources import load_class_names, load_sources
from wsss_jobs.errors import ConfigError, DataError
from wsss_jobs.storage.object_store import ObjectNotFoundError, ObjectStore
from wsss_jobs.storage.uris import is_remote, local_path


@dataclass(frozen=True)
class IndexedDataset:
    """The usable images, and one error for every other."""

    dataset: Dataset
    rejected: tuple[DataError, ...]


def indexed_dataset(
    config: DatasetConfig, run_store: ObjectStore, on_progress: Callable[[int, int], None] | None = None
) -> IndexedDataset:
    """Returns the data set of a recipe; reads every image unless an index of just these files is stored.

    Raises:
        ConfigError: The data set cannot be read, or no image of it is usable.
    """
    class_names = load_class_names(config)
    sources = load_sources(config)
    pointer = f"index/{_sources_digest(sources, class_names)}.json"
    try:
        known = json.loads(run_store.get(pointer))["dataset"]
        folder = run_store.child(f"dataset-{known}")
        return IndexedDataset(load_dataset(folder), tuple(load_rejected(folder)))
    except ObjectNotFoundError:
        dataset, rejected = build_index(sources, class_names, on_progress=on_progress)
    if not dataset.items:
        why = f"; the first of {len(rejected)}: {rejected[0]}" if rejected else ": the list is empty"
        raise ConfigError(f"dataset: no image can be used{why}. `wsss doctor` lists all of them")
    save_dataset(run_store.child(f"dataset-{dataset.fingerprint}"), dataset, rejected)
    run_store.put(pointer, json.dumps({"dataset": dataset.fingerprint}).encode())
    return IndexedDataset(dataset, tuple(rejected))


def _sources_digest(sources: Sequence[SourceImage], class_names: tuple[str, ...]) -> str:
    return fingerprint([class_names, [_source_content(source) for source in sources]])


def _source_content(source: SourceImage) -> list[Any]:
    problem = None if source.problem is None else source.problem.reason
    stamp: list[Any] = [source.source_key, source.uri, source.labels, source.split, source.mask_uri, problem]
    stamp += source.boxes_xywh  # nothing where there are none: indices of before this field stay valid
    return [*stamp, *_file_state(source.uri)]


def _file_state(uri: str) -> tuple[int, int]:
    if is_remote(uri):
        return (0, 0)
    try:
        state = local_path(uri).stat()
    except OSError:
        return (-1, -1)
    return (state.st_size, state.st_mtime_ns)
