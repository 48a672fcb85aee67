"""What a cluster has, and what its autoscaler may add: whether a request can ever be met."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster.fan_out.placement import describe_request, describe_shortage, holds


@dataclass(frozen=True)
class NodeType:
    """A kind of node that an autoscaler may start.

    Attributes:
        name: As its configuration calls it.
        resources: What one such node has, by resource name.
        max_nodes: How many at most; None for no limit.
    """

    name: str
    resources: Mapping[str, float]
    max_nodes: int | None = None


@dataclass(frozen=True)
class ClusterCapacity:
    """A cluster now, and what may come.

    Attributes:
        nodes: Resources of each node that is alive and stays.
        node_types: What the autoscaler may start; empty when there is no autoscaler; None when that cannot be told
            from here (KubeRay's autoscaler keeps its settings to itself).
    """

    nodes: tuple[Mapping[str, float], ...]
    node_types: tuple[NodeType, ...] | None = None

    @property
    def may_grow(self) -> bool | None:
        """Whether nodes may come by themselves; None when unknown."""
        return None if self.node_types is None else bool(self.node_types)

    def may_bring(self, resource: str) -> bool | None:
        """Whether the autoscaler has a type of node with this resource; None when unknown."""
        if self.node_types is None:
            return None
        return any(kind.resources.get(resource, 0.0) > 0 for kind in self.node_types)

    def can_ever_hold(self, request: Mapping[str, float]) -> bool | None:
        """Whether a node that is there, or one that may come, is large enough; None when unknown."""
        if any(holds(node, request) for node in self.nodes):
            return True
        if self.node_types is None:
            return None
        return any(holds(kind.resources, request) for kind in self.node_types)


def explain_never(request: Mapping[str, float], capacity: ClusterCapacity) -> str:
    """Why a request can never be met, in words."""
    why = f"{describe_request(request)}: {describe_shortage(request, list(capacity.nodes))}"
    if not capacity.node_types:
        return f"{why}, and there is no autoscaler that could add one"
    kinds = ", ".join(f"{kind.name} ({describe_request(kind.resources)})" for kind in capacity.node_types)
    return f"{why}, and the autoscaler has no larger type of node: {kinds}"


def node_types_of_config(config: Mapping[str, Any]) -> tuple[NodeType, ...]:
    """The types of node in an autoscaler's configuration that it may start; the head's own is not among them."""
    found = []
    for name, kind in (config.get("available_node_types") or {}).items():
        max_nodes = kind.get("max_workers", config.get("max_workers"))
        if name != config.get("head_node_type") and max_nodes != 0:
            resources = {key: float(quantity) for key, quantity in (kind.get("resources") or {}).items()}
            found.append(NodeType(name, resources, max_nodes))
    return tuple(found)


def node_types_of_monitor(commands: Sequence[Sequence[str]], gcs_address: str) -> tuple[NodeType, ...] | None:
    """What the cluster's autoscaler may start, from the command line of its monitor; None when none is seen here.

    Ray starts a monitor on every head, and gives it a configuration where there is an autoscaler. On Kubernetes, and
    on nodes other than the head, no monitor is to be seen.

    Args:
        commands: Command lines of this machine's processes.
        gcs_address: Of the cluster, `host:port`. There may be several on a machine; a host has several names, so the
            port decides.
    """
    for command in commands:
        if not any(part.endswith("monitor.py") for part in command[:6]):
            continue
        options = dict(_options(command))
        if _port(options.get("--gcs-address", "")) != _port(gcs_address):
            continue
        path = options.get("--autoscaling-config")
        if not path:
            return ()
        try:
            return node_types_of_config(yaml.safe_load(Path(path).expanduser().read_text(encoding="utf-8")))
        except (OSError, yaml.YAMLError, AttributeError):
            return None
    return None


def command_lines() -> list[list[str]]:
    """The command lines of this machine's processes; empty where there is no `/proc`."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(file.read_bytes().decode(errors="replace").rstrip("\0").split("\0"))
        except OSError:  # it ended meanwhile
            continue
    return found


def cluster_capacity() -> ClusterCapacity:
    """The connected cluster."""
    import ray

    from cluster.nodes import nodes_view

    nodes = tuple(nodes_view().usable.values())
    return ClusterCapacity(nodes, node_types_of_monitor(command_lines(), ray.get_runtime_context().gcs_address))


def _options(command: Sequence[str]) -> Iterator[tuple[str, str]]:
    for part in command:
        name, separator, value = part.partition("=")
        if separator and name.startswith("--"):
            yield name, value


def _port(address: str) -> str:
    return address.rpartition(":")[2]
