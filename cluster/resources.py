"""What a cluster has, and on which device a job should run there."""

from dataclasses import dataclass
from typing import Literal

from cluster.errors import ResourceError

DeviceRequest = Literal["auto", "cpu", "cuda"]
Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class ClusterResources:
    """A cluster at one moment.

    Attributes:
        num_nodes: Nodes that are alive and stay.
        num_cpus: Cores that Ray may give out, over all nodes.
        num_gpus: GPUs, over all nodes.
        is_local: True for a private Ray that this process started on this machine.
        may_grow: True when nodes may still come. Whether an autoscaler is at work cannot be told from outside for sure,
            so it is True for every cluster that was not started here.
        gpus_may_come: Whether the autoscaler has a type of node with GPUs; None when that cannot be told from here.
    """

    num_nodes: int
    num_cpus: float
    num_gpus: float
    is_local: bool
    may_grow: bool
    gpus_may_come: bool | None = None


@dataclass(frozen=True)
class DeviceChoice:
    """A device, and one sentence that says why."""

    device: Device
    why: str


def choose_device(requested: DeviceRequest, resources: ClusterResources) -> DeviceChoice:
    """The device for a job.

    On this machine `auto` falls back to the CPU. On a cluster it does not: a head node without GPU must never run, by
    mistake and for days, what GPU nodes that are still booting would do in an hour. Where the autoscaler is known to
    have GPU nodes, `auto` waits for them.

    Args:
        requested: `auto`, `cpu` or `cuda`.
        resources: The cluster now.

    Raises:
        ResourceError: No GPU where one is needed, with what to write instead.
    """
    if requested == "cpu":
        return DeviceChoice("cpu", "device cpu was asked for")
    if resources.num_gpus > 0:
        return DeviceChoice("cuda", f"the cluster has {resources.num_gpus:g} GPU")
    if resources.is_local:
        if requested == "cuda":
            raise ResourceError(
                "device cuda was asked for, and Ray finds no GPU on this machine; use device auto or cpu"
            )
        return DeviceChoice("cpu", "this machine has no GPU that Ray finds")
    if requested == "cuda":
        return DeviceChoice("cuda", "device cuda was asked for; the cluster has no GPU yet and waits for one to come")
    if resources.gpus_may_come:
        return DeviceChoice("cuda", "the cluster has no GPU yet, and its autoscaler has GPU nodes to start")
    known = "and no autoscaler with GPU nodes" if resources.gpus_may_come is False else "now"
    raise ResourceError(
        f"device auto found no GPU {known} on a cluster of {resources.num_nodes} nodes: say device cuda to wait "
        "for GPU nodes (an autoscaler adds them on demand), or device cpu to run without"
    )
