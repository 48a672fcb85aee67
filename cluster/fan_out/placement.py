"""Why an actor has no place yet, in words."""

from collections.abc import Mapping, Sequence


def describe_request(request: Mapping[str, float]) -> str:
    """A request in words, such as `1 CPU and 0.25 GPU`."""
    return " and ".join(f"{quantity:g} {name}" for name, quantity in sorted(request.items()))


def describe_shortage(request: Mapping[str, float], nodes: Sequence[Mapping[str, float]]) -> str:
    """Which resource of a request no node can give; or that some node could, so that it is a matter of time."""
    if not nodes:
        return "the cluster has no usable node"
    short = [
        f"{name} (asked {quantity:g}, the largest node has {max(node.get(name, 0.0) for node in nodes):g})"
        for name, quantity in sorted(request.items())
        if all(node.get(name, 0.0) + 1e-9 < quantity for node in nodes)
    ]
    if short:
        return "no node has enough " + ", ".join(short)
    if any(holds(node, request) for node in nodes):
        return "its place is being made, or others hold it"
    return "no single node has enough of all of them"


def holds(node: Mapping[str, float], request: Mapping[str, float]) -> bool:
    """Whether a node of these resources is large enough for a request."""
    return all(node.get(name, 0.0) + 1e-9 >= quantity for name, quantity in request.items())
