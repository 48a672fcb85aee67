"""Localisation on real images: boxes of group-wise CAMs against those of plain CAMs, and the metrics once more by hand.

    python -m benchmarks.real_voc_wsol --data ../shared/data              # about 25 minutes of 2 cores a seed
    python -m benchmarks.real_voc_wsol --data ../shared/data --images 24 \
        --set stages.train_groupwise.schedule.num_epochs=1                # does it work?

Takes the 271 training images of `--data`'s `voc_subset` with exactly one tag as a set in CUB's layout (links in the
store): a box is the extent of the tag's pixels in the mask, train is the tuned half of `benchmarks.real_voc` and test
the other, by a hash of the names. Runs `benchmarks/real_voc_wsol.yaml` with each of `--seeds`. Of this recipe nothing
was tuned on either half; masks and boxes are read for scoring alone.

Prints Top-1 Cls, Top-1 Loc, GT-known Loc and MaxBoxAcc of `groupwise`; of `cam`, the standalone classifier's CAMs at
the same size; of `cam_3_scales`, the same at three scales; and of `single`, the group-wise network without its graph.
All scores are computed a second time from the stored CAMs and the masks by `benchmarks.boxes_by_hand`; a difference is
an error, and nothing is written then.

In the file, plain keys are of the test images at the threshold that suits them best (as in the paper), `held_out.*` at
that of the training images, `train.*` of the training images; in percent, means over the seeds, and `spread.*` the
sample standard deviations. `margins.wsol_top1_loc` is Top-1 Loc of `groupwise` above that of `cam`; above 0, groups
help. Its aim is the paper's difference on CUB, VGG-16 trained on 5,994 images (Table III: 60.18 and 37.05). A run that
was interrupted goes on.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.boxes_by_hand import differences, localisation_by_hand
from benchmarks.comparing import write_json
from benchmarks.real_voc import circumstances, weights
from benchmarks.stopwatch import Stopwatch
from benchmarks.voc_boxes import write_voc_boxes
from cluster.interruption import sigterm_as_ctrl_c
from wsss_jobs.cli.compare import parse_seeds
from wsss_jobs.cli.localisation_table import print_localisation
from wsss_jobs.cli.terminal import make_console
from wsss_jobs.config.recipe import load_recipe
from wsss_jobs.job import PreparedJob, prepare, run_job
from wsss_jobs.quality.localisation import Localisation, LocalisationScores, evaluate_localisation

RECIPE = Path(__file__).with_suffix(".yaml")
RESULTS = Path(__file__).parent / "results" / "real_voc_wsol.json"
METHODS = {
    "groupwise": "infer_groupwise_cams",
    "cam": "infer_cams",
    "cam_3_scales": "infer_cams_3_scales",
    "single": "infer_single_cams",
}
METRICS = ("top_1_cls", "top_1_loc", "gt_known_loc", "max_box_acc")
AIM = round(60.18 - 37.05, 2)  # Table III: the paper's method and CAM

Figures = dict[str, float]


def places(data: Path, root: Path, store: Path) -> list[str]:
    """Returns where data set, store and the weights of all networks are, as overrides of the recipe."""
    encoders = ("train_single_label_classifier.classifier", "train_single.network", "train_groupwise.network")
    return [
        f"dataset.root={root}",
        f"store.uri={store}",
        *(f"stages.{encoder}.encoder.weights={weights(data)}" for encoder in encoders),
    ]


def prepared(overrides: Sequence[str], seed: int) -> PreparedJob:
    """Returns the job of a seed; all share one run folder."""
    ours = [f"name=real_voc_wsol-seed{seed}", "run='real_voc_wsol'", f"seed={seed}"]
    return prepare(load_recipe(str(RECIPE), [*overrides, *ours]))


def checked_scores(job: PreparedJob) -> list[Localisation]:
    """Returns the scores of a finished job; ends with 1 where those by hand differ."""
    found = evaluate_localisation(job.plan, job.dataset, job.store)
    wrong = differences(found, localisation_by_hand(job))
    if wrong:
        sys.exit("the metrics are not those by hand:\n" + "\n".join(wrong))
    return found


def figures(found: Sequence[Localisation]) -> Figures:
    """Returns a seed's scores in percent by key."""
    values: Figures = {}
    for method, stage in METHODS.items():
        for each in found:
            if each.name == stage:
                values |= _percent("" if each.split == "test" else f"{each.split}.", method, each.best)
                values |= _percent("held_out.", method, each.held_out)
    return values


