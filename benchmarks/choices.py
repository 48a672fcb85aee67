"""Which settings can be chosen without masks, and what do they cost against settings chosen with masks?

    python -m benchmarks.choices --data ../shared/data      # about 15 minutes on 2 cores, after benchmarks.real_voc

Takes CAMs and boundary network of a finished `benchmarks.real_voc`.

- Background thresholds of CAMs and of IRN's walk, chosen on the tuned half of the images and scored on the other:
  with masks (the best of the sweep there), without (Otsu), and the published ones.
- Graph, loss and partial-label settings of the GCN, one change at a time from the recipe's: mIoU, and what is known
  without masks: how far the masks agree with those of the walk (at its own label-free threshold) and with themselves
  before the CRF. On images of the other half.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.real_voc import half_of, prepared
from wsss_jobs.datasets.records import Dataset, DatasetItem
from wsss_jobs.job import PreparedJob
from wsss_jobs.quality.evaluate import read_truth
from wsss_jobs.quality.otsu import otsu_threshold, score_histogram
from wsss_jobs.quality.scores import confusion_matrix, scores
from wsss_jobs.quality.threshold_sweep import THRESHOLDS, sweep_confusions
from wsss_jobs.records import Cams, Record
from wsss_jobs.stage_io import stage_folder
from wsss_jobs.stages.base import ItemInput, ItemStage, Ok, StageContext
from wsss_jobs.stages.cam_sizes import full_resolution
from wsss_jobs.stages.label_partially import LabelPartially
from wsss_jobs.stages.propagate_gcn import PropagateGcn
from wsss_jobs.stages.random_walk import RandomWalkStage
from wsss_jobs.stages.refine_masks import RefineMasks, upsample
from wsss_jobs.worker import CHECKPOINT_KEY, read_image

RESULTS = Path(__file__).parent / "results" / "choices.json"
PUBLISHED = {"cam": 0.15, "walk": 0.25}  # IRN
WIDE_LABELS = {"alpha_low": 6.0, "alpha_high": 8.0, "foreground_fraction": 0.8, "min_background_score": 0.1}
MIDDLE_LABELS = {"alpha_high": 16.0, "foreground_fraction": 0.3, "min_background_score": 0.5}
PAPER_GRAPH = {"transition": False, "symmetrise": "none", "normalisation": "none"}
# Name -> changes of the recipe's `propagate_gcn`, or `labels` of label_partially, over the released ones.
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "recipe": {},
    "graph.radius=3": {"gcn": {"graph": {"radius": 3}}},
    "graph.beta=20": {"gcn": {"graph": {"beta": 20.0}}},
    "graph.self_loop=0": {"gcn": {"graph": {"self_loop": 0.0}}},
    "graph.self_loop=10": {"gcn": {"graph": {"self_loop": 10.0}}},
    "graph.normalisation=symmetric": {"gcn": {"graph": {"normalisation": "symmetric"}}},
    "graph as in the paper's equation 1": {"gcn": {"graph": PAPER_GRAPH}},
    "node_features=paper": {"node_features": "paper"},
    "color_scale=255": {"gcn": {"color_scale": 255.0}},
    "Phi as in the paper": {"gcn": {"color_denominator": 6.0, "space_denominator": 200.0}},
    "laplacian_affinity=affinity": {"gcn": {"laplacian_affinity": "affinity"}},
    "loss_form=paper": {"gcn": {"loss_form": "paper"}},
    "labels: released": {"labels": {}},
    "labels: middle": {"labels": MIDDLE_LABELS},
    "labels: wide": {"labels": WIDE_LABELS},
}


class Bench:
    """The finished run, and stages with other settings on top of it."""

    def __init__(self, job: PreparedJob) -> None:
        self.job = job
        self.dataset: Dataset = job.dataset
        affinity = stage_folder(job.plan.stage("train_affinity"), job.store).outputs
        artifacts = {"affinity": affinity.local_copy(CHECKPOINT_KEY).parent}
        self.context = StageContext(self.dataset.class_names, job.recipe.seed, "cpu", 1, artifacts)
        self._cams = stage_folder(job.plan.stage("infer_cams"), job.store)

    def stage(self, spec: type[ItemStage], name: str, changes: Mapping[str, Any]) -> ItemStage:
        """Returns a stage of the recipe with changes of its settings."""
        settings = merged(self.job.plan.stage(name).config.model_dump(), changes)
        return spec(spec.Config.model_validate(settings), self.context)  # type: ignore[call-arg]

    def cams(self, item: DatasetItem) -> Cams:
        """Returns the stored CAMs."""
        cams = self._cams.read(item)
        assert isinstance(cams, Cams)
        return cams


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns nested settings with changes."""
    result = dict(settings)
    for key, value in changes.items():
        result[key] = merged(result[key], value) if isinstance(value, Mapping) else value
    return result


def done(stage: ItemStage, item: DatasetItem, image_HW3: np.ndarray, **records: Record) -> Any:
    """Returns what a stage makes of one image."""
    [result] = stage.process([ItemInput(item, image_HW3, records)])
    assert isinstance(result, Ok), result
    return result.record


