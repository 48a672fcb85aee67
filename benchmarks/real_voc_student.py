"""A segmentation network trained on our masks against the same network trained on the true ones, on real images.

    python -m benchmarks.real_voc_student --data ../shared/data --store benchmarks/runs   # about 30 minutes on 2 cores

Takes the final masks of a finished `benchmarks.real_voc` or `benchmarks.real_voc_compare` (seed 0, WSGCN-I with CRF)
in the same store, or of `--masks`. Two trainings of `benchmarks/real_voc_student.yaml`, on our masks and on the true
ones, of the half that our settings were tuned on (350 images); both are scored on the other half (337) and on `val`
(64). With `--all`, those scored on `val` are trained on all 687 images: two trainings more. The true masks are read for
the supervised network and for scoring alone. The last checkpoint counts, nothing is chosen on `val`. Prediction at the
scale of the training with its mirror, no CRF.

`share.*` is ours over supervised, in percent. `quality.*` are the figures of `benchmarks.real_voc_quality` for the
masks that the student learns from, when they are the run's own. A run that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.real_voc import HALVES, circumstances, half_of, weights
from benchmarks.real_voc import prepared as prepared_labels
from benchmarks.real_voc_quality import calibrations, quality_figures, quality_margins
from benchmarks.stopwatch import Stopwatch
from wsss_jobs.cli.terminal import make_console
from wsss_jobs.config.recipe import Recipe, load_recipe
from wsss_jobs.job import PreparedJob, prepare, run_job
from wsss_jobs.quality.estimate import estimate_quality
from wsss_jobs.quality.evaluate import evaluate_run
from wsss_jobs.stage_io import stage_folder
from wsss_jobs.worker import CHECKPOINT_KEY

RECIPE = Path(__file__).with_suffix(".yaml")
RESULTS = Path(__file__).parent / "results" / "real_voc_student.json"
RUNS_WITH_MASKS = ("real_voc_compare", "real_voc")
OURS, SUPERVISED = "ours", "supervised"
PARTS = ("other_half", "val")
AIM_PERCENT = 90.0


def main() -> None:
    """Trains, predicts, scores, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--store", type=Path, default=Path("benchmarks/runs"))
    parser.add_argument("--masks", type=Path, help="folder of a complete mask stage over the 687 images")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to score on")
    parser.add_argument("--all", action="store_true", help="train what is scored on val on all images")
    parser.add_argument("--steps", type=int, help="only so many a training, for a quick check; no results file")
    parser.add_argument("--json", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    console = make_console()
    data, store = arguments.data, arguments.store.resolve()
    labels = None if arguments.masks else labels_job(data, store)
    teachers = {
        OURS: arguments.masks or final_masks(labels, store),
        SUPERVISED: data.resolve() / "voc_subset" / "SegmentationClassAug",
    }
    changes = [f"stages.train_segmentation.schedule.num_steps={arguments.steps}"] if arguments.steps else []

    miou: dict[str, float] = {}
    with Stopwatch(console, store / "seconds_student.json") as watch:
        for part, (train, test) in parts(data, store, train_on_all=arguments.all).items():
            if part not in arguments.parts:
                continue
            for teacher, masks in teachers.items():
                trained = student(data, store, train, [f"stages.read_masks.source={masks}", *changes])
                watch.message(f"{teacher}, scored on {part}")
                run_job(trained, watch)
                segmented = prediction(data, store, test, trained)
                run_job(segmented, watch)
                miou[f"miou.{part}.{teacher}"] = score(segmented)
    figures, of_quality = ({}, {}) if labels is None else quality(labels)
    content = {
        **miou,
        **shares(miou),
        **figures,
        "margins": margins(miou) | of_quality,
        "masks": str(teachers[OURS].name),
        "num_images_for_val": 687 if arguments.all else 350,
        **circumstances(687),
    }
    show(console, content)
    if not arguments.steps and len(arguments.parts) == len(PARTS):
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")


def labels_job(data: Path, store: Path) -> PreparedJob:
    """Returns the job whose masks of WSGCN-I with CRF are finished."""
    for run in RUNS_WITH_MASKS:
        job = prepared_labels(data, store, [f"run={run}"])
        if stage_folder(job.plan.stage("gcn_masks"), job.store).outputs.manifest() is not None:
            return job
    raise SystemExit(f"{store} holds no finished masks: run benchmarks.real_voc_compare or benchmarks.real_voc first")


def final_masks(job: PreparedJob, store: Path) -> Path:
    """Returns the folder of the masks that the student learns from."""
    return store / job.recipe.run / f"gcn_masks-{job.plan.stage('gcn_masks').fingerprint}"


def quality(job: PreparedJob) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Returns figures and margins of the label-free score of these masks."""
    by_half = calibrations(job, estimate_quality(job.plan, job.dataset, job.store, "gcn_masks"))
    return quality_figures(by_half), quality_margins(by_half)


def parts(data: Path, store: Path, *, train_on_all: bool) -> dict[str, tuple[str, str]]:
    """Returns the splits to train on and to score on, by the part that is scored."""
    items = prepared_labels(data, store, []).dataset.items
    halves: dict[str, str] = {}
    for half in HALVES:
        path = store / f"{half}.txt"
        path.write_text("".join(f"{Path(item.source_key).stem}\n" for item in items if half_of(item) == half))
        halves[half] = str(path)
    for_val = "train" if train_on_all else halves["tuned_half"]
    return {"other_half": (halves["tuned_half"], halves["other_half"]), "val": (for_val, "val")}


def student(data: Path, store: Path, split: str, changes: Sequence[str]) -> PreparedJob:
    """Returns the job that trains the network."""
    encoder_weights = f"stages.train_segmentation.network.encoder.weights={weights(data)}"
    return prepare(load(str(RECIPE), data, store, split, [encoder_weights, *changes]))


def prediction(data: Path, store: Path, split: str, trained: PreparedJob) -> PreparedJob:
    """Returns the job in which the trained network makes masks of other images."""
    stage = trained.plan.stage("train_segmentation")
    network = store / trained.store.uri.rsplit("/", 1)[-1] / f"{stage.name}-{stage.fingerprint}" / CHECKPOINT_KEY
    changes = [
        f"stages.predict_masks.checkpoint.weights={network}",
        "stages.predict_masks.scales=[0.5]",
        "stages.predict_masks.crf=null",
        "dataset.tags=image_labels.csv",
        "dataset.masks=[SegmentationClass, SegmentationClassAug]",
    ]
    return prepare(load("segment_voc", data, store, split, changes))


def load(recipe: str, data: Path, store: Path, split: str, changes: Sequence[str]) -> Recipe:
    """Returns a recipe on the images of one split, in a run folder of its own for each split."""
    name = f"real_voc_student_{Path(split).stem}"
    places = [f"dataset.root={data / 'voc_subset'}", f"dataset.splits=[{split}]", f"store.uri={store}", f"run={name}"]
    return load_recipe(recipe, [*places, *changes])


def score(job: PreparedJob) -> float:
    """Returns mIoU in percent."""
    [found] = [e for e in evaluate_run(job.plan, job.dataset, job.store) if e.name == "predict_masks"]
    return round(100 * found.scores.miou, 2)


def shares(miou: Mapping[str, float]) -> dict[str, float]:
    """Returns how much of the supervised score ours reaches, in percent, by the part that is scored."""
    scored = [part for part in PARTS if f"miou.{part}.{OURS}" in miou]
    return {
        f"share.{part}": round(100 * miou[f"miou.{part}.{OURS}"] / miou[f"miou.{part}.{SUPERVISED}"], 1)
        for part in scored
    }


def margins(miou: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Returns the shares with their aim."""
    return {
        key.replace(".", "_of_supervised_on_"): {"value": value, "aim": AIM_PERCENT}
        for key, value in shares(miou).items()
    }


def show(console: Console, content: dict[str, object]) -> None:
    """Prints the table."""
    table = Table(
        "scored on", "our masks", "true masks", "share", title="mIoU (%) of the student", title_justify="left"
    )
    for part in PARTS:
        if f"share.{part}" not in content:
            continue
        values = [content[f"miou.{part}.{teacher}"] for teacher in (OURS, SUPERVISED)]
        table.add_row(part, *(str(value) for value in values), f"{content[f'share.{part}']} %")
    console.print(table)


if __name__ == "__main__":
    main()
