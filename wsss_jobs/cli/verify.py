"""`wsss verify`: is what is stored still what was written?"""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table

from wsss_jobs.cli.options import RecipeArgument, SetOption, console, prepared
from wsss_jobs.verify import VerifiedStage, verify_run

_FOUND = 1
_MAX_FINDINGS = 50
_KINDS = ("missing", "torn", "foreign")


def verify(
    recipe: RecipeArgument,
    overrides: SetOption = [],  # noqa: B006 - typer copies it
    repair: Annotated[
        bool, typer.Option("--repair", help="Delete what is torn; the next run makes it and what is missing again.")
    ] = False,
) -> None:
    """Read everything that a run has stored again: what is missing, torn or foreign? Exit code 1 if anything is."""
    job = prepared(recipe, overrides)
    with console.status("  reading") as line:
        verified = verify_run(job, repair=repair, on_stage=lambda name: line.update(f"  reading {name}"))
    console.print(_table(verified, f"{job.recipe.name}: {job.store.uri}"))
    _print_findings(verified)
    if repair:
        num_deleted = sum(stage.num_deleted for stage in verified)
        console.print(f"{num_deleted} torn objects deleted. `wsss run` makes again what is missing now.")
    if any(stage.check.findings for stage in verified):
        raise typer.Exit(_FOUND)


def _table(verified: Sequence[VerifiedStage], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("stage")
    for name in ("sound", *_KINDS, "left"):
        table.add_column(name, justify="right")
    table.add_column("state")
    for stage in verified:
        check = stage.check
        counts = [sum(finding.kind == kind for finding in check.findings) for kind in _KINDS]
        state = "complete" if check.is_complete else "not complete"
        cells = [str(check.num_sound), *map(str, counts), str(check.num_left)]
        table.add_row(stage.stage.name, *cells, state if any(counts) else f"[green]{state}[/green]")
    return table


def _print_findings(verified: Sequence[VerifiedStage]) -> None:
    lines = [
        f"{finding.kind}: {stage.stage.name}-{stage.stage.fingerprint}/{finding.key}: {finding.message}"
        for stage in verified
        for finding in stage.check.findings
    ]
    for line in lines[:_MAX_FINDINGS]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if len(lines) > _MAX_FINDINGS:
        console.print(f"... and {len(lines) - _MAX_FINDINGS} more")
