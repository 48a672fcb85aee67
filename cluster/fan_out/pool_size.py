"""How many actors each leg should have: pending work against what the cluster can give."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PoolDemand:
    """What one leg could use.

    Attributes:
        request: What one actor occupies, by resource name.
        num_items: Items that wait here and may run now, or run.
        batch_size: Items a batch, at most.
        num_busy: Actors with work.
        min_actors: Actors to keep while items may still come.
        max_actors: Upper bound, None for none.
        may_get_work: False when it has nothing to do beyond what runs, and nothing can come.
    """

    request: Mapping[str, float]
    num_items: int
    batch_size: int
    num_busy: int
    min_actors: int
    max_actors: int | None
    may_get_work: bool

    @property
    def num_useful(self) -> int:
        """Actors that would have something to do, or are to be kept ready."""
        floor = self.min_actors if self.may_get_work else 0
        useful = max(floor, self.num_busy, -(-self.num_items // self.batch_size))
        return useful if self.max_actors is None else min(useful, self.max_actors)


def plan_pools(demands: Sequence[PoolDemand], capacity: Mapping[str, float], max_pending: int) -> tuple[int, ...]:
    """Target number of actors of each leg.

    Every leg with work gets one actor, fitting or not: a request that does not fit is what an autoscaler sees. A leg
    that still waits for upstream gets one ahead of time if it fits beside those, so that it is ready when work comes.
    The rest of the cluster goes, actor by actor, to the leg with the most useful actors per actor it has.

    Args:
        demands: The legs in order.
        capacity: Resources of all usable nodes together.
        max_pending: Actors a leg may request beyond what fits.
    """
    free = dict(capacity)
    targets = [0] * len(demands)
    for index, demand in enumerate(demands):
        if demand.num_useful and demand.num_items:
            _grant(index, demand, targets, free)
    for index, demand in enumerate(demands):
        if not targets[index] and demand.may_get_work and _fits(demand.request, free):
            _grant(index, demand, targets, free)
    while (neediest := _neediest(demands, targets, free)) is not None:
        _grant(neediest, demands[neediest], targets, free)
    return tuple(
        target + max(0, min(max_pending, demand.num_useful - target)) if target else 0
        for target, demand in zip(targets, demands, strict=True)
    )


def num_that_fit(request: Mapping[str, float], nodes: Sequence[Mapping[str, float]]) -> int:
    """Actors that fit on these nodes if nothing else ran there."""
    return sum(
        min((int(node.get(name, 0.0) / quantity + 1e-9) for name, quantity in request.items()), default=0)
        for node in nodes
    )


def fit_together(requests: Iterable[Mapping[str, float]], capacity: Mapping[str, float]) -> bool:
    """True when the cluster as a whole can hold all requests at a time."""
    needed: dict[str, float] = {}
    for request in requests:
        for name, quantity in request.items():
            needed[name] = needed.get(name, 0.0) + quantity
    return _fits(needed, capacity)


def _neediest(demands: Sequence[PoolDemand], targets: Sequence[int], free: Mapping[str, float]) -> int | None:
    growable = [
        index
        for index, demand in enumerate(demands)
        if targets[index] < demand.num_useful and _fits(demand.request, free)
    ]
    return max(growable, key=lambda index: demands[index].num_useful / max(targets[index], 0.5), default=None)


def _fits(request: Mapping[str, float], free: Mapping[str, float]) -> bool:
    return all(free.get(name, 0.0) + 1e-9 >= quantity for name, quantity in request.items())


def _grant(index: int, demand: PoolDemand, targets: list[int], free: dict[str, float]) -> None:
    targets[index] += 1
    for name, quantity in demand.request.items():
        free[name] = free.get(name, 0.0) - quantity
