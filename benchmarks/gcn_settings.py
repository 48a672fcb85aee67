"""What does each choice of graph, losses and partial labels do to WSGCN, and which of them can be made without masks?

    python -m benchmarks.gcn_settings --data ../shared/data      # about 40 minutes, after benchmarks.real_voc_compare

Takes CAMs and affinity networks of a finished `benchmarks.real_voc_compare`, its first seed: WSGCN-I on IRNet, WSGCN-P
on AffinityNet. One change at a time from the recipe's settings, on `--num-images` images of each half: mIoU, and what
is known without masks: how far the masks agree with those of the random walk with CRF, and with themselves before the
CRF. IRN's walk has the threshold that Otsu's method gives (`benchmarks.choices`), PSA's its published settings.

`choice.*`: what the tuned half chooses, by its masks (`with_masks`) or by agreement with the walk (`label_free`; only
among settings without the recipe's partial labels, which masks have tuned: `label_free_untuned`), scored on the other
half; beside it the recipe's settings and the best there. The best of many on few images is partly luck.
`rank_correlation` is Spearman's, of agreement and mIoU with CRF, over all settings on each half.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from scipy.stats import spearmanr

from benchmarks.choices import label_free_threshold
from benchmarks.real_voc import HALVES, all_places, circumstances, half_of
from benchmarks.stage_bench import StageBench, done, miou
from wsss_jobs.cli.terminal import make_console
from wsss_jobs.comparison.config import load_comparison
from wsss_jobs.comparison.jobs import prepare_comparison
from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.quality.evaluate import read_truth
from wsss_jobs.quality.scores import confusion_matrix
from wsss_jobs.worker import read_image

COMPARISON = Path(__file__).with_name("real_voc_compare.yaml")
RESULTS = Path(__file__).parent / "results" / "gcn_settings.json"
NUM_PROCESSES = 2

Changes = Mapping[str, Any]
Settings = Mapping[str, Mapping[str, Changes]]  # name -> stage -> changes
Values = dict[str, float]


def _gcn(**changes: Any) -> Mapping[str, Changes]:
    return {"propagate_gcn": {"gcn": changes}}


def _labels(**changes: float) -> Mapping[str, Changes]:
    return {"label_partially": {"labels": changes}}


_BOTH: Settings = {
    "recipe": {},
    "graph.radius=3": _gcn(graph={"radius": 3}),
    "graph.self_loop=0": _gcn(graph={"self_loop": 0.0}),
    "graph.self_loop=10": _gcn(graph={"self_loop": 10.0}),
    "graph.normalisation=symmetric": _gcn(graph={"normalisation": "symmetric"}),
    "graph.transition=false": _gcn(graph={"transition": False}),
    "graph as in the paper's equation 1": _gcn(
        graph={"transition": False, "symmetrise": "none", "normalisation": "none"}
    ),
    "color_scale=255": _gcn(color_scale=255.0),
    "Phi as in the paper": _gcn(color_denominator=6.0, space_denominator=200.0),
    "laplacian_affinity=affinity": _gcn(laplacian_affinity="affinity"),
    "loss_form=paper": _gcn(loss_form="paper"),
    "labels: released": _labels(alpha_low=4.0, alpha_high=32.0, foreground_fraction=0.3, min_background_score=0.8),
    "labels: middle": _labels(alpha_high=16.0, foreground_fraction=0.3, min_background_score=0.5),
    "labels: wide": _labels(alpha_low=6.0, alpha_high=8.0, foreground_fraction=0.8, min_background_score=0.1),
}
_WALK = {"graph": "walk", "symmetrise": "max", "normalisation": "row"}


@dataclass(frozen=True)
class Variant:
    """WSGCN on one affinity network.

    Attributes:
        name: Of the comparison's variant.
        walk: The stage of its random walk.
        walk_settings: Chosen without masks, or published.
        settings: One change at a time.
    """

    name: str
    walk: str
    walk_settings: Changes
    settings: Settings


VARIANTS = (
    Variant(
        "wsgcn_i",
        "random_walk",
        {"background_threshold": label_free_threshold("walk")},
        {
            **_BOTH,
            "graph.beta=20": _gcn(graph={"beta": 20.0}),
            "node_features=paper": {"propagate_gcn": {"node_features": "paper"}},
        },
    ),
    Variant(
        "wsgcn_p",
        "random_walk_psa",
        {},
        {
            **_BOTH,
            "graph.beta=4": _gcn(graph={"beta": 4.0}),
            "graph.beta=16": _gcn(graph={"beta": 16.0}),
            "graph: walk of 256 steps (as in wsgcn_p_voc)": _gcn(graph={**_WALK, "log2_steps": 8}),
            "graph: walk of 4 steps": _gcn(graph={**_WALK, "log2_steps": 2}),
        },
    ),
)


def bench_of(data: Path, store: Path, variant: str) -> StageBench:
    """Returns the finished run of the comparison's first seed."""
    comparison = load_comparison(str(COMPARISON))
    first = comparison.model_copy(update={"seeds": comparison.seeds[:1]})
    jobs = prepare_comparison(first, all_places(data, store))
    return StageBench(next(job.job for job in jobs if job.variant == variant))


