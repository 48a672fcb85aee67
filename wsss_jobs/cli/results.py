"""Verbs about results: `evaluate`, `report`."""

from typing import Annotated

import typer

from wsss_jobs.cli.label_free_tables import print_label_free
from wsss_jobs.cli.localisation_table import print_localisation
from wsss_jobs.cli.options import RecipeArgument, SetOption, console, prepared
from wsss_jobs.cli.tables import print_per_class, print_scores
from wsss_jobs.errors import ConfigError
from wsss_jobs.job import PreparedJob
from wsss_jobs.quality.evaluate import evaluate_run
from wsss_jobs.quality.evaluation_files import write_evaluations, write_label_free, write_localisation
from wsss_jobs.quality.label_free import label_free
from wsss_jobs.quality.localisation import evaluate_localisation
from wsss_jobs.report.build import build_report


def evaluate(
    recipe: RecipeArgument,
    overrides: SetOption = [],  # noqa: B006 - typer copies it
    per_class: Annotated[bool, typer.Option("--per-class", help="Print the IoU of every class too.")] = False,
    without_masks: Annotated[
        bool,
        typer.Option("--label-free", help="Read no masks: what the stages say of each other, to choose settings by."),
    ] = False,
) -> None:
    """Score every finished stage against the data set's masks; without masks, against the other stages."""
    job = prepared(recipe, overrides)
    has_boxes = not without_masks and _evaluate_boxes(job)
    if has_boxes and not any(item.mask_uri for item in job.dataset.items):
        return
    if without_masks or not any(item.mask_uri for item in job.dataset.items):
        _evaluate_label_free(job)
        return
    with console.status("  evaluating"):
        evaluations = evaluate_run(job.plan, job.dataset, job.store)
    if not evaluations:
        raise ConfigError("nothing to evaluate: no stage is finished (see `wsss status`)")
    write_evaluations(job.store, job.recipe.name, evaluations)
    print_scores(console, evaluations)
    if per_class:
        print_per_class(console, evaluations)


def _evaluate_boxes(job: PreparedJob) -> bool:
    """Scores CAMs against boxes; returns whether there was something to score."""
    with console.status("  evaluating boxes"):
        found = evaluate_localisation(job.plan, job.dataset, job.store)
    if found:
        write_localisation(job.store, job.recipe.name, found)
        print_localisation(console, found)
    return bool(found)


def _evaluate_label_free(job: PreparedJob) -> None:
    with console.status("  comparing stages"):
        found = label_free(job.plan, job.dataset, job.store)
    if not found.thresholds and not found.masks:
        raise ConfigError("nothing to evaluate: no stage of CAMs or masks is finished (see `wsss status`)")
    write_label_free(job.store, job.recipe.name, found)
    print_label_free(console, found)


def report(recipe: RecipeArgument, overrides: SetOption = []) -> None:  # noqa: B006 - typer copies it
    """Write the HTML report of what is finished."""
    job = prepared(recipe, overrides)
    with console.status("  writing the report"):
        evaluations = evaluate_run(job.plan, job.dataset, job.store)
        uri = build_report(job, evaluations)
    console.print(f"Report: {uri}", highlight=False)
