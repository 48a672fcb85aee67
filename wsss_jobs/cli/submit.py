"""`wsss preflight`, `wsss submit`, `wsss stop`: jobs on a Ray cluster."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from cluster.capacity import cluster_capacity
from cluster.preflight import Finding
from cluster.session import connect
from cluster.submit import JobServer, SubmittedJob
from cluster.upload import MAX_UPLOAD_BYTES
from wsss_jobs import submission as jobs
from wsss_jobs.cli.options import AddressOption, JobServerOption, RecipeArgument, SetOption, console
from wsss_jobs.config.recipe import load_recipe
from wsss_jobs.errors import ConfigError
from wsss_jobs.preflight import check_on_cluster, check_recipe
from wsss_jobs.submission import Submission

_BAD_INPUT = 2
_INTERRUPTED = 130
_MIB = 1024**2


def preflight(
    recipe: RecipeArgument,
    overrides: SetOption = [],  # noqa: B006 - typer copies it
    address: AddressOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One line for programs.")] = False,
) -> None:
    """Check a recipe where it would run: store, data set, and whether the cluster can give what its stages take."""
    parsed, findings = check_recipe(recipe, overrides)
    if parsed is not None:
        with connect(address, dashboard=False) as session:
            findings += check_on_cluster(parsed, session.resources(), cluster_capacity())
    if as_json:
        jobs.print_report(findings)  # whoever reads it decides
        return
    _show(findings)
    if _has_errors(findings):
        raise typer.Exit(_BAD_INPUT)


def submit(
    recipe: RecipeArgument,
    overrides: SetOption = [],  # noqa: B006 - typer copies it
    address: JobServerOption = None,
    working_dir: Annotated[Path, typer.Option(help="Folder to upload; the job's current directory.")] = Path(),
    exclude: Annotated[list[str], typer.Option(help="Pattern of what not to upload. Repeatable.")] = [],  # noqa: B006
    env: Annotated[list[str], typer.Option(help="NAME=VALUE, or NAME to pass on. Repeatable.")] = [],  # noqa: B006
    follow: Annotated[bool, typer.Option("--follow", help="Show the job's output; end with its exit code.")] = False,
    with_preflight: Annotated[bool, typer.Option("--preflight/--no-preflight", help="Check before.")] = True,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try items that failed before again.")] = False,
    with_report: Annotated[bool, typer.Option("--report/--no-report", help="Write the HTML report.")] = True,
    max_upload_mib: Annotated[int, typer.Option(min=1, help="Largest upload.")] = MAX_UPLOAD_BYTES // _MIB,
) -> None:
    """Submit a recipe as a job. While it runs, this says so; after it has ended, the next one goes on where it was."""
    submission = Submission(
        recipe=recipe,
        overrides=overrides,
        arguments=["--retry-failed"] * retry_failed + ["--no-report"] * (not with_report),
        working_dir=working_dir,
        env_vars=_variables(env),
        excludes=exclude,
        max_upload_bytes=max_upload_mib * _MIB,
    )
    server = JobServer(address)
    with console.status("  preflight"):
        parsed, findings = jobs.check_here(submission, server.address)
    if parsed is None:
        _show(findings)
        raise typer.Exit(_BAD_INPUT)
    identity = jobs.identity_on_cluster(parsed)
    running = jobs.find_running(server, identity)
    if running is not None:
        console.print(f"Runs already: {running.submission_id} ({running.status})", highlight=False)
        _end(server, running.submission_id, follow=follow)
        return
    if with_preflight:
        # What cannot be uploaded cannot be looked at on the cluster either.
        if not any(finding.severity == "error" and finding.check in {"upload", "recipe"} for finding in findings):
            with console.status("  preflight on the cluster"):
                findings += jobs.check_there(server, submission, identity)
        _show(findings)
        if _has_errors(findings):
            raise typer.Exit(_BAD_INPUT)
    name, is_new = jobs.start(server, submission, identity)
    console.print(f"{'Submitted' if is_new else 'Runs already'}: {name}", highlight=False)
    _end(server, name, follow=follow)


def stop(
    target: Annotated[str, typer.Argument(help="A submission id, a recipe file, a run or a recipe's name.")],
    address: JobServerOption = None,
    overrides: SetOption = [],  # noqa: B006 - typer copies it
) -> None:
    """Stop a job; what is done is stored, and `wsss submit` goes on from there."""
    server = JobServer(address)
    found = jobs.find_jobs(server, target, lambda source: load_recipe(source, overrides))
    running = [job for job in found if not job.has_ended]
    if len(running) > 1:
        names = ", ".join(job.submission_id for job in running)
        raise ConfigError(f"{target!r} means {len(running)} running jobs; give one of their ids: {names}")
    if not running:
        console.print(f"{found[-1].submission_id} has ended before: {found[-1].status}", highlight=False)
        return
    [job] = running
    with console.status(f"  stopping {job.submission_id}"):
        ended = server.stop(job.submission_id)
    console.print(f"{ended.submission_id}: {ended.status}. Submit the recipe again to go on.", highlight=False)


def _end(server: JobServer, name: str, *, follow: bool) -> None:
    """Follows the job to its end, or says how to look at it."""
    where = f"--address {server.address}"
    if not follow:
        console.print(f"  wsss status {name} {where}\n  wsss stop {name} {where}", highlight=False)
        return
    try:
        job = server.follow(name, lambda text: console.out(text, end="", highlight=False))
    except KeyboardInterrupt:
        console.print(f"\nThe job goes on. To stop it: wsss stop {name} {where}", highlight=False)
        raise typer.Exit(_INTERRUPTED) from None
    console.print(f"{name}: {job.status}", highlight=False)
    code = exit_code(job)
    if code:
        raise typer.Exit(code)


def exit_code(job: SubmittedJob) -> int:
    """Returns what `--follow` exits with: the driver's own code, 130 for a job that was stopped, 1 without a code."""
    if job.status == "SUCCEEDED":
        return 0
    if job.status == "STOPPED":
        return _INTERRUPTED
    return job.exit_code if job.exit_code and 0 < job.exit_code < 256 else 1


def _variables(entries: list[str]) -> dict[str, str]:
    variables = {}
    for entry in entries:
        name, separator, value = entry.partition("=")
        if not name or (not separator and name not in os.environ):
            raise ConfigError(f"--env {entry!r}: write NAME=VALUE, or the NAME of a variable that is set here")
        variables[name] = value if separator else os.environ[name]
    return variables


def _has_errors(findings: list[Finding]) -> bool:
    return any(finding.severity == "error" for finding in findings)


def _show(findings: list[Finding]) -> None:
    colours = {"error": "red", "warning": "yellow"}
    for finding in findings:
        colour = colours[finding.severity]
        console.print(
            f"[{colour}]{finding.severity}[/{colour}] {finding.check}: {escape(finding.message)}",
            highlight=False,
            soft_wrap=True,
        )
    if not findings:
        console.print("[green]preflight[/green] nothing found that would stop it", highlight=False)
