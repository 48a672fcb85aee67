"""From a step of a run to an export: every mask is read once, converted and passed on."""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsss_jobs.datasets.index import Progress, parallel_map
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.errors import ConfigError, DataError
from wsss_jobs.exports.base import Converted, ExportContext, Exporter, LabelledItem
from wsss_jobs.exports.registry import FORMATS
from wsss_jobs.exports.review import REVIEW_KEY, review_list, step_quality, worst_items
from wsss_jobs.exports.target import begin_export, finish_export
from wsss_jobs.job import PreparedJob
from wsss_jobs.quality.image_quality import ImageQuality
from wsss_jobs.records import INSTANCE_MASKS
from wsss_jobs.report.steps import Step, run_steps
from wsss_jobs.stage_io import stage_folder
from wsss_jobs.storage.manifest import Manifest
from wsss_jobs.storage.mask_png import decode_mask
from wsss_jobs.storage.object_store import ObjectNotFoundError
from wsss_jobs.storage.stage_outputs import StageOutputs
from wsss_jobs.storage.uris import open_store

_READ_THREADS_A_CORE = 4


@dataclass(frozen=True)
class ExportRequest:
    """What to export, how and where to.

    Attributes:
        format_name: A key of `FORMATS`.
        to: A folder or `s3://` address.
        step: `<stage>` or `<stage>/before_crf`; None for the last step with masks (with instances, where the format
            needs them).
        split: Only images of this split; None for all.
        image_prefix: See `ExportContext`.
        worst: Only so many images, those with the lowest quality scores, worst first; None for all.
    """

    format_name: str
    to: str
    step: str | None = None
    split: str | None = None
    image_prefix: str | None = None
    worst: int | None = None


@dataclass(frozen=True)
class ExportResult:
    """What became of it.

    Attributes:
        step: The step that was exported.
        num_exported: Images in the export.
        left_out: Why the others are not in it.
    """

    uri: str
    step: str
    num_exported: int
    left_out: tuple[DataError, ...]


@dataclass(frozen=True)
class MaskReader:
    """Reads the masks of one step, with their quality where it is known."""

    outputs: StageOutputs
    variant: str
    quality: Mapping[str, ImageQuality]
    needs_instances: bool = False

    def read(self, item: DatasetItem) -> LabelledItem:
        """Returns an item's mask.

        Raises:
            ObjectNotFoundError: It has none.
            DataError: It cannot be decoded.
        """
        png = self._png(item, self.variant)
        instances_png = self._png(item, INSTANCE_MASKS) if self.needs_instances else None
        label_HW = decode_mask(png, item.source_key)
        return LabelledItem(item, png, label_HW, self.quality.get(item.item_id), instances_png)

    def _png(self, item: DatasetItem, variant: str) -> bytes:
        return self.outputs.mask_data(self.outputs.mask_key(item, variant), variant)


def export_masks(job: PreparedJob, request: ExportRequest, on_progress: Progress | None = None) -> ExportResult:
    """Writes the masks of a finished step; a second call after an interruption goes on in the same folder.

    Raises:
        ConfigError: No such format or step, the step is not finished, or the folder holds something else.
        StorageError: A store cannot be read or written.
    """
    exporter_type = _exporter_type(request)
    step = _step(job, request, exporter_type.NEEDS_INSTANCES)
    outputs = stage_folder(step.stage, job.store).outputs
    manifest = outputs.manifest()
    if manifest is None:
        raise ConfigError(
            f"--step {step.name}: is not finished; `wsss run` goes on with it, `wsss status` says how far it is"
        )
    items = _items(job, request.split)
    quality: dict[str, ImageQuality] = {}
    if request.worst is not None:
        quality = step_quality(job, step)
        items = worst_items(items, quality, request.worst)
    target = open_store(request.to)
    identity = _identity(job, request, step, manifest) | _selection(request, items)
    with tempfile.TemporaryDirectory(prefix="wsss-export-") as scratch:
        title = f"{job.recipe.run} {step.name}"
        context = ExportContext(target, Path(scratch), job.dataset.class_names, title, request.image_prefix)
        exporter = exporter_type(context)
        reader = MaskReader(outputs, step.variant, quality, exporter_type.NEEDS_INSTANCES)
        begin_export(target, identity)
        left_out = _convert_all(exporter, items, reader, on_progress)
        if request.worst is not None:
            target.put(REVIEW_KEY, review_list(items, quality))
    num_exported = len(items) - len(left_out)
    finish_export(target, identity, {"num_exported": num_exported, "left_out": [error.item for error in left_out]})
    return ExportResult(target.uri, step.name, num_exported, tuple(left_out))


