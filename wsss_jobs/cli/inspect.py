"""Verbs that look and change nothing: `plan`, `failed`, `doctor`."""

import typer
from rich.progress import Progress
from rich.table import Table

from wsss_jobs.cli.options import RecipeArgument, SetOption, console, prepared
from wsss_jobs.cli.tables import print_failed
from wsss_jobs.config.recipe import load_recipe
from wsss_jobs.datasets.doctor import diagnose
from wsss_jobs.failed_items import failed_items
from wsss_jobs.stage_status import StageStatus, stage_statuses

_SOME_FAILED = 3
_BAD_INPUT = 2
_MAX_FINDINGS = 50


def plan(recipe: RecipeArgument, overrides: SetOption = []) -> None:  # noqa: B006 - typer copies it
    """Show the stages, what each reads and takes, and what is done already. Runs nothing."""
    job = prepared(recipe, overrides)
    table = Table(title=f"{job.recipe.name}: {len(job.dataset.items)} images -> {job.store.uri}", title_justify="left")
    for name in ("stage", "reads", "writes", "fingerprint", "a worker takes", "state"):
        table.add_column(name)
    for status_ in stage_statuses(job):
        stage = status_.stage
        takes = f"{stage.resources.num_cpus:g} CPU"
        if stage.resources.num_gpus:
            takes += f" or {stage.resources.num_gpus:g} GPU"
        reads = ", ".join(stage.inputs.values())
        table.add_row(stage.name, reads, stage.spec.WRITES.__name__, stage.fingerprint, takes, state_in_words(status_))
    console.print(table)
    if job.rejected:
        console.print(f"{len(job.rejected)} images are left out; `wsss doctor` says why.")


def failed(recipe: RecipeArgument, overrides: SetOption = []) -> None:  # noqa: B006 - typer copies it
    """List the images that failed, with stage and reason. Exit code 3 when there are any."""
    found = failed_items(prepared(recipe, overrides))
    if not found:
        console.print("No image failed.")
        return
    print_failed(console, found)
    raise typer.Exit(_SOME_FAILED)


def doctor(recipe: RecipeArgument, overrides: SetOption = []) -> None:  # noqa: B006 - typer copies it
    """Look at the data set before a job starts: missing, broken, duplicate, unlabelled images, bad tags and masks."""
    config = load_recipe(recipe, overrides).dataset
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("  look at images", total=None)
        diagnosis = diagnose(config, on_progress=lambda done, total: progress.update(task, completed=done, total=total))
    table = Table(title=f"{diagnosis.num_images} images, {len(diagnosis.findings)} findings", title_justify="left")
    for name in ("severity", "code", "item", "message", "remedy"):
        table.add_column(name, overflow="fold")
    for finding in diagnosis.findings[:_MAX_FINDINGS]:
        table.add_row(finding.severity, finding.code, finding.item, finding.message, finding.remedy)
    if diagnosis.findings:
        console.print(table)
    if len(diagnosis.findings) > _MAX_FINDINGS:
        console.print(f"... and {len(diagnosis.findings) - _MAX_FINDINGS} more")
    console.print(f"{diagnosis.num_images} images: {diagnosis.num_errors} errors, {diagnosis.num_warnings} warnings.")
    if diagnosis.num_errors:
        raise typer.Exit(_BAD_INPUT)


def state_in_words(status_: StageStatus) -> str:
    """Returns how far a stage is."""
    if status_.is_streamed:
        return "[dim]streamed[/dim]"
    if status_.is_complete:
        return "[green]done[/green]"
    if status_.num_items is None or status_.num_done == 0:
        return "to do"
    return f"[yellow]{status_.num_left} of {status_.num_items} left[/yellow]"
