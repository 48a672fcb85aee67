"""What a comparison leaves in the run's folder: `comparison/<name>/`, tables, plots and pictures."""

from collections.abc import Sequence

from wsss_jobs.comparison.bars import bars_svg
from wsss_jobs.comparison.config import Comparison
from wsss_jobs.comparison.epoch_curves import epoch_curves_svg
from wsss_jobs.comparison.epoch_pictures import epoch_grid
from wsss_jobs.comparison.examples import example_grid
from wsss_jobs.comparison.jobs import VariantJob
from wsss_jobs.comparison.markdown import comparison_page
from wsss_jobs.comparison.run import VariantOutcome
from wsss_jobs.comparison.score_files import write_scores
from wsss_jobs.comparison.scores import MethodScores
from wsss_jobs.comparison.table_epochs import column_epochs
from wsss_jobs.comparison.tables import (
    TextTable,
    class_table,
    failure_table,
    margin_table,
    method_table,
    published_table,
)
from wsss_jobs.storage.object_store import ObjectStore

PAGE_KEY, BARS_KEY, EXAMPLES_KEY = "comparison.md", "miou.svg", "examples.png"


def result_tables(comparison: Comparison, scores: MethodScores, outcomes: Sequence[VariantOutcome]) -> list[TextTable]:
    """Returns the tables to print: the paper's, margins, all scores, and what did not end well."""
    tables = [published_table(table, scores) for table in comparison.tables.values()]
    tables += [margin_table(comparison, scores), method_table(comparison, scores), failure_table(outcomes)]
    return [table for table in tables if table.rows]


def write_results(
    comparison: Comparison, jobs: Sequence[VariantJob], scores: MethodScores, outcomes: Sequence[VariantOutcome]
) -> str:
    """Writes everything, replacing what an earlier run left; returns the address of the Markdown page.

    Raises:
        StorageError: The store does not answer.
    """
    folder = jobs[0].job.store.child(f"comparison/{comparison.name}")
    write_scores(folder, comparison, scores)
    folder.put(BARS_KEY, bars_svg(comparison, scores).encode())
    pictures = [("mIoU and IoU of each class", BARS_KEY)]
    examples = example_grid(comparison, jobs, scores)
    if examples is not None:
        folder.put(EXAMPLES_KEY, examples)
        pictures.append(("Examples, chosen by a hash of their names", EXAMPLES_KEY))
    for key in (key for key, table in comparison.tables.items() if table.over_epochs):
        pictures += _epoch_figures(folder, comparison, key, jobs, scores)
    tables = [*result_tables(comparison, scores, outcomes), class_table(comparison, scores)]
    folder.put(PAGE_KEY, comparison_page(comparison, tables, pictures).encode())
    return folder.uri_of(PAGE_KEY)


def _epoch_figures(
    folder: ObjectStore, comparison: Comparison, key: str, jobs: Sequence[VariantJob], scores: MethodScores
) -> list[tuple[str, str]]:
    """Writes curves and pictures of a table that is over epochs; returns their captions and links."""
    epochs = column_epochs(comparison, key, {each.variant: each.job.plan for each in jobs})
    title = comparison.tables[key].title
    drawn = [
        (title, f"{key}.svg", epoch_curves_svg(comparison, key, epochs, scores)),
        (f"{title}: pictures", f"{key}.png", epoch_grid(comparison, key, epochs, jobs, scores)),
    ]
    for _, link, data in drawn:
        if data is not None:
            folder.put(link, data)
    return [(caption, link) for caption, link, data in drawn if data is not None]
