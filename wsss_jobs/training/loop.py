"""The one training loop, as it runs on every Ray Train worker.

Global batch, item order, augmentation and schedule depend on neither the number of workers nor on restarts.
"""

import logging
import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import ray.train
import ray.train.torch
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from wsss_jobs.errors import StageError
from wsss_jobs.heap import keep_freed_memory
from wsss_jobs.training.over_workers import mean_over_workers
from wsss_jobs.training.peak_memory import peak_memory_mib
from wsss_jobs.training.schedule import num_steps_per_epoch, worker_batches
from wsss_jobs.training.task import ContinuedTask, Sample, ScoredTask, TrainingState, TrainTask
from wsss_jobs.training.turns import (
    Turn,
    named_states,
    optimiser_states,
    restore_named_states,
    restore_optimisers,
    take_turns,
)

_log = logging.getLogger(__name__)
_STATE_FILE = "state.pt"


class StepListener(Protocol):
    """Hears of every step of worker 0; must return at once."""

    def __call__(self, epoch: int, step: int, num_steps: int, values: dict[str, float]) -> None:
        """Hears that `step` of `num_steps` is done, in the 0-based `epoch`, with these losses."""


class EpochListener(Protocol):
    """Hears of every epoch on worker 0, before the checkpoint behind it: a training resumed from there is past it."""

    def __call__(self, epoch: int, model: nn.Module) -> None:
        """Hears that `epoch` epochs are done, and with which weights; must leave the model as it is."""


@dataclass(frozen=True)
class LoopOptions:
    """How the loop runs on this worker; nothing here changes what is learnt.

    Attributes:
        seed: The run's seed.
        num_threads: CPU threads of the worker.
        num_loader_workers: Processes that prepare samples; 0 prepares them in the worker.
    """

    seed: int
    num_threads: int
    num_loader_workers: int


class _EpochSamples(Dataset[Sample]):
    def __init__(self, task: TrainTask, epoch: int) -> None:
        self._task = task
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._task)

    def __getitem__(self, index: int) -> Sample:
        return self._task.sample(index, self._epoch)


