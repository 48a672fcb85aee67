"""A cluster that exists in memory only: the fan-out's backend with a clock of its own and faults at will."""

import heapq
import itertools
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from cluster.fan_out import FanOutPolicy, FanOutSummary, FinalOutcome, Leg, Outcome, ProgressSnapshot, WorkItem
from cluster.fan_out.backend import (
    ActorLost,
    ActorPlaced,
    BatchDone,
    BatchLost,
    Event,
    NodesView,
    WorkerNotMade,
    WorkerReady,
)
from cluster.fan_out.observers import Observers
from cluster.fan_out.run import run_on


@dataclass
class SimActor:
    number: int
    leg: int
    request: dict[str, float]
    node: str = ""
    queue: deque = field(default_factory=deque)  # of (batch number, items, payloads)
    running: bool = False
    hangs: bool = False


@dataclass
class Behaviour:
    """What items do, by (leg index, item id); anything not named takes 1 s and is fine."""

    seconds: dict = field(default_factory=dict)
    fails: set = field(default_factory=set)
    kills: dict = field(default_factory=dict)  # -> how many times it kills its process
    hangs: dict = field(default_factory=dict)  # -> how many times it hangs
    breaks_answer: set = field(default_factory=set)  # its batch cannot be answered
    factory_error: dict = field(default_factory=dict)  # leg -> message
    dies_loading: dict = field(default_factory=dict)  # leg -> how many workers die while they start
    lost_payloads_stall: bool = False


