"""Who is told what happens in a fan-out: the caller's functions and the metrics."""

from collections.abc import Callable
from dataclasses import dataclass

from cluster.fan_out.progress import ProgressSnapshot
from cluster.fan_out.recording import FanOutMetrics
from cluster.fan_out.types import FinalOutcome


@dataclass(frozen=True)
class Observers:
    """The functions that the loop calls, always on the thread that called `fan_out`.

    Attributes:
        on_outcome: Gets the last word on every item, in no particular order.
        on_progress: Gets a snapshot now and then, and one at the end.
        should_stop: Asked often; True ends the fan-out early.
        metrics: Counters and gauges; None records nothing.
    """

    on_outcome: Callable[[FinalOutcome], None]
    on_progress: Callable[[ProgressSnapshot], None]
    should_stop: Callable[[], bool]
    metrics: FanOutMetrics | None
