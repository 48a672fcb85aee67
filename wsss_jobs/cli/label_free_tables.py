"""Tables of what is known without masks."""

from rich.console import Console
from rich.table import Table

from wsss_jobs.quality.label_free import LabelFree, MaskConsistency, Thresholds


def print_label_free(console: Console, found: LabelFree) -> None:
    """Prints thresholds, and how far masks agree."""
    if found.thresholds:
        console.print(_threshold_table(found.thresholds))
    if found.masks:
        console.print(_mask_table(found.masks))


def _threshold_table(thresholds: tuple[Thresholds, ...]) -> Table:
    table = Table(title="Background thresholds, chosen without masks", title_justify="left")
    for name in ("step", "chosen by", "threshold", "agreement (%)", "images"):
        table.add_column(name, justify="left" if name in ("step", "chosen by") else "right")
    for of_stage in thresholds:
        name, images = of_stage.name, str(of_stage.num_images)
        if of_stage.separation is not None:
            table.add_row(name, "separation (Otsu)", f"{of_stage.separation:.2f}", "", images, style="bold")
        for other, (threshold, agreement) in of_stage.by_agreement.items():
            table.add_row(name, f"agreement with {other}", f"{threshold:.2f}", f"{100 * agreement:.1f}", images)
    return table


def _mask_table(masks: tuple[MaskConsistency, ...]) -> Table:
    table = Table(title="Masks, compared with each other (mIoU, %)", title_justify="left")
    table.add_column("step", no_wrap=True)
    for name in ("before its CRF", *(f"with {mask.name}" for mask in masks), "tags kept", "images"):
        table.add_column(name, justify="right")
    for mask in masks:
        others = [_percent(mask.agreement.get(other.name)) for other in masks]
        table.add_row(
            mask.name, _percent(mask.crf_agreement), *others, _percent(mask.tag_coverage), str(mask.num_images)
        )
    return table


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{100 * fraction:.1f}"
