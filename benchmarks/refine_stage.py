"""The `refine_masks` stage on real images, end to end: images a second with pydensecrf and with the native dense CRF.

    python -m benchmarks.refine_stage --data ../shared/data      # some 4 minutes on 2 cores once the CAMs are there

CAMs to masks by a constant background and a CRF (IRN's parameters), as a job: Ray actors, one a core, that decode the
image, read the CAM, up-sample, refine, and store two PNGs and the receipts. The CAMs are those of
`benchmarks.real_voc`, and are made when its store has none. `images_per_second.*` is of the whole stage, its start
included; `ratio` compares the two. `milliseconds.*` splits the work of one image on one core.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.real_voc import RECIPE, places
from benchmarks.stopwatch import Stopwatch
from models.crf.dense_crf import DenseCRF
from models.crf.presets import PRESETS
from models.crf.unaries import unary_from_labels
from wsss_jobs.cli.terminal import make_console
from wsss_jobs.config.recipe import parse_recipe
from wsss_jobs.datasets.images import decode_image
from wsss_jobs.job import PreparedJob, prepare, run_job
from wsss_jobs.pipeline import PlannedStage
from wsss_jobs.records import Cams
from wsss_jobs.stage_io import stage_folder
from wsss_jobs.stages.cam_sizes import full_resolution
from wsss_jobs.storage.mask_png import encode_mask
from wsss_jobs.storage.uris import read_uri

BACKENDS = ("pydensecrf", "native")
CRF = PRESETS["irn_affinity_labels"].config
THRESHOLD, CONFIDENCE = 0.35, 0.7
RESULTS = Path(__file__).parent / "results" / "refine_stage.json"


def refine_job(data: Path, store: Path, backend: str) -> PreparedJob:
    """Returns the job: the first two stages of `benchmarks.real_voc`, and the refinement to be timed."""
    content: dict[str, Any] = yaml.safe_load(RECIPE.read_text())
    crf = asdict(replace(CRF, backend=backend))  # type: ignore[arg-type] - a name of a backend
    content["stages"] = [
        *content["stages"][:2],
        {"stage": "read_cams", "background_threshold": THRESHOLD},
        {"stage": "refine_masks", "name": f"masks_{backend}", "unary": "label", "crf": crf},
    ]
    return prepare(parse_recipe(content, places(data, store)))


def forget(job: PreparedJob, stage: PlannedStage) -> None:
    """Deletes what an earlier run of the timed stage has left."""
    prefix = f"{stage.name}-{stage.fingerprint}/"
    job.store.delete([info.key for info in job.store.list(prefix)])


@contextmanager
def timed(total: dict[str, float], name: str) -> Iterator[None]:
    """Adds the CPU time of a block."""
    started = time.process_time()
    yield
    total[name] = total.get(name, 0.0) + time.process_time() - started


def split_of_work(job: PreparedJob, num_images: int) -> dict[str, float]:
    """Returns CPU milliseconds an image by step, on one core."""
    [cam_stage] = [stage for stage in job.plan.stages if stage.name == "infer_cams"]
    folder = stage_folder(cam_stage, job.store)
    engines: dict[str, Callable[..., Any]] = {
        name: DenseCRF(replace(CRF, backend=name)).refine  # type: ignore[arg-type] - a name of a backend
        for name in BACKENDS
    }
    total: dict[str, float] = {}
    items = job.dataset.items[:: max(1, len(job.dataset.items) // num_images)][:num_images]
    for item in items:
        with timed(total, "decode"):
            image_HW3 = decode_image(read_uri(item.uri), item.source_key)
        with timed(total, "read_cam"):
            cams = folder.read(item)
        assert isinstance(cams, Cams)
        with timed(total, "upsample_and_unary"):
            cam_KHW = full_resolution(cams, item)
            background_1HW = np.full((1, *cam_KHW.shape[1:]), THRESHOLD, dtype=np.float32)
            label_HW = np.concatenate([background_1HW, cam_KHW]).argmax(axis=0)
            unary_CHW = unary_from_labels(label_HW, len(cam_KHW) + 1, CONFIDENCE)
        for name, refine in engines.items():
            with timed(total, f"crf_{name}"):
                prob_CHW = refine(image_HW3, unary_CHW)
        with timed(total, "two_pngs"):
            ids = np.array((0, *cams.class_ids), dtype=np.uint8)
            encode_mask(ids[prob_CHW.argmax(axis=0)])
            encode_mask(ids[label_HW])
    return {name: round(1000 * seconds / len(items), 1) for name, seconds in total.items()}


def main() -> None:
    """Runs both backends, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--store", type=Path, default=Path("benchmarks/runs"))
    parser.add_argument("--json", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    console = make_console()
    arguments.store.mkdir(parents=True, exist_ok=True)
    watch = Stopwatch(console, arguments.store / "refine_stage_seconds.json")
    speeds: dict[str, float] = {}
    for backend in BACKENDS:
        job = refine_job(arguments.data, arguments.store, backend)
        timed_stage = job.plan.stages[-1]
        forget(job, timed_stage)
        watch.forget(timed_stage)
        with watch:
            run_job(job, watch)
        speeds[backend] = round(len(job.dataset.items) / watch.seconds([timed_stage])[timed_stage.name], 2)
    results = {
        "images_per_second": speeds,
        "ratio": round(speeds["native"] / speeds["pydensecrf"], 2),
        "milliseconds": split_of_work(job, 40),
        "num_images": len(job.dataset.items),
    }
    console.print(results)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
