"""Weights behind single epochs of a training, beside those behind the last one: so one can see how CAMs grow."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_jobs.training.task import KeepingTask, TrainTask

if TYPE_CHECKING:  # stages name these files, and are planned where nothing is trained
    from torch import nn

    from wsss_jobs.storage.stage_outputs import StageOutputs


def epoch_file(epoch: int) -> str:
    """Returns the name of the file with the weights behind so many epochs."""
    return f"epoch_{epoch}.pt"


class EpochKeeper:
    """Stores what a task saves behind the epochs that it names, as `checkpoint/epoch_<n>.pt`; on worker 0."""

    def __init__(self, task: TrainTask, outputs: StageOutputs) -> None:
        self._task = task
        self._outputs = outputs
        self._epochs = task.keep_epochs if isinstance(task, KeepingTask) else ()

    def __call__(self, epoch: int, model: nn.Module) -> None:
        """Hears that `epoch` epochs are done, before the training can be resumed behind them."""
        key = f"checkpoint/{epoch_file(epoch)}"
        # As with `model.pt`, the first file stays: an epoch that is trained again gives the same weights, and another
        # driver of the run may have listed it in the manifest.
        if epoch not in self._epochs or self._outputs.folder.exists(key):
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / epoch_file(epoch)
            self._task.save(model, path)
            self._outputs.put_file(path, key)
