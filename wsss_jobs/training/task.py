"""What is trained, seen from the training loop: a model, samples, a loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from wsss_jobs.datasets.records import DatasetItem
from wsss_jobs.training.schedule import num_steps_per_epoch, poly_factor

if TYPE_CHECKING:  # configs of trainings hold a `Schedule`, and are read where nothing is trained
    import torch
    from torch import nn

Sample = dict[str, "torch.Tensor"]
NamedState = dict[str, dict[str, Any]]  # of an optimiser: parameter name -> its values


class Schedule(BaseModel):
    """Optimiser and schedule; the defaults are those of IRN's released code.

    Attributes:
        num_epochs: Passes over the data.
        global_batch_size: Images a step over all workers together, whatever their number.
        optimiser: `sgd`, or `adamw` for networks trained from scratch.
        momentum: Of SGD. The released code hands its weight decay to SGD as momentum, so its true value is 1e-4:
            nothing. With 0.9 the learning rates would have to be ten times smaller.
        weight_decay: L2 on every parameter.
        poly_power: Learning rate factor (1 - step / num_steps) ** poly_power.
        precision: `bfloat16` runs the forward pass under autocast; losses stay in float32. On a CPU it pays where the
            CPU multiplies bfloat16 (AMX).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_epochs: int = Field(default=5, ge=1)
    global_batch_size: int = Field(default=16, ge=1)
    optimiser: Literal["sgd", "adamw"] = "sgd"
    momentum: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=1e-4, ge=0)
    poly_power: float = Field(default=0.9, ge=0)
    precision: Literal["float32", "bfloat16"] = "float32"

    def total_steps(self, num_items: int) -> int:
        """Returns how many optimiser steps a training over so many items takes."""
        return num_steps_per_epoch(num_items, self.global_batch_size) * self.num_epochs

    def lr_factor(self, step: int, num_steps: int) -> float:
        """Returns what learning rates are multiplied by at step 0, 1, ... of `num_steps`."""
        return poly_factor(step, num_steps, self.poly_power)

    def sgd_options(self) -> dict[str, Any]:
        """Returns what SGD is built with."""
        return {"momentum": self.momentum, "weight_decay": self.weight_decay}

    def keeps_checkpoint(self, step_in_epoch: int) -> bool:
        """Returns whether the training can be resumed behind this step of an epoch; it always can behind an epoch."""
        del step_in_epoch
        return False


class ItemReader(Protocol):
    """Reads what a training stage is given of one item."""

    def image(self, item: DatasetItem) -> np.ndarray:
        """Returns RGB `uint8` `[H, W, 3]`."""

    def record(self, port: str, item: DatasetItem) -> Any:
        """Returns the record that `port`'s stage stored."""

    def score(self, port: str, item: DatasetItem, column: str) -> float | None:
        """Returns a number of the item's row in `port`'s `masks.parquet`, or None where the row has none.

        Raises:
            StageError: The table has no such column.
        """


@runtime_checkable
class KeepingTask(Protocol):
    """A training whose weights behind some of its epochs are stored too; `save` must leave the model as it is."""

    keep_epochs: tuple[int, ...]


@runtime_checkable
class ScoredTask(Protocol):
    """A training that is scored after every epoch, beside its losses."""

    def scores(self, model: nn.Module, device: torch.device) -> Mapping[str, float]:
        """Returns numbers over all workers; every worker calls it at the same time, with the model in evaluation."""


@dataclass(frozen=True)
class TrainingState:
    """Where a training stands, beside its weights, for a later one that goes on from it.

    Attributes:
        epoch: Finished epochs, those of earlier trainings of the chain included.
        optimiser: By parameter name.
    """

    epoch: int
    optimiser: NamedState


@runtime_checkable
class ContinuedTask(Protocol):
    """A training that is part of a longer one: epochs, learning rates and optimiser go on through all parts."""

    def start(self) -> TrainingState | None:
        """Returns where the part before ended, or None for the first one; `build_model` has its weights."""

    def is_finished(self, losses: Sequence[float]) -> bool:
        """Returns whether this part ends before its last epoch, after these means of `loss`, one an epoch of it."""

    def end(self, state: TrainingState) -> None:
        """Hears where this part ended, before `save`."""


class TrainTask(Protocol):
    """One training: built anew on each worker, so it must be cheap to build and the same everywhere."""

    schedule: Schedule

    def __len__(self) -> int:
        """Number of training items."""

    def sample(self, index: int, epoch: int) -> Sample:
        """Returns the augmented sample; depends on the item and the epoch only."""

    def build_model(self) -> nn.Module:
        """Returns the model with its initial weights, the same on every worker."""

    def finish(self, model: nn.Module, device: torch.device) -> None:
        """Completes the trained model on worker 0, for instance with statistics over the data."""

    def save(self, model: nn.Module, path: Path) -> None:
        """Writes the trained model."""


@runtime_checkable
class LossTask(TrainTask, Protocol):
    """A training of one network by one loss."""

    def parameter_groups(self, model: nn.Module) -> Sequence[Mapping[str, Any]]:
        """Returns optimizer groups with their initial `lr`; what is in none is not trained."""

    def losses(self, model: nn.Module, batch: Sample) -> dict[str, torch.Tensor]:
        """Returns scalars; `loss` is minimised. Calls `model(...)`, so that gradients are averaged over workers."""


@dataclass(frozen=True)
class Player:
    """One network of several that take turns.

    Attributes:
        network: A part of the task's model.
        groups: Optimizer groups with their initial `lr`; what is in none of any player is not trained.
        losses: Called with the network as it is to be called (it may be wrapped, to average gradients over workers) and
            a batch; returns scalars, of which `loss` is minimised, by this network alone.
        prefix: Of its losses' names in the metrics.
    """

    network: nn.Module
    groups: Sequence[Mapping[str, Any]]
    losses: Callable[[nn.Module, Sample], dict[str, torch.Tensor]]
    prefix: str = ""


@runtime_checkable
class AlternatingTask(TrainTask, Protocol):
    """A training of several networks, each with an optimiser of its own, that take turns on every batch."""

    def players(self, model: nn.Module) -> Sequence[Player]:
        """Returns who trains, in the order of their turns; the last has no prefix, for its `loss` is the training's."""
