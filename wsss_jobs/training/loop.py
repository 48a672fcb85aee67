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
from wsss_jobs.training.optimiser_state import named_state, restore_named_state
from wsss_jobs.training.over_workers import mean_over_workers
from wsss_jobs.training.schedule import num_steps_per_epoch, worker_batches
from wsss_jobs.training.task import ContinuedTask, Sample, ScoredTask, TrainingState, TrainTask

_log = logging.getLogger(__name__)
_STATE_FILE = "state.pt"


class StepListener(Protocol):
    """Hears of every step of worker 0; must return at once."""

    def __call__(self, epoch: int, step: int, num_steps: int, values: dict[str, float]) -> None:
        """Hears that `step` of `num_steps` is done, in the 0-based `epoch`, with these losses."""


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

    def __init__(self, task: TrainTask, options: LoopOptions, on_step: StepListener | None) -> None:
        torch.set_num_threads(max(options.num_threads, 1))
        torch.manual_seed(options.seed)
        self.task = task
        self.options = options
        self.on_step = on_step
        self.context = ray.train.get_context()
        self.device = ray.train.torch.get_device()
        if self.device.type == "cpu":
            keep_freed_memory()
        self.num_steps = task.schedule.total_steps(len(task))
        model = task.build_model().to(memory_format=torch.channels_last)
        groups = _trainable_groups(model, task)
        self.model = ray.train.torch.prepare_model(model)
        self.optimiser = _optimiser(groups, task)
        self.base_lrs = [group["lr"] for group in self.optimiser.param_groups]
        self.epoch = self.step = 0
        self.history: list[dict[str, float]] = []
        self._restore()

    @property
    def module(self) -> nn.Module:
        """The model without the wrapper that averages gradients."""
        inner: nn.Module = getattr(self.model, "module", self.model)
        return inner

    def run(self) -> nn.Module:
        """Trains what is left to train; returns the model in evaluation mode."""
        while self.step < self.num_steps and not self._is_finished():
            self._report(self._train_epoch() | self._scores())
        if isinstance(self.task, ContinuedTask):
            self.task.end(TrainingState(self.epoch, named_state(self.module, self.optimiser)))
        return self.module.eval()

    def _is_finished(self) -> bool:
        is_part = isinstance(self.task, ContinuedTask)
        return is_part and self.task.is_finished([epoch["loss"] for epoch in self.history])  # type: ignore[attr-defined]

    def _train_epoch(self) -> dict[str, float]:
        self.model.train()
        torch.manual_seed(self._epoch_seed())  # dropout: a resumed training draws what an uninterrupted one would
        started = time.monotonic()
        totals: dict[str, float] = {}
        num_batches = 0
        for batch in islice(self._batches(self.epoch), self.num_steps - self.step):
            values = self._train_step(batch)
            num_batches += 1
            for name, value in values.items():
                totals[name] = totals.get(name, 0.0) + value
            if self.on_step is not None and self.context.get_world_rank() == 0:
                self.on_step(self.epoch, self.step, self.num_steps, values)
        self.epoch += 1
        means = mean_over_workers({name: total / num_batches for name, total in totals.items()}, self.device)
        return {**means, "epoch": self.epoch, "step": self.step, "seconds": time.monotonic() - started}

    def _scores(self) -> dict[str, float]:
        if not isinstance(self.task, ScoredTask):
            return {}
        return dict(self.task.scores(self.module.eval(), self.device))

    def _epoch_seed(self) -> int:
        words = [self.options.seed, self.epoch, self.context.get_world_rank()]
        return int(np.random.default_rng(words).integers(2**31))

    def _train_step(self, batch: Sample) -> dict[str, float]:
        factor = self.task.schedule.lr_factor(self.step, self.num_steps)
        for group, base_lr in zip(self.optimiser.param_groups, self.base_lrs, strict=True):
            group["lr"] = base_lr * factor
        batch = {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}
        half = self.task.schedule.precision == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=half):
            losses = self.task.losses(self.model, batch)
        self.optimiser.zero_grad(set_to_none=True)
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.step += 1
        values = {name: float(value.detach()) for name, value in losses.items()}
        if not math.isfinite(values["loss"]):
            msg = f"the loss became {values['loss']} at step {self.step}: lower the learning rate, or check the labels"
            raise StageError(msg)
        return values

    def _batches(self, epoch: int) -> Iterator[Sample]:
        schedule = self.task.schedule
        shares = worker_batches(
            len(self.task),
            schedule.global_batch_size,
            self.options.seed,
            epoch,
            self.context.get_world_rank(),
            self.context.get_world_size(),
        )
        return iter(self._loader(epoch, shares))

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
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = None
            if self.context.get_world_rank() == 0:
                torch.save(self._state(), Path(folder) / _STATE_FILE)
                checkpoint = ray.train.Checkpoint.from_directory(folder)
            ray.train.report(metrics, checkpoint=checkpoint)

    def _state(self) -> dict[str, Any]:
        return {
            "model": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
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
        self.optimiser.load_state_dict(state["optimiser"])
        self.epoch, self.step, self.history = state["epoch"], state["step"], state["history"]
        _log.info("training resumes at epoch %d", self.epoch)

    def _continue(self) -> None:
        """Goes on where an earlier stage ended.

        Its steps are counted anew: an image that has failed since then shortens every epoch.
        """
        start = self.task.start() if isinstance(self.task, ContinuedTask) else None
        if start is not None:
            restore_named_state(self.module, self.optimiser, start.optimiser)
            self.epoch = start.epoch
            self.step = start.epoch * num_steps_per_epoch(len(self.task), self.task.schedule.global_batch_size)


def _trainable_groups(model: nn.Module, task: TrainTask) -> list[dict[str, Any]]:
    """Returns the optimizer groups and switches the gradient of all other parameters off, as DDP needs it."""
    groups = [{**group, "params": list(group["params"])} for group in task.parameter_groups(model)]
    wanted = {id(parameter) for group in groups for parameter in group["params"]}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in wanted)
    return groups


def _optimiser(groups: list[dict[str, Any]], task: TrainTask) -> torch.optim.Optimizer:
    schedule = task.schedule
    if schedule.optimiser == "adamw":
        return torch.optim.AdamW(groups, weight_decay=schedule.weight_decay)
    return torch.optim.SGD(groups, **schedule.sgd_options())