def threshold_choices(bench: Bench, items: Sequence[DatasetItem]) -> dict[str, float]:
    """Returns thresholds and mIoU on the other half, by kind of scores and way of choosing."""
    walk = bench.stage(RandomWalkStage, "random_walk", {})
    confusions: dict[tuple[str, str], Any] = defaultdict(int)
    counts: dict[tuple[str, str], Any] = defaultdict(int)
    for item in track(items, "thresholds"):
        cams, image_HW3, truth_HW = bench.cams(item), read_image(item), read_truth(item)
        walked = upsample(done(walk, item, image_HW3, cams=cams), image_HW3.shape[:2], "log_probability")[1:]
        for kind, score_KHW in (("cam", full_resolution(cams, item)), ("walk", walked)):
            key = (kind, half_of(item))
            confusions[key] += sweep_confusions(score_KHW, cams.class_ids, truth_HW, bench.dataset.num_classes)
            counts[key] += score_histogram(score_KHW)
    results: dict[str, float] = {}
    for kind, published in PUBLISHED.items():
        tuned, other = ([miou(total) for total in confusions[kind, half]] for half in ("tuned_half", "other_half"))
        otsu = otsu_threshold(counts[kind, "tuned_half"])
        assert otsu is not None
        thresholds = {
            "best": THRESHOLDS[int(np.argmax(other))],
            "with_masks": THRESHOLDS[int(np.argmax(tuned))],
            "label_free": round(otsu, 2),
            "published": published,
        }
        for how, threshold in thresholds.items():
            results[f"{kind}.threshold.{how}"] = threshold
            results[f"{kind}.miou.{how}"] = other[THRESHOLDS.index(threshold)]
    return results


def miou(confusion_CC: np.ndarray) -> float:
    """Returns mIoU in percent."""
    return round(100 * scores(confusion_CC, [""] * (len(confusion_CC) - 1)).miou, 2)


def setting_choices(bench: Bench, items: Sequence[DatasetItem], walk_threshold: float) -> dict[str, dict[str, float]]:
    """Returns mIoU and agreements of each setting."""
    walk = bench.stage(RandomWalkStage, "random_walk", {"background_threshold": walk_threshold})
    refine = bench.stage(RefineMasks, "walk_masks", {})
    own = {name: changes for name, changes in SETTINGS.items() if "labels" not in changes}
    propagate = {name: bench.stage(PropagateGcn, "propagate_gcn", changes) for name, changes in own.items()}
    recipe_labels = bench.stage(LabelPartially, "label_partially", {})
    partial = {
        name: LabelPartially(LabelPartially.Config.model_validate({"labels": changes["labels"]}), bench.context)
        for name, changes in SETTINGS.items()
        if "labels" in changes
    }
    confusions: dict[str, dict[str, Any]] = {name: defaultdict(int) for name in SETTINGS}
    for item in track(items, "settings"):
        cams, image_HW3, truth_HW = bench.cams(item), read_image(item), read_truth(item)
        walked = done(refine, item, image_HW3, scores=done(walk, item, image_HW3, cams=cams))
        for name, totals in confusions.items():
            label = done(partial.get(name, recipe_labels), item, image_HW3, cams=cams)
            gcn = propagate.get(name, propagate["recipe"])
            mask = done(refine, item, image_HW3, scores=done(gcn, item, image_HW3, partial=label))
            pairs = {
                "miou": (mask.before_crf_HW, truth_HW),
                "miou_crf": (mask.label_HW, truth_HW),
                "agreement_walk": (mask.label_HW, walked.label_HW),
                "agreement_crf": (mask.before_crf_HW, mask.label_HW),
            }
            for key, pair in pairs.items():
                totals[key] += confusion_matrix(*pair, bench.dataset.num_classes)
    return {name: {key: miou(total) for key, total in totals.items()} for name, totals in confusions.items()}


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--store", type=Path, default=Path("benchmarks/runs"))
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--num-images", type=int, default=240, help="for the thresholds, both halves together")
    parser.add_argument(
        "--num-settings-images", type=int, default=60, help="for the settings, of the other half; 0: none"
    )
    arguments = parser.parse_args()
    bench = Bench(prepared(arguments.data, arguments.store, ()))
    items = sorted(bench.dataset.items, key=lambda item: item.item_id)  # by content: as good as at random
    console = Console()
    thresholds = threshold_choices(bench, items[: arguments.num_images])
    console.print(threshold_table(thresholds))
    other = [item for item in items if half_of(item) == "other_half"][: arguments.num_settings_images]
    settings = setting_choices(bench, other, thresholds["walk.threshold.label_free"]) if other else {}
    if settings:
        console.print(setting_table(settings))
    content = {
        "thresholds": thresholds,
        "settings": settings,
        "num_images": arguments.num_images,
        "num_settings_images": len(other),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
    }
    arguments.json.write_text(json.dumps(content, indent=1) + "\n")


def threshold_table(thresholds: Mapping[str, float]) -> Table:
    """Returns a row for each kind of scores and way of choosing."""
    table = Table("scores", "chosen", "threshold", "mIoU", title="Background thresholds", title_justify="left")
    for kind in PUBLISHED:
        for how in ("best", "with_masks", "label_free", "published"):
            found = (thresholds[f"{kind}.threshold.{how}"], thresholds[f"{kind}.miou.{how}"])
            table.add_row(kind, how, *(f"{value:.2f}" for value in found))
    return table


def setting_table(settings: Mapping[str, Mapping[str, float]]) -> Table:
    """Returns a row for each setting."""
    keys = list(next(iter(settings.values())))
    table = Table("setting", *keys, title="Settings of the GCN (%)", title_justify="left")
    for name, values in settings.items():
        table.add_row(name, *(f"{values[key]:.1f}" for key in keys))
    return table


if __name__ == "__main__":
    main()