class TrainLoop:
    """Model, optimizer and position of one training on one worker."""

    def __init__(
        self,
        task: TrainTask,
        options: LoopOptions,
        on_step: StepListener | None,
        on_epoch: EpochListener | None = None,
    ) -> None:
        torch.set_num_threads(max(options.num_threads, 1))
        torch.manual_seed(options.seed)
        self.task = task
        self.options = options
        self.on_step = on_step
        self.on_epoch = on_epoch
        self.context = ray.train.get_context()
        self.device = ray.train.torch.get_device()
        if self.device.type == "cpu":
            keep_freed_memory()
        self.num_steps = task.schedule.total_steps(len(task))
        self.module = task.build_model().to(memory_format=torch.channels_last)
        self.turns = take_turns(self.module, task)
        self.module.to(self.device)  # a part that no turn trains
        self.epoch = self.step = 0
        self.totals: dict[str, float] = {}  # sums of the losses since the epoch began
        self.history: list[dict[str, float]] = []
        self._restore()

    def run(self) -> nn.Module:
        """Trains what is left to train; returns the model in evaluation mode."""
        while self.step < self.num_steps and not self._is_finished():
            self._report(self._train_epoch() | self._scores())
        if isinstance(self.task, ContinuedTask):
            self.task.end(TrainingState(self.epoch, named_states(self.module, self.turns)))
        return self.module.eval()

    def _is_finished(self) -> bool:
        is_part = isinstance(self.task, ContinuedTask)
        return is_part and self.task.is_finished([epoch["loss"] for epoch in self.history])  # type: ignore[attr-defined]

    def _train_epoch(self) -> dict[str, float]:
        self._switch_to_training()
        position = first = self.step - self.epoch * self._steps_per_epoch
        self._seed_draws(0)
        batches = self._batches(self.epoch, first)
        if first:
            self._seed_draws(first)  # behind the loader, which draws a number for itself
        started = time.monotonic()
        for position, batch in enumerate(islice(batches, self.num_steps - self.step), start=first + 1):
            values = self._train_step(batch)
            for name, value in values.items():
                self.totals[name] = self.totals.get(name, 0.0) + value
            if self.on_step is not None and self.context.get_world_rank() == 0:
                self.on_step(self.epoch, self.step, self.num_steps, values)
            if position < self._steps_per_epoch and self.task.schedule.keeps_checkpoint(position):
                self._checkpoint_within_epoch(position)
        self.epoch += 1
        means = mean_over_workers(mean_so_far(self.totals, position), self.device)
        self.totals = {}
        memory_mib = peak_memory_mib(self.device)
        _log.info("epoch %d: loss %.4f, peak memory %.0f MiB", self.epoch, means["loss"], memory_mib)
        seconds = time.monotonic() - started
        return {**means, "epoch": self.epoch, "step": self.step, "seconds": seconds, "peak_memory_mib": memory_mib}

    def _switch_to_training(self) -> None:
        self.module.train()
        for turn in self.turns:
            turn.network.train()

    def _checkpoint_within_epoch(self, position: int) -> None:
        self.totals = mean_over_workers(self.totals, self.device)  # worker 0's checkpoint is everyone's
        self._report_with_checkpoint(mean_so_far(self.totals, position))
        self._seed_draws(position)

    @property
    def _steps_per_epoch(self) -> int:
        return num_steps_per_epoch(len(self.task), self.task.schedule.global_batch_size)

    def _scores(self) -> dict[str, float]:
        if not isinstance(self.task, ScoredTask):
            return {}
        return dict(self.task.scores(self.module.eval(), self.device))

    def _seed_draws(self, position: int) -> None:
        """Seeds dropout, so that a resumed training draws what an uninterrupted one would.

        Args:
            position: Steps of the epoch that are done.
        """
        words = [self.options.seed, self.epoch, self.context.get_world_rank(), *([position] if position else [])]
        torch.manual_seed(int(np.random.default_rng(words).integers(2**31)))

    def _train_step(self, batch: Sample) -> dict[str, float]:
        factor = self.task.schedule.lr_factor(self.step, self.num_steps)
        batch = {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}
        self.step += 1
        values: dict[str, float] = {}
        for turn in self.turns:
            values |= self._take(turn, batch, factor)
        return values

    def _take(self, turn: Turn, batch: Sample, lr_factor: float) -> dict[str, float]:
        half = self.task.schedule.precision == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
            losses = turn.losses(batch)
        turn.learn(losses["loss"], lr_factor)
        values = {f"{turn.prefix}{name}": float(value.detach()) for name, value in losses.items()}
        loss = values[f"{turn.prefix}loss"]
        if not math.isfinite(loss):
            msg = (
                f"the {turn.prefix}loss became {loss} at step {self.step}: lower the learning rate, or check the labels"
            )
            raise StageError(msg)
        return values

    def _batches(self, epoch: int, first: int) -> Iterator[Sample]:
        """Yields this worker's batches of an epoch, from the 0-based step `first` on."""
        schedule = self.task.schedule
        shares = worker_batches(
            len(self.task),
            schedule.global_batch_size,
            self.options.seed,
            epoch,
            self.context.get_world_rank(),
            self.context.get_world_size(),
        )
        return iter(self._loader(epoch, shares[first:]))

    def _loader(self, epoch: int, shares: list[list[int]]) -> "DataLoader[Sample]":
        return DataLoader(
            _EpochSamples(self.task, epoch),
            batch_sampler=shares,
            num_workers=self.options.num_loader_workers,
            pin_memory=self.device.type == "cuda",
        )

    def _report(self, metrics: dict[str, float]) -> None:
        """Tells Ray Train the epoch's means; worker 0 hands over the checkpoint of the epoch."""
        self.history.append(metrics)
        if self.on_epoch is not None and self.context.get_world_rank() == 0:
            self.on_epoch(self.epoch, self.module)
        self._report_with_checkpoint(metrics)

    def _report_with_checkpoint(self, metrics: dict[str, float]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = None
            if self.context.get_world_rank() == 0:
                torch.save(self._state(), Path(folder) / _STATE_FILE)
                checkpoint = ray.train.Checkpoint.from_directory(folder)
            ray.train.report(metrics, checkpoint=checkpoint)

    def _state(self) -> dict[str, Any]:
        return {
            "model": self.module.state_dict(),
            "optimiser": optimiser_states(self.turns),
            "totals": self.totals,
            "epoch": self.epoch,
            "step": self.step,
            "history": self.history,
        }

    def _restore(self) -> None:
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            self._continue()
            return
        with checkpoint.as_directory() as folder:
            state = torch.load(Path(folder) / _STATE_FILE, map_location=self.device, weights_only=True)
        self.module.load_state_dict(state["model"])
        restore_optimisers(self.turns, state["optimiser"])
        self.totals = state.get("totals", {})
        self.epoch, self.step, self.history = state["epoch"], state["step"], state["history"]
        _log.info("training resumes at epoch %d, step %d", self.epoch, self.step)

    def _continue(self) -> None:
        """Goes on where an earlier stage ended.

        Its steps are counted anew: an image that has failed since then shortens every epoch.
        """
        start = self.task.start() if isinstance(self.task, ContinuedTask) else None
        if start is not None:
            restore_named_states(self.module, self.turns, start.optimiser)
            self.epoch = start.epoch
            self.step = start.epoch * self._steps_per_epoch


def mean_so_far(totals: dict[str, float], num_steps: int) -> dict[str, float]:
    """Returns the means of losses that were summed over so many steps."""
    return {name: total / num_steps for name, total in totals.items()}
