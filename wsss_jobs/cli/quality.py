"""`wsss quality`: how good each mask is, without ground truth; and how far that can be trusted where there is some."""

import json
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import Progress

from wsss_jobs.cli.options import RecipeArgument, SetOption, console, prepared
from wsss_jobs.cli.quality_tables import print_calibration, print_quality
from wsss_jobs.errors import ConfigError
from wsss_jobs.job import PreparedJob
from wsss_jobs.quality.calibration import Calibration, calibrate, with_predictions
from wsss_jobs.quality.estimate import QualityEstimate, estimate_quality, mask_step
from wsss_jobs.quality.image_quality import PART_NAMES
from wsss_jobs.quality.quality_files import quality_key, write_quality
from wsss_jobs.stage_io import stage_folder


def quality(
    recipe: RecipeArgument,
    step: Annotated[
        str | None, typer.Option(help="<stage> or <stage>/before_crf. Default: the last finished one with masks.")
    ] = None,
    worst: Annotated[int, typer.Option(min=0, help="How many of the worst images to print.")] = 20,
    compare: Annotated[
        bool, typer.Option("--calibrate", help="Compare the scores with the ground truth of the images that have it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
    overrides: SetOption = [],  # noqa: B006 - typer copies it
) -> None:
    """Estimate how good each mask of a finished step is, without ground truth; worst first."""
    job = prepared(recipe, overrides)
    if compare and not any(item.mask_uri for item in job.dataset.items):
        raise ConfigError("--calibrate: no image of this data set has ground truth; leave it out")
    with Progress(console=console, transient=True, disable=as_json) as progress:
        task = progress.add_task("  estimate quality", total=len(job.dataset.items))
        estimate = estimate_quality(job.plan, job.dataset, job.store, step, lambda: progress.advance(task))
    if not estimate.images:
        raise ConfigError(f"{estimate.step}: holds no masks; `wsss failed` says why")
    calibration = _calibration(job, estimate) if compare else None
    if calibration is not None:
        estimate = with_predictions(estimate, calibration.fit)
    write_quality(job.store, job.recipe.name, estimate)
    if as_json:
        typer.echo(json.dumps(_content(estimate, calibration, worst), indent=1, ensure_ascii=False))
        return
    print_quality(console, estimate, worst)
    if calibration is not None:
        print_calibration(console, calibration)
    console.print(f"All scores: {job.store.uri_of(quality_key(job.recipe.name))}", highlight=False)


def _calibration(job: PreparedJob, estimate: QualityEstimate) -> Calibration | None:
    found = mask_step(job.plan, job.store, estimate.step)
    read_label = partial(stage_folder(found.stage, job.store).outputs.read_mask, variant=found.variant)
    return calibrate(estimate, read_label, job.dataset)


def _content(estimate: QualityEstimate, calibration: Calibration | None, worst: int) -> dict[str, Any]:
    known = {name: [v for image in estimate.images if (v := image.parts[name]) is not None] for name in PART_NAMES}
    return {
        "step": estimate.step,
        "num_images": len(estimate.images),
        "num_missing": estimate.num_missing,
        "mean": float(np.mean([image.score for image in estimate.images])),
        "parts": {name: float(np.mean(values)) for name, values in known.items() if values},
        "calibration": None if calibration is None else _numbers(asdict(calibration)),
        "worst": [asdict(image) for image in estimate.images[:worst]],
    }


def _numbers(value: Any) -> Any:
    """Returns nested values with NaN as null."""
    if isinstance(value, dict):
        return {key: _numbers(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_numbers(each) for each in value]
    return None if isinstance(value, float) and np.isnan(value) else value
