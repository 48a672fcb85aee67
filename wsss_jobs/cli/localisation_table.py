"""How CAMs fit boxes, as a table."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from wsss_jobs.quality.localisation import Localisation, LocalisationScores

_COLUMNS = ("Top-1 Cls", "Top-1 Loc", "GT-known Loc", "MaxBoxAcc", "threshold", "images")


def print_localisation(console: Console, found: Sequence[Localisation]) -> None:
    """Prints the scores in percent, a row each split and choice of the threshold."""
    table = Table(title="Localisation (%)", title_justify="left")
    for name in ("step", "split", "threshold chosen on"):
        table.add_column(name)
    for name in _COLUMNS:
        table.add_column(name, justify="right")
    for each in found:
        table.add_row(each.name, each.split, each.split, *_cells(each.best))
        if each.held_out is not None:
            table.add_row(each.name, each.split, "train", *_cells(each.held_out))
    console.print(table)


def _cells(scores: LocalisationScores) -> list[str]:
    shares = (scores.top_1_cls, scores.top_1_loc, scores.gt_known_loc, scores.max_box_acc)
    percent = ["" if share is None else f"{100 * share:.2f}" for share in shares]
    return [*percent, f"{scores.threshold:.2f}", str(scores.num_images)]
