"""Shows a run's progress, and keeps how long each stage took."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from wsss_jobs.pipeline import PlannedStage
from wsss_jobs.progress import TerminalObserver


class Stopwatch(TerminalObserver):
    """Seconds of each stage; kept in a file, so that those of a run that was interrupted and went on add up."""

    def __init__(self, console: Console, path: Path) -> None:
        super().__init__(console)
        self._path = path

    def stage_finished(self, stage: PlannedStage, num_done: int, num_failed: int, seconds: float) -> None:
        """Adds the stage's time to the file."""
        super().stage_finished(stage, num_done, num_failed, seconds)
        known = self._known()
        self._path.write_text(json.dumps(known | {_key(stage): known.get(_key(stage), 0.0) + seconds}))

    def forget(self, stage: PlannedStage) -> None:
        """Drops what is known of a stage that will be done anew."""
        known = self._known()
        known.pop(_key(stage), None)
        self._path.write_text(json.dumps(known))

    def seconds(self, stages: Sequence[PlannedStage]) -> dict[str, float]:
        """Returns seconds by stage name; stages that run as one segment are timed as their last."""
        known = self._known()
        return {stage.name: round(known[_key(stage)], 1) for stage in stages if _key(stage) in known}

    def _known(self) -> dict[str, float]:
        return dict(json.loads(self._path.read_text())) if self._path.is_file() else {}


def _key(stage: PlannedStage) -> str:
    return f"{stage.name}-{stage.fingerprint}"
