"""The connection to Ray: a cluster that runs already, or a private one on this machine."""

import logging
import os
import shutil
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import ray

from cluster import interruption, local_ray, quiet
from cluster.capacity import cluster_capacity
from cluster.errors import ClusterError
from cluster.nodes import nodes_view
from cluster.resources import ClusterResources

_CONNECT_TIMEOUT_S = 10.0


class Session:
    """An open connection to Ray; leave it, or call `close`, to end what it started and nothing else.

    Attributes:
        is_local: True for a private Ray that this session started.
        dashboard_url: Address of Ray's dashboard, empty when there is none.
        folder: Where a private Ray keeps its logs; None for a cluster.
        open_private: The session of this process that started a private Ray, if one is open.
    """

    open_private: ClassVar["Session | None"] = None

    def __init__(self, *, owns_connection: bool, dashboard_url: str, folder: Path | None) -> None:
        self.is_local = folder is not None
        self.dashboard_url = dashboard_url
        self.folder = folder
        self._owns_connection = owns_connection
        if self.is_local:
            Session.open_private = self

    def present(self) -> tuple[float, float]:
        """CPUs and GPUs of the nodes that are there now; cheap enough to ask for again and again."""
        capacity = nodes_view().capacity
        return capacity.get("CPU", 0.0), capacity.get("GPU", 0.0)

    def resources(self) -> ClusterResources:
        """What the cluster has now, and what may come."""
        nodes = nodes_view()
        capacity = nodes.capacity
        has_gpu = capacity.get("GPU", 0.0) > 0
        return ClusterResources(
            num_nodes=len(nodes.usable),
            num_cpus=capacity.get("CPU", 0.0),
            num_gpus=capacity.get("GPU", 0.0),
            is_local=self.is_local,
            may_grow=not self.is_local,
            # Only asked for where it matters: it looks at every process of this machine.
            gpus_may_come=True if has_gpu else False if self.is_local else cluster_capacity().may_bring("GPU"),
        )

    def close(self) -> None:
        """Disconnect; end the private Ray, if this session started one. May be called twice."""
        if self._owns_connection:
            self._owns_connection = False
            ray.shutdown()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        if Session.open_private is self:
            Session.open_private = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def may_grow() -> bool:
    """False when the connected Ray is a private one of this process, which no node will ever join."""
    return Session.open_private is None


def connect(
    address: str | None = None,
    *,
    num_cpus: int | None = None,
    num_gpus: int | None = None,
    object_store_mib: int | None = None,
    dashboard: bool = True,
) -> Session:
    """A session on the cluster at `address`, on that of `RAY_ADDRESS` (set inside a Ray job), or on a private Ray.

    A connection that this process has already is used and left alone.

    Args:
        address: `host:port` of a cluster's control store, or `auto` for the one on this machine; `local` asks for a
            private Ray whatever the environment says.
        num_cpus: Cores of a private Ray; None for all that this process may use.
        num_gpus: GPUs of a private Ray; None for all that Ray finds.
        object_store_mib: Object store of a private Ray, MiB; None for a quarter of the memory, at most 4 GiB.
        dashboard: Whether a private Ray starts its dashboard, where that is installed.

    Raises:
        ClusterError: The cluster cannot be reached, or a private Ray cannot start.
    """
    if ray.is_initialized():
        return Session(owns_connection=False, dashboard_url=_dashboard_url(), folder=None)
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if address == "local":
        store_bytes = None if object_store_mib is None else object_store_mib * 1024**2
        return _start(num_cpus, num_gpus, store_bytes, dashboard=dashboard and local_ray.has_dashboard())
    return _join(address)


def _join(address: str) -> Session:
    scheme, has_scheme, _ = address.partition("://")
    if has_scheme:
        raise ClusterError(
            f"{address} is not where a driver connects ({scheme} is for submitting jobs, or for a remote client): run "
            "this as a job on the cluster, or give host:port of its control store (port 6379 by default)"
        )
    _check_reachable(address)
    try:
        _init(address=address)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise ClusterError(f"cannot connect to the Ray cluster at {address}: {_first_line(error)}") from error
    return Session(owns_connection=True, dashboard_url=_dashboard_url(), folder=None)


def _check_reachable(address: str) -> None:
    """Raise ClusterError unless something listens there: Ray itself would try for more than a minute."""
    host, has_port, port = address.rpartition(":")
    if not has_port or not port.isdigit():
        return  # "auto", or a name that Ray may know how to resolve
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise ClusterError(f"cannot connect to the Ray cluster at {address}: {error}; is it running?") from error


def _start(num_cpus: int | None, num_gpus: int | None, store_bytes: int | None, *, dashboard: bool) -> Session:
    folder = local_ray.make_session_folder()
    if store_bytes is None:
        store_bytes = local_ray.object_store_bytes(local_ray.usable_memory_bytes(), local_ray.free_shm_bytes())
    variables = local_ray.local_variables(os.environ, Path.home())
    try:
        with local_ray.environment_with(variables):
            _init(
                address="local",
                num_cpus=num_cpus,
                num_gpus=num_gpus,
                object_store_memory=store_bytes,
                include_dashboard=dashboard,
                _temp_dir=str(folder),
            )
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        ray.shutdown()
        raise ClusterError(
            f"a local Ray cannot start: {_first_line(error)} Its logs are in {folder}. Often the cause "
            "is too little memory, a full disk, or a firewall between processes of this machine."
        ) from error
    return Session(owns_connection=True, dashboard_url=_dashboard_url(), folder=folder)


def _init(**options: Any) -> None:
    """`ray.init` without a word on the user's terminal: logs of workers stay in Ray's folder and dashboard.

    Ray puts a handler of its own for SIGTERM, which would end this process on the spot; the caller's stays.
    """
    quiet.redirect_messages()
    with interruption.handlers_kept():
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)


def _first_line(error: BaseException) -> str:
    """Ray's messages can hold whole tracebacks; those stay in the chained exception."""
    return str(error).strip().split("\n", 1)[0]


def _dashboard_url() -> str:
    url = ray._private.worker.get_dashboard_url()  # noqa: SLF001 - known to `ray.init`'s caller only, otherwise
    return f"http://{url}" if url else ""
