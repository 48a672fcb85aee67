"""The figures at the top of the page."""

from collections.abc import Sequence
from dataclasses import dataclass

from wsss_jobs.report.dataset_facts import DatasetFacts
from wsss_jobs.report.failure_table import FailureTable
from wsss_jobs.report.formats import count, duration, percent, points
from wsss_jobs.report.label_statistics import FractionChart
from wsss_jobs.report.run_view import RunView
from wsss_jobs.report.stage_table import StageRow


@dataclass(frozen=True)
class Figure:
    """One figure with what it is and one line beneath it.

    Attributes:
        tone: `good`, `bad` or empty.
    """

    label: str
    value: str
    unit: str
    remark: str
    tone: str = ""


def summary_figures(
    view: RunView,
    facts: DatasetFacts,
    stages: Sequence[StageRow],
    failures: FailureTable,
    charts: Sequence[FractionChart],
) -> tuple[Figure, ...]:
    """Returns the figures, the most asked for first."""
    return (
        _quality(view, charts),
        Figure("Images", count(facts.num_images), "", _images_remark(facts)),
        _failed(facts, failures),
        _stages(stages),
        _work(stages),
    )


def _quality(view: RunView, charts: Sequence[FractionChart]) -> Figure:
    headline, baseline = view.headline, view.baseline
    if headline is not None:
        remark = view.title(headline)
        if baseline is not None and baseline is not headline:
            remark += f", {points(headline.scores.miou - baseline.scores.miou)} over the best CAM"
        return Figure("mIoU", percent(headline.scores.miou), "%", remark, "good")
    confident = [chart for chart in charts if "confidence" in chart.title]
    why = "no ground truth to score against" if not view.has_truth else "nothing is scored yet"
    if confident:
        return Figure("Mean confidence", percent(confident[-1].histogram.mean), "%", f"{confident[-1].stage}; {why}")
    return Figure("mIoU", "–", "", why)


def _images_remark(facts: DatasetFacts) -> str:
    classes = "1 class" if len(facts.classes) == 1 else f"{len(facts.classes)} classes"
    return f"{classes}, {facts.tags_per_image:.1f} tags an image"


def _failed(facts: DatasetFacts, failures: FailureTable) -> Figure:
    total = facts.num_images + facts.num_rejected
    if not failures.num_failed:
        return Figure("Failed images", "0", "", "every image so far has its results")
    share = f"{100 * failures.num_failed / total:.1f} % of {count(total)}; listed below"
    return Figure("Failed images", count(failures.num_failed), "", share, "bad")


def _stages(stages: Sequence[StageRow]) -> Figure:
    num_done = sum(stage.is_complete for stage in stages)
    remark = "the run is complete" if num_done == len(stages) else "the report shows what is finished"
    return Figure("Stages done", f"{num_done}", f"of {len(stages)}", remark, "" if num_done == len(stages) else "bad")


def _work(stages: Sequence[StageRow]) -> Figure:
    known = [stage.seconds for stage in stages if stage.seconds is not None]
    return Figure("Work", duration(sum(known)) if known else "–", "", "time of all workers together")
