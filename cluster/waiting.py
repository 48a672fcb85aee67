"""Waiting for a place on the cluster before something starts that cannot wait in words itself, such as a training."""

import time
from collections.abc import Callable, Mapping

from ray.util.placement_group import placement_group, remove_placement_group

from cluster.errors import ResourceError
from cluster.fan_out.placement import describe_request, describe_shortage
from cluster.nodes import nodes_view

_SAY_AFTER_S = 3.0


def wait_for_place(
    request: Mapping[str, float], *, what: str, timeout_s: float, on_wait: Callable[[str], None]
) -> None:
    """Return once the cluster has had room for a request; an autoscaler sees it and may start a node for it.

    Args:
        request: Resources by name, of one node.
        what: Who needs it, for the messages.
        timeout_s: How long to wait at most.
        on_wait: Called once with a sentence when it takes more than a moment.

    Raises:
        ResourceError: There was no room within `timeout_s`.
    """
    group = placement_group([dict(request)])
    try:
        started = time.monotonic()
        if _is_ready(group, min(_SAY_AFTER_S, timeout_s)):
            return
        on_wait(f"{what} waits for {describe_request(request)}: {_shortage(request)}; at most {timeout_s:g} s")
        if not _is_ready(group, max(timeout_s - (time.monotonic() - started), 0.0)):
            raise ResourceError(
                f"{what} has waited {timeout_s:g} s for {describe_request(request)}: {_shortage(request)}. Ask for "
                "less in its resources, add nodes, or raise first_worker_timeout_s."
            )
    finally:
        remove_placement_group(group)


def _is_ready(group: object, timeout_s: float) -> bool:
    return bool(group.wait(timeout_s))  # type: ignore[attr-defined] # Ray has no types


def _shortage(request: Mapping[str, float]) -> str:
    return describe_shortage(request, list(nodes_view().usable.values()))
