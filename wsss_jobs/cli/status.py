"""`wsss status`: how far a run is, from the store, and of a job on a cluster also from its job server."""

import time
from typing import Annotated

import typer
from rich.table import Table

from cluster.submit import JobServer, SubmittedJob
from wsss_jobs.cli.inspect import state_in_words
from wsss_jobs.cli.options import JobServerOption, SetOption, console, prepared
from wsss_jobs.cli.progress_view import duration, parse_prices, progress_lines
from wsss_jobs.config.recipe import load_recipe
from wsss_jobs.errors import StorageError
from wsss_jobs.job_identity import JobIdentity, identity_from
from wsss_jobs.job_progress import JobProgress, StageProgress, read_progress
from wsss_jobs.stage_status import stage_statuses
from wsss_jobs.storage.uris import open_store
from wsss_jobs.submission import find_jobs

_NUM_LOG_LINES = 5


def status(
    target: Annotated[
        str,
        typer.Argument(
            help="A recipe; with --address also a run or a submission id.", metavar="RECIPE|RUN|ID", show_default=False
        ),
    ],
    overrides: SetOption = [],  # noqa: B006 - typer copies it
    address: JobServerOption = None,
    price_per_hour: Annotated[
        str, typer.Option(help="Prices of a core and a GPU, as cpu=0.05,gpu=1.2: shows the cost so far.")
    ] = "",
) -> None:
    """Show how far the run is, from what is in the store; with --address, the job on that cluster."""
    prices = parse_prices(price_per_hour)
    if address is None:
        _show_run(target, overrides, prices)
    else:
        _show_job(target, overrides, JobServer(address), prices)


def _show_run(recipe: str, overrides: list[str], prices: dict[str, float]) -> None:
    job = prepared(recipe, overrides)
    table = _stage_table(f"{job.recipe.name}: {job.store.uri}")
    for status_ in stage_statuses(job):
        counts = ["", "", ""]
        if status_.num_items is not None:
            counts = [str(status_.num_done), str(status_.num_failed), str(status_.num_left)]
        table.add_row(status_.stage.name, *counts, state_in_words(status_))
    console.print(table)
    drivers = read_progress(job.store, job.recipe.name)
    _print_lines(progress_lines(drivers, time.time(), prices) if drivers else [])


def _show_job(target: str, overrides: list[str], server: JobServer, prices: dict[str, float]) -> None:
    found = find_jobs(server, target, lambda source: load_recipe(source, overrides))
    job = ([each for each in found if not each.has_ended] or found)[-1]
    console.print(f"[bold]{job.submission_id}[/bold]  {_job_state(job)}", highlight=False)
    identity = identity_from(job.metadata)  # none for a plain `ray job submit`
    drivers = [] if identity is None else _drivers_of(identity)
    if identity is not None and drivers:
        _print_progress(drivers, identity.store, prices)
    if not drivers or job.status == "FAILED":
        _print_lines(["its last words:", *server.logs(job.submission_id).splitlines()[-_NUM_LOG_LINES:]])


def _drivers_of(identity: JobIdentity) -> list[JobProgress]:
    try:
        return read_progress(open_store(identity.store), identity.recipe)
    except StorageError as error:
        _print_lines([f"The store cannot be read from here: {error}"])
        return []


def _print_progress(drivers: list[JobProgress], store: str, prices: dict[str, float]) -> None:
    latest = drivers[-1]
    table = _stage_table(f"{latest.recipe}: {store}")
    for stage in latest.stages:
        table.add_row(stage.name, *_counts(stage), stage.state)
    console.print(table)
    _print_lines(progress_lines(drivers, time.time(), prices))


def _counts(stage: StageProgress) -> list[str]:
    if stage.num_total is None:
        return ["", "", ""]
    left = stage.num_total - stage.num_done - stage.num_failed
    unit = " steps" if stage.is_training and stage.state == "running" else ""
    return [f"{stage.num_done}{unit}", str(stage.num_failed), f"{left}{unit}"]


def _job_state(job: SubmittedJob) -> str:
    if not job.started_at:
        return job.status
    seconds = (job.ended_at if job.has_ended and job.ended_at else time.time()) - job.started_at
    code = "" if job.exit_code is None else f", exit code {job.exit_code}"
    return f"{job.status}, {duration(seconds)}{code}"


def _stage_table(title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("stage")
    for name in ("done", "failed", "left"):
        table.add_column(name, justify="right")
    table.add_column("state")
    return table


def _print_lines(lines: list[str]) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
