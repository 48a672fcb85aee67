"""What can be said of a run's labels without any ground truth, so that settings can be chosen without masks.

- The background threshold of CAMs and of scores after a random walk: where the values part best (Otsu). Of CAMs also
  where their mask agrees best with each mask that later steps made: the sweep of `threshold_sweep`, with that mask in
  place of the truth.
- Masks: how little the CRF had to change them, how many tags they kept, and how far they agree with other masks.

How well this chooses on real images: docs/recipes.md.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from wsss_jobs.datasets.records import Dataset, DatasetItem
from wsss_jobs.pipeline import Plan, PlannedStage
from wsss_jobs.quality.each_item import each_item
from wsss_jobs.quality.otsu import NUM_BINS, SEPARATION, otsu_threshold, score_histogram
from wsss_jobs.quality.scores import confusion_matrix, scores
from wsss_jobs.quality.threshold_sweep import THRESHOLDS, sweep_confusions
from wsss_jobs.receipt_columns import read_receipts, storing_stages
from wsss_jobs.records import Cams, Mask
from wsss_jobs.stage_io import StageFolder, stage_folder
from wsss_jobs.stages.cam_sizes import full_resolution
from wsss_jobs.storage.object_store import ObjectStore


@dataclass(frozen=True)
class Thresholds:
    """Background thresholds of one stage's scores, chosen without masks.

    Attributes:
        name: The stage.
        separation: Otsu's threshold of the highest score of all pixels; of scores that are not stored, the mean of the
            images' own. None where nothing parts.
        by_agreement: Of CAMs: name of a mask stage -> the threshold at which the CAM's mask agrees best with its masks,
            and their mIoU there. A stage that reads its masks from these CAMs at a fixed threshold gives that back.
        num_images: Images that went in.
    """

    name: str
    separation: float | None
    by_agreement: Mapping[str, tuple[float, float]]
    num_images: int


@dataclass(frozen=True)
class MaskConsistency:
    """One set of masks, measured against itself and others. All are fractions.

    Attributes:
        name: The stage.
        crf_agreement: mIoU of the masks before and after the CRF; None without a CRF. For fine differences of one
            setting only: smooth masks agree well whether they are right or not.
        tag_coverage: Share of all tags whose class has a pixel in its image's mask.
        agreement: Name of another mask stage -> mIoU with its masks. Between settings of the GCN, agreement with the
            walk orders as the ground truth does.
        num_images: Masks that were read.
    """

    name: str
    crf_agreement: float | None
    tag_coverage: float
    agreement: Mapping[str, float]
    num_images: int


@dataclass(frozen=True)
class LabelFree:
    """All that was found of a run."""

    thresholds: tuple[Thresholds, ...]
    masks: tuple[MaskConsistency, ...]


def label_free(plan: Plan, dataset: Dataset, run_store: ObjectStore) -> LabelFree:
    """Returns what the finished stages of a run say of each other; reads no ground truth."""
    folders = list(_finished(plan, run_store))
    masks = {stage.name: folder for stage, folder in folders if issubclass(stage.spec.WRITES, Mask)}
    with_crf = {stage.name for stage, _ in folders if getattr(stage.config, "crf", None) is not None}
    thresholds = [
        _cam_thresholds(stage.name, folder, masks, dataset)
        for stage, folder in folders
        if issubclass(stage.spec.WRITES, Cams)
    ]
    thresholds += _streamed_thresholds(plan, run_store)
    return LabelFree(tuple(thresholds), tuple(_consistencies(masks, with_crf, dataset)))


def _finished(plan: Plan, run_store: ObjectStore) -> Iterator[tuple[PlannedStage, StageFolder]]:
    for stage in plan.stages:
        if issubclass(stage.spec.WRITES, Cams | Mask):
            folder = stage_folder(stage, run_store)
            if folder.outputs.manifest() is not None:
                yield stage, folder


def _cam_thresholds(name: str, folder: StageFolder, masks: Mapping[str, StageFolder], dataset: Dataset) -> Thresholds:
    def one(item: DatasetItem) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        cams = folder.read(item)
        assert isinstance(cams, Cams)
        cam_KHW = full_resolution(cams, item)
        sweeps = {
            other: sweep_confusions(cam_KHW, cams.class_ids, mask.outputs.read_mask(item), dataset.num_classes)
            for other, mask in masks.items()
        }
        return score_histogram(cam_KHW), sweeps

    counts = np.zeros(NUM_BINS, dtype=np.int64)
    shape = (len(THRESHOLDS), dataset.num_classes, dataset.num_classes)
    totals_TCC = {other: np.zeros(shape, dtype=np.int64) for other in masks}
    num_images = 0
    for _, (histogram, sweeps) in each_item(one, dataset.items):
        counts += histogram
        num_images += 1
        for other, sweep_TCC in sweeps.items():
            totals_TCC[other] += sweep_TCC
    best = {other: _best(total, dataset.class_names) for other, total in totals_TCC.items() if num_images}
    return Thresholds(name, otsu_threshold(counts), best, num_images)


def _best(total_TCC: np.ndarray, class_names: Sequence[str]) -> tuple[float, float]:
    mious = [scores(total_CC, class_names).miou for total_CC in total_TCC]
    best = int(np.nanargmax(mious))
    return THRESHOLDS[best], mious[best]


def _streamed_thresholds(plan: Plan, run_store: ObjectStore) -> Iterator[Thresholds]:
    """Yields those of scores that are not stored, from what their stages left in the receipts."""
    for stage in plan.stages:
        for sink in storing_stages(stage, plan)[:1] if stage.is_streamed else ():
            found = read_receipts(sink, run_store).latest(f"{stage.name}_{SEPARATION}")
            if found:
                yield Thresholds(stage.name, float(np.mean(list(found.values()))), {}, len(found))


def _consistencies(masks: Mapping[str, StageFolder], with_crf: set[str], dataset: Dataset) -> Iterator[MaskConsistency]:
    pairs = list(combinations(masks, 2))

    def one(item: DatasetItem) -> tuple[dict[tuple[str, str], np.ndarray], dict[str, int]]:
        label_HW = {name: folder.outputs.read_mask(item) for name, folder in masks.items()}
        counts = {(a, b): confusion_matrix(label_HW[a], label_HW[b], dataset.num_classes) for a, b in pairs}
        for name in with_crf & set(masks):
            before_HW = masks[name].outputs.read_mask(item, "masks_before_crf")
            counts[name, name] = confusion_matrix(before_HW, label_HW[name], dataset.num_classes)
        return counts, {name: int(np.isin(item.labels, label_HW[name]).sum()) for name in masks}

    totals: dict[tuple[str, str], np.ndarray] = {}
    num_kept: Counter[str] = Counter()
    num_tags = num_images = 0
    for item, (counts, kept) in each_item(one, dataset.items) if masks else ():
        totals = {pair: count + totals.get(pair, 0) for pair, count in counts.items()}
        num_kept.update(kept)
        num_tags += len(item.labels)
        num_images += 1
    agreement = {pair: scores(total, dataset.class_names).miou for pair, total in totals.items()}
    for name in masks if num_images else ():
        others = {b if a == name else a: value for (a, b), value in agreement.items() if a != b and name in (a, b)}
        own = agreement.get((name, name))
        yield MaskConsistency(name, own, num_kept[name] / max(num_tags, 1), others, num_images)