def _exporter_type(request: ExportRequest) -> type[Exporter[Any]]:
    if request.format_name not in FORMATS:
        raise ConfigError(f"--format {request.format_name}: not known; known are {', '.join(FORMATS)}")
    exporter_type = FORMATS[request.format_name]
    if request.image_prefix is not None and not exporter_type.TAKES_IMAGE_PREFIX:
        raise ConfigError(f"--image-prefix: {request.format_name} writes no addresses of images; leave it out")
    return exporter_type


def _step(job: PreparedJob, request: ExportRequest, needs_instances: bool) -> Step:
    steps = {step.name: step for step in run_steps(job.plan) if step.kind in ("mask", "affinity")}
    if request.step is not None and request.step not in steps:
        names = ", ".join(steps) or "none"
        raise ConfigError(f"--step {request.step}: no step with masks is called so; there are {names}")
    chosen = [step for step in steps.values() if step.kind == "mask"] if request.step is None else [steps[request.step]]
    if not chosen:
        raise ConfigError(f"{job.recipe.name}: no stage of this recipe writes masks; nothing to export")
    if needs_instances:
        chosen = [step for step in chosen if INSTANCE_MASKS in step.stage.extra_masks]
    if not chosen:
        where = job.recipe.name if request.step is None else f"--step {request.step}"
        rule = "`instances: {}` in the stage random_walk makes them, for the masks of the walk"
        raise ConfigError(f"--format {request.format_name}: {where} has no instance masks; {rule}")
    return chosen[-1]


def _items(job: PreparedJob, split: str | None) -> Sequence[DatasetItem]:
    items = [item for item in job.dataset.items if split is None or item.split == split]
    if not items:
        splits = sorted({item.split for item in job.dataset.items})
        raise ConfigError(f"--split {split}: no image is in it; there are {', '.join(splits)}")
    return items


def _identity(job: PreparedJob, request: ExportRequest, step: Step, manifest: Manifest) -> dict[str, Any]:
    return {
        "format": request.format_name,
        "run": job.recipe.run,
        "step": step.name,
        "fingerprint": step.stage.fingerprint,
        "split": request.split,
        "image_prefix": request.image_prefix,
        "failed_sha256": hashlib.sha256(json.dumps(manifest.failed_item_ids).encode()).hexdigest(),
    }


def _selection(request: ExportRequest, items: Sequence[DatasetItem]) -> dict[str, Any]:
    """Returns which images an export of the worst has: scores may have been estimated again since it was begun."""
    if request.worst is None:
        return {}
    names = json.dumps([item.item_id for item in items])
    return {"worst": request.worst, "worst_sha256": hashlib.sha256(names.encode()).hexdigest()}


def _convert_all(
    exporter: Exporter[Converted],
    items: Sequence[DatasetItem],
    masks: MaskReader,
    on_progress: Progress | None,
) -> list[DataError]:
    def convert(item: DatasetItem) -> Converted | DataError:
        try:
            return exporter.convert(masks.read(item))
        except ObjectNotFoundError:
            return DataError(item.source_key, "no_mask", "has no mask in this step; `wsss failed` says why")
        except DataError as error:
            return error

    left_out = []
    for converted in parallel_map(convert, items, _READ_THREADS_A_CORE * (os.cpu_count() or 1), on_progress):
        if isinstance(converted, DataError):
            left_out.append(converted)
        else:
            exporter.add(converted)
    exporter.finish()
    return left_out
