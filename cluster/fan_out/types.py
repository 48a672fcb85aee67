"""What a caller of the fan-out hands in and gets back: items, workers, legs, outcomes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class WorkItem:
    """One unit of work, retry and failure.

    Attributes:
        id: The caller's name of the item, unique within a run.
        payload: Small and picklable, such as a key; it travels with every call. Bulk data belongs in a store, or in
            `Outcome.payload`.
    """

    id: str
    payload: Any = None


@dataclass(frozen=True)
class Outcome:
    """What a worker says of one item.

    Attributes:
        item_id: The item's id.
        ok: True when the work was done. False ends the item: it never reaches the next leg, and is not retried.
        receipt: Small facts for the driver (digests, counts, scores). Plain values, under about 10 kB.
        payload: Goes to the next leg by object reference, never to the driver. Ignored in the last leg.
        reason: Short snake_case code when not ok.
        message: One sentence when not ok.
    """

    item_id: str
    ok: bool
    receipt: dict[str, Any] = field(default_factory=dict)
    payload: Any = None
    reason: str = ""
    message: str = ""


class Worker(Protocol):
    """What lives in an actor: made once by a `WorkerFactory`, then called batch by batch, one call at a time."""

    def run(self, items: Sequence[WorkItem], upstream: Sequence[Any]) -> Sequence[Outcome]:
        """Outcomes of `items`, of the same length and in the same order.

        It should answer for bad items by `Outcome(ok=False)`. When it raises, the items of the batch are run again one
        by one, and those that raise alone become failed items with the reason `worker_raised`.

        Args:
            items: One to `Leg.batch_size` items.
            upstream: The payloads that the previous leg gave for these items; empty in the first leg.

        Raises:
            WorkerBrokenError: The process cannot be trusted any more; it is replaced.
        """
        ...


WorkerFactory = Callable[[], Worker]
"""Makes the worker inside the actor's process (loads weights there). Must be picklable."""


@dataclass(frozen=True)
class ActorResources:
    """What one actor occupies on its node.

    Attributes:
        num_cpus: CPU cores, also the number of threads that numerical libraries may start (at least one).
        num_gpus: GPUs; a fraction shares one GPU between actors, without isolating its memory.
        memory_bytes: Memory that the scheduler reserves; None reserves none.
        custom: Other Ray resources by name.
    """

    num_cpus: float
    num_gpus: float = 0.0
    memory_bytes: int | None = None
    custom: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if min(self.num_cpus, self.num_gpus, self.memory_bytes or 0, *self.custom.values(), 0) < 0:
            raise ValueError(f"resources must not be negative, found {self}")
        if not self.as_request():
            raise ValueError("an actor must occupy something: num_cpus, num_gpus, memory_bytes or custom is needed")

    def as_request(self) -> dict[str, float]:
        """The positive quantities under Ray's names: CPU, GPU, memory and the custom ones."""
        request = {"CPU": self.num_cpus, "GPU": self.num_gpus, "memory": float(self.memory_bytes or 0), **self.custom}
        return {name: quantity for name, quantity in request.items() if quantity > 0}


@dataclass(frozen=True)
class Leg:
    """One pool of equal actors; a fan-out is a chain of legs.

    Attributes:
        name: Unique within the chain; the key of receipts, metrics and messages.
        factory: Makes the worker in each actor's process.
        resources: What one actor occupies.
        max_actors: Upper bound of the pool; None leaves it to pending work and to what the cluster can give.
        min_actors: Actors kept while the leg may still get work, even when idle.
        batch_size: Items a call, at most. More feeds an accelerator better; fewer lose less when a process dies.
        max_in_flight_per_actor: Batches handed to an actor at a time; 2 keeps it busy while the driver is away.
        deadline_s: Seconds that one item may take; a batch may take this times its length, from when the actor starts
            it. An actor over it is killed. It includes the transfer of upstream payloads.
        env_vars: Environment of the actor's process, over what the fan-out sets (threads, visible devices).
    """

    name: str
    factory: WorkerFactory
    resources: ActorResources
    max_actors: int | None = None
    min_actors: int = 0
    batch_size: int = 1
    max_in_flight_per_actor: int = 2
    deadline_s: float = 600.0
    env_vars: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.max_in_flight_per_actor < 1:
            raise ValueError(f"leg {self.name!r}: batch_size and max_in_flight_per_actor must be at least 1")
        if self.max_actors is not None and self.max_actors < max(1, self.min_actors):
            raise ValueError(
                f"leg {self.name!r}: max_actors must be at least 1 and min_actors, found {self.max_actors}"
            )
        if self.min_actors < 0 or self.deadline_s <= 0:
            raise ValueError(f"leg {self.name!r}: min_actors must not be negative, deadline_s must be positive")


@dataclass(frozen=True)
class FinalOutcome:
    """The last word on one item; every item gets exactly one.

    Attributes:
        item_id: The item's id.
        ok: True when every leg was done.
        payload: The item's own, as the caller gave it.
        receipts: The receipt of each leg that was done, by leg name.
        seconds: Seconds that each of these legs took for the item, by leg name (a batch's time is shared equally).
        failed_leg: Name of the leg that the item failed in; empty when ok.
        reason: Code when not ok: `worker_died`, `deadline_exceeded`, `too_many_attempts`, `worker_raised`, or the
            worker's own.
        message: One sentence when not ok.
        attempts: Calls that the item was part of, over all legs.
        node_id: Ray node of the last call.
        actor_id: Ray actor of the last call.
    """

    item_id: str
    ok: bool
    payload: Any = None
    receipts: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    failed_leg: str = ""
    reason: str = ""
    message: str = ""
    attempts: int = 1
    node_id: str = ""
    actor_id: str = ""
