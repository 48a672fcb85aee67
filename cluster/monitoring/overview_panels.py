"""The first rows of the dashboard: how far a run is and what hinders it, and the machines under it."""

from cluster.metrics import METRICS
from cluster.monitoring.metric_panels import RUN
from cluster.monitoring.panels import Panel, Query

_SERIES = {spec.name: spec.series for spec in METRICS}
_ITEMS = _SERIES["wsss_items"]
_BUSY = _SERIES["wsss_leg_busy_seconds"]
_DONE_IN_LEG = _SERIES["wsss_leg_items"]
_HELD = _SERIES["wsss_held_seconds"]
_FINAL_A_SECOND = f"sum by (run) (rate({_ITEMS}{{{RUN}}}[5m]))"
_COST = (
    f'sum by (run) ({_HELD}{{{RUN}, resource="cpu"}} * $cpu_price or {_HELD}{{{RUN}, resource="gpu"}} * $gpu_price)'
    " / 3600"
)
_REMAINING = f"sum by (run) ({_SERIES['wsss_items_remaining']}{{{RUN}}})"
# A counter is not there before it counts: without the second half, no failure would read "no data".
_FAILED = f'(sum by (run) ({_ITEMS}{{{RUN}, status="failed"}}) or 0 * sum by (run) ({_ITEMS}{{{RUN}}}))'


def overview_panels() -> tuple[Panel, ...]:
    """Numbers and courses that answer: how far, how fast, what fails, who works."""
    leg_seconds = (
        f"sum by (run, leg) (rate({_BUSY}{{{RUN}}}[$__rate_interval]))"
        f" / sum by (run, leg) (rate({_DONE_IN_LEG}{{{RUN}}}[$__rate_interval]))"
    )
    busy = f"sum by (run, leg) (rate({_BUSY}{{{RUN}}}[$__rate_interval]))"
    ready = f"sum by (run, leg) ({_SERIES['wsss_actors_ready']}{{{RUN}}})"
    return (
        _number("Items to do", _REMAINING, "short", "Of the stages that run now"),
        _number("Items a second", _FINAL_A_SECOND, "cps", "Mean of five minutes"),
        _number("Time left", f"{_REMAINING} / {_FINAL_A_SECOND}", "s", "Items to do, at the speed of five minutes"),
        _number("Failed", _FAILED, "short", "Since the job's process began; wsss failed lists them", warn_above=1),
        _number(
            "Failed, share",
            f"{_FAILED} / sum by (run) ({_ITEMS}{{{RUN}}})",
            "percentunit",
            "The error budget of a recipe is 1 % if it says nothing else",
            warn_above=0.01,
        ),
        _number(
            "Workers ready", f"sum by (run) ({_SERIES['wsss_actors_ready']}{{{RUN}}})", "short", "Actors, all legs"
        ),
        Panel(
            "Seconds of work an item",
            (Query(leg_seconds, "{{run}} {{leg}}"),),
            "s",
            "Exact mean: busy seconds by items",
            width=8,
        ),
        Panel(
            "Workers that are busy, share",
            (Query(f"{busy} / {ready}", "{{run}} {{leg}}"),),
            "percentunit",
            "Much below 1: the leg waits for the one before it, or for the store",
            width=8,
        ),
        Panel(
            "Cost so far",
            (Query(_COST, "{{run}}"),),
            "short",
            "What the job's workers held since its process began, at the prices above; wsss status adds all processes",
            width=8,
        ),
    )


def machine_panels() -> tuple[Panel, ...]:
    """Ray's own metrics of the nodes; Ray's dashboards have more of them."""
    memory = "max by (ip) (ray_node_mem_used) / max by (ip) (ray_node_mem_total)"
    return (
        _machine("Nodes by type", "sum by (node_type) (ray_cluster_active_nodes)", "{{node_type}}", "short", width=4),
        _machine("CPU", "max by (ip) (ray_node_cpu_utilization)", "{{ip}}", "percent"),
        _machine("GPU", "max by (ip, GpuIndex) (ray_node_gpus_utilization)", "{{ip}} {{GpuIndex}}", "percent"),
        _machine("Memory, share", memory, "{{ip}}", "percentunit"),
        _machine("Object store", "sum by (NodeAddress) (ray_object_store_used_memory)", "{{NodeAddress}}", "bytes"),
    )


def _number(title: str, expr: str, unit: str, description: str, warn_above: float | None = None) -> Panel:
    return Panel(title, (Query(expr, "{{run}}"),), unit, description, "stat", 4, 4, warn_above)


def _machine(title: str, expr: str, legend: str, unit: str, width: int = 5) -> Panel:
    return Panel(title, (Query(expr, legend),), unit, width=width)
