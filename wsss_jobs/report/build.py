"""Writes the report of a run."""

from collections.abc import Sequence
from typing import Any

from wsss_jobs.failed_items import failed_items
from wsss_jobs.job import PreparedJob
from wsss_jobs.quality.evaluation import Evaluation
from wsss_jobs.report.charts import histogram
from wsss_jobs.report.confusion import confusion_picture
from wsss_jobs.report.dataset_facts import dataset_facts
from wsss_jobs.report.failure_table import failure_table
from wsss_jobs.report.gallery import gallery_cards
from wsss_jobs.report.generations import generations
from wsss_jobs.report.label_statistics import class_shares, fraction_charts
from wsss_jobs.report.layers import gallery_layers
from wsss_jobs.report.page import render_page
from wsss_jobs.report.pictures import PictureFolder
from wsss_jobs.report.ranking import rank_images
from wsss_jobs.report.recipe_text import resolved_recipe
from wsss_jobs.report.review import review_queue
from wsss_jobs.report.run_view import RunView, run_view
from wsss_jobs.report.score_tables import class_rows, step_scores
from wsss_jobs.report.stage_table import stage_rows
from wsss_jobs.report.summary import summary_figures
from wsss_jobs.report.training_curves import trainings

PAGE_KEY = "index.html"


def build_report(job: PreparedJob, evaluations: Sequence[Evaluation], max_images: int = 60) -> str:
    """Writes `report/<recipe>/index.html` and its pictures to the run's store; returns the page's address.

    Shows what is finished; equal runs give equal bytes. An earlier report of the recipe is replaced.

    Args:
        evaluations: Of `evaluate_run`; empty without ground truth.
        max_images: Images of the gallery: the worst, and some of the rest.

    Raises:
        StorageError: The store does not answer.
    """
    folder = job.store.child(f"report/{job.recipe.name}")
    pictures = PictureFolder(folder)
    page = render_page(_content(run_view(job, evaluations), max_images, pictures))
    folder.put(PAGE_KEY, page)
    pictures.delete_stale()  # last: until here, an earlier page was whole
    return folder.uri_of(PAGE_KEY)


def _content(view: RunView, max_images: int, pictures: PictureFolder) -> dict[str, Any]:
    """Returns what the template shows."""
    facts = dataset_facts(view.job)
    stages = stage_rows(view.job)
    failed = failed_items(view.job)
    failures = failure_table(failed)
    charts = fraction_charts(view)
    ranking = rank_images(view, max_images)
    layers = gallery_layers(view)
    return {
        "job": view.job,
        "view": view,
        "figures": summary_figures(view, facts, stages, failures, charts),
        "facts": facts,
        "stages": stages,
        "failures": failures,
        "fraction_charts": charts,
        "class_shares": class_shares(view),
        "ranking": ranking,
        "layers": layers,
        "cards": gallery_cards(view, ranking, layers, facts.classes, failed, pictures),
        "review": review_queue(view, facts.classes, failed, pictures),
        "trainings": trainings(view.job),
        "recipe": resolved_recipe(view.job),
        **_scores(view),
    }


def _scores(view: RunView) -> dict[str, Any]:
    """Returns what the template shows of the evaluations."""
    headline = view.headline
    return {
        "steps": step_scores(view),
        "classes": class_rows(view),
        "generations": generations(view.job.plan, view.evaluations),
        "headline_title": "" if headline is None else view.title(headline),
        "confusion": confusion_picture(headline, "" if headline is None else view.title(headline)),
        "image_scores": None if headline is None else histogram([image.miou for image in headline.images]),
    }
