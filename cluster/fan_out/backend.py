"""The border between the scheduler and the machinery that runs actors: what it may ask for and what it is told.

`ray_backend.py` is the real one. Tests put a simulation in its place, with a clock of its own, and so try thousands of
histories of deaths and delays without starting a process.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cluster.fan_out.types import Outcome, WorkItem


@dataclass(frozen=True, slots=True)
class ActorPlaced:
    """The cluster found a place for the actor; its worker is not made yet."""

    actor: int
    node_id: str
    actor_id: str
    pid: int


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """The actor's worker is made; it can take batches."""

    actor: int


@dataclass(frozen=True, slots=True)
class WorkerNotMade:
    """The factory raised; the actor is of no use."""

    actor: int
    message: str


@dataclass(frozen=True, slots=True)
class BatchDone:
    """A batch was answered.

    Attributes:
        actor: The actor's number.
        batch: The batch's number.
        outcomes: One an item, in order, without payloads.
        seconds: Seconds of work for the whole batch.
        payloads: References to the items' payloads, in order; empty in the last leg.
    """

    actor: int
    batch: int
    outcomes: Sequence[Outcome]
    seconds: float
    payloads: Sequence[Any]


@dataclass(frozen=True, slots=True)
class BatchLost:
    """A batch could not be run or answered although its actor lives.

    Attributes:
        actor: The actor's number.
        batch: The batch's number.
        upstream_lost: True when a payload of the previous leg no longer exists.
        message: What the cluster says.
    """

    actor: int
    batch: int
    upstream_lost: bool
    message: str


@dataclass(frozen=True, slots=True)
class ActorLost:
    """The actor is gone, with all that it had not answered. Nothing further is heard of it.

    Attributes:
        actor: The actor's number.
        message: What the cluster says.
        preempted: The cluster says that its node was preempted.
        unreachable: The cluster cannot say that it is dead.
        broken: The worker itself asked to be replaced.
    """

    actor: int
    message: str
    preempted: bool = False
    unreachable: bool = False
    broken: bool = False


Event = ActorPlaced | WorkerReady | WorkerNotMade | BatchDone | BatchLost | ActorLost


@dataclass(frozen=True)
class NodesView:
    """The cluster's nodes at one moment.

    Attributes:
        usable: Total resources of each node that is alive and not being drained, by node id.
        draining: Nodes that are alive and will go away; they should get no new work.
    """

    usable: Mapping[str, Mapping[str, float]]
    draining: frozenset[str] = frozenset()

    def lives(self, node_id: str) -> bool:
        """True when the node is alive, staying or not."""
        return node_id in self.usable or node_id in self.draining

    @property
    def capacity(self) -> dict[str, float]:
        """Resources of all usable nodes together."""
        total: dict[str, float] = {}
        for node in self.usable.values():
            for name, quantity in node.items():
                total[name] = total.get(name, 0.0) + quantity
        return total


class ActorBackend(Protocol):
    """Makes actors, sends batches, reports events. Actors and batches are numbered by the caller's side of it."""

    def now(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    def create(self, leg: int) -> int:
        """Ask for an actor of a leg; returns its number at once. It may wait for a place for ever."""
        ...

    def submit(self, actor: int, batch: int, items: Sequence[WorkItem], upstream: Sequence[Any]) -> None:
        """Queue a batch on an actor, with the payloads (references) that the previous leg gave."""
        ...

    def wait(self, timeout_s: float) -> list[Event]:
        """Events since the last call, waiting for the first one up to `timeout_s`.

        What an actor answered before it was lost comes before its `ActorLost`.
        """
        ...

    def kill(self, actor: int) -> None:
        """End an actor at once. No further event names it, not even `ActorLost`."""
        ...

    def nodes(self) -> NodesView:
        """The nodes as the cluster sees them now."""
        ...

    def close(self) -> None:
        """End every actor that is left."""
        ...
