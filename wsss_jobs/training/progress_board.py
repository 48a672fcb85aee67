"""Where worker 0 of a training says how far it is, and the driver looks."""

import time
from dataclasses import dataclass
from typing import Any

import ray

_MIN_INTERVAL_S = 0.5


@dataclass(frozen=True)
class TrainProgress:
    """One look at a training.

    Attributes:
        epoch: Finished epochs.
        step: Finished steps, of `num_steps`.
        values: Losses of the last step.
    """

    epoch: int
    step: int
    num_steps: int
    values: dict[str, float]


@ray.remote(num_cpus=0, max_restarts=-1)
class ProgressBoard:
    """An actor that holds the latest `TrainProgress`."""

    def __init__(self) -> None:
        self._latest: TrainProgress | None = None

    def write(self, progress: TrainProgress) -> None:
        """Replaces what the board shows."""
        self._latest = progress

    def read(self) -> TrainProgress | None:
        """Returns what the board shows."""
        return self._latest


class BoardListener:
    """Writes steps to a board, a few times a second at most, without waiting for it."""

    def __init__(self, board: Any) -> None:
        self._board = board
        self._last_s = 0.0

    def __call__(self, epoch: int, step: int, num_steps: int, values: dict[str, float]) -> None:
        """Hears of one step."""
        now = time.monotonic()
        if now - self._last_s >= _MIN_INTERVAL_S or step == num_steps:
            self._last_s = now
            self._board.write.remote(TrainProgress(epoch, step, num_steps, values))
