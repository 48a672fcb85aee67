"""What a run tells those who watch it."""

from typing import Protocol

from cluster.fan_out import ProgressSnapshot
from wsss_jobs.pipeline import Plan, PlannedStage
from wsss_jobs.training.progress_board import TrainProgress


class RunObserver(Protocol):
    """Hears of a run's steps, on the driver's thread unless said otherwise; must return soon."""

    def message(self, text: str) -> None:
        """One line for the user."""

    def run_started(self, plan: Plan, num_items: int) -> None:
        """The plan is made and the data set is known."""

    def stage_started(self, stage: PlannedStage, num_todo: int, num_done: int, num_failed: int) -> None:
        """A stage begins, with what earlier runs have left of it."""

    def items_progress(self, stage: PlannedStage, snapshot: ProgressSnapshot) -> None:
        """An item stage has moved on."""

    def training_progress(self, stage: PlannedStage, progress: TrainProgress) -> None:
        """A training has moved on; called on a thread of its own."""

    def stage_finished(self, stage: PlannedStage, num_done: int, num_failed: int, seconds: float) -> None:
        """A stage is complete."""

    def stage_reused(self, stage: PlannedStage, num_done: int, num_failed: int) -> None:
        """A stage was complete already."""