def _percent(prefix: str, method: str, scores: LocalisationScores | None) -> Figures:
    if scores is None:
        return {}
    shares = {f"{prefix}{metric}.{method}": 100 * getattr(scores, metric) for metric in METRICS}
    return {**shares, f"{prefix}threshold.{method}": scores.threshold}


def summary(by_seed: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Returns means and spreads over the seeds, and the margin; seed by seed, then its mean."""
    keys = by_seed[0]
    means = {key: round(statistics.mean(each[key] for each in by_seed), 2) for key in keys}
    spreads: Figures = {}
    if len(by_seed) > 1:
        spreads = {f"spread.{key}": round(statistics.stdev(each[key] for each in by_seed), 2) for key in keys}
    return {**means, **spreads, "margins": {"wsol_top1_loc": margin(by_seed)}}


def margin(by_seed: Sequence[Mapping[str, float]]) -> Figures:
    """Returns Top-1 Loc of groups above that of CAM in percentage points, with its aim."""
    gains = {
        key: [each[f"{prefix}top_1_loc.groupwise"] - each[f"{prefix}top_1_loc.cam"] for each in by_seed]
        for key, prefix in (("value", ""), ("held_out", "held_out."), ("train", "train."))
    }
    spread = {"spread": round(statistics.stdev(gains["value"]), 2)} if len(by_seed) > 1 else {}
    means = {key: round(statistics.mean(values), 2) for key, values in gains.items()}
    return {"value": means.pop("value"), "aim": AIM, **spread, **means}


def summary_table(found: Mapping[str, Any]) -> Table:
    """Returns a row for each method: the test images, at their own best threshold and at that of training."""
    table = Table(title="Test images (%), mean over the seeds", title_justify="left")
    for name in ("", "Top-1 Cls", "Top-1 Loc", "held out", "GT-known Loc", "held out", "MaxBoxAcc"):
        table.add_column(name, justify="right" if name else "left")
    columns = ("top_1_cls", "top_1_loc", "held_out.top_1_loc", "gt_known_loc", "held_out.gt_known_loc", "max_box_acc")
    for method in METHODS:
        table.add_row(method, *(f"{found[f'{column}.{method}']:.2f}" for column in columns))
    return table


def mean_seconds(jobs: Sequence[PreparedJob], watch: Stopwatch) -> Figures:
    """Returns the time of every stage, the mean over the seeds."""
    by_seed = [watch.seconds(job.plan.stages) for job in jobs]
    return {
        f"seconds.{name}": round(statistics.mean(each[name] for each in by_seed if name in each), 1)
        for name in by_seed[0]
    }


def main() -> None:
    """Runs, scores, checks, prints and writes."""
    arguments = _arguments()
    sigterm_as_ctrl_c()
    console, store = make_console(), arguments.store.resolve()
    root = store / ("voc_boxes" if arguments.images is None else f"voc_boxes_{arguments.images}")
    num_images = write_voc_boxes(arguments.data / "voc_subset", root, arguments.images)
    changes = [*places(arguments.data.resolve(), root, store), *arguments.set]
    jobs = [prepared(changes, seed) for seed in arguments.seeds]
    by_seed = []
    with Stopwatch(console, store / "seconds_wsol.json") as watch:
        for job in jobs:
            run_job(job, watch)
    for job in jobs:
        found = checked_scores(job)
        print_localisation(console, found)
        by_seed.append(figures(found))
    result = summary(by_seed)
    console.print(summary_table(result))
    console.print(result["margins"], "All metrics are equal to those by hand.")
    content = {
        **result,
        **mean_seconds(jobs, watch),
        "seeds": list(arguments.seeds),
        "num_test_images": sum(item.split == "test" for item in jobs[0].dataset.items),
        **circumstances(num_images),
    }
    write_json(arguments.json or _results(arguments), content)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--store", type=Path, default=Path("benchmarks/runs"))
    parser.add_argument("--seeds", type=parse_seeds, default=(0,), help="such as 0,1,2; default: 0")
    parser.add_argument("--images", type=int, help="only so many, for a quick check")
    parser.add_argument("--set", action="append", default=[], help="a change to the recipe, as of `wsss run`")
    parser.add_argument("--json", type=Path, help="default: the results file; with a part of all, in the store")
    return parser.parse_args()


def _results(arguments: argparse.Namespace) -> Path:
    store: Path = arguments.store
    return store / "real_voc_wsol_part.json" if arguments.images is not None or arguments.set else RESULTS


if __name__ == "__main__":
    main()
