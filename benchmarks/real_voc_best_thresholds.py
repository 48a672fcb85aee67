"""Background thresholds that no mask has chosen, for CAMs of methods whose recipe has none behind them.

Otsu's method, as `wsss evaluate --label-free` and `benchmarks.choices` have it: of the CAMs over all images, and of
IRN's walk over `NUM_IMAGES` of them, drawn by content, so that no walk is made twice. The affinity labels' pair of
thresholds keeps the relation that it has to the CAMs' in `real_voc.yaml`. A threshold is found once a method, with the
first run seed, and serves all seeds, as it would for a user.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.real_voc_best_recipes import CAMS, SEEDS
from benchmarks.stage_bench import StageBench, walked
from wsss_jobs.comparison.config import Comparison
from wsss_jobs.comparison.jobs import VariantJob
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.job import PreparedJob
from wsss_jobs.pipeline import Plan
from wsss_jobs.quality.each_item import each_item
from wsss_jobs.quality.label_free import label_free
from wsss_jobs.quality.otsu import NUM_BINS, otsu_threshold, score_histogram
from wsss_jobs.stage_io import stage_folder
from wsss_jobs.worker import read_image

NUM_IMAGES = 120
WALK, AFFINITY = "random_walk", "train_affinity"
CHAIN = "i"
"""The chain with the thresholds to choose."""

PASSES = (("cam", CAMS, CAMS), ("walk", AFFINITY, WALK))
"""What is found, the stage that has to be there, and the stage of the scores; the walk's is behind the CAMs'."""

Thresholds = dict[str, dict[str, float]]  # seed method -> "cam" or "walk" -> threshold


class Known:
    """Thresholds that were found before, by the stages that they are of; kept in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, job: PreparedJob, stage_name: str, find: Callable[[PreparedJob], float | None]) -> float | None:
        """Returns the threshold of a stage's scores, rounded as recipes are written."""
        stage = job.plan.stage(stage_name)
        key = f"{stage_name}-{stage.fingerprint}"
        known = json.loads(self._path.read_text()) if self._path.is_file() else {}
        if known.get(key) is None:
            value = find(job)
            known[key] = None if value is None else round(value, 2)
            self._path.write_text(json.dumps(known, indent=1) + "\n")
        threshold: float | None = known[key]
        return threshold


def find_thresholds(
    comparison: Comparison,
    only: Sequence[str],
    prepare: Callable[[Comparison], list[VariantJob]],
    run: Callable[[list[VariantJob]], object],
    known: Known,
) -> Thresholds:
    """Returns the thresholds of all methods without own ones, after the stages that they are of were run.

    Args:
        only: Variants that will run.
        prepare: Returns the jobs of a comparison.
        run: Runs jobs; one that stops leaves its method with the thresholds of its recipe.
    """
    thresholds: Thresholds = {}
    for kind, needed, scored in PASSES:
        jobs = _first_jobs(prepare(with_thresholds(comparison, thresholds)), only, kind)
        run([replace(each, job=up_to(each.job, needed)) for each in jobs.values()])
        for seed, each in jobs.items():
            value = known.get(each.job, scored, FIND[kind]) if is_done(each.job, needed) else None
            if value is not None:
                thresholds.setdefault(seed, {})[kind] = value
    return thresholds


def _first_jobs(jobs: Sequence[VariantJob], only: Sequence[str], kind: str) -> dict[str, VariantJob]:
    """Returns, by method, the first job with the scores of a kind, where a variant needs their threshold."""
    first = {each.variant: each for each in reversed(jobs)}
    needing = [variant for variant in only if kind == "cam" or variant.endswith(f"_{CHAIN}")]
    methods = [name for name, seed in SEEDS.items() if not seed.own_thresholds]
    return {name: first[f"{name}_{CHAIN}"] for name in methods if any(v.startswith(f"{name}_") for v in needing)}


def up_to(job: PreparedJob, stage_name: str) -> PreparedJob:
    """Returns the job with the plan cut behind a stage."""
    wanted = job.plan.upstream(job.plan.stage(stage_name)) | {stage_name}
    stages = tuple(stage for stage in job.plan.stages if stage.name in wanted)
    return replace(job, plan=Plan(stages, tuple(each for each in job.plan.segments if each.sink.name in wanted)))


def is_done(job: PreparedJob, stage_name: str) -> bool:
    """Returns whether a stage is complete."""
    return stage_folder(job.plan.stage(stage_name), job.store).outputs.manifest() is not None


def cam_threshold(job: PreparedJob) -> float | None:
    """Returns Otsu's threshold of a job's CAMs, over all images."""
    cams = replace(job.plan, stages=(job.plan.stage(CAMS),))
    return label_free(cams, job.dataset, job.store).thresholds[0].separation


def walk_threshold(job: PreparedJob) -> float | None:
    """Returns Otsu's threshold of what IRN's walk makes of a job's CAMs, over some images."""
    bench = StageBench(job)
    walk = bench.stage(WALK, {})

    def histogram(item: DatasetItem) -> np.ndarray:
        return score_histogram(walked(walk, item, read_image(item), bench.cams(item)))

    items = sorted(job.dataset.items, key=lambda item: item.item_id)[:NUM_IMAGES]  # by content: as good as at random
    return otsu_threshold(sum((counts for _, counts in each_item(histogram, items)), np.zeros(NUM_BINS, np.int64)))


FIND = {"cam": cam_threshold, "walk": walk_threshold}


def with_thresholds(comparison: Comparison, thresholds: Mapping[str, Mapping[str, float]]) -> Comparison:
    """Returns the comparison with these thresholds in the recipes of each seed method."""
    variants = {
        name: variant.model_copy(update={"set": (*variant.set, *_changes(thresholds.get(seed, {}), chain))})
        for name, variant in comparison.variants.items()
        for seed, _, chain in [name.partition("_")]
    }
    return comparison.model_copy(update={"variants": variants})


def _changes(found: Mapping[str, float], chain: str) -> list[str]:
    changes = []
    if "cam" in found:
        cam = found["cam"]
        changes.append(f"stages.read_cams.background_threshold={cam}")
        if chain == CHAIN:
            labels = "stages.make_affinity_labels.labels"
            changes += [f"{labels}.foreground_threshold={cam}", f"{labels}.background_threshold={round(0.3 * cam, 3)}"]
    if "walk" in found and chain == CHAIN:
        changes.append(f"stages.{WALK}.background_threshold={found['walk']}")
    return changes
