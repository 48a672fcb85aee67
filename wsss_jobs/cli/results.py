"""Verbs about results: `evaluate`, `report`."""

from typing import Annotated

import typer

from wsss_jobs.cli.options import RecipeArgument, SetOption, console, prepared
from wsss_jobs.cli.tables import print_per_class, print_scores
from wsss_jobs.errors import ConfigError
from wsss_jobs.quality.evaluate import evaluate_run
from wsss_jobs.quality.evaluation_files import write_evaluations
from wsss_jobs.report.build import build_report


def evaluate(
    recipe: RecipeArgument,
    overrides: SetOption = [],  # noqa: B006 - typer copies it
    per_class: Annotated[bool, typer.Option("--per-class", help="Print the IoU of every class too.")] = False,
) -> None:
    """Score every finished stage against the data set's masks."""
    job = prepared(recipe, overrides)
    with console.status("  evaluating"):
        evaluations = evaluate_run(job.plan, job.dataset, job.store)
    if not evaluations:
        raise ConfigError("nothing to evaluate: the data set has no masks, or no stage is finished (see `wsss status`)")
    write_evaluations(job.store, job.recipe.name, evaluations)
    print_scores(console, evaluations)
    if per_class:
        print_per_class(console, evaluations)


def report(recipe: RecipeArgument, overrides: SetOption = []) -> None:  # noqa: B006 - typer copies it
    """Write the HTML report of what is finished."""
    job = prepared(recipe, overrides)
    with console.status("  writing the report"):
        evaluations = evaluate_run(job.plan, job.dataset, job.store)
        uri = build_report(job, evaluations)
    console.print(f"Report: {uri}", highlight=False)
