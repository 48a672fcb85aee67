"""`wsss data`: data sets and weights to start with."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from wsss_jobs.cli.convert_weights import convert_weights
from wsss_jobs.cli.options import console
from wsss_jobs.datasets.coco_masks import render_coco_masks
from wsss_jobs.datasets.config import CocoConfig
from wsss_jobs.datasets.sbd import LIST_KEY, NUM_TRAIN_AUG, add_sbd
from wsss_jobs.datasets.sources import load_class_names
from wsss_jobs.datasets.synthetic import generate, generate_cub
from wsss_jobs.datasets.voc2012 import download
from wsss_jobs.errors import DataError
from wsss_jobs.storage.uris import open_store

data_app = typer.Typer(help="Make or fetch a data set; convert weights.", no_args_is_help=True)
data_app.command()(convert_weights)
_SOME_FAILED = 3

RootOption = Annotated[Path, typer.Option(help="Folder to write to.", show_default=False)]


class GeneratedFormat(StrEnum):
    """Layouts of a generated data set."""

    VOC = "voc"
    CUB = "cub"


@data_app.command()
def synthetic(
    root: RootOption,
    num_images: Annotated[int, typer.Option(min=6, help="Images, for training and validation together.")] = 160,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another set.")] = 0,
    layout: Annotated[
        GeneratedFormat,
        typer.Option("--format", help="cub: one object an image, with its box, in the layout of CUB-200-2011."),
    ] = GeneratedFormat.VOC,
) -> None:
    """Generate a data set with masks known, in VOC layout: textured objects in cluttered scenes."""
    write = generate_cub if layout is GeneratedFormat.CUB else generate
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("  draw images", total=num_images)
        write(root, num_images, seed, on_progress=lambda done, _: progress.update(task, completed=done))
    console.print(f"{num_images} images: {root}", highlight=False)


@data_app.command()
def voc2012(root: RootOption) -> None:
    """Download PASCAL VOC 2012 (2 GB); goes on where an interrupted download stopped."""
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("  download", total=None)
        folder = download(root, on_progress=lambda done, total: progress.update(task, completed=done, total=total))
    console.print(f"PASCAL VOC 2012: {folder}", highlight=False)


@data_app.command()
def sbd(
    voc: Annotated[str, typer.Option(help="The folder VOC2012, or its s3:// address.", show_default=False)],
    sbd: Annotated[
        str, typer.Option(help="SBD's folder benchmark_RELEASE/dataset, or its s3:// address.", show_default=False)
    ],
) -> None:
    """Add SBD to VOC 2012: its masks as SegmentationClassAug/, and the list train_aug of 10,582 images."""
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("  convert masks", total=None)
        num_images, errors = add_sbd(
            open_store(voc),
            open_store(sbd),
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    console.print(f"{num_images} images: {LIST_KEY}", highlight=False)
    if num_images != NUM_TRAIN_AUG:
        console.print(f"[yellow]The published list has {NUM_TRAIN_AUG}[/yellow]: are all four lists the whole ones?")
    _say_what_failed(errors)


@data_app.command()
def coco_masks(
    root: Annotated[str, typer.Option(help="COCO's folder, or its s3:// address.", show_default=False)],
    split: Annotated[str, typer.Option(help="Such as val2014.", show_default=False)],
) -> None:
    """Render the annotations of a COCO split as masks for scoring; goes on where it was interrupted."""
    config = CocoConfig(root=root, splits=(split,))
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("  render masks", total=None)
        errors = render_coco_masks(
            config,
            split,
            load_class_names(config),
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    console.print(f"Masks: {root}/{config.masks.replace('{split}', split)}", highlight=False)
    _say_what_failed(errors)


def _say_what_failed(errors: list[DataError]) -> None:
    for error in errors:
        console.print(str(error), markup=False, highlight=False)
    if errors:
        raise typer.Exit(_SOME_FAILED)
