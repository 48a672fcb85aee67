"""Arguments that several verbs share."""

from typing import Annotated

import typer
from rich.progress import Progress

from wsss_jobs.cli.terminal import make_console
from wsss_jobs.config.recipe import load_recipe
from wsss_jobs.job import PreparedJob, prepare

RecipeArgument = Annotated[
    str, typer.Argument(help="A recipe file, or the name of a shipped recipe.", show_default=False)
]
SetOption = Annotated[
    list[str],
    typer.Option("--set", help="Change a value: path=value, e.g. stages.propagate_gcn.gcn.num_steps=100. Repeatable."),
]
AddressOption = Annotated[
    str | None,
    typer.Option(help="host:port of a Ray cluster, 'auto', or 'local'. Default: RAY_ADDRESS, else a local Ray."),
]
JobServerOption = Annotated[
    str | None,
    typer.Option(
        help="Job server of a Ray cluster, http://head:8265. Default: RAY_API_SERVER_ADDRESS.", show_default=False
    ),
]

console = make_console()


def prepared(recipe: str, overrides: list[str]) -> PreparedJob:
    """Returns the job of a recipe; shows a bar while images are indexed."""
    parsed = load_recipe(recipe, overrides)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("  index images", total=None)
        return prepare(parsed, lambda done, total: progress.update(task, completed=done, total=total))
