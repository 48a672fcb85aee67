"""CAMs over the epochs of training as pictures, as in Fig. 5 of the ACR paper: a column an epoch, a row a training."""

from collections.abc import Mapping, Sequence

from wsss_jobs.comparison.config import Comparison
from wsss_jobs.comparison.examples import FIRST_TITLES, choose_examples, first_seed, method_layer, scored_items
from wsss_jobs.comparison.jobs import VariantJob
from wsss_jobs.comparison.picture_grid import PictureRow, picture_grid
from wsss_jobs.comparison.scores import MethodScores
from wsss_jobs.report.layers import truth_layer


def epoch_grid(
    comparison: Comparison,
    key: str,
    epochs: Mapping[str, int],
    jobs: Sequence[VariantJob],
    scores: MethodScores,
    num_images: int = 4,
) -> bytes | None:
    """Returns the grid as PNG, all rows of an image below each other; None while nothing is scored.

    Of several seeds it shows the first. What is not scored is a grey cell.

    Args:
        key: Of a table that is over epochs.
        epochs: Of its columns, in ascending order.
    """
    rows = comparison.tables[key].rows
    named = [name for row in rows for column in epochs if (name := row.our_method(column)) is not None]
    scored = [name for name in named if name in scores.evaluations]
    if not scored:
        return None
    first = first_seed(jobs)
    drawn = {name: method_layer(comparison, name, first) for name in scored}
    layers = [[truth_layer(), *(drawn.get(row.our_method(column) or "") for column in epochs)] for row in rows]
    items = choose_examples(scored_items(scored[0], jobs, scores), num_images)
    titles = [*FIRST_TITLES, *(f"epoch {epoch}" for epoch in epochs.values())]
    numbers = range(len(rows))
    return picture_grid(titles, [PictureRow(item, layers[n], rows[n].method) for item in items for n in numbers])
