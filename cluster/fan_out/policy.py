"""The limits within which a fan-out acts on its own."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FanOutPolicy:
    """Limits on retries, failures, waiting and what is in flight. Defaults are our choice unless said otherwise.

    Attributes:
        max_deaths_per_item: Deaths of a worker process while it ran this item alone (or at the head of a queue of
            single items) after which the item is quarantined as `worker_died`. One could be bad luck, such as another
            process eating the memory; three in a row alone is the item.
        max_deadlines_per_item: The same for deadlines, `deadline_exceeded`. Two, since every one costs `deadline_s`.
        max_attempts_per_item: Calls after which an item is quarantined as `too_many_attempts`, whoever is to blame:
            the stop for an item that takes whole nodes down. High, because preemptions must not count against items.
        error_budget_fraction: Share of failed items, 0..1, above which the job stops.
        error_budget_min_items: Failed items that are always tolerated, so that small jobs are not stopped by a few.
        max_in_flight_items: Upper bound of items between dispatch and their final outcome, and so of payloads held in
            the object stores; None derives it from pool sizes, batch sizes and `max_in_flight_per_actor`.
        lookahead_items: Items read ahead of dispatch, which is how far the size of pending work is known.
        first_worker_timeout_s: Seconds that a leg with waiting work may be without any ready worker.
        idle_release_s: Seconds after which an idle actor above the pool's target is released.
        make_room_after_s: Seconds that a leg with work and no placed actor waits before idle actors of other legs are
            released to make room for it, if the cluster cannot hold all actors that were requested; thirty times as
            long if it should be able to.
        max_pending_actors: Actors of a leg requested beyond what the cluster holds now, which is what makes an
            autoscaler add nodes; None means 0 on a Ray that `cluster.session` started here, else 4.
        max_start_failures: Workers of a leg that may fail to start in a row, once one has started.
        progress_interval_s: Seconds between calls of `on_progress`.
    """

    max_deaths_per_item: int = 3
    max_deadlines_per_item: int = 2
    max_attempts_per_item: int = 30
    error_budget_fraction: float = 0.01
    error_budget_min_items: int = 10
    max_in_flight_items: int | None = None
    lookahead_items: int = 1000
    first_worker_timeout_s: float = 900.0
    idle_release_s: float = 10.0
    make_room_after_s: float = 1.0
    max_pending_actors: int | None = None
    max_start_failures: int = 3
    progress_interval_s: float = 1.0

    def __post_init__(self) -> None:
        counts = {
            "max_deaths_per_item": self.max_deaths_per_item,
            "max_deadlines_per_item": self.max_deadlines_per_item,
            "max_attempts_per_item": self.max_attempts_per_item,
            "max_in_flight_items": 1 if self.max_in_flight_items is None else self.max_in_flight_items,
            "lookahead_items": self.lookahead_items,
            "max_start_failures": self.max_start_failures,
        }
        for name, count in counts.items():
            if count < 1:
                raise ValueError(f"{name} must be at least 1, found {count}")
        if not 0.0 <= self.error_budget_fraction <= 1.0:
            raise ValueError(f"error_budget_fraction must lie in 0..1, found {self.error_budget_fraction}")
