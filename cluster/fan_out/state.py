"""What a running fan-out remembers: items between dispatch and their last word, actors, and counts."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from cluster.fan_out.backend import NodesView
from cluster.fan_out.policy import FanOutPolicy
from cluster.fan_out.retry import ItemHistory
from cluster.fan_out.types import Leg, WorkItem

_CLEAN = ItemHistory()


@dataclass(slots=True, eq=False)
class TrackedItem:
    """One item on its way through the legs.

    Attributes:
        number: Unique within the run, whatever ids the caller gives.
        item: The caller's item.
        attempts: Calls that it was part of.
        histories: What legs hold against it, by leg index; absent where nothing is.
        receipts: Receipts of the legs that are done, by leg name.
        seconds: Seconds of these legs, by leg name.
        payload: Reference to what the previous leg gave; None in the first leg.
        payload_node: Node that holds it.
        node_id: Node of the latest call.
        actor_id: Actor of the latest call.
    """

    number: int
    item: WorkItem
    attempts: int = 0
    histories: dict[int, ItemHistory] = field(default_factory=dict)
    receipts: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    payload: Any = None
    payload_node: str = ""
    node_id: str = ""
    actor_id: str = ""

    def history(self, leg: int) -> ItemHistory:
        """What a leg holds against the item."""
        return self.histories.get(leg, _CLEAN)


@dataclass(slots=True)
class SentBatch:
    """A batch in an actor's queue. `started_at` is None while others are before it."""

    number: int
    items: list[TrackedItem]
    alone: bool
    started_at: float | None = None


@dataclass(slots=True)
class ActorState:
    """One actor, from its request to its end."""

    number: int
    asked_at: float
    node_id: str = ""
    actor_id: str = ""
    is_ready: bool = False
    is_draining: bool = False
    idle_since: float = 0.0
    batches: deque[SentBatch] = field(default_factory=deque)

    @property
    def is_placed(self) -> bool:
        """True once the cluster has given it a place."""
        return bool(self.node_id)


@dataclass(slots=True)
class LegState:
    """One leg's queues and pool.

    Attributes:
        leg: The caller's leg.
        index: Its place in the chain.
        fresh: Items that have not been sent here yet, in order. In the first leg, those read ahead.
        returned: Items that were sent and lost without fault; they go first.
        solo: Suspects, which run alone.
        num_running: Items in the queues of actors.
        num_done: Items finished here, repeats included.
        seconds: Seconds of work, summed over actors.
        actors: The pool, by number.
        target: What the pool aims at.
        no_worker_since: Since when it has had work and no ready actor; None when that is not so.
        no_place_since: Since when it has had work and asked in vain for the first place; None when that is not so.
        has_started: True once any worker was ready.
        num_failed_starts: Workers that failed to start, in a row.
        last_start_error: What the latest of them said.
    """

    leg: Leg
    index: int
    fresh: deque[TrackedItem] = field(default_factory=deque)
    returned: deque[TrackedItem] = field(default_factory=deque)
    solo: deque[TrackedItem] = field(default_factory=deque)
    num_running: int = 0
    num_done: int = 0
    seconds: float = 0.0
    actors: dict[int, ActorState] = field(default_factory=dict)
    target: int = 0
    no_worker_since: float | None = None
    no_place_since: float | None = None
    has_started: bool = False
    num_failed_starts: int = 0
    last_start_error: str = ""

    def enqueue(self, item: TrackedItem) -> None:
        """Take in an item that comes from upstream."""
        (self.solo if item.history(self.index).is_suspect else self.fresh).append(item)

    @property
    def num_waiting(self) -> int:
        """Items that wait for a worker here."""
        return len(self.fresh) + len(self.returned) + len(self.solo)


class RunState:
    """Everything that changes while a fan-out runs."""

    def __init__(
        self,
        items: Iterable[WorkItem],
        legs: Sequence[Leg],
        policy: FanOutPolicy,
        total: int | None,
        now: float,
        run_id: str = "",
    ) -> None:
        self.run_id = run_id
        self.source: Iterator[WorkItem] = iter(items)
        self.source_is_empty = False
        self.legs = [LegState(leg, index) for index, leg in enumerate(legs)]
        self.policy = policy
        self.total = total
        self.started_at = now
        self.num_read = 0
        self.num_in_flight = 0
        self.num_done = 0
        self.num_retried = 0
        self.num_actor_deaths = 0
        self.failed_reasons: Counter[str] = Counter()
        self.in_flight_limit = 1
        self.nodes = NodesView({})

    @property
    def num_failed(self) -> int:
        """Items that failed."""
        return self.failed_reasons.total()

    @property
    def is_finished(self) -> bool:
        """True when every item has its last word."""
        return self.source_is_empty and not self.num_in_flight and not self.legs[0].fresh

    def more_to_come(self, leg: LegState) -> bool:
        """True while items may still reach a leg from upstream."""
        return not self.source_is_empty or any(
            before.num_running or before.num_waiting for before in self.legs[: leg.index]
        )

    def may_get_work(self, leg: LegState) -> bool:
        """True while the leg has, or may yet have, something to do beyond what its actors run now."""
        return leg.num_waiting > 0 or self.more_to_come(leg)

    def num_sendable(self, leg: LegState) -> int:
        """Items of the normal lane that may be sent now: fresh ones only as far as the bound on items in flight."""
        if leg.index:
            return len(leg.returned) + len(leg.fresh)
        room = max(0, self.in_flight_limit - self.num_in_flight)
        return len(leg.returned) + min(len(leg.fresh), room)

    def payload_is_lost(self, item: TrackedItem) -> bool:
        """True when what the previous leg gave was on a node that is gone.

        Small payloads may survive that, but a worker that waits for one that has not would wait for long.
        """
        return bool(item.payload_node) and not self.nodes.lives(item.payload_node)

    def restart(self, item: TrackedItem) -> None:
        """Put an item back before the first leg."""
        item.payload, item.payload_node = None, ""
        self.legs[0].returned.appendleft(item)

    def has_work(self, leg: LegState) -> bool:
        """True when an actor of the leg, if it had one, would get work now."""
        return bool(leg.solo) or self.num_sendable(leg) > 0
