"""The metrics of the service, from one table, through `ray.util.metrics`.

Ray serves them to Prometheus with the prefix `ray_` before these names, and `_total` after those of counters. Tags are
few and have few values (run, leg, stage): an item's id is never one, since every value is a time series of its own.
Metrics are the picture; what is stored is the truth.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ray.util import metrics as ray_metrics


@dataclass(frozen=True)
class MetricSpec:
    """One row of the table.

    Attributes:
        name: Name, with the unit at its end where there is one.
        kind: Counters only grow; gauges are the latest value; histograms count values by range.
        description: What it says, for the dashboard.
        tags: Names of its tags, besides `run`.
        boundaries: Upper edges of a histogram's ranges.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    description: str
    tags: tuple[str, ...] = ()
    boundaries: tuple[float, ...] = ()

    @property
    def series(self) -> str:
        """Its name in Prometheus; a histogram's series have `_bucket`, `_sum` and `_count` after it."""
        return f"ray_{self.name}_total" if self.kind == "counter" else f"ray_{self.name}"


_BATCH_SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
_SECONDS = (0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)

FAN_OUT_METRICS = (
    MetricSpec("wsss_items", "counter", "Items with a final outcome; status is done or failed", ("leg", "status")),
    MetricSpec("wsss_item_retries", "counter", "Items sent again after a loss", ("leg",)),
    MetricSpec("wsss_leg_items", "counter", "Items that a leg has worked on, repeats included", ("leg",)),
    MetricSpec("wsss_leg_busy_seconds", "counter", "Seconds of work, summed over the leg's actors", ("leg",)),
    MetricSpec("wsss_item_seconds", "histogram", "Seconds of work an item, mean of its batch", ("leg",), _SECONDS),
    MetricSpec("wsss_actor_losses", "counter", "Actors lost to deaths, deadlines and nodes", ("leg",)),
    MetricSpec("wsss_queue_items", "gauge", "Items that wait for a worker", ("leg",)),
    MetricSpec("wsss_running_items", "gauge", "Items handed to workers", ("leg",)),
    MetricSpec("wsss_actors_ready", "gauge", "Actors that can take work", ("leg",)),
    MetricSpec("wsss_actors_target", "gauge", "Actors that the pool aims at", ("leg",)),
    MetricSpec("wsss_items_in_flight", "gauge", "Items sent and not final"),
    MetricSpec("wsss_items_remaining", "gauge", "Items of the running stages that are not final"),
)
STORE_METRICS = (
    MetricSpec("wsss_store_seconds", "histogram", "Seconds of an operation on the store", ("operation",), _SECONDS),
    MetricSpec("wsss_store_errors", "counter", "Tries that failed, later ones may not", ("operation", "code")),
)
WORKER_METRICS = (
    MetricSpec(
        "wsss_batch_items",
        "histogram",
        "Items in one pass through a stage; fewer where an accelerator's memory was not enough",
        ("stage", "device"),
        _BATCH_SIZES,
    ),
)
USAGE_METRICS = (
    MetricSpec("wsss_held_seconds", "counter", "Seconds of cores and GPUs that the run's workers held", ("resource",)),
)
METRICS = FAN_OUT_METRICS + WORKER_METRICS + STORE_METRICS + USAGE_METRICS

_KINDS = {"counter": ray_metrics.Counter, "gauge": ray_metrics.Gauge, "histogram": ray_metrics.Histogram}


def create_metrics(specs: Iterable[MetricSpec] = METRICS) -> dict[str, Any]:
    """The Ray metric of every row, by name."""
    created = {}
    for spec in specs:
        options: dict[str, Any] = {"description": spec.description, "tag_keys": ("run", *spec.tags)}
        if spec.kind == "histogram":
            options["boundaries"] = list(spec.boundaries)
        created[spec.name] = _KINDS[spec.kind](spec.name, **options)
    return created