class SimulatedCluster:
    """Actors, nodes and time in one process. Checks as it goes that the scheduler keeps its own rules."""

    PLACE_S = 1.0
    LOAD_S = 2.0

    def __init__(self, legs: Sequence[Leg], nodes: dict[str, dict[str, float]], behaviour: Behaviour) -> None:
        self.legs, self.behaviour = legs, behaviour
        self.nodes_up = {name: dict(total) for name, total in nodes.items()}
        self.draining: set[str] = set()
        self.actors: dict[int, SimActor] = {}
        self.time = 0.0
        self.heap: list = []
        self.numbers = itertools.count()
        self.order = itertools.count()
        self.out: list[Event] = []
        self.suspects: set[tuple[int, str]] = set()
        self.last_running: dict[int, tuple[str, set]] = {}
        self.num_deaths: Counter = Counter()
        self.peak_actors: Counter = Counter()
        self.num_created: Counter = Counter()
        self.num_submitted = 0
        self.closed = False
        self.used_by_others: dict[str, float] = {}  # on every node

    # The backend's side.

    def now(self) -> float:
        return self.time

    def create(self, leg: int) -> int:
        number = next(self.numbers)
        self.actors[number] = SimActor(number, leg, self.legs[leg].resources.as_request())
        self.num_created[leg] += 1
        self.peak_actors[leg] = max(self.peak_actors[leg], sum(a.leg == leg for a in self.actors.values()))
        self._place_pending()
        return number

    def submit(self, actor: int, batch: int, items: Sequence[WorkItem], upstream: Sequence[tuple]) -> None:
        sim = self.actors[actor]
        assert sim.node, "work for an actor that has not answered"
        assert sim.node not in self.draining, "work for a node that will go"
        assert 1 <= len(items) <= self.legs[sim.leg].batch_size
        assert len(sim.queue) < self.legs[sim.leg].max_in_flight_per_actor
        if sim.leg:
            assert [(ref[1], ref[2]) for ref in upstream] == [(item.id, sim.leg - 1) for item in items]
        queued = [(sim.leg, item.id) for _, batch_items, _ in sim.queue for item in batch_items]
        assert not self.suspects & set(queued), "work behind an item that should be alone"
        if self.suspects & {(sim.leg, item.id) for item in items}:
            assert len(items) == 1, "a suspect with company"
            assert not queued, "a suspect in a queue"
        self.num_submitted += len(items)
        sim.queue.append((batch, list(items), list(upstream)))
        self._start_next(sim)

    def wait(self, timeout_s: float) -> list[Event]:
        until = self.time + timeout_s
        while self.heap and self.heap[0][0] <= (self.time if self.out else until):
            time, _, action = heapq.heappop(self.heap)
            self.time = max(self.time, time)
            action()
        if not self.out:
            self.time = until
        events, self.out = self.out, []
        for event in events:  # only now the scheduler can tell a dead process from a dead node
            node, items = (
                self.last_running.pop(event.actor, ("", set())) if isinstance(event, ActorLost) else ("", set())
            )
            if node in self.nodes().usable:
                self.suspects |= items
        return events

    def kill(self, actor: int) -> None:
        sim = self.actors.pop(actor, None)
        if sim and sim.hangs and all(ref[0] in self.nodes_up for ref in sim.queue[0][2]):
            self.suspects |= {(sim.leg, item.id) for item in sim.queue[0][1]}
        self.out = [event for event in self.out if event.actor != actor]
        self._place_pending()

    def nodes(self) -> NodesView:
        usable = {name: total for name, total in self.nodes_up.items() if name not in self.draining}
        return NodesView(usable, frozenset(self.draining & self.nodes_up.keys()))

    def close(self) -> None:
        self.closed = True
        self.actors.clear()

    # What may befall it.

    def at(self, time: float, action: Callable[[], None]) -> None:
        heapq.heappush(self.heap, (time, next(self.order), action))

    def lose_node(self, name: str, *, preempted: bool = False) -> None:
        self.nodes_up.pop(name, None)
        for sim in [sim for sim in self.actors.values() if sim.node == name]:
            self._lose(sim, ActorLost(sim.number, "node gone", preempted=preempted))

    def replace_some_node(self, index: int, after_s: float, *, preempted: bool) -> None:
        """A node goes; another of its kind comes later. Node ids are never used twice."""
        if not self.nodes_up:
            return
        name = sorted(self.nodes_up)[index % len(self.nodes_up)]
        total, new_name = self.nodes_up[name], f"{name}'"
        self.lose_node(name, preempted=preempted)
        self.at(self.time + after_s, lambda: self.bring_node(new_name, total))

    def bring_node(self, name: str, total: dict[str, float]) -> None:
        self.nodes_up[name] = dict(total)
        self._place_pending()

    def kill_some_actor(self, index: int) -> None:
        busy = [sim for sim in self.actors.values() if sim.running]
        if busy:
            self._die(busy[index % len(busy)], "killed")

    def _die(self, sim: SimActor, message: str) -> None:
        if sim.queue:
            self.last_running[sim.number] = (sim.node, {(sim.leg, item.id) for item in sim.queue[0][1]})
        self._lose(sim, ActorLost(sim.number, message))

    def _lose(self, sim: SimActor, event: ActorLost) -> None:
        if self.actors.pop(sim.number, None):
            self.out.append(event)
            self._place_pending()

    def _place_pending(self) -> None:
        for sim in self.actors.values():
            if sim.node:
                continue
            for name, total in self.nodes_up.items():
                used: Counter = Counter(self.used_by_others)
                for other in self.actors.values():
                    if other.node == name:
                        used.update(other.request)
                fits = all(total.get(key, 0) - used[key] >= need - 1e-9 for key, need in sim.request.items())
                if fits and name not in self.draining:
                    sim.node = name
                    self.at(self.time + self.PLACE_S, lambda sim=sim: self._placed(sim))
                    break

    def _placed(self, sim: SimActor) -> None:
        if sim.number in self.actors:
            self.out.append(ActorPlaced(sim.number, sim.node, f"actor-{sim.number}", 1000 + sim.number))
            self.at(self.time + self.LOAD_S, lambda: self._loaded(sim))

    def _loaded(self, sim: SimActor) -> None:
        if sim.number not in self.actors:
            return
        if sim.leg in self.behaviour.factory_error:
            self.out.append(WorkerNotMade(sim.number, self.behaviour.factory_error[sim.leg]))
        elif self.behaviour.dies_loading.get(sim.leg, 0) > 0:
            self.behaviour.dies_loading[sim.leg] -= 1
            self._lose(sim, ActorLost(sim.number, "died while loading"))
        else:
            self.out.append(WorkerReady(sim.number))

    def _start_next(self, sim: SimActor) -> None:
        if sim.running or not sim.queue:
            return
        sim.running = True
        number, items, payloads = sim.queue[0]
        if any(ref[0] not in self.nodes_up for ref in payloads):
            if self.behaviour.lost_payloads_stall:
                return  # the cluster has not found out yet, and the actor waits
            self.at(self.time, lambda: self._answer(sim, number, BatchLost(sim.number, number, True, "object lost")))
            return
        duration = 0.0
        for item in items:
            key = (sim.leg, item.id)
            if self._use_up(self.behaviour.hangs, key):
                sim.hangs = True
                return
            duration += self.behaviour.seconds.get(key, 1.0)
            if self._use_up(self.behaviour.kills, key):
                self.at(self.time + duration, lambda key=key: self._killed_by(sim, key))
                return
        self.at(self.time + duration, lambda: self._answer(sim, number, self._result(sim, number, items, duration)))

    @staticmethod
    def _use_up(budget: dict, key: tuple) -> bool:
        if budget.get(key, 0) <= 0:
            return False
        budget[key] -= 1
        return True

    def _killed_by(self, sim: SimActor, key: tuple) -> None:
        if sim.number in self.actors:
            self.num_deaths[key] += 1
            self._die(sim, "exit code 139")

    def _result(self, sim: SimActor, number: int, items: Sequence[WorkItem], seconds: float) -> Event:
        if any((sim.leg, item.id) in self.behaviour.breaks_answer for item in items):
            self.suspects |= {(sim.leg, item.id) for item in items}
            return BatchLost(sim.number, number, False, "cannot be pickled")
        fails = self.behaviour.fails
        outcomes = [
            Outcome(item.id, (sim.leg, item.id) not in fails, {"leg": sim.leg}, reason="bad", message="bad item")
            for item in items
        ]
        self.suspects -= {(sim.leg, item.id) for item in items}
        is_last = sim.leg + 1 == len(self.legs)
        payloads = [] if is_last else [(sim.node, item.id, sim.leg) for item in items]
        return BatchDone(sim.number, number, outcomes, seconds, payloads)

    def _answer(self, sim: SimActor, number: int, event: Event) -> None:
        if sim.number not in self.actors:
            return
        assert sim.queue[0][0] == number
        sim.queue.popleft()
        sim.running = False
        self.out.append(event)
        self._start_next(sim)