def measured(data: Path, store: Path, variant: Variant, num_images: int, share: int) -> dict[tuple[str, str, str], Any]:
    """Returns confusions by half, setting and measure, of every `NUM_PROCESSES`th of the images."""
    torch.set_num_threads(1)
    bench = bench_of(data, store, variant.name)
    walk, refine = bench.stage(variant.walk, variant.walk_settings), bench.stage("walk_masks", {})
    gcn_masks = bench.stage("gcn_masks", {})
    label_partially, propagate = (
        {name: bench.stage(stage, changes.get(stage, {})) for name, changes in variant.settings.items()}
        for stage in ("label_partially", "propagate_gcn")
    )
    found: dict[tuple[str, str, str], Any] = defaultdict(int)
    for item in list(chosen(bench, num_images))[share::NUM_PROCESSES]:
        cams, image_HW3, truth_HW = bench.cams(item), read_image(item), read_truth(item)
        walked = done(refine, item, image_HW3, scores=done(walk, item, image_HW3, cams=cams))
        for name in variant.settings:
            partial = done(label_partially[name], item, image_HW3, cams=cams)
            mask = done(gcn_masks, item, image_HW3, scores=done(propagate[name], item, image_HW3, partial=partial))
            pairs = {
                "miou": (mask.before_crf_HW, truth_HW),
                "miou_crf": (mask.label_HW, truth_HW),
                "agreement_walk": (mask.label_HW, walked.label_HW),
                "agreement_crf": (mask.before_crf_HW, mask.label_HW),
            }
            for key, pair in pairs.items():
                found[half_of(item), name, key] += confusion_matrix(*pair, bench.dataset.num_classes)
    return found


def chosen(bench: StageBench, num_images: int) -> Iterator[DatasetItem]:
    """Yields so many images of each half; in the order of their content, as good as at random."""
    left = dict.fromkeys(HALVES, num_images)
    for item in sorted(bench.dataset.items, key=lambda item: item.item_id):
        if left[half_of(item)]:
            left[half_of(item)] -= 1
            yield item


def in_processes(data: Path, store: Path, variant: Variant, num_images: int) -> dict[str, dict[str, Values]]:
    """Returns values by half and setting."""
    with ProcessPoolExecutor(NUM_PROCESSES, get_context("spawn")) as pool:
        shares = [pool.submit(measured, data, store, variant, num_images, share) for share in range(NUM_PROCESSES)]
        results = [share.result() for share in shares]
    values: dict[str, dict[str, Values]] = {half: defaultdict(dict) for half in HALVES}
    for half, name, key in dict.fromkeys(key for result in results for key in result):
        values[half][name][key] = miou(sum(result.get((half, name, key), 0) for result in results))
    return {half: dict(of_half) for half, of_half in values.items()}


def choices(values: Mapping[str, Mapping[str, Values]]) -> dict[str, Any]:
    """Returns what each way of choosing on the tuned half picks, and its mIoU with CRF on the other."""
    tuned, other = (values[half] for half in HALVES)
    untuned = {name: each for name, each in tuned.items() if name.startswith("labels")}
    picks = {
        "recipe": "recipe",
        "with_masks": _best(tuned, "miou_crf"),
        "label_free": _best(tuned, "agreement_walk"),
        "label_free_untuned": _best(untuned, "agreement_walk"),
        "best_there": _best(other, "miou_crf"),
    }
    picked = {how: {"setting": name, "miou_crf": other[name]["miou_crf"]} for how, name in picks.items()}
    return {**picked, "rank_correlation": {half: _rank_correlation(of_half) for half, of_half in values.items()}}


def _best(values: Mapping[str, Values], key: str) -> str:
    return max(values, key=lambda name: values[name][key])


def _rank_correlation(values: Mapping[str, Values]) -> float:
    columns = ([each[key] for each in values.values()] for key in ("agreement_walk", "miou_crf"))
    return round(float(spearmanr(*columns).statistic), 2)


def setting_table(title: str, values: Mapping[str, Mapping[str, Values]]) -> Table:
    """Returns a row for each setting: both halves' mIoU, and the agreements on the tuned half."""
    tuned, other = (values[half] for half in HALVES)
    names = ("tuned", "+ CRF", "other", "+ CRF", "as walk", "as itself")
    table = Table("setting", *names, title=title, title_justify="left")
    for name, of_tuned in tuned.items():
        keys = ("miou", "miou_crf")
        cells = [of_tuned[key] for key in keys] + [other[name][key] for key in keys]
        table.add_row(
            name, *(f"{each:.1f}" for each in [*cells, of_tuned["agreement_walk"], of_tuned["agreement_crf"]])
        )
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--store", type=Path, default=Path("benchmarks/runs"))
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--num-images", type=int, default=40, help="of each half")
    parser.add_argument("--only", choices=[variant.name for variant in VARIANTS])
    options = parser.parse_args(arguments)
    console = make_console()
    content = json.loads(options.json.read_text()) if options.json.exists() else {}
    for variant in VARIANTS:
        if options.only not in {None, variant.name}:
            continue
        values = in_processes(options.data, options.store, variant, options.num_images)
        found = choices(values)
        console.print(setting_table(f"{variant.name}, mIoU in %", values))
        console.print(f"choice: {found}", highlight=False)
        content[variant.name] = {**values, "choice": found, **circumstances(2 * options.num_images)}
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
