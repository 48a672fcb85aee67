"""What is wrong with a data set, found before a job starts: every file is decoded, every tag and mask checked."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from wsss_jobs.datasets.coco import num_without_objects
from wsss_jobs.datasets.config import CocoConfig, CubConfig, DatasetConfig, VocConfig
from wsss_jobs.datasets.examination import Examined, examine
from wsss_jobs.datasets.image_folder import source_text
from wsss_jobs.datasets.images import MIN_SIDE_PX
from wsss_jobs.datasets.index import Progress, parallel_map
from wsss_jobs.datasets.records import SourceImage
from wsss_jobs.datasets.sources import load_class_names, load_sources, open_image_folders
from wsss_jobs.errors import DataError

Severity = Literal["error", "warning", "note"]

_FEW_IMAGES = 10
_IMBALANCE = 20.0
_NUM_NAMED = 3
_ORDER: dict[str, int] = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know.

    Args:
        severity: `error`: a job leaves this image out, or scores it wrongly. `warning`: it is used and should be looked
            at. `note`: good to know.
        code: Stable snake_case code, for grouping.
        item: Source key of the image; "" where the finding is about the whole set.
        message: What was found.
        remedy: What to do about it.
    """

    severity: Severity
    code: str
    item: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings about a data set.

    Args:
        num_images: Images that the lists name.
        num_usable: Those that a job would use.
        images_per_class: Usable images by class name, in the order of the class list.
        findings: Errors first, then warnings and notes; within these by code and image.
    """

    num_images: int
    num_usable: int
    images_per_class: dict[str, int]
    findings: tuple[Finding, ...]

    @property
    def num_errors(self) -> int:
        """Number of errors: images that a job leaves out or scores wrongly."""
        return self._count("error")

    @property
    def num_warnings(self) -> int:
        """Number of warnings."""
        return self._count("warning")

    def _count(self, severity: Severity) -> int:
        return sum(finding.severity == severity for finding in self.findings)


def diagnose(
    config: DatasetConfig,
    *,
    num_threads: int | None = None,
    min_side_px: int = MIN_SIDE_PX,
    on_progress: Progress | None = None,
) -> Diagnosis:
    """Examine every image, tag and mask of a data set.

    Raises:
        ConfigError: The set as a whole cannot be read.
        StorageError: The store cannot be reached.
    """
    class_names = load_class_names(config)
    sources = load_sources(config)
    threads = num_threads or (os.cpu_count() or 1) + 4
    examined = list(
        parallel_map(lambda source: examine(source, len(class_names), min_side_px), sources, threads, on_progress)
    )
    usable = [source for source, result in zip(sources, examined, strict=True) if result.is_usable]
    counts = Counter(label for source in usable for label in source.labels)
    per_class = {name: counts[class_id] for class_id, name in enumerate(class_names, start=1)}
    findings = [
        *_of_images(examined),
        *_duplicates(examined),
        *_of_classes(per_class),
        *_not_listed(config, sources),
        *_without_mask(sources),
        *_without_objects(config),
    ]
    findings.sort(key=lambda finding: (_ORDER[finding.severity], finding.code, finding.item, finding.message))
    return Diagnosis(len(sources), len(usable), per_class, tuple(findings))


def _of_images(examined: Iterable[Examined]) -> Iterable[Finding]:
    for result in examined:
        for error in result.errors:
            yield _finding_of(error)
        if result.is_nearly_empty:
            message = "the image is nearly of one colour"
            yield Finding(
                "warning", "near_empty", result.source.source_key, message, "look at it; remove it if it failed"
            )


def _finding_of(error: DataError) -> Finding:
    message, separator, remedy = error.message.rpartition("; ")
    return Finding("error", error.reason, error.item, message if separator else remedy, remedy if separator else "")


def _duplicates(examined: Sequence[Examined]) -> Iterable[Finding]:
    by_pixels: dict[str, list[Examined]] = defaultdict(list)
    for result in examined:
        if result.is_usable:
            by_pixels[result.pixels_sha256].append(result)
    for first, *others in by_pixels.values():
        for other in others:
            yield _duplicate(first, other)


def _duplicate(first: Examined, other: Examined) -> Finding:
    has_same_bytes = first.file_sha256 == other.file_sha256
    code, what = ("duplicate", "file") if has_same_bytes else ("duplicate_pixels", "picture, in another file,")
    message = f"is the same {what} as {first.source.source_key}"
    if first.source.split != other.source.split:
        message += f", which is in the split {first.source.split!r} and not {other.source.split!r}"
    if first.source.labels != other.source.labels:
        message += ", with other tags"
    return Finding("warning", code, other.source.source_key, message, "remove one of the two")


def _of_classes(per_class: dict[str, int]) -> Iterable[Finding]:
    for name, count in per_class.items():
        if count == 0:
            remedy = "add images or take the class off the list"
            yield Finding("warning", "class_without_images", "", f"class {name!r} has no usable image", remedy)
        elif count < _FEW_IMAGES:
            message = f"class {name!r} has {count} usable images"
            yield Finding("warning", "class_with_few_images", "", message, "add images: its CAMs will be poor")
    present = {name: count for name, count in per_class.items() if count}
    if present and max(present.values()) > _IMBALANCE * min(present.values()):
        rare, common = min(present, key=present.__getitem__), max(present, key=present.__getitem__)
        message = f"{common!r} has {present[common]} images and {rare!r} has {present[rare]}"
        yield Finding("note", "class_imbalance", "", message, "expect weaker masks for the rare class")


def _not_listed(config: DatasetConfig, sources: Sequence[SourceImage]) -> Iterable[Finding]:
    if isinstance(config, CocoConfig) and config.images_without_objects == "leave_out":
        sources = load_sources(config.model_copy(update={"images_without_objects": "keep"}))
    listed = {source.uri for source in sources}
    names = [name for folder in open_image_folders(config) for name in folder if folder.uri_of(name) not in listed]
    if names:
        message = f"{len(names)} image files are in no list ({_some(names)})"
        is_usual = isinstance(config, VocConfig | CubConfig)  # their folder holds the images of all splits
        remedy = "name their split if they should be used" if is_usual else "add them to the tags file or ignore this"
        yield Finding("note" if is_usual else "warning", "not_listed", "", message, remedy)


def _without_mask(sources: Sequence[SourceImage]) -> Iterable[Finding]:
    without = [source.source_key for source in sources if source.mask_uri is None]
    if without and len(without) < len(sources):
        message = f"{len(without)} of {len(sources)} images have no ground-truth mask ({_some(without)})"
        yield Finding("note", "mask_missing", "", message, "scores cover the others alone")


def _without_objects(config: DatasetConfig) -> Iterable[Finding]:
    if not isinstance(config, CocoConfig) or not (number := num_without_objects(config)):
        return
    if config.images_without_objects == "leave_out":
        remedy = "they are not part of the set; images_without_objects: keep makes them so"
    else:
        remedy = "they are part of the set, without tags"
    yield Finding("note", "without_objects", "", f"{number} images have no annotation", remedy)


def _some(names: Sequence[str]) -> str:
    shown = [source_text(name) for name in names[:_NUM_NAMED]]
    return ", ".join(shown) + (", ..." if len(names) > _NUM_NAMED else "")
