"""A run on a terminal (rich), or as log lines where there is none (a Ray job, a file)."""

import logging
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from cluster.fan_out import ProgressSnapshot
from wsss_jobs.pipeline import Plan, PlannedStage
from wsss_jobs.training.progress_board import TrainProgress

_log = logging.getLogger(__name__)


class TerminalObserver:
    """Shows one line a stage, with a bar while it runs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("  {task.description:<24}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._base = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def message(self, text: str) -> None:
        """Prints one line above the bar."""
        self._console.print(f"  [dim]{text}[/dim]", highlight=False)

    def run_started(self, plan: Plan, num_items: int) -> None:
        """Says what is about to run."""
        self.message(f"{num_items} images, {len(plan.segments)} stages with results")

    def stage_started(self, stage: PlannedStage, num_todo: int, num_done: int, num_failed: int) -> None:
        """Opens the bar of a stage."""
        total = None if stage.is_training else num_todo + num_done + num_failed
        self._base = num_done + num_failed
        detail = f"resumes at {num_done}" if num_done else ""
        self._task = self._progress.add_task(stage.name, total=total, completed=self._base, detail=detail)

    def items_progress(self, stage: PlannedStage, snapshot: ProgressSnapshot) -> None:
        """Moves the bar; says what the stage waits for."""
        del stage
        if self._task is None:
            return
        workers = " ".join(f"{leg.name}:{leg.num_ready_actors}" for leg in snapshot.legs)
        failed = f" [red]{snapshot.num_failed} failed[/red]" if snapshot.num_failed else ""
        detail = snapshot.waiting_for or f"{snapshot.items_per_s:.1f}/s  {workers}{failed}"
        self._progress.update(self._task, completed=self._base + snapshot.num_done + snapshot.num_failed, detail=detail)

    def stage_waits(self, stage: PlannedStage, why: str) -> None:
        """Prints why."""
        self.message(f"{stage.name}: {why}")

    def training_started(self, stage: PlannedStage, num_workers: int, num_cpus: float, num_gpus: float) -> None:
        """Needs no line."""

    def training_progress(self, stage: PlannedStage, progress: TrainProgress) -> None:
        """Moves the bar by steps; shows the loss."""
        del stage
        if self._task is not None:
            detail = f"epoch {progress.epoch + 1}  loss {progress.values['loss']:.4f}"
            self._progress.update(self._task, total=progress.num_steps, completed=progress.step, detail=detail)

    def stage_finished(self, stage: PlannedStage, num_done: int, num_failed: int, seconds: float) -> None:
        """Replaces the bar by a line that stays."""
        self._close()
        failed = f"  [red]{num_failed} failed[/red]" if num_failed else ""
        self._console.print(
            f"  [green]✓[/green] {stage.name:<24} {num_done:>6} items {seconds:>8.1f} s{failed}", highlight=False
        )

    def stage_reused(self, stage: PlannedStage, num_done: int, num_failed: int) -> None:
        """Says that nothing had to be done."""
        failed = f"  [red]{num_failed} failed[/red]" if num_failed else ""
        self._console.print(
            f"  [green]✓[/green] {stage.name:<24} {num_done:>6} items  [dim]done before[/dim]{failed}", highlight=False
        )

    def _close(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None


class LogObserver:
    """Writes log lines, a few a minute.

    Args:
        run: The run's folder, in every line.
    """

    _EVERY_S = 15.0

    def __init__(self, run: str = "") -> None:
        self._run = run
        self._next_s, self._next_step = 0.0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing is open."""

    def message(self, text: str) -> None:
        """Logs a line."""
        self._line("%s", text)

    def run_started(self, plan: Plan, num_items: int) -> None:
        """Logs the size of the run."""
        self._line("run started items=%d stages=%d", num_items, len(plan.segments))

    def stage_started(self, stage: PlannedStage, num_todo: int, num_done: int, num_failed: int) -> None:
        """Logs what is left."""
        self._next_s, self._next_step = 0.0, 0
        self._line("stage started stage=%s todo=%d done=%d failed=%d", stage.name, num_todo, num_done, num_failed)

    def items_progress(self, stage: PlannedStage, snapshot: ProgressSnapshot) -> None:
        """Logs the count now and then."""
        if snapshot.elapsed_s < self._next_s:
            return
        self._next_s = snapshot.elapsed_s + self._EVERY_S
        self._line(
            "stage running stage=%s done=%d failed=%d total=%s items_per_s=%.1f %s",
            stage.name,
            snapshot.num_done,
            snapshot.num_failed,
            snapshot.total,
            snapshot.items_per_s,
            snapshot.waiting_for,
        )

    def stage_waits(self, stage: PlannedStage, why: str) -> None:
        """Logs why."""
        self._line("stage waits stage=%s why=%s", stage.name, why)

    def training_started(self, stage: PlannedStage, num_workers: int, num_cpus: float, num_gpus: float) -> None:
        """Logs the size."""
        self._line("training stage=%s workers=%d cpus=%g gpus=%g", stage.name, num_workers, num_cpus, num_gpus)

    def training_progress(self, stage: PlannedStage, progress: TrainProgress) -> None:
        """Logs the loss some twenty times a training; not every step is seen here."""
        if progress.step >= self._next_step or progress.step == progress.num_steps:
            self._next_step = progress.step + max(progress.num_steps // 20, 1)
            self._line(
                "training stage=%s step=%d/%d loss=%.4f",
                stage.name,
                progress.step,
                progress.num_steps,
                progress.values["loss"],
            )

    def stage_finished(self, stage: PlannedStage, num_done: int, num_failed: int, seconds: float) -> None:
        """Logs the end."""
        self._line("stage finished stage=%s done=%d failed=%d seconds=%.1f", stage.name, num_done, num_failed, seconds)

    def stage_reused(self, stage: PlannedStage, num_done: int, num_failed: int) -> None:
        """Logs that nothing had to be done."""
        self._line("stage reused stage=%s done=%d failed=%d", stage.name, num_done, num_failed)

    def _line(self, text: str, *values: object) -> None:
        _log.info(f"{text} run=%s", *values, self._run)
