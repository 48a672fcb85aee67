"""`wsss run`: the job, here or on the cluster of RAY_ADDRESS; resumes by itself."""

import os
from typing import Annotated

import typer

from cluster.submit import own_submission_id
from wsss_jobs.cli.options import AddressOption, RecipeArgument, SetOption, console, prepared
from wsss_jobs.cli.tables import print_failed, print_scores
from wsss_jobs.config.recipe import load_recipe
from wsss_jobs.errors import ConfigError
from wsss_jobs.failed_items import failed_items
from wsss_jobs.job import PreparedJob, RunResult, run_job
from wsss_jobs.preflight import check_store_place
from wsss_jobs.progress import LogObserver, TerminalObserver
from wsss_jobs.quality.evaluate import evaluate_run
from wsss_jobs.quality.evaluation_files import write_evaluations
from wsss_jobs.report.build import build_report
from wsss_jobs.run_store import run_name

_SOME_FAILED = 3


def run(
    recipe: RecipeArgument,
    overrides: SetOption = [],  # noqa: B006 - typer copies it
    address: AddressOption = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try items that failed before again.")] = False,
    with_report: Annotated[bool, typer.Option("--report/--no-report", help="Write the HTML report.")] = True,
) -> None:
    """Run a recipe. Run it again after any interruption: it goes on where it was."""
    if own_submission_id(os.environ):
        # The driver's folder goes with Ray's copy of the working directory, and the results with it.
        refuse_relative_store(load_recipe(recipe, overrides).store.uri)
    job = prepared(recipe, overrides)
    console.print(f"[bold]{job.recipe.name}[/bold]  {job.store.uri}", highlight=False)
    with TerminalObserver(console) if console.is_terminal else LogObserver(run_name(job.store)) as observer:
        result = run_job(job, observer, address=address, retry_failed=retry_failed)
    _show_results(job, with_report=with_report)
    _finish(job, result)


def refuse_relative_store(uri: str) -> None:
    """Raises ConfigError for a store inside the working directory of a job, with which it would be gone."""
    for finding in check_store_place(uri, is_this_machine=True):
        raise ConfigError(finding.message)


def _show_results(job: PreparedJob, *, with_report: bool) -> None:
    with console.status("  evaluating"):
        evaluations = evaluate_run(job.plan, job.dataset, job.store)
    if evaluations:
        write_evaluations(job.store, job.recipe.name, evaluations)
        print_scores(console, evaluations)
    if with_report:
        with console.status("  writing the report"):
            uri = build_report(job, evaluations)
        console.print(f"Report: {uri}", highlight=False)


def _finish(job: PreparedJob, result: RunResult) -> None:
    console.print(f"Results: {job.store.uri}", highlight=False)
    if result.num_failed:
        print_failed(console, failed_items(job), limit=10)
        console.print(
            f"{result.num_failed} of {result.num_items} images failed; `wsss failed` lists them.", highlight=False
        )
        raise typer.Exit(_SOME_FAILED)