@dataclass
class Run:
    """What a simulated run left behind."""

    cluster: SimulatedCluster
    outcomes: dict[str, FinalOutcome] = field(default_factory=dict)
    progress: list[ProgressSnapshot] = field(default_factory=list)
    summary: FanOutSummary | None = None

    def receive(self, outcome: FinalOutcome) -> None:
        assert outcome.item_id not in self.outcomes, "a second last word"
        self.outcomes[outcome.item_id] = outcome

    @property
    def failed(self) -> dict[str, str]:
        return {item_id: outcome.reason for item_id, outcome in self.outcomes.items() if not outcome.ok}


def simulate(
    num_items: int,
    legs: Sequence[Leg],
    nodes: dict[str, dict[str, float]],
    behaviour: Behaviour | None = None,
    *,
    prepare: Callable[[SimulatedCluster], None] = lambda cluster: None,
    should_stop: Callable[[Run], bool] = lambda run: False,
    watch: Callable[[SimulatedCluster, FinalOutcome], None] = lambda cluster, outcome: None,
    items: Sequence[WorkItem] | None = None,
    max_seconds: float = 1e6,
    **policy,
) -> Run:
    """Run items through legs on a simulated cluster; `prepare` may plan faults."""
    cluster = SimulatedCluster(legs, nodes, behaviour or Behaviour())
    prepare(cluster)
    run = Run(cluster)

    def stop() -> bool:
        assert cluster.time < max_seconds, "the run does not end"
        return should_stop(run)

    def receive(outcome: FinalOutcome) -> None:
        run.receive(outcome)
        watch(cluster, outcome)

    observers = Observers(receive, run.progress.append, stop, None)
    work = items if items is not None else [WorkItem(f"i{number}") for number in range(num_items)]
    policy = {"error_budget_min_items": 10_000, "max_pending_actors": 0, **policy}
    try:
        run.summary = run_on(
            cluster, work, legs, policy=FanOutPolicy(**policy), total=None, observers=observers, run_id="simulated"
        )
    finally:
        assert cluster.closed
    return run


@pytest.fixture(scope="session")
def sim() -> Callable[..., Run]:
    """The function `simulate`."""
    return simulate


@pytest.fixture(scope="session")
def behave() -> type[Behaviour]:
    """The class `Behaviour`."""
    return Behaviour
