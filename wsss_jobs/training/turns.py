"""Who learns in a step: one network of most tasks, several in turn of others, each with an optimiser of its own."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import ray.train.torch
import torch
from torch import nn

from wsss_jobs.training.optimiser_state import named_state, restore_named_state
from wsss_jobs.training.task import AlternatingTask, LossTask, NamedState, Player, Sample, Schedule, TrainTask


class Turn:
    """One network, ready to be trained on this worker."""

    def __init__(self, player: Player, schedule: Schedule) -> None:
        self.prefix = player.prefix
        self._losses = player.losses
        self.network = ray.train.torch.prepare_model(player.network)
        self.optimiser = _optimiser(player.groups, schedule)
        self._base_lrs = [group["lr"] for group in self.optimiser.param_groups]

    def losses(self, batch: Sample) -> dict[str, torch.Tensor]:
        """Returns the losses of the network on a batch; `loss` is minimised."""
        return self._losses(self.network, batch)

    def learn(self, loss: torch.Tensor, lr_factor: float) -> None:
        """Changes the network by one step, and nothing else."""
        for group, base_lr in zip(self.optimiser.param_groups, self._base_lrs, strict=True):
            group["lr"] = base_lr * lr_factor
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()


def take_turns(model: nn.Module, task: TrainTask) -> list[Turn]:
    """Returns the turns of a step, in order; parameters that none of them trains are switched off, as DDP needs it."""
    listed = [Player(each.network, _listed(each.groups), each.losses, each.prefix) for each in _players(model, task)]
    wanted = {id(parameter) for each in listed for group in each.groups for parameter in group["params"]}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in wanted)
    return [Turn(each, task.schedule) for each in listed]


def optimiser_states(turns: Sequence[Turn]) -> dict[str, Any]:
    """Returns the optimisers' states: that of the only one, or one by the prefix of each turn."""
    if len(turns) == 1:
        return turns[0].optimiser.state_dict()
    return {turn.prefix: turn.optimiser.state_dict() for turn in turns}


def restore_optimisers(turns: Sequence[Turn], states: Mapping[str, Any]) -> None:
    """Takes over what `optimiser_states` gave."""
    if len(turns) == 1:
        turns[0].optimiser.load_state_dict(dict(states))
    else:
        for turn in turns:
            turn.optimiser.load_state_dict(states[turn.prefix])


def named_states(model: nn.Module, turns: Sequence[Turn]) -> NamedState:
    """Returns what the optimisers remember of each parameter, by its name in the model; each has its own parameters."""
    return {name: state for turn in turns for name, state in named_state(model, turn.optimiser).items()}


def restore_named_states(model: nn.Module, turns: Sequence[Turn], states: NamedState) -> None:
    """Gives each optimiser its memory of the parameters in `states` that it steps; others start afresh."""
    for turn in turns:
        restore_named_state(model, turn.optimiser, states)


def _players(model: nn.Module, task: TrainTask) -> Sequence[Player]:
    if isinstance(task, AlternatingTask):
        return task.players(model)
    alone = cast("LossTask", task)  # a task is one of the two
    return [Player(model, alone.parameter_groups(model), alone.losses)]


def _listed(groups: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{**group, "params": list(group["params"])} for group in groups]


def _optimiser(groups: Sequence[Mapping[str, Any]], schedule: Schedule) -> torch.optim.Optimizer:
    params = [dict(group) for group in groups]
    if schedule.optimiser == "adamw":
        return torch.optim.AdamW(params, weight_decay=schedule.weight_decay)
    return torch.optim.SGD(params, **schedule.sgd_options())
