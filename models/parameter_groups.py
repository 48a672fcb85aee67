"""Optimiser groups in the manner of Caffe: biases learn at a rate of their own, and without weight decay."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from models.errors import InvalidInputError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class BiasRule:
    """How biases are trained beside the weights of their layers.

    Attributes:
        lr_factor: Their learning rate against that of the weights. IRN: 1. PSA: 2 (so x1, x2, x10, x20).
        decay: Whether weight decay holds for them. IRN: True. PSA: False.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # read where recipes are validated

    lr_factor: float = 1.0
    decay: bool = True

    def __post_init__(self) -> None:
        if self.lr_factor <= 0:
            msg = f"lr_factor must be positive; got {self.lr_factor}"
            raise InvalidInputError(msg)


def parameter_groups(
    modules: Iterable[nn.Module], lr: float, biases: BiasRule, without: Iterable[nn.Parameter] = ()
) -> list[dict[str, Any]]:
    """Returns one optimiser group of all parameters of `modules`, or two where biases have a rule of their own.

    Args:
        without: Parameters that stay as they are.

    A bias is a parameter of that name, the shift of a normalisation layer included (as PSA counts GroupNorm's).
    """
    left_out = {id(parameter) for parameter in without}
    named = [
        (name, parameter)
        for module in modules
        for name, parameter in module.named_parameters()
        if id(parameter) not in left_out
    ]
    if biases == BiasRule():
        return [{"params": [parameter for _, parameter in named], "lr": lr}]
    groups: list[dict[str, Any]] = [
        {"params": [parameter for name, parameter in named if name.split(".")[-1] != "bias"], "lr": lr},
        {
            "params": [parameter for name, parameter in named if name.split(".")[-1] == "bias"],
            "lr": lr * biases.lr_factor,
            **({} if biases.decay else {"weight_decay": 0.0}),
        },
    ]
    return [group for group in groups if group["params"]]
