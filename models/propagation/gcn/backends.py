"""Which backend solves: what each can serve, and what `auto` takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from models.errors import InvalidInputError
from models.propagation.gcn import native_solver, triton_support
from models.propagation.gcn.closed_form import solve_closed_form
from models.propagation.gcn.config import GCNConfig
from models.propagation.gcn.native_solver import solve_native
from models.propagation.gcn.problem import GCNProblem
from models.propagation.gcn.solution import GCNSolution


class SolveProblem(Protocol):
    """Trains the GCN of one image and reads its class probabilities out."""

    def __call__(self, problem: GCNProblem, config: GCNConfig, *, with_trace: bool = False) -> GCNSolution:
        """Work on the device that the problem is on; probabilities that are not finite say that training diverged."""
        ...


class SolveProblems(Protocol):
    """Trains the GCNs of several images together."""

    def __call__(
        self, problems: Sequence[GCNProblem], config: GCNConfig, *, with_trace: bool = False
    ) -> list[GCNSolution]:
        """Work on the device that the problems are on, and return a solution for each, in their order."""
        ...


@dataclass(frozen=True)
class Backend:
    """One way to solve.

    Attributes:
        reason_unavailable: why it cannot serve a config on a device, in words; None where it can.
        solve: solves one prepared image; None where images are solved together.
        solve_many: solves prepared images together; None where they are solved one by one.
    """

    reason_unavailable: Callable[[GCNConfig, torch.device], str | None]
    solve: SolveProblem | None = None
    solve_many: SolveProblems | None = None


def choose_backend(config: GCNConfig, device: torch.device) -> str:
    """Name of the backend that solves: the config's; for `auto` the first of native, triton and torch that can.

    Raises:
        InvalidInputError: the named backend cannot serve the config on the device.
    """
    if config.backend == "auto":
        return next(name for name in AUTO_ORDER if BACKENDS[name].reason_unavailable(config, device) is None)
    reason = BACKENDS[config.backend].reason_unavailable(config, device)
    if reason is not None:
        raise InvalidInputError(f"backend {config.backend!r} cannot serve this: {reason}; 'auto' takes one that can")
    return config.backend


def _solve_reference(problem: GCNProblem, config: GCNConfig, *, with_trace: bool = False) -> GCNSolution:
    from models.propagation.gcn.reference import solve_reference  # imports PyG, which takes seconds

    return solve_reference(problem, config, with_trace=with_trace)


def _solve_triton(problems: Sequence[GCNProblem], config: GCNConfig, *, with_trace: bool = False) -> list[GCNSolution]:
    from models.propagation.gcn.triton_solver import solve_many  # Triton is not everywhere

    return solve_many(problems, config, with_trace=with_trace)


def _always(_config: GCNConfig, _device: torch.device) -> None:
    return None


def _native_reason(config: GCNConfig, device: torch.device) -> str | None:
    if device.type != "cpu":
        return f"it runs on a CPU, and the device is {device}"
    return native_solver.reason_unavailable(config)


BACKENDS = {
    "reference": Backend(_always, _solve_reference),
    "torch": Backend(_always, solve_closed_form),
    "native": Backend(_native_reason, solve_native),
    "triton": Backend(triton_support.reason_unavailable, solve_many=_solve_triton),
}
AUTO_ORDER = ("native", "triton", "torch")
