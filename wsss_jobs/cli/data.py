"""`wsss data`: data sets and weights to start with."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from wsss_jobs.cli.convert_weights import convert_weights
from wsss_jobs.cli.options import console
from wsss_jobs.datasets.synthetic import generate
from wsss_jobs.datasets.voc2012 import download

data_app = typer.Typer(help="Make or fetch a data set; convert weights.", no_args_is_help=True)
data_app.command()(convert_weights)

RootOption = Annotated[Path, typer.Option(help="Folder to write to.", show_default=False)]


@data_app.command()
def synthetic(
    root: RootOption,
    num_images: Annotated[int, typer.Option(min=6, help="Images, in the train and val lists together.")] = 160,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another set.")] = 0,
) -> None:
    """Generate a data set in VOC layout, with masks known: textured objects in cluttered scenes."""
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("  draw images", total=num_images)
        generate(root, num_images, seed, on_progress=lambda done, _: progress.update(task, completed=done))
    console.print(f"{num_images} images: {root}", highlight=False)


@data_app.command()
def voc2012(root: RootOption) -> None:
    """Download PASCAL VOC 2012 (2 GB); goes on where an interrupted download stopped."""
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("  download", total=None)
        folder = download(root, on_progress=lambda done, total: progress.update(task, completed=done, total=total))
    console.print(f"PASCAL VOC 2012: {folder}", highlight=False)
