"""`wsss compare`: several recipes on one data set, and a paper's tables with our numbers in them."""

import os
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.progress import Progress
from rich.table import Table

from cluster.submit import own_submission_id
from wsss_jobs.cli.inspect import state_in_words
from wsss_jobs.cli.options import AddressOption, SetOption, console
from wsss_jobs.cli.run import refuse_relative_store
from wsss_jobs.cli.tables import print_text_table
from wsss_jobs.comparison.config import Comparison, load_comparison
from wsss_jobs.comparison.jobs import VariantJob, prepare_comparison
from wsss_jobs.comparison.results import result_tables, write_results
from wsss_jobs.comparison.run import VariantOutcome, run_variants
from wsss_jobs.comparison.scores import score_methods
from wsss_jobs.comparison.sharing import shared_stages
from wsss_jobs.errors import ConfigError
from wsss_jobs.job import PreparedJob, RunResult, run_job
from wsss_jobs.progress import LogObserver, TerminalObserver
from wsss_jobs.run_store import run_name

_FAILED, _SOME_FAILED = 1, 3


def compare(
    comparison: Annotated[
        str, typer.Argument(help="A comparison file, or the name of a shipped one.", show_default=False)
    ],
    overrides: SetOption = [],  # noqa: B006 - typer copies it
    seeds: Annotated[str, typer.Option(help="Run seeds, such as 0,1,2. Default: those of the comparison.")] = "",
    address: AddressOption = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try items that failed before again.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what is shared and what is done; run nothing.")
    ] = False,
) -> None:
    """Run several recipes on one data set; score them beside the published numbers. Goes on where it was."""
    loaded = load_comparison(comparison)
    if seeds:
        loaded = loaded.model_copy(update={"seeds": parse_seeds(seeds)})
    jobs = _prepared(loaded, overrides)
    if dry_run:
        _print_sharing(loaded, jobs)
        return
    outcomes = _run(jobs, address=address, retry_failed=retry_failed)
    with console.status("  evaluating"):
        scores = score_methods(loaded, jobs)
        page = write_results(loaded, jobs, scores, outcomes)
    for table in result_tables(loaded, scores, outcomes):
        print_text_table(console, table)
    console.print(f"Comparison: {page}", highlight=False)
    _end(outcomes)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Returns the seeds of `0,1,2`.

    Raises:
        ConfigError: Not numbers from 0 on, or one twice.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts) or len(set(parts)) < len(parts):
        raise ConfigError(f"--seeds {text!r}: write different numbers from 0 on, such as 0,1,2")
    return tuple(int(part) for part in parts)


def _prepared(comparison: Comparison, overrides: Sequence[str]) -> list[VariantJob]:
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("  index images", total=None)
        return prepare_comparison(
            comparison, overrides, lambda done, total: progress.update(task, completed=done, total=total)
        )


def _run(jobs: Sequence[VariantJob], *, address: str | None, retry_failed: bool) -> list[VariantOutcome]:
    if own_submission_id(os.environ):
        refuse_relative_store(jobs[0].job.recipe.store.uri)
    with TerminalObserver(console) if console.is_terminal else LogObserver(run_name(jobs[0].job.store)) as observer:

        def run(job: PreparedJob) -> RunResult:
            observer.message(f"{job.recipe.name}: {job.store.uri}")
            return run_job(job, observer, address=address, retry_failed=retry_failed)

        return run_variants(jobs, run)


def _print_sharing(comparison: Comparison, jobs: Sequence[VariantJob]) -> None:
    stages = shared_stages(jobs)
    job = jobs[0].job
    table = Table(title=f"{comparison.name}: {len(job.dataset.items)} images -> {job.store.uri}", title_justify="left")
    for name in ("stage", "fingerprint", "seeds", "variants", "state"):
        table.add_column(name, overflow="fold")
    for each in stages:
        stage = each.status.stage
        users = "all" if len(each.users) == len(comparison.variants) else ", ".join(each.users)
        seeds = ", ".join(map(str, each.seeds))
        table.add_row(stage.name, stage.fingerprint, seeds, users, state_in_words(each.status))
    console.print(table)
    total = sum(len(each.job.plan.stages) for each in jobs)
    console.print(f"{len(jobs)} jobs with {total} stages, {len(stages)} of them different.", highlight=False)


def _end(outcomes: Sequence[VariantOutcome]) -> None:
    """Ends with exit code 1 if a variant failed, with 3 if images did."""
    if any(outcome.error for outcome in outcomes):
        raise typer.Exit(_FAILED)
    if any(outcome.num_failed for outcome in outcomes):
        raise typer.Exit(_SOME_FAILED)
