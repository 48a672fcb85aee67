"""Runs items through a chain of actor pools, and survives what actors, nodes and items do. See docs/fan_out.md."""

from cluster.fan_out.policy import FanOutPolicy
from cluster.fan_out.progress import FanOutSummary, LegProgress, ProgressSnapshot
from cluster.fan_out.run import fan_out
from cluster.fan_out.types import ActorResources, FinalOutcome, Leg, Outcome, Worker, WorkerFactory, WorkItem

__all__ = [
    "ActorResources",
    "FanOutPolicy",
    "FanOutSummary",
    "FinalOutcome",
    "Leg",
    "LegProgress",
    "Outcome",
    "ProgressSnapshot",
    "WorkItem",
    "Worker",
    "WorkerFactory",
    "fan_out",
]
