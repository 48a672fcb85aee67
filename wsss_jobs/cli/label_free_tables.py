"""Tables of what is known without masks."""

from rich.console import Console
from rich.table import Table

from wsss_jobs.quality.label_free import CamThresholds, LabelFree, MaskConsistency


def print_label_free(console: Console, found: LabelFree) -> None:
    """Prints thresholds for CAMs, and how far masks agree."""
    if found.cams:
        console.print(_threshold_table(found.cams))
    if found.masks:
        console.print(_mask_table(found.masks))


def _threshold_table(cams: tuple[CamThresholds, ...]) -> Table:
    table = Table(title="Background thresholds of CAMs, chosen without masks", title_justify="left")
    for name in ("step", "chosen by", "threshold", "agreement (%)", "images"):
        table.add_column(name, justify="left" if name in ("step", "chosen by") else "right")
    for cam in cams:
        images = str(cam.num_images)
        if cam.separation is not None:
            table.add_row(cam.name, "separation (Otsu)", f"{cam.separation:.2f}", "", images, style="bold")
        for other, (threshold, agreement) in cam.by_agreement.items():
            table.add_row(cam.name, f"agreement with {other}", f"{threshold:.2f}", f"{100 * agreement:.1f}", images)
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
