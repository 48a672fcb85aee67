"""`wsss export`: masks of a run in the format of another tool."""

from typing import Annotated

import typer
from rich.progress import Progress

from wsss_jobs.cli.options import RecipeArgument, SetOption, console, prepared
from wsss_jobs.exports.export import ExportRequest, ExportResult, export_masks
from wsss_jobs.exports.registry import FORMATS

_SOME_LEFT_OUT = 3
_MAX_SHOWN = 10
_FORMATS_HELP = "; ".join(f"{name}: {exporter.SUMMARY}" for name, exporter in FORMATS.items())


def export(
    recipe: RecipeArgument,
    format_name: Annotated[str, typer.Option("--format", help=f"{_FORMATS_HELP}.", show_default=False)],
    to: Annotated[str, typer.Option(help="An empty folder, or s3://bucket/prefix.", show_default=False)],
    step: Annotated[
        str | None, typer.Option(help="<stage> or <stage>/before_crf. Default: the last one with masks.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only images of this split. Default: all.")] = None,
    image_prefix: Annotated[
        str | None, typer.Option(help="What comes before an image's path in its address (label_studio).")
    ] = None,
    worst: Annotated[
        int | None,
        typer.Option(min=1, help="Only so many images: those that `wsss quality` scored lowest, worst first."),
    ] = None,
    overrides: SetOption = [],  # noqa: B006 - typer copies it
) -> None:
    """Write the masks of a finished step in the format of another tool. Exit code 3 if images had to be left out."""
    job = prepared(recipe, overrides)
    request = ExportRequest(format_name, to, step, split, image_prefix, worst)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("  export masks", total=None)
        result = export_masks(job, request, lambda done, total: progress.update(task, completed=done, total=total))
    console.print(f"{result.num_exported} masks of {result.step}: {result.uri}", highlight=False)
    if result.left_out:
        _say_what_is_missing(result)
        raise typer.Exit(_SOME_LEFT_OUT)


def _say_what_is_missing(result: ExportResult) -> None:
    console.print(f"{len(result.left_out)} images are left out:", highlight=False)
    for error in result.left_out[:_MAX_SHOWN]:
        console.print(f"  {error}", markup=False, highlight=False)
    if len(result.left_out) > _MAX_SHOWN:
        console.print(f"  ... and {len(result.left_out) - _MAX_SHOWN} more")
