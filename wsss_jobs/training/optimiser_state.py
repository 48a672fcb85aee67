"""The state of an optimiser by the names of parameters, so that a training can go on with other groups than before.

`Optimizer.state_dict` numbers parameters by their groups: it only fits an optimiser with the same ones.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from wsss_jobs.training.task import NamedState


def named_state(model: nn.Module, optimiser: torch.optim.Optimizer) -> NamedState:
    """Returns what the optimiser remembers of each parameter, on the CPU; what it has never stepped is left out."""
    return {
        name: {
            key: value.detach().cpu() if isinstance(value, torch.Tensor) else value
            for key, value in optimiser.state[parameter].items()
        }
        for name, parameter in model.named_parameters()
        if optimiser.state.get(parameter)
    }


def restore_named_state(model: nn.Module, optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Gives the optimiser its memory of the parameters in `state` that it steps; others start afresh."""
    stepped = {id(parameter) for group in optimiser.param_groups for parameter in group["params"]}
    for name, parameter in model.named_parameters():
        if name in state and id(parameter) in stepped:
            optimiser.state[parameter] = {key: _beside(value, parameter) for key, value in state[name].items()}


def _beside(value: Any, parameter: nn.Parameter) -> Any:
    """Returns a copy: a momentum on the parameter's device, a counter where it is (AdamW keeps its own on the CPU)."""
    if not isinstance(value, torch.Tensor):
        return value
    return value.to(parameter.device, copy=True) if value.shape == parameter.shape else value.clone()
