"""What a run tells those who watch it."""

from collections.abc import Sequence
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

    def stage_waits(self, stage: PlannedStage, why: str) -> None:
        """A stage cannot begin yet; `why` is a sentence."""

    def training_started(self, stage: PlannedStage, num_workers: int, num_cpus: float, num_gpus: float) -> None:
        """A training gets its workers now, each with this much."""

    def items_progress(self, stage: PlannedStage, snapshot: ProgressSnapshot) -> None:
        """An item stage has moved on."""

    def training_progress(self, stage: PlannedStage, progress: TrainProgress) -> None:
        """A training has moved on; called on a thread of its own."""

    def stage_finished(self, stage: PlannedStage, num_done: int, num_failed: int, seconds: float) -> None:
        """A stage is complete."""

    def stage_reused(self, stage: PlannedStage, num_done: int, num_failed: int) -> None:
        """A stage was complete already."""


class ObserverGroup:
    """Several observers as one."""

    def __init__(self, observers: Sequence[RunObserver]) -> None:
        self._observers = tuple(observers)

    def message(self, text: str) -> None:
        """Tells all."""
        for observer in self._observers:
            observer.message(text)

    def run_started(self, plan: Plan, num_items: int) -> None:
        """Tells all."""
        for observer in self._observers:
            observer.run_started(plan, num_items)

    def stage_started(self, stage: PlannedStage, num_todo: int, num_done: int, num_failed: int) -> None:
        """Tells all."""
        for observer in self._observers:
            observer.stage_started(stage, num_todo, num_done, num_failed)

    def stage_waits(self, stage: PlannedStage, why: str) -> None:
        """Tells all."""
        for observer in self._observers:
            observer.stage_waits(stage, why)

    def training_started(self, stage: PlannedStage, num_workers: int, num_cpus: float, num_gpus: float) -> None:
        """Tells all."""
        for observer in self._observers:
            observer.training_started(stage, num_workers, num_cpus, num_gpus)

    def items_progress(self, stage: PlannedStage, snapshot: ProgressSnapshot) -> None:
        """Tells all."""
        for observer in self._observers:
            observer.items_progress(stage, snapshot)

    def training_progress(self, stage: PlannedStage, progress: TrainProgress) -> None:
        """Tells all."""
        for observer in self._observers:
            observer.training_progress(stage, progress)

    def stage_finished(self, stage: PlannedStage, num_done: int, num_failed: int, seconds: float) -> None:
        """Tells all."""
        for observer in self._observers:
            observer.stage_finished(stage, num_done, num_failed, seconds)

    def stage_reused(self, stage: PlannedStage, num_done: int, num_failed: int) -> None:
        """Tells all."""
        for observer in self._observers:
            observer.stage_reused(stage, num_done, num_failed)
