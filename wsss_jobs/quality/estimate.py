"""How good each mask of a run is, without ground truth: the parts, from what the stages have stored (docs/quality.md).

The driver reads the records image by image, on all cores, as an evaluation does; only numbers are kept.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from wsss_jobs.datasets.records import Dataset, DatasetItem
from wsss_jobs.errors import ConfigError, DataError
from wsss_jobs.pipeline import Plan, PlannedStage
from wsss_jobs.quality.agreement import cam_agreement, label_agreement
from wsss_jobs.quality.boundary_fit import boundary_fit
from wsss_jobs.quality.each_item import each_item
from wsss_jobs.quality.evaluate import enlarged_label
from wsss_jobs.quality.image_quality import ImageParts, ImageQuality, combined
from wsss_jobs.receipt_columns import read_receipts
from wsss_jobs.records import AffinityLabel, Cams, LabelMap, Mask, PartialLabel
from wsss_jobs.report.steps import Step, run_steps
from wsss_jobs.stage_io import StageFolder, stage_folder
from wsss_jobs.stages.cam_sizes import full_resolution
from wsss_jobs.storage.object_store import ObjectNotFoundError, ObjectStore
from wsss_jobs.worker import read_image

FLIP_AGREEMENT = "flip_agreement"
"""The receipt column in which a stage of CAMs leaves how far those of an image and its mirror image agree."""


@dataclass(frozen=True)
class QualityEstimate:
    """The masks of one step.

    Attributes:
        step: As evaluations name it.
        fingerprint: Of its stage.
        images: Worst first.
        num_missing: Images without a mask.
    """

    step: str
    fingerprint: str
    images: tuple[ImageQuality, ...]
    num_missing: int


@dataclass(frozen=True)
class _Witnesses:
    """What the masks of one step are compared with.

    Attributes:
        labels: Masks of all other steps, and partial labels.
        confidence: Of the scores that the masks were read from, by item id.
        flips: Agreement of each image's CAMs with those of its mirror image, by item id.
    """

    cams: tuple[StageFolder, ...] = ()
    labels: tuple[tuple[StageFolder, str], ...] = ()
    confidence: Mapping[str, float] = field(default_factory=dict)
    flips: Mapping[str, float] = field(default_factory=dict)


def estimate_quality(
    plan: Plan,
    dataset: Dataset,
    run_store: ObjectStore,
    step_name: str | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> QualityEstimate:
    """Returns the quality of the masks of a finished step; reads no ground truth.

    Args:
        step_name: `<stage>` or `<stage>/before_crf`; None for the last finished step with masks.
        on_image: Called after each image.

    Raises:
        ConfigError: There is no such step, or it is not finished.
    """
    step = mask_step(plan, run_store, step_name)
    folder = stage_folder(step.stage, run_store)
    witnesses = _witnesses(step, plan, run_store)

    def one(item: DatasetItem) -> ImageParts:
        label_HW = folder.outputs.read_mask(item, step.variant)
        parts = _parts(item, label_HW, witnesses, dataset)
        on_image()
        return parts

    found = [parts for _, parts in each_item(one, dataset.items)]
    num_missing = len(dataset.items) - len(found)
    return QualityEstimate(step.name, step.stage.fingerprint, tuple(combined(found)), num_missing)


def mask_step(plan: Plan, run_store: ObjectStore, name: str | None = None) -> Step:
    """Returns a finished step with masks, by name or the last one.

    Raises:
        ConfigError: There is none.
    """
    steps = {step.name: step for step in run_steps(plan) if step.kind == "mask"}
    if name is not None and name not in steps:
        raise ConfigError(f"--step {name}: no step with masks is called so; there are {', '.join(steps) or 'none'}")
    wanted = list(steps.values()) if name is None else [steps[name]]
    done = [step for step in wanted if _is_finished(step.stage, run_store)]
    if not done:
        what = "no step with masks is finished" if name is None else f"--step {name}: is not finished"
        raise ConfigError(f"{what}; `wsss run` goes on with it, `wsss status` says how far it is")
    return done[-1]


def framing(label_HW: np.ndarray) -> float:
    """Returns the share of the outermost pixels that are background.

    Objects are photographed whole more often than cut off: the background prior of Wei et al., ECCV 2012, section 3.
    """
    rim = np.concatenate([label_HW[0], label_HW[-1], label_HW[1:-1, 0], label_HW[1:-1, -1]])
    return float(np.mean(rim == 0))


def _parts(item: DatasetItem, label_HW: np.ndarray, witnesses: _Witnesses, dataset: Dataset) -> ImageParts:
    found = set(np.unique(label_HW).tolist())
    missing = [label for label in item.labels if label not in found]
    values = {
        "cam_agreement": _with_cams(item, label_HW, witnesses, dataset.num_classes),
        "stage_agreement": _with_labels(item, label_HW, witnesses, dataset.num_classes),
        "flip_stability": witnesses.flips.get(item.item_id),
        "tag_coverage": 1.0 - len(missing) / len(item.labels) if item.labels else None,
        "boundary_fit": _on_edges(item, label_HW),
        "framing": framing(label_HW),
        "confidence": witnesses.confidence.get(item.item_id),
    }
    names = tuple(dataset.class_names[label - 1] for label in missing)
    return ImageParts(item.item_id, item.source_key, values, names)


def _with_cams(item: DatasetItem, label_HW: np.ndarray, witnesses: _Witnesses, num_classes: int) -> float | None:
    found = []
    for folder in witnesses.cams:
        try:
            cams = folder.read(item)
            assert isinstance(cams, Cams)
            found.append(cam_agreement(full_resolution(cams, item), cams.class_ids, label_HW, num_classes))
        except (ObjectNotFoundError, DataError):  # it failed there, and has a row in `failed`
            continue
    return float(np.mean(found)) if found else None


def _with_labels(item: DatasetItem, label_HW: np.ndarray, witnesses: _Witnesses, num_classes: int) -> float | None:
    found = []
    for folder, variant in witnesses.labels:
        try:
            other_HW = folder.outputs.read_mask(item, variant)
        except ObjectNotFoundError:
            continue
        if issubclass(folder.record_type, PartialLabel):
            other_HW = enlarged_label(other_HW, label_HW.shape)
        found.append(label_agreement(other_HW, label_HW, item.labels, num_classes))
    return float(np.mean(found)) if found else None


def _on_edges(item: DatasetItem, label_HW: np.ndarray) -> float | None:
    try:
        fit = boundary_fit(label_HW, read_image(item))
    except DataError:  # the image is gone or broken since
        return None
    # A mask that is all of one kind, of an image whose tags name an object: nothing was found, or everything.
    return 0.0 if fit is None and item.labels else fit


def _witnesses(step: Step, plan: Plan, run_store: ObjectStore) -> _Witnesses:
    finished = [stage for stage in plan.stages if _is_finished(stage, run_store)]
    return _Witnesses(
        cams=tuple(stage_folder(stage, run_store) for stage in finished if issubclass(stage.spec.WRITES, Cams)),
        labels=tuple(_labels(step, finished, run_store)),
        confidence=_confidence(step, plan, run_store),
        flips=_flips(finished, run_store),
    )


def _labels(step: Step, finished: list[PlannedStage], run_store: ObjectStore) -> Iterator[tuple[StageFolder, str]]:
    for stage in finished:
        if not issubclass(stage.spec.WRITES, LabelMap) or issubclass(stage.spec.WRITES, AffinityLabel):
            continue
        has_crf = not issubclass(stage.spec.WRITES, Mask) or getattr(stage.config, "crf", None) is not None
        variants = stage.spec.WRITES.variants if has_crf else ("masks",)  # without a CRF both are the same
        for variant in variants:
            if (stage.name, variant) != (step.stage.name, step.variant):
                yield stage_folder(stage, run_store), variant


def _confidence(step: Step, plan: Plan, run_store: ObjectStore) -> Mapping[str, float]:
    """Returns the mean confidence of the scores behind the masks: before a CRF, after which all are sure."""
    feeders = [plan.stage(name) for name in step.stage.inputs.values()]
    streamed = [stage.name for stage in feeders if stage.is_streamed]
    source = streamed[0] if streamed else step.stage.name
    return read_receipts(step.stage, run_store).latest(f"{source}_mean_confidence")


def _flips(finished: list[PlannedStage], run_store: ObjectStore) -> Mapping[str, float]:
    for stage in reversed(finished):
        if issubclass(stage.spec.WRITES, Cams):
            found = read_receipts(stage, run_store).latest(f"{stage.name}_{FLIP_AGREEMENT}")
            if found:
                return found
    return {}


def _is_finished(stage: PlannedStage, run_store: ObjectStore) -> bool:
    if stage.is_streamed or stage.is_training:
        return False
    return stage_folder(stage, run_store).outputs.manifest() is not None
