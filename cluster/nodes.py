"""The nodes of the connected Ray."""

import ray
from ray._private.state import state as _state  # the one place that knows of draining; Ray has no public API for it

from cluster.fan_out.backend import NodesView


def nodes_view() -> NodesView:
    """Total resources of the nodes that are alive and stay, and the ids of those about to leave."""
    draining = frozenset(_state.get_draining_nodes())
    alive = {node["NodeID"]: dict(node["Resources"]) for node in ray.nodes() if node["Alive"]}
    usable = {node_id: total for node_id, total in alive.items() if node_id not in draining}
    return NodesView(usable, draining & alive.keys())
